"""Agiwo's trace storages, awaited."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from curio_persistence.compat.agiwo.opening import Opened, made
from curio_persistence.compat.agiwo.saved_traces import COLLECTION, SavedTraces
from curio_persistence.compat.agiwo.trace_base import BaseTraceStorage
from curio_persistence.compat.agiwo.traces import Trace, TraceQuery, query_of
from curio_persistence.persistence import (
    InMemoryPersistence,
    Persistence,
    PostgresPersistence,
    SQLitePersistence,
)
from curio_persistence.store.filters import checked_count


@dataclass
class TraceStorageConfig:
    """Which storage `create_trace_storage` makes; its settings are in `config`."""

    storage_type: str | None = None
    config: dict[str, Any] = field(default_factory=dict)


class TraceStorage(Opened, BaseTraceStorage):
    """Over any persistence: `TraceStorage(PostgresPersistence)`."""

    def __init__(
        self,
        open_persistence: Callable[[], Persistence],
        collection_name: str = COLLECTION,
        *,
        closes: bool = True,
    ) -> None:
        super().__init__(open_persistence, closes=closes)
        self.collection_name = collection_name

    async def save_trace(self, trace: Trace) -> None:
        """Store a trace, in place of the one that has its id."""
        await self._call(lambda persistence: self._save(self._in(persistence), trace))

    async def get_trace(self, trace_id: str) -> Trace | None:
        """Return a trace; None if it is not stored."""
        return await self._call(lambda persistence: self._in(persistence).get(trace_id))

    async def query_traces(self, query: TraceQuery | Mapping[str, Any]) -> list[Trace]:
        """Return traces, those that began last first."""
        asked = query_of(query)
        return await self._call(lambda persistence: self._in(persistence).query(asked))

    def _in(self, persistence: Persistence) -> SavedTraces:
        return SavedTraces(persistence, self.collection_name)

    def _save(self, saved: SavedTraces, trace: Trace) -> None:
        saved.save(trace)


class InMemoryTraceStorage(TraceStorage):
    """In memory: the last `buffer_size` traces that were saved. They stay when it is closed."""

    def __init__(self, buffer_size: int = 200, collection_name: str = COLLECTION) -> None:
        persistence = InMemoryPersistence()
        super().__init__(lambda: persistence, collection_name, closes=False)
        self.buffer_size = checked_count("buffer_size", buffer_size)
        self._saved: OrderedDict[str, None] = OrderedDict()

    def _save(self, saved: SavedTraces, trace: Trace) -> None:
        with saved.persistence.transaction():  # One thread at a time.
            saved.save(trace)
            self._saved[trace.trace_id] = None
            self._saved.move_to_end(trace.trace_id)
            while len(self._saved) > self.buffer_size:
                saved.forget(self._saved.popitem(last=False)[0])


class SQLiteTraceStorage(TraceStorage):
    """In a SQLite file."""

    def __init__(
        self, db_path: str | os.PathLike[str] = "agiwo.db", collection_name: str = COLLECTION
    ) -> None:
        super().__init__(lambda: SQLitePersistence(db_path), collection_name)
        self.db_path = db_path


class PostgresTraceStorage(TraceStorage):
    """In a schema of a PostgreSQL database."""

    def __init__(
        self,
        dsn: str | None = None,
        schema: str = "agent_sdk",
        collection_name: str = COLLECTION,
    ) -> None:
        super().__init__(lambda: PostgresPersistence(dsn=dsn, schema=schema), collection_name)


_TYPES: Mapping[str, Callable[..., TraceStorage]] = {
    "memory": InMemoryTraceStorage,
    "sqlite": SQLiteTraceStorage,
    "postgres": PostgresTraceStorage,
}


def create_trace_storage(config: TraceStorageConfig) -> BaseTraceStorage | None:
    """Return the storage that a configuration names; None for none."""
    if config.storage_type is None:
        return None
    return made("trace_storage", _TYPES, config.storage_type, config.config)
