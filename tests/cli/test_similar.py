"""`similar` finds what means much the same; `index --similar` makes vectors before."""

from __future__ import annotations

import shutil

import pytest

from curio_persistence import AgentRun, connect
from tests.cli.program import Program
from tests.support import meanings


@pytest.fixture
def trips(program: Program) -> str:
    """A SQLite file with some runs, at the program's default path, and a model in its folder."""
    shutil.copy(meanings.__file__, program.folder / "meanings.py")
    program.environment["CURIO_EMBED"] = "meanings:embed"
    with connect(f"sqlite:///{program.folder / 'agent_sdk.db'}") as persistence:
        for number, (objective, error) in enumerate(
            [
                ("book a flight to rome", None),
                ("a plane and a hotel", "network timeout"),
                ("write a poem", "slow timeout \x1b[31m"),
            ]
        ):
            status = "error" if error else "completed"
            run = AgentRun(
                "guide", f"run-{number}", objective=objective, error_message=error, status=status
            )
            persistence.create_agent_run(run)
            persistence.append_event(f"run-{number}", "guide", "log", message=f"limit {number}")
    return "agent_sdk.db"


def test_a_person_sees_the_most_similar_texts(program: Program, trips: str) -> None:
    shown = program.on_terminal("similar", "a", "plane", "--top", "2", columns=80)
    assert [line.split()[-4:] for line in shown.lines[::2]] == [
        ["run-0", "run", "guide", "prompt"],
        ["run-1", "run", "guide", "prompt"],
    ]
    assert shown.lines[1::2] == ["      book a flight to rome", "      a plane and a hotel"]


def test_control_characters_are_shown_and_events_are_named(program: Program, trips: str) -> None:
    shown = program.on_terminal("similar", "run-1", "--kind", "error", columns=80)
    assert shown.lines[1] == r"      slow timeout \x1b[31m"
    shown = program.on_terminal("similar", "limit", "--kind", "message", columns=80)
    assert [" event:1 " in line for line in shown.lines[::2]] == [False, False, True]


def test_a_program_gets_a_list_of_hits(program: Program, trips: str) -> None:
    [hit] = program("similar", "last", "--kind", "error").json()
    assert (hit["run_id"], hit["kind"], hit["field"]) == ("run-1", "error", "error_message")
    assert hit["record"]["objective"] == "a plane and a hotel"
    assert program("similar", "poem", "--jsonl", "--top", "3").out.count("\n") == 3
    assert program("similar", "poem", "--agent", "nobody").json() == []


def test_filters_choose(program: Program, trips: str) -> None:
    found = program("similar", "a flight", "--kind", "prompt", "--status", "failed").json()
    assert sorted(hit["run_id"] for hit in found) == ["run-1", "run-2"]
    found = program("similar", "limit", "--level", "info", "--project", "none").json()
    assert found == []
    assert len(program("similar", "limit", "--type", "log", "--min-level", "info").json()) == 3
    refused = program("similar", "limit", "--kind", "prompt", "--level", "info")
    assert (refused.code, refused.out) == (2, "")
    assert "level is a filter of events: kind is 'message' or 'error' there" in refused.said
    shown = program.on_terminal("similar", "a flight", "--run", "run-7", columns=80)
    assert shown.lines == ["The database agent_sdk.db has no such texts to compare."]


def test_vectors_are_made_before_and_deleted(program: Program, trips: str) -> None:
    database = "The database agent_sdk.db"
    first = program("index", "--similar")
    assert first.said == f"{database}: 6 new records; 8 texts have a vector.\n"
    again = program("index", "--similar", "--rebuild")
    assert again.said == f"{database}: 6 new records; 8 texts have a vector.\n"
    assert program("index", "--similar", "--disable").said == f"{database}: 8 vectors deleted.\n"
    waiting = program("similar", "a flight", "--max-wait", "0")
    assert waiting.json() == []
    assert "6 records were not compared. To embed them" in waiting.said


def test_what_cannot_be_done_is_said(program: Program, trips: str) -> None:
    assert program("similar", "").code == 2
    assert "empty text" in program("similar", "").said
    assert "needs no --enable" in program("index", "--similar", "--enable").said
    assert "On PostgreSQL with pgvector there is one" in program("index", "--hnsw").said
    assert "There is no nothing:here" in program("similar", "x", "--embed", "nothing:here").said


def test_another_model_is_named(program: Program, trips: str) -> None:
    assert len(program("similar", "poem", "--embed", "meanings:Meanings.sized").json()) == 8
    with connect(f"sqlite:///{program.folder / trips}") as persistence:
        assert list(persistence.similarity.models()) == ["meanings:Meanings.sized"]


def test_without_a_model_there_is_one(program: Program, trips: str) -> None:
    program.environment.pop("CURIO_EMBED")
    [hit] = program("similar", "verses", "--top", "1").json()
    assert hit["snippet"] == "write a poem"
