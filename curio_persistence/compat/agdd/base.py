"""The contract of a storage backend of AGDD, for backends of your own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from curio_persistence.compat.agdd.records import ApprovalTicketRecord, RunSnapshotRecord
from curio_persistence.errors import UnsupportedError


@dataclass(frozen=True)
class StorageCapabilities:
    """The abilities of a backend, for programs that adapt to it."""

    append_event: bool = True
    get_run: bool = True
    list_runs: bool = True
    query_metrics: bool = False
    search_text: bool = False
    vector_search: bool = False
    archive_artifacts: bool = False
    lifecycle_policy: bool = False
    streaming: bool = False


class StorageBackend(ABC):
    """Keeps runs and their events. Subclass it for a backend of your own.

    What is optional raises UnsupportedError, which is also a NotImplementedError, unless it is
    overridden; `capabilities` tells beforehand.
    """

    @property
    @abstractmethod
    def capabilities(self) -> StorageCapabilities:
        """Return what this backend can do."""

    @abstractmethod
    async def initialize(self) -> None:
        """Make what there has to be before anything is kept. Twice is fine."""

    @abstractmethod
    async def close(self) -> None:
        """Give back what is held."""

    @abstractmethod
    async def create_run(
        self,
        run_id: str,
        agent_slug: str,
        parent_run_id: str | None = None,
        started_at: datetime | None = None,
        status: str = "running",
        tags: list[str] | None = None,
    ) -> None:
        """Begin a run; now, unless it is said when."""

    @abstractmethod
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
        """Append what happened in a run."""

    @abstractmethod
    async def update_run(
        self,
        run_id: str,
        status: str | None = None,
        ended_at: datetime | None = None,
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        """Change what is given of a run; `metrics` take the place of those it had."""

    @abstractmethod
    async def get_run(self, run_id: str) -> dict[str, Any] | None:
        """One run, or None."""

    @abstractmethod
    async def list_runs(
        self,
        agent_slug: str | None = None,
        status: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = 100,
        offset: int = 0,
    ) -> list[dict[str, Any]]:
        """Runs that began in `since ≤ t < until`, newest first."""

    @abstractmethod
    def get_events(
        self,
        run_id: str,
        event_type: str | None = None,
        level: str | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """A run's events, as they happened: `async for event in storage.get_events(run_id)`."""

    async def create_approval_ticket(self, record: ApprovalTicketRecord) -> None:
        """Store a ticket by which a run asks for approval."""
        raise _unsupported("create_approval_ticket")

    async def update_approval_ticket(self, record: ApprovalTicketRecord) -> None:
        """Store the decision about a ticket."""
        raise _unsupported("update_approval_ticket")

    async def get_approval_ticket(self, ticket_id: str) -> ApprovalTicketRecord | None:
        """One ticket, or None."""
        raise _unsupported("get_approval_ticket")

    async def list_approval_tickets(
        self,
        run_id: str | None = None,
        agent_slug: str | None = None,
        status: str | None = None,
        limit: int | None = 100,
        offset: int = 0,
    ) -> list[ApprovalTicketRecord]:
        """Tickets in the order in which they were requested."""
        raise _unsupported("list_approval_tickets")

    async def upsert_run_snapshot(self, record: RunSnapshotRecord) -> None:
        """Store the state of a run at a step; it replaces the one before."""
        raise _unsupported("upsert_run_snapshot")

    async def get_latest_run_snapshot(self, run_id: str) -> RunSnapshotRecord | None:
        """The newest snapshot of a run, or None."""
        raise _unsupported("get_latest_run_snapshot")

    async def get_run_snapshot(self, run_id: str, step_id: str) -> RunSnapshotRecord | None:
        """The snapshot of a step, or None."""
        raise _unsupported("get_run_snapshot")

    async def list_run_snapshots(self, run_id: str) -> list[RunSnapshotRecord]:
        """All snapshots of a run, the oldest first."""
        raise _unsupported("list_run_snapshots")

    async def delete_run_snapshots(self, run_id: str) -> int:
        """Delete all snapshots of a run, and return how many they were."""
        raise _unsupported("delete_run_snapshots")

    async def search_text(
        self,
        query: str,
        agent_slug: str | None = None,
        since: datetime | None = None,
        limit: int | None = 100,
    ) -> list[dict[str, Any]]:
        """Events in which these words are, newest first."""
        raise _unsupported("search_text")

    async def query_metrics(
        self,
        metric_name: str,
        agent_slug: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        aggregation: str = "avg",
    ) -> list[dict[str, Any]]:
        """Return the aggregate of a metric, bucket by bucket."""
        raise _unsupported("query_metrics")

    async def vacuum(
        self, hot_days: int = 7, max_disk_mb: int | None = None, dry_run: bool = False
    ) -> dict[str, Any]:
        """Remove what is old."""
        raise _unsupported("vacuum")

    async def archive(
        self, destination: str, since_days: int = 7, format: str = "parquet"
    ) -> dict[str, Any]:
        """Copy the runs of the last days to another place."""
        raise _unsupported("archive")


def _unsupported(name: str) -> UnsupportedError:
    return UnsupportedError(f"This storage backend has no {name}; its capabilities say so.")
