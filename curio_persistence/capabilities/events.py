"""Events: appended, never changed, listed in the order they happened."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypedDict, Unpack
from weakref import ref

from curio_persistence.capabilities.appends import Appends
from curio_persistence.capabilities.arguments import PayloadFilter, checked_run_id, holding
from curio_persistence.capabilities.following import Following, SharedFeed
from curio_persistence.capabilities.windows import Moment, window
from curio_persistence.errors import ConflictError, InvalidValueError, MissingRunError
from curio_persistence.models import AgentRunEvent, Level
from curio_persistence.results.pages import Direction, Page, Stream, open_stream, read_page
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Where, checked_count, refuse_unknown
from curio_persistence.tables import EVENTS, SEVERITIES


class EventFilters(TypedDict, total=False):
    """The filters of events; an event must pass all that are given."""

    agent_id: str | None
    run_id: str | None
    session_id: str | None
    event_type: str | Collection[str] | None
    level: str | Collection[str] | None
    min_level: str | None
    payload: PayloadFilter | None
    since: Moment | None
    until: Moment | None


class Events(Appends[AgentRunEvent]):
    """Append and list the events of runs."""

    _table = EVENTS
    _dated = ("timestamp", "created_at")
    _feed: ref[SharedFeed] | None = None
    """The feed that all listeners share, for as long as there is one."""

    def log(self, event: AgentRunEvent) -> None:
        """Append an event; see `BasePersistence.log_agent_run_event`."""
        row = self._encode(event)
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

    def of_run(
        self, run_id: str, *, event_type: str | None = None, limit: int | None = None
    ) -> list[AgentRunEvent]:
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
        where = self.where(**filters)
        return read_page(self._store, EVENTS, where, order=order, limit=limit, cursor=cursor)

    def iterate(
        self, *, order: Direction = "oldest", snapshot: bool = True, **filters: Unpack[EventFilters]
    ) -> Stream[AgentRunEvent]:
        """Iterate over all events by the time they happened, in constant memory."""
        where = self.where(**filters)
        return open_stream(self._store, EVENTS, where, order=order, snapshot=snapshot)

    def count(self, **filters: Unpack[EventFilters]) -> int:
        """Return the number of events."""
        return self._store.count(EVENTS, self.where(**filters))

    def follow(
        self, *, last: int = 0, interval: float = 0.5, **filters: Unpack[EventFilters]
    ) -> Following:
        """Yield the newest events, then those stored from now on, each exactly once.

        The iterator never ends. `last` is the number of newest events, `interval` the seconds
        between two polls.
        """
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
        return Following(self._store, EVENTS, feed, self.where(**filters), last, interval)

    def where(self, **filters: Unpack[EventFilters]) -> Where:
        """Return the filters of the store for those that a caller gave."""
        refuse_unknown(filters, EventFilters)
        names = ("agent_id", "run_id", "session_id", "event_type")
        return (
            *EVENTS.where_any(**{name: filters.get(name) for name in names}),
            *_of_level(filters.get("level")),
            *_from_level(filters.get("min_level")),
            *holding("payload", "data", filters.get("payload")),
            *window(EVENTS, self._clock, filters.get("since"), filters.get("until")),
        )


def _of_level(level: str | Collection[str] | None) -> Where:
    where = EVENTS.where_any(level=level)
    known = [SEVERITIES[f.value] for f in where if f.op == "=" and f.value in SEVERITIES]
    # Redundant, but an index can use it.
    return (*where, *(EVENTS.filter("severity", "=", severity) for severity in known))


def _from_level(level: str | None) -> Where:
    """Return the filters for events at least as severe; an unknown level counts as `info`."""
    if level is None:
        return ()
    kept = EVENTS.encode_value("level", level)
    if kept in SEVERITIES:
        return (EVENTS.filter("severity", ">=", SEVERITIES[kept]),)
    if kept == Level.INFO:
        return (EVENTS.filter("level", "<>", Level.DEBUG),)
    if kept == Level.DEBUG:
        return ()
    raise InvalidValueError(
        f"min_level is one of {', '.join(Level)}, not {level!r}.", field="min_level"
    )
