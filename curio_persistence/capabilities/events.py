"""Events: appended, never changed, listed in the order they happened."""

from __future__ import annotations

from curio_persistence.capabilities.appends import Appends
from curio_persistence.errors import ConflictError, InvalidValueError, MissingRunError
from curio_persistence.models import AgentRunEvent
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import checked_count
from curio_persistence.store.results import Direction, Page, Stream, open_stream, read_page
from curio_persistence.store.tables import EVENTS


class Events(Appends[AgentRunEvent]):
    """What happened in runs."""

    _table = EVENTS
    _dated = ("timestamp", "created_at")

    def log(self, event: AgentRunEvent) -> None:
        """Append an event; see `BasePersistence.log_agent_run_event`."""
        row = EVENTS.encode(event)
        now = self._clock.stamp(event.run_id)
        text = encode_time(now)
        if undated := row["timestamp"] is None:
            row["timestamp"] = text
        if unstored := row["created_at"] is None:
            row["created_at"] = text
        try:
            ident = self._store.insert(EVENTS, row)
        except (MissingRunError, ConflictError):
            self._store_and_tell([event], [row], {row["run_id"]: now})
            return
        try:
            event.id = ident
            if undated:
                event.timestamp = now
            if unstored:
                event.created_at = now
        except AttributeError:  # A frozen record: it is stored all the same.
            return

    def of_run(
        self, run_id: str, *, event_type: str | None = None, limit: int | None = None
    ) -> list[AgentRunEvent]:
        """A run's events, oldest first."""
        if run_id is None:
            raise InvalidValueError("run_id is required.", field="run_id")
        where = EVENTS.where(run_id=run_id, event_type=event_type)
        limit = None if limit is None else checked_count("limit", limit)
        return EVENTS.decode(self._store.select(EVENTS, where, limit=limit))

    def query(
        self,
        *,
        agent_id: str | None = None,
        run_id: str | None = None,
        event_type: str | None = None,
        order: Direction = "newest",
        limit: int | None = 100,
        cursor: str | None = None,
    ) -> Page[AgentRunEvent]:
        """Events by the time they happened, page by page."""
        where = EVENTS.where(agent_id=agent_id, run_id=run_id, event_type=event_type)
        return read_page(self._store, EVENTS, where, order=order, limit=limit, cursor=cursor)

    def iterate(
        self,
        *,
        run_id: str | None = None,
        agent_id: str | None = None,
        event_type: str | None = None,
        order: Direction = "oldest",
    ) -> Stream[AgentRunEvent]:
        """All events by the time they happened, in constant memory."""
        where = EVENTS.where(agent_id=agent_id, run_id=run_id, event_type=event_type)
        return open_stream(self._store, EVENTS, where, order=order)
