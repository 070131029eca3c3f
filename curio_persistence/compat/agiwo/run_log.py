"""Agiwo's run log storages: its names, awaited, over the run log of ours."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from curio_persistence.compat.agiwo.opening import Opened, made
from curio_persistence.errors import ConflictError, InvalidValueError
from curio_persistence.models import AgentRunEvent
from curio_persistence.persistence import (
    InMemoryPersistence,
    Persistence,
    PostgresPersistence,
    SQLitePersistence,
)
from curio_persistence.results.pages import Direction
from curio_persistence.runlog.decisions import RuntimeDecisionState
from curio_persistence.runlog.entries import RunLogEntry, RunLogEntryKind, RunRolledBack
from curio_persistence.runlog.runs import RunView
from curio_persistence.runlog.steps import StepView
from curio_persistence.store.filters import checked_count

_ORDERS: Mapping[str, Direction] = {"asc": "oldest", "desc": "newest"}


class DuplicateSequenceError(ConflictError, ValueError):
    """A session has an entry with this sequence already."""


@dataclass
class RunLogStorageConfig:
    """Which storage `create_run_log_storage` makes; its settings are in `config`."""

    storage_type: str = "memory"
    config: dict[str, Any] = field(default_factory=dict)


class RunLogStorage(Opened):
    """Over any persistence: `RunLogStorage(PostgresPersistence)`.

    Rollbacks, hiding and condensing hold for their whole session, whichever run recorded them.
    """

    async def append_entries(self, entries: Iterable[RunLogEntry]) -> None:
        """Append entries with their sequences, in any order, all or none.

        DuplicateSequenceError if a session has one of the sequences already.
        """
        sessions = _by_session(entries)
        await self._call(lambda persistence: _append(persistence, sessions))

    async def list_entries(
        self,
        *,
        session_id: str,
        run_id: str | None = None,
        agent_id: str | None = None,
        after_sequence: int | None = None,
        kinds: Collection[str] | None = None,
        order: str = "asc",
        limit: int | None = 1000,
    ) -> list[RunLogEntry]:
        """Return entries by their sequence."""
        if kinds is not None and not kinds:
            return []
        direction = _direction(order)
        return await self._call(
            lambda persistence: persistence.runlog.entries(
                session_id,
                run_id=run_id,
                agent_id=agent_id,
                after=after_sequence,
                kinds=kinds,
                order=direction,
                limit=limit,
            )
        )

    async def allocate_sequence(self, session_id: str) -> int:
        """Return the next sequence of a session, which no other caller gets."""
        return await self._call(lambda persistence: persistence.runlog.allocate(session_id)[0])

    async def get_max_sequence(self, session_id: str) -> int:
        """Return the highest sequence of a session; 0 if it has no entries."""
        return await self._call(lambda persistence: persistence.runlog.max_sequence(session_id))

    async def get_run_view(self, run_id: str) -> RunView | None:
        """Return a run; None if it has not begun."""
        return await self._call(lambda persistence: persistence.runlog.run_view(run_id))

    async def list_run_views(
        self,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        limit: int = 20,
        offset: int = 0,
    ) -> list[RunView]:
        """Return runs, the newest first."""
        first = checked_count("offset", offset)
        last = first + checked_count("limit", limit)
        return await self._call(
            lambda persistence: [*islice(_run_views(persistence, user_id, session_id), first, last)]
        )

    async def list_step_views(
        self,
        *,
        session_id: str,
        start_seq: int | None = None,
        end_seq: int | None = None,
        run_id: str | None = None,
        agent_id: str | None = None,
        include_rolled_back: bool = False,
        include_hidden_from_context: bool = True,
        limit: int | None = 1000,
        order: str = "asc",
    ) -> list[StepView]:
        """Return steps by their sequence, `start_seq` and `end_seq` included."""
        direction = _direction(order)
        return await self._call(
            lambda persistence: persistence.runlog.step_views(
                session_id,
                start=start_seq,
                end=end_seq,
                run_id=run_id,
                agent_id=agent_id,
                include_rolled_back=include_rolled_back,
                include_hidden_from_context=include_hidden_from_context,
                order=direction,
                limit=limit,
            )
        )

    async def count_step_views(
        self, *, session_id: str, include_hidden_from_context: bool = True
    ) -> int:
        """Return the number of steps that are not rolled back."""
        return await self._call(
            lambda persistence: persistence.runlog.count_steps(
                session_id, include_hidden_from_context=include_hidden_from_context
            )
        )

    async def get_committed_step_count(self, session_id: str) -> int:
        """Return the number of steps that are neither rolled back nor hidden."""
        return await self.count_step_views(session_id=session_id, include_hidden_from_context=False)

    async def append_run_rollback(
        self,
        session_id: str,
        run_id: str,
        agent_id: str,
        start_sequence: int,
        end_sequence: int,
        reason: str,
    ) -> None:
        """Roll back the steps from one sequence to another, both included."""
        entry = RunRolledBack(
            run_id=run_id,
            agent_id=agent_id,
            start_sequence=start_sequence,
            end_sequence=end_sequence,
            reason=reason,
        )
        await self._call(lambda persistence: persistence.runlog.append(session_id, [entry]))

    async def append_step_condensed_content(
        self, session_id: str, run_id: str, agent_id: str, step_id: str, condensed_content: str
    ) -> bool:
        """Condense the content of a step; False if the session has no such step."""
        return await self._call(
            lambda persistence: persistence.runlog.condense_step(
                session_id, step_id, condensed_content, run_id=run_id, agent_id=agent_id
            )
        )

    async def get_runtime_decision_state(
        self, *, session_id: str, run_id: str | None = None, agent_id: str | None = None
    ) -> RuntimeDecisionState:
        """Return the last decisions of a run, an agent or the session."""
        return await self._call(
            lambda persistence: persistence.runlog.decision_state(
                session_id, run_id=run_id, agent_id=agent_id
            )
        )


def _by_session(entries: Iterable[RunLogEntry]) -> Mapping[str, list[RunLogEntry]]:
    if not isinstance(entries, Iterable):
        raise InvalidValueError(
            f"Entries come in a list, not one {type(entries).__name__}.", field="entries"
        )
    sessions = defaultdict(list)
    for entry in entries:
        if not isinstance(entry, RunLogEntry):
            raise InvalidValueError(
                f"An entry is a RunLogEntry, not {type(entry).__name__}.", field="entries"
            )
        sessions[entry.session_id].append(entry)
    return sessions


def _append(persistence: Persistence, sessions: Mapping[str, list[RunLogEntry]]) -> None:
    try:
        with persistence.transaction():
            for session_id, entries in sessions.items():
                persistence.runlog.append(session_id, entries)
    except ConflictError as error:
        raise DuplicateSequenceError(str(error)) from error


def _direction(order: str) -> Direction:
    if order not in _ORDERS:
        raise InvalidValueError(f'order is "asc" or "desc", not {order!r:.80}.', field="order")
    return _ORDERS[order]


def _run_views(
    persistence: Persistence, user_id: str | None, session_id: str | None
) -> Iterator[RunView]:
    """Yield runs, the newest first."""
    listed = set()
    for event in persistence.iter_agent_run_events(
        event_type=RunLogEntryKind.RUN_STARTED, session_id=session_id, order="newest"
    ):
        if event.run_id in listed or not _is_of(event, user_id):
            continue
        view = persistence.runlog.run_view(event.run_id)
        # A run that began again is listed by when it began first.
        if view is not None and view.created_at == event.timestamp:
            listed.add(view.run_id)
            yield view


def _is_of(event: AgentRunEvent, user_id: str | None) -> bool:
    """Return whether an event is an entry that begins a run, of this user."""
    if event.seq is None:
        return False
    return user_id is None or event.get_data_dict().get("user_id") == user_id


class InMemoryRunLogStorage(RunLogStorage):
    """In memory, for tests. What is stored stays when it is closed."""

    def __init__(self) -> None:
        persistence = InMemoryPersistence()
        super().__init__(lambda: persistence, closes=False)


class SQLiteRunLogStorage(RunLogStorage):
    """In a SQLite file."""

    def __init__(self, db_path: str | os.PathLike[str] = "agiwo.db") -> None:
        super().__init__(lambda: SQLitePersistence(db_path))
        self.db_path = db_path


class PostgresRunLogStorage(RunLogStorage):
    """In a schema of a PostgreSQL database."""

    def __init__(self, dsn: str | None = None, schema: str = "agent_sdk") -> None:
        super().__init__(lambda: PostgresPersistence(dsn=dsn, schema=schema))


_TYPES: Mapping[str, Callable[..., RunLogStorage]] = {
    "memory": InMemoryRunLogStorage,
    "sqlite": SQLiteRunLogStorage,
    "postgres": PostgresRunLogStorage,
}


def create_run_log_storage(config: RunLogStorageConfig) -> RunLogStorage:
    """Return the storage that a configuration names."""
    return made("run_log_storage", _TYPES, config.storage_type, config.config)
