"""Events: appended, never changed, listed in the order they happened."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict, Unpack
from weakref import ref

from curio_persistence.capabilities.appends import Appends
from curio_persistence.capabilities.arguments import PayloadFilter, checked_run_id
from curio_persistence.capabilities.record_filter import (
    Condition,
    FilterKind,
    Value,
    checked_values,
    containing,
    equal,
)
from curio_persistence.capabilities.windows import TimeLike
from curio_persistence.clock import Clock
from curio_persistence.errors import ConflictError, InvalidValueError, MissingRunError
from curio_persistence.models import AgentRunEvent, Level
from curio_persistence.redaction import Redaction
from curio_persistence.results.pages import Direction, Page, Stream, open_stream, read_page
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Where, checked_count, matches, with_selected
from curio_persistence.store.table import Row, Table
from curio_persistence.tables import EVENTS, RUNS, SEVERITIES
from curio_persistence.tables.columns import LINKS

if TYPE_CHECKING:
    from curio_persistence.capabilities.chains import Chains
    from curio_persistence.capabilities.event_feed import EventFeed, SharedFeed


class EventFilters(TypedDict, total=False):
    """The filters of events; an event must pass all that are given."""

    agent_id: str | None
    run_id: str | Collection[str] | None
    session_id: str | None
    user_id: str | None
    event_type: str | Collection[str] | None
    level: str | Collection[str] | None
    min_level: str | None
    payload: PayloadFilter | None
    seq: int | None
    source: str | Collection[str] | None
    project: str | Collection[str] | None
    since: TimeLike | None
    until: TimeLike | None


def _of_level(level: Value) -> Where:
    if isinstance(level, tuple) or level not in SEVERITIES:
        return (equal("level", level),)
    # The second is redundant, but an index can use it.
    return (equal("level", level), Filter("severity", "=", SEVERITIES[level]))


def _checked_min_level(level: Any) -> Value:
    encoded = str(EVENTS.encode_value("level", level))
    if encoded not in [*Level]:
        raise InvalidValueError(
            f"min_level is one of {', '.join(Level)}, not {level!r}.", field="min_level"
        )
    return encoded


def _from_level(level: str) -> Where:
    """Return the filters for events at least as severe; an unknown level counts as `info`."""
    if level in SEVERITIES:
        return (Filter("severity", ">=", SEVERITIES[level]),)
    return (Filter("level", "<>", Level.DEBUG.value),) if level == Level.INFO else ()


def _checked_seq(seq: Any) -> Value:
    """Return a sequence in normal form, which is text."""
    return str(EVENTS.encode_value("seq", seq))


def _at_seq(seq: str) -> Where:
    return (Filter("seq", "=", int(seq)),)


EVENT_FILTERS = FilterKind(
    EVENTS,
    EventFilters,
    of_run=("user_id", "source", "project"),
    conditions={
        "level": Condition(partial(checked_values, EVENTS, "level"), _of_level),
        "min_level": Condition(_checked_min_level, _from_level),
        "payload": containing("payload", "data"),
        "seq": Condition(_checked_seq, _at_seq, int),
    },
)


class Events(Appends[AgentRunEvent]):
    """Append and list the events of runs; with `chain`, those of a run form a hash chain."""

    _table = EVENTS
    _dated = ("timestamp", "created_at")
    _assigned = LINKS
    _feed: ref[SharedFeed] | None = None
    """The feed that all listeners share, for as long as there is one."""

    def __init__(
        self, store: Store, clock: Clock, redaction: Redaction, *, chain: bool = False
    ) -> None:
        super().__init__(store, clock, redaction)
        self._chains: Chains | None = None
        if chain:
            from curio_persistence.capabilities.chains import EVENT_CHAINS, Chains  # On use.

            self._chains = Chains(store, clock, EVENT_CHAINS)

    def log(self, event: AgentRunEvent) -> None:
        """Append an event; see `BasePersistence.log_agent_run_event`."""
        row = self._encode(event)
        if self._chains is not None:
            self._store_and_tell([event], [row], self._date([row]))
            return
        undated, unstored = row["timestamp"] is None, row["created_at"] is None
        now = self._clock.stamp(event.run_id) if undated or unstored else None
        if now is not None:
            text = encode_time(now)
            row["timestamp"] = row["timestamp"] or text
            row["created_at"] = row["created_at"] or text
        try:
            ident = self._store.insert(EVENTS, row)
        except (MissingRunError, ConflictError):
            self._store_and_tell([event], [row], {row["run_id"]: now} if now else {})
            return
        try:
            event.id = ident
            if undated:
                event.timestamp = now
            if unstored:
                event.created_at = now
        except AttributeError:  # The record is frozen, and stored all the same.
            return

    def list(
        self, run_id: str, *, event_type: str | None = None, limit: int | None = None
    ) -> builtins.list[AgentRunEvent]:
        """Return a run's events, oldest first."""
        where = EVENTS.where(run_id=checked_run_id(run_id), event_type=event_type)
        limit = None if limit is None else checked_count("limit", limit)
        return EVENTS.decode(self._store.select(EVENTS, where, limit=limit))

    def append(self, event: AgentRunEvent) -> AgentRunEvent:
        """Append an event and return it, filled in."""
        self.log(event)
        return event

    def query(
        self,
        *,
        order: Direction = "newest",
        limit: int | None = 100,
        cursor: str | None = None,
        **filters: Unpack[EventFilters],
    ) -> Page[AgentRunEvent]:
        """Return one page of events by the time they happened."""
        where = self._where(filters)
        return read_page(
            self._store.for_reading, EVENTS, where, order=order, limit=limit, cursor=cursor
        )

    def iterate(
        self, *, order: Direction = "newest", snapshot: bool = True, **filters: Unpack[EventFilters]
    ) -> Stream[AgentRunEvent]:
        """Iterate over all events by the time they happened, in constant memory."""
        where = self._where(filters)
        return open_stream(self._store, EVENTS, where, order=order, snapshot=snapshot)

    def count(self, **filters: Unpack[EventFilters]) -> int:
        """Return the number of events."""
        return self._store.for_reading.count(EVENTS, self._where(filters))

    def matches(self, event: AgentRunEvent, **filters: Unpack[EventFilters]) -> bool:
        """Return whether an event passes the filters of `query`, as it would when it is stored."""
        row = {**EVENTS.filled, **self._encode(event)}
        return matches(row, with_selected(self._where(filters), partial(self._run_of, row)))

    def _run_of(self, row: Row, table: Table[Any]) -> Iterator[Row]:
        """Yield the run of an encoded event."""
        where = RUNS.where(run_id=row["run_id"])
        return iter(table.rows(self._store.select(table, where)))

    def follow(
        self, *, last: int = 0, interval: float = 0.5, **filters: Unpack[EventFilters]
    ) -> EventFeed:
        """Yield the newest events, then those stored from now on, each exactly once.

        The iterator never ends. `last` is the number of newest events, `interval` the seconds
        between two polls.
        """
        from curio_persistence.capabilities.event_feed import EventFeed, SharedFeed  # On use.

        last = checked_count("last", last)
        if not isinstance(interval, int | float) or not 0 <= interval < 86_400:
            raise InvalidValueError(
                f"interval is a number of seconds, less than a day, not {interval!r}.",
                field="interval",
            )
        feed = self._feed() if self._feed is not None else None
        if feed is None:
            feed = SharedFeed(self._store, EVENTS)
            self._feed = ref(feed)
        return EventFeed(self._store, EVENTS, feed, self._where(filters), last, interval)

    def _add(self, rows: Sequence[Row]) -> Sequence[int]:
        return super()._add(rows) if self._chains is None else self._chains.insert(rows)

    def _fill_in(
        self,
        records: Sequence[AgentRunEvent],
        rows: Sequence[Row],
        ids: Sequence[int],
        moments: Mapping[Any, datetime],
    ) -> None:
        super()._fill_in(records, rows, ids, moments)
        if self._chains is None:
            return
        for record, row in zip(records, rows, strict=True):
            link: Any = row.get
            try:
                record.chain_position = link("chain_position")
                record.content_hash = link("content_hash")
                record.prev_hash, record.hash = link("prev_hash"), link("hash")
            except AttributeError:  # The record is frozen, and stored all the same.
                continue

    def _where(self, filters: EventFilters) -> Where:
        return EVENT_FILTERS.of(filters).where(self._clock)
