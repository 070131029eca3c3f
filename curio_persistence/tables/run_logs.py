"""The table of run logs: one row for each session that has one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from curio_persistence.models import Record
from curio_persistence.store.filters import Order
from curio_persistence.store.table import Row, Table
from curio_persistence.tables.columns import identifier, integer, stored_time


@dataclass(frozen=True, slots=True)
class RunLogNumbers(Record):
    """The run log of a session, and the last number that was given out in it."""

    session_id: str
    last_seq: int = 0
    created_at: datetime | None = None
    id: int | None = None


RUN_LOGS = Table(
    "agent_run_logs",
    RunLogNumbers,
    (
        identifier("session_id"),
        integer("last_seq", default=0),
        stored_time("created_at"),
        integer("id"),
    ),
    order=(Order("id"),),
    ages_by="created_at",
    lookups=("session_id",),
    ddl="run_logs.sql",
    unique=(("session_id",),),
)


def run_log_row(numbers: RunLogNumbers) -> Row:
    """Return the row of a run log."""
    return RUN_LOGS.encode(numbers)
