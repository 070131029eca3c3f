"""The awaited classes have all methods of the blocking ones, with the same signatures."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest

import curio_persistence
from curio_persistence import (
    BufferedPersistence,
    ConfigurationError,
    InMemoryPersistence,
    Persistence,
    RunRecorder,
    Stream,
    UnsupportedError,
    aio,
    connect,
)
from curio_persistence.aio import persistence as awaited
from curio_persistence.aio.awaited import Awaited
from curio_persistence.capabilities.agents import Agents
from curio_persistence.capabilities.alerts import Alerts
from curio_persistence.capabilities.approvals import Approvals
from curio_persistence.capabilities.audit import Audit
from curio_persistence.capabilities.events import Events
from curio_persistence.capabilities.keys import Keys
from curio_persistence.capabilities.lifecycle import Lifecycle
from curio_persistence.capabilities.metrics import Metrics
from curio_persistence.capabilities.prices import Prices
from curio_persistence.capabilities.runlog import RunLog
from curio_persistence.capabilities.scores import Scores
from curio_persistence.capabilities.search import Search
from curio_persistence.capabilities.similarity import Similarity
from curio_persistence.capabilities.snapshots import Snapshots
from curio_persistence.capabilities.stats import Stats
from curio_persistence.capabilities.usage import Usage
from curio_persistence.views.runs import RunViews
from curio_persistence.views.sessions import SessionViews
from curio_persistence.views.traces import TraceViews

PAIRS = {
    Persistence: aio.AsyncPersistence,
    BufferedPersistence: aio.AsyncBufferedPersistence,
    RunViews: awaited.AsyncRuns,
    Alerts: awaited.AsyncAlerts,
    Events: awaited.AsyncEvents,
    Usage: awaited.AsyncUsage,
    Prices: awaited.AsyncPrices,
    Scores: awaited.AsyncScores,
    Approvals: awaited.AsyncApprovals,
    Snapshots: awaited.AsyncSnapshots,
    TraceViews: awaited.AsyncTraces,
    Audit: awaited.AsyncAudit,
    SessionViews: awaited.AsyncSessions,
    Agents: awaited.AsyncAgents,
    Stats: awaited.AsyncStats,
    Keys: awaited.AsyncKeys,
    Lifecycle: awaited.AsyncLifecycle,
    Metrics: awaited.AsyncMetrics,
    RunLog: awaited.AsyncRunLog,
    Search: awaited.AsyncSearch,
    Similarity: awaited.AsyncSimilarity,
    RunRecorder: aio.AsyncRunRecorder,
    Stream: aio.AsyncStream,
}

FUNCTIONS = [
    "copy_records",
    "export_atif",
    "export_chat",
    "export_otlp",
    "export_records",
    "follow_otlp",
    "import_agdd",
    "import_agentlens",
    "import_agiwo",
    "import_costs",
    "import_records",
    "import_sessions",
    "reinterpret_spans",
    "span_senders",
]

ARCHIVING = ["archive_runs", "check_archive", "erase_runs", "open_archive", "restore_runs"]
OF_A_URL = ["import_curio", "restore_backup"]

COMPONENT = {"startup", "shutdown", "aget_agent_run"}
COMPONENT |= {f"a{name}" for name in ("create_agent_run", "update_agent_run")}
COMPONENT |= {f"a{name}" for name in ("log_agent_run_event", "log_llm_usage")}
"""The component interface of frameworks, which is awaited in a blocking persistence."""

INTERNAL = {
    Persistence: COMPONENT,
    BufferedPersistence: COMPONENT,
    RunViews: {"create_rows", "dated_row", "replace_rows", "where"},
    Events: {"log_rows", "store", "where"},
    Scores: {"where"},
    Approvals: {"look"},
    Usage: {"log_rows", "store", "where"},
    Stats: {"groups"},
    Stream: {"batches"},
}
"""Methods that only the library itself calls."""


def public(kind: type) -> dict[str, Any]:
    hidden = INTERNAL.get(kind, set())
    return {
        name: inspect.getattr_static(kind, name)
        for name in dir(kind)
        if not name.startswith("_") and name not in hidden
    }


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    found = inspect.signature(function).parameters.values()
    return [(each.name, each.kind, each.default) for each in found]


def test_every_capability_is_paired() -> None:
    blocking = InMemoryPersistence()
    for name, awaiting in vars(aio.AsyncPersistence(blocking)).items():
        if isinstance(awaiting, Awaited):
            kind = type(getattr(blocking, name))
            assert PAIRS.get(kind) is type(awaiting), f"add {kind.__name__} to PAIRS"


@pytest.mark.parametrize(
    ("blocking", "awaiting"), PAIRS.items(), ids=[kind.__name__ for kind in PAIRS]
)
def test_no_name_is_missing(blocking: type, awaiting: type) -> None:
    assert public(awaiting).keys() >= public(blocking).keys()


@pytest.mark.parametrize(
    ("blocking", "awaiting"), PAIRS.items(), ids=[kind.__name__ for kind in PAIRS]
)
def test_each_method_has_the_same_signature_and_a_docstring(blocking: type, awaiting: type) -> None:
    for name, member in public(awaiting).items():
        assert inspect.getdoc(member), name
        if inspect.isfunction(member) and callable(getattr(blocking, name)):
            assert parameters(member) == parameters(getattr(blocking, name)), name


def test_other_attributes_of_a_persistence_exist_too() -> None:
    persistence = InMemoryPersistence()
    has = {name for name in vars(persistence) if not name.startswith("_")}
    assert has <= set(dir(aio.AsyncPersistence(persistence)))


def test_functions_that_take_a_persistence_take_an_awaited_one() -> None:
    for name in (*FUNCTIONS, *ARCHIVING, *OF_A_URL):
        awaiting, blocking = getattr(aio, name), getattr(curio_persistence, name)
        assert inspect.iscoroutinefunction(awaiting)
        assert parameters(awaiting) == parameters(blocking), name
        assert inspect.getdoc(awaiting), name


def test_no_function_that_takes_a_persistence_is_missing() -> None:
    public = (getattr(curio_persistence, name) for name in curio_persistence.__all__)
    functions = {each.__name__ for each in public if inspect.isfunction(each)}
    others = {
        *ARCHIVING,
        *OF_A_URL,
        "connect",
        "create_app",
        "current_run",
        "find_sessions",
        "make_app",
        "record_demo",
        "serve",
        "serve_console",
        "tool",
    }
    assert functions == {*FUNCTIONS, *others}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_wrong_kind_of_persistence_is_refused_with_the_right_one(
    name: str, tmp_path: Path
) -> None:
    opened = InMemoryPersistence()

    def call(module: Any, persistence: object) -> Any:
        if name.endswith("_otlp"):
            return getattr(module, name)(persistence, "http://127.0.0.1:1")
        if "span" in name:
            return getattr(module, name)(persistence)
        others = [tmp_path] if name.startswith("import") else []
        return getattr(module, name)(*others, persistence, *[persistence] * (not others))

    with pytest.raises(ConfigurationError, match=r"not a InMemory.*open it by await aio\.connect"):
        asyncio.run(call(aio, opened))
    with pytest.raises(UnsupportedError, match=r"not a Async.*: await aio\.export_records"):
        call(curio_persistence, aio.AsyncPersistence(opened))


def test_connect_has_the_same_parameters() -> None:
    *same, (threads, _, _) = parameters(aio.connect)
    assert same == parameters(connect)
    assert threads == "threads"


def test_an_invalid_setting_is_refused_before_anything_is_opened() -> None:
    with pytest.raises(ConfigurationError, match="threads is a whole number from 1 on, not 0"):
        aio.connect("memory://", threads=0)
    with pytest.raises(ConfigurationError, match=r"not str.*await aio\.connect\(url\)"):
        aio.AsyncPersistence("memory://")  # type: ignore[arg-type]


def test_help_shows_that_a_call_is_awaited() -> None:
    assert inspect.iscoroutinefunction(aio.AsyncPersistence.query_events)
    assert not inspect.iscoroutinefunction(aio.AsyncPersistence.iter_agent_runs)
    shown = inspect.signature(aio.AsyncPersistence.iter_agent_runs)
    assert shown.return_annotation == "AsyncStream[AgentRun]"
