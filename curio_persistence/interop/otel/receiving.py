"""Receive spans: each is stored once, with the records that it makes.

The tables are a function of the set of spans that were received, whatever their order, and however
often they come.
"""

from __future__ import annotations

from _blake2 import blake2b  # Ten times as quick to import as hashlib.
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeVar, Unpack

from curio_persistence.capabilities.traces import SpanFilters
from curio_persistence.errors import BusyError, ConflictError, InvalidValueError
from curio_persistence.interop.otel.agent_events import agent_event
from curio_persistence.interop.otel.agent_metrics import MetricsStored, store_points
from curio_persistence.interop.otel.agent_turns import LOCK, TurnsStored, store_events
from curio_persistence.interop.otel.conventions import LOG_MARK
from curio_persistence.interop.otel.facts import without_words
from curio_persistence.interop.otel.identity import database_id, is_from
from curio_persistence.interop.otel.meaning import meaning_of
from curio_persistence.interop.otel.meanings import sources_by_id, stored_meaning
from curio_persistence.interop.otel.messages import (
    AWAITED,
    Messages,
    awaited,
    messages_by_span,
    messages_in,
    with_messages,
)
from curio_persistence.interop.otel.neighbours import Key, Node, of_keys
from curio_persistence.interop.otel.records import READ, record_of, source_record, span_of
from curio_persistence.interop.otel.settling import Arrival, Settling
from curio_persistence.interop.otel.spans import (
    Meaning,
    OtelEvent,
    OtelLog,
    OtelPoint,
    OtelSpan,
    Source,
)
from curio_persistence.interop.otel.values import values_in
from curio_persistence.models import SpanSource
from curio_persistence.persistence import Persistence
from curio_persistence.store.codecs import decode_text, encode_time
from curio_persistence.store.filters import Filter
from curio_persistence.store.table import Row, StoredValue
from curio_persistence.tables import SOURCES, SPANS

_AT_ONCE = 1_000
_ATTEMPTS = 20
_REMEMBERED = 1 << 20
"""The characters of senders that a receiver remembers."""
_PENDING = "pending_span"
_NOT_SENT = {"id", "created_at", "updated_at", "run_id", *READ}
_SENT = tuple(name for name in SPANS.names if name not in _NOT_SENT)
"""The columns that have what was sent; the others follow from these."""


R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class LogsStored:
    """How many log records were new, how many were stored already, and how many were ignored."""

    new: int = 0
    repeated: int = 0
    ignored: int = 0


@dataclass(frozen=True, slots=True)
class Stored:
    """How many spans were new, replaced a version that was stored, or were stored already."""

    new: int = 0
    changed: int = 0
    repeated: int = 0

    def __add__(self, other: Stored) -> Stored:
        return Stored(
            self.new + other.new, self.changed + other.changed, self.repeated + other.repeated
        )


class Receiver:
    """Stores the spans that others send, in the tables of a persistence."""

    def __init__(self, persistence: Persistence) -> None:
        if not isinstance(persistence, Persistence):
            raise InvalidValueError(
                f"A receiver takes an open persistence, not {type(persistence).__name__}.",
                field="persistence",
            )
        self._persistence = persistence
        self._store = persistence._store
        self._database = database_id(persistence._store)
        self._encode = persistence.redaction.encoder(SPANS)
        self._sources = SourceRows(persistence.redaction.encoder(SOURCES))

    def spans(self, spans: Iterable[OtelSpan]) -> Stored:
        """Store spans with the runs, calls and events that they make, and return how many.

        A thousand at a time are stored in one transaction. Spans that are stored already are left
        as they are; of different versions of a span the one with the later end stays. Spans that
        were exported from this database are stored here as other records, and are left as well.
        """
        waiting = iter(spans)
        total = Stored()
        while some := list(islice(waiting, _AT_ONCE)):
            others = [span for span in some if not is_from(span.source, self._database)]
            total += Stored(repeated=len(some) - len(others))
            if others:
                total += self._exclusively(partial(self._store_spans, others))
        return total

    def logs(self, logs: Iterable[OtelLog]) -> LogsStored:
        """Store the log records that tell of agents, and return how many did.

        Messages of model calls are stored with their spans, which may come earlier or later. Events
        of coding agents make runs, calls and events. Other records are counted only.
        """
        some = list(logs)
        events = [event for log in some if (event := agent_event(log)) is not None]
        turns = store_events(self._persistence, events) if events else TurnsStored()
        messages = messages_by_span(some)
        told = sum(len(each.events) for each in messages.values())
        joined = 0
        waiting = iter(messages.items())
        while few := dict(islice(waiting, _AT_ONCE)):
            joined += self._exclusively(partial(self._join, few))
        return LogsStored(
            turns.new + joined,
            turns.repeated + told - joined,
            turns.ignored + len(some) - len(events) - told,
        )

    def metrics(self, points: Iterable[OtelPoint]) -> MetricsStored:
        """Store the data points that coding agents send as metrics of their runs; count others."""
        return store_points(self._persistence, points)

    def received(self, **filters: Unpack[SpanFilters]) -> Iterator[OtelSpan]:
        """Yield received spans as they came, but for what was redacted, the newest first.

        The filters are those of `persistence.traces.spans`.
        """
        stream = self._persistence.traces.spans(**filters)
        sources: dict[str, Source] = {}
        for record in stream:
            if (source_id := record.source_id) is not None:
                if source_id not in sources:
                    sources |= sources_by_id(self._store, [source_id])
                yield span_of(record, sources.get(source_id, Source()))

    def _exclusively(self, work: Callable[[], R]) -> R:
        """Do something in one transaction, while no other one stores received spans."""
        for _ in range(_ATTEMPTS):
            try:
                with self._store.transaction():
                    self._store.advisory_lock(LOCK)
                    return work()
            except ConflictError:  # An application has saved one of these spans meanwhile.
                continue
        raise BusyError("Other transactions keep storing the same spans; try again.")

    def _store_spans(self, spans: Sequence[OtelSpan]) -> Stored:
        now = encode_time(self._persistence.clock.now())
        sources = Sources(self._sources, now)
        stored = self._stored_rows({(span.trace_id, span.span_id) for span in spans})
        arrivals: dict[Key, Arrival] = {}
        for span in spans:
            key = (span.trace_id, span.span_id)
            before = arrivals[key].row if key in arrivals else stored.get(key)
            whole = _with_earlier_messages(span, before)
            if before is None or self._replaces(whole, sources, before):
                arrivals[key] = self._arrival(whole, sources, stored.get(key))
        self._settle(arrivals, sources, now)
        changed = sum(key in stored for key in arrivals)
        new = len(arrivals) - changed
        return Stored(new, changed, len(spans) - len(arrivals))

    def _join(self, messages: Mapping[Key, Messages]) -> int:
        """Add messages to their spans, and return how many these did not have."""
        now = encode_time(self._persistence.clock.now())
        sources = Sources(self._sources, now)
        stored = self._stored_rows(messages)
        records = {key: SPANS.decode_row(row) for key, row in stored.items()}
        known = sources_by_id(self._store, {each.source_id or "" for each in records.values()})
        arrivals: dict[Key, Arrival] = {}
        new = 0
        for key, some in messages.items():
            if (record := records.get(key)) is None:
                before, after = None, awaited(key, some)
            else:
                before = span_of(record, known.get(record.source_id or "", Source()))
                after = with_messages(before, some.events)
            if after is not before:
                new += len(messages_in(after)) - len(messages_in(before) if before else ())
                arrivals[key] = self._arrival(after, sources, stored.get(key))
        self._settle(arrivals, sources, now)
        return new

    def _settle(self, arrivals: Mapping[Key, Arrival], sources: Sources, now: str) -> None:
        if arrivals:
            self._store_sources(sources)
            Settling(self._persistence, arrivals, now).settle()

    def _store_sources(self, sources: Sources) -> None:
        where = (Filter("source_id", "in", tuple(sources.rows)),)
        known = {row[0] for row in self._store.select_columns(SOURCES, ("source_id",), where)}
        new = [row for source_id, row in sources.rows.items() if source_id not in known]
        self._store.insert_many(SOURCES, new)

    def _stored_rows(self, keys: Collection[Key]) -> dict[Key, Row]:
        """Return the rows of those of some spans that are stored."""
        found = {}
        for where in of_keys("span_id", keys):
            for row in SPANS.rows(self._store.select(SPANS, where)):
                key = (str(row["trace_id"]), str(row["span_id"]))
                if key in keys:
                    found[key] = row
        return found

    def _replaces(self, span: OtelSpan, sources: Sources, before: Row) -> bool:
        """Return whether a span is stored in place of another version of it."""
        after = self._encode(record_of(span, Meaning(), sources.id_of(span.source)))
        return _sent(after) != _sent(before) and _rank(after) > _rank(before)

    def _arrival(self, span: OtelSpan, sources: Sources, before: Row | None) -> Arrival:
        """Return a span as it is to be stored, in place of a stored version of it."""
        source_id = sources.id_of(span.source)
        meaning = meaning_of(span)
        row = self._encode(record_of(span, meaning, source_id))
        node = Node(
            span.trace_id,
            span.span_id,
            span.parent_span_id,
            str(row["name"]),
            span.start_ns,
            span.end_ns or None,
            source_id,
            before and before["run_id"],
            without_words(meaning),
        )
        if not self._persistence.redaction.keeps_all:
            # When it is stored does not matter to what it means.
            begin = row["started_at"]
            record = SPANS.decode_row({**row, "created_at": begin, "updated_at": begin})
            meaning = stored_meaning(record, span.source)
        return Arrival(row, node, meaning, before)


def _with_earlier_messages(span: OtelSpan, before: Row | None) -> OtelSpan:
    """Return a span with the messages that came before it."""
    events = before and before.get("events")
    if not isinstance(events, str) or LOG_MARK not in events:
        return span
    told = (OtelEvent(**each) for each in values_in(decode_text(events)) or ())
    return with_messages(span, [event for event in told if LOG_MARK in event.attributes])


def _sent(row: Row) -> tuple[StoredValue, ...]:
    return tuple(map(row.get, _SENT))


def _rank(row: Row) -> tuple[bool, bool, str, int, bytes]:
    """Return what puts one version of a span before others, in whatever order they come."""
    ended_at, nanos = row["ended_at"], row.get("end_nanos")
    content = blake2b(repr(_sent(row)).encode(errors="surrogatepass")).digest()
    return (
        row.get("source_id") is not None,
        not _is_pending(row),
        str(ended_at or ""),
        int(nanos or 0),
        content,
    )


def _is_pending(row: Row) -> bool:
    """Return whether a row stands for a span until it comes: Logfire sends such spans, too."""
    attributes = row.get("attributes")
    if not isinstance(attributes, str) or not (_PENDING in attributes or AWAITED in attributes):
        return False
    values = values_in(decode_text(attributes))
    return isinstance(values, dict) and (
        values.get("logfire.span_type") == _PENDING or values.get(AWAITED) is True
    )


class SourceRows:
    """The rows of senders, of which the last ones are remembered: they come with each body."""

    def __init__(self, encode: Callable[[SpanSource], Row]) -> None:
        self._encode = encode
        self._known: dict[int, tuple[Source, Row]] = {}
        self._size = 0

    def row_of(self, source: Source) -> Row:
        """Return the row of a source, whose id is a hash of what is stored of it."""
        known = self._known.get(id(source))
        if known is None:
            known = source, self._made(source)
            size = len(str(known[1]["source"]))
            if self._size + size > _REMEMBERED:
                self._known, self._size = {}, 0
            self._known[id(source)] = known  # With the source, so that no other gets its id().
            self._size += size
        return known[1]

    def _made(self, source: Source) -> Row:
        row = self._encode(source_record(source))
        told = repr(sorted((k, v) for k, v in row.items() if k != "source_id"))
        source_id = blake2b(told.encode(errors="surrogatepass"), digest_size=16).hexdigest()
        return row | {"source_id": source_id}


class Sources:
    """The senders of the spans of a transaction."""

    def __init__(self, known: SourceRows, now: str) -> None:
        self._known = known
        self._times: Row = {"created_at": now, "updated_at": now}
        self.rows: dict[str, Row] = {}

    def id_of(self, source: Source) -> str:
        """Return the id of a source, and queue the source to be stored."""
        row = self._known.row_of(source)
        source_id = str(row["source_id"])
        if source_id not in self.rows:
            self.rows[source_id] = row | self._times
        return source_id
