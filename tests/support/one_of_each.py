"""A record for each of our tables, for tests that hold for every table."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from curio_persistence import (
    Agent,
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    AgentSession,
    AgentSpan,
    Approval,
    Score,
    Snapshot,
    SpanSource,
)
from curio_persistence.models import AuditEntry
from curio_persistence.store.base import Store
from curio_persistence.store.table import Table
from curio_persistence.tables import (
    AGENTS,
    ALERT_HISTORY,
    ALERT_RULES,
    ALL_TABLES,
    API_KEYS,
    APPROVALS,
    AUDIT_LOG,
    CHAIN_HEADS,
    CHANGES,
    CONSOLE_SESSIONS,
    CONSUMERS,
    CONTENT,
    EMBEDDINGS,
    EVENTS,
    EXPIRED_TOTALS,
    LIFECYCLE,
    PRICES,
    RUN_LOGS,
    RUNS,
    SCORES,
    SESSIONS,
    SNAPSHOTS,
    SOURCES,
    SPANS,
    TOMBSTONES,
    USAGE,
)
from curio_persistence.tables.alerts import Alert, AlertRule
from curio_persistence.tables.audit import ChainHead
from curio_persistence.tables.changes import RowChange
from curio_persistence.tables.consumers import ConsumerPosition
from curio_persistence.tables.content import ContentBlob
from curio_persistence.tables.embeddings import Embedding
from curio_persistence.tables.keys import ApiKey, ConsoleSession
from curio_persistence.tables.lifecycle import (
    ExpiredTotal,
    LifecycleSetting,
    Tombstone,
)
from curio_persistence.tables.prices import SavedPrice
from curio_persistence.tables.run_logs import RunLogNumbers

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)

# All of them belong to one run.
RECORDS: dict[Table[Any], Any] = {
    # Before the run, which would make them.
    AGENTS: Agent("agent", first_seen_at=NOON, last_seen_at=NOON, created_at=NOON, updated_at=NOON),
    SESSIONS: AgentSession(
        "session", started_at=NOON, last_event_at=NOON, created_at=NOON, updated_at=NOON
    ),
    RUNS: AgentRun("agent", "run", created_at=NOON, updated_at=NOON, session_id="session"),
    EVENTS: AgentRunEvent("agent", "run", timestamp=NOON, created_at=NOON, event_type="custom"),
    USAGE: AgentLLMUsage("agent", "run", created_at=NOON),
    SCORES: Score("run", "helpful", 0.8, created_at=NOON, updated_at=NOON),
    APPROVALS: Approval(
        "ticket",
        "run",
        "agent",
        "delete",
        arguments_hash="0",
        requested_at=NOON,
        expires_at=NOON,
        created_at=NOON,
        updated_at=NOON,
    ),
    SNAPSHOTS: Snapshot("run", "step", "{}", created_at=NOON, updated_at=NOON),
    SPANS: AgentSpan(
        "trace",
        "span",
        run_id="run",
        started_at=NOON,
        created_at=NOON,
        updated_at=NOON,
        source_id="source",
    ),
    SOURCES: SpanSource("source", created_at=NOON, updated_at=NOON),
    LIFECYCLE: LifecycleSetting("policy", "default", "{}", NOON),
    TOMBSTONES: Tombstone("gone", "erased", None, NOON),
    EXPIRED_TOTALS: ExpiredTotal("run", NOON.replace(hour=0), "agent", status="completed", count=1),
    AUDIT_LOG: AuditEntry("delete", "gone", timestamp=NOON, created_at=NOON),
    CHAIN_HEADS: ChainHead("events", "run", 1, "0", 0, "", None, NOON),
    ALERT_RULES: AlertRule(
        "errors", "errors", "error_rate", 0.1, 900, created_at=NOON, updated_at=NOON
    ),
    ALERT_HISTORY: Alert("alert", "errors", 1, "errors", "Too many.", 0.1, 0.5, NOON),
    API_KEYS: ApiKey("key", "Ada", "read", "0" * 64, NOON),
    CONSOLE_SESSIONS: ConsoleSession("0" * 64, "key", NOON, NOON, NOON),
    PRICES: SavedPrice("own 0", '{"model": "m", "input": "1", "output": "2"}', NOON),
    RUN_LOGS: RunLogNumbers("session", 7, NOON),
    CONTENT: ContentBlob("0" * 49, 1, None, None, b"\0\xff\\\n"),
    CONSUMERS: ConsumerPosition("consumer", EVENTS.name, "[0]", NOON),
    CHANGES: RowChange(RUNS.name, 1),
    EMBEDDINGS: Embedding(RUNS.name, 1, "prompt", "model", 1, -(2**63), b"\0\x3c"),
}


def insert_one_of_each(store: Store) -> None:
    """Store a record in every table."""
    for table in ALL_TABLES:
        assert table in RECORDS, f"add a record of {table.name} to tests/support/one_of_each.py"
    for table, record in RECORDS.items():
        store.insert(table, table.encode(record))
