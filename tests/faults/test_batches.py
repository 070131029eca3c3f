"""Batches of several processes at once, and of a process that is killed or loses its connection."""

from __future__ import annotations

import multiprocessing
import random
import sqlite3
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psycopg2
import pytest
from psycopg2.extensions import make_dsn

from curio_persistence import (
    AccessDeniedError,
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    BusyError,
    ConflictError,
    InvalidValueError,
    Persistence,
    PostgresPersistence,
    SQLitePersistence,
    StorageFullError,
    UnavailableError,
    connect,
)
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, USAGE
from tests.backends.conftest import Ask, Open, wait_until
from tests.conftest import PostgresServers
from tests.support import soak
from tests.support.backends import chosen
from tests.support.batches import record, stored, write_all
from tests.support.blackhole import BlackHole
from tests.support.children import Child, Fork
from tests.support.disks import small_disk
from tests.support.records import MODELS, everything

PROCESSES = 4
T = TypeVar("T")


@pytest.fixture(params=chosen("sqlite", "postgres18", "postgres16"))
def url(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    schema_name: str,
    postgres_servers: PostgresServers,
) -> str:
    """The URL of the database that the processes share."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'agents.db'}"
    return f"{postgres_servers.dsn(request.param)}&schema={schema_name}"


@pytest.fixture
def persistence(url: str) -> Iterator[Persistence]:
    with connect(url) as persistence:
        yield persistence


def event(number: int, *, named: bool = False) -> AgentRunEvent:
    name = f"event {number}" if named else None
    return AgentRunEvent("agent", "run", data=str(number), event_id=name)


def call(number: int) -> AgentLLMUsage:
    return AgentLLMUsage(
        "agent",
        "run",
        input_tokens=number,
        cost_usd=Decimal(number) / 10**12,
        event_id=f"call {number}",
    )


def logged(persistence: Persistence) -> list[str]:
    return [event.data for event in persistence.get_agent_run_events("run")]


def in_processes(url: str, work: Callable[[Persistence, int], T]) -> list[T]:
    """Return the results of `work` in several processes, which all start at the same time."""
    ready = multiprocessing.get_context("fork").Barrier(PROCESSES)

    def begin(number: int) -> T:
        with connect(url) as own:
            ready.wait(20)
            return work(own, number)

    forks = [Fork(partial(begin, number)) for number in range(PROCESSES)]
    return [fork.result() for fork in forks]


# --- several processes ------------------------------------------------------------------------


def test_records_replayed_by_several_processes_are_stored_and_counted_once(
    url: str, persistence: Persistence
) -> None:
    """No call fails, although batches of several chunks overlap as well."""

    def replay(own: Persistence, number: int) -> int:
        return sum(
            own.log_agent_run_events(event(number, named=True) for number in range(1_300))
            + own.log_llm_usages(call(number) for number in range(200))
            for _ in range(3)
        )

    fresh = [count for _ in soak.times(1) for count in in_processes(url, replay)]
    assert sum(fresh) == 1_500
    assert logged(persistence) == [str(number) for number in range(1_300)]
    stats = persistence.get_agent_run_stats()
    assert (stats["total_llm_calls"], stats["total_input_tokens"]) == (200, sum(range(200)))
    assert stats["total_cost_usd"] == Decimal(sum(range(200))) / 10**12


def test_overlapping_batches_of_several_processes_never_fail_in_any_order(
    url: str, persistence: Persistence
) -> None:
    """The second process waits, and no two processes wait for each other."""
    names = range(400)

    def send(own: Persistence, number: int) -> list[tuple[int | None, str]]:
        shuffled = random.Random(number)
        batch = [event(n, named=True) for n in shuffled.sample(names, 300)]
        own.log_agent_run_events(batch)
        return [(event.id, event.data) for event in batch]

    for _ in soak.times(3):
        told = {pair for pairs in in_processes(url, send) for pair in pairs}
        found = [(event.id, event.data) for event in persistence.get_agent_run_events("run")]
        assert sorted(told) == sorted(found)
        assert len(set(logged(persistence))) == len(found)
        assert persistence.delete_agent_run("run")


def test_long_batches_in_different_orders_are_stored_after_a_retry(
    url: str, persistence: Persistence
) -> None:
    """Each holds locks on what it has written, so one of two may have to retry."""
    quick = "" if url.startswith("sqlite") else "&options=-c%20deadlock_timeout%3D20ms"

    def send(own: Persistence, number: int) -> None:
        order = list(range(1_500))
        random.Random(number).shuffle(order)
        for _ in range(200):
            with suppress(BusyError):
                own.log_agent_run_events(event(n, named=True) for n in order)
                return
        pytest.fail("two hundred attempts came to nothing")

    for _ in soak.times(1):
        in_processes(url + quick, send)
        assert sorted(map(int, logged(persistence))) == list(range(1_500))


def test_batches_of_several_processes_get_their_own_ids(url: str, persistence: Persistence) -> None:
    def send(own: Persistence, process: int) -> list[tuple[int | None, str]]:
        told = []
        for start in range(0, 1_000, 200):
            batch = [event(10_000 * process + start + n) for n in range(150)]
            own.log_agent_run_events(batch)
            single = event(10_000 * process + start + 199)
            own.log_agent_run_event(single)
            told += [(each.id, each.data) for each in (*batch, single)]
        return told

    persistence.create_agent_run(AgentRun("agent", "run"))
    told = in_processes(url, send)
    for pairs in told:
        assert pairs == sorted(pairs)
    found = {(event.id, event.data) for event in persistence.get_agent_run_events("run")}
    assert found == {pair for pairs in told for pair in pairs}


def test_processes_whose_first_batches_name_the_same_runs_create_each_once(
    url: str, persistence: Persistence
) -> None:
    def send(own: Persistence, number: int) -> None:
        names = [f"run {n}" for n in range(60)]
        random.Random(number).shuffle(names)
        own.log_agent_run_events(AgentRunEvent("agent", name) for name in names * 2)

    for _ in soak.times(3):
        in_processes(url, send)
        runs = persistence.get_agent_runs(limit=None)
        assert len(runs) == 60
        for run in runs:
            assert len(persistence.get_agent_run_events(run.run_id)) == 2 * PROCESSES
            persistence.delete_agent_run(run.run_id)


def test_one_of_several_processes_that_create_the_same_runs_succeeds(
    url: str, persistence: Persistence
) -> None:
    def create(own: Persistence, number: int) -> str:
        names = [f"run {n}" for n in range(200)]
        random.Random(number).shuffle(names)
        try:
            own.create_agent_runs(AgentRun(f"agent {number}", name) for name in names)
        except ConflictError:
            return ""
        return f"agent {number}"

    [creator] = filter(None, in_processes(url, create))
    assert {run.agent_id for run in persistence.get_agent_runs(limit=None)} == {creator}


def test_a_deadlock_of_two_transactions_ends_with_an_error_for_one(open_postgres: Open) -> None:
    """The transactions have the same event_ids in different orders; the other one succeeds."""
    persistence = open_postgres("&options=-c%20deadlock_timeout%3D20ms")
    persistence.create_agent_run(AgentRun("agent", "run"))
    meet = threading.Barrier(2)

    def send(*order: int) -> None:
        with persistence.transaction():
            persistence.log_agent_run_events([event(order[0], named=True)])
            meet.wait(10)
            persistence.log_agent_run_events([event(order[1], named=True)])

    with ThreadPoolExecutor(2) as pool:
        outcomes = [pool.submit(send, 1, 2), pool.submit(send, 2, 1)]
        [error] = filter(None, (outcome.exception(30) for outcome in outcomes))
    assert isinstance(error, UnavailableError)
    assert "try again" in str(error)
    assert sorted(logged(persistence)) == ["1", "2"]


@pytest.mark.slow
def test_expiry_and_deletions_of_the_same_runs_do_not_deadlock(open_postgres: Open) -> None:
    persistence = open_postgres("&options=-c%20deadlock_timeout%3D5ms", chain=True)
    ended = datetime.now(UTC) - timedelta(days=9)
    names = [f"run {number}" for number in range(120)]
    persistence.create_agent_runs(
        AgentRun("agent", name, status="completed", started_at=ended, finished_at=ended)
        for name in names
    )
    persistence.log_agent_run_events(
        AgentRunEvent("agent", name) for name in names for _ in range(40)
    )

    def delete(start: int, step: int) -> None:
        for name in names[start::step]:
            persistence.delete_agent_run(name)

    with ThreadPoolExecutor(3) as pool:
        done = [
            pool.submit(delete, -1, -1),
            pool.submit(delete, 0, 1),
            pool.submit(persistence.lifecycle.expire, "1d", check_clock=False),
        ]
        assert [outcome.exception(60) for outcome in done] == [None] * 3
    assert persistence.runs.count() == persistence.events.count() == 0


def test_concurrently_stored_records_are_known_at_any_default_isolation_level(
    open_postgres: Open,
) -> None:
    own = open_postgres("&options=-c%20default_transaction_isolation%3Drepeatable%5C%20read")
    other = open_postgres()
    for count in (1, 3):
        batch = [event(number, named=True) for number in range(10 * count, 11 * count)]
        with own.transaction():
            logged(own)
            other.log_agent_run_events(batch[-1:])
            own.log_agent_run_events(batch)
    assert sorted(logged(other)) == ["10", "30", "31", "32"]


def test_a_batch_that_cannot_get_the_lock_in_time_stores_nothing(tmp_path: Path) -> None:
    path = tmp_path / "agents.db"
    with (
        SQLitePersistence(path) as holder,
        SQLitePersistence(path, lock_timeout=0.05) as persistence,
    ):
        with holder.transaction():
            holder.create_agent_run(AgentRun("agent", "run"))
            with pytest.raises(BusyError):
                persistence.log_agent_run_events(event(n, named=True) for n in range(2_100))
        assert logged(persistence) == []
        assert persistence.log_agent_run_events(event(n) for n in range(2_100)) == 2_100


# --- killed -----------------------------------------------------------------------------------

WRITE = """
def events():
    for number in range(3_000):
        if not number % 500:
            print(number, flush=True)
        yield AgentRunEvent("agent", "run", data=str(number), event_id=f"event {number}")
    print("read", flush=True)

with connect(sys.argv[1]) as persistence:
    persistence.log_agent_run_events(events())
print("stored", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("url", ["sqlite", "postgres18"], indirect=True)
def test_a_batch_of_a_killed_process_is_stored_completely_or_not_at_all(
    url: str, persistence: Persistence
) -> None:
    """It can be sent again without checking the result."""
    whole = [str(number) for number in range(3_000)]
    for _ in soak.times(1):
        for said in ("2500", "read", "stored"):
            with Child(WRITE, url) as child:
                while child.read() != said:
                    pass
                last_words = child.kill()
            found = logged(persistence)
            assert found in ([], whole)
            if said == "stored" or "stored" in last_words:
                assert found == whole
            elif said != "read" and "read" not in last_words:
                assert found == []
            persistence.log_agent_run_events(event(number, named=True) for number in range(3_000))
            assert logged(persistence) == whole
            persistence.delete_agent_run("run")


@pytest.mark.slow
@pytest.mark.parametrize("url", ["sqlite", "postgres18"], indirect=True)
def test_an_interrupted_batch_is_stored_completely_or_not_at_all(
    url: str, persistence: Persistence
) -> None:
    """The interrupt is Ctrl-C; later calls work."""
    code = WRITE.replace(
        "    persistence.log_agent_run_events(events())\n",
        "    try:\n"
        "        persistence.log_agent_run_events(events())\n"
        "    except KeyboardInterrupt:\n"
        "        pass\n"
        "    persistence.log_agent_run_event(AgentRunEvent('agent', 'run', data='after'))\n",
    )
    for _ in soak.times(2):
        with Child(code, url) as child:
            while child.read() != "2000":
                pass
            child.interrupt()
            child.finish()
        found = logged(persistence)
        assert Counter(found)["after"] == 1
        assert len(found) in (1, 3_001)
        persistence.delete_agent_run("run")


# --- memory -----------------------------------------------------------------------------------

MEASURE = """
from pathlib import Path

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024

def events(count):
    for number in range(count):
        yield AgentRunEvent("agent", "run", data=f"{number} " + "x" * 3_000)

with connect(sys.argv[1]) as persistence:
    persistence.log_agent_run_events(events(4_000))
    before = peak()
    persistence.log_agent_run_events(events(int(sys.argv[2])))
    print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("url", ["sqlite", "postgres18"], indirect=True)
def test_a_long_batch_needs_no_more_memory_than_a_short_one(url: str) -> None:
    """Each event with its row takes more than three kilobytes."""
    with Child(MEASURE, url, str(20_000 * soak.FACTOR)) as child:
        megabytes = int(child.finish())
    assert megabytes < 20


# --- refused by the database ------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 700])
def test_a_batch_with_a_row_that_violates_a_constraint_is_refused(
    persistence: Persistence, at: int
) -> None:
    store = persistence._store
    persistence.create_agent_run(AgentRun("agent", "run"))
    before = everything(persistence)
    tables: tuple[Table[Any], ...] = (RUNS, EVENTS, USAGE)
    for kind, table in zip(MODELS, tables, strict=True):
        rows = [table.encode(record(kind, number)) for number in range(at + 2)]
        for row in rows:
            row.update({name: "2026-11-20T12:00:00.000000+00:00" for name in row if "_at" in name})
            row.update({name: row["created_at"] for name in row if name == "timestamp"})
        rows[at]["created_at"] = None
        with pytest.raises(InvalidValueError):
            store.insert_many(table, rows)
    assert everything(persistence) == before


def with_last_id(path: Path, last: int) -> SQLitePersistence:
    """A database whose one event has this id."""
    persistence = SQLitePersistence(path)
    persistence.log_agent_run_event(event(0))
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE agent_run_events SET id = ?", (last,))
        raw.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'agent_run_events'", (last,))
    return persistence


def test_very_large_ids_belong_to_their_rows(tmp_path: Path) -> None:
    with with_last_id(tmp_path / "agents.db", 2**62) as persistence:
        batch = [event(number, named=bool(number % 2)) for number in range(1, 40)]
        persistence.log_agent_run_events(batch)
        found = {event.id: event.data for event in persistence.get_agent_run_events("run")}
        assert found == {2**62: "0", **{each.id: each.data for each in batch}}


@pytest.mark.parametrize("last", [2**63 - 3, 2**63 - 1])
def test_a_batch_without_enough_ids_is_refused_completely(tmp_path: Path, last: int) -> None:
    """SQLite never reuses an id, so the table is full."""
    with with_last_id(tmp_path / "agents.db", last) as persistence:
        with pytest.raises(StorageFullError):
            persistence.log_agent_run_events([event(number) for number in range(1, 40)])
        assert [event.data for event in persistence.get_agent_run_events("run")] == ["0"]


def test_a_full_disk_stores_nothing_of_a_batch() -> None:
    with (
        small_disk(megabytes=8) as disk,
        SQLitePersistence(disk.folder / "agents.db") as persistence,
    ):
        for count in (20, 2_100):
            batch = [
                AgentRunEvent("agent", "run", data=f"{number} " + "x" * (20_000_000 // count))
                for number in range(count)
            ]
            with pytest.raises(StorageFullError):
                persistence.log_agent_run_events(batch)
        assert everything(persistence) == []
        persistence.log_agent_run_events(event(number) for number in range(2_100))
        assert len(logged(persistence)) == 2_100


def test_a_read_only_persistence_refuses_batches(url: str, persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("agent", "run"))
    before = everything(persistence)
    with connect(url, read_only=True) as reader:
        for kind in MODELS:
            for count in (1, 2, 1_001):
                with pytest.raises(AccessDeniedError):
                    write_all(reader, kind, (record(kind, number) for number in range(count)))
    assert everything(persistence) == before


@pytest.fixture
def clerk(open_postgres: Open, ask: Ask, schema_name: str) -> Iterator[PostgresPersistence]:
    """A role with all privileges on the tables and none on their sequences."""
    open_postgres()
    role = f"clerk_{uuid.uuid4().hex}"
    ask(f"CREATE ROLE {role} LOGIN")
    try:
        ask(f"GRANT USAGE ON SCHEMA {schema_name} TO {role}")
        rights = "SELECT, INSERT, UPDATE, DELETE"
        ask(f"GRANT {rights} ON ALL TABLES IN SCHEMA {schema_name} TO {role}")
        with open_postgres(f"&user={role}") as clerk:
            yield clerk
    finally:
        ask(f"DROP OWNED BY {role}")
        ask(f"DROP ROLE {role}")


def test_a_role_that_may_insert_may_insert_batches(clerk: PostgresPersistence) -> None:
    """COPY with ids must reserve them; a role without that privilege uses INSERT."""
    for kind, count in zip(MODELS, (5, 1_001, 5), strict=True):
        batch = [record(kind, number) for number in range(count)]
        write_all(clerk, kind, batch)
        assert [each for each in stored(clerk, kind) if each in batch] == batch
    with clerk.transaction():
        assert clerk.log_agent_run_events(event(n % 7, named=True) for n in range(20)) == 7
        with pytest.raises(ConflictError, match="'run 3'"):
            clerk.create_agent_runs([AgentRun("agent", "new"), AgentRun("agent", "run 3")])
        clerk.log_agent_run_events([AgentRunEvent("agent", "stub"), AgentRunEvent("agent", "stub")])
    assert clerk.get_agent_run("new") is None
    assert len(clerk.get_agent_run_events("stub")) == 2


def test_batches_work_behind_pgbouncer(pgbouncer: str, schema_name: str) -> None:
    """Its server connections change from one statement to the next."""
    with PostgresPersistence(dsn=pgbouncer, schema=schema_name, pgbouncer=True) as persistence:
        for kind in MODELS:
            write_all(persistence, kind, (record(kind, number) for number in range(1_001)))

        def send(thread: int) -> int:
            order = random.Random(thread).sample(range(300), 250)
            return persistence.log_agent_run_events(event(n, named=True) for n in order)

        with ThreadPoolExecutor(4) as threads:
            fresh = sum(threads.map(send, range(8)))
        names = [e.event_id for e in persistence.get_agent_run_events("run") if e.event_id]
        assert len(names) == len(set(names)) == fresh
        with persistence.transaction():
            persistence.log_agent_run_events(event(number) for number in range(2_100))


# --- lost connections -------------------------------------------------------------------------


@contextmanager
def held_up(dsn: str, schema_name: str) -> Iterator[None]:
    """An open transaction has written `event 5` and is not yet committed."""
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {schema_name}.agent_run_events "
            "(agent_id, run_id, timestamp, created_at, event_id) "
            "VALUES ('agent', 'run', now(), now(), 'event 5')"
        )
        yield
        connection.rollback()


def big_batch(megabytes: int) -> list[AgentRunEvent]:
    """A batch larger than the buffers on the way to the server: 3 megabytes, 20 by network."""
    return [
        AgentRunEvent("agent", "run", data="x" * (megabytes << 16) or "x", event_id=f"event {n}")
        for n in range(16)
    ]


@pytest.mark.parametrize("megabytes", [0, 3])
def test_a_batch_that_takes_too_long_is_cancelled_and_affects_nothing_else(
    open_postgres: Open, ask: Ask, application: str, dsn: str, schema_name: str, megabytes: int
) -> None:
    persistence = open_postgres(statement_timeout=0.2)
    persistence.create_agent_run(AgentRun("agent", "run"))
    sessions = "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
    before = ask(sessions, application)
    batch = big_batch(megabytes)
    with held_up(dsn, schema_name):
        with pytest.raises(UnavailableError, match="longer than statement_timeout"):
            persistence.log_agent_run_events(batch)
        with persistence.transaction():
            persistence.create_agent_run(AgentRun("agent", "other"))
            with pytest.raises(UnavailableError, match="longer than statement_timeout"):
                persistence.log_agent_run_events(batch)
    assert ask(sessions, application) == before
    assert logged(persistence) == []
    assert persistence.get_agent_run("other") is not None
    assert open_postgres().log_agent_run_events(batch) == 16


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [0, 20])
def test_a_batch_lost_in_the_network_times_out_and_can_be_sent_again(
    blackhole: BlackHole, postgres18: str, schema_name: str, megabytes: int
) -> None:
    """It is lost on the way, or its answer is; the server cannot enforce a deadline."""
    with PostgresPersistence(
        dsn=make_dsn(blackhole.dsn(postgres18), connect_timeout=5),
        schema=schema_name,
        statement_timeout=0.4,
        pgbouncer=True,
    ) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
        batch = big_batch(megabytes)
        with ThreadPoolExecutor(1) as thread:
            with held_up(postgres18, schema_name):
                sending = thread.submit(persistence.log_agent_run_events, batch)
                wait_until(lambda: waits_for_a_lock(postgres18, schema_name))
                blackhole.swallow()
            try:
                with pytest.raises(UnavailableError):
                    sending.result(10)
            finally:
                blackhole.cut()
        blackhole.forward()
        if megabytes:
            assert logged(persistence) == []
        persistence.log_agent_run_events(batch)
        assert len(logged(persistence)) == 16


def waits_for_a_lock(dsn: str, schema_name: str) -> bool:
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s",
            (f"COPY%{schema_name}%",),
        )
        return cursor.fetchone() is not None
