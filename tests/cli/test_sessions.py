"""`sessions` and `agents` list, and show what happened in a session."""

from __future__ import annotations

import pytest

from curio_persistence import connect
from tests.cli.program import Program


@pytest.fixture
def chat(program: Program) -> str:
    with connect(f"sqlite:///{program.folder}/agent_sdk.db") as persistence:
        for question in ("Where is Lyon?", "And the weather?"):
            with persistence.record_run(
                agent_id="guide", session_id="chat-1", user_id="ann", objective=question
            ) as run:
                with run.tool("look_up", {"q": question}) as call:
                    call.result = "found"
                run.llm_call(model="acme-1", input_tokens=20, output_tokens=5, cost_usd=0.001)
                run.finish("In France.")
        persistence.sessions.create("chat-2", tags=["beta"])
        persistence.agents.update("guide", name="Guide", description="Knows places.")
    return "agent_sdk.db"


def test_sessions_are_listed_with_their_counters(program: Program, chat: str) -> None:
    newest, oldest = program("sessions").json()
    assert (newest["session_id"], newest["runs"], newest["tags"]) == ("chat-2", 0, ["beta"])
    assert (oldest["runs"], oldest["events"], oldest["cost_usd"]) == (2, 8, "0.002000")
    shown = program.on_terminal("sessions", columns=80).lines
    assert shown[0].split() == [
        "SESSION",
        "AGENT",
        "USER",
        "STATUS",
        "STARTED",
        "RUNS",
        "EVENTS",
        "ERRORS",
        "COST",
    ]
    assert [line.split()[0] for line in shown[1:]] == ["chat-2", "chat-1"]
    assert shown[2].split()[-4:] == ["2", "8", "0", "$0.002000"]
    assert max(map(len, shown)) <= 80


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--user", "ann"], ["chat-1"]),
        (["--agent", "guide"], ["chat-1"]),
        (["--run", "last"], ["chat-1"]),
        (["--tag", "beta"], ["chat-2"]),
        (["--status", "active", "--status", "completed"], ["chat-2", "chat-1"]),
        (["--status", "idle"], []),
        (["--status", "idle", "--idle-after", "0s"], ["chat-2", "chat-1"]),
        (["--since", "1h", "--limit", "1"], ["chat-2"]),
        (["--limit", "all"], ["chat-2", "chat-1"]),
    ],
)
def test_they_are_picked_by_options(
    program: Program, chat: str, options: list[str], expected: list[str]
) -> None:
    found = program("sessions", *options).json()
    assert [session["session_id"] for session in found] == expected


def test_one_session_tells_its_conversation(program: Program, chat: str) -> None:
    told = program("sessions", "chat-1").json()
    assert told["session"]["model_calls"] == 2
    assert [each["asked"] for each in told["conversation"]] == [
        "Where is Lyon?",
        "And the weather?",
    ]
    shown = program.on_terminal("sessions", "chat-1", columns=60)
    assert "answered  In France." in shown.lines
    assert max(map(len, shown.lines)) <= 60
    assert "earlier runs" not in shown.out
    shown = program.on_terminal("sessions", "chat-1", "--limit", "1")
    assert "There are earlier runs: add --cursor " in shown.out
    last = program("sessions", "chat-1", "--limit", "1").json()["conversation"]
    assert [each["asked"] for each in last] == ["And the weather?"]


def test_a_timeline_is_read_page_by_page(program: Program, chat: str) -> None:
    whole = program("sessions", "chat-1", "--timeline", "--limit", "all").json()
    assert len(whole) == 12
    assert (whole[0]["kind"], whole[0]["gap_ms"], whole[0]["record"]["run_id"]) == (
        "run",
        None,
        whole[0]["run_id"],
    )
    first = program("sessions", "chat-1", "--timeline", "--limit", "10")
    cursor = first.said.split("--cursor ")[1].split()[0]
    rest = program("sessions", "chat-1", "--timeline", "--limit", "10", "--cursor", cursor)
    assert [*first.json(), *rest.json()] == whole
    shown = program.on_terminal("sessions", "chat-1", "--timeline", columns=80).lines
    assert len(shown) == 12
    assert max(map(len, shown)) <= 80
    shown = program.on_terminal("sessions", "chat-1", "--timeline", columns=200).lines
    assert sum("tool look_up" in line for line in shown) == 4
    assert not any("no end recorded" in line for line in shown)
    empty = program.on_terminal("sessions", "chat-2", "--timeline")
    assert "Nothing happened in session 'chat-2'." in empty.out


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["nowhere"], 3, "no session 'nowhere'"),
        (["nowhere", "--timeline"], 3, "no session 'nowhere'"),
        (["--timeline"], 2, "name its ID"),
        (["chat-1", "--cursor", "x"], 2, "cursor is damaged"),
        (["chat-1", "--user", "ann"], 2, "drop the filters"),
        (["--status", "done"], 2, "choose from"),
        (["--idle-after", "soon"], 2, "--idle-after"),
    ],
)
def test_mistakes_are_explained(
    program: Program, chat: str, command: list[str], code: int, said: str
) -> None:
    ended = program("sessions", *command)
    assert (ended.code, said in ended.said) == (code, True), ended.said


def test_agents_are_listed(program: Program, chat: str) -> None:
    [agent] = program("agents").json()
    assert (agent["agent_id"], agent["name"]) == ("guide", "Guide")
    assert program("agents", "--session", "chat-2").json() == []
    head, line = program.on_terminal("agents", columns=90).lines
    assert head.startswith("AGENT  NAME   FIRST SEEN")
    assert line.endswith("Knows places.")


def test_deleting_all_runs_of_a_session_deletes_it(program: Program, chat: str) -> None:
    assert program("delete", "--session", "chat-1", "--yes").code == 0
    assert [each["session_id"] for each in program("sessions").json()] == ["chat-2"]
