"""The public API: its names and signatures change only with a major version."""

from __future__ import annotations

import inspect
import re
from importlib import import_module, resources
from typing import Any

import pytest

import curio_persistence
from curio_persistence import (
    BasePersistence,
    BufferedPersistence,
    DatabaseConfig,
    InMemoryPersistence,
    Persistence,
    PersistenceError,
    PostgresPersistence,
    Records,
    SQLitePersistence,
    Stream,
    connect,
    copy_records,
    errors,
    export_atif,
    export_chat,
    export_otlp,
    export_records,
    follow_otlp,
    import_curio,
    import_records,
    restore_backup,
)
from curio_persistence.capabilities.analytics import AnalyticsFilters
from curio_persistence.capabilities.events import EventFilters
from curio_persistence.capabilities.metrics import MetricFilters
from curio_persistence.capabilities.runs import RunFilters
from curio_persistence.capabilities.search import Search, SearchFilters
from curio_persistence.capabilities.similarity import SimilarFilters, Similarity
from curio_persistence.capabilities.usage import UsageFilters
from curio_persistence.tables import TABLES

NAMES = [
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
TEN = {
    "create_agent_run": "(self, run: AgentRun) -> None",
    "update_agent_run": "(self, run_id: str, run: AgentRun) -> None",
    "get_agent_run": "(self, run_id: str) -> AgentRun | None",
    "get_agent_runs": "(self, agent_id: str | None = None, limit: int | None = 10, "
    "offset: int = 0) -> list[AgentRun]",
    "delete_agent_run": "(self, run_id: str) -> bool",
    "log_agent_run_event": "(self, event: AgentRunEvent) -> None",
    "get_agent_run_events": "(self, run_id: str, event_type: str | None = None) "
    "-> list[AgentRunEvent]",
    "log_llm_usage": "(self, usage: AgentLLMUsage) -> None",
    "get_llm_usage": "(self, agent_id: str | None = None, run_id: str | None = None, "
    "limit: int | None = 100) -> list[AgentLLMUsage]",
    "get_agent_run_stats": "(self, agent_id: str | None = None) -> dict[str, Any]",
}
FOR_FREE = {
    "initialize_schema": "(self) -> None",
    "health_check": "(self) -> bool",
    "close": "(self) -> None",
    "record_run": "(self, *, agent_id: str, objective: Any = '', agent_name: str = '', "
    "run_id: str | None = None, session_id: str | None = None, user_id: str | None = None, "
    "parent: RunRecorder | str | Parent | None = <Parent.ENCLOSING: 'enclosing'>, "
    "additional_context: Any = None, metadata: Any = None, "
    "tags: str | Collection[str] | None = None, resume: bool = False, "
    "on_error: OnError = 'log') -> RunRecorder",
    "recorded": "(self, agent_id: str | None = None, *, capture_args: bool = True, "
    "capture_result: bool = True, **run: Any) -> Callable[[F], F]",
}
MORE = {
    "get_agent_run_stats": ", *, session_id: str | None = None, since: TimeLike | None = None, "
    "until: TimeLike | None = None",
}
"""Parameters of our own persistences beyond those of every BasePersistence."""
OTHERS = {
    import_curio: "(url: str | DatabaseConfig, *, timezone: str | tzinfo | None = None, "
    "dry_run: bool = False, progress: Progress | None = None) -> CurioImportReport",
    export_records: "(persistence: Persistence, path: str | os.PathLike[str] | BinaryIO, *, "
    "format: str | None = None, tables: Collection[str] = ('agents', 'sessions', 'runs', "
    "'events', 'usage', 'scores', 'approvals', 'snapshots', 'spans', 'sources'), "
    "overwrite: bool = False, snapshot: bool = True, with_proof: bool = False, "
    "progress: Progress | None = None, **filters: Any) -> ExportReport",
    export_atif: "(persistence: Persistence, path: Path_ | BinaryIO, *, per: str = 'run', "
    "where: Where = (), redact: Redact = None, overwrite: bool = False, "
    "progress: Progress | None = None, **filters: Any) -> DialogueReport",
    export_chat: "(persistence: Persistence, path: Path_ | BinaryIO, *, format: str = 'openai', "
    "where: Where = (), redact: Redact = 'keys,api-keys', overwrite: bool = False, "
    "progress: Progress | None = None, **filters: Any) -> DialogueReport",
    export_otlp: "(persistence: Persistence, url: str, *, name: str | None = None, "
    "run_id: str | None = None, running: bool = False, dry_run: bool = False, "
    "progress: Progress | None = None, **options: Unpack[OtlpOptions]) -> OtlpReport",
    follow_otlp: "(persistence: Persistence, url: str, every: float | timedelta | str = 5, *, "
    "name: str = 'otlp', stop: Event | None = None, on_round: Callable[[OtlpOutcome], object] | "
    "None = None, **options: Unpack[OtlpOptions]) -> None",
    import_records: "(source: Source | BinaryIO, persistence: Persistence | None, *, "
    "progress: Progress | None = None) -> ImportReport",
    copy_records: "(source: Persistence, destination: Persistence, *, "
    "progress: Progress | None = None) -> CopyReport",
    connect: "(url: str | None = None, *, read_only: bool = False, initialize: bool = True, "
    "wait: bool = True, "
    "redactor: Redactor | str | Collection[str] | None = None, "
    "capture_content: CaptureContent | None = None, "
    "search: bool | None = None, "
    "archive: str | os.PathLike[str] | None = None, chain: bool | None = None, "
    "audit_key: str | None = None, dedupe: bool | None = None, "
    "prices: PricesLike | None = None, embed: EmbedLike = None) -> Persistence",
    SQLitePersistence: "(db_path: str | os.PathLike[str] = 'agent_sdk.db', *, durability: "
    "Durability = 'normal', read_only: bool = False, initialize: bool = True, lock_timeout: "
    "float = 30.0, redactor: Redactor | str | Collection[str] | None = None, "
    "capture_content: CaptureContent = 'full', search: bool | None = None, "
    "chain: bool = False, audit_key: str | None = None, dedupe: bool = False, "
    "prices: PricesLike = True, embed: EmbedLike = None, clock: Clock | None = None) -> None",
    PostgresPersistence: "(host: str | None = None, port: int | None = None, database: str | "
    "None = None, user: str | None = None, password: str | None = None, schema: str = "
    "'agent_sdk', min_connections: int = 1, max_connections: int = 10, *, dsn: str | None = "
    "None, pool_timeout: float = 30.0, statement_timeout: float | None = 10.0, pgbouncer: bool "
    "= False, layout: Layout | None = None, read_dsn: str | None = None, "
    "read_staleness: float = 5.0, read_only: bool = False, "
    "initialize: bool = True, wait: bool = True, "
    "redactor: Redactor | str | "
    "Collection[str] | None = None, "
    "capture_content: CaptureContent = 'full', search: bool | None = None, "
    "chain: bool = False, audit_key: str | None = None, dedupe: bool = False, "
    "prices: PricesLike = True, embed: EmbedLike = None, clock: Clock | None = None) -> None",
    InMemoryPersistence: "(*, read_only: bool = False, "
    "redactor: Redactor | str | Collection[str] | None = None, "
    "capture_content: CaptureContent = 'full', search: bool | None = None, "
    "chain: bool = False, audit_key: str | None = None, dedupe: bool = False, "
    "prices: PricesLike = True, embed: EmbedLike = None, clock: Clock | None = None) -> None",
    InMemoryPersistence.clear_all: "(self) -> None",
    InMemoryPersistence.get_all_data: "(self) -> dict[str, Any]",
    Persistence: "(store: Store, *, initialize: bool = True, clock: Clock | None = None, "
    "redaction: Redaction | None = None, search: bool | None = None, chain: bool = False, "
    "audit_key: str | None = None, dedupe: bool = False, prices: PricesLike = True, "
    "embed: EmbedLike = None) -> None",
    Persistence.log_audit_event: "(self, event: Mapping[str, Any]) -> None",
    Persistence.get_audit_events: "(self, run_id: str | None = None, agent_id: str | None = None, "
    "limit: int | None = 100) -> list[dict[str, Any]]",
    Persistence.replicate: "(self, url: str, *, once: bool = True, compact: bool = False, "
    "source: str | None = None, every: timedelta = datetime.timedelta(seconds=1), "
    "deletions_every: timedelta = datetime.timedelta(seconds=60), stop: Event | None = None, "
    "progress: Progress | None = None) -> ReplicationReport",
    Persistence.check_replica: "(self, url: str, *, source: str | None = None, "
    "deep: bool = False) -> ReplicaCheck",
    Persistence.create_agent_runs: "(self, runs: Iterable[AgentRun]) -> None",
    Persistence.log_agent_run_events: "(self, events: Iterable[AgentRunEvent], *, "
    "on_conflict: OnConflict = 'keep') -> int",
    Persistence.log_llm_usages: "(self, usages: Iterable[AgentLLMUsage], *, "
    "on_conflict: OnConflict = 'keep') -> int",
    Persistence.query_agent_runs: "(self, *, order: Direction = 'newest', limit: int | None = 100, "
    "cursor: str | None = None, brief: bool = False, **filters: Unpack[RunFilters]) -> "
    "Page[AgentRun]",
    Persistence.iter_agent_runs: "(self, *, order: Direction = 'newest', snapshot: bool = "
    "True, **filters: Unpack[RunFilters]) -> "
    "Stream[AgentRun]",
    Persistence.query_events: "(self, *, order: Direction = 'newest', limit: int | None = 100, "
    "cursor: str | None = None, **filters: Unpack[EventFilters]) -> Page[AgentRunEvent]",
    Persistence.iter_agent_run_events: "(self, *, order: Direction = 'newest', snapshot: bool = "
    "True, **filters: Unpack[EventFilters]) -> "
    "Stream[AgentRunEvent]",
    Persistence.query_llm_usage: "(self, *, order: Direction = 'newest', limit: int | None = 100, "
    "cursor: str | None = None, **filters: Unpack[UsageFilters]) -> Page[AgentLLMUsage]",
    Persistence.iter_llm_usage: "(self, *, order: Direction = 'newest', snapshot: bool = "
    "True, **filters: Unpack[UsageFilters]) -> "
    "Stream[AgentLLMUsage]",
    Persistence.append_event: "(self, run_id: str, agent_id: str, event_type: str, *, timestamp: "
    "datetime | None = None, level: str = 'info', message: str | None = None, payload: Any = "
    "None, session_id: str | None = None, span_id: str | None = None, parent_span_id: str | None "
    "= None, trace_id: str | None = None, contract_id: str | None = None, contract_version: str | "
    "None = None, artifact_uri: str | None = None, metadata: Any = None, event_id: str | None = "
    "None) -> AgentRunEvent",
    Persistence.create_payload_index: "(self) -> bool",
    Persistence.sql: "(self, query: str, params: Sequence[Any] = (), *, "
    "limit: int | None = None) -> SQLResult",
    Persistence.count_events: "(self, **filters: Unpack[EventFilters]) -> int",
    Persistence.query_metrics: "(self, name: str, aggregation: str = 'avg', *, bucket: str | None "
    "= None, group_by: str | None = None, **filters: Unpack[MetricFilters]) -> "
    "Records[MetricPoint]",
    Persistence.analytics: "(self, since: TimeLike | None = None, until: TimeLike | None = None, "
    "*, bucket: Bucket | None = 'day', timezone: str | tzinfo | None = None, group_by: GroupBy = "
    "(), fill: bool = False, percentiles: bool = False, **filters: Unpack[AnalyticsFilters]) -> "
    "Records[PeriodTotals]",
    Records.to_dicts: "(self) -> list[dict[str, Any]]",
    Records.to_pandas: "(self, *, expand: str | Iterable[str] = ()) -> Any",
    Records.to_arrow: "(self) -> Any",
    Stream.to_dicts: "(self) -> list[dict[str, Any]]",
    Stream.to_pandas: "(self, *, expand: str | Iterable[str] = ()) -> Any",
    Stream.to_arrow: "(self) -> Any",
    Stream.close: "(self) -> None",
    Persistence.transaction: "(self) -> AbstractContextManager[None]",
    Persistence.diagnose: "(self, *, deep: bool = False) -> list[HealthCheck]",
    Persistence.buffered: "(self, *, max_items: int = 10000, "
    "max_bytes: int = 67108864, max_seconds: float = 1.0, "
    "overflow: Overflow = 'block', install_sigterm: bool = False) -> BufferedPersistence",
    BufferedPersistence: "(persistence: Persistence, *, max_items: int = 10000, "
    "max_bytes: int = 67108864, max_seconds: float = 1.0, overflow: Overflow = 'block', "
    "install_sigterm: bool = False) -> None",
    BufferedPersistence.flush: "(self) -> None",
    DatabaseConfig: "(db_type: Backend = 'sqlite', db_path: str = 'agent_sdk.db', "
    "db_host: str | None = None, db_port: int | None = None, db_name: str | None = None, "
    "db_user: str | None = None, db_password: str | None = None, db_schema: str = 'agent_sdk', "
    "db_min_connections: int = 1, db_max_connections: int = 10, dsn: str | None = None, "
    "redactor: Redactor | str | Collection[str] | None = None, "
    "capture_content: CaptureContent = 'full', "
    "statement_timeout: float | None = 10.0, chain: bool = False, "
    "audit_key: str | None = None, dedupe: bool = False, prices: PricesLike = True, "
    "layout: Layout | None = None, read_dsn: str | None = None, embed: EmbedLike = None) -> None",
    DatabaseConfig.from_env: "(environ: Mapping[str, str] | None = None, *, dotenv: bool = True, "
    "given: Given | None = None) -> DatabaseConfig",
    DatabaseConfig.explain: "(environ: Mapping[str, str] | None = None, *, dotenv: bool = True, "
    "given: Given | None = None) -> list[Setting]",
    DatabaseConfig.from_url: "(url: str) -> DatabaseConfig",
    DatabaseConfig.get_persistence: "(self, *, read_only: bool = False, initialize: bool = "
    "True, wait: bool = True, search: bool | None = None) -> Persistence",
    Persistence.search_text: "(self, query: str, *, order: SearchOrder = 'newest', limit: int "
    "| None = 50, "
    "cursor: str | None = None, max_wait: float | None = 10.0, "
    "**filters: Unpack[SearchFilters]) -> SearchPage",
    Persistence.similar: "(self, to: str | Sequence[float], *, top: int = 20, kind: TextKind "
    "| None = None, max_wait: float | None = 10.0, **filters: Unpack[SimilarFilters]) -> "
    "SimilarHits",
    Similarity.find: "(self, to: Any, *, top: int = 20, kind: TextKind | None = None, max_wait: "
    "float | None = 10.0, **filters: Unpack[SimilarFilters]) -> SimilarHits",
    Similarity.index_pending: "(self, *, limit: int | None = None, max_wait: float | None = "
    "None, progress: Progress | None = None) -> int",
    Similarity.failures: "(self, *, min_score: float = 0.5, **filters: Unpack[StatsFilters]) -> "
    "Records[FailureGroup]",
    Similarity.create_index: "(self) -> bool",
    Similarity.pending: "(self) -> int",
    Similarity.models: "(self) -> dict[str, int]",
    Similarity.check: "(self) -> HealthCheck",
    Similarity.delete: "(self, model: str | None = None) -> int",
    Persistence.compact: "(self) -> None",
    Persistence.backup: "(self, destination: str | os.PathLike[str], *, "
    "progress: Progress | None = None) -> BackupReport",
    Persistence.verify: "(self, against: str | os.PathLike[str] | None = None, *, "
    "progress: Progress | None = None) -> VerifyReport",
    restore_backup: "(source: Address, url: str | DatabaseConfig) -> BackupReport",
    Search.index_pending: "(self, *, limit: int | None = None, max_wait: float | None = "
    "None, progress: Progress | None = None) -> int",
    Search.pending: "(self) -> int",
    Search.enable: "(self) -> None",
    Search.disable: "(self) -> None",
    Search.rebuild: "(self, *, progress: Progress | None = None) -> int",
    Search.check: "(self, *, deep: bool = False) -> list[HealthCheck]",
}
FILTERS: dict[type, str] = {
    SimilarFilters: "agent_id run_id session_id user_id parent_run_id status tags any_tags "
    "source project metadata event_type level min_level payload model provider since until",
    RunFilters: "agent_id run_id session_id parent_run_id status tags any_tags user_id "
    "source project metadata since until",
    EventFilters: "agent_id run_id session_id user_id event_type level min_level payload seq "
    "source project since until",
    UsageFilters: "agent_id run_id session_id user_id model provider status "
    "source project since until",
    MetricFilters: "agent_id run_id session_id since until",
    SearchFilters: "agent_id run_id session_id event_type level model since until",
}
CONCRETE = (
    Persistence,
    SQLitePersistence,
    PostgresPersistence,
    InMemoryPersistence,
    BufferedPersistence,
)


def test_every_name_exists_and_is_listed() -> None:
    for name in NAMES:
        assert getattr(curio_persistence, name) is not None
    assert set(NAMES) <= set(dir(curio_persistence))


def test_an_unknown_name_raises_as_usual() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        curio_persistence.Nothing  # type: ignore[attr-defined]  # noqa: B018


def signature(function: Any) -> str:
    """Return the signature as in the source: annotations are strings at run time."""
    found = inspect.signature(function)
    parameters = [
        parameter.replace(annotation=_Written(parameter.annotation))
        if parameter.annotation is not parameter.empty
        else parameter
        for parameter in found.parameters.values()
    ]
    returns = found.return_annotation
    if returns is not found.empty:
        returns = _Written(returns)
    return str(found.replace(parameters=parameters, return_annotation=returns))


class _Written(str):
    """Text without quotation marks around it."""

    def __repr__(self) -> str:
        return str(self)


def test_the_public_names_are_these_and_sorted() -> None:
    assert curio_persistence.__all__ == NAMES
    assert sorted(NAMES) == NAMES


def test_the_records_of_every_table_are_public() -> None:
    assert {table.model.__name__ for table in TABLES} <= {*curio_persistence.__all__}


def test_a_star_import_imports_every_public_name() -> None:
    scope: dict[str, Any] = {}
    exec("from curio_persistence import *", scope)
    assert set(NAMES) == set(scope) - {"__builtins__"}


def test_the_base_class_requires_ten_methods_and_never_an_eleventh() -> None:
    assert BasePersistence.__abstractmethods__ == TEN.keys()


@pytest.mark.parametrize("kind", [BasePersistence, *CONCRETE])
@pytest.mark.parametrize(("name", "written"), (TEN | FOR_FREE).items(), ids=TEN | FOR_FREE)
def test_every_persistence_has_the_published_signatures(
    kind: type[BasePersistence], name: str, written: str
) -> None:
    called = signature(getattr(kind, name))
    if kind is not BasePersistence:
        called = called.replace(MORE.get(name, ""), "")
    assert called == written


@pytest.mark.parametrize(
    ("called", "written"), OTHERS.items(), ids=[each.__qualname__ for each in OTHERS]
)
def test_all_other_names_have_the_published_signatures(called: Any, written: str) -> None:
    assert signature(called) == written


@pytest.mark.parametrize(("filters", "names"), FILTERS.items())
def test_filters_have_these_names_and_are_all_optional(filters: type, names: str) -> None:
    assert " ".join(filters.__annotations__) == names
    assert not filters.__total__  # type: ignore[attr-defined]


FILTERED = {
    Persistence.query_agent_runs: RunFilters,
    Persistence.iter_agent_runs: RunFilters,
    Persistence.query_events: EventFilters,
    Persistence.iter_agent_run_events: EventFilters,
    Persistence.count_events: EventFilters,
    Persistence.query_llm_usage: UsageFilters,
    Persistence.iter_llm_usage: UsageFilters,
    Persistence.analytics: AnalyticsFilters,
    Persistence.query_metrics: MetricFilters,
    Persistence.search_text: SearchFilters,
    Persistence.similar: SimilarFilters,
}

SUBJECTS = {"query_metrics": ["score"], "search_text": ["words"], "similar": ["words"]}


@pytest.mark.parametrize("method", FILTERED, ids=lambda method: method.__name__)
def test_an_unknown_filter_is_refused_by_its_name(method: Any) -> None:
    subject = SUBJECTS.get(method.__name__, [])
    with pytest.raises(TypeError, match="'agent' is not a filter here; the filters are agent_id,"):
        method(InMemoryPersistence(), *subject, agent="a")


@pytest.mark.parametrize(
    "method",
    [each for each in FILTERED if each.__name__.startswith(("query_", "search_", "similar"))],
)
def test_each_filter_is_documented_in_the_docstring(method: Any) -> None:
    told = " ".join(str(method.__doc__).split()).replace("since ≤ t < until", "`since` `until`")
    assert [name for name in FILTERED[method].__annotations__ if f"`{name}`" not in told] == []


@pytest.mark.parametrize("method", FILTERED, ids=lambda method: method.__name__)
def test_each_filter_can_be_given(method: Any) -> None:
    filters = dict.fromkeys(FILTERED[method].__annotations__, "7d") | {"min_level": "error"}
    filters = {name: filters[name] for name in FILTERED[method].__annotations__}
    filters |= {name: {"a": 1} for name in ("payload", "metadata") if name in filters}
    filters |= {name: 1 for name in ("seq",) if name in filters}
    subject = SUBJECTS.get(method.__name__, [])
    persistence = InMemoryPersistence()
    for name, value in filters.items():
        assert method(persistence, *subject, **{name: value}) is not None


@pytest.mark.parametrize("kind", CONCRETE)
def test_published_classes_are_complete(
    kind: type[BasePersistence],
) -> None:
    assert issubclass(kind, BasePersistence)
    assert not kind.__abstractmethods__


def test_the_types_are_for_type_checkers_too() -> None:
    assert resources.files("curio_persistence").joinpath("py.typed").is_file()


def public_objects() -> dict[str, Any]:
    """Return the public names, and the public methods and properties of their classes."""
    found: dict[str, Any] = {}
    for name in NAMES:
        value = getattr(curio_persistence, name)
        found[name] = value
        if inspect.isclass(value):
            for attribute in vars(value):
                member = inspect.getattr_static(value, attribute)
                if not attribute.startswith("_") and _is_documentable(member):
                    found[f"{name}.{attribute}"] = getattr(value, attribute)
    return found


def _is_documentable(member: object) -> bool:
    return inspect.isfunction(member) or isinstance(member, property | classmethod | staticmethod)


@pytest.mark.parametrize(("name", "value"), public_objects().items(), ids=public_objects())
def test_everything_public_has_a_docstring(name: str, value: Any) -> None:
    """Its own docstring, or that of the method it implements; not one that Python generated."""
    text = inspect.getdoc(value)
    assert text, name
    assert not text.startswith(f"{name}("), "that is what a dataclass says by itself"


@pytest.mark.parametrize("module", ["errors", "models", "base", "persistence", "config"])
def test_every_module_has_a_docstring(module: str) -> None:
    assert import_module(f"curio_persistence.{module}").__doc__


# A line of the tree in the docstring of `errors`: "│   ├── BusyError   what it means".
_BRANCH = re.compile(
    r"^ {4}(?P<branches>(?:│   |├── |└── |    )*)(?P<name>\w+Error)\b *(?P<says>.*)$"
)


def drawn() -> dict[str, tuple[str | None, str]]:
    """Return the parent and the description of each exception in the tree."""
    found: dict[str, tuple[str | None, str]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := _BRANCH.match(line):
            depth = len(match["branches"]) // 4
            path[depth:] = [match["name"]]
            found[match["name"]] = (path[depth - 1] if depth else None, match["says"])
    return found


def test_the_tree_shows_all_exceptions() -> None:
    public = {name for name in NAMES if name.endswith("Error")}
    assert drawn().keys() == public
    for name, (parent, _) in drawn().items():
        base = getattr(errors, name).__bases__[0]
        assert base.__name__ == (parent or "Exception"), name


def test_the_tree_shows_other_bases_of_an_exception() -> None:
    for name, (_, says) in drawn().items():
        besides = {base.__name__ for base in getattr(errors, name).__bases__[1:]}
        assert besides == set(re.findall(r"also an? (\w+)", says)), name


def test_every_exception_can_be_caught_by_a_public_name() -> None:
    classes = filter(inspect.isclass, vars(errors).values())
    kinds = [kind for kind in classes if kind.__module__ == errors.__name__]
    assert kinds
    for kind in kinds:
        assert issubclass(kind, PersistenceError)
        assert any(base.__name__ in NAMES for base in kind.__mro__[:2])


def test_a_schema_mismatch_has_its_command() -> None:
    error = errors.SchemaMismatchError("It is old.", found="1", wanted="2", command="mend it")
    assert (error.found, error.wanted, error.command) == ("1", "2", "mend it")
    assert str(error) == "It is old. To mend it: mend it"
