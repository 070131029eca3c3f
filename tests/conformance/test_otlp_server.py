"""OTLP over HTTP: what is answered with 200 is stored, and what is wrong costs only itself."""

from __future__ import annotations

import json
import random
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from threading import Event

import pytest

from curio_persistence import InMemoryPersistence, Persistence, UnavailableError
from curio_persistence.interop.otel.decoding import decode_logs, decode_traces
from curio_persistence.interop.otel.encoding import encode_traces_as_json
from curio_persistence.interop.otel.receiving import Receiver
from curio_persistence.interop.otel.spans import OtelSpan
from curio_persistence.server import bodies as server_bodies
from curio_persistence.tables import SPANS
from tests.support.otel_dumps import dump
from tests.support.otlp_corpus import CAPTURES, JSON, PROTOBUF, bodies, spans
from tests.support.otlp_requests import (
    BEGIN,
    body,
    gzipped,
    in_chunks,
    partial,
    post,
    span,
)
from tests.support.served import served

pytestmark = pytest.mark.slow  # Not in the inner loop.

SPANS_OF_CAPTURES = [spans(capture)[:5] for capture in CAPTURES]


def names(persistence: Persistence) -> list[str]:
    """Return the names of the stored spans, sorted."""
    return sorted(str(name) for (name,) in persistence._store.select_columns(SPANS, ("name",)))


# --- what is right --------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_corpus_is_stored_as_if_it_were_received_in_process_however_it_is_sent(
    persistence: Persistence,
) -> None:
    with InMemoryPersistence() as other:
        for capture in CAPTURES:
            Receiver(other).spans(spans(capture))
            for sent in bodies(capture, "logs"):
                Receiver(other).logs(decode_logs(sent, PROTOBUF).logs)
        expected = dump(other)
    with served(persistence) as server:
        for signal, capture in product(("logs", "traces", "metrics"), CAPTURES):
            for sent in bodies(capture, signal):
                assert partial(post(server, sent, f"/v1/{signal}")) == (0, "")
        assert dump(persistence) == expected
        for number, capture in enumerate(CAPTURES):
            for sent in bodies(capture):
                content = encode_traces_as_json(decode_traces(sent, PROTOBUF).spans)
                packed = gzipped(content) if number % 2 else zlib.compress(content)
                answer = post(
                    server,
                    in_chunks(packed),
                    Content_Type=f"{JSON}; charset=utf-8",
                    Content_Encoding="gzip" if number % 2 else "deflate",
                )
                assert (answer.status, answer.json()) == (200, {})
    assert dump(persistence) == expected


def test_a_span_is_stored_when_it_is_answered(persistence: Persistence) -> None:
    with served(persistence) as server:
        for number in range(1, 4):
            assert partial(post(server, body(span(number)))) == (0, "")
            assert len(names(persistence)) == number


def test_many_senders_of_single_spans_lose_none(persistence: Persistence) -> None:
    with served(persistence) as server, ThreadPoolExecutor(100) as pool:
        sent = [body(span(number)) for number in range(1, 301)]
        assert {*pool.map(lambda one: partial(post(server, one)), sent)} == {(0, "")}
    assert len(names(persistence)) == 300


def test_bodies_that_wait_are_stored_together(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, sizes, has_begun, may_go_on = Receiver.spans, list[int](), Event(), Event()

    def spans_when_allowed(self: Receiver, spans: list[OtelSpan]) -> object:
        sizes.append(len(spans))
        has_begun.set()
        may_go_on.wait()
        return stored(self, spans)

    monkeypatch.setattr(Receiver, "spans", spans_when_allowed)
    with served(persistence) as server, ThreadPoolExecutor(10) as pool:
        sent = [pool.submit(post, server, body(span(1)))]
        has_begun.wait()
        sent += [pool.submit(post, server, body(span(number))) for number in range(2, 11)]
        while b"curio_intake_waiting_bodies 9" not in server.get("/metrics").body:
            time.sleep(0.01)
        may_go_on.set()
        assert [partial(each.result()) for each in sent] == [(0, "")] * 10
    assert sizes == [1, 9]


def test_compressions_are_unpacked(persistence: Persistence) -> None:
    raw = zlib.compressobj(wbits=-15)
    packed = {
        "gzip": gzipped(body(span(1))),
        "deflate": zlib.compress(body(span(2))),
        "Deflate": raw.compress(body(span(3))) + raw.flush(),
        "GZIP": gzipped(body(span(4))) + gzipped(body(span(5))),
        "identity": body(span(6)),
    }
    with served(persistence) as server:
        for encoding, content in packed.items():
            assert partial(post(server, content, Content_Encoding=encoding)) == (0, "")
    assert names(persistence) == [f"chat {number}" for number in range(1, 7)]


def test_an_empty_request_is_right(persistence: Persistence) -> None:
    with served(persistence) as server:
        assert partial(post(server, b"")) == (0, "")
        assert post(server, b"{}", Content_Type=JSON).json() == {}
    assert names(persistence) == []


# --- what is partly right -------------------------------------------------------------------------


def test_wrong_spans_are_counted_and_the_others_stored(persistence: Persistence) -> None:
    wrong = [
        span(20, trace_id=bytes(16)),
        span(21, span_id=bytes(8)),
        span(22, span_id=b"short"),
        span(23, trace_id=b"x" * 17),
        span(24, trace_id=b""),
    ]
    sent = body(span(1), *wrong[:3], span(2), *wrong[3:], span(3))
    with served(persistence) as server:
        count, why = partial(post(server, sent))
        assert count == 5
        assert "trace_id" in why
        assert "5 spans rejected" in why
        as_json = {
            "resourceSpans": [
                {
                    "scopeSpans": [
                        {
                            "spans": [
                                {"traceId": "0" * 32, "spanId": "1" * 16, "name": "wrong"},
                                {"traceId": "1" * 32, "spanId": "4" * 16, "name": "chat 4"},
                            ]
                        }
                    ]
                }
            ]
        }
        answer = post(server, json.dumps(as_json), Content_Type=JSON)
        assert answer.json()["partialSuccess"]["rejectedSpans"] == "1"
        assert "trace_id" in answer.json()["partialSuccess"]["errorMessage"]
    assert names(persistence) == ["chat 1", "chat 2", "chat 3", "chat 4"]


def test_odd_spans_are_stored(persistence: Persistence) -> None:
    odd = [
        span(1, end_time_unix_nano=BEGIN - 10**9),
        span(2, parent_span_id=(2).to_bytes(8)),
        span(3, kind=99),
        span(4, attributes={f"key {number}": "x" for number in range(10_000)}),
        span(5, attributes={"big": "ä" * (4 << 20)}),
        span(6, start_time_unix_nano=0, end_time_unix_nano=0),
        span(7, name="", attributes={"": "", "nul": "\x00"}),
        span(8, flags=2**32 - 1, trace_state="x" * 1000),
    ]
    odd[0].status.code = 7  # type: ignore[assignment]
    with served(persistence) as server:
        for each in odd:
            assert partial(post(server, body(each))) == (0, "")
        assert partial(post(server, body(*odd))) == (0, "")
    assert len(names(persistence)) == len(odd)


def test_two_traces_with_one_id_are_both_stored(persistence: Persistence) -> None:
    with served(persistence) as server:
        for number in (1, 2):
            assert partial(post(server, body(span(number), span(number + 10)))) == (0, "")
    assert names(persistence) == ["chat 1", "chat 11", "chat 12", "chat 2"]


def test_a_record_that_the_store_refuses_costs_only_itself(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = Receiver.spans

    def spans_but_one(self: Receiver, spans: object) -> object:
        if any(each.name == "chat 7" for each in spans):  # type: ignore[attr-defined]
            raise ZeroDivisionError
        return stored(self, spans)  # type: ignore[arg-type]

    monkeypatch.setattr(Receiver, "spans", spans_but_one)
    with served(persistence) as server:
        answer = post(server, body(*map(span, range(1, 20))))
        assert partial(answer) == (1, "it cannot be stored (ZeroDivisionError)")
    assert len(names(persistence)) == 18


def test_damaged_bodies_are_stored_in_part_or_refused(persistence: Persistence) -> None:
    chance = random.Random(19)
    whole = [content for capture in CAPTURES for content in bodies(capture)]
    with served(persistence) as server:
        for number in range(100):
            content = bytearray(chance.choice(whole)[:20_000])
            kind = PROTOBUF
            if number % 2:
                content = bytearray(encode_traces_as_json(chance.choice(SPANS_OF_CAPTURES)))
                kind = JSON
            for _ in range(chance.randrange(1, 4)):
                content[chance.randrange(len(content))] = chance.randrange(256)
            assert post(server, bytes(content), Content_Type=kind).status in (200, 400)
        assert partial(post(server, body(span(1)))) == (0, "")


# --- what is wrong --------------------------------------------------------------------------------


def test_what_is_not_otlp_is_refused_and_told_why(persistence: Persistence) -> None:
    good = body(span(1))
    refused: list[tuple[int, bytes, dict[str, str]]] = [
        (400, b"\xff\xff\xff not protobuf", {}),
        (400, good[:-3], {}),
        (400, b"[1, 2]", {"Content_Type": JSON}),
        (400, b'{"resourceSpans": 7}', {"Content_Type": JSON}),
        (400, b'{"resourceSpans": [', {"Content_Type": JSON}),
        (400, b"\xff", {"Content_Type": JSON}),
        (400, b"[" * 100_000, {"Content_Type": JSON}),
        (400, good, {"Content_Encoding": "gzip"}),
        (400, gzipped(good)[:-9], {"Content_Encoding": "gzip"}),
        (400, gzipped(good) + b"more", {"Content_Encoding": "gzip"}),
        (415, good, {"Content_Encoding": "br"}),
        (415, good, {"Content_Type": "text/plain"}),
        (415, good, {"Content_Type": ""}),
    ]
    with served(persistence) as server:
        for status, content, headers in refused:
            answer = post(server, content, **headers)
            assert answer.status == status, (content[:20], headers, answer)
            assert answer.body, headers
            if answer.headers["Content-Type"] == JSON:
                assert answer.json()["message"]
        for signal in ("traces", "logs", "metrics"):
            answer = server.get(f"/v1/{signal}")
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")
            for content in (b"\xff\xff", good[:-3]):
                assert post(server, content, f"/v1/{signal}").status == 400
        assert post(server, good, "/v1/nothing").status == 404
    assert names(persistence) == []


def test_a_body_of_too_many_bytes_is_refused_packed_or_not(persistence: Persistence) -> None:
    big = body(span(1, attributes={"big": "x" * 100_000}))
    bomb = gzipped(bytes(20_000_000))
    assert len(bomb) < 100_000
    with served(persistence, max_body_bytes=100_000) as server:
        for content, encoding in (
            (big, "identity"),
            (in_chunks(big), "identity"),
            (gzipped(big), "gzip"),
            (zlib.compress(big), "deflate"),
            (bomb, "gzip"),
        ):
            assert post(server, content, Content_Encoding=encoding).status == 413
        assert partial(post(server, body(span(2)))) == (0, "")
    assert names(persistence) == ["chat 2"]


def test_wrong_log_records_and_data_points_are_counted(persistence: Persistence) -> None:
    logs = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"traceId": "short"}, {}]}]}]}
    points = [{"asInt": "no number"}, {"asInt": "7"}]
    metric = {"name": "m", "gauge": {"dataPoints": points}}
    metrics = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}
    with served(persistence) as server:
        for path, sent, counter in (
            ("/v1/logs", logs, "rejectedLogRecords"),
            ("/v1/metrics", metrics, "rejectedDataPoints"),
        ):
            told = post(server, json.dumps(sent), path, Content_Type=JSON).json()["partialSuccess"]
            assert (told[counter], bool(told["errorMessage"])) == ("1", True)


def test_a_body_that_does_not_arrive_is_given_up(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_bodies, "_SECONDS", 0.1)
    with served(persistence) as server:
        connection = server.connect()
        connection.putrequest("POST", "/v1/traces")
        connection.putheader("Content-Type", PROTOBUF)
        connection.putheader("Content-Length", "1000")
        connection.endheaders(b"half")
        assert connection.getresponse().status == 408
        connection.close()


def test_with_keys_a_wrong_one_stores_nothing(persistence: Persistence) -> None:
    with served(persistence, keys=("right",)) as server:
        assert post(server, body(span(1))).status == 401
        assert post(server, body(span(2)), Authorization="Bearer wrong").status == 401
        assert partial(post(server, body(span(3)), Authorization="Bearer right")) == (0, "")
    assert names(persistence) == ["chat 3"]


def test_metrics_count_what_was_stored_rejected_and_refused(persistence: Persistence) -> None:
    with served(persistence) as server:
        post(server, body(span(1), span(2), span(3, span_id=b"short")))
        post(server, b"not OTLP")
        post(server, b"", Content_Encoding="br")
        found = server.get("/metrics").body.decode().splitlines()
    assert 'curio_intake_records_total{outcome="stored",signal="traces"} 2.0' in found
    assert 'curio_intake_records_total{outcome="rejected",signal="traces"} 1.0' in found
    assert 'curio_intake_refused_bodies_total{signal="traces",status="400"} 1.0' in found
    assert 'curio_intake_refused_bodies_total{signal="traces",status="415"} 1.0' in found
    assert "curio_intake_waiting_bodies 0.0" in found
    assert "curio_intake_waiting_bytes 0.0" in found


# --- when the database does not take it -----------------------------------------------------------


def test_a_database_that_takes_nothing_makes_senders_try_again(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, down = Receiver.spans, [True]

    def sometimes(self: Receiver, spans: object) -> object:
        if down[0]:
            raise UnavailableError("The network is down.")
        return stored(self, spans)  # type: ignore[arg-type]

    monkeypatch.setattr(Receiver, "spans", sometimes)
    with served(persistence) as server:
        answer = post(server, body(span(1)))
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert post(server, body(span(1)), Content_Type=JSON).status == 400
        down[0] = False
        assert partial(post(server, body(span(1)))) == (0, "")
    assert names(persistence) == ["chat 1"]
