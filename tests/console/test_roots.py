"""The APIs of other systems: their paths, their shapes, their own clients."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.testclient import TestClient

from curio_persistence import InMemoryPersistence, Persistence
from curio_persistence.compat.agiwo import (
    AssistantStepCommitted,
    ContentPart,
    RunFinished,
    RunLogStorage,
    RunStarted,
    Span,
    SpanKind,
    ToolStepCommitted,
    Trace,
    TraceStorage,
    UserMessage,
    UserStepCommitted,
)
from tests.support.console import client_of
from tests.support.served import served

TOKEN = "a-token"
EVENTS = [
    {
        "sessionId": "s-1",
        "agentId": "researcher",
        "eventType": "session_started",
        "payload": {"agentName": "Researcher", "tags": ["demo"]},
    },
    {
        "sessionId": "s-1",
        "agentId": "researcher",
        "eventType": "tool_call",
        "payload": {"toolName": "web_search", "arguments": {"query": "moon"}, "callId": "c"},
    },
    {
        "sessionId": "s-1",
        "agentId": "researcher",
        "eventType": "llm_response",
        "severity": "warn",
        "payload": {
            "callId": "m",
            "provider": "acme",
            "model": "acme-1",
            "costUsd": 0.5,
            "latencyMs": 20,
            "usage": {"inputTokens": 7, "outputTokens": 3},
        },
    },
]


@pytest.fixture
def persistence() -> Iterator[Persistence]:
    with InMemoryPersistence() as opened:
        yield opened


class Root:
    """A client of one root."""

    def __init__(self, client: TestClient, path: str) -> None:
        self._client, self._path = client, path

    def __call__(self, method: str, path: str, status: int = 200, **given: Any) -> Any:
        headers = {"Authorization": "Bearer any"}
        answer = self._client.request(method, self._path + path, headers=headers, **given)
        assert answer.status_code == status, answer.text
        return answer.json()

    def get(self, path: str, **params: Any) -> Any:
        return self("GET", path, params=params)


@pytest.fixture
def lens(persistence: Persistence) -> Root:
    return Root(client_of(persistence, allow_writes=True), "/compat/agentlens/api")


@pytest.fixture
def agiwo(persistence: Persistence) -> Root:
    return Root(client_of(persistence), "/compat/agiwo/api")


# --- AgentLens ----------------------------------------------------------------------------------


def test_events_of_agentlens_are_stored_as_a_chain(lens: Root) -> None:
    sent = lens("POST", "/events", 201, json={"events": EVENTS})
    assert (sent["ingested"], [*sent["events"][0]]) == (3, ["id", "hash"])
    told = lens.get("/sessions/s-1/timeline")
    assert told["chainValid"] is True
    first, second, _ = told["events"]
    assert (first["prevHash"], second["prevHash"]) == (None, first["hash"])
    assert lens.get(f"/events/{first['id']}") == first
    assert lens.get("/stats")["totalEvents"] == 3


def test_events_and_sessions_of_agentlens_are_filtered(lens: Root) -> None:
    lens("POST", "/events", 201, json={"events": EVENTS})
    page = lens.get("/events", eventType="tool_call,llm_response", limit=1, order="asc")
    assert [event["eventType"] for event in page["events"]] == ["tool_call"]
    assert (page["total"], page["hasMore"]) == (2, True)
    assert lens.get("/events", severity="warn", search="ACME")["total"] == 1
    [session] = lens.get("/sessions", status="active", tags="demo")["sessions"]
    assert (session["id"], session["eventCount"], session["totalCostUsd"]) == ("s-1", 3, 0.5)
    assert lens.get("/sessions", countOnly="true") == {"count": 1}
    assert lens.get("/sessions/s-1") == session


def test_an_idle_session_of_agentlens_is_active_there(lens: Root) -> None:
    old = [{**event, "timestamp": "2026-01-01T10:00:00Z"} for event in EVENTS]
    lens("POST", "/events", 201, json={"events": old})
    assert lens.get("/sessions/s-1")["status"] == "active"


def test_agents_and_analytics_of_agentlens(lens: Root) -> None:
    lens("POST", "/events", 201, json={"events": EVENTS})
    [agent] = lens.get("/agents")["agents"]
    assert (agent["id"], agent["sessionCount"], agent["tenantId"]) == ("researcher", 1, "default")
    assert lens.get("/agents/researcher") == agent
    assert lens.get("/analytics", granularity="day")["totals"]["eventCount"] == 3
    told = lens.get("/analytics/llm", model="acme-1", granularity="week")
    assert told["summary"]["totalCalls"] == 1
    assert told["byModel"][0]["inputTokens"] == 7
    assert told["byTime"][0]["bucket"].endswith("T00:00:00Z")
    assert lens.get("/analytics/llm", model="other")["byModel"] == []


def test_alert_rules_of_agentlens(lens: Root) -> None:
    rule = {"name": "Costs", "condition": "cost_exceeds", "threshold": 1, "windowMinutes": 60}
    made = lens("POST", "/alerts/rules", 201, json=rule)
    assert lens("PUT", f"/alerts/rules/{made['id']}", json={"threshold": 2})["threshold"] == 2
    assert [each["id"] for each in lens.get("/alerts/rules")["rules"]] == [made["id"]]
    assert lens("DELETE", f"/alerts/rules/{made['id']}")["deleted"] is True
    assert lens.get("/alerts/history") == {"entries": [], "total": 0, "hasMore": False}


def test_errors_of_agentlens_have_its_form(lens: Root) -> None:
    assert lens("GET", "/sessions/nothing", 404)["status"] == 404
    assert lens("GET", "/events/nothing", 404)["error"]
    wrong = lens("POST", "/events", 400, json={"events": [{"sessionId": "s"}]})
    assert wrong["details"][0]["path"]
    lens("POST", "/events", 400, content=b"[")
    lens("POST", "/events", 400, json={"events": []})
    lens("POST", "/events", 400, json={"events": [EVENTS[0]] * 1_001})
    assert "kept" in lens("GET", "/lessons", 501)["error"]
    lens("GET", "/events", 400, params={"from": "yesterday"})
    lens("GET", "/analytics/llm", 400, params={"granularity": "second"})


def test_a_reader_sends_no_events_to_agentlens(persistence: Persistence) -> None:
    reader = Root(client_of(persistence), "/compat/agentlens/api")
    reader("POST", "/events", 403, json={"events": EVENTS})
    reader("POST", "/alerts/rules", 403, json={})


@pytest.mark.slow
def test_the_client_of_agentlens_sends_and_reads() -> None:
    lens = pytest.importorskip("agentlensai")
    params = lens.LogLlmCallParams(
        provider="acme",
        model="acme-1",
        messages=[lens.LlmMessage(role="user", content="Where is Lyon?")],
        completion="In France.",
        finish_reason="stop",
        usage=lens.TokenUsage(input_tokens=7, output_tokens=3, total_tokens=10),
        cost_usd=0.5,
        latency_ms=20,
    )
    with InMemoryPersistence() as persistence, served(persistence, token=TOKEN) as server:
        url = f"{server.url}/compat/agentlens"
        with lens.AgentLensClient(url, api_key=TOKEN) as client:
            assert client.health().status == "ok"
            client.log_llm_call("s/1", "guide", params)
            page = client.query_events(lens.EventQuery(session_id="s/1", order="asc"))
            assert [event.event_type for event in page.events] == ["llm_call", "llm_response"]
            assert client.get_event(page.events[0].id) == page.events[0]
            [session] = client.get_sessions().sessions
            assert client.get_session("s/1") == session
            assert client.get_session_timeline("s/1").chain_valid
            assert client.get_agent("guide").session_count == 1
            assert client.get_llm_analytics().summary.total_cost_usd == 0.5
            with pytest.raises(lens.NotFoundError):
                client.get_session("nothing")
        with (
            lens.AgentLensClient(url, api_key="wrong") as stranger,
            pytest.raises(lens.AuthenticationError),
        ):
            stranger.query_events()


# --- Agiwo --------------------------------------------------------------------------------------


@pytest.fixture
def chat(persistence: Persistence) -> Persistence:
    """A session with a run log, one without, and a trace."""
    ids = {"session_id": "chat/1", "run_id": "run-1", "agent_id": "guide"}
    said = UserMessage([ContentPart("text", "Where is Lyon?")])
    step = {**ids, "created_at": datetime(2026, 5, 1, tzinfo=UTC)}
    entries = [
        RunStarted(sequence=1, **step, user_input=said, user_id="ann"),
        UserStepCommitted(sequence=2, **step, step_id="u", role="user", user_input=said),
        ToolStepCommitted(
            sequence=3, **step, step_id="t", role="tool", tool_call_id="c", content="France"
        ),
        AssistantStepCommitted(sequence=4, **step, step_id="a", role="assistant", content="There."),
        RunFinished(sequence=5, **step),
    ]
    trace = Trace(trace_id="trace-1", agent_id="guide", session_id="chat/1")
    trace.add_span(Span("trace-1", SpanKind.LLM_CALL, "acme-1", metrics={"tokens.total": 10}))

    async def store() -> None:
        await RunLogStorage(lambda: persistence, closes=False).append_entries(entries)
        await TraceStorage(lambda: persistence, closes=False).save_trace(trace)

    asyncio.run(store())
    with persistence.record_run(agent_id="other", run_id="run-2", session_id="plain") as run:
        run.finish("Done.")
    return persistence


def test_runs_of_agiwo_are_as_their_log_has_them(agiwo: Root, chat: Persistence) -> None:
    page = agiwo.get("/runs", limit=1)
    assert ([run["id"] for run in page["items"]], page["has_more"]) == (["run-2"], True)
    run = agiwo.get("/runs/run-1")
    assert (run["status"], run["response_content"], run["user_id"]) == (
        "completed",
        "There.",
        "ann",
    )
    assert run["user_input"]["__type"] == "user_message"
    assert run["user_input"]["content"][0]["text"] == "Where is Lyon?"
    other = agiwo.get("/runs", session_id="plain")["items"][0]
    assert (other["id"], other["status"], other["response_content"]) == (
        "run-2",
        "completed",
        "Done.",
    )


def test_sessions_of_agiwo_have_their_steps(agiwo: Root, chat: Persistence) -> None:
    page = agiwo.get("/sessions")
    assert {each["session_id"] for each in page["items"]} == {"chat/1", "plain"}
    told = agiwo.get("/sessions/chat%2F1")["summary"]
    assert (told["run_count"], told["step_count"], told["last_response"]) == (1, 3, "There.")
    assert told == agiwo.get("/sessions/chat%2F1/summary")
    assert told["metrics"]["completed_run_count"] == 1
    steps = agiwo.get("/sessions/chat%2F1/steps", order="desc", limit=2)
    assert [step["role"] for step in steps["items"]] == ["assistant", "tool"]
    assert steps["has_more"] is True
    assert agiwo.get("/sessions/plain/steps")["items"] == []


def test_traces_of_agiwo_have_their_spans(agiwo: Root, chat: Persistence) -> None:
    page = agiwo.get("/traces", agent_id="guide")
    [listed] = page["items"]
    assert (listed["trace_id"], listed["total_tokens"], page["has_more"]) == ("trace-1", 10, False)
    assert agiwo.get("/traces", offset=1)["items"] == []
    trace = agiwo.get("/traces/trace-1")
    assert [span["kind"] for span in trace["spans"]] == ["llm_call"]


def test_the_overview_of_agiwo_counts(agiwo: Root, chat: Persistence) -> None:
    told = agiwo.get("/overview")
    assert (told["total_sessions"], told["total_agents"], told["total_traces"]) == (2, 2, 1)


def test_errors_of_agiwo_have_its_form(agiwo: Root, chat: Persistence) -> None:
    for path in ("/runs/x", "/sessions/x", "/sessions/x/steps", "/traces/x"):
        assert agiwo("GET", path, 404)["detail"]
    assert "kept" in agiwo("POST", "/agents", 501, json={})["detail"]
    agiwo("GET", "/traces", 400, params={"status": "odd"})
