"""`audit` lists who did what, and verifies hash chains."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from curio_persistence import AgentRunEvent, SQLitePersistence
from tests.cli.program import Program

KEY = "a key of the auditors"


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = tmp_path / "chained.db"
    with SQLitePersistence(path, chain=True) as persistence:
        persistence.log_agent_run_events(AgentRunEvent("planner", "run-1") for _ in range(3))
        persistence.audit.log("look", "report-7", resource_type="report", actor_id="ada")
        persistence.log_agent_run_event(AgentRunEvent("planner", "run-2"))
        persistence.delete_agent_run("run-2")
    return str(path)


def test_lines_are_listed_and_filtered(program: Program, database: str) -> None:
    code, out, said = program("audit", "--db-path", database, "--json")
    assert (code, said) == (0, "")
    assert [line["action"] for line in json.loads(out)] == ["delete", "look"]
    for option, value in (("--action", "look"), ("--actor", "ada"), ("--resource", "report-7")):
        _, out, _ = program("audit", "--db-path", database, option, value, "--json")
        assert [line["resource"] for line in json.loads(out)] == ["report-7"]
    code, out, said = program("audit", "--db-path", database, "--run", "none")
    assert (code, out) == (0, "[]\n")


def test_chains_are_verified(program: Program, database: str) -> None:
    code, out, said = program("audit", "--verify", "--db-path", database)
    report = json.loads(out)
    assert (code, report["ok"], report["chains"], report["links"]) == (0, True, 2, 5)
    assert said.endswith("No chain is broken.\n")
    code, out, said = program("audit", "--verify", "--head", "other", "--db-path", database)
    assert code == 5
    code, out, said = program("audit", "--verify", "--run", "last", "--db-path", database)
    assert (code, json.loads(out)["links"]) == (0, 3)
    assert program("audit", "--verify", "--run", "other", "--db-path", database).code == 3
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE agent_run_events SET message = 'x' WHERE chain_position = 2")
    code, out, said = program("audit", "--verify", "--run", "run-1", "--db-path", database)
    assert code == 5
    assert "Broken: run run-1, link 2 (id 2): changed" in said
    assert program("doctor", "--db-path", database).code == 0
    deep = program("doctor", "--deep", "--db-path", database)
    assert (deep.code, "1 of 2 broken; run run-1, link 2" in deep.out) == (5, True)
    assert json.loads(out)["faults"][0]["position"] == 2


def test_chains_are_signed(program: Program, database: str) -> None:
    code, _, said = program("audit", "--sign", "--db-path", database)
    assert (code, "CURIO_AUDIT_KEY" in said) == (2, True)
    with_key = {"CURIO_AUDIT_KEY": KEY}
    assert program("audit", "--verify", "--db-path", database, **with_key).code == 5
    signed = program("audit", "--sign", "--db-path", database, **with_key)
    assert signed.said == "Signed: 2 chains.\n"
    assert program("audit", "--verify", "--db-path", database, **with_key).code == 0
    code, out, _ = program("config", "--db-path", database, "--json", **with_key)
    assert (code, KEY in out) == (0, False)
    assert program("audit", "--db-path", database, CURIO_AUDIT_KEY="short").code == 2


def test_old_lines_expire_and_the_rest_verifies(program: Program, database: str) -> None:
    none = program("audit", "--expire", "1d", "--yes", "--db-path", database)
    assert (none.code, none.said.count("0 lines")) == (0, 1)
    assert program("audit", "--expire", "0s", "--db-path", database).code == 2
    dry = program("audit", "--expire", "0s", "--dry-run", "--db-path", database)
    assert (dry.code, "2 lines of the audit log to delete" in dry.said) == (0, True)
    done = program("audit", "--expire", "0s", "--yes", "--db-path", database)
    assert (done.code, done.said.endswith("2 lines were deleted.\n")) == (0, True)
    assert [line["action"] for line in program("audit", "--db-path", database).json()] == ["expire"]
    assert program("audit", "--verify", "--db-path", database).code == 0


@pytest.mark.parametrize(
    "options",
    [
        ("--expire", "soon"),
        ("--expire", "1d", "--verify"),
        ("--expire", "1d", "--run", "run-1"),
        ("--yes",),
        ("--head", "x"),
        ("--sign", "--verify"),
        ("--verify", "--action", "delete"),
        ("--sign", "--run", "run-1"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    program: Program, database: str, options: tuple[str, ...]
) -> None:
    assert program("audit", *options, "--db-path", database).code == 2
