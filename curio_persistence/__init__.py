"""A flight recorder for AI agents: hand a persistence to an agent, and what it does is kept."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curio_persistence.archive import (
        archive_runs,
        check_archive,
        erase_runs,
        open_archive,
        restore_runs,
    )
    from curio_persistence.backups.comparing import DamagedRow
    from curio_persistence.backups.making import BackupReport, restore_backup
    from curio_persistence.backups.verifying import VerifyReport
    from curio_persistence.base import BasePersistence
    from curio_persistence.buffering.persistence import BufferedPersistence
    from curio_persistence.capabilities.alerts import (
        Alert,
        AlertReport,
        AlertRule,
        AlertSink,
        AlertTest,
    )
    from curio_persistence.capabilities.analytics.records import PeriodTotals
    from curio_persistence.capabilities.failures import FailureGroup
    from curio_persistence.capabilities.lifecycle import ExpireReport, RetentionPolicy
    from curio_persistence.capabilities.live import LiveItem, LiveStream
    from curio_persistence.capabilities.metrics import MetricPoint
    from curio_persistence.capabilities.prices.records import Price, RepriceReport, Unpriced
    from curio_persistence.capabilities.search import SearchHit, SearchPage
    from curio_persistence.capabilities.sessions import Session
    from curio_persistence.capabilities.similarity import SimilarHit, SimilarHits
    from curio_persistence.capabilities.tool_totals import ToolTotals
    from curio_persistence.capabilities.totals import RunTotals, UsageTotals
    from curio_persistence.capabilities.transfers.hashes import RunHash
    from curio_persistence.capabilities.verifying_chains import TrailReport
    from curio_persistence.config import DatabaseConfig
    from curio_persistence.config.lifecycle import LifecycleConfig
    from curio_persistence.config.server import ServerConfig
    from curio_persistence.config.settings import Setting
    from curio_persistence.console import create_app, serve_console
    from curio_persistence.console.demo import record_demo
    from curio_persistence.console.options import ConsoleOptions
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
        QueryTimeoutError,
        SchemaMismatchError,
        StorageFullError,
        UnavailableError,
        UnsupportedError,
    )
    from curio_persistence.export.copying import CopyReport, copy_records
    from curio_persistence.export.dialogues import DialogueReport, export_atif, export_chat
    from curio_persistence.export.records import ExportReport, export_records
    from curio_persistence.importers.agdd import import_agdd
    from curio_persistence.importers.agentlens import import_agentlens
    from curio_persistence.importers.agiwo import import_agiwo
    from curio_persistence.importers.common.report import ImportReport, Problem
    from curio_persistence.importers.costs import import_costs
    from curio_persistence.importers.curio import CurioImportReport, import_curio
    from curio_persistence.importers.exports import import_records
    from curio_persistence.importers.sessions import import_sessions
    from curio_persistence.importers.sessions.discovery import find_sessions
    from curio_persistence.importers.sessions.report import (
        SessionImportReport,
        SessionPlace,
        SourceReport,
    )
    from curio_persistence.interop.otel.export import OtlpReport, export_otlp, follow_otlp
    from curio_persistence.interop.otel.receiving import Receiver
    from curio_persistence.interop.otel.rereading import (
        ReceivedFrom,
        Reinterpreted,
        reinterpret_spans,
        span_senders,
    )
    from curio_persistence.models import (
        Agent,
        AgentLLMUsage,
        AgentRun,
        AgentRunEvent,
        AgentRunStatus,
        AgentSession,
        AgentSpan,
        Approval,
        ApprovalStatus,
        AuditEntry,
        EventType,
        Level,
        Score,
        SessionStatus,
        Snapshot,
        SpanKind,
        SpanSource,
        SpanStatus,
    )
    from curio_persistence.persistence import (
        InMemoryPersistence,
        NullPersistence,
        Persistence,
        PostgresPersistence,
        SQLitePersistence,
        connect,
    )
    from curio_persistence.recording.arguments import Parent
    from curio_persistence.recording.context import current_run
    from curio_persistence.recording.decorators import tool
    from curio_persistence.recording.model_calls import LLMCall
    from curio_persistence.recording.recorder import RunRecorder
    from curio_persistence.recording.spans import Span, ToolCall
    from curio_persistence.replication.report import ReplicaCheck, ReplicationReport
    from curio_persistence.results.pages import Page, Records, Stream
    from curio_persistence.results.sql import SQLResult
    from curio_persistence.server import make_app, serve
    from curio_persistence.store.base import HealthCheck
    from curio_persistence.tables.keys import ApiKey, ConsoleSession, NewApiKey, NewConsoleSession
    from curio_persistence.views.traces import (
        Trace,
        TraceNode,
        TraceSegment,
        TraceSpan,
        TraceSummary,
    )

__all__ = [
    "AccessDeniedError",
    "Agent",
    "AgentLLMUsage",
    "AgentRun",
    "AgentRunEvent",
    "AgentRunStatus",
    "AgentSession",
    "AgentSpan",
    "Alert",
    "AlertReport",
    "AlertRule",
    "AlertSink",
    "AlertTest",
    "ApiKey",
    "Approval",
    "ApprovalStatus",
    "AuditEntry",
    "BackupReport",
    "BasePersistence",
    "BufferedPersistence",
    "BusyError",
    "ClosedError",
    "ConfigurationError",
    "ConflictError",
    "ConsoleOptions",
    "ConsoleSession",
    "CopyReport",
    "CorruptDatabaseError",
    "CurioImportReport",
    "DamagedRow",
    "DatabaseConfig",
    "DialogueReport",
    "EventType",
    "ExpireReport",
    "ExportReport",
    "FailureGroup",
    "HealthCheck",
    "ImportReport",
    "InMemoryPersistence",
    "InvalidValueError",
    "LLMCall",
    "Level",
    "LifecycleConfig",
    "LiveItem",
    "LiveStream",
    "MetricPoint",
    "NewApiKey",
    "NewConsoleSession",
    "NotFoundError",
    "NullPersistence",
    "OtlpReport",
    "Page",
    "Parent",
    "PeriodTotals",
    "Persistence",
    "PersistenceError",
    "PoolTimeoutError",
    "PostgresPersistence",
    "Price",
    "Problem",
    "QueryTimeoutError",
    "ReceivedFrom",
    "Receiver",
    "Records",
    "Reinterpreted",
    "ReplicaCheck",
    "ReplicationReport",
    "RepriceReport",
    "RetentionPolicy",
    "RunHash",
    "RunRecorder",
    "RunTotals",
    "SQLResult",
    "SQLitePersistence",
    "SchemaMismatchError",
    "Score",
    "SearchHit",
    "SearchPage",
    "ServerConfig",
    "Session",
    "SessionImportReport",
    "SessionPlace",
    "SessionStatus",
    "Setting",
    "SimilarHit",
    "SimilarHits",
    "Snapshot",
    "SourceReport",
    "Span",
    "SpanKind",
    "SpanSource",
    "SpanStatus",
    "StorageFullError",
    "Stream",
    "ToolCall",
    "ToolTotals",
    "Trace",
    "TraceNode",
    "TraceSegment",
    "TraceSpan",
    "TraceSummary",
    "TrailReport",
    "UnavailableError",
    "Unpriced",
    "UnsupportedError",
    "UsageTotals",
    "VerifyReport",
    "archive_runs",
    "check_archive",
    "connect",
    "copy_records",
    "create_app",
    "current_run",
    "erase_runs",
    "export_atif",
    "export_chat",
    "export_otlp",
    "export_records",
    "find_sessions",
    "follow_otlp",
    "import_agdd",
    "import_agentlens",
    "import_agiwo",
    "import_costs",
    "import_curio",
    "import_records",
    "import_sessions",
    "make_app",
    "open_archive",
    "record_demo",
    "reinterpret_spans",
    "restore_backup",
    "restore_runs",
    "serve",
    "serve_console",
    "span_senders",
    "tool",
]
__version__ = "0.1.0"

if not TYPE_CHECKING:  # Type checkers see the names above, and no others.
    # Each name is imported when it is first used: a command that shows its help needs none.
    _HOMES = {
        "archive": "archive_runs check_archive erase_runs open_archive restore_runs",
        "backups.making": "BackupReport restore_backup",
        "backups.comparing": "DamagedRow",
        "backups.verifying": "VerifyReport",
        "base": "BasePersistence",
        "buffering.persistence": "BufferedPersistence",
        "capabilities.alerts": "Alert AlertReport AlertRule AlertSink AlertTest",
        "capabilities.analytics.records": "PeriodTotals",
        "capabilities.failures": "FailureGroup",
        "capabilities.live": "LiveItem LiveStream",
        "capabilities.metrics": "MetricPoint",
        "capabilities.prices.records": "Price RepriceReport Unpriced",
        "capabilities.search": "SearchHit SearchPage",
        "capabilities.lifecycle": "ExpireReport RetentionPolicy",
        "capabilities.sessions": "Session",
        "capabilities.similarity": "SimilarHit SimilarHits",
        "capabilities.tool_totals": "ToolTotals",
        "capabilities.totals": "RunTotals UsageTotals",
        "capabilities.verifying_chains": "TrailReport",
        "config": "DatabaseConfig",
        "config.lifecycle": "LifecycleConfig",
        "config.server": "ServerConfig",
        "console": "create_app serve_console",
        "console.demo": "record_demo",
        "console.options": "ConsoleOptions",
        "errors": (
            "AccessDeniedError BusyError ClosedError ConfigurationError ConflictError "
            "CorruptDatabaseError InvalidValueError NotFoundError PersistenceError "
            "PoolTimeoutError QueryTimeoutError SchemaMismatchError StorageFullError "
            "UnavailableError UnsupportedError"
        ),
        "export.copying": "CopyReport copy_records",
        "export.dialogues": "DialogueReport export_atif export_chat",
        "export.records": "ExportReport export_records",
        "importers.agdd": "import_agdd",
        "importers.agentlens": "import_agentlens",
        "importers.agiwo": "import_agiwo",
        "importers.costs": "import_costs",
        "importers.curio": "CurioImportReport import_curio",
        "importers.exports": "import_records",
        "importers.sessions": "import_sessions",
        "importers.sessions.discovery": "find_sessions",
        "importers.sessions.report": "SessionImportReport SessionPlace SourceReport",
        "importers.common.report": "ImportReport Problem",
        "interop.otel.export": "OtlpReport export_otlp follow_otlp",
        "interop.otel.receiving": "Receiver",
        "interop.otel.rereading": "ReceivedFrom Reinterpreted reinterpret_spans span_senders",
        "models": (
            "Agent AgentLLMUsage AgentRun AgentRunEvent AgentRunStatus AgentSession AgentSpan "
            "Approval ApprovalStatus AuditEntry EventType Level Score SessionStatus Snapshot "
            "SpanKind SpanSource SpanStatus"
        ),
        "persistence": (
            "InMemoryPersistence NullPersistence Persistence PostgresPersistence "
            "SQLitePersistence connect"
        ),
        "recording.context": "current_run",
        "recording.recorder": "RunRecorder",
        "recording.arguments": "Parent",
        "recording.decorators": "tool",
        "recording.model_calls": "LLMCall",
        "recording.spans": "Span ToolCall",
        "config.settings": "Setting",
        "replication.report": "ReplicaCheck ReplicationReport",
        "server": "make_app serve",
        "store.base": "HealthCheck",
        "tables.keys": "ApiKey ConsoleSession NewApiKey NewConsoleSession",
        "views.traces": "Trace TraceNode TraceSegment TraceSpan TraceSummary",
        "capabilities.transfers.hashes": "RunHash",
        "results.pages": "Page Records Stream",
        "results.sql": "SQLResult",
    }
    _HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

    def __getattr__(name):
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
        return value

    def __dir__():
        return sorted({*globals(), *__all__})
