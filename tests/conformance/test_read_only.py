"""A read-only persistence can be read and refuses every write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from curio_persistence import (
    AccessDeniedError,
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    Persistence,
    connect,
)

Open = Callable[..., Persistence]

WRITES: dict[str, Callable[[Persistence], Any]] = {
    "create": lambda p: p.create_agent_run(AgentRun("agent", "new")),
    "update": lambda p: p.update_agent_run("run", AgentRun("agent", "run")),
    "delete": lambda p: p.delete_agent_run("run"),
    "event": lambda p: p.append_event("run", "agent", "t"),
    "event of a new run": lambda p: p.append_event("other", "agent", "t"),
    "events": lambda p: p.log_agent_run_events([AgentRunEvent("agent", "run", event_type="t")]),
    "usage": lambda p: p.log_llm_usage(AgentLLMUsage("agent", "run")),
    "usages": lambda p: p.log_llm_usages([AgentLLMUsage("agent", "run")]),
    "score": lambda p: p.scores.set("run", "good", 1),
}


@pytest.fixture
def reader(request: pytest.FixtureRequest, open_again: Open) -> Persistence:
    """A read-only persistence; it has records unless the backend is in memory."""
    if request.node.callspec.params["open_again"] == "sqlite_memory":
        pytest.skip("it refuses to be opened")
    persistence = open_again()
    persistence.append_event("run", "agent", "t", payload={"word": "zebra"})
    persistence.search_text("zebra")
    return open_again(read_only=True)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_every_write_is_refused(reader: Persistence, write: Callable[[Persistence], Any]) -> None:
    before = reader.get_agent_runs(), reader.count_events()
    with pytest.raises(AccessDeniedError, match="read-only"):
        write(reader)
    assert (reader.get_agent_runs(), reader.count_events()) == before


def test_everything_can_be_read(reader: Persistence) -> None:
    runs = [run.run_id for run in reader.get_agent_runs()]
    assert reader.get_agent_run_stats()["total_runs"] == len(runs)
    assert len(reader.search_text("zebra")) == reader.count_events() == len(runs)
    assert reader.diagnose()


def test_alerts_are_not_evaluated_where_none_can_be_stored(reader: Persistence) -> None:
    with pytest.raises(AccessDeniedError, match="read-only"):
        reader.alerts.evaluate()
    with pytest.raises(AccessDeniedError, match="read-only"):
        reader.alerts.run_forever()


def test_a_recorded_run_counts_dropped_records(reader: Persistence) -> None:
    with reader.record_run(agent_id="agent") as run:
        run.log("t")
    assert run.dropped > 0


def test_memory_is_opened_read_only_by_its_url() -> None:
    with connect("memory://", read_only=True) as persistence:
        with pytest.raises(AccessDeniedError, match="read-only"):
            persistence.append_event("run", "agent", "t")
        assert persistence.get_agent_runs() == []
