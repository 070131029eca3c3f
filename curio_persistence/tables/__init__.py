"""Our tables. Export, copy, redaction, deletion and round-trip tests go through `TABLES`."""

from __future__ import annotations

from typing import Any

from curio_persistence.store.table import Table
from curio_persistence.tables.events import EVENTS, SEVERITIES
from curio_persistence.tables.runs import RUNS, RUNS_AND_STUBS, RunOrStub
from curio_persistence.tables.usage import USAGE

__all__ = ["EVENTS", "RUNS", "RUNS_AND_STUBS", "SEVERITIES", "TABLES", "USAGE", "RunOrStub"]

TABLES: tuple[Table[Any], ...] = (RUNS, EVENTS, USAGE)
