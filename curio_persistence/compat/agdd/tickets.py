"""The part of the storage backend for approvals and snapshots."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from curio_persistence.aio.persistence import AsyncPersistence
from curio_persistence.compat.agdd.base import StorageBackend
from curio_persistence.compat.agdd.records import (
    ApprovalTicketRecord,
    RunSnapshotRecord,
    approval_of,
    record_of_approval,
    record_of_snapshot,
    with_id,
)
from curio_persistence.errors import ConflictError, UnsupportedError
from curio_persistence.store.filters import checked_count


class TicketBackend(StorageBackend):
    """Keeps tickets and snapshots in a persistence."""

    @abstractmethod
    async def _persistence(self) -> AsyncPersistence:
        """Return the persistence, which is opened if it is not open."""

    async def create_approval_ticket(self, record: ApprovalTicketRecord) -> None:
        """Store a ticket, with the hash that it has; ConflictError if it is stored.

        NotFoundError if its run is not.
        """
        await (await self._persistence()).approvals.create(approval_of(record))

    async def update_approval_ticket(self, record: ApprovalTicketRecord) -> None:
        """Store the decision about a ticket; ConflictError if it was decided before.

        When it was decided is set here. A ticket that expired may be said to have.
        """
        approvals = (await self._persistence()).approvals
        ticket_id, by, reason = record.ticket_id, record.resolved_by, record.decision_reason
        if record.status == "pending":
            raise UnsupportedError("A ticket that waits is not changed: request another one.")
        if record.status != "expired":
            decision: Any = record.status
            await approvals.resolve(
                ticket_id, decision, by=by, reason=reason, response=record.response
            )
            return
        try:
            await approvals.expire(ticket_id, by=by, reason=reason)
        except ConflictError:
            ticket = await approvals.get(ticket_id)
            if ticket is None or ticket.status != "expired":
                raise

    async def get_approval_ticket(self, ticket_id: str) -> ApprovalTicketRecord | None:
        """One ticket, or None; it is `expired` from its `expires_at` on."""
        ticket = await (await self._persistence()).approvals.get(ticket_id)
        return None if ticket is None else record_of_approval(ticket)

    async def list_approval_tickets(
        self,
        run_id: str | None = None,
        agent_slug: str | None = None,
        status: str | None = None,
        limit: int | None = 100,
        offset: int = 0,
    ) -> list[ApprovalTicketRecord]:
        """Tickets in the order in which they were requested."""
        first = checked_count("offset", offset)
        last = None if limit is None else first + checked_count("limit", limit)
        page = await (await self._persistence()).approvals.query(
            run_id=run_id or None,
            agent_id=agent_slug or None,
            status=status or None,
            order="oldest",
            limit=last,
        )
        return [record_of_approval(ticket) for ticket in page[first:]]

    async def upsert_run_snapshot(self, record: RunSnapshotRecord) -> None:
        """Store the state of a run at a step; NotFoundError if the run is not stored."""
        await (await self._persistence()).snapshots.save(
            record.run_id,
            record.step_id,
            record.state,
            metadata=with_id(record),
            saved_at=record.created_at,
        )

    async def get_latest_run_snapshot(self, run_id: str) -> RunSnapshotRecord | None:
        """The snapshot of a run that was created last, or None."""
        snapshot = await (await self._persistence()).snapshots.latest(run_id)
        return None if snapshot is None else record_of_snapshot(snapshot)

    async def get_run_snapshot(self, run_id: str, step_id: str) -> RunSnapshotRecord | None:
        """The snapshot of a step, or None."""
        snapshot = await (await self._persistence()).snapshots.get(run_id, step_id)
        return None if snapshot is None else record_of_snapshot(snapshot)

    async def list_run_snapshots(self, run_id: str) -> list[RunSnapshotRecord]:
        """All snapshots of a run with their states, the oldest first."""
        stream = (await self._persistence()).snapshots.iterate(run_id=run_id)
        records = [record_of_snapshot(snapshot) async for snapshot in stream]
        return sorted(records, key=lambda record: record.created_at)

    async def delete_run_snapshots(self, run_id: str) -> int:
        """Delete all snapshots of a run, and return how many they were."""
        return await (await self._persistence()).snapshots.delete(run_id)
