"""The kinds of records: the tables that are exported, imported, copied and hashed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curio_persistence.store.table import Table
from curio_persistence.tables import (
    AGENTS,
    APPROVALS,
    EVENTS,
    RUNS_AND_STUBS,
    SCORES,
    SESSIONS,
    SMALL_TABLES_OF_RUNS,
    SNAPSHOTS,
    SOURCES,
    SPANS,
    USAGE,
)

KINDS: Mapping[str, Table[Any]] = {
    # Before the runs, which would make them.
    "agents": AGENTS,
    "sessions": SESSIONS,
    "runs": RUNS_AND_STUBS,
    "events": EVENTS,
    "usage": USAGE,
    "scores": SCORES,
    "approvals": APPROVALS,
    "snapshots": SNAPSHOTS,
    "spans": SPANS,
    "sources": SOURCES,
}
"""The tables by their names in commands, reports and exports; in this order they are copied."""

KINDS_OF_RUNS: Mapping[str, Table[Any]] = {
    name: table for name, table in KINDS.items() if "run_id" in table.names
}
"""Those whose records belong to a run: they are hashed, archived and restored with it."""

KINDS_BESIDE_RUNS = {n: table for n, table in KINDS_OF_RUNS.items() if table is not RUNS_AND_STUBS}
"""Those of what belongs to runs, without the runs themselves."""

KINDS_OF_FEW_ROWS = {n: table for n, table in KINDS.items() if table in SMALL_TABLES_OF_RUNS}
"""Those of which a run has few records, which are deleted together with the run."""
