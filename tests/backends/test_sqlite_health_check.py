"""The health check of a SQLite file. It reads, and changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from curio_persistence import AgentRun, HealthCheck, SQLitePersistence
from curio_persistence.backends.sql import health, migrations
from curio_persistence.backends.sqlite.health import _engine_check


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agents.db"


@contextmanager
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def checks(path: Path, *, deep: bool = False) -> dict[str, HealthCheck]:
    with SQLitePersistence(path, read_only=True) as persistence:
        return {check.name: check for check in persistence.diagnose(deep=deep)}


def test_a_healthy_file_passes_the_health_check(path: Path) -> None:
    SQLitePersistence(path).close()
    found = checks(path)
    assert list(found) == [
        "engine",
        "schema",
        "journal",
        "space",
        "disk",
        "indexes",
        "views",
        "integrity",
        "orphans",
        "search",
        "similar",
        "runs",
        "alerts",
        "chains",
        "retention",
    ]
    assert {found[check].level for check in found if check != "engine"} == {"ok"}
    assert found["journal"].message == "write-ahead log, 0.0 MB"
    assert found["space"].message.endswith(" MB, of them 0.0 MB empty")
    assert found["schema"].message == f"version {migrations.migrations('sqlite')[-1].version}"


def test_the_health_check_changes_nothing(path: Path) -> None:
    SQLitePersistence(path).close()
    before = path.read_bytes()
    checks(path)
    assert path.read_bytes() == before


def test_the_health_check_detects_another_journal_mode(path: Path) -> None:
    SQLitePersistence(path).close()
    with raw(path) as connection:
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    assert checks(path)["journal"].level == "warning"


def test_the_health_check_detects_tables_created_by_other_statements(path: Path) -> None:
    SQLitePersistence(path).close()
    with raw(path) as connection:
        connection.execute("UPDATE schema_migrations SET checksum = 'another'")
    check = checks(path)["schema"]
    assert check.level == "warning"
    assert "first_release" in check.message


def test_the_health_check_detects_damage(path: Path) -> None:
    """An index page is overwritten: nothing fails until it is read."""
    with SQLitePersistence(path) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
    with raw(path) as connection:
        root = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'agent_runs_by_agent'"
        ).fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    content = bytearray(path.read_bytes())
    content[(root - 1) * size + 100 : root * size] = b"\x55" * (size - 100)
    path.write_bytes(content)
    found = checks(path)
    assert found["integrity"].level == "error"
    assert "restore a backup" in found["integrity"].advice
    assert not {"orphans", "runs"} & set(found), "what it says of them may be wrong"


def test_damage_and_orphans_in_a_large_file_are_checked_only_on_request(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would read everything. The check names the command that does."""
    SQLitePersistence(path).close()
    monkeypatch.setattr(health, "SMALL", path.stat().st_size - 1)
    found = checks(path)
    for check in "integrity", "orphans":
        assert found[check].level == "ok"
        assert found[check].message.startswith("not looked at")
        assert "doctor --deep" in found[check].advice
    assert [name for name in checks(path, deep=True) if name != "texts"] == list(found)
    assert checks(path, deep=True)["integrity"].message == "integrity_check found no damage"


def test_the_health_check_detects_events_without_their_run(path: Path) -> None:
    with SQLitePersistence(path) as persistence:
        persistence.append_event("gone", "agent", "note")
        persistence.append_event("here", "agent", "note")
    with raw(path) as connection:
        connection.execute("DELETE FROM agent_runs WHERE run_id = 'gone'")
    check = checks(path)["orphans"]
    assert (check.level, check.message[:50]) == (
        "warning",
        "1 events are of runs that do not exist, gone for o",
    )
    with SQLitePersistence(path) as persistence:  # As the advice says.
        persistence.create_agent_run(AgentRun("agent", "gone"))
        assert persistence.delete_agent_run("gone")
    assert checks(path)["orphans"].level == "ok"


def test_the_health_check_detects_a_dropped_index(path: Path) -> None:
    SQLitePersistence(path).close()
    with raw(path) as connection:
        connection.execute("DROP INDEX agent_runs_by_time")
    check = checks(path)["indexes"]
    assert check.level == "warning"
    assert "missing: agent_runs_by_time;" in check.message
    assert "schema/sqlite/" in check.advice


def test_the_health_check_reports_views_whose_name_is_taken(path: Path) -> None:
    with raw(path) as connection:
        connection.execute("CREATE TABLE runs (what TEXT)")
    SQLitePersistence(path).close()
    check = checks(path)["views"]
    assert (check.level, check.message.partition(":")[0]) == ("ok", "without runs")


@pytest.mark.parametrize("incremental", [True, False])
def test_the_health_check_says_how_to_shrink_a_mostly_empty_file(
    path: Path, *, incremental: bool
) -> None:
    with SQLitePersistence(path) as persistence:
        persistence.create_agent_run(AgentRun("a", "run", final_synthesis_output="x" * 20_000_000))
    with raw(path) as connection:
        if not incremental:
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()
            connection.execute("PRAGMA auto_vacuum = NONE")
            connection.execute("VACUUM")
    assert checks(path)["space"].level == "ok"
    with SQLitePersistence(path) as persistence:
        persistence.delete_agent_run("run")
    check = checks(path)["space"]
    assert check.level == "warning"
    start, _, command = check.advice.rpartition(f" sqlite3 {path} ")
    assert start.endswith("to the disk instead:")
    with raw(path) as connection:
        connection.executescript(command.strip("'"))  # It runs to its end.
    assert checks(path)["space"].level == "ok"
    assert path.stat().st_size < 1_000_000


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ((3, 37, 0), "warning"),
        ((3, 40, 1), "warning"),
        ((3, 44, 5), "warning"),
        ((3, 44, 6), "ok"),
        ((3, 44, 9), "ok"),
        ((3, 45, 0), "warning"),
        ((3, 46, 1), "warning"),
        ((3, 50, 6), "warning"),
        ((3, 50, 7), "ok"),
        ((3, 50, 8), "ok"),
        ((3, 51, 0), "warning"),
        ((3, 51, 2), "warning"),
        ((3, 51, 3), "ok"),
        ((3, 52, 0), "ok"),
        ((4, 0, 0), "ok"),
    ],
)
def test_the_health_check_knows_the_engines_that_can_damage_a_log(
    version: tuple[int, int, int], level: str
) -> None:
    check = _engine_check(version)
    assert check.level == level
    assert ".".join(map(str, version)) in check.message
    assert ("3.51.3" in check.advice) == (level == "warning")
