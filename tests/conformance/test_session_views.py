"""The timeline of a session, and its conversation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    InvalidValueError,
    NotFoundError,
    Persistence,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


@pytest.fixture
def talked(persistence: Persistence) -> Persistence:
    """A session of two runs, one of which started a third; and another session."""
    for run_id, begin, end, asked, answered in (
        ("r1", 0, 4, "Where is Lyon?", "In France."),
        ("r2", 10, 12, "And the weather?", "Sunny."),
        ("child", 11, 11.5, "Look it up", "sunny"),
        ("other", 1, 2, "Unrelated", "x"),
    ):
        run = AgentRun("guide", run_id, objective=asked, final_synthesis_output=answered)
        run.session_id = "another" if run_id == "other" else "s1"
        run.parent_run_id = "r2" if run_id == "child" else None
        run.started_at, run.finished_at, run.created_at = at(begin), at(end), at(begin)
        run.status = "completed"
        persistence.create_agent_run(run)
    tool: dict[str, Any] = {"tool_name": "look_up", "latency_ms": 250}
    persistence.log_agent_run_events(
        AgentRunEvent(
            "guide",
            run_id,
            timestamp=at(seconds),
            event_type="tool_call",
            data=tool | ({"error": "no"} if run_id == "child" else {}),
        )
        for run_id, seconds in (("r1", 1), ("r1", 2), ("child", 11.2), ("other", 1.5))
    )
    persistence.log_llm_usages(
        AgentLLMUsage("guide", run_id, model="acme-1", latency_ms=900, created_at=at(seconds))
        for run_id, seconds in (("r1", 3), ("r2", 11.8))
    )
    return persistence


def test_a_timeline_has_runs_events_and_model_calls_in_one_order(talked: Persistence) -> None:
    page = talked.sessions.timeline("s1")
    assert page.next_cursor is None
    assert [(e.run_id, e.kind, e.name, e.duration_ms, e.gap_ms) for e in page] == [
        ("r1", "run", "guide", 4000, None),
        ("r1", "tool", "look_up", 250, 1000),
        ("r1", "tool", "look_up", 250, 1000),
        ("r1", "model", "acme-1", 900, 1000),
        ("r2", "run", "guide", 2000, 7000),
        ("child", "run", "guide", 500, 1000),
        ("child", "tool", "look_up", 250, 200),
        ("r2", "model", "acme-1", 900, 600),
    ]
    assert [entry.error for entry in page if entry.error] == ["no"]
    assert page[0].to_dict()["at"] == NOON.isoformat()
    assert page[3].to_dict()["record"]["model"] == "acme-1"


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_its_pages_are_the_whole(talked: Persistence, limit: int) -> None:
    whole = talked.sessions.timeline("s1", limit=None)
    entries, cursor = [], None
    while True:
        page = talked.sessions.timeline("s1", limit=limit, cursor=cursor)
        entries += page
        cursor = page.next_cursor
        if cursor is None:
            break
        assert len(page) == limit
    assert entries == [*whole]
    assert len(talked.sessions.timeline("s1", limit=0)) == 0


def test_entries_of_one_moment_are_in_a_fixed_order(persistence: Persistence) -> None:
    for run_id in ("r1", "r2"):
        persistence.create_agent_run(
            AgentRun("a", run_id, session_id="s1", created_at=NOON, started_at=NOON)
        )
        persistence.log_llm_usage(AgentLLMUsage("a", run_id, created_at=NOON))
        persistence.log_agent_run_events(
            AgentRunEvent("a", run_id, timestamp=NOON, event_type="log") for _ in range(2)
        )
    whole = [*persistence.sessions.timeline("s1", limit=None)]
    kinds = ["run"] * 2 + ["log"] * 4 + ["model"] * 2
    assert [entry.kind for entry in whole] == kinds
    assert [entry.run_id for entry in whole] == [f"r{n}" for n in (1, 2, 1, 1, 2, 2, 1, 2)]
    entries, cursor = [], None
    for _ in whole:
        page = persistence.sessions.timeline("s1", limit=1, cursor=cursor)
        entries += page
        cursor = page.next_cursor
    assert [entry.record for entry in entries] == [entry.record for entry in whole]
    assert cursor is None


def test_a_conversation_tells_what_was_asked_done_and_answered(talked: Persistence) -> None:
    first, second = talked.sessions.conversation("s1")
    assert (first.asked, first.answered, first.duration_ms) == (
        "Where is Lyon?",
        "In France.",
        4000,
    )
    assert first.done == "look_up ×2 · acme-1"
    assert (second.asked, second.answered) == ("And the weather?", "Sunny.")
    assert second.done == "look_up · acme-1 · 1 failed · 1 child run"
    assert (second.run_id, second.agent_id, second.status, second.error) == (
        "r2",
        "guide",
        "completed",
        None,
    )
    assert [*talked.sessions.conversation("s1", limit=1)] == [second]
    assert len(talked.sessions.conversation("s1", limit=0)) == 0
    assert second.to_dict()["at"] == at(10).isoformat()


def test_an_exchange_counts_what_was_done_in_it(talked: Persistence) -> None:
    talked.log_llm_usages(
        [
            AgentLLMUsage("guide", "r1", model="acme-1", input_tokens=7, cost_usd=0.25),
            AgentLLMUsage("guide", "child", model="acme-2", output_tokens=3, status="error"),
        ]
    )
    first, second = talked.sessions.conversation("s1")
    assert (first.model_calls, first.input_tokens, first.cost_usd, first.unpriced) == (
        *(2, 7, Decimal("0.25")),
        1,
    )
    assert [(tool.name, tool.calls, tool.failed) for tool in first.tools] == [("look_up", 2, 0)]
    assert [(tool.name, tool.calls, tool.failed) for tool in second.tools] == [("look_up", 1, 1)]
    assert (second.failed, second.child_runs, second.cost_usd) == (2, 1, None)
    assert second.to_dict()["tools"] == [{"name": "look_up", "calls": 1, "failed": 1}]


def test_pages_of_a_conversation_lead_to_its_begin(persistence: Persistence) -> None:
    for number in range(7):
        run = AgentRun("a", f"r{number}", session_id="s1", objective=str(number))
        run.started_at = run.created_at = NOON  # All at the same moment.
        persistence.create_agent_run(run)
    pages, cursor = [], None
    while not pages or cursor:
        page = persistence.sessions.conversation("s1", limit=3, cursor=cursor)
        pages.append([told.asked for told in page])
        cursor = page.next_cursor
    assert pages == [["4", "5", "6"], ["1", "2", "3"], ["0"]]


def test_words_of_model_calls_stand_in_for_those_of_the_run(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("a", "r1", session_id="s1", status="error"))
    [told] = persistence.sessions.conversation("s1")
    assert (told.asked, told.done, told.answered) == (None, "", None)
    for number in (1, 2):
        persistence.log_llm_usage(
            AgentLLMUsage("a", "r1", prompt=f"ask {number}", response_content=f"say {number}")
        )
    [told] = persistence.sessions.conversation("s1")
    assert (told.asked, told.done, told.answered) == ("ask 1", "a model ×2", "say 2")


def test_runs_that_are_each_others_parents_are_told_all_the_same(persistence: Persistence) -> None:
    for run_id, parent in (("r1", "r2"), ("r2", "r1"), ("r3", "r3")):
        persistence.create_agent_run(
            AgentRun("a", run_id, session_id="s1", parent_run_id=parent, objective=run_id)
        )
    assert {told.asked for told in persistence.sessions.conversation("s1")} == {"r1", "r2", "r3"}


def test_a_session_without_runs_has_nothing_to_tell(persistence: Persistence) -> None:
    persistence.sessions.create("s1")
    assert len(persistence.sessions.timeline("s1")) == 0
    assert len(persistence.sessions.conversation("s1")) == 0
    assert persistence.sessions.moment("s1") is None


def test_an_unknown_session_and_invalid_arguments_are_refused(talked: Persistence) -> None:
    for read in (talked.sessions.timeline, talked.sessions.conversation):
        with pytest.raises(NotFoundError, match="no session 'nowhere'"):
            read("nowhere")
        with pytest.raises(InvalidValueError):
            read("s1", limit=-1)
        with pytest.raises(InvalidValueError):
            read(None)  # type: ignore[arg-type]
    cursor = talked.sessions.timeline("s1", limit=1).next_cursor
    with pytest.raises(InvalidValueError, match="cursor"):
        talked.sessions.timeline("another", cursor=cursor)
