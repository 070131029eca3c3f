"""Whatever the blocking classes can do, the awaited ones can, called in the same way."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from curio_persistence import (
    BufferedPersistence,
    ConfigurationError,
    InMemoryPersistence,
    Persistence,
    RunRecorder,
    Stream,
    ToolCall,
    aio,
    connect,
)
from curio_persistence.aio import persistence as awaited
from curio_persistence.capabilities.events import Events
from curio_persistence.capabilities.metrics import Metrics
from curio_persistence.capabilities.runs import Runs
from curio_persistence.capabilities.search import Search
from curio_persistence.capabilities.stats import Stats
from curio_persistence.capabilities.usage import Usage

PAIRS = {
    Persistence: aio.AsyncPersistence,
    BufferedPersistence: aio.AsyncBufferedPersistence,
    Runs: awaited.AsyncRuns,
    Events: awaited.AsyncEvents,
    Usage: awaited.AsyncUsage,
    Stats: awaited.AsyncStats,
    Metrics: awaited.AsyncMetrics,
    Search: awaited.AsyncSearch,
    RunRecorder: aio.AsyncRunRecorder,
    ToolCall: aio.AsyncToolCall,
    Stream: aio.AsyncStream,
}

INTERNAL = {
    Runs: {"where"},
    Events: {"store", "where"},
    Usage: {"store", "where"},
    Stream: {"batches"},
    InMemoryPersistence: {"transfers"},
}
"""What others call from within the library."""


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


@pytest.mark.parametrize(
    ("blocking", "awaiting"), PAIRS.items(), ids=[kind.__name__ for kind in PAIRS]
)
def test_no_name_is_missing(blocking: type, awaiting: type) -> None:
    assert public(awaiting).keys() >= public(blocking).keys()


@pytest.mark.parametrize(
    ("blocking", "awaiting"), PAIRS.items(), ids=[kind.__name__ for kind in PAIRS]
)
def test_each_is_called_in_the_same_way_and_explained(blocking: type, awaiting: type) -> None:
    for name, member in public(awaiting).items():
        assert inspect.getdoc(member), name
        if inspect.isfunction(member) and callable(getattr(blocking, name)):
            assert parameters(member) == parameters(getattr(blocking, name)), name


def test_what_a_persistence_has_besides_is_there_too() -> None:
    persistence = InMemoryPersistence()
    has = {name for name in vars(persistence) if not name.startswith("_")}
    assert has - INTERNAL[InMemoryPersistence] <= set(dir(aio.AsyncPersistence(persistence)))


def test_it_is_opened_by_what_opens_the_blocking_one() -> None:
    *same, (threads, _, _) = parameters(aio.connect)
    assert same == parameters(connect)
    assert threads == "threads"


def test_a_setting_that_cannot_be_is_refused_before_anything_is_opened() -> None:
    with pytest.raises(ConfigurationError, match="threads is a whole number from 1 on, not 0"):
        aio.connect("memory://", threads=0)
    with pytest.raises(ConfigurationError, match=r"not str.*await aio\.connect\(url\)"):
        aio.AsyncPersistence("memory://")  # type: ignore[arg-type]


def test_help_tells_that_a_call_is_awaited() -> None:
    assert inspect.iscoroutinefunction(aio.AsyncPersistence.query_events)
    assert not inspect.iscoroutinefunction(aio.AsyncPersistence.iter_agent_runs)
    shown = inspect.signature(aio.AsyncPersistence.iter_agent_runs)
    assert shown.return_annotation == "AsyncStream[AgentRun]"
