"""The health check of a SQLite file. It reads, and changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from curio_persistence import AgentRun, Finding, SQLitePersistence
from curio_persistence.backends.sql import health, migrations
from curio_persistence.backends.sqlite.health import _engine_finding


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agents.db"


@contextmanager
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def findings(path: Path, *, deep: bool = False) -> dict[str, Finding]:
    with SQLitePersistence(path, read_only=True) as persistence:
        return {finding.check: finding for finding in persistence.diagnose(deep=deep)}


def test_a_healthy_file_passes_the_health_check(path: Path) -> None:
    SQLitePersistence(path).close()
    found = findings(path)
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
        "runs",
    ]
    assert {found[check].level for check in found if check != "engine"} == {"ok"}
    assert found["journal"].message == "write-ahead log, 0.0 MB"
    assert found["space"].message.endswith(" MB, of them 0.0 MB empty")
    assert found["schema"].message == f"version {migrations.migrations('sqlite')[-1].version}"


def test_the_health_check_changes_nothing(path: Path) -> None:
    SQLitePersistence(path).close()
    before = path.read_bytes()
    findings(path)
    assert path.read_bytes() == before


def test_the_health_check_detects_another_journal_mode(path: Path) -> None:
    SQLitePersistence(path).close()
    with raw(path) as connection:
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    assert findings(path)["journal"].level == "warning"


def test_the_health_check_detects_tables_created_by_other_statements(path: Path) -> None:
    SQLitePersistence(path).close()
    with raw(path) as connection:
        connection.execute("UPDATE schema_migrations SET checksum = 'another'")
    finding = findings(path)["schema"]
    assert finding.level == "warning"
    assert "first_release" in finding.message


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
    found = findings(path)
    assert found["integrity"].level == "error"
    assert "restore a backup" in found["integrity"].advice
    assert not {"orphans", "runs"} & set(found), "what it says of them may be wrong"


def test_damage_and_orphans_in_a_large_file_are_checked_only_on_request(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would read everything. The finding names the command that does."""
    SQLitePersistence(path).close()
    monkeypatch.setattr(health, "SMALL", path.stat().st_size - 1)
    found = findings(path)
    for check in "integrity", "orphans":
        assert found[check].level == "ok"
        assert found[check].message.startswith("not looked at")
        assert "doctor --deep" in found[check].advice
    assert [check for check in findings(path, deep=True) if check != "texts"] == list(found)
    assert findings(path, deep=True)["integrity"].message == "integrity_check found no damage"


def test_the_health_check_detects_events_without_their_run(path: Path) -> None:
    with SQLitePersistence(path) as persistence:
        persistence.append_event("gone", "agent", "note")
        persistence.append_event("here", "agent", "note")
    with raw(path) as connection:
        connection.execute("DELETE FROM agent_runs WHERE run_id = 'gone'")
    finding = findings(path)["orphans"]
    assert (finding.level, finding.message[:50]) == (
        "warning",
        "1 events are of runs that do not exist, gone for o",
    )
    with SQLitePersistence(path) as persistence:  # As the advice says.
        persistence.create_agent_run(AgentRun("agent", "gone"))
        assert persistence.delete_agent_run("gone")
    assert findings(path)["orphans"].level == "ok"


def test_the_health_check_detects_a_dropped_index(path: Path) -> None:
    SQLitePersistence(path).close()
    with raw(path) as connection:
        connection.execute("DROP INDEX agent_runs_by_time")
    finding = findings(path)["indexes"]
    assert finding.level == "warning"
    assert "missing: agent_runs_by_time;" in finding.message
    assert "schema/sqlite/" in finding.advice


def test_the_health_check_reports_views_whose_name_is_taken(path: Path) -> None:
    with raw(path) as connection:
        connection.execute("CREATE TABLE runs (what TEXT)")
    SQLitePersistence(path).close()
    finding = findings(path)["views"]
    assert (finding.level, finding.message.partition(":")[0]) == ("ok", "without runs")


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
    assert findings(path)["space"].level == "ok"
    with SQLitePersistence(path) as persistence:
        persistence.delete_agent_run("run")
    finding = findings(path)["space"]
    assert finding.level == "warning"
    start, _, command = finding.advice.rpartition(f" sqlite3 {path} ")
    assert start.endswith("to the disk instead:")
    with raw(path) as connection:
        connection.executescript(command.strip("'"))  # It runs to its end.
    assert findings(path)["space"].level == "ok"
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
    finding = _engine_finding(version)
    assert finding.level == level
    assert ".".join(map(str, version)) in finding.message
    assert ("3.51.3" in finding.advice) == (level == "warning")
