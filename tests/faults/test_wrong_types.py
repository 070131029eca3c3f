"""Every public call works with any argument, or raises a typed error."""

from __future__ import annotations

import datetime
import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    InMemoryPersistence,
    Persistence,
    PersistenceError,
    SQLitePersistence,
    Stream,
)
from curio_persistence.capabilities.analytics import AnalyticsFilters
from curio_persistence.capabilities.approvals import ApprovalFilters
from curio_persistence.capabilities.events import EventFilters
from curio_persistence.capabilities.live import LiveFilters
from curio_persistence.capabilities.metrics import MetricFilters
from curio_persistence.capabilities.runlog import EntryFilters
from curio_persistence.capabilities.runs import RunFilters
from curio_persistence.capabilities.search import SearchFilters
from curio_persistence.capabilities.similarity import SimilarFilters
from curio_persistence.capabilities.snapshots import SnapshotFilters
from curio_persistence.capabilities.stats import StatsFilters
from curio_persistence.capabilities.usage import UsageFilters
from tests.support import soak

ROUNDS = 10 * soak.FACTOR
JUNK: list[Callable[[], Any]] = [
    *(lambda value=value: value for value in (None, 0, -1, True, 2**70, 1.5, float("nan"))),
    *(lambda value=value: value for value in ("", "x", "7d", "\0", "\ud800", b"x", (), range(3))),
    *(lambda value=value: value for value in (object(), print, slice(1), ...)),
    *(lambda value=value: value for value in (Decimal("NaN"), ValueError("x"), {"x"}, {1: 2})),
    lambda: datetime.datetime(2026, 1, 1),
    lambda: datetime.timedelta(hours=1),
    lambda: ["x"],
    lambda: [None],
    lambda: [["x"]],
    lambda: iter([1]),
    lambda: {"a": [{}]},
    lambda: {("a",): 1},
    lambda: {"a": object()},
    lambda: AgentRun("a", "r"),
    lambda: AgentRunEvent("a", "r"),
]
FILTERS = {
    kind.__name__: [*kind.__annotations__]
    for kind in (
        *(RunFilters, EventFilters, UsageFilters, MetricFilters, SearchFilters, StatsFilters),
        *(
            AnalyticsFilters,
            ApprovalFilters,
            SnapshotFilters,
            EntryFilters,
            LiveFilters,
            SimilarFilters,
        ),
    )
}
NOT_ASKED = {"close", "transaction", "buffered", "record_run", "recorded", "follow", "compact"}
NOT_ASKED |= {"wait"}  # It may take as long as a ticket lives.
NOT_ASKED |= {"startup", "shutdown", "acreate_agent_run", "aupdate_agent_run", "aget_agent_run"}
NOT_ASKED |= {"alog_agent_run_event", "alog_llm_usage"}
INTERNAL = {"where", "store", "log_rows", "switch"}


def calls(persistence: Persistence) -> Iterator[tuple[Any, str]]:
    """Return each public method with its object."""
    p = persistence
    several = (p.runs, p.events, p.usage, p.stats, p.metrics, p.search, p.approvals, p.snapshots)
    for owner in (p, *several, p.similarity, p.runlog):
        for name in dir(type(owner)):
            method = inspect.getattr_static(type(owner), name)
            hidden = name.startswith("_") or name in NOT_ASKED | INTERNAL
            if inspect.isfunction(method) and not hidden:
                yield owner, name
    yield p.runs, "hash"
    yield p.runs, "hashes"


def arguments(method: Any, chance: random.Random) -> tuple[list[Any], dict[str, Any]]:
    """Return a value for each required parameter, and for some optional ones and filters."""
    positional, named = [], {}
    for name, parameter in inspect.signature(method).parameters.items():
        junk = chance.choice(JUNK)()
        if parameter.kind is parameter.VAR_KEYWORD:
            known = next(names for kind, names in FILTERS.items() if kind in parameter.annotation)
            named.update({each: chance.choice(JUNK)() for each in known if chance.random() < 0.25})
        elif parameter.default is not parameter.empty or parameter.kind is parameter.KEYWORD_ONLY:
            if parameter.default is parameter.empty or chance.random() < 0.3:
                named[name] = junk
        else:
            positional.append(junk)
    return positional, named


def read(answer: Any) -> None:
    if isinstance(answer, Stream):
        list(answer)
    elif hasattr(answer, "to_dicts"):
        answer.to_dicts()


@pytest.mark.parametrize("kind", [InMemoryPersistence, SQLitePersistence])
def test_a_wrong_type_raises_nothing_untyped(
    kind: Callable[..., Persistence], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # Some of the texts are names of files to be written.
    chance = random.Random(11)
    for _ in range(ROUNDS):
        with kind(*[":memory:"] * (kind is SQLitePersistence)) as persistence:
            persistence.append_event("r", "a", "t", payload={"a": 1})
            persistence.log_llm_usage(AgentLLMUsage("a", "r"))
            for owner, name in calls(persistence):
                positional, named = arguments(getattr(owner, name), chance)
                with suppress(PersistenceError):
                    read(getattr(owner, name)(*positional, **named))


def test_every_filter_of_the_facade_is_tried() -> None:
    methods = [each for each in vars(Persistence).values() if inspect.isfunction(each)]
    given = {method.__annotations__.get("filters") for method in methods} - {None}
    assert given <= {f"Unpack[{name}]" for name in FILTERS}
