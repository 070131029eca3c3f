"""The tables of runs that wait for people, and go on later: approvals and snapshots."""

from __future__ import annotations

from curio_persistence.models import Approval, ApprovalStatus, Snapshot
from curio_persistence.store import codecs
from curio_persistence.store.column import REQUIRED, Column
from curio_persistence.store.filters import Order
from curio_persistence.store.table import Reference, Table
from curio_persistence.tables.columns import (
    identifier,
    integer,
    json_text,
    name,
    optional_identifier,
    stored_time,
    text,
    time,
)
from curio_persistence.tables.runs import RUNS

APPROVAL_STATUSES = tuple(status.value for status in ApprovalStatus)


def _encode_status(value: object) -> str:
    status = codecs.encode_status(value)
    if status not in APPROVAL_STATUSES:
        raise ValueError(f"must be one of {', '.join(APPROVAL_STATUSES)}, not {status!r}")
    return status


APPROVALS = Table(
    "agent_approvals",
    Approval,
    (
        Column("ticket_id", codecs.encode_id, default=REQUIRED),
        identifier("run_id"),
        name("agent_id"),
        identifier("tool"),
        json_text("arguments"),
        Column("arguments_hash", codecs.encode_id, default=REQUIRED),
        optional_identifier("step_id", optional=False),
        Column("status", _encode_status, default=ApprovalStatus.PENDING.value, repeats=True),
        stored_time("requested_at"),
        stored_time("expires_at"),
        optional_identifier("resolved_by", optional=False),
        time("resolved_at"),
        text("reason"),
        json_text("response"),
        json_text("metadata"),
        integer("id"),
        stored_time("created_at"),
        stored_time("updated_at"),
    ),
    order=(Order("requested_at", descending=True), Order("id", descending=True)),
    ages_by="requested_at",
    lookups=("run_id", "ticket_id"),
    ddl="approvals.sql",
    unique=(("ticket_id",),),
    references=Reference("run_id", RUNS),
)

SNAPSHOTS = Table(
    "agent_snapshots",
    Snapshot,
    (
        identifier("run_id"),
        identifier("step_id"),
        json_text("state"),
        json_text("metadata"),
        integer("id"),
        stored_time("created_at"),
        stored_time("updated_at"),
    ),
    order=(Order("created_at", descending=True), Order("id", descending=True)),
    ages_by="created_at",
    lookups=("run_id",),
    ddl="snapshots.sql",
    unique=(("run_id", "step_id"),),
    references=Reference("run_id", RUNS),
)
