"""One SQLite persistence, many threads: one writer at a time, readers that never wait."""

from __future__ import annotations

import gc
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from curio_persistence import (
    AgentRun,
    AgentRunEvent,
    BusyError,
    ClosedError,
    ConfigurationError,
    SQLitePersistence,
)
from curio_persistence.backends.sqlite.readers import Reader
from curio_persistence.backends.sqlite.store import SQLiteStore
from tests.support.children import Child, open_files

EVENTS = 100


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agents.db"


@pytest.fixture
def persistence(path: Path) -> Iterator[SQLitePersistence]:
    with SQLitePersistence(path, lock_timeout=20) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
        yield persistence


def event(data: object = None) -> AgentRunEvent:
    return AgentRunEvent("agent", "run", event_type="custom", data=data)


def test_writers_and_readers_share_an_instance(persistence: SQLitePersistence) -> None:
    """Nothing is lost or duplicated, events keep each writer's order, readers never go back."""
    writing = threading.Event()
    writing.set()

    def write(writer: int) -> None:
        for number in range(EVENTS):
            persistence.log_agent_run_event(event([writer, number]))

    def read() -> list[int]:
        counts = []
        while writing.is_set():
            counts.append(len(persistence.get_agent_run_events("run")))
        return counts

    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        for writer in [pool.submit(write, number) for number in range(4)]:
            writer.result()
        writing.clear()
        for reader in readers:
            assert reader.result() == sorted(reader.result())
    found = [each.data for each in persistence.get_agent_run_events("run")]
    for writer in range(4):
        of_writer = [data for data in found if data.startswith(f"[{writer},")]
        assert of_writer == [f"[{writer}, {number}]" for number in range(EVENTS)]


def test_threads_write_in_order_of_arrival(persistence: SQLitePersistence) -> None:
    with ThreadPoolExecutor(10) as pool, persistence.transaction():
        for number in range(10):
            pool.submit(persistence.log_agent_run_event, event(number))
            wait_for_queue(persistence, number + 1)
    assert [each.data for each in persistence.get_agent_run_events("run")] == [
        str(number) for number in range(10)
    ]


def wait_for_queue(persistence: SQLitePersistence, length: int) -> None:
    deadline = time.monotonic() + 10
    while store_of(persistence)._lock.waiting() < length:
        assert time.monotonic() < deadline, "no thread came to wait"
        time.sleep(0.001)


def store_of(persistence: SQLitePersistence) -> SQLiteStore:
    assert isinstance(persistence._store, SQLiteStore)
    return persistence._store


def test_a_reader_does_not_wait_for_a_transaction(persistence: SQLitePersistence) -> None:
    with persistence.transaction(), ThreadPoolExecutor(1) as pool:
        persistence.log_agent_run_event(event())
        assert len(persistence.get_agent_run_events("run")) == 1
        assert pool.submit(persistence.get_agent_run_events, "run").result(timeout=5) == []


def test_a_connection_is_closed_with_the_thread_that_read(
    persistence: SQLitePersistence, path: Path
) -> None:
    """The next opened connection closes it. SQLite reuses descriptors, so there are at most as many
    as concurrent connections: those of two rounds."""
    persistence.get_agent_run("run")
    before, at_a_time = len(open_files(str(path))), 3
    meet = threading.Barrier(at_a_time)
    for _ in range(10):
        threads = [
            threading.Thread(target=lambda: (persistence.get_agent_run("run"), meet.wait(10)))
            for _ in range(at_a_time)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    del threads, thread
    gc.collect()
    assert len(store_of(persistence)._readers) == 1
    assert len(open_files(str(path))) <= before + 2 * at_a_time


def test_each_reading_thread_has_its_own_connection(
    persistence: SQLitePersistence, path: Path
) -> None:
    persistence.get_agent_run("run")
    before, meet = open_files(str(path)).count(str(path)), threading.Barrier(5)

    def read() -> int:
        persistence.get_agent_run("run")
        meet.wait(10)
        count = open_files(str(path)).count(str(path))
        meet.wait(10)
        return count

    with ThreadPoolExecutor(5) as pool:
        counts = [reading.result() for reading in [pool.submit(read) for _ in range(5)]]
    assert counts == [before + 5] * 5


def test_after_close_nothing_is_open_and_the_log_is_checkpointed(path: Path) -> None:
    """Holds even if reading threads are still alive: only the database file remains."""
    persistence = SQLitePersistence(path)
    persistence.create_agent_run(AgentRun("agent", "run"))
    meet = threading.Barrier(4)

    def read_and_stay() -> None:
        persistence.get_agent_run("run")
        meet.wait(10)
        meet.wait(10)
        with pytest.raises(ClosedError):
            persistence.get_agent_run("run")

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read_and_stay) for _ in range(3)]
        meet.wait(10)
        persistence.close()
        assert open_files(str(path)) == []
        assert [file.name for file in path.parent.iterdir()] == [path.name]
        meet.wait(10)
        for reader in readers:
            reader.result()
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT run_id FROM agent_runs").fetchall() == [("run",)]


def read_and_write_for_ever(persistence: SQLitePersistence) -> None:
    while True:
        persistence.log_agent_run_event(event())
        persistence.get_agent_run("run")


def test_closing_while_others_read_and_write_raises_only_closed_errors(path: Path) -> None:
    persistence = SQLitePersistence(path)
    persistence.create_agent_run(AgentRun("agent", "run"))
    busy = threading.Barrier(5)

    def work() -> None:
        busy.wait(10)
        with pytest.raises(ClosedError):
            read_and_write_for_ever(persistence)

    with ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(work) for _ in range(4)]
        busy.wait(10)
        persistence.close()
        for worker in workers:
            worker.result(timeout=10)
    assert open_files(str(path)) == []


@contextmanager
def impatient(path: Path) -> Iterator[SQLitePersistence]:
    with SQLitePersistence(path, lock_timeout=0.1) as persistence:
        yield persistence


def in_a_transaction(persistence: SQLitePersistence) -> None:
    with persistence.transaction():
        persistence.delete_agent_run("run")


@pytest.mark.parametrize(
    "write", [lambda p: p.delete_agent_run("run"), in_a_transaction], ids=["alone", "transaction"]
)
def test_the_waits_for_a_thread_and_for_a_process_share_one_timeout(
    path: Path, write: Callable[[SQLitePersistence], object]
) -> None:
    def seconds() -> float:
        begin = time.monotonic()
        with pytest.raises(BusyError):
            write(persistence)
        return time.monotonic() - begin

    with (
        SQLitePersistence(path, lock_timeout=1.5) as persistence,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
        ThreadPoolExecutor(3) as pool,
    ):
        persistence.create_agent_run(AgentRun("agent", "run"))
        other.execute("BEGIN IMMEDIATE")
        waited = [future.result() for future in [pool.submit(seconds) for _ in range(3)]]
        other.execute("ROLLBACK")
    assert max(waited) < 2.5, "counted twice, the last one waits for 4.5 s"


def test_a_timeout_names_the_thread_that_holds_the_lock(path: Path) -> None:
    held, done = threading.Event(), threading.Event()
    with impatient(path) as persistence:

        def hold() -> None:
            with persistence.transaction():
                held.set()
                done.wait(10)

        thread = threading.Thread(target=hold, name="the-nightly-import")
        thread.start()
        held.wait(10)
        try:
            with pytest.raises(BusyError, match="the-nightly-import"):
                persistence.create_agent_run(AgentRun("agent", "run"))
        finally:
            done.set()
            thread.join()
        persistence.create_agent_run(AgentRun("agent", "run"))


HOLDER = """
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
input()
"""


def test_a_timeout_says_that_another_process_holds_the_lock(path: Path) -> None:
    with impatient(path) as persistence:
        with Child(HOLDER, path) as child:
            child.read()
            with pytest.raises(BusyError, match="another process"):
                persistence.create_agent_run(AgentRun("agent", "run"))
            with pytest.raises(BusyError, match="another process"), persistence.transaction():
                pytest.fail("the transaction began")
            assert persistence.get_agent_run("run") is None, "a reader waited"
        persistence.create_agent_run(AgentRun("agent", "run"))


def test_a_writer_waits_for_another_process(persistence: SQLitePersistence, path: Path) -> None:
    with Child(HOLDER, path) as child, ThreadPoolExecutor(1) as pool:
        child.read()
        writing = pool.submit(persistence.log_agent_run_event, event())
        wait_until_inside(persistence)
        child.write()
        writing.result(timeout=10)
    assert len(persistence.get_agent_run_events("run")) == 1


def wait_until_inside(persistence: SQLitePersistence) -> None:
    deadline = time.monotonic() + 10
    while not store_of(persistence)._lock.held():
        assert time.monotonic() < deadline, "no thread came to write"
        time.sleep(0.001)


INTERRUPTED = """
import signal, time

def interrupt():
    main = threading.main_thread().ident
    while sys._current_frames()[main].f_code.co_name != "_enter":
        time.sleep(0.001)
    time.sleep(0.1)  # By then it waits inside of SQLite.
    os.kill(os.getpid(), signal.SIGINT)
    print("interrupted", flush=True)

persistence = SQLitePersistence(sys.argv[1])
threading.Thread(target=interrupt).start()
try:
    with persistence.transaction():
        print("the transaction began", flush=True)
except KeyboardInterrupt:
    persistence.create_agent_run(AgentRun("agent", "after"))
    print("written", flush=True)
    input()
"""


def test_records_written_after_an_interrupted_wait_are_committed(path: Path) -> None:
    """Ctrl-C while a transaction waits to begin is raised when it has begun; it must not stay open.

    At that moment an agent records its cancellation.
    """
    with (
        SQLitePersistence(path) as persistence,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with Child(INTERRUPTED, path) as child:
            assert child.read() == "interrupted"
            other.execute("COMMIT")
            assert child.read() == "written"
            assert persistence.get_agent_run("after") is not None


@pytest.mark.parametrize("timeout", [-1, float("nan"), "30", None, True])
def test_a_timeout_is_a_number_of_seconds(path: Path, timeout: object) -> None:
    with pytest.raises(ConfigurationError, match="lock_timeout is a number of seconds"):
        SQLitePersistence(path, lock_timeout=timeout)  # type: ignore[arg-type]
    assert not path.exists()


def test_a_timeout_may_be_infinite(path: Path) -> None:
    with SQLitePersistence(path, lock_timeout=float("inf")) as persistence:
        with ThreadPoolExecutor(1) as pool, persistence.transaction():
            waiting = pool.submit(persistence.create_agent_run, AgentRun("agent", "run"))
            wait_for_queue(persistence, 1)
        waiting.result(timeout=10)


def test_neither_a_close_nor_a_fork_waits_for_a_garbage_collection(
    persistence: SQLitePersistence,
) -> None:
    """A reader in a cycle ends during a read of another thread, for which `close` waits."""
    store = store_of(persistence)
    collecting, closing_begins = threading.Event(), threading.Event()

    class Worker:
        def __init__(self) -> None:
            self.cycle = self
            self.reader = store._readers.add()
            self.reader.connection = store._connect("mode=rw")

        def __del__(self) -> None:
            collecting.set()
            closing_begins.wait(10)
            time.sleep(0.1)

    def collect_while_reading() -> None:
        persistence.get_agent_run("run")
        reader = store._mine.reader
        assert reader is not None
        with reader.lock:
            Worker()
            gc.collect()

    with ThreadPoolExecutor(2) as pool:
        reading = pool.submit(collect_while_reading)
        assert collecting.wait(10)
        closing_begins.set()
        pool.submit(persistence.close).result(timeout=20)
        reading.result(timeout=20)


def test_a_reader_interrupted_during_its_construction_ends_silently() -> None:
    Reader.__new__(Reader).__del__()


def test_an_abandoned_stream_holds_no_connection(
    persistence: SQLitePersistence, path: Path
) -> None:
    persistence.log_agent_run_events([event(number) for number in range(2000)])
    persistence.get_agent_run("run")
    before = open_files(str(path)).count(str(path))
    for _ in range(5):
        stream = iter(persistence.iter_agent_run_events())
        next(stream)
        del stream
    assert sum(1 for _ in persistence.iter_agent_run_events()) == 2000
    # SQLite keeps a descriptor while another connection of this process has a lock.
    assert open_files(str(path)).count(str(path)) <= before + 1
    assert not store_of(persistence)._readers.retired
