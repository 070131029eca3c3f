"""`failures` shows what failed and why."""

from __future__ import annotations

from curio_persistence import AgentRun, connect
from curio_persistence.cli.terminal.text import cells
from tests.cli.history import EVIL
from tests.cli.program import Program


def test_a_person_reads_what_failed_and_why(program: Program, recorded: str) -> None:
    shown = program.on_terminal("failures", "--url", recorded, columns=80)
    assert shown.lines == [
        "1×  2026-11-20 10:40:00  run planner",
        "    ValueError: no calendar",
        "    show run-41",
        "1×  2026-11-20 10:30:03  tool calculator",
        "    overflow",
        "    show run-40",
        "1×  2026-11-20 10:30:00  model acme-small",
        "    error",
        "    show run-40",
    ]


def test_a_program_gets_a_list_of_groups(program: Program, recorded: str) -> None:
    groups = program("failures", "--url", recorded).json()
    assert groups[0] == {
        "kind": "run",
        "name": "planner",
        "message": "ValueError: no calendar",
        "count": 1,
        "first": "2026-11-20T10:40:00.850000+00:00",
        "last": "2026-11-20T10:40:00.850000+00:00",
        "run_id": "run-41",
        "messages": 1,
    }
    assert [group["kind"] for group in groups] == ["run", "tool", "model"]
    assert program("failures", "--url", recorded, "--jsonl").out.count("\n") == 3


def test_filters_apply_to_failures(program: Program, agents_db: str) -> None:
    assert [it["name"] for it in program("failures", "--agent", "planner").json()] == ["planner"]
    assert len(program("failures", "--until", "2026-11-20T10:35Z").json()) == 2
    code, out, said = program("failures", "--since", "1d", "--agent", "planner")
    assert (code, out) == (0, "[]\n")
    assert said == "The database agent_sdk.db has no such failures.\n"


def test_stderr_says_if_there_are_more_in_a_pipe_too(program: Program, agents_db: str) -> None:
    code, out, said = program("failures", "--limit", "1")
    assert (code, out.count('"kind"')) == (0, 1)
    assert said == "There are 2 more groups: add --limit all.\n"


def test_long_messages_are_complete_and_fit_the_terminal(program: Program, agents_db: str) -> None:
    words = " ".join(f"word{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")
    with connect(f"sqlite:///{program.folder / agents_db}") as persistence:
        for number in range(12):
            run_id = f"{number:08d}-870b-7526-bef0-44470ea0792c"
            persistence.append_event(
                run_id,
                "a",
                "tool_call",
                payload={"tool_name": "t" * 300, "error": f"{words} {EVIL}"},
            )
    shown = program.on_terminal("failures", "--limit", "1", columns=80)
    assert max(map(cells, shown.lines[:-1])) <= 80
    assert words in " ".join(line.strip() for line in shown.lines)
    assert shown.lines[0].startswith("12×  ")
    assert "     show 00000011-870b-7526-bef0-44470ea0792c" in shown.lines


def test_messages_that_mean_the_same_are_merged(program: Program, agents_db: str) -> None:
    with connect(f"sqlite:///{program.folder / agents_db}") as persistence:
        for number, error in enumerate(
            ("Connection timed out", "The connection timed out", "invalid API key")
        ):
            run = AgentRun("flaky", f"f{number}", status="error", error_message=error)
            persistence.create_agent_run(run)
    found = program("failures", "--agent", "flaky", "--similar").json()
    assert [(it["message"], it["count"], it["messages"]) for it in found] == [
        ("invalid API key", 1, 1),
        ("Connection timed out", 2, 2),
    ]
    shown = program.on_terminal("failures", "--agent", "flaky", "--similar", columns=80)
    assert "    Connection timed out (and 1 more messages like it)" in shown.lines
