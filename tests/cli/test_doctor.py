"""`doctor` checks the health of a database, also of one that cannot be opened."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from curio_persistence import AgentRun, connect
from tests.cli.history import EVIL
from tests.cli.program import Program
from tests.cli.test_errors import damage

HealthCheck = dict[str, Any]


def by_check(checks: list[HealthCheck]) -> dict[str, HealthCheck]:
    return {check["name"]: check for check in checks}


@pytest.fixture
def healthy(url: str) -> str:
    connect(url).close()
    return url


def test_a_healthy_database_gives_nothing_worse_than_warnings(
    program: Program, healthy: str
) -> None:
    checks = by_check(program("doctor", "--url", healthy).json())
    assert {"engine", "schema", "runs"} <= set(checks)
    assert {check["level"] for check in checks.values()} <= {"ok", "warning"}
    assert checks["runs"]["level"] == "ok"
    assert all(check["advice"] for check in checks.values() if check["level"] != "ok")


def test_a_run_that_never_ended_is_a_warning(program: Program, healthy: str) -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    left = AgentRun("a", "left", status="running", created_at=long_ago, updated_at=long_ago)
    with connect(healthy) as persistence:
        persistence.create_agent_run(left)
    check = by_check(program("doctor", "--url", healthy).json())["runs"]
    assert check["level"] == "warning"
    assert "left" in check["message"]
    assert "abandon" in check["advice"]


def test_a_large_database_is_read_completely_only_on_request(program: Program) -> None:
    with connect(f"sqlite:///{program.folder / 'agent_sdk.db'}") as persistence:
        persistence.create_agent_run(AgentRun("a", "run", final_synthesis_output="x" * 70_000_000))
    quick = by_check(program("doctor").json())
    assert quick["integrity"]["message"].startswith("not looked at: that reads all 70.")
    assert quick["integrity"]["advice"].endswith("curio-persistence doctor --deep")
    deep = by_check(program("doctor", "--deep").json())
    assert deep["integrity"]["message"] == "integrity_check found no damage"
    assert deep.pop("texts")["message"] == "every row can be read"
    assert list(deep) == list(quick)


def test_a_damaged_index_exits_with_5(program: Program, agents_db: str) -> None:
    damage(program.folder / agents_db, "agent_runs_by_time")
    ended = program("doctor")
    assert ended.code == 5
    assert '"integrity",\n    "level": "error"' in ended.out
    assert ended.said == ""


def test_a_damaged_table_exits_with_5(program: Program, agents_db: str) -> None:
    damage(program.folder / agents_db, "agent_runs")
    assert program("doctor").code == 5


def _not_a_database(program: Program) -> None:
    (program.folder / "agents.db").write_text("Not a database, whatever they say. " * 100)


def _without_tables(program: Program) -> None:
    (program.folder / "agents.db").touch()


def _with_other_tables(program: Program) -> None:
    with closing(sqlite3.connect(program.folder / "agents.db")) as other:
        other.execute("CREATE TABLE agent_runs (id INTEGER, what TEXT)")


def _missing(program: Program) -> None:
    pass


def _a_folder(program: Program) -> None:
    (program.folder / "agents.db").mkdir()


@pytest.mark.parametrize(
    ("prepare", "code", "message", "advice"),
    [
        (_missing, 3, "No database exists at agents.db", "migrate --db-path agents.db"),
        (_not_a_database, 5, "is damaged or not a SQLite database", "backup"),
        (_without_tables, 1, "has no tables of curio_persistence", "migrate --db-path agents.db"),
        (_with_other_tables, 1, "did not make: agent_runs", "Use another file"),
        (_a_folder, 2, "agents.db is a folder; name a file in it", ""),
    ],
)
def test_a_database_that_cannot_be_opened_is_a_failed_check(
    program: Program, prepare: Any, code: int, message: str, advice: str
) -> None:
    prepare(program)
    before = program.files()
    ended = program("doctor", "--db-path", "agents.db", "--json")
    assert ended.code == code
    assert ended.said == ""
    shown = program.on_terminal("doctor", "--db-path", "agents.db", columns=200)
    assert shown.code == code
    first, *rest = shown.lines
    assert first.startswith("error    database  ")
    assert message in first
    assert advice in "".join(rest)
    assert program.files() == before


def test_an_unreachable_server_is_a_failed_check(program: Program) -> None:
    ended = program("doctor", "--url", "postgresql://me:secret@127.0.0.1:1/agents")
    assert ended.code == 4
    assert "cannot be reached" in ended.out
    assert "secret" not in ended.out


def test_a_person_sees_findings_and_advice(program: Program, healthy: str) -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    name = f"left {EVIL}"
    left = AgentRun("a", name, status="running", created_at=long_ago, updated_at=long_ago)
    with connect(healthy) as persistence:
        persistence.create_agent_run(left)
        place = persistence.location
    code, out, _ = program.on_terminal("doctor", "--url", healthy, columns=400)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == place
    assert "ok       schema" in out
    warning = next(index for index, line in enumerate(lines) if line.startswith("warning  runs"))
    assert r"left \x1b[31mred" in lines[warning]
    assert lines[warning + 1].strip().startswith("To close them: curio-persistence abandon")


def test_long_findings_are_wrapped(program: Program, agents_db: str) -> None:
    shown = program.on_terminal("doctor", "--db-path", "typo.db", columns=50)
    assert max(map(len, shown.lines)) <= 50
    assert len(shown.lines) >= 3
