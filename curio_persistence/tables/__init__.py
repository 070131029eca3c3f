"""The tables. Export, copy, redaction, deletion and round-trip tests iterate over `TABLES`."""

from __future__ import annotations

from typing import Any

from curio_persistence.store.table import Table
from curio_persistence.tables.alerts import ALERT_HISTORY, ALERT_RULES
from curio_persistence.tables.approvals import APPROVAL_STATUSES, APPROVALS, SNAPSHOTS
from curio_persistence.tables.audit import AUDIT_LOG, CHAIN_HEADS
from curio_persistence.tables.changes import CHANGES
from curio_persistence.tables.consumers import CONSUMERS
from curio_persistence.tables.content import CONTENT
from curio_persistence.tables.embeddings import EMBEDDINGS
from curio_persistence.tables.events import (
    DERIVED,
    EVENTS,
    EVENTS_AS_STORED,
    SEVERITIES,
    contradictions,
)
from curio_persistence.tables.keys import API_KEYS, CONSOLE_SESSIONS
from curio_persistence.tables.lifecycle import EXPIRED_TOTALS, LIFECYCLE, TOMBSTONES
from curio_persistence.tables.prices import PRICES
from curio_persistence.tables.run_logs import RUN_LOGS
from curio_persistence.tables.runs import RUNS, RUNS_AND_STUBS, RunOrStub
from curio_persistence.tables.scores import SCORE_SOURCES, SCORES
from curio_persistence.tables.sessions import AGENTS, SESSION_STATUSES, SESSIONS
from curio_persistence.tables.spans import OF_SPAN, SOURCES, SPAN_STATUSES, SPANS
from curio_persistence.tables.usage import USAGE

__all__ = [
    "AGENTS",
    "ALERT_HISTORY",
    "ALERT_RULES",
    "ALL_TABLES",
    "API_KEYS",
    "APPROVALS",
    "APPROVAL_STATUSES",
    "AUDIT_LOG",
    "CHAIN_HEADS",
    "CHANGES",
    "CONSOLE_SESSIONS",
    "CONSUMERS",
    "CONTENT",
    "DERIVED",
    "EMBEDDINGS",
    "EVENTS",
    "EVENTS_AS_STORED",
    "EXPIRED_TOTALS",
    "LIFECYCLE",
    "OF_SPAN",
    "PRICES",
    "RUNS",
    "RUNS_AND_STUBS",
    "RUN_LOGS",
    "SCORES",
    "SCORE_SOURCES",
    "SESSIONS",
    "SESSION_STATUSES",
    "SEVERITIES",
    "SMALL_TABLES_OF_RUNS",
    "SNAPSHOTS",
    "SOURCES",
    "SPANS",
    "SPAN_STATUSES",
    "TABLES",
    "TABLES_OF_RUNS",
    "TOMBSTONES",
    "USAGE",
    "RunOrStub",
    "contradictions",
    "table_of",
]

TABLES: tuple[Table[Any], ...] = (
    RUNS,
    EVENTS,
    USAGE,
    SCORES,
    APPROVALS,
    SNAPSHOTS,
    SPANS,
    SOURCES,
    AGENTS,
    SESSIONS,
)
"""The tables of recorded data."""

TABLES_OF_RUNS = tuple(table for table in TABLES if "run_id" in table.names)
"""The tables whose rows belong to a run, and go with it."""

SMALL_TABLES_OF_RUNS: tuple[Table[Any], ...] = (SCORES, APPROVALS, SNAPSHOTS, SPANS)
"""Those of which a run has few rows, which are deleted in the transaction that deletes the run.

Of many spans most are deleted before.
"""

ALL_TABLES: tuple[Table[Any], ...] = (
    *TABLES,
    CONTENT,
    CONSUMERS,
    LIFECYCLE,
    TOMBSTONES,
    EXPIRED_TOTALS,
    AUDIT_LOG,
    CHAIN_HEADS,
    ALERT_RULES,
    ALERT_HISTORY,
    API_KEYS,
    CONSOLE_SESSIONS,
    PRICES,
    RUN_LOGS,
    CHANGES,
    EMBEDDINGS,
)
"""All tables, with those of the library itself, which are neither exported nor copied."""


def table_of(model: type) -> Table[Any]:
    """Return the table of a model; the module of the model's table has been imported."""
    return Table.of_model[model]
