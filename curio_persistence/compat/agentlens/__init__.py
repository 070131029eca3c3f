"""The event store of AgentLens: its names, values and hash chain, over ours.

`EventStore(persistence)` works over any persistence; `SqliteEventStore(path)` and
`PostgresEventStore(dsn)` open one. Calls are plain, and names are in snake_case. Rows are in our
tables, so that all that this library does with records works for them.
"""

from __future__ import annotations

from curio_persistence.compat.agentlens.engine import AlertEngine
from curio_persistence.compat.agentlens.hashing import (
    HASH_VERSION,
    MAX_PAYLOAD_SIZE,
    HashChainError,
    compute_event_hash,
    compute_event_hash_raw,
    create_event,
    truncate_payload,
    verify_chain,
    verify_chain_batch,
    verify_records,
)
from curio_persistence.compat.agentlens.store import (
    EventStore,
    PostgresEventStore,
    SqliteEventStore,
)
from curio_persistence.compat.agentlens.values import (
    Agent,
    AgentLensEvent,
    AlertHistory,
    AlertHistoryResult,
    AlertRule,
    AnalyticsBucket,
    AnalyticsResult,
    AnalyticsTotals,
    ChainVerificationResult,
    EventCounts,
    EventQueryResult,
    RetentionResult,
    Session,
    SessionQueryResult,
    StorageStats,
)

__all__ = [
    "HASH_VERSION",
    "MAX_PAYLOAD_SIZE",
    "Agent",
    "AgentLensEvent",
    "AlertEngine",
    "AlertHistory",
    "AlertHistoryResult",
    "AlertRule",
    "AnalyticsBucket",
    "AnalyticsResult",
    "AnalyticsTotals",
    "ChainVerificationResult",
    "EventCounts",
    "EventQueryResult",
    "EventStore",
    "HashChainError",
    "PostgresEventStore",
    "RetentionResult",
    "Session",
    "SessionQueryResult",
    "SqliteEventStore",
    "StorageStats",
    "compute_event_hash",
    "compute_event_hash_raw",
    "create_event",
    "truncate_payload",
    "verify_chain",
    "verify_chain_batch",
    "verify_records",
]
