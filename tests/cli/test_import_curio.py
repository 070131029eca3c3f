"""`import curio` imports the database of an original Curio."""

from __future__ import annotations

import json
import shlex

import pytest

from tests.cli.program import Program
from tests.schema import original
from tests.schema.conftest import PostgresSchema, SQLiteFile
from tests.schema.original import EVENT, RUN


@pytest.fixture
def agent_sdk(program: Program) -> SQLiteFile:
    """A database of an original Curio, at the program's default path."""
    database = SQLiteFile(program.folder / "agent_sdk.db")
    original.make(database, events=[EVENT, EVENT | {"id": 12, "run_id": "stray"}])
    return database


def test_it_imports_and_says_what_it_did(program: Program, agent_sdk: SQLiteFile) -> None:
    code, out, said = program("import", "curio", "agent_sdk.db", "--timezone", "Europe/Paris")
    assert (code, said) == (0, "The database agent_sdk.db was imported.\n")
    report = json.loads(out)
    assert (report["runs"], report["events"], report["usage"], report["stubs"]) == (1, 2, 1, 1)
    assert (report["timezone"], report["timezone_assumed"]) == ("Europe/Paris", False)
    assert report["kept_in"] == str(program.folder / "agent_sdk.db.bak")
    [run, *_] = program("query", "--status", "completed").json()
    assert run["started_at"] == "2024-05-01T08:00:00.250000+00:00"


def test_a_person_sees_the_report(program: Program, agent_sdk: SQLiteFile) -> None:
    agent_sdk.run("UPDATE agent_runs SET finished_at = 'soon', created_at = '2024-10-27 02:30:00'")
    shown = program.on_terminal("import", "curio", "--timezone", "Europe/Paris").out
    assert "1 runs that were never created" in shown
    assert "1 times that the clock showed twice" in shown
    assert "1 values that could not be kept: agent_runs 3: finished_at 'soon'" in shown
    assert "missing" not in shown


def test_the_assumed_zone_is_reported(program: Program, agent_sdk: SQLiteFile) -> None:
    zone = {"TZ": "Asia/Tokyo"}
    assert program("import", "curio", "--dry-run", **zone).json()["timezone"] == "Asia/Tokyo"
    shown = program.on_terminal("import", "curio", **zone).out
    assert "Asia/Tokyo, which is this machine's: use --timezone for another" in shown


def test_a_dry_run_changes_nothing(program: Program, agent_sdk: SQLiteFile) -> None:
    before = agent_sdk.state()
    code, out, said = program("import", "curio", "--dry-run")
    assert (code, said) == (0, "The database agent_sdk.db was read, and nothing was changed.\n")
    assert json.loads(out)["dry_run"]
    assert agent_sdk.state() == before


def test_a_second_import_does_nothing_and_says_so(program: Program, agent_sdk: SQLiteFile) -> None:
    assert program("import", "curio").code == 0
    before = agent_sdk.state()
    code, out, said = program("import", "curio")
    assert code == 0
    assert said == "The database agent_sdk.db has today's tables already: nothing was done.\n"
    assert json.loads(out)["already"]
    assert agent_sdk.state() == before


def test_the_command_in_the_error_imports_the_file(program: Program, agent_sdk: SQLiteFile) -> None:
    moved = program.folder / "it's here.db"
    agent_sdk.path.rename(moved)
    refused = program("query", "--db-path", moved.name)
    assert refused.code == 1
    command = refused.said.strip().partition("To mend it: ")[2]
    assert command == f"curio-persistence import curio --db-path {shlex.quote(moved.name)}"
    assert program.shell(command).code == 0
    assert len(program("query", "--db-path", moved.name).json()) == 2


def test_the_command_in_the_error_imports_a_schema(
    program: Program, postgres18: str, schema_name: str, postgres_url: str
) -> None:
    original.make(PostgresSchema(postgres18, schema_name), events=[EVENT], runs=[RUN])
    refused = program("query", "--url", postgres_url)
    command = refused.said.strip().partition("To mend it: ")[2]
    given = command.replace("'postgresql://…'", shlex.quote(postgres_url))
    assert program.shell(given).json()["kept_in"] == (
        "agent_llm_usage_before_import, agent_run_events_before_import, agent_runs_before_import"
    )
    assert len(program("query", "--url", postgres_url).json()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nothing.db"], 3, "No database exists at nothing.db"),
        (["sqlite:///nothing.db"], 3, "No database exists at nothing.db"),
        (["sqlite:///agent_sdk.db", "--db-path", "other.db"], 2, "drop --url, --db-path"),
        (["--timezone", "Mars/Olympus"], 2, "Use a name such as Europe/Paris or UTC"),
        (["memory://"], 1, "there is nothing to import"),
    ],
)
def test_an_impossible_import_is_refused(
    program: Program, agent_sdk: SQLiteFile, arguments: list[str], code: int, says: str
) -> None:
    before = agent_sdk.state()
    ended = program("import", "curio", *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert says in ended.said
    assert agent_sdk.state() == before


def test_a_database_without_old_or_new_tables_is_refused(program: Program) -> None:
    SQLiteFile(program.folder / "agent_sdk.db").run("CREATE TABLE users (name TEXT)")
    ended = program("import", "curio")
    assert ended.code == 1
    assert "no tables of an original Curio" in ended.said


def test_a_path_and_a_time_zone_are_asked_for_where_they_belong(program: Program) -> None:
    missing = program("import", "agdd")
    assert (missing.code, missing.said) == (2, "curio-persistence: import agdd needs a PATH.\n")
    misplaced = program("import", "agdd", ".runs", "--timezone", "UTC")
    assert misplaced.code == 2
    assert "--timezone is for import curio" in misplaced.said
    assert program.files() == set()
