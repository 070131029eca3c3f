"""The senders of spans are remembered from body to body, as far as there is room."""

from __future__ import annotations

from curio_persistence.interop.otel.decoding import decode_traces
from curio_persistence.interop.otel.receiving import SourceRows, Sources
from curio_persistence.interop.otel.spans import Source
from curio_persistence.models import SpanSource
from curio_persistence.store.table import Row
from curio_persistence.tables import SOURCES
from tests.support.otlp_corpus import CAPTURES, bodies

LARGE = 300_000


def sender(name: str, size: int = 10) -> Source:
    return Source(resource={"service.name": name, "padding": "x" * size})


def test_a_body_that_comes_again_names_the_same_senders() -> None:
    body = next(iter(bodies(next(iter(CAPTURES)))))
    [first, *_] = decode_traces(body, "application/x-protobuf").spans
    [again, *_] = decode_traces(body, "application/x-protobuf").spans
    assert first.source is again.source


def test_a_sender_is_read_once_and_stored_by_each_transaction() -> None:
    read: list[SpanSource] = []

    def encode(record: SpanSource) -> Row:
        read.append(record)
        return SOURCES.encode(record)

    known, one = SourceRows(encode), sender("one")
    first, second = Sources(known, "1"), Sources(known, "2")
    assert first.id_of(one) == first.id_of(one) == second.id_of(one)
    assert len(read) == 1
    assert [row["created_at"] for each in (first, second) for row in each.rows.values()] == [
        "1",
        "2",
    ]


def test_what_is_remembered_has_a_limit() -> None:
    known = SourceRows(SOURCES.encode)
    senders = [sender(str(number), LARGE) for number in range(20)]
    ids = [known.row_of(each)["source_id"] for each in senders]
    assert len(set(ids)) == 20
    assert len(known._known) < 4
    assert [known.row_of(each)["source_id"] for each in senders] == ids
