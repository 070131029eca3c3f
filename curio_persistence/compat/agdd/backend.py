"""The storage backend over any persistence, and the one backend of a process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from math import inf
from pathlib import Path
from threading import Lock
from typing import Any

from curio_persistence.aio.persistence import AsyncPersistence
from curio_persistence.aio.transfers import archive_runs
from curio_persistence.compat.agdd.base import StorageCapabilities
from curio_persistence.compat.agdd.tickets import TicketBackend
from curio_persistence.compat.agdd.translation import all_ours, as_event, as_run, iso, ours
from curio_persistence.errors import ClosedError
from curio_persistence.models import AgentRun, AgentRunEvent
from curio_persistence.persistence import Persistence, SQLitePersistence, connect
from curio_persistence.store.filters import checked_count


class CurioStorageBackend(TicketBackend):
    """Over any persistence: `CurioStorageBackend(PostgresPersistence)`, or any other function that
    opens one. It is opened by `initialize()`, or by the first call, and closed by `close()`.
    """

    def __init__(self, open_persistence: Callable[[], Persistence]) -> None:
        self._open_persistence = open_persistence
        self._opening = Lock()
        self._opened: AsyncPersistence | None = None
        self._can_search = False
        self._is_closed = False

    async def _persistence(self) -> AsyncPersistence:
        if self._opened is not None:
            return self._opened
        return await asyncio.to_thread(self._open)

    def _open(self) -> AsyncPersistence:
        with self._opening:
            if self._opened is None:
                if self._is_closed:
                    raise ClosedError("This storage backend was closed. Make a new one.")
                persistence = self._open_persistence()
                self._can_search = persistence.search.enabled
                self._opened = AsyncPersistence(persistence)
                if self.is_closed:  # Closed by now: no other code closes it.
                    persistence.close()
            return self._opened

    @property
    def capabilities(self) -> StorageCapabilities:
        """Return what this backend can do; whether it can search is known once it is open."""
        return StorageCapabilities(
            query_metrics=True,
            search_text=self._can_search,
            archive_artifacts=True,
            lifecycle_policy=True,
            streaming=True,
        )

    @property
    def is_closed(self) -> bool:
        """Return whether it was closed; every call then raises ClosedError."""
        return self._is_closed

    async def initialize(self) -> None:
        """Open the persistence; its tables are made if there are none."""
        await (await self._persistence()).initialize_schema()

    async def close(self) -> None:
        """Close the persistence. Closing twice is fine."""
        self._is_closed = True
        if self._opened is not None:
            await self._opened.close()

    async def create_run(
        self,
        run_id: str,
        agent_slug: str,
        parent_run_id: str | None = None,
        started_at: datetime | None = None,
        status: str = "running",
        tags: list[str] | None = None,
    ) -> None:
        """Begin a run; now, unless it is said when. ConflictError if it was begun before."""
        persistence = await self._persistence()
        run = AgentRun(
            agent_slug,
            run_id,
            parent_run_id=parent_run_id,
            started_at=started_at or persistence.clock.stamp(run_id),
            status=ours(status),
            tags=tags,
            created_at=started_at,  # By which runs are listed: there, by when they began.
        )
        await persistence.create_agent_run(run)

    async def append_event(
        self,
        run_id: str,
        agent_slug: str,
        event_type: str,
        timestamp: datetime,
        level: str | None = None,
        message: str | None = None,
        payload: Mapping[str, Any] | None = None,
        span_id: str | None = None,
        parent_span_id: str | None = None,
        contract_id: str | None = None,
        contract_version: str | None = None,
        artifact_uri: str | None = None,
    ) -> None:
        """Append what happened in a run. A naive time is local time."""
        persistence = await self._persistence()
        await persistence.append_event(
            run_id,
            agent_slug,
            event_type,
            timestamp=timestamp,
            level=level or "info",
            message=message,
            payload=payload,
            span_id=span_id,
            parent_span_id=parent_span_id,
            contract_id=contract_id,
            contract_version=contract_version,
            artifact_uri=artifact_uri,
        )

    async def update_run(
        self,
        run_id: str,
        status: str | None = None,
        ended_at: datetime | None = None,
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        """Change what is given of a run; NotFoundError if there is none."""
        await (await self._persistence()).runs.patch(
            run_id,
            status=None if status is None else ours(status),
            finished_at=ended_at,
            metrics=metrics,
        )

    async def get_run(self, run_id: str) -> dict[str, Any] | None:
        """One run as a dictionary, or None."""
        run = await (await self._persistence()).get_agent_run(run_id)
        return None if run is None else as_run(run)

    async def list_runs(
        self,
        agent_slug: str | None = None,
        status: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = 100,
        offset: int = 0,
    ) -> list[dict[str, Any]]:
        """Runs as dictionaries, newest first."""
        first = checked_count("offset", offset)
        last = None if limit is None else first + checked_count("limit", limit)
        page = await (await self._persistence()).query_agent_runs(
            agent_id=agent_slug or None,
            status=all_ours(status) if status else None,
            since=since,
            until=until,
            limit=last,
        )
        return [as_run(run) for run in page[first:]]

    async def get_events(
        self,
        run_id: str,
        event_type: str | None = None,
        level: str | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """A run's events as dictionaries, as they happened; never all in memory."""
        left = inf if limit is None else checked_count("limit", limit)
        stream = (await self._persistence()).iter_agent_run_events(
            run_id=run_id, event_type=event_type or None, level=level or None, order="oldest"
        )
        if left:
            async for event in stream:
                yield as_event(event)
                left -= 1
                if not left:
                    return

    async def search_text(
        self,
        query: str,
        agent_slug: str | None = None,
        since: datetime | None = None,
        limit: int | None = 100,
    ) -> list[dict[str, Any]]:
        """Events in whose message or payload these words are, newest first.

        UnsupportedError where the database has no search index.
        """
        persistence = await self._persistence()
        most = inf if limit is None else checked_count("limit", limit)
        found: list[dict[str, Any]] = []
        cursor = None
        while len(found) < most:
            page = await persistence.search_text(
                query, agent_id=agent_slug or None, since=since, limit=limit, cursor=cursor
            )
            found += (as_event(h.record) for h in page if isinstance(h.record, AgentRunEvent))
            cursor = page.next_cursor
            if cursor is None:
                break
        return found[:limit]

    async def query_metrics(
        self,
        metric_name: str,
        agent_slug: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        aggregation: str = "avg",
        *,
        bucket: str = "1h",
    ) -> list[dict[str, Any]]:
        """Return a metric by time: `{metric_name, timestamp, value, count}` for each bucket.

        `aggregation` and `bucket` are those of `Persistence.query_metrics`.
        """
        points = await (await self._persistence()).query_metrics(
            metric_name,
            aggregation,
            bucket=bucket,
            agent_id=agent_slug or None,
            since=since,
            until=until,
        )
        return [
            {
                "metric_name": metric_name,
                "timestamp": iso(point.bucket),
                "value": point.value,
                "count": point.count,
            }
            for point in points
        ]

    async def vacuum(
        self, hot_days: int = 7, max_disk_mb: int | None = None, dry_run: bool = False
    ) -> dict[str, Any]:
        """Delete runs that ended more than so many days ago, and more if the database is larger.

        Return `dry_run`, `cutoff`, and `runs_to_delete` and so on, or `runs_deleted`; see
        `Lifecycle.vacuum`.
        """
        lifecycle = (await self._persistence()).lifecycle
        return (await lifecycle.vacuum(hot_days, max_disk_mb, dry_run=dry_run)).to_dict()

    async def archive(
        self, destination: str, since_days: int = 7, format: str = "parquet"
    ) -> dict[str, Any]:
        """Copy the runs that ended in so many days to a directory or an object store.

        `format` is "parquet" or "ndjson". What was copied, and has not changed, is not copied
        again. Return `destination`, and `runs_copied`, `events_copied` and so on.
        """
        persistence = await self._persistence()
        since = f"{checked_count('since_days', since_days)}d"
        report = await archive_runs(persistence, destination, since=since, format=format)
        return {"destination": destination, **report.to_dict()}


class SQLiteStorageBackend(CurioStorageBackend):
    """In a SQLite file, whose folder is made if it is not there."""

    def __init__(
        self, db_path: str | os.PathLike[str] = ".agdd/storage.db", enable_fts: bool = True
    ) -> None:
        self.db_path = Path(db_path)
        self.enable_fts = enable_fts
        super().__init__(self._open_file)
        self._can_search = enable_fts

    def _open_file(self) -> Persistence:
        if str(self.db_path) == ":memory:":
            return SQLitePersistence(":memory:", search=self.enable_fts)
        self.db_path.parent.mkdir(parents=True, exist_ok=True)
        return SQLitePersistence(self.db_path, search=self.enable_fts)


_shared: CurioStorageBackend | None = None


async def get_storage_backend() -> CurioStorageBackend:
    """The one backend of this process, over what the environment names; see `connect()`.

    It is opened when it is first asked for, and anew after it was closed.
    """
    global _shared
    if _shared is None or _shared.is_closed:
        _shared = CurioStorageBackend(connect)
    backend = _shared
    await backend.initialize()
    return backend


async def close_storage_backend() -> None:
    """Close the one backend of this process, if it is open."""
    if _shared is not None:
        await _shared.close()
