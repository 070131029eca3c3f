"""The list of sessions, and the conversation, timeline and replay of one."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime, timedelta

import pytest
from starlette.testclient import TestClient

from curio_persistence import AgentRun, AgentRunEvent, InMemoryPersistence, Persistence
from curio_persistence.console.http.paths import Paths
from curio_persistence.runlog.entries import ContextStepsHidden, GoalMilestonesUpdated, RunStarted
from curio_persistence.runlog.values import Milestone
from tests.support.console import NOW, client_of
from tests.support.entries import assistant, made, tool, user

HOSTILE = "a/b ..%2F\u202e💥 <b>&\"'"


@pytest.fixture
def chat(persistence: Persistence) -> Persistence:
    """A session of two runs, the second of which failed."""
    for asked, answered in (("Where is Lyon?", "In **France**."), ("And Atlantis?", None)):
        with (
            suppress(LookupError),
            persistence.record_run(
                agent_id="guide", session_id="chat-1", objective=asked, user_id="ann"
            ) as run,
        ):
            with run.tool("look_up", {"word": asked}) as call:
                call.result = "found"
            run.llm_call(model="acme-1", prompt=asked, response=answered, cost_usd=0.002)
            if answered is None:
                raise LookupError("no such place")
            run.finish(answered)
    return persistence


def test_sessions_are_listed_with_what_they_count(console: TestClient) -> None:
    page = console.get("/sessions")
    assert page.status_code == 200
    assert [f"session-{n}" in page.text for n in range(5)] == [True] * 5
    assert "Last activity" in page.text


def test_filters_choose_sessions(console: TestClient) -> None:
    assert "session-1" in console.get("/sessions?agent_id=coder").text
    assert "session-0" not in console.get("/sessions?agent_id=coder").text
    nothing = console.get("/sessions?agent_id=nobody&status=active")
    assert "No session passes the filters" in nothing.text
    assert 'href="/sessions?status=active"' in nothing.text
    refused = console.get("/sessions?color=red")
    assert (refused.status_code, "color" in refused.text) == (400, True)


def test_an_empty_console_says_how_sessions_are_made(persistence: Persistence) -> None:
    page = client_of(persistence).get("/sessions")
    assert "No sessions yet" in page.text
    assert "session_id=" in page.text


def test_a_conversation_shows_what_was_asked_done_and_answered(chat: Persistence) -> None:
    page = client_of(chat).get("/sessions/chat-1").text
    first, second = page.split("<article")[1:]
    assert "Where is Lyon?" in first
    assert "1 model call" in first
    assert "look_up" in first
    assert "France" in first
    assert "no such place" in second
    assert "$0.0040" in page


def test_a_long_conversation_is_paged_back_to_its_begin(persistence: Persistence) -> None:
    persistence.create_agent_runs(
        AgentRun("a", f"r{n}", session_id="s", objective=f"q{n}.", created_at=NOW + timedelta(n))
        for n in range(70)
    )
    client, path, asked = client_of(persistence), "/sessions/s", []
    while path:
        page = client.get(path).text
        asked[:0] = re.findall(r"q\d+\.", page)
        earlier = re.search(r'href="([^"]+)" data-key="n"', page)
        path = earlier[1].replace("&amp;", "&") if earlier else ""
    assert asked == [f"q{n}." for n in range(70)]


def test_a_timeline_has_each_tool_call_once(chat: Persistence) -> None:
    page = client_of(chat).get("/sessions/chat-1?view=timeline").text
    assert page.count(">look_up</a>") == 2
    assert "acme-1" in page


def test_a_replay_walks_through_all_steps_by_links(chat: Persistence) -> None:
    client, path, seen = client_of(chat), "/sessions/chat-1?view=replay", []
    while path:
        page = client.get(path).text
        found = re.search(r"step (\d+) of (\d+)", page)
        assert found is not None
        seen.append((int(found[1]), int(found[2])))
        later = re.search(r'id="replay-j"[^>]*href="([^"]+)"', page)
        path = later[1].replace("&amp;", "&") if later else ""
    assert seen == [(n, len(seen)) for n in range(1, len(seen) + 1)]
    assert re.search(r"\$0\.0040</span> so far", page)


def test_a_run_log_shows_what_became_of_its_steps(persistence: Persistence) -> None:
    log = persistence.runlog
    log.append(
        "chat",
        [
            made(RunStarted, user_input="Where is Lyon?"),
            user("u1", "Where is Lyon?"),
            assistant("a1", "On the moon."),
            tool("t1", "a long page"),
            assistant("a2", "By the sea."),
            made(GoalMilestonesUpdated, milestones=[Milestone("m1", "Find it")]),
            made(ContextStepsHidden, step_ids=["a2"], reason="old"),
        ],
    )
    log.append_rollback("chat", 3, 3, "wrong planet")
    log.condense_step("chat", "t1", "a page")
    client = client_of(persistence)
    page = client.get("/sessions/chat?view=timeline").text
    assert re.search(r"rolled back</span> <a[^>]*>assistant", page)
    assert re.search(r"hidden</span> <a[^>]*>assistant", page)
    assert '<summary>condensed</summary><p dir="auto">a page</p>' in page
    last = persistence.query_events(session_id="chat", limit=1)[0]
    known = client.get(f"/sessions/chat?view=replay&at=event:{last.id}").text
    assert "Find it" in known
    assert "step 3: wrong planet" in known
    assert "Messages that the model gets next" in known


def test_a_hash_chain_is_verified_on_request() -> None:
    with InMemoryPersistence(chain=True) as chained:
        with chained.record_run(agent_id="guide", session_id="chat") as run:
            run.finish("done")
        client = client_of(chained)
        assert "Verify the hash chain" in client.get("/sessions/chat").text
        assert "verified, 2 links" in client.get("/sessions/chat/chain").text


@pytest.mark.parametrize("view", ["conversation", "timeline", "replay"])
def test_any_id_and_text_is_shown_as_text(persistence: Persistence, view: str) -> None:
    run = AgentRun(
        HOSTILE, HOSTILE, session_id=HOSTILE, objective=f"<script>{HOSTILE}", user_id="<u>"
    )
    persistence.create_agent_run(run)
    persistence.log_agent_run_event(
        AgentRunEvent(HOSTILE, HOSTILE, event_type="<img src=x>", message=HOSTILE, data=HOSTILE)
    )
    client = client_of(persistence)
    page = client.get(Paths().session(HOSTILE, view=view))
    assert page.status_code == 200
    shown = re.sub('(data-copy|value)="[^"]*"', "", page.text)  # What is copied is exact.
    for mark in ("<script>a", "<b>", "<img src=x>", "<u>", "\u202e"):
        assert mark not in shown
    assert Paths().session(HOSTILE).replace("&", "&amp;") in client.get("/sessions").text


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/sessions/nowhere", 404, "deleted or never recorded"),
        ("/sessions/chat-1?view=film", 400, "view is one of"),
        ("/sessions/chat-1?view=replay&at=x", 400, "names a step"),
        ("/sessions/chat-1?view=replay&at=event:999999", 404, "deleted or never recorded"),
        ("/sessions/chat-1?cursor=x", 400, "cursor"),
        ("/sessions/chat-1?view=timeline&cursor=x", 400, "cursor"),
        ("/sessions?cursor=x", 400, "cursor"),
        ("/sessions?since=soon", 400, "since"),
        ("/sessions?status=happy", 400, "status"),
    ],
)
def test_mistakes_are_explained(chat: Persistence, path: str, status: int, said: str) -> None:
    page = client_of(chat).get(path)
    assert (page.status_code, said in page.text) == (status, True)


def test_a_session_without_runs_says_so(persistence: Persistence) -> None:
    persistence.sessions.create("empty", started_at=datetime.fromisoformat("2026-01-01T00:00Z"))
    for view in ("conversation", "timeline", "replay"):
        page = client_of(persistence).get(f"/sessions/empty?view={view}")
        assert (page.status_code, "The session has no runs" in page.text) == (200, True)


def test_long_answers_are_shown_by_their_begin(persistence: Persistence) -> None:
    run = AgentRun(
        "a", "r", session_id="s", objective="x " * 40_000, final_synthesis_output="y" * 9
    )
    persistence.create_agent_run(run)
    page = client_of(persistence).get("/sessions/s").text
    assert "The first 4,000 characters of 80,000" in page
    assert len(page) < 40_000
