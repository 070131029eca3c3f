"""The records of AGDD for approvals and snapshots, made of ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from curio_persistence.models import Approval, Snapshot
from curio_persistence.store.json_text import as_object

_KEY = "agdd"
"""The key of a snapshot's metadata under which its id is."""


@dataclass(kw_only=True)
class ApprovalTicketRecord:
    """A ticket as AGDD has it. Any other object with these attributes is taken as well."""

    ticket_id: str
    run_id: str
    agent_slug: str
    tool_name: str
    masked_args: dict[str, Any] = field(default_factory=dict)
    args_hash: str
    step_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    requested_at: datetime
    expires_at: datetime
    status: str
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    decision_reason: str | None = None
    response: dict[str, Any] | None = None


@dataclass(kw_only=True)
class RunSnapshotRecord:
    """A snapshot as AGDD has it. Any other object with these attributes is taken as well."""

    snapshot_id: str
    run_id: str
    step_id: str
    state: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    created_at: datetime


def approval_of(record: ApprovalTicketRecord) -> Approval:
    """Return a ticket of ours; the hash is theirs."""
    return Approval(
        record.ticket_id,
        record.run_id,
        record.agent_slug,
        record.tool_name,
        record.masked_args,
        record.args_hash,
        record.step_id,
        record.status,
        record.requested_at,
        record.expires_at,
        record.resolved_by,
        record.resolved_at,
        record.decision_reason,
        record.response,
        record.metadata or None,
    )


def record_of_approval(ticket: Approval) -> ApprovalTicketRecord:
    """Return a record of theirs."""
    return ApprovalTicketRecord(
        ticket_id=ticket.ticket_id,
        run_id=ticket.run_id,
        agent_slug=ticket.agent_id,
        tool_name=ticket.tool,
        masked_args=as_object(ticket.arguments),
        args_hash=ticket.arguments_hash,
        step_id=ticket.step_id,
        metadata=as_object(ticket.metadata),
        requested_at=_stored(ticket.requested_at),
        expires_at=_stored(ticket.expires_at),
        status=ticket.status,
        resolved_at=ticket.resolved_at,
        resolved_by=ticket.resolved_by,
        decision_reason=ticket.reason,
        response=None if ticket.response is None else as_object(ticket.response),
    )


def with_id(record: RunSnapshotRecord) -> dict[str, Any]:
    """Return the metadata of a snapshot, with the id that we do not have."""
    return {**(record.metadata or {}), _KEY: {"snapshot_id": record.snapshot_id}}


def record_of_snapshot(snapshot: Snapshot) -> RunSnapshotRecord:
    """Return a record of theirs; a snapshot that was not theirs has its run and step as id."""
    metadata = as_object(snapshot.metadata)
    theirs = as_object(metadata.pop(_KEY, None))
    return RunSnapshotRecord(
        snapshot_id=theirs.get("snapshot_id", f"{snapshot.run_id}:{snapshot.step_id}"),
        run_id=snapshot.run_id,
        step_id=snapshot.step_id,
        state=as_object(snapshot.state),
        metadata=metadata,
        created_at=_stored(snapshot.updated_at),
    )


def _stored(moment: datetime | None) -> datetime:
    """Return a time that every stored record has."""
    if moment is None:
        raise TypeError("a stored record has its times")
    return moment
