"""A full disk: one typed error, nothing stored in part, and writes succeed after space is freed."""

from __future__ import annotations

import resource
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from curio_persistence import (
    AgentRun,
    AgentRunEvent,
    HealthCheck,
    PersistenceError,
    SQLitePersistence,
    StorageFullError,
    UnavailableError,
)
from curio_persistence.backends.sqlite.store import SQLiteStore
from curio_persistence.cli import main
from tests.support.disks import SmallDisk, small_disk

BIG = "x" * 20_000_000  # More than the writer holds in memory until the end.


class Disk(Protocol):
    """The disk of a database, which can be filled and freed."""

    def fill(self) -> None: ...

    def make_room(self) -> None: ...


class Quota:
    """A database that may not grow; SQLite reports it like a full disk."""

    def __init__(self, persistence: SQLitePersistence) -> None:
        self._persistence = persistence

    def fill(self) -> None:
        pages = self._pragma("page_count")
        self._pragma(f"max_page_count = {pages}")

    def make_room(self) -> None:
        self._pragma("max_page_count = 1000000")

    def _pragma(self, text: str) -> int:
        assert isinstance(self._persistence._store, SQLiteStore)
        with self._persistence.transaction():
            return int(self._persistence._store._read(f"PRAGMA {text}", ())[0][0])


@pytest.fixture
def real_disk() -> Iterator[SmallDisk]:
    with small_disk(megabytes=4) as disk:
        yield disk


@pytest.fixture(params=["disk", "quota"])
def limited_by(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def persistence(
    request: pytest.FixtureRequest, limited_by: str, tmp_path: Path
) -> Iterator[SQLitePersistence]:
    real = limited_by == "disk"
    folder = request.getfixturevalue("real_disk").folder if real else tmp_path
    with SQLitePersistence(folder / "agents.db") as persistence:
        yield persistence


@pytest.fixture
def disk(request: pytest.FixtureRequest, limited_by: str, persistence: SQLitePersistence) -> Disk:
    real = limited_by == "disk"
    return request.getfixturevalue("real_disk") if real else Quota(persistence)


def stored(persistence: SQLitePersistence) -> set[str]:
    """Return the runs as a reader of another thread or process sees them."""
    return {run.run_id for run in persistence.get_agent_runs(limit=None)}


def write_until_full(persistence: SQLitePersistence) -> int:
    """Write until it fails; return the number of writes that succeeded."""
    for number in range(100_000):
        try:
            persistence.log_agent_run_event(AgentRunEvent("agent", "run", data="x" * 500))
        except StorageFullError:
            return number
    raise AssertionError("the disk was never full")


def test_writes_before_the_disk_was_full_are_stored(
    disk: Disk, persistence: SQLitePersistence
) -> None:
    persistence.create_agent_run(AgentRun("agent", "run"))
    disk.fill()
    written = write_until_full(persistence)
    assert len(persistence.get_agent_run_events("run")) == written
    assert persistence.health_check()
    disk.make_room()
    persistence.log_agent_run_event(AgentRunEvent("agent", "run"))
    assert len(persistence.get_agent_run_events("run")) == written + 1
    assert {check.name: check.level for check in persistence.diagnose()}["integrity"] == "ok"


def test_a_write_that_does_not_fit_stores_nothing(
    disk: Disk, persistence: SQLitePersistence
) -> None:
    persistence.create_agent_run(AgentRun("agent", "before"))
    disk.fill()
    with pytest.raises(StorageFullError, match="Nothing of this call was stored; free some space"):
        persistence.create_agent_run(AgentRun("agent", "big", objective=BIG))
    assert stored(persistence) == {"before"}
    disk.make_room()
    persistence.create_agent_run(AgentRun("agent", "after"))
    assert stored(persistence) == {"before", "after"}


@pytest.mark.parametrize("afterwards", ["a write", "a nested transaction", "a read", "nothing"])
def test_a_transaction_during_a_full_disk_is_complete_or_raises(
    disk: Disk, persistence: SQLitePersistence, afterwards: str
) -> None:
    """SQLite may end a transaction by itself: later writes of the block must not be committed."""
    persistence.create_agent_run(AgentRun("agent", "before"))
    disk.fill()
    complete = {"before", "first"}

    def go_on() -> None:
        if afterwards == "a write":
            persistence.create_agent_run(AgentRun("agent", "second"))
            complete.add("second")
        elif afterwards == "a nested transaction":
            persistence.delete_agent_run("before")
            complete.remove("before")
        elif afterwards == "a read":
            persistence.get_agent_run("first")

    def work() -> None:
        with persistence.transaction():
            persistence.create_agent_run(AgentRun("agent", "first"))
            with pytest.raises(StorageFullError):
                persistence.create_agent_run(AgentRun("agent", "big", objective=BIG))
            try:
                go_on()
            except PersistenceError:
                disk.make_room()

    try:
        work()
    except (StorageFullError, UnavailableError):
        complete = {"before"}
    assert stored(persistence) == complete


def test_a_failed_transaction_leaves_the_lock_free(
    disk: Disk, persistence: SQLitePersistence
) -> None:
    disk.fill()
    with pytest.raises(StorageFullError), persistence.transaction():
        persistence.create_agent_run(AgentRun("agent", "big", objective=BIG))
    disk.make_room()
    with persistence.transaction():
        persistence.create_agent_run(AgentRun("agent", "small"))
    assert stored(persistence) == {"small"}


def open_if_there_is_room(path: Path) -> SQLitePersistence | None:
    try:
        return SQLitePersistence(path)
    except StorageFullError:
        return None


def test_a_database_created_on_a_full_disk_is_completed_later(real_disk: SmallDisk) -> None:
    """The disk may be full at any step of the creation: each attempt has a little more space."""
    path, attempts = real_disk.folder / "agents.db", 0
    real_disk.fill()
    while not (persistence := open_if_there_is_room(path)):
        attempts += 1
        real_disk.make_room(8192)
    assert attempts > 5
    real_disk.make_room()
    with persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_full_disk_can_be_read(real_disk: SmallDisk) -> None:
    """It can be read although there is no space for SQLite's shared-memory file."""
    path = real_disk.folder / "agents.db"
    with SQLitePersistence(path) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
    real_disk.fill()
    with SQLitePersistence(path, read_only=True) as persistence:
        assert stored(persistence) == {"run"}


def test_the_health_check_reports_a_full_disk(real_disk: SmallDisk) -> None:
    """A reader has no space for the shared-memory file, and still reports the log."""
    path = real_disk.folder / "agents.db"
    SQLitePersistence(path).close()
    real_disk.fill()
    found = check_up(path)
    assert found["disk"].level == "error"
    assert found["disk"].message.startswith("0.0 MB free on its disk: writes fail")
    assert found["journal"] == HealthCheck("journal", "ok", "write-ahead log, 0.0 MB")


def test_the_health_check_reports_too_little_space_to_compact() -> None:
    with small_disk(megabytes=80) as disk:
        path = disk.folder / "agents.db"
        with SQLitePersistence(path) as persistence:
            persistence.create_agent_run(AgentRun("agent", "small"))
        assert check_up(path)["disk"].level == "ok"
        with SQLitePersistence(path) as persistence:
            persistence.create_agent_run(AgentRun("agent", "big", objective=BIG + BIG))
        found = check_up(path)["disk"]
        assert found.level == "warning"
        assert "compact may need" in found.message
        start, command = found.advice.split(": ")
        assert start == "Free some there, or make room inside the file"
        program, *arguments = shlex.split(command)
        assert (program, main(arguments)) == ("curio-persistence", 0)


def check_up(path: Path) -> dict[str, HealthCheck]:
    with SQLitePersistence(path, read_only=True) as persistence:
        return {check.name: check for check in persistence.diagnose()}


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_deletion_continues_if_the_log_cannot_be_checkpointed(tmp_path: Path) -> None:
    path = tmp_path / "agents.db"

    def store(persistence: SQLitePersistence, run_id: str, events: int) -> None:
        big = AgentRunEvent("agent", run_id, data="x" * 4_000)
        persistence.log_agent_run_events([big] * events)

    with SQLitePersistence(path) as persistence:
        store(persistence, "old", 3_000)
    with SQLitePersistence(path) as persistence:
        store(persistence, "new", 600)
        with files_of_at_most(path.stat().st_size):  # The log is shorter, and can grow.
            assert persistence.delete_agent_run("new")
        assert persistence.get_agent_run_events("new") == []
