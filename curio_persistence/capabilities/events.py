"""Events: appended, never changed, listed in the order they happened."""

from __future__ import annotations

from contextlib import suppress

from curio_persistence.clock import Clock
from curio_persistence.errors import ConflictError, InvalidValueError, MissingRunError
from curio_persistence.models import AgentRun, AgentRunEvent, AgentRunStatus
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import checked_count
from curio_persistence.store.tables import EVENTS, RUNS, Row


class Events:
    """What happened in runs."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

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
        except MissingRunError:
            ident = self._insert_with_stub(event, row, text)
        try:
            event.id = ident
            if undated:
                event.timestamp = now
            if unstored:
                event.created_at = now
        except AttributeError:  # A frozen record: it is stored all the same.
            return

    def _insert_with_stub(self, event: AgentRunEvent, row: Row, now: str) -> int:
        """Keep an event that came before its run, or whose run could not be stored."""
        run = AgentRun(
            event.agent_id, event.run_id, event.agent_name, status=AgentRunStatus.RUNNING
        )
        stub = RUNS.encode(run)
        stub["started_at"] = row["timestamp"]
        stub["created_at"] = stub["updated_at"] = now
        stub["stub"] = 1
        with self._store.transaction():
            with suppress(ConflictError):  # Somebody else was faster.
                self._store.insert(RUNS, stub)
            return self._store.insert(EVENTS, row)

    def of_run(
        self, run_id: str, *, event_type: str | None = None, limit: int | None = None
    ) -> list[AgentRunEvent]:
        """A run's events, oldest first."""
        if run_id is None:
            raise InvalidValueError("run_id is required.", field="run_id")
        where = EVENTS.where(run_id=run_id, event_type=event_type)
        limit = None if limit is None else checked_count("limit", limit)
        return EVENTS.decode(self._store.select(EVENTS, where, limit=limit))
