"""`delete` removes runs, and `abandon` closes those whose agent is gone."""

from __future__ import annotations

import pytest

from curio_persistence import AgentRun, connect
from tests.cli.program import Program


def test_named_runs_are_deleted_with_their_events(program: Program, recorded: str) -> None:
    code, out, said = program("delete", "run-40", "run-41", "--yes", "--url", recorded)
    assert (code, out) == (0, '[\n  "run-40",\n  "run-41"\n]\n')
    assert "2 runs to delete, with 5 events; 3 model calls keep their tokens and costs." in said
    assert said.endswith("2 runs were deleted.\n")
    with connect(recorded, read_only=True) as persistence:
        assert {run.run_id for run in persistence.get_agent_runs()} == {
            "run-42",
            "run-43",
            "run-44",
        }
        assert (persistence.count_events(), persistence.count_llm_usage()) == (0, 3)


def test_old_runs_are_deleted(program: Program, recorded: str) -> None:
    command = ("delete", "--url", recorded, "--older-than", "2026-11-20T10:55Z", "--yes")
    assert program(*command, "--status", "completed").json() == ["run-42", "run-40"]
    assert program(*command).json() == ["run-41"]
    assert program(*command).json() == []


def test_a_dry_run_shows_what_would_be_deleted(program: Program, agents_db: str) -> None:
    shown = program.on_terminal("delete", "--agent", "planner", "--dry-run")
    assert [line.split()[0] for line in shown.lines[1:3]] == ["run-44", "run-41"]
    assert "2 runs to delete" in shown.out
    some = program("delete", "run-40", "run-41", "--dry-run").said
    assert "2 runs to delete, with 5 events; 3 model calls keep" in some
    assert program("delete", "--older-than", "0s", "--dry-run").json()[0] == "run-44"
    assert len(program("runs").json()) == 5


@pytest.mark.parametrize("choice", [[], ["run-40", "--agent", "planner"]], ids=str)
def test_everything_is_not_deleted_by_default(
    program: Program, agents_db: str, choice: list[str]
) -> None:
    code, out, said = program("delete", "--yes", *choice)
    assert (code, out) == (2, "")
    assert "Name runs, or choose them by --older-than" in said
    assert len(program("runs").json()) == 5


def test_an_unknown_run_is_not_found_and_nothing_is_deleted(
    program: Program, agents_db: str
) -> None:
    assert program("delete", "run-40", "run-4711", "--yes").code == 3
    assert len(program("runs").json()) == 5


def test_a_person_is_asked_and_a_pipe_is_refused(program: Program, agents_db: str) -> None:
    assert program("delete", "run-40").code == 2
    assert "deleted" not in program.on_terminal("delete", "run-40", typed="n\n").out
    assert "1 runs were deleted." in program.on_terminal("delete", "run-40", typed="y\n").out


def test_runs_whose_agent_is_gone_are_closed(program: Program, url: str) -> None:
    with connect(url) as persistence:
        persistence.create_agent_run(AgentRun("a", "lost", status="running"))
    assert program("abandon", "--url", url).json() == []
    at_once = ("abandon", "--older-than", "0s", "--url", url)
    assert [run["run_id"] for run in program(*at_once, "--dry-run").json()] == ["lost"]
    (closed,) = program(*at_once).json()
    assert (closed["run_id"], closed["status"]) == ("lost", "error")
    assert program(*at_once).said.endswith("0 runs closed.\n")
    assert program("runs", "--run", "lost", "--url", url).json()["status"] == "error"


@pytest.mark.parametrize("length", ["1", "h", "1y", "-1h", "9999999999w"])
def test_an_invalid_duration_is_wrong_usage(program: Program, length: str) -> None:
    assert program("abandon", "--older-than", length).code == 2
