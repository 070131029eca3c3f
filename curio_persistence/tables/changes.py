"""The table of changes: which runs and saved spans were updated, in the order of the commits."""

from __future__ import annotations

from dataclasses import dataclass

from curio_persistence.store.column import REQUIRED
from curio_persistence.store.filters import Order
from curio_persistence.store.table import Table
from curio_persistence.tables.columns import identifier, integer


@dataclass
class RowChange:
    """One update of a row."""

    table_name: str
    row_id: int
    id: int | None = None


CHANGES = Table(
    "agent_changes",
    RowChange,
    (identifier("table_name"), integer("row_id", default=REQUIRED), integer("id")),
    order=(Order("id"),),
    ages_by="id",
    lookups=(),
    ddl="changes.sql",
)

WATCHED = ("agent_runs", "agent_spans")
"""The tables whose updates are changes, if they set `updated_at`. Databases note them by triggers.
"""
KEPT = 100_000
"""The number of changes that are kept."""
