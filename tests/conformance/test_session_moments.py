"""What was known at each step of a session."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    NotFoundError,
    Persistence,
)
from curio_persistence.views.sessions import Moment
from curio_persistence.views.steps import RecordRef

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


@pytest.fixture
def talked(persistence: Persistence) -> Persistence:
    """A session of two runs, with a tool call that fails and one that is still open."""
    for run_id, begin, end in (("r1", 0, 5), ("r2", 10, None)):
        run = AgentRun("guide", run_id, session_id="s1", objective=run_id)
        run.started_at = run.created_at = at(begin)
        if end is not None:
            run.finished_at, run.status = at(end), "completed"
        persistence.create_agent_run(run)
    for run_id, seconds, kind, span_id, data in (
        ("r1", 1, "tool_call_started", "1" * 16, {"tool_name": "look_up"}),
        ("r1", 2, "tool_call", "1" * 16, {"tool_name": "look_up", "error": "no"}),
        ("r2", 11, "tool_call_started", "2" * 16, {"tool_name": "ask"}),
        ("r2", 13, "log", None, {"message": "waiting"}),
    ):
        event = AgentRunEvent("guide", run_id, event_type=kind, data=data, span_id=span_id)
        event.timestamp = at(seconds)
        persistence.log_agent_run_event(event)
    persistence.log_llm_usages(
        AgentLLMUsage(
            "guide", run_id, model="acme-1", created_at=at(second), cost_usd=cost, input_tokens=5
        )
        for run_id, second, cost in (("r1", 3, 0.5), ("r2", 12, None))
    )
    return persistence


def walked(persistence: Persistence) -> list[Moment]:
    found, ref = [], None
    while True:
        moment = persistence.sessions.moment("s1", ref)
        assert moment is not None
        found.append(moment)
        ref = moment.later
        if ref is None:
            return found


def test_the_steps_of_a_session_are_walked_in_the_order_of_its_timeline(
    talked: Persistence,
) -> None:
    moments = walked(talked)
    timeline = talked.sessions.timeline("s1")
    assert [moment.entry.record for moment in moments] == [entry.record for entry in timeline]
    assert [moment.number for moment in moments] == [*range(1, 9)]
    assert {moment.steps for moment in moments} == {8}
    assert [moment.earlier for moment in moments] == [None, *(m.ref for m in moments[:-1])]


def test_a_step_counts_what_had_happened_until_then(talked: Persistence) -> None:
    counted = [moment.counted for moment in walked(talked)]
    assert [each.steps for each in counted] == [*range(1, 9)]
    assert [each.runs for each in counted] == [1, 1, 1, 1, 2, 2, 2, 2]
    assert [each.model_calls for each in counted] == [0, 0, 0, 1, 1, 1, 2, 2]
    assert [each.failed for each in counted] == [0, 0, 1, 1, 1, 1, 1, 1]
    last = counted[-1]
    assert (last.cost_usd, last.unpriced, last.input_tokens) == (Decimal("0.5"), 1, 10)
    assert counted[2].cost_usd is None


def test_what_had_begun_and_not_ended_is_open(talked: Persistence) -> None:
    moments = walked(talked)
    open_runs = [[run.run_id for run in moment.open_runs] for moment in moments]
    assert open_runs == [["r1"]] * 4 + [["r2"]] * 4
    names = [[step.name for step in moment.open_calls] for moment in moments]
    assert names == [[], ["look_up"], [], [], [], ["ask"], ["ask"], ["ask"]]
    assert moments[2].last_call is None
    assert moments[-1].last_call is not None
    assert moments[-1].last_call.run_id == "r2"


def test_a_step_has_its_neighbours_around_it(talked: Persistence) -> None:
    records = [moment.entry.record for moment in walked(talked)]
    for number, ref in enumerate(moment.ref for moment in walked(talked)):
        moment = talked.sessions.moment("s1", ref, around=2)
        assert moment is not None
        shown = records[max(number - 2, 0) : number + 3]
        assert [entry.record for entry in moment.around] == shown
    alone = talked.sessions.moment("s1", around=0)
    assert alone is not None
    assert len(alone.around) == 1


def test_a_ticket_waits_until_it_is_decided(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("guide", "r1", session_id="s1"))
    ticket = persistence.approvals.request("r1", "delete", {"card": 1})
    persistence.log_agent_run_event(AgentRunEvent("guide", "r1", event_type="log"))
    persistence.approvals.resolve(ticket.ticket_id, "approved", by="ann")
    persistence.log_agent_run_event(AgentRunEvent("guide", "r1", event_type="log"))
    waiting = [[each.tool for each in moment.approvals] for moment in walked(persistence)]
    assert waiting[0] == []
    assert waiting[-1] == []
    assert ["delete"] in waiting


def test_steps_of_one_moment_are_walked_one_by_one(persistence: Persistence) -> None:
    for run_id in ("r1", "r2"):
        persistence.create_agent_run(
            AgentRun("a", run_id, session_id="s1", created_at=NOON, started_at=NOON)
        )
        persistence.log_llm_usage(AgentLLMUsage("a", run_id, created_at=NOON))
        persistence.log_agent_run_event(AgentRunEvent("a", run_id, timestamp=NOON))
    moments = walked(persistence)
    assert [moment.number for moment in moments] == [1, 2, 3, 4, 5, 6]
    assert [moment.counted.model_calls for moment in moments] == [0, 0, 0, 0, 1, 2]


def test_a_step_of_another_session_is_not_found(talked: Persistence) -> None:
    talked.create_agent_run(AgentRun("guide", "r3", session_id="s2"))
    talked.log_agent_run_event(AgentRunEvent("guide", "r3", event_type="log"))
    [event] = talked.get_agent_run_events("r3")
    assert event.id is not None
    for ref in (RecordRef("event", event.id), RecordRef("usage", 10**6), RecordRef("x", 1)):
        with pytest.raises(NotFoundError, match="has no step"):
            talked.sessions.moment("s1", ref)
    with pytest.raises(NotFoundError, match="no session"):
        talked.sessions.moment("nowhere")
