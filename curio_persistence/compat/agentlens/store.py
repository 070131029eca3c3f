"""The event store: all of its calls, and the ways to open one."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Self

from curio_persistence.compat.agentlens.analytics import Analyzes
from curio_persistence.compat.agentlens.describing import Describes
from curio_persistence.compat.agentlens.engine import Evaluates
from curio_persistence.compat.agentlens.reading import Reads
from curio_persistence.compat.agentlens.retention import Retains
from curio_persistence.compat.agentlens.writing import Writes
from curio_persistence.persistence import PostgresPersistence, SQLitePersistence


class EventStore(Writes, Describes, Reads, Analyzes, Evaluates, Retains):
    """AgentLens' event store over a persistence, which `close()` closes. Threads may share it."""

    def close(self) -> None:
        """Close the persistence. Closing twice is fine."""
        self.persistence.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.persistence!r})"


class SqliteEventStore(EventStore):
    """In a SQLite file, which is made if it is not there."""

    def __init__(self, path: str | os.PathLike[str], **settings: Any) -> None:
        super().__init__(SQLitePersistence(path, **settings))


class PostgresEventStore(EventStore):
    """In one schema of a PostgreSQL database."""

    def __init__(self, dsn: str, *, schema: str = "agent_sdk", **settings: Any) -> None:
        super().__init__(PostgresPersistence(dsn=dsn, schema=schema, **settings))
