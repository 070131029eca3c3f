"""A backup that is killed, or has no room, leaves none under its name, and a later one works."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from curio_persistence import (
    AccessDeniedError,
    AgentRun,
    AgentRunEvent,
    BusyError,
    ConfigurationError,
    CorruptDatabaseError,
    InvalidValueError,
    PersistenceError,
    PostgresPersistence,
    SQLitePersistence,
    StorageFullError,
    atomic_files,
    restore_backup,
)
from curio_persistence.cli import main
from tests.support.children import Child
from tests.support.disks import small_disk
from tests.support.postgres import find_binaries

pytestmark = pytest.mark.slow

DAMAGED = 5

STEPS = """
from curio_persistence.backends.sqlite import backup
backup._PAGES = 50
tell = lambda done, total: (print(done, total, flush=True), input())
SQLitePersistence(sys.argv[1]).backup(sys.argv[2], progress=tell)
"""
AT = """
from curio_persistence import atomic_files
from curio_persistence.backups import files

def dying(call):
    def wait(*arguments):
        print("now", flush=True), input()
        return call(*arguments)
    return wait

place, name = sys.argv[3].split(".")
owner = {{"atomic_files": atomic_files, "LocalFile": files.LocalFile}}[place]
setattr(owner, name, dying(getattr(owner, name)))
{open}.backup(sys.argv[2])
"""
SQLITE = AT.format(open="SQLitePersistence(sys.argv[1])")
_BACKUP = "SQLitePersistence(sys.argv[1]).backup(sys.argv[2])"
REFUSED = SQLITE.replace(
    _BACKUP, f"try: {_BACKUP}\nexcept InvalidValueError as error: print(error, flush=True)"
)
RESTORE = SQLITE.replace(
    _BACKUP,
    "restore_backup(sys.argv[1], 'sqlite:///' + sys.argv[2])",
)
POSTGRES = AT.format(open="PostgresPersistence(dsn=sys.argv[1], schema=sys.argv[4])")
POINTS = ("LocalFile.note", "atomic_files._to_disk", "atomic_files._name_it", "LocalFile.read_back")
"""Where a backup is killed: before its hash is stored, it is safe, is named, and is read back."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "agents.db"
    with SQLitePersistence(path) as persistence:
        persistence.create_agent_runs(AgentRun("agent", f"run-{number}") for number in range(20))
        persistence.log_agent_run_events(
            AgentRunEvent("agent", f"run-{number % 20}", data=f"{number} " + "x" * 500)
            for number in range(2_000)
        )
    return path


@pytest.fixture
def path(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(filled, tmp_path / "agents.db"))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups/agents.db"


def test_a_killed_copy_leaves_nothing_under_its_name(path: Path, target: Path) -> None:
    for steps in (1, 3, 7):
        with Child(STEPS, path, target) as child:
            for _ in range(steps - 1):
                child.read(), child.write("on")
            child.read()
            child.kill()
        assert not target.exists()
    assert all(left.name.endswith(".partial") for left in target.parent.iterdir())
    with SQLitePersistence(path) as persistence:
        report = persistence.backup(target)
        assert persistence.verify(report.path).compared == 20


@pytest.mark.parametrize("point", POINTS)
def test_a_backup_that_is_killed_later_is_whole_or_not_there(
    path: Path, target: Path, point: str
) -> None:
    with Child(SQLITE, path, target, point) as child:
        child.read()
        child.kill()
    assert target.exists() is point.endswith("read_back")
    with SQLitePersistence(path) as persistence:
        if target.exists():
            assert restore_backup(target, f"sqlite:///{path}.restored").sha256, "it has its hash"
            with pytest.raises(InvalidValueError, match="is there already"):
                persistence.backup(target)
            target.unlink()
        assert persistence.backup(target).sha256
        assert persistence.verify(target).ok


def test_a_backup_that_is_read_back_otherwise_is_deleted(
    path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from a disk that returns other bytes than were written."""
    give_name = atomic_files._name_it

    def give_name_and_damage(unfinished: Path, name: Path) -> None:
        give_name(unfinished, name)
        if name == target:
            with name.open("rb+") as file:
                file.seek(name.stat().st_size // 2)
                file.write(b"\xff")

    monkeypatch.setattr(atomic_files, "_name_it", give_name_and_damage)
    with SQLitePersistence(path) as persistence:
        with pytest.raises(CorruptDatabaseError, match=r"read back otherwise.*deleted again"):
            persistence.backup(target)
        assert list(target.parent.iterdir()) == []
        monkeypatch.undo()
        assert persistence.backup(target).sha256


def test_two_backups_of_one_name_leave_the_first_with_its_hash(path: Path, target: Path) -> None:
    with Child(REFUSED, path, target, "LocalFile.note") as child:
        child.read()  # The copy is made, and has neither hash nor name.
        with SQLitePersistence(path) as persistence:
            persistence.append_event("run-1", "agent", "log")
            first = persistence.backup(target)
        child.write("on")
        assert "is there already" in child.read()
    assert restore_backup(target, f"sqlite:///{path}.restored").sha256 == first.sha256


@pytest.mark.parametrize("mode", ["wal", "delete"])
@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_database_in_use_is_not_taken_for_a_backup(
    path: Path, target: Path, mode: str, checkpointed: bool
) -> None:
    """What is in its log would be lost."""
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute(f"PRAGMA journal_mode = {mode}").fetchall()
        if checkpointed:
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        raw.execute("BEGIN IMMEDIATE")
        raw.execute("UPDATE agent_run_events SET message = 'later'")
        raw.execute("PRAGMA cache_size = 1").fetchall()
        raw.execute("COMMIT" if mode == "wal" else "SELECT 1").fetchall()
        log = f"agents.db-{'wal' if mode == 'wal' else 'journal'}"
        with pytest.raises(InvalidValueError, match=rf"in use.*{log}.*curio-persistence backup"):
            restore_backup(path, f"sqlite:///{path}.restored")
        assert not Path(f"{path}.restored").exists()


def test_a_database_that_was_opened_and_closed_can_be_restored(path: Path, target: Path) -> None:
    for read_only in (True, False):
        with SQLitePersistence(path, read_only=read_only) as persistence:
            assert persistence.count_events() == 2_000
    restore_backup(path, f"sqlite:///{path}.restored")
    with SQLitePersistence(f"{path}.restored") as restored:
        assert restored.count_events() == 2_000


@pytest.mark.parametrize("point", POINTS[:3])
def test_a_killed_backup_of_postgres_leaves_nothing(
    open_postgres: Callable[..., PostgresPersistence],
    dsn: str,
    schema_name: str,
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
) -> None:
    with open_postgres() as persistence:
        [version] = persistence.sql("SELECT current_setting('server_version_num') AS v").rows[0]
        programs = find_binaries(int(version) // 10_000)
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        persistence.create_agent_run(AgentRun("agent", "run"))
        with Child(POSTGRES, dsn, target, point, schema_name) as child:
            child.read()
            child.kill()
        assert not target.exists()
        assert persistence.backup(target).size > 0


@pytest.mark.parametrize("point", POINTS[1:3])
def test_a_killed_restore_leaves_no_database(path: Path, target: Path, point: str) -> None:
    with SQLitePersistence(path) as persistence:
        persistence.backup(target)
    restored = path.with_name("restored.db")
    with Child(RESTORE, target, restored, point) as child:
        child.read()
        child.kill()
    assert not restored.exists()
    restore_backup(target, f"sqlite:///{restored}")
    with SQLitePersistence(restored) as again:
        assert again.count_events() == 2_000


def test_what_killed_backups_left_is_removed_a_day_later(path: Path, target: Path) -> None:
    """In a directory, where each backup has another name."""
    with Child(STEPS, path, target.parent) as child:
        child.read()
        child.kill()
    [left] = target.parent.iterdir()
    (target.parent / ".mine.partial").touch()
    for path_of_a_day_ago in target.parent.iterdir():
        os.utime(path_of_a_day_ago, (0, 0))
    with SQLitePersistence(path) as persistence:
        name = Path(persistence.backup(target.parent).path).name
    assert {each.name for each in target.parent.iterdir()} == {
        *(name, f"{name}.sha256", ".mine.partial")
    }
    assert left.name.endswith(".partial")


def test_an_interrupted_backup_is_tidied_up(path: Path, target: Path) -> None:
    with SQLitePersistence(path) as persistence:

        def interrupt(done: int, total: int | None) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            persistence.backup(target, progress=interrupt)
        assert list(target.parent.iterdir()) == []
        persistence.append_event("run-1", "agent", "log")
        assert persistence.backup(target).sha256


def test_a_full_disk_is_told_and_leaves_nothing(path: Path) -> None:
    with small_disk(megabytes=3) as disk, SQLitePersistence(path) as persistence:
        place = disk.folder / "backups"
        place.mkdir()
        disk.fill()
        for room in (0, 8_192, 400_000):
            if room:
                disk.make_room(room)
            with pytest.raises(StorageFullError, match=r"[Ff]ree some space|Make room"):
                persistence.backup(place)
            assert list(place.iterdir()) == []
        disk.make_room()
        assert persistence.verify(persistence.backup(place).path).ok


def test_a_full_disk_ends_a_restore(path: Path, target: Path) -> None:
    with SQLitePersistence(path) as persistence:
        persistence.backup(target)
    with small_disk(megabytes=1) as disk:
        with pytest.raises(StorageFullError, match="Make room"):
            restore_backup(target, f"sqlite:///{disk.folder / 'restored.db'}")
        assert list(disk.folder.iterdir()) == []


def test_a_locked_source_is_told(path: Path, target: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("PRAGMA journal_mode = DELETE").fetchall()
        raw.execute("BEGIN EXCLUSIVE")
        with (
            SQLitePersistence(path, lock_timeout=0.1, initialize=False) as persistence,
            pytest.raises(BusyError, match="is locked by another process"),
        ):
            persistence.backup(target)
    assert list(target.parent.iterdir()) == []


def test_a_writer_of_another_process_does_not_hold_a_backup_up(path: Path, target: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("BEGIN IMMEDIATE")
        with SQLitePersistence(path, lock_timeout=0.1) as persistence:
            assert persistence.backup(target).sha256
        raw.execute("ROLLBACK")


@pytest.mark.parametrize("name", ["agents.db", "agents.db-wal", "link.db"])
def test_the_database_itself_is_no_destination(path: Path, name: str) -> None:
    path.with_name("link.db").symlink_to(path)
    with SQLitePersistence(path) as persistence:
        before = persistence.count_events()
        with pytest.raises(InvalidValueError, match="choose another name"):
            persistence.backup(path.with_name(name))
        assert persistence.count_events() == before


def test_a_place_that_cannot_be_written_is_told(path: Path) -> None:
    with SQLitePersistence(path) as persistence:
        with pytest.raises(InvalidValueError, match="cannot be written"):
            persistence.backup("/proc/nothing/agents.db")
        with pytest.raises((InvalidValueError, AccessDeniedError)):
            persistence.backup("/proc/nothing/")
        with pytest.raises(InvalidValueError, match="cannot be written"):
            persistence.backup(path / "below-a-file.db")


def test_a_log_that_another_database_left_is_not_replayed(path: Path, target: Path) -> None:
    with SQLitePersistence(path) as persistence:
        persistence.backup(target)
    restored = path.with_name("restored.db")
    log = path.with_name("restored.db-wal")
    log.write_bytes(b"old")
    with pytest.raises(InvalidValueError, match=r"restored\.db-wal belongs to a database"):
        restore_backup(target, f"sqlite:///{restored}")
    assert not restored.exists()
    log.unlink()
    assert restore_backup(target, f"sqlite:///{restored}").sha256


def test_a_damaged_database_is_not_backed_up(path: Path, target: Path) -> None:
    """A copy would replace good ones in the end."""
    content = bytearray(path.read_bytes())
    content[4096 * 20 : 4096 * 20 + 64] = b"\xff" * 64
    path.write_bytes(content)
    with SQLitePersistence(path) as persistence, pytest.raises(PersistenceError, match="damaged"):
        persistence.backup(target)
    assert not target.exists()


def test_a_missing_or_wrong_pg_dump_is_told(
    open_postgres: Callable[..., PostgresPersistence],
    target: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with open_postgres() as persistence:
        with pytest.raises(ConfigurationError, match=r"pg_dump on PATH.*postgresql-client"):
            persistence.backup(target)
        for version in ("9.6.1", "99.1"):
            (tmp_path / "pg_dump").write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}'\n")
            (tmp_path / "pg_dump").chmod(0o755)
            with pytest.raises(ConfigurationError, match=r"put pg_dump 1. first on PATH"):
                persistence.backup(target)
    assert not target.exists()


# --- silent damage --------------------------------------------------------------------------------


def test_flipped_bits_that_nothing_else_finds_are_named_by_a_backup(
    path: Path, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a bad disk does it: in the file, below SQLite."""
    with SQLitePersistence(path) as persistence:
        persistence.backup(target)
    content = path.read_bytes()
    chance = random.Random(5)
    for number in chance.sample(range(2_000), 10):
        damaged = bytearray(content)
        at = content.index(f"{number} xxx".encode()) + len(str(number)) + chance.randrange(1, 400)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        with SQLitePersistence(path) as persistence:
            assert persistence.verify().ok, "the structure is in order"
            report = persistence.verify(target)
        assert [(row.run_id, row.table, row.columns) for row in report.damaged] == [
            (f"run-{number % 20}", "agent_run_events", ("data",))
        ]
    assert main(["verify", "--db-path", str(path)]) == 0
    assert main(["verify", "--against", str(target), "--db-path", str(path)]) == DAMAGED
    assert "Damaged: agent_run_events, row " in capsys.readouterr().err


def test_damage_that_cannot_even_be_read_is_reported_beside_the_comparison(
    path: Path, target: Path
) -> None:
    with SQLitePersistence(path) as persistence:
        persistence.backup(target)
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE agent_run_events SET data = CAST(x'61ff62' AS TEXT) WHERE id = 7")
    with SQLitePersistence(path) as persistence:
        report = persistence.verify(target)
    found = {check.name: check for check in report.checks}
    assert not report.ok
    assert "agent_run_events" in found["texts"].message
    assert found["rows"].level == "error"
    assert main(["verify", "--against", str(target), "--db-path", str(path)]) == DAMAGED
