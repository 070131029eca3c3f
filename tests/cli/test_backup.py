"""`backup` copies a database, `restore-backup` makes one of it, and `verify` compares them."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import pytest

from curio_persistence import AgentRun, SQLitePersistence
from tests.cli.program import Program
from tests.support.postgres import find_binaries


@pytest.fixture(autouse=True)
def programs(program: Program) -> None:
    """Put pg_dump and pg_restore on the program's PATH."""
    path = program.environment["PATH"].partition(os.pathsep)
    program.environment["PATH"] = os.pathsep.join((path[0], str(find_binaries(18)), path[2]))


def test_a_database_is_copied(program: Program, recorded: str) -> None:
    done = program("backup", "backups", "--url", recorded)
    report = done.json()
    assert report.keys() == {"path", "size", "sha256"}
    assert "was copied: " in done.said
    again = program("restore-backup", report["path"], "--url", recorded)
    assert again.code == 2, again
    assert "is not replaced" in again.said
    verified = program("verify", "--url", recorded)
    assert verified.json()["ok"] is True


def test_a_backup_becomes_a_database(program: Program, agents_db: str) -> None:
    assert program.on_terminal("backup", "copy.db").lines[-1] == "copy.db"
    restored = program("restore-backup", "copy.db", "--db-path", "new/restored.db")
    assert restored.json()["path"] == "copy.db"
    assert "The database new/restored.db was restored from copy.db." in restored.said
    assert program("runs", "--db-path", "new/restored.db").json() == program("runs").json()
    (program.folder / "copy.db.sha256").unlink()
    third = program("restore-backup", "copy.db", "--db-path", "third.db")
    assert "no hash beside the backup" in third.said
    assert third.json()["sha256"] is None


def test_damage_is_named_with_its_row(program: Program, agents_db: str) -> None:
    program("backup", "copy.db")
    clean = program("verify", "--against", "copy.db")
    assert clean.json()["damaged"] == []
    assert "No damage was found: 5 runs were compared with the backup." in clean.said
    with closing(sqlite3.connect(program.folder / "agent_sdk.db")) as raw, raw:
        raw.execute("UPDATE agent_run_events SET data = 'other'")
    ended = program("verify", "--against", "copy.db")
    assert ended.code == 5
    assert "Damaged: agent_run_events, row 1 of run 'run-" in ended.said
    assert "integrity" in program.on_terminal("verify").out


def test_one_run_is_counted_in_the_singular(program: Program, agents_db: str) -> None:
    with SQLitePersistence(program.folder / "one.db") as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
        persistence.append_event("run", "agent", "log")
        persistence.backup(program.folder / "copy.db")
    verify = ("verify", "--against", "copy.db", "--db-path", "one.db")
    assert "No damage was found: 1 run was compared with the backup." in program(*verify).said
    with closing(sqlite3.connect(program.folder / "one.db")) as raw, raw:
        raw.execute("DELETE FROM agent_run_events")
    ended = program(*verify)
    assert ended.code == 5
    assert "row 1 of run 'run': it is gone, although the run is there." in ended.said


def test_no_damage_is_not_claimed_beside_a_failed_check(program: Program, agents_db: str) -> None:
    """An index that does not fit its table: no row differs, but the check of the file fails."""
    program("backup", "copy.db")
    with closing(sqlite3.connect(program.folder / "agent_sdk.db")) as raw, raw:
        raw.execute("PRAGMA writable_schema = ON")
        [(name, sql)] = raw.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL "
            "AND tbl_name = 'agent_runs' LIMIT 1"
        ).fetchall()
        other = f"{sql[: sql.index('(')]}(objective)"
        raw.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (other, name))
    ended = program("verify", "--against", "copy.db")
    assert ended.code == 5, ended
    assert '"damaged": []' in ended.out
    assert "No damage" not in ended.said


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("backup",), 2),
        (("backup", ""), 2),
        (("backup", "agent_sdk.db"), 2),
        (("backup", "nowhere://x/y.db"), 2),
        (("backup", "copy.db", "--backend", "memory"), 1),
        (("backup", "copy.db", "--db-path", "nothing.db"), 3),
        (("restore-backup",), 2),
        (("restore-backup", "nothing.db", "--db-path", "new.db"), 3),
        (("restore-backup", "agent_sdk.db"), 2),
        (("restore-backup", "agent_sdk.db", "--backend", "memory"), 1),
        (("verify", "--against", "nothing.db"), 3),
        (("verify", "--db-path", "nothing.db"), 3),
    ],
    ids=str,
)
def test_wrong_usage_is_refused(
    program: Program, agents_db: str, arguments: tuple[str, ...], code: int
) -> None:
    before = program.files()
    ended = program(*arguments)
    assert ended.code == code, ended
    assert "Traceback" not in ended.said
    assert program.files() == before
