"""`runlog` shows the entries of a session, and what follows from them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from curio_persistence import connect
from curio_persistence.runlog.entries import ContextAssembled, RunFinished, RunStarted
from tests.cli.program import Program
from tests.support.entries import assistant, made, tool, user

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
OTHER = "01a22c05-5c15-752b-8dcd-3b612d9b3a31"


@pytest.fixture
def chat(program: Program) -> str:
    """A session of two runs, one of which is rolled back in part."""
    with connect(f"sqlite:///{program.folder}/agent_sdk.db") as persistence:
        log = persistence.runlog
        log.append(
            "chat-1",
            [
                made(RunStarted, user_input="Where is Lyon?", created_at=NOON),
                made(ContextAssembled, messages=[{"role": "system", "content": "Be brief."}]),
                user("u1", "Where is Lyon?"),
                assistant("a1", None, tool_calls=[{"id": "call"}]),
                tool("t1", "a page \x1b[31m", tool_call_id="call"),
                assistant("a2", "In France."),
                made(RunFinished, response="In France."),
                made(RunStarted, OTHER, "writer", user_input="Thanks."),
                user("u2", "Thanks.", run_id=OTHER, agent_id="writer"),
            ],
        )
        log.append_rollback("chat-1", 5, 6)
    return "agent_sdk.db"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], [*range(1, 11)]),
        (["--limit", "2"], [9, 10]),
        (["--limit", "2", "--until", "4"], [3, 4]),
        (["--after", "3", "--limit", "2"], [4, 5]),
        (["--kind", "run_started", "--kind", "run_finished"], [1, 7, 8]),
        (["--run", "01a22c05-5"], [8, 9]),
        (["--agent", "writer"], [8, 9]),
        (["--limit", "all", "--after", "8"], [9, 10]),
        (["steps"], [3, 4, 9]),
        (["steps", "--until", "9"], [3, 4, 5, 6, 9]),
        (["steps", "--after", "3", "--limit", "1"], [4]),
        (["steps", "--run", "run"], [3, 4]),
        (["--kind", "never"], []),
    ],
)
def test_entries_and_steps_are_picked_by_options(
    program: Program, chat: str, options: list[str], expected: list[int]
) -> None:
    found = program("runlog", "chat-1", *options).json()
    assert [each["sequence"] for each in found] == expected


def test_an_entry_has_its_own_fields_as_data(program: Program, chat: str) -> None:
    [first] = program("runlog", "chat-1", "--limit", "1", "--until", "1").json()
    assert first == {
        "sequence": 1,
        "session_id": "chat-1",
        "run_id": "run",
        "agent_id": "planner",
        "created_at": "2026-11-20T12:00:00+00:00",
        "kind": "run_started",
        "data": {"user_input": "Where is Lyon?", "depth": 0},
    }


def test_the_messages_are_those_that_the_agent_sends(program: Program, chat: str) -> None:
    sent = program("runlog", "chat-1", "context", "--agent", "planner").json()
    assert [message["role"] for message in sent] == ["system", "user", "assistant"]
    before = program("runlog", "chat-1", "context", "--agent", "planner", "--until", "7").json()
    assert before[-1] == {"role": "assistant", "content": "In France."}
    assert program("runlog", "chat-1", "context", "--limit", "1").json() == [
        {"role": "user", "content": "Thanks."}
    ]


def test_runs_are_as_the_log_says(program: Program, chat: str) -> None:
    newest, oldest = program("runlog", "chat-1", "runs").json()
    assert (newest["status"], oldest["status"]) == ("running", "completed")
    assert oldest["response"] == "In France."


@pytest.mark.parametrize("what", ["entries", "steps", "context", "runs"])
def test_tables_fit_the_terminal(program: Program, chat: str, what: str) -> None:
    shown = program.on_terminal("runlog", "chat-1", what, columns=80)
    assert shown.code == 0
    assert max(map(len, shown.lines)) <= 80
    assert "\x1b[31m" not in shown.out
    assert ("01a22c05-5c15" in shown.out) is (what != "context")


def test_more_are_told_of(program: Program, chat: str) -> None:
    assert "--limit all" in program("runlog", "chat-1", "--limit", "2").said
    assert program("runlog", "chat-1").said == ""
    shown = program.on_terminal("runlog", "chat-1", "--kind", "never")
    assert "has no such entries" in shown.out


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["nobody"], 3, "no run log of a session 'nobody'"),
        (["chat-1", "context", "--kind", "x"], 2, "--kind does not go with context"),
        (["chat-1", "runs", "--after", "1"], 2, "--after does not go with runs"),
        (["chat-1", "runs", "--agent", "a"], 2, "--agent does not go with runs"),
        (["chat-1", "--until", "noon"], 2, "'noon' is not a sequence"),
        (["chat-1", "everything"], 2, "invalid choice"),
        ([], 2, "SESSION"),
    ],
)
def test_mistakes_are_explained(
    program: Program, chat: str, options: list[str], code: int, said: str
) -> None:
    ended = program("runlog", *options)
    assert (ended.code, ended.out) == (code, "")
    assert said in ended.said
