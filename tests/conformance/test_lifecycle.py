"""A persistence can be checked, closed, reopened, printed and copied, but not pickled."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    ClosedError,
    Persistence,
    UnsupportedError,
)
from curio_persistence.store.base import Store
from tests.support.records import everything

Open = Callable[[], Persistence]

CALLS: dict[str, Callable[[Persistence], object]] = {
    "create_agent_run": lambda p: p.create_agent_run(AgentRun("agent", "run")),
    "update_agent_run": lambda p: p.update_agent_run("run", AgentRun("agent", "run")),
    "get_agent_run": lambda p: p.get_agent_run("run"),
    "get_agent_runs": lambda p: p.get_agent_runs(),
    "delete_agent_run": lambda p: p.delete_agent_run("run"),
    "log_agent_run_event": lambda p: p.log_agent_run_event(AgentRunEvent("agent", "run")),
    "get_agent_run_events": lambda p: p.get_agent_run_events("run"),
    "log_llm_usage": lambda p: p.log_llm_usage(AgentLLMUsage("agent", "run")),
    "get_llm_usage": lambda p: p.get_llm_usage(),
    "get_agent_run_stats": lambda p: p.get_agent_run_stats(),
    "initialize_schema": lambda p: p.initialize_schema(),
    "transaction": lambda p: p.transaction().__enter__(),
    "diagnose": lambda p: p.diagnose(),
    "runs.stale": lambda p: p.runs.stale(),
    "runs.abandon": lambda p: p.runs.abandon(older_than=timedelta(0)),
}


def test_it_is_healthy_while_it_is_open(persistence: Persistence) -> None:
    assert persistence.health_check() is True
    persistence.close()
    assert persistence.health_check() is False


@pytest.mark.parametrize("name", CALLS)
def test_once_closed_it_refuses_every_call(persistence: Persistence, name: str) -> None:
    persistence.create_agent_run(AgentRun("agent", "existing"))
    persistence.close()
    with pytest.raises(ClosedError):
        CALLS[name](persistence)


def test_an_invalid_call_is_refused_when_closed(persistence: Persistence) -> None:
    persistence.close()
    with pytest.raises(ValueError, match="agent_id"):
        persistence.create_agent_run(AgentRun("", "run"))


def test_closing_repeatedly_is_allowed(persistence: Persistence) -> None:
    for _ in range(3):
        persistence.close()


def test_any_thread_may_close_it_for_all(persistence: Persistence) -> None:
    persistence.get_agent_runs()
    thread = threading.Thread(target=persistence.close)
    thread.start()
    thread.join()
    with pytest.raises(ClosedError):
        persistence.get_agent_runs()


@pytest.mark.parametrize("raised", [None, ValueError("no")], ids=["returning", "raising"])
def test_leaving_a_with_statement_closes_it(
    persistence: Persistence, raised: ValueError | None
) -> None:
    def use() -> None:
        with persistence as opened:
            assert opened is persistence
            if raised is not None:
                raise raised

    if raised is None:
        use()
    else:
        with pytest.raises(ValueError, match="no"):
            use()
    with pytest.raises(ClosedError):
        persistence.get_agent_runs()


@pytest.mark.usefixtures("lasting")
def test_records_are_there_after_reopening(open_again: Open) -> None:
    with open_again() as first:
        first.create_agent_run(AgentRun("agent", "run", objective="a\0b", metadata={"a": [1]}))
        first.log_agent_run_event(AgentRunEvent("agent", "run", event_type="custom"))
        first.log_llm_usage(AgentLLMUsage("agent", "run", cost_usd=0.1))  # type: ignore[arg-type]
        before = everything(first), first.get_agent_run_stats()
    with open_again() as second:
        assert (everything(second), second.get_agent_run_stats()) == before


@pytest.mark.usefixtures("lasting")
def test_closing_one_leaves_another_on_the_same_database_open(open_again: Open) -> None:
    first, second = open_again(), open_again()
    first.create_agent_run(AgentRun("agent", "run"))
    first.close()
    second.log_agent_run_event(AgentRunEvent("agent", "run"))
    assert len(second.get_agent_run_events("run")) == 1


def test_initializing_again_changes_nothing(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("agent", "run"))
    before = everything(persistence)
    persistence.initialize_schema()
    assert everything(persistence) == before


def test_it_cannot_be_pickled_and_says_what_to_do_instead(persistence: Persistence) -> None:
    with pytest.raises(UnsupportedError, match="connect"):
        pickle.dumps(persistence)


@dataclass
class Agent:
    name: str
    persistence: Persistence


def test_a_copied_agent_records_into_the_same_database(persistence: Persistence) -> None:
    agent = Agent("agent", persistence)
    assert copy.copy(persistence) is persistence
    assert copy.deepcopy(agent).persistence is persistence
    assert asdict(agent)["persistence"] is persistence


def test_its_repr_says_what_it_is(persistence: Persistence, store: Store) -> None:
    assert repr(persistence) == f"{type(persistence).__name__}({store!r})"
    for name in ("runs", "events", "usage", "scores", "stats", "metrics", "search"):
        capability = getattr(persistence, name)
        assert repr(capability) == f"{type(capability).__name__}({store!r})"


def test_the_health_check_of_a_new_database_finds_no_problem(persistence: Persistence) -> None:
    checks = persistence.diagnose()
    assert {check.level for check in checks} <= {"ok", "warning"}
    assert len({check.name for check in checks}) == len(checks)
    assert all(check.advice for check in checks if check.level != "ok")


@pytest.mark.parametrize("deep", [False, True])
def test_the_health_check_counts_records_whose_run_does_not_exist(
    persistence: Persistence, *, deep: bool
) -> None:
    """Model calls and child runs may have such a run: it may be recorded elsewhere."""
    persistence.append_event("run", "agent", "note")
    for run_id in ("run", "elsewhere", "elsewhere", None):
        persistence.log_llm_usage(AgentLLMUsage("agent", run_id))
    for run_id, parent in (("child", "run"), ("orphan", "elsewhere"), ("free", None)):
        persistence.create_agent_run(AgentRun("agent", run_id, parent_run_id=parent))
    [check] = [each for each in persistence.diagnose(deep=deep) if each.name == "orphans"]
    assert (check.level, check.message) == (
        "ok",
        "every event has its run; 2 model calls name one that is not here, as they may; "
        "1 child runs name one that is not here, as they may",
    )
