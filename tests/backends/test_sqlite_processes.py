"""One SQLite file, many processes, including forks of one that has it open."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import (
    AgentRun,
    AgentRunEvent,
    ClosedError,
    InMemoryPersistence,
    NotFoundError,
    Persistence,
    SQLitePersistence,
    UnsupportedError,
    connect,
)
from curio_persistence.backends.sql.migrations import migrations
from tests.support import soak
from tests.support.children import Fork, open_files

PROCESSES = 8


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agents.db"


@pytest.fixture
def persistence(path: Path) -> Iterator[SQLitePersistence]:
    with SQLitePersistence(path) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
        yield persistence


def log(persistence: Persistence, data: object) -> None:
    persistence.log_agent_run_event(AgentRunEvent("agent", "run", event_type="custom", data=data))


def logged(persistence: Persistence) -> list[str]:
    return [event.data for event in persistence.get_agent_run_events("run")]


def assert_undamaged(path: Path) -> None:
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.slow
def test_processes_that_read_and_then_write_never_fail_nor_lose_an_update(path: Path) -> None:
    rounds = soak.times(25)

    def count_iterations() -> None:
        with SQLitePersistence(path) as persistence:
            for _ in rounds:
                with persistence.transaction():
                    run = persistence.get_agent_run("run")
                    assert run is not None
                    run.total_iterations += 1
                    persistence.update_agent_run("run", run)

    with SQLitePersistence(path) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
    for fork in [Fork(count_iterations) for _ in range(PROCESSES)]:
        fork.result()
    with SQLitePersistence(path) as persistence:
        run = persistence.get_agent_run("run")
    assert run is not None
    assert run.total_iterations == PROCESSES * len(rounds)
    assert_undamaged(path)


def test_processes_that_create_one_file_at_once_all_succeed(tmp_path: Path) -> None:
    for attempt in soak.times(3):
        path = tmp_path / f"{attempt}.db"
        start = multiprocessing.get_context("fork").Barrier(PROCESSES)

        def create(path: Path = path, wait: Callable[..., int] = start.wait) -> None:
            wait(20)
            with SQLitePersistence(path) as persistence:
                log(persistence, "here")

        for fork in [Fork(create) for _ in range(PROCESSES)]:
            fork.result()
        with SQLitePersistence(path) as persistence:
            assert logged(persistence) == ["here"] * PROCESSES
        with closing(sqlite3.connect(path)) as raw:
            assert (
                raw.execute("SELECT max(version), count(*) FROM schema_migrations").fetchone()
                == (len(migrations("sqlite")),) * 2
            )
            assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert raw.execute("PRAGMA auto_vacuum").fetchone() == (2,)


def test_a_fork_writes_through_its_own_connections(
    persistence: SQLitePersistence, path: Path
) -> None:
    """It neither uses inherited connections nor leaves them open."""

    def write() -> list[str]:
        inherited = open_files(str(path))
        for number in range(10):
            log(persistence, f"child {number}")
        assert len(logged(persistence)) >= 10
        persistence.close()
        return inherited

    log(persistence, "parent")
    assert logged(persistence) == ["parent"]
    fork = Fork(write)
    for number in range(10):
        log(persistence, f"parent {number}")
    assert fork.result() == []
    assert Counter(data.split()[0] for data in logged(persistence)) == {"parent": 11, "child": 10}


def test_nothing_is_lost_when_the_parent_closes_while_a_fork_writes(
    persistence: SQLitePersistence, path: Path
) -> None:
    """SQLite's locks belong to the process: a close at the wrong time would drop them."""
    begun = multiprocessing.get_context("fork").Event()

    def write() -> None:
        for number in range(300):
            log(persistence, number)
            begun.set()

    fork = Fork(write)
    assert begun.wait(20)
    persistence.close()
    fork.result()
    with SQLitePersistence(path) as again:
        assert logged(again) == [str(number) for number in range(300)]
    assert_undamaged(path)


def test_a_fork_inside_a_transaction_leaves_the_transaction_to_the_parent(
    persistence: SQLitePersistence, path: Path
) -> None:
    def use() -> None:
        with pytest.raises(ClosedError, match="forked inside a transaction"):
            log(persistence, "child")
        with pytest.raises(ClosedError, match="forked inside a transaction"):
            logged(persistence)
        persistence.close()
        with SQLitePersistence(path) as anew:
            assert logged(anew) == []

    with persistence.transaction():
        log(persistence, "parent")
        Fork(use).result()
        log(persistence, "parent again")
    assert logged(persistence) == ["parent", "parent again"]
    assert_undamaged(path)


def test_a_fork_that_leaves_an_inherited_transaction_does_no_harm(
    persistence: SQLitePersistence,
) -> None:
    transaction = persistence.transaction()

    def leave_it() -> None:
        with pytest.raises(ClosedError, match="forked inside a transaction"):
            transaction.__exit__(None, None, None)

    transaction.__enter__()
    log(persistence, "parent")
    Fork(leave_it).result()
    log(persistence, "parent again")
    transaction.__exit__(None, None, None)
    assert logged(persistence) == ["parent", "parent again"]


def test_in_a_fork_a_memory_database_is_closed() -> None:
    def use() -> None:
        with pytest.raises(ClosedError, match="fork"):
            persistence.get_agent_run("run")
        with pytest.raises(ClosedError, match="fork"):
            log(persistence, "child")
        persistence.close()

    with SQLitePersistence(":memory:") as persistence:
        log(persistence, "parent")
        Fork(use).result()
        assert logged(persistence) == ["parent"]


def test_in_a_fork_an_in_memory_persistence_is_a_copy() -> None:
    persistence = InMemoryPersistence()
    log(persistence, "parent")

    def use() -> list[str]:
        log(persistence, "child")
        return logged(persistence)

    assert Fork(use).result() == ["parent", "child"]
    assert logged(persistence) == ["parent"]


def test_a_stream_of_the_parent_continues_after_a_fork(persistence: SQLitePersistence) -> None:
    persistence.log_agent_run_events(
        AgentRunEvent("agent", "run", data=str(number)) for number in range(2_000)
    )
    stream = iter(persistence.iter_agent_run_events(run_id="run", order="oldest"))
    read = [next(stream).data for _ in range(1_000)]
    Fork(lambda: log(persistence, "child")).result()
    read += [event.data for event in stream]
    assert read == [str(number) for number in range(2_000)]


def test_a_deleted_file_is_reported_and_not_written_to_for_ever(
    persistence: SQLitePersistence, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log(persistence, "before")
    for file in path.parent.iterdir():
        file.unlink()

    def write_on() -> None:
        for number in range(200):
            log(persistence, number)

    with pytest.raises(NotFoundError):
        write_on()
    assert "deleted or replaced" in caplog.text


def test_each_reading_thread_uses_two_megabytes_at_most(persistence: SQLitePersistence) -> None:
    store: Any = persistence._store
    assert store._read("PRAGMA cache_size", ()) == [(-2_000,)]


def test_a_fork_of_a_fork_works(persistence: SQLitePersistence) -> None:
    def be_a_parent() -> None:
        log(persistence, "child")
        Fork(lambda: log(persistence, "grandchild")).result()
        log(persistence, "child")

    Fork(be_a_parent).result()
    assert logged(persistence) == ["child", "grandchild", "child"]


@pytest.mark.slow
def test_forks_work_while_other_threads_read_and_write(
    persistence: SQLitePersistence, path: Path
) -> None:
    """No thread is inside SQLite at a fork: a mutex it held would stay locked in the child."""
    going_on = threading.Event()
    going_on.set()

    def write() -> int:
        count = 0
        while going_on.is_set():
            log(persistence, "thread")
            count += 1
        return count

    def read() -> None:
        while going_on.is_set():
            persistence.get_agent_run("run")

    def be_child() -> list[str]:
        inherited = open_files(str(path))
        for _ in range(5):
            log(persistence, "child")
        persistence.get_agent_run("run")
        return inherited

    forks = soak.times(20)
    with ThreadPoolExecutor(6) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        writers = [pool.submit(write) for _ in range(2)]
        try:
            inherited = [Fork(be_child).result() for _ in forks]
        finally:
            going_on.clear()
        for reader in readers:
            reader.result()
        written = sum(writer.result() for writer in writers)
    assert inherited == [[] for _ in forks]
    assert Counter(logged(persistence)) == {"thread": written, "child": 5 * len(forks)}
    assert_undamaged(path)


def log_through(url: str, data: str) -> None:
    with connect(url) as persistence:
        log(persistence, data)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_works_by_url(
    persistence: SQLitePersistence, path: Path, method: str
) -> None:
    context = multiprocessing.get_context(method)
    workers = [
        context.Process(target=log_through, args=(f"sqlite:///{path}", f"worker {number}"))
        for number in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    assert sorted(logged(persistence)) == ["worker 0", "worker 1"]


def test_pickling_a_persistence_raises_a_clear_error(
    persistence: SQLitePersistence,
) -> None:
    process = multiprocessing.get_context("spawn").Process(target=log, args=(persistence, "x"))
    with pytest.raises(UnsupportedError, match="connect"):
        process.start()
