"""`config` shows which database is used, and why, without opening it."""

from __future__ import annotations

import pytest

from curio_persistence import connect
from tests.cli.program import Program


def in_force(program: Program, *options: str, **variables: str) -> dict[str, tuple[object, str]]:
    """Return the database's settings with their sources."""
    settings = program("config", *options, **variables).json()
    return {
        s["name"]: (s["value"], s["source"])
        for s in settings
        if not s["unused"] and s["name"].startswith("db_")
    }


def test_a_person_sees_the_source_of_settings_and_which_are_ignored(program: Program) -> None:
    (program.folder / ".env").write_text("DB_PATH=runs.db\n")
    shown = program.on_terminal(
        "config", DB_HOST="db", DB_TYPE="sqlite", CURIO_DISABLED="1", columns=300
    )
    assert shown.code == 0
    lines = [line.split() for line in shown.lines]
    assert lines == [
        ["SETTING", "VALUE", "FROM"],
        ["db_type", "sqlite", "environment:", "DB_TYPE"],
        ["db_path", f"{program.folder / 'runs.db'}", f"{program.folder / '.env'}:", "DB_PATH"],
        ["redactor", "–", "default"],
        ["capture_content", "full", "default"],
        ["chain", "False", "default"],
        ["audit_key", "–", "default"],
        ["dedupe", "False", "default"],
        ["prices", "True", "default"],
        ["embed", "–", "default"],
        ["disabled", "True", "environment:", "CURIO_DISABLED"],
        ["retention_days", "–", "default"],
        ["max_disk_mb", "–", "default"],
        ["hot_days", "7", "default"],
        ["archive_enabled", "False", "default"],
        ["archive_destination", "–", "default"],
        [],
        ["SETTING", "VALUE", "FROM", "NOT", "USED,", "BECAUSE"],
        ["db_host", "db", "environment:", "DB_HOST", "sqlite", "has", "none"],
    ]


def test_it_opens_and_creates_nothing(program: Program) -> None:
    ended = program("config", "--url", "postgresql://me:secret@127.0.0.1:1/agents")
    assert ended.code == 0
    assert "secret" not in ended.out
    assert in_force(program)["db_path"] == (
        f"{program.folder / 'agent_sdk.db'}",
        "default",
    )
    assert program.files() == set()


@pytest.mark.parametrize("path", ["runs.db", "my runs?.db", "100%.db", "/var/runs.db"])
def test_an_option_takes_precedence(program: Program, path: str) -> None:
    variables = {"CURIO_DATABASE_URL": "memory://", "DB_PORT": "no number"}
    assert in_force(program, "--db-path", path, **variables) == {
        "db_type": ("sqlite", "--db-path"),
        "db_path": (f"{program.folder / path}", "--db-path"),
    }
    assert in_force(program, "--url", "sqlite:///of_a_url.db", **variables)["db_path"] == (
        f"{program.folder / 'of_a_url.db'}",
        "--url",
    )


def test_a_kind_of_backend_is_looked_for_in_the_environment(program: Program) -> None:
    variables = {"CURIO_DATABASE_URL": "memory://", "DB_PATH": "mine.db"}
    assert in_force(program, "--backend", "sqlite", **variables) == {
        "db_type": ("sqlite", "--backend"),
        "db_path": (f"{program.folder / 'mine.db'}", "environment: DB_PATH"),
    }
    settings = program("config", "--backend", "sqlite", **variables).json()
    assert [s["unused"] for s in settings if s["name"] == "url"] == ["--backend comes first"]


@pytest.mark.parametrize(
    "options", [[], ["--url", "sqlite:///a.db"], ["--db-path", "b.db"], ["--backend", "sqlite"]]
)
def test_it_is_the_database_that_other_commands_use(program: Program, options: list[str]) -> None:
    (program.folder / ".env").write_text("DB_PATH=c.db\n")
    path = in_force(program, *options)["db_path"][0]
    connect(f"sqlite:///{program.folder / str(path)}").close()
    assert program("query", *options).json() == []


def test_an_invalid_setting_exits_with_2(program: Program) -> None:
    ended = program("config", DB_TYPE="mysql")
    assert (ended.code, ended.out) == (2, "")
    assert "DB_TYPE is sqlite, postgres, memory or null" in ended.said


def test_it_tells_how_long_runs_are_kept(program: Program) -> None:
    variables = {"CURIO_HOT_DAYS": "9", "RETENTION_DAYS": "90", "AGDD_STORAGE_RETENTION_DAYS": "30"}
    settings = program("config", **variables).json()
    kept = {s["name"]: (s["value"], s["source"]) for s in settings if not s["unused"]}
    assert kept["hot_days"] == (9, "environment: CURIO_HOT_DAYS")
    assert kept["retention_days"] == (30, "environment: AGDD_STORAGE_RETENTION_DAYS")
    assert [s["source"] for s in settings if s["unused"]] == ["environment: RETENTION_DAYS"]
    wrong = program("config", CURIO_HOT_DAYS="never")
    assert (wrong.code, "CURIO_HOT_DAYS is a whole number of days" in wrong.said) == (2, True)
