"""Queued records survive the end of processes, forks and outages as documented."""

from __future__ import annotations

import logging
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from psycopg2.extensions import make_dsn

from curio_persistence import (
    AccessDeniedError,
    AgentRun,
    AgentRunEvent,
    BufferedPersistence,
    ClosedError,
    ConfigurationError,
    Persistence,
    PersistenceError,
    PostgresPersistence,
    SchemaMismatchError,
    SQLitePersistence,
    StorageFullError,
    UnavailableError,
)
from curio_persistence.backends.memory.store import MemoryStore
from curio_persistence.store.table import Row, Table
from tests.backends.conftest import wait_until
from tests.support import soak
from tests.support.blackhole import BlackHole
from tests.support.children import Child, Fork
from tests.support.disks import SmallDisk, small_disk
from tests.support.postgres import PostgresServer
from tests.support.threads import transaction_elsewhere

NEVER = 3600.0


def log(persistence: Persistence, data: object) -> None:
    persistence.log_agent_run_event(AgentRunEvent("agent", "run", event_type="custom", data=data))


def log_numbers(persistence: Persistence, *numbers: int) -> None:
    for number in numbers:
        log(persistence, number)


def logged(persistence: Persistence) -> list[str]:
    return [event.data for event in persistence.get_agent_run_events("run")]


def stored(path: Path) -> list[str]:
    """Return the records in a database that another process wrote to."""
    with SQLitePersistence(path) as persistence:
        return logged(persistence)


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agents.db"


# The first lines of the processes below. Nothing is stored without a flush.
PRELUDE = '''
import select, signal, time

path = sys.argv[1]

def opened(**options):
    return SQLitePersistence(path).buffered(**{"max_seconds": 3600, **options})

def log(buffered, *numbers):
    for number in numbers:
        event = AgentRunEvent("agent", "run", event_type="custom", data=number)
        buffered.log_agent_run_event(event)

def asked(seconds):
    """Not `input()`: a signal that comes just before a system call does not end that call."""
    return select.select([sys.stdin], [], [], seconds)[0]
'''


# --- the process is killed ------------------------------------------------------------------------

APPEND = """
buffered, number = opened(max_items=2_000, max_seconds=0.001), int(sys.argv[2])
while True:
    for number in range(number, number + 200):
        log(buffered, number)
        event = AgentRunEvent("agent", "run", event_type="batch", data=number)
        buffered.log_agent_run_events([event] * 7)
    buffered.flush()
    number += 1
    print(number, flush=True)
"""


@pytest.mark.slow
def test_after_a_kill_all_flushed_records_are_stored_without_a_gap(path: Path) -> None:
    """No record is stored without all earlier ones, and no batch in part."""
    begin = 0
    for start in soak.times(4):
        with Child(PRELUDE + APPEND, path, str(begin)) as child:
            for _ in range(1 + start % 3):
                told = int(child.read())
            time.sleep(random.random() / 20)  # Any moment is suitable.
            said = child.kill().split("\n")[:-1]
        told = int(said[-1]) if said else told
        found = [int(data) for data in stored(path)]
        singles, rest = divmod(len(found), 8)
        assert singles >= told
        assert rest in (0, 1)
        assert found == [number for number in range(singles + 1) for _ in range(8)][: len(found)]
        if rest:  # Continue where it was killed.
            with SQLitePersistence(path) as persistence:
                event = AgentRunEvent("agent", "run", event_type="batch", data=singles)
                persistence.log_agent_run_events([event] * 7)
        begin = singles + rest


# --- the process ends -----------------------------------------------------------------------------

ENDS: dict[str, tuple[str, int]] = {
    "at the end of the program": ("log(opened_one, 0)", 0),
    "sys.exit": ("log(opened_one, 0); sys.exit(3)", 3),
    "an exception": ("log(opened_one, 0); raise ValueError", 1),
    "a forgotten persistence": ("def use():\n    log(opened(), 0)\nuse()", 0),
    "a thread that goes on": (
        "main = threading.current_thread()\n"
        "def go_on():\n"
        "    main.join()\n"
        "    log(opened_one, 0)\n"
        "threading.Thread(target=go_on).start()",
        0,
    ),
    "an exit handler that comes first": (
        "import atexit\nopened_one.get_agent_runs()\natexit.register(log, opened_one, 0)",
        0,
    ),
    "an exit handler that comes last": (
        "import atexit\natexit.register(log, opened_one, 1)\nlog(opened_one, 0)",
        0,
    ),
    "a worker of multiprocessing": (
        "from multiprocessing import get_context\n"
        "worker = get_context('fork').Process(target=log, args=(opened_one, 0))\n"
        "worker.start(), worker.join(), sys.exit(worker.exitcode)",
        0,
    ),
    "a closed persistence": ("with opened_one:\n    log(opened_one, 0)", 0),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_normal_exit_stores_the_queue(path: Path, end: str) -> None:
    program, code = ENDS[end]
    with Child(f"{PRELUDE}\nopened_one = opened()\n{program}", path) as child:
        assert child.exit_code() == code
    assert stored(path) == (["0", "1"] if "comes last" in end else ["0"])


LOCKED = """
import logging
from curio_persistence.buffering import sigterm
from curio_persistence.buffering import at_exit

logging.basicConfig(stream=sys.stdout)
at_exit._PATIENCE = sigterm._PATIENCE = 0.2
persistence = SQLitePersistence(path, lock_timeout=float(sys.argv[2]))
buffered = persistence.buffered(max_seconds=3600, install_sigterm=True)
log(buffered, 0, 1, 2)
print("ready", flush=True)
while not asked(0.05):
    pass
"""


@pytest.mark.parametrize(("lock_timeout", "reason"), [(0.1, "BusyError"), (60, "exit")])
def test_an_exit_does_not_wait_for_ever_for_a_locked_database(
    path: Path, lock_timeout: float, reason: str
) -> None:
    """It logs what was lost, and ends."""
    with (
        SQLitePersistence(path) as persistence,
        Child(PRELUDE + LOCKED, path, str(lock_timeout)) as child,
    ):
        child.read()
        with persistence.transaction():
            persistence.create_agent_run(AgentRun("agent", "lock"))
            said = child.finish()
    assert f"Records are dropped ({reason})" in said
    assert stored(path) == []


def test_sigterm_does_not_wait_for_ever_for_a_locked_database(path: Path) -> None:
    with SQLitePersistence(path) as persistence, Child(PRELUDE + LOCKED, path, "60") as child:
        child.read()
        with persistence.transaction():
            persistence.create_agent_run(AgentRun("agent", "lock"))
            child.terminate()
            assert child.exit_code() == -signal.SIGTERM
        assert "3 records still wait" in child.kill()


# --- SIGTERM --------------------------------------------------------------------------------------

TERMINATED = """
def handle(number, frame):
    handled.append(threading.current_thread() is threading.main_thread())
    if sys.argv[2] == "leaving":
        sys.exit(7)

handled = []
before = {"default": signal.SIG_DFL, "ignored": signal.SIG_IGN}.get(sys.argv[2], handle)
signal.signal(signal.SIGTERM, before)
buffered = opened(install_sigterm=True)
log(buffered, *range(5))
print("ready", flush=True)
while True:
    if asked(0.05):
        if not sys.stdin.readline():
            break
        print(handled, buffered.pending, flush=True)
"""


def terminated(path: Path, before: str) -> Child:
    child = Child(PRELUDE + TERMINATED, path, before)
    child.read()
    child.terminate()
    return child


def test_sigterm_ends_the_process_when_the_queue_is_stored(path: Path) -> None:
    with terminated(path, "default") as child:
        assert child.exit_code() == -signal.SIGTERM
    assert stored(path) == numbers(5)


def test_by_default_sigterm_ends_the_process_at_once(path: Path) -> None:
    program = "buffered = opened()\nlog(buffered, 0)\nprint('ready', flush=True)\ninput()"
    with Child(PRELUDE + program, path) as child:
        child.read()
        child.terminate()
        assert child.exit_code() == -signal.SIGTERM
    assert stored(path) == []


def test_an_ignored_sigterm_stores_the_queue_and_stays_ignored(path: Path) -> None:
    with terminated(path, "ignored") as child:
        wait_until(lambda: stored(path) == numbers(5))
        child.write("ask")
        assert child.read() == "[] 0"
        child.finish()


def test_the_previous_handler_is_called_once_in_the_main_thread(path: Path) -> None:
    with terminated(path, "handled") as child:
        for times in (1, 2):
            wait_until(lambda: stored(path) == numbers(5))
            wait_until(lambda times=times: answer(child) == f"{[True] * times} 0")
            if times == 1:  # With nothing queued it is called at once.
                child.terminate()
        child.finish()


def answer(child: Child) -> str:
    child.write("ask")
    return child.read()


def test_a_previous_handler_can_end_the_process(path: Path) -> None:
    with terminated(path, "leaving") as child:
        assert child.exit_code() == 7
    assert stored(path) == numbers(5)


def test_several_queues_are_stored_before_sigterm(path: Path, tmp_path: Path) -> None:
    program = """
buffers = [opened(install_sigterm=True) for _ in range(3)]
path = sys.argv[2]
buffers.append(opened(install_sigterm=True))
for buffered in buffers:
    log(buffered, 0)
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""
    other = tmp_path / "other.db"
    with Child(PRELUDE + program, path, other) as child:
        child.read()
        child.terminate()
        assert child.exit_code() == -signal.SIGTERM
    assert (stored(path), stored(other)) == (["0"] * 3, ["0"])


def test_sigterm_in_a_transaction_waits_for_its_end(path: Path) -> None:
    """The handler interrupts the same thread that the writer must wait for."""
    program = """
buffered = opened(install_sigterm=True)
with buffered.transaction():
    buffered.create_agent_run(AgentRun("agent", "of the transaction"))
    other = threading.Thread(target=log, args=(buffered, 0))
    other.start(), other.join()
    print("ready", flush=True)
    input()
time.sleep(60)
"""
    with Child(PRELUDE + program, path) as child:
        child.read()
        child.terminate()
        child.write()
        assert child.exit_code() == -signal.SIGTERM
    with SQLitePersistence(path) as persistence:
        assert persistence.get_agent_run("of the transaction") is not None
        assert logged(persistence) == ["0"]


@contextmanager
def busy(path: Path) -> Iterator[None]:
    """Lock the database, so that nothing can be written to it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


APPENDING = """
buffered = SQLitePersistence(path, lock_timeout=0.1).buffered(
    max_seconds=3600, install_sigterm=True
)
print("ready", flush=True)
number = 0
while True:
    try:
        log(buffered, number)
    except UnavailableError:
        continue
    print(number, flush=True)
    number += 1
    time.sleep(0.001)
"""


def test_records_appended_after_sigterm_are_stored_or_refused_but_never_lost(path: Path) -> None:
    SQLitePersistence(path).close()
    with Child(PRELUDE + APPENDING, path) as child:
        child.read()
        with busy(path):
            while int(child.read()) < 100:
                pass
            child.terminate()
            time.sleep(1)
        assert child.exit_code() == -signal.SIGTERM
        told = child.kill().split()
    assert stored(path)[: len(told) + 101] == numbers(len(told) + 101)


def test_sigterm_also_waits_for_a_record_that_is_being_added(path: Path) -> None:
    with (
        SQLitePersistence(path).buffered(max_seconds=NEVER) as buffered,
        ThreadPoolExecutor(1) as other,
    ):
        with buffered._queue._lock:  # Where an append counts its record.
            flushed = other.submit(buffered._queue.flush)
            time.sleep(0.1)
            assert not flushed.done()
        assert flushed.result(timeout=10)


ENDINGS = {
    "SIGTERM": (Child.terminate, -signal.SIGTERM),
    "the end of the program": (Child.write, 0),
}


@pytest.mark.parametrize("end", ENDINGS)
def test_the_end_of_a_process_retries_while_the_database_is_busy(path: Path, end: str) -> None:
    program = """
buffered = SQLitePersistence(path, lock_timeout=0).buffered(
    max_seconds=3600, install_sigterm=True
)
log(buffered, *range(500))
print("ready", flush=True)
while not asked(0.05):
    pass
"""
    begin, code = ENDINGS[end]
    with SQLitePersistence(path), Child(PRELUDE + program, path) as child:
        child.read()
        with busy(path):
            begin(child)
            time.sleep(1.5)
        assert child.exit_code() == code
    assert stored(path) == numbers(500)


def test_close_retries_while_the_database_is_busy(path: Path) -> None:
    buffered = SQLitePersistence(path, lock_timeout=0).buffered(max_seconds=NEVER)
    log_numbers(buffered, *range(5))
    with busy(path):
        thread = threading.Thread(target=buffered.close)
        thread.start()
        time.sleep(1)
        assert thread.is_alive()
    thread.join()
    assert stored(path) == numbers(5)


BUSY = """
buffered = opened(max_items=100, max_seconds=0.001, install_sigterm=True)
number = 0
print("ready", flush=True)
while True:
    log(buffered, number)
    buffered.get_agent_run_events("another")
    if number % 10 == 0:
        with buffered.transaction():
            buffered.create_agent_run(AgentRun("agent", str(number)))
    number += 1
"""


@pytest.mark.slow
def test_sigterm_at_any_point_ends_the_process_and_loses_no_earlier_record(
    tmp_path: Path,
) -> None:
    for start in soak.times(5):
        path = tmp_path / f"{start}.db"
        with Child(PRELUDE + BUSY, path) as child:
            child.read()
            time.sleep(random.random() / 5)  # Any moment is suitable.
            child.terminate()
            assert child.exit_code() == -signal.SIGTERM
        found = stored(path)
        assert found == numbers(len(found))
        with SQLitePersistence(path) as persistence:  # Each run was created after an event.
            assert len(persistence.get_agent_runs(limit=None)) <= len(found) // 10 + 2


@pytest.fixture
def sigterm() -> Iterator[Callable[..., Any]]:
    """Python's handler of SIGTERM while the test runs."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise AssertionError("nobody has sent it")

    before = signal.signal(signal.SIGTERM, handle)
    yield handle
    signal.signal(signal.SIGTERM, before)


def test_close_restores_the_handler_unless_another_was_installed(
    path: Path, sigterm: Callable[..., Any]
) -> None:
    first = SQLitePersistence(path).buffered(install_sigterm=True)
    assert signal.getsignal(signal.SIGTERM) != sigterm
    first.close()
    assert signal.getsignal(signal.SIGTERM) == sigterm
    second = SQLitePersistence(path).buffered(install_sigterm=True)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    second.close()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


def test_one_closed_in_another_thread_passes_sigterm_on(path: Path) -> None:
    handled = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: handled.append(number))
    try:
        buffered = SQLitePersistence(path).buffered(install_sigterm=True)
        closing = threading.Thread(target=buffered.close)
        closing.start()
        closing.join()
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert handled == [signal.SIGTERM]


def test_only_the_main_thread_can_install_a_handler(path: Path) -> None:
    raised: list[Exception] = []

    def install() -> None:
        try:
            persistence.buffered(install_sigterm=True)
        except ConfigurationError as error:
            raised.append(error)

    with SQLitePersistence(path) as persistence:
        thread = threading.Thread(target=install)
        thread.start()
        thread.join()
        assert "main thread" in str(raised[0])
        assert persistence.health_check()


# --- the process forks ----------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgres"])
def anywhere(request: pytest.FixtureRequest, path: Path) -> Iterator[Persistence]:
    if request.param == "sqlite":
        with SQLitePersistence(path) as persistence:
            yield persistence
    else:
        dsn, schema = map(request.getfixturevalue, ("postgres18", "schema_name"))
        with PostgresPersistence(dsn=dsn, schema=schema) as persistence:
            yield persistence


def test_a_fork_begins_with_an_empty_queue_and_the_parents_is_unchanged(
    anywhere: Persistence,
) -> None:
    def be_child() -> tuple[int, dict[str, int], int]:
        before = buffered.pending, buffered.dropped
        log(buffered, "child")
        buffered.flush()
        Fork(lambda: log_and_flush(buffered, "grandchild")).result()
        return *before, buffered.pending

    with anywhere.buffered(max_seconds=NEVER) as buffered:
        log_numbers(buffered, 0, 1, 2)
        assert Fork(be_child).result() == (0, {}, 0)
        assert buffered.pending == 3
        assert logged(anywhere) == ["child", "grandchild"]
        buffered.flush()
        assert sorted(logged(anywhere)) == ["0", "1", "2", "child", "grandchild"]


def log_and_flush(buffered: BufferedPersistence, data: str) -> None:
    log(buffered, data)
    buffered.flush()


def test_a_fork_counts_its_own_losses(path: Path) -> None:
    def be_child() -> dict[str, int]:
        log_numbers(buffered, 0)
        return buffered.dropped

    with SQLitePersistence(path) as persistence:
        buffered = persistence.buffered(max_items=1, max_seconds=NEVER, overflow="drop")
        with transaction_elsewhere(persistence):
            log_numbers(buffered, 0, 1, 2)
        assert buffered.dropped == {"overflow": 2}
        assert Fork(be_child).result() == {}
        buffered.close()


def test_a_fork_that_closes_it_leaves_the_parents_open(anywhere: Persistence) -> None:
    with anywhere.buffered(max_seconds=NEVER) as buffered:
        log_numbers(buffered, 0)
        Fork(buffered.close).result()
        log_numbers(buffered, 1)
        assert logged(buffered) == ["0", "1"]


@pytest.mark.slow
def test_forks_work_while_threads_append_and_read(anywhere: Persistence) -> None:
    going_on = threading.Event()
    going_on.set()
    appended = [0] * 4

    def work(name: int) -> None:
        while going_on.is_set():
            log(buffered, f"thread {name}")
            appended[name] += 1
            if appended[name] % 50 == 0:
                buffered.get_agent_run("run")

    def be_child() -> None:
        for _ in range(3):
            log(buffered, "child")
        buffered.get_agent_run("run")

    forks = soak.times(10)
    with anywhere.buffered(max_items=200, max_seconds=0) as buffered:
        workers = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for worker in workers:
            worker.start()
        try:
            for _ in forks:
                Fork(be_child).result()
        finally:
            going_on.clear()
        for worker in workers:
            worker.join()
        found = logged(buffered)
        assert buffered.dropped == {}
    for name, count in enumerate(appended):
        assert found.count(f"thread {name}") == count
    assert found.count("child") == 3 * len(forks)


def test_a_fork_of_a_memory_database_raises() -> None:
    def be_child() -> None:
        log(buffered, "child")
        with pytest.raises(ClosedError, match="does not survive a fork"):
            buffered.flush()

    with SQLitePersistence(":memory:").buffered() as buffered:
        log(buffered, "parent")
        Fork(be_child).result()
        assert logged(buffered) == ["parent"]


def test_sigterm_stores_the_queue_of_a_fork_too(path: Path, sigterm: Callable[..., Any]) -> None:
    def be_child() -> bool:
        handled = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: handled.set())
        with SQLitePersistence(path).buffered(max_seconds=NEVER, install_sigterm=True) as own:
            log(own, "child")
            signal.raise_signal(signal.SIGTERM)
            return handled.wait(10) and not own.pending

    with SQLitePersistence(path).buffered(max_seconds=NEVER, install_sigterm=True) as buffered:
        log(buffered, "parent")
        assert Fork(be_child).result()
        assert buffered.pending == 1


# --- the database cannot store anything -----------------------------------------------------------


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    with small_disk(megabytes=4) as disk:
        yield disk


def test_records_wait_until_a_full_disk_has_free_space(
    disk: SmallDisk, caplog: pytest.LogCaptureFixture
) -> None:
    big = "x" * 1000
    with SQLitePersistence(disk.folder / "agents.db").buffered(max_seconds=0.01) as buffered:
        log(buffered, "before")
        buffered.flush()
        disk.fill()
        for number in range(1000):
            log(buffered, f"{number:04d}{big}")
        for _ in range(2):
            with pytest.raises(StorageFullError, match="is kept"):
                buffered.flush()
        assert buffered.dropped == {}
        disk.make_room()
        wait_until(lambda: not buffered.pending)
        assert [data[:4] for data in logged(buffered)][1:] == [f"{n:04d}" for n in range(1000)]
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 1
    assert big not in told[0]


@pytest.fixture
def server(private_postgres: PostgresServer) -> Iterator[PostgresPersistence]:
    with PostgresPersistence(dsn=private_postgres.dsn) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
        yield persistence


def test_appends_during_an_outage_are_stored_after_it(
    server: PostgresPersistence, private_postgres: PostgresServer
) -> None:
    with server.buffered(max_seconds=0.01) as buffered:
        log_numbers(buffered, 0)
        buffered.flush()
        with private_postgres.down():
            log_numbers(buffered, *range(1, 50))
            for call in (buffered.flush, buffered.get_agent_runs):
                with pytest.raises(UnavailableError, match="Is the server running"):
                    call()
            assert not buffered.health_check()
            assert buffered.pending == 49
        wait_until(lambda: not buffered.pending)  # Without a call.
        assert logged(buffered) == numbers(50)
        assert buffered.dropped == {}


def test_a_full_queue_that_cannot_be_stored_raises_without_waiting(
    server: PostgresPersistence, private_postgres: PostgresServer
) -> None:
    with server.buffered(max_items=10, max_seconds=0) as buffered:
        with private_postgres.down():
            log_numbers(buffered, *range(10))
            for _ in range(3):
                with pytest.raises(UnavailableError, match="as may be"):
                    log(buffered, "too much")
        assert logged(buffered) == numbers(10)
        assert buffered.dropped == {}


def test_records_that_close_cannot_store_are_counted_logged_and_raised(
    server: PostgresPersistence,
    private_postgres: PostgresServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("curio_persistence.buffering.persistence._PATIENCE", 0.2)
    buffered = server.buffered(max_seconds=NEVER)
    log_numbers(buffered, *range(5))
    with private_postgres.down():
        with pytest.raises(UnavailableError, match="lost"):
            buffered.close()
        buffered.close()
    assert (buffered.dropped, buffered.pending) == ({"UnavailableError": 5}, 0)
    assert "Records are dropped (UnavailableError)" in caplog.text
    with pytest.raises(ClosedError):
        server.get_agent_runs()


@pytest.mark.slow
def test_a_silent_network_blocks_no_call_longer_than_the_writer(
    blackhole: BlackHole, postgres18: str, schema_name: str
) -> None:
    dsn = make_dsn(blackhole.dsn(postgres18), connect_timeout=2)
    with PostgresPersistence(dsn=dsn, schema=schema_name, statement_timeout=0.2) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
        buffered = persistence.buffered(max_seconds=NEVER)
        blackhole.swallow()
        begin = time.monotonic()
        log_numbers(buffered, *range(100))
        assert time.monotonic() - begin < 0.2
        with pytest.raises(UnavailableError):
            buffered.flush()
        assert time.monotonic() - begin < 5
        blackhole.forward()
        wait_until(lambda: not buffered.pending)
        # The answer to a write was lost: only that write may be stored twice.
        assert list(dict.fromkeys(logged(buffered))) == numbers(100)


def test_missing_tables_can_be_created_while_records_wait(path: Path) -> None:
    SQLitePersistence(path, initialize=False)
    sqlite3.connect(path).close()
    with SQLitePersistence(path, initialize=False).buffered(max_seconds=0) as buffered:
        log(buffered, "early")
        with pytest.raises(SchemaMismatchError, match="curio-persistence migrate"):
            buffered.flush()
        buffered.initialize_schema()
        assert logged(buffered) == ["early"]


def test_appends_raise_a_persistent_error(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    SQLitePersistence(path, initialize=False)
    sqlite3.connect(path).close()
    buffered = SQLitePersistence(path, initialize=False).buffered(max_seconds=NEVER)
    log(buffered, "early")
    for call in (buffered.flush, partial(log, buffered, "late"), buffered.close):
        with pytest.raises(SchemaMismatchError, match="curio-persistence migrate"):
            call()
    assert buffered.dropped == {"SchemaMismatchError": 1}
    assert len(caplog.records) == 2, "that it failed, and what was lost"


def test_with_overflow_drop_appends_do_not_raise_a_persistent_error(path: Path) -> None:
    sqlite3.connect(path).close()
    buffered = SQLitePersistence(path, initialize=False).buffered(
        max_items=3, max_seconds=0, overflow="drop"
    )
    with pytest.raises(SchemaMismatchError):
        log(buffered, "early"), buffered.flush()
    log_numbers(buffered, 1, 2, 3)
    assert (buffered.pending, buffered.dropped) == (3, {"overflow": 1})
    with pytest.raises(SchemaMismatchError, match="lost"):
        buffered.close()
    assert buffered.dropped == {"overflow": 1, "SchemaMismatchError": 3}


def test_a_read_only_persistence_refuses_appends(path: Path) -> None:
    SQLitePersistence(path).close()
    with SQLitePersistence(path, read_only=True).buffered() as buffered:
        with pytest.raises(AccessDeniedError, match="read-only"):
            log(buffered, "no")
        with pytest.raises(AccessDeniedError, match="read-only"):
            buffered.log_agent_run_events([AgentRunEvent("agent", "run")] * 2)
        assert (buffered.pending, buffered.dropped) == (0, {})


# --- some records cannot be stored ----------------------------------------------------------------


def refuse_bad_data(persistence: Persistence) -> None:
    """Add a constraint that refuses events with "bad" in their data."""
    if isinstance(persistence, PostgresPersistence):
        rule = "ALTER TABLE {} ADD CONSTRAINT no_bad CHECK (data <> 'bad')"
    else:
        rule = (
            "CREATE TRIGGER no_bad BEFORE INSERT ON {} WHEN NEW.data = 'bad' "
            "BEGIN SELECT RAISE(ABORT, 'secret words'); END"
        )
    store: Any = persistence._store
    store._write(rule.format(store._qualified("agent_run_events")), ())


def test_only_the_records_that_the_database_refuses_are_lost(
    anywhere: Persistence, caplog: pytest.LogCaptureFixture
) -> None:
    refuse_bad_data(anywhere)
    with anywhere.buffered(max_seconds=NEVER) as buffered:
        for number in range(100):
            log(buffered, "bad" if number in (0, 41, 42, 99) else number)
        bad = [AgentRunEvent("agent", "run", data=data) for data in ("a", "bad", "b")]
        buffered.log_agent_run_events(bad)
        buffered.flush()
        good = [number for number in numbers(100) if number not in ("0", "41", "42", "99")]
        assert logged(anywhere) == good
        assert buffered.dropped == {"InvalidValueError": 4 + len(bad)}
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert "InvalidValueError" in told[0]
    assert "secret words" not in told[0]


class Broken(MemoryStore):
    """A store of a user, which raises exceptions that a store should not raise."""

    def insert(self, table: Table[Any], row: Row) -> int:
        if row.get("data") == "bad":
            raise RuntimeError("a bug")
        return super().insert(table, row)


def test_a_store_that_raises_anything_loses_only_that_record() -> None:
    persistence = Persistence(Broken())
    with persistence.buffered(max_seconds=NEVER) as buffered:
        for data in ("a", "bad", "b"):
            log(buffered, data)
        assert logged(buffered) == ["a", "b"]
        assert buffered.dropped == {"RuntimeError": 1}


class Misprogrammed(MemoryStore):
    """A store whose statements are invalid."""

    def insert(self, table: Table[Any], row: Row) -> int:
        raise PersistenceError("syntax error")

    def insert_many(self, table: Table[Any], rows: Sequence[Row]) -> Sequence[int]:
        raise PersistenceError("syntax error")


def test_records_that_always_fail_are_dropped_instead_of_retried_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Persistence(Misprogrammed()).buffered(max_seconds=NEVER) as buffered:
        log_numbers(buffered, 0, 1, 2)
        buffered.flush()
        assert (buffered.pending, buffered.dropped) == (0, {"PersistenceError": 3})
    assert [record.levelname for record in caplog.records] == ["ERROR"]


class Recording(logging.Handler):
    """A log handler that records log messages in the same persistence."""

    def __init__(self, buffered: BufferedPersistence) -> None:
        super().__init__()
        self._buffered = buffered

    def emit(self, record: logging.LogRecord) -> None:
        log(self._buffered, record.getMessage())
        self._buffered.get_agent_runs()
        self._buffered.flush()


def test_messages_of_the_writer_may_be_queued_and_read_by_its_own_thread(path: Path) -> None:
    with SQLitePersistence(path) as persistence:
        refuse_bad_data(persistence)
        buffered = persistence.buffered(max_items=2, max_seconds=NEVER)
        handler = Recording(buffered)
        logger = logging.getLogger("curio_persistence")
        logger.addHandler(handler)
        try:
            log_numbers(buffered, 0)
            log(buffered, "bad")
            assert logged(buffered)[0] == "0"
        finally:
            logger.removeHandler(handler)
        assert buffered.dropped["InvalidValueError"] == 1
        buffered.close()


class Failing(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise OSError("the log's disk is full")


def test_a_log_that_fails_stops_neither_the_writer_nor_a_caller(path: Path) -> None:
    with SQLitePersistence(path) as persistence:
        refuse_bad_data(persistence)
        logger = logging.getLogger("curio_persistence")
        handler = Failing()
        logger.addHandler(handler)
        try:
            with persistence.buffered(max_items=5, max_seconds=NEVER, overflow="drop") as buffered:
                for data in ("bad", "a", "b", "c", "d", "e", "f"):
                    log(buffered, data)
                buffered.flush()
                log(buffered, "g")
                assert logged(buffered)[-1] == "g"
        finally:
            logger.removeHandler(handler)


def test_if_no_thread_can_be_started_the_caller_stores_its_appends(path: Path) -> None:
    program = """
buffered = opened()
threading.stack_size(1 << 46)  # More than there is.
log(buffered, 0, 1, 2)
assert (buffered.pending, buffered.dropped) == (0, {})
assert len(buffered.get_agent_run_events("run")) == 3
buffered.close()
print("done", flush=True)
"""
    with Child(PRELUDE + program, path) as child:
        assert child.read() == "done"
    assert stored(path) == numbers(3)
