"""What an adapter records does not depend on its framework: any persistence, any order, no harm."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    BasePersistence,
    InMemoryPersistence,
    InvalidValueError,
    SQLitePersistence,
    current_run,
)
from curio_persistence.aio import AsyncPersistence
from curio_persistence.interop.adapters.blocks import Blocks
from curio_persistence.interop.adapters.guard import guarded
from tests.support.recorded import events, only_call, stored


def record(blocks: Blocks) -> None:
    """Report a run with a tool and a model call, as a framework does."""
    blocks.run("r", None, agent_id="agent", session_id="s1")
    blocks.block("t", "r", lambda run: run.tool("search", {"q": 1}))
    blocks.call("c", "t", provider="acme", prompt="Hello?")
    blocks.end_call("c", None, "Hello!", input_tokens=3)
    blocks.end("t", "no answer")
    blocks.end("r", output="done")


def test_what_is_not_a_persistence_is_refused() -> None:
    for wrong in (None, "sqlite:///agent.db", InMemoryPersistence):
        with pytest.raises(InvalidValueError, match="An adapter takes an open persistence"):
            Blocks(wrong)


def ten_methods() -> Any:
    """Return an object that has the ten published methods, and else what all of them inherit."""
    kept = InMemoryPersistence()
    names = BasePersistence.__abstractmethods__
    methods = {name: staticmethod(getattr(kept, name)) for name in names}
    return type("TenMethods", (BasePersistence,), methods)()


def test_ten_methods_are_enough() -> None:
    persistence = ten_methods()
    record(Blocks(persistence))
    [run] = persistence.get_agent_runs()
    assert (run.agent_id, run.session_id, run.final_synthesis_output) == ("agent", "s1", "done")
    [call] = persistence.get_llm_usage()
    assert (call.run_id, call.input_tokens, call.response_content) == (run.run_id, 3, "Hello!")
    [tool] = persistence.get_agent_run_events(run.run_id, "tool_call")
    assert call.parent_span_id == tool.span_id


def test_a_buffered_and_an_awaited_persistence_are_taken(tmp_path: Path) -> None:
    with SQLitePersistence(tmp_path / "a.db").buffered() as persistence:
        record(Blocks(persistence))
        persistence.flush()
        record(Blocks(AsyncPersistence(SQLitePersistence(tmp_path / "a.db"))))
        assert len(persistence.get_agent_runs()) == 2


def test_what_is_not_recorded_gives_its_children_to_its_parent(
    persistence: InMemoryPersistence,
) -> None:
    blocks = Blocks(persistence)
    blocks.run("r", None, agent_id="agent")
    blocks.skip("hidden", "r")
    blocks.skip("deeper", "hidden")
    blocks.block("t", "deeper", lambda run: run.tool("search"))
    for key in "t", "deeper", "hidden", "r":
        blocks.end(key)
    [run] = persistence.get_agent_runs()
    begun, tool, *_ = events(persistence, run.run_id)
    assert tool.parent_span_id == begun.span_id


def test_ends_in_other_threads_and_out_of_order(persistence: InMemoryPersistence) -> None:
    blocks = Blocks(persistence)
    blocks.run("r", None, agent_id="agent")
    for number in range(20):
        blocks.block(number, "r", lambda run: run.tool("search"))
    threads = [threading.Thread(target=blocks.end, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    blocks.end("r")
    [run] = persistence.get_agent_runs()
    assert len(events(persistence, run.run_id, "tool_call")) == 20


def test_what_was_begun_in_a_run_is_forgotten_with_it(persistence: InMemoryPersistence) -> None:
    blocks = Blocks(persistence)
    blocks.run("r", None, agent_id="agent")
    blocks.block("t", "r", lambda run: run.tool("search"))
    blocks.skip("hidden", "t")
    blocks.end("r")
    assert (blocks._open, blocks._within) == ({}, {})
    assert current_run() is None
    blocks.end("t")  # Too late: nothing.
    blocks.end("never begun")


def test_calls_that_never_end_do_not_pile_up(
    persistence: InMemoryPersistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curio_persistence.interop.adapters.blocks._MOST", 10)
    blocks = Blocks(persistence)
    for number in range(100):
        blocks.call(number, None)
    assert len(blocks._open) == 10


def test_nothing_is_recorded_where_recording_is_switched_off(
    persistence: InMemoryPersistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURIO_DISABLED", "1")
    record(Blocks(persistence))
    assert (persistence.get_agent_runs(), persistence.get_llm_usage()) == ([], [])


def test_a_persistence_that_fails_costs_the_framework_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(InMemoryPersistence):
        def log_llm_usage(self, usage: AgentLLMUsage) -> None:
            raise OSError("no space")

    with Broken() as persistence:
        record(Blocks(persistence))
        [run] = persistence.get_agent_runs()
        assert stored(persistence, run.run_id).status == "completed"
    assert "only partly recorded" in caplog.text


def test_a_callback_that_fails_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    @guarded
    def callback() -> None:
        raise KeyError("of another version")

    for _ in range(3):
        callback()
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_call_in_a_block_of_the_caller(persistence: InMemoryPersistence) -> None:
    blocks = Blocks(persistence)
    with persistence.record_run(agent_id="outer") as run, run.span("ask") as span:
        blocks.call("c", None)
    blocks.end_call("c", None, "Hello!")
    call = only_call(persistence)
    assert (call.run_id, call.parent_span_id) == (run.run_id, span.span_id)


@pytest.mark.parametrize(
    "odd",
    [{"agent_id": "a" * 999}, {"agent_id": "a\0b"}, {"agent_id": ""}, {"session_id": "s" * 999}],
)
def test_a_run_with_an_odd_name_is_recorded_nonetheless(
    persistence: InMemoryPersistence, odd: dict[str, str]
) -> None:
    blocks = Blocks(persistence)
    blocks.run("r", None, **{"agent_id": "agent", "objective": "Go"} | odd)
    blocks.block("t", "r", lambda run: run.tool("search"))
    blocks.end("t")
    blocks.end("r")
    [run] = persistence.get_agent_runs()
    assert (run.objective, run.status, run.session_id) == ("Go", "completed", None)
    assert run.agent_id[:1] == "a"
    assert events(persistence, run.run_id, "tool_call")
