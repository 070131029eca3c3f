"""Reading stored spans anew, after the conventions have grown, and what of them is read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, replace
from operator import add
from typing import Any, NamedTuple

from curio_persistence.capabilities.arguments import check_progress
from curio_persistence.export.records import checked_persistence
from curio_persistence.interop.otel.agent_turns import LOCK
from curio_persistence.interop.otel.facts import facts_in, without_words
from curio_persistence.interop.otel.meaning import meaning_of
from curio_persistence.interop.otel.meanings import sources_by_id
from curio_persistence.interop.otel.neighbours import node_of
from curio_persistence.interop.otel.records import READ, record_of, span_of
from curio_persistence.interop.otel.settling import Arrival, Settling
from curio_persistence.interop.otel.spans import Source
from curio_persistence.models import SpanKind
from curio_persistence.persistence import Persistence
from curio_persistence.progress import Progress
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import COUNT, Filter
from curio_persistence.store.table import Row
from curio_persistence.tables import SOURCES, SPANS

_RECEIVED = (Filter("source_id", "is not null"),)
_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Reinterpreted:
    """How many spans were read anew, and how many records changed.

    `spans` were read, of which `changed` mean something else now; `runs`, `calls` and `events` are
    the records that were added, changed or deleted.
    """

    spans: int = 0
    changed: int = 0
    runs: int = 0
    calls: int = 0
    events: int = 0

    def __add__(self, other: Reinterpreted) -> Reinterpreted:
        return Reinterpreted(*map(add, astuple(self), astuple(other)))

    def to_dict(self) -> dict[str, int]:
        """Return everything by name, ready for JSON."""
        return asdict(self)


class Sender(NamedTuple):
    """The names of a service, and of a scope and its version."""

    service_name: str = ""
    scope_name: str = ""
    scope_version: str = ""


@dataclass(frozen=True, slots=True)
class ReceivedFrom:
    """The spans of one sender: how many of each kind. Nothing is derived from `unread` ones."""

    service_name: str
    scope_name: str
    scope_version: str
    spans: int
    kinds: dict[str, int]
    unread: int

    def to_dict(self) -> dict[str, Any]:
        """Return everything by name, ready for JSON."""
        return asdict(self)


def span_senders(persistence: Persistence) -> list[ReceivedFrom]:
    """Return what was received by OpenTelemetry, by service and scope; the one with most first."""
    store = checked_persistence(persistence)._store
    columns = ("source_id", "service_name", "scope_name", "scope_version")
    names = {row[0]: Sender(*row[1:]) for row in store.select_columns(SOURCES, columns)}
    counts: defaultdict[Sender, Counter[str]] = defaultdict(Counter)
    groups = store.aggregate(SPANS, (COUNT,), _RECEIVED, group_by=("source_id", "kind"))
    for source_id, kind, count in groups:
        counts[names.get(source_id, Sender())][kind] += count
    found = [
        ReceivedFrom(*name, kinds.total(), dict(kinds.most_common()), kinds[SpanKind.SPAN.value])
        for name, kinds in counts.items()
    ]
    return sorted(found, key=lambda each: (-each.spans, each.service_name, each.scope_name))


def reinterpret_spans(
    persistence: Persistence, *, dry_run: bool = False, progress: Progress | None = None
) -> Reinterpreted:
    """Read all received spans anew, as this version understands them, and return what changed.

    About a thousand spans at a time are read in one transaction; with `dry_run` nothing stays
    changed.
    """
    check_progress(progress)
    store = checked_persistence(persistence)._store
    rereading, total = _Rereading(persistence), Reinterpreted()
    spans = store.count(SPANS, _RECEIVED)
    for trace_ids in rereading.parts():
        with suppress(_Undo), store.transaction():
            store.advisory_lock(LOCK)
            total += rereading.read(trace_ids)
            if dry_run:
                raise _Undo
        if progress:
            progress(total.spans, spans)
    return total


class _Undo(Exception):
    """Rolls a transaction back."""


class _Rereading:
    """Reads all received spans anew, some traces at a time."""

    def __init__(self, persistence: Persistence) -> None:
        self._persistence = persistence
        self._store = persistence._store
        self._encode = persistence.redaction.encoder(SPANS)

    def parts(self) -> Iterator[list[str]]:
        """Yield the ids of traces, about a thousand spans at a time."""
        part, spans = list[str](), 0
        counts = self._store.aggregate(SPANS, (COUNT,), _RECEIVED, group_by=("trace_id",))
        for trace_id, count in sorted(counts):
            part.append(trace_id)
            spans += count
            if spans >= _AT_ONCE:
                yield part
                part, spans = [], 0
        if part:
            yield part

    def read(self, trace_ids: list[str]) -> Reinterpreted:
        """Read the spans of some traces anew, inside a transaction."""
        now = encode_time(self._persistence.clock.now())
        where = (Filter("trace_id", "in", tuple(trace_ids)), *_RECEIVED)
        rows = SPANS.rows(self._store.select(SPANS, where))
        sources = sources_by_id(self._store, {str(row["source_id"]) for row in rows})
        arrivals = {}
        for row in rows:
            arrival = self._arrival(row, sources.get(str(row["source_id"]), Source()))
            arrivals[arrival.node.key] = arrival
        changed = sum(differs(each) for each in arrivals.values())
        settling = Settling(self._persistence, arrivals, now)
        settling.settle()
        return Reinterpreted(len(rows), changed, *settling.changes)

    def _arrival(self, before: Row, source: Source) -> Arrival:
        record = SPANS.decode_row(before)
        span = span_of(record, source)
        facts, meaning = facts_in(record.meaning), meaning_of(span)
        if record.attributes is None and without_words(meaning) != facts:
            meaning = facts  # Its words are gone.
        read = record_of(span, meaning, record.source_id or "")
        row = self._encode(replace(record, **{name: getattr(read, name) for name in READ}))
        return Arrival(row, node_of(row), meaning, before)


def differs(arrival: Arrival) -> bool:
    """Return whether a span means something else than before."""
    before = arrival.before or {}
    return any(arrival.row.get(name) != before.get(name) for name in READ)
