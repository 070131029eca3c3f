"""Many threads that write to one SQLite file: rows that wait at the same time share a commit."""

from __future__ import annotations

import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from itertools import groupby
from pathlib import Path
from types import FrameType

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    BusyError,
    ClosedError,
    ConflictError,
    Persistence,
    SQLitePersistence,
    StorageFullError,
)
from curio_persistence.backends.sqlite.store import SQLiteStore
from curio_persistence.concurrency import fair_lock
from curio_persistence.concurrency.fair_lock import Ticket
from curio_persistence.errors import MissingRunError
from curio_persistence.tables import EVENTS
from tests.support import soak
from tests.support.children import Child, Fork
from tests.support.records import Record, read_back, write

THREADS = 8

Call = Callable[[], object]


@pytest.fixture(autouse=True)
def no_thread_looks_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_lock, "_LOOK_AGAIN", 1000.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agents.db"


@pytest.fixture
def persistence(path: Path) -> Iterator[SQLitePersistence]:
    with SQLitePersistence(path, lock_timeout=20) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
        yield persistence


def event(data: str, run_id: str = "run") -> AgentRunEvent:
    return AgentRunEvent("agent", run_id, event_type="custom", data=data)


def log(persistence: Persistence, data: str) -> str:
    persistence.log_agent_run_event(event(data))
    return data


def logged(persistence: Persistence, run_id: str = "run") -> list[str]:
    return [event.data for event in persistence.get_agent_run_events(run_id)]


def store_of(persistence: SQLitePersistence) -> SQLiteStore:
    assert isinstance(persistence._store, SQLiteStore)
    return persistence._store


def wait_for_queue(persistence: SQLitePersistence, length: int) -> None:
    deadline = time.monotonic() + 10
    while store_of(persistence)._lock.waiting() < length:
        assert time.monotonic() < deadline, "no thread came to wait"
        time.sleep(0.001)


@contextmanager
def queued(persistence: SQLitePersistence, *calls: Call) -> Iterator[list[Future[object]]]:
    """Make each call in a thread; the threads wait in this order until the block ends."""
    with ThreadPoolExecutor(len(calls)) as pool, ExitStack() as stack:
        lock, ticket = store_of(persistence)._lock, Ticket()
        assert lock.acquire(ticket, 10)
        stack.callback(lock.wake)
        stack.callback(lock.release, ticket)
        futures = []
        for number, call in enumerate(calls, start=1):
            futures.append(pool.submit(call))
            wait_for_queue(persistence, number)
        yield futures


def write_together(persistence: SQLitePersistence, *records: Record) -> list[BaseException | None]:
    """Write records, each in a thread, when all of them wait; return each one's result."""
    with queued(persistence, *(partial(write, persistence, r) for r in records)) as futures:
        pass
    return [future.exception() for future in futures]


@contextmanager
def insertions(persistence: SQLitePersistence) -> Iterator[list[str]]:
    """Return the INSERT statements that SQLite gets in the block."""
    statements: list[str] = []
    writer = store_of(persistence)._writer
    assert writer is not None
    writer.set_trace_callback(statements.append)
    inserting: list[str] = []
    yield inserting
    writer.set_trace_callback(None)
    inserting += inserts_in(statements)


def inserts_in(statements: list[str]) -> list[str]:
    """Return the INSERT statements; each is traced again for every step of a trigger."""
    return [each for each, _ in groupby(statements) if each.startswith("INSERT")]


# --- together ---------------------------------------------------------------------------------


def test_rows_that_wait_at_the_same_time_are_stored_by_one_statement(
    persistence: SQLitePersistence,
) -> None:
    events = [event(str(number)) for number in range(THREADS)]
    with insertions(persistence) as statements:
        assert not any(write_together(persistence, *events))
    assert len(statements) == 1
    assert logged(persistence) == [each.data for each in events]


def test_a_row_that_does_not_have_to_wait_is_stored_by_itself(
    persistence: SQLitePersistence,
) -> None:
    with insertions(persistence) as statements:
        for number in range(3):
            log(persistence, str(number))
    assert len(statements) == 3


@pytest.mark.parametrize("threads", [2, 3, 33, 70])
def test_each_thread_gets_the_id_of_its_own_row(
    persistence: SQLitePersistence, threads: int
) -> None:
    events = [event(str(number)) for number in range(threads)]
    assert not any(write_together(persistence, *events))
    assert [read_back(persistence, each) for each in events] == events


def test_each_thread_gets_its_id_in_a_memory_database() -> None:
    with SQLitePersistence(":memory:") as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
        events = [event(str(number)) for number in range(THREADS)]
        assert not any(write_together(persistence, *events))
        assert [read_back(persistence, each) for each in events] == events


def test_each_thread_gets_its_id_when_the_ids_run_out(
    persistence: SQLitePersistence, path: Path
) -> None:
    """The last ids are assigned, and no id is reused."""
    log(persistence, "first")
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("UPDATE agent_run_events SET id = ?", (2**63 - 3,))
    events = [event(str(number)) for number in range(THREADS)]
    met = write_together(persistence, *events)
    stored = [each for each, error in zip(events, met, strict=True) if error is None]
    assert len(stored) == 2
    assert sum(isinstance(error, StorageFullError) for error in met) == THREADS - 2
    assert [read_back(persistence, each) for each in stored] == stored


def test_ids_of_a_batch_are_known_after_the_last_rows_were_deleted(
    persistence: SQLitePersistence,
) -> None:
    persistence.log_agent_run_events([event("a"), event("b", "gone")])
    persistence.delete_agent_run("gone")
    events = [event("c"), event("d")]
    persistence.log_agent_run_events(events)
    assert [read_back(persistence, each) for each in events] == events


def test_rows_of_all_tables_and_shapes_can_wait_at_the_same_time(
    persistence: SQLitePersistence,
) -> None:
    tool = '{"tool_name": "search", "latency_ms": 12, "error": null}'
    records: list[Record] = [
        event("plain"),
        AgentLLMUsage("agent", "run", "provider", "model"),
        AgentRunEvent("agent", "run", event_type="tool_call", data=tool),
        AgentRun("agent", "second", objective="☃"),
        AgentLLMUsage("agent", "run", "provider", "model", reasoning_tokens=3),
        AgentRun("agent", "child", parent_run_id="run"),
        AgentRunEvent("agent", "run", data="named", event_id="one"),
    ]
    assert not any(write_together(persistence, *records))
    assert [read_back(persistence, record) for record in records] == records
    assert list(persistence.get_agent_run_stats()["tool_metrics"]) == ["search"]


# --- one bad row ------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [[0], [3], [7], [2, 5], [6, 7], range(8)])
def test_a_refused_row_fails_alone(persistence: SQLitePersistence, bad: list[int]) -> None:
    """Only its own thread gets an error; the threads of the same group do not."""
    for number in bad:
        persistence.create_agent_run(AgentRun("agent", f"run {number}", objective="before"))
    runs = [AgentRun("agent", f"run {number}", objective="after") for number in range(8)]
    met = write_together(persistence, *runs)
    for number, error in enumerate(met):
        run = persistence.get_agent_run(f"run {number}")
        assert run is not None
        if number in bad:
            assert isinstance(error, ConflictError)
            assert f"'run {number}'" in str(error)
            assert run.objective == "before"
        else:
            assert error is None
            assert run == runs[number]


def test_the_good_rows_of_a_group_still_share_commits_when_one_is_bad(
    persistence: SQLitePersistence,
) -> None:
    persistence.create_agent_run(AgentRun("agent", "run 7"))
    with insertions(persistence) as statements:
        write_together(persistence, *(AgentRun("agent", f"run {n}") for n in range(8)))
    # All; the first four; the others; two of them; those with the bad one; each of these.
    assert len(statements) == 7


def test_a_row_with_an_invalid_reference_fails_alone(persistence: SQLitePersistence) -> None:
    store, events = store_of(persistence), [event("good"), event("bad", "nowhere"), event("good")]
    for each in events:
        each.timestamp = each.created_at = persistence.clock.now()
    inserts = [partial(store.insert, EVENTS, EVENTS.encode(each)) for each in events]
    with queued(persistence, *inserts) as futures:
        pass
    with pytest.raises(MissingRunError, match="'nowhere'"):
        futures[1].result()
    assert [futures[0].result(), futures[2].result()] == [1, 2]
    assert logged(persistence) == ["good", "good"]


def test_events_of_unknown_runs_are_stored_beside_those_of_known_runs(
    persistence: SQLitePersistence,
) -> None:
    events = [event(str(number), f"run {number % 3}") for number in range(THREADS)]
    persistence.create_agent_run(AgentRun("agent", "run 1"))
    assert not any(write_together(persistence, *events))
    assert [read_back(persistence, each) for each in events] == events


def test_on_a_full_disk_each_row_is_tried_alone(
    persistence: SQLitePersistence,
) -> None:
    log(persistence, "x" * 20_000)
    with persistence.transaction():
        [(pages,)] = store_of(persistence)._read("PRAGMA page_count", ())
        store_of(persistence)._read(f"PRAGMA max_page_count = {pages + 2}", ())
    small, big = [event(str(number)) for number in range(6)], event("x" * 3_000_000)
    met = write_together(persistence, *small[:3], big, *small[3:])
    assert isinstance(met.pop(3), StorageFullError)
    assert not any(met)
    assert logged(persistence)[1:] == [each.data for each in small]


# --- turns ------------------------------------------------------------------------------------


def test_a_transaction_is_not_delayed_by_groups(persistence: SQLitePersistence) -> None:
    going_on = threading.Event()
    going_on.set()

    def write_on(writer: int) -> int:
        count = 0
        while going_on.is_set():
            log(persistence, f"{writer} {count}")
            count += 1
        return count

    with ThreadPoolExecutor(THREADS) as pool:
        writers = [pool.submit(write_on, number) for number in range(THREADS)]
        try:
            for number in range(50):
                with persistence.transaction():
                    log(persistence, f"transaction {number}")
                    assert len(persistence.get_agent_run_events("run")) > number
        finally:
            going_on.clear()
        counts = [writer.result() for writer in writers]
    assert len(logged(persistence)) == sum(counts) + 50


def test_a_transaction_that_waits_first_goes_first(persistence: SQLitePersistence) -> None:
    def transact() -> list[str]:
        with persistence.transaction():
            return logged(persistence)

    with queued(persistence, transact, *(partial(log, persistence, d) for d in "abc")) as futures:
        pass
    assert futures[0].result() == []
    assert logged(persistence) == ["a", "b", "c"]


# --- timeouts ---------------------------------------------------------------------------------


def test_a_row_whose_wait_timed_out_is_not_stored_later(path: Path) -> None:
    with SQLitePersistence(path, lock_timeout=0.05) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
        calls = [partial(log, persistence, str(number)) for number in range(THREADS)]
        with ThreadPoolExecutor(THREADS) as pool, persistence.transaction():
            for future in [pool.submit(call) for call in calls]:
                with pytest.raises(BusyError, match="held by"):
                    future.result(timeout=10)
        log(persistence, "in time")
        assert logged(persistence) == ["in time"]


HOLDER = """
import time
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
for seconds in sys.stdin:
    connection.execute("BEGIN IMMEDIATE")
    print("held", flush=True)
    time.sleep(float(seconds))
    connection.execute("ROLLBACK")
"""


def test_all_rows_wait_together_for_the_lock_of_another_process(
    path: Path,
) -> None:
    with SQLitePersistence(path, lock_timeout=0.3) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
        calls = [partial(log, persistence, str(number)) for number in range(THREADS)]
        with Child(HOLDER, path) as child, insertions(persistence) as statements:
            child.write("60")
            assert child.read() == "held"
            with queued(persistence, *calls) as futures:
                pass
            assert all(isinstance(future.exception(), BusyError) for future in futures)
        assert len(statements) == 1, "a thread began to wait when its time was over"
        assert logged(persistence) == []


def test_rows_stored_before_another_process_takes_the_lock_return(path: Path) -> None:
    """A bad row has divided the group, and the lock is taken before the second half is stored."""
    with (
        SQLitePersistence(path, lock_timeout=0.3) as persistence,
        closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other,
    ):
        persistence.create_agent_run(AgentRun("agent", "run 7"))
        statements: list[str] = []

        def lock_before_the_third_insert(statement: str) -> None:
            statements.append(statement)
            if len(inserts_in(statements)) == 3 and not other.in_transaction:
                other.execute("BEGIN IMMEDIATE")

        writer = store_of(persistence)._writer
        assert writer is not None
        writer.set_trace_callback(lock_before_the_third_insert)
        met = write_together(persistence, *(AgentRun("agent", f"run {n}") for n in range(8)))
        other.execute("ROLLBACK")
        assert met[:4] == [None] * 4
        assert all(isinstance(error, BusyError) for error in met[4:])
        runs = {run.run_id for run in persistence.get_agent_runs(limit=None)}
        assert runs == {"run 0", "run 1", "run 2", "run 3", "run 7"}


def test_a_thread_that_times_out_while_its_row_is_stored_gets_the_result(
    path: Path,
) -> None:
    with SQLitePersistence(path, lock_timeout=1) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
        calls = [partial(log, persistence, str(number)) for number in range(THREADS)]
        with Child(HOLDER, path) as child:
            child.write("0")
            assert child.read() == "held"
            with queued(persistence, *calls) as futures:
                child.write("1.2")
                assert child.read() == "held"
                time.sleep(0.5)  # They have half a second left, the leader a whole one.
        # Should this machine be too slow for that, they may all have been refused.
        returned = [future.result() for future in futures if not future.exception()]
        assert logged(persistence) == returned


@pytest.mark.slow
def test_rows_whose_call_raises_are_not_stored_and_the_others_are(path: Path) -> None:
    """Holds for any combination of turns, timeouts of threads and locks of another process."""
    going_on, told = threading.Event(), []
    going_on.set()
    with SQLitePersistence(path, lock_timeout=0.02) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))

        def write_on(writer: int) -> int:
            attempts = 0
            while going_on.is_set():
                attempts += 1
                with suppress(BusyError):
                    told.append(log(persistence, f"{writer} {attempts}"))
            return attempts

        with Child(HOLDER, path) as child, ThreadPoolExecutor(THREADS) as pool:
            writers = [pool.submit(write_on, number) for number in range(THREADS)]
            try:
                for _ in soak.times(40):
                    child.write(f"{random.uniform(0, 0.06)}")
                    assert child.read() == "held"
            finally:
                going_on.clear()
            attempts = sum(writer.result() for writer in writers)
        assert Counter(logged(persistence)) == Counter(told)
        assert 0 < len(told) < attempts


# --- the end ----------------------------------------------------------------------------------


def test_closing_behind_rows_that_wait_stores_or_refuses_each(path: Path) -> None:
    persistence = SQLitePersistence(path)
    persistence.create_agent_run(AgentRun("agent", "run"))
    calls: list[Call] = [partial(log, persistence, str(number)) for number in range(THREADS)]
    calls.insert(4, persistence.close)
    with queued(persistence, *calls) as futures:
        pass
    del futures[4]
    assert all(isinstance(f.exception(), ClosedError | None) for f in futures)
    returned = [future.result() for future in futures if not future.exception()]
    assert returned[:4] == ["0", "1", "2", "3"]
    with SQLitePersistence(path) as again:
        assert logged(again) == returned


def test_a_fork_does_not_inherit_waiting_rows(persistence: SQLitePersistence) -> None:
    """The rows that wait are stored by the parent, once; the fork stores its own."""
    calls = [partial(log, persistence, str(number)) for number in range(4)]
    with ThreadPoolExecutor(1) as pool:
        with queued(persistence, *calls):
            fork = pool.submit(lambda: Fork(lambda: log(persistence, "fork")).result())
            wait_for_queue(persistence, 5)
        assert fork.result() == "fork"
    assert sorted(logged(persistence)) == ["0", "1", "2", "3", "fork"]


# --- interrupts -------------------------------------------------------------------------------


class Interrupted(BaseException):
    pass


@contextmanager
def on_signal(handle: Call) -> Iterator[Callable[[], None]]:
    """Return a function that sends this thread a signal; the handler calls the given one."""

    def handler(number: int, frame: FrameType | None) -> None:
        handle()

    myself = threading.get_ident()
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        yield lambda: signal.pthread_kill(myself, signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_thread_interrupted_while_it_waits_stores_nothing(
    persistence: SQLitePersistence,
) -> None:
    def interrupt_when_all_wait() -> None:
        wait_for_queue(persistence, 4)
        interrupt()

    def give_up() -> None:
        raise Interrupted

    calls = [partial(log, persistence, str(number)) for number in range(3)]
    with on_signal(give_up) as interrupt, ThreadPoolExecutor(1) as pool:
        with ExitStack() as stack:
            holder = stack.enter_context(held_by_another_thread(persistence))
            waiting = ThreadPoolExecutor(3)
            stack.callback(waiting.shutdown)
            futures = [waiting.submit(call) for call in calls]
            wait_for_queue(persistence, 3)
            interrupter = pool.submit(interrupt_when_all_wait)
            with pytest.raises(Interrupted):
                log(persistence, "interrupted")
            interrupter.result()
            holder.set()
        assert [future.exception() for future in futures] == [None] * 3
    assert sorted(logged(persistence)) == ["0", "1", "2"]


@contextmanager
def held_by_another_thread(persistence: SQLitePersistence) -> Iterator[threading.Event]:
    """Hold a transaction in another thread until the event is set, or the block ends."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with persistence.transaction():
            held.set()
            done.wait(20)

    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(hold)
        assert held.wait(10)
        try:
            yield done
        finally:
            done.set()
            holder.result()


@pytest.mark.slow
def test_interrupts_at_any_moment_lose_and_duplicate_nothing(
    persistence: SQLitePersistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread may be waiting, leading others, following one, or in between."""
    monkeypatch.setattr(fair_lock, "_LOOK_AGAIN", 1.0)  # They may arrive just before a call.
    going_on = threading.Event()
    told: list[list[str]] = [[] for _ in range(5)]
    rounds, attempts = soak.times(200), 0
    asked = sent = handled = 0  # Numbers, because an interrupt can break an Event.

    def handle() -> None:
        nonlocal handled
        handled += 1
        raise Interrupted

    def interrupt_when_asked() -> None:
        nonlocal sent
        while going_on.is_set():
            time.sleep(random.uniform(0, 0.001))
            if sent < asked:
                sent += 1
                interrupt()

    def write_on(writer: int) -> None:
        while going_on.is_set():
            told[writer].append(log(persistence, f"{writer} {len(told[writer])}"))

    going_on.set()
    with on_signal(handle) as interrupt, ThreadPoolExecutor(5) as pool:
        others = [pool.submit(interrupt_when_asked)]
        others += [pool.submit(write_on, number) for number in range(1, 5)]
        try:
            for _ in rounds:
                with suppress(Interrupted):
                    asked += 1
                    while handled < asked:
                        attempts += 1
                        told[0].append(log(persistence, f"main {attempts}"))
        finally:
            going_on.clear()
        for other in others:
            other.result()
    stored = Counter(logged(persistence))
    returned = Counter(data for each in told for data in each)
    assert not returned - stored, "a write was lost"
    assert set(stored.values()) == {1}, "a write was doubled"
    unknown = stored - returned
    assert all(data.startswith("main") for data in unknown), "a write failed that was not disturbed"
    assert len(unknown) <= len(rounds)
