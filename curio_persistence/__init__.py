"""A flight recorder for AI agents: hand a persistence to an agent, and what it does is kept."""

from curio_persistence.base import BasePersistence
from curio_persistence.buffered import BufferedPersistence
from curio_persistence.capabilities.metrics import MetricPoint
from curio_persistence.config import DatabaseConfig
from curio_persistence.errors import (
    AccessDeniedError,
    BusyError,
    ClosedError,
    ConfigurationError,
    ConflictError,
    CorruptDatabaseError,
    InvalidValueError,
    NotFoundError,
    PersistenceError,
    PoolTimeoutError,
    SchemaMismatchError,
    StorageFullError,
    UnavailableError,
    UnsupportedError,
)
from curio_persistence.models import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    AgentRunStatus,
    EventType,
    Level,
)
from curio_persistence.persistence import (
    InMemoryPersistence,
    Persistence,
    PostgresPersistence,
    SQLitePersistence,
    connect,
)
from curio_persistence.recorder import RunRecorder, ToolCall
from curio_persistence.settings import Setting
from curio_persistence.store.base import Finding
from curio_persistence.store.results import Page, Records, Stream

__all__ = [
    "AccessDeniedError",
    "AgentLLMUsage",
    "AgentRun",
    "AgentRunEvent",
    "AgentRunStatus",
    "BasePersistence",
    "BufferedPersistence",
    "BusyError",
    "ClosedError",
    "ConfigurationError",
    "ConflictError",
    "CorruptDatabaseError",
    "DatabaseConfig",
    "EventType",
    "Finding",
    "InMemoryPersistence",
    "InvalidValueError",
    "Level",
    "MetricPoint",
    "NotFoundError",
    "Page",
    "Persistence",
    "PersistenceError",
    "PoolTimeoutError",
    "PostgresPersistence",
    "Records",
    "RunRecorder",
    "SQLitePersistence",
    "SchemaMismatchError",
    "Setting",
    "StorageFullError",
    "Stream",
    "ToolCall",
    "UnavailableError",
    "UnsupportedError",
    "connect",
]
__version__ = "0.1.0"
