"""A server that stops, a silent network, statements that take too long, a full disk."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress

import psycopg2
import pytest
from psycopg2.extensions import make_dsn

from curio_persistence import (
    AgentRun,
    AgentRunEvent,
    BusyError,
    Persistence,
    PostgresPersistence,
    StorageFullError,
    UnavailableError,
)
from tests.backends.conftest import Ask, Open, wait_until
from tests.support.blackhole import BlackHole
from tests.support.disks import SmallDisk, small_disk
from tests.support.postgres import PostgresServer


def log(persistence: Persistence, data: object = None) -> None:
    persistence.log_agent_run_event(AgentRunEvent("agent", "run", event_type="custom", data=data))


def logged(persistence: Persistence) -> list[str]:
    return [event.data for event in persistence.get_agent_run_events("run")]


# --- the server stops -------------------------------------------------------------------------


@pytest.fixture
def on_own_server(private_postgres: PostgresServer) -> Iterator[PostgresPersistence]:
    with PostgresPersistence(
        dsn=private_postgres.dsn, min_connections=3, max_connections=5
    ) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
        yield persistence


def test_no_call_fails_after_a_restart_of_the_server(
    on_own_server: PostgresPersistence, private_postgres: PostgresServer
) -> None:
    """No dead idle connection is handed out, whether or not it was used before."""
    meet = threading.Barrier(5)

    def write_together() -> None:
        with on_own_server.transaction():
            meet.wait(10)
            log(on_own_server)

    for _ in range(3):
        private_postgres.restart()
        with ThreadPoolExecutor(5) as pool:
            for writing in [pool.submit(write_together) for _ in range(5)]:
                writing.result()
    assert len(logged(on_own_server)) == 15


def test_while_the_server_is_down_calls_raise_and_afterwards_they_work(
    on_own_server: PostgresPersistence, private_postgres: PostgresServer
) -> None:
    with private_postgres.down():
        for _ in range(2):
            with pytest.raises(UnavailableError, match="Is the server running"):
                log(on_own_server)
            with pytest.raises(UnavailableError, match="Is the server running"):
                on_own_server.get_agent_run("run")
            with pytest.raises(UnavailableError), on_own_server.transaction():
                pytest.fail("the transaction began")
            assert not on_own_server.health_check()
        with pytest.raises(UnavailableError):
            PostgresPersistence(dsn=private_postgres.dsn)
    assert on_own_server.health_check()
    log(on_own_server, "afterwards")
    assert logged(on_own_server) == ["afterwards"]


def test_a_transaction_in_which_the_server_stopped_stores_nothing(
    on_own_server: PostgresPersistence, private_postgres: PostgresServer
) -> None:
    def work() -> None:
        with on_own_server.transaction():
            log(on_own_server, "before")
            private_postgres.restart()
            with pytest.raises(UnavailableError):
                log(on_own_server, "after")
            with pytest.raises(UnavailableError):
                logged(on_own_server)

    with pytest.raises(UnavailableError):
        work()
    assert logged(on_own_server) == []
    with on_own_server.transaction():
        log(on_own_server, "again")
    assert logged(on_own_server) == ["again"]


def test_a_session_that_an_administrator_ends_is_replaced(
    open_postgres: Open, ask: Ask, application: str
) -> None:
    persistence = open_postgres(max_connections=2)
    persistence.create_agent_run(AgentRun("agent", "run"))
    for _ in range(3):
        ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
            application,
        )
        wait_until(lambda: not sessions(ask, application))
        log(persistence)
    assert len(logged(persistence)) == 3


def sessions(ask: Ask, application: str) -> list[tuple[object, ...]]:
    return ask(
        "SELECT pid, state, query FROM pg_stat_activity WHERE application_name = %s", application
    )


def test_a_statement_whose_session_is_ended_raises(
    open_postgres: Open, ask: Ask, application: str, schema_name: str, dsn: str
) -> None:
    persistence = open_postgres(max_connections=1)
    persistence.create_agent_run(AgentRun("agent", "run"))
    with locked(dsn, schema_name), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(log, persistence)
        wait_until(lambda: any(state == "active" for _, state, _ in sessions(ask, application)))
        ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
            application,
        )
        with pytest.raises(UnavailableError):
            waiting.result(timeout=10)
    log(persistence)
    assert len(logged(persistence)) == 1


@contextmanager
def locked(dsn: str, schema_name: str) -> Iterator[None]:
    """Lock the tables for all other connections."""
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {schema_name}.agent_runs, {schema_name}.agent_run_events")
        yield


# --- statements that take too long ------------------------------------------------------------


def test_a_statement_that_takes_too_long_is_cancelled_and_its_connection_reused(
    open_postgres: Open, ask: Ask, application: str, dsn: str, schema_name: str
) -> None:
    persistence = open_postgres(statement_timeout=0.1)
    persistence.create_agent_run(AgentRun("agent", "run"))
    before = [pid for pid, *_ in sessions(ask, application)]
    with locked(dsn, schema_name):
        for call in (logged, log):
            with pytest.raises(UnavailableError, match="longer than statement_timeout"):
                call(persistence)
    assert logged(persistence) == []
    assert [pid for pid, *_ in sessions(ask, application)] == before


def test_a_read_that_takes_too_long_does_not_affect_its_transaction(
    open_postgres: Open, dsn: str, schema_name: str
) -> None:
    """PostgreSQL would refuse the rest, and then end the transaction silently."""
    persistence = open_postgres(statement_timeout=0.1)
    persistence.create_agent_run(AgentRun("agent", "run"))
    with persistence.transaction():
        persistence.create_agent_run(AgentRun("agent", "before"))
        with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {schema_name}.agent_llm_usage")
            with pytest.raises(UnavailableError, match="longer than statement_timeout"):
                persistence.get_llm_usage()
        persistence.create_agent_run(AgentRun("agent", "after"))
    assert {run.run_id for run in persistence.get_agent_runs()} == {"run", "before", "after"}


# --- the network ------------------------------------------------------------------------------


@pytest.fixture
def through_network(
    blackhole: BlackHole, postgres18: str, schema_name: str
) -> Iterator[PostgresPersistence]:
    dsn = make_dsn(blackhole.dsn(postgres18), connect_timeout=2)
    with PostgresPersistence(dsn=dsn, schema=schema_name, statement_timeout=0.2) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
        yield persistence


def given_up_within(seconds: float, blackhole: BlackHole, call: Callable[[], object]) -> None:
    """Assert that the block raises in time; otherwise cut the network, so that the test can end."""
    with ThreadPoolExecutor(1) as pool:
        calling = pool.submit(call)
        try:
            with pytest.raises(UnavailableError):
                calling.result(timeout=seconds)
        finally:
            blackhole.cut()


@pytest.mark.slow
@pytest.mark.parametrize("call", [log, logged])
def test_a_call_on_a_silent_network_times_out(
    through_network: PostgresPersistence,
    blackhole: BlackHole,
    call: Callable[[Persistence], object],
) -> None:
    """No timeout reaches the server there, and no socket reports an error."""
    blackhole.swallow()
    given_up_within(3, blackhole, lambda: call(through_network))
    blackhole.forward()
    log(through_network, "afterwards")
    assert "afterwards" in logged(through_network)


@pytest.mark.slow
def test_a_transaction_on_a_silent_network_times_out(
    through_network: PostgresPersistence, blackhole: BlackHole
) -> None:
    def work() -> None:
        with through_network.transaction():
            log(through_network, "before")
            blackhole.swallow()
            log(through_network, "lost")

    given_up_within(5, blackhole, work)
    blackhole.forward()
    assert logged(through_network) == []


@pytest.mark.slow
def test_connecting_through_a_silent_network_times_out(
    through_network: PostgresPersistence, blackhole: BlackHole
) -> None:
    blackhole.cut()
    wait_until(lambda: not_connected(through_network))
    blackhole.swallow()
    given_up_within(6, blackhole, lambda: log(through_network))
    blackhole.forward()
    log(through_network, "afterwards")
    assert "afterwards" in logged(through_network)


@pytest.mark.slow
def test_threads_that_connect_through_a_silent_network_do_not_wait_for_one_another(
    blackhole: BlackHole, postgres18: str, schema_name: str
) -> None:
    """One after another they would take 14 seconds."""
    dsn = make_dsn(blackhole.dsn(postgres18), connect_timeout=2)
    with PostgresPersistence(
        dsn=dsn, schema=schema_name, max_connections=8, pool_timeout=2, statement_timeout=1
    ) as persistence:
        blackhole.cut()
        wait_until(lambda: not_connected(persistence))
        blackhole.swallow()
        begin = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            failing = [pool.submit(log, persistence) for _ in range(8)]
            assert {type(each.exception(20)) for each in failing} == {UnavailableError}
        assert time.monotonic() - begin < 5
        blackhole.cut()
        blackhole.forward()


def test_connections_that_the_network_cut_are_replaced(
    through_network: PostgresPersistence, blackhole: BlackHole
) -> None:
    for _ in range(3):
        blackhole.cut()
        wait_until(lambda: not_connected(through_network))
        log(through_network)
    assert len(logged(through_network)) == 3


def not_connected(persistence: PostgresPersistence) -> bool:
    """Return whether this end knows of the cut: even on one machine it takes a moment."""
    idle = persistence._store._pool._idle  # type: ignore[attr-defined]
    return all(connection.has_input(0) for connection in idle)


# --- the end of the interpreter ---------------------------------------------------------------

_AT_EXIT = """
import builtins, sys
from curio_persistence import PersistenceError, PostgresPersistence

persistence = PostgresPersistence(dsn=sys.argv[1], schema=sys.argv[2])

class Late:
    def __del__(self):
        try:
            persistence.append_event("run", "agent", "late")
        except PersistenceError as error:
            print(type(error).__name__)
        else:
            print("stored")

transaction = persistence.transaction()
transaction.__enter__()
persistence.append_event("run", "agent", "left open")
builtins.late = Late()
"""


def test_at_the_end_of_the_interpreter_a_write_is_stored_or_raises_a_typed_error(
    postgres18: str, schema_name: str
) -> None:
    """Modules can no longer be imported there, and the driver imports some."""
    ended = subprocess.run(
        [sys.executable, "-c", _AT_EXIT, postgres18, schema_name],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stderr == ""
    with PostgresPersistence(dsn=postgres18, schema=schema_name) as persistence:
        found = [each.event_type for each in persistence.get_agent_run_events("run")]
    assert (ended.stdout, found) in [("ClosedError\n", []), ("stored\n", ["late"])]


# --- other connections ------------------------------------------------------------------------


def test_a_deadlock_ends_with_a_busy_error_for_one_of_two(open_postgres: Open) -> None:
    persistence = open_postgres("&options=-c%20deadlock_timeout%3D20ms")
    for name in ("one", "other"):
        persistence.create_agent_run(AgentRun("agent", name))
    meet = threading.Barrier(2)

    def change(first: str, second: str) -> str:
        try:
            with persistence.transaction():
                persistence.update_agent_run(first, AgentRun("agent", first, objective=first))
                with suppress(threading.BrokenBarrierError):
                    meet.wait(10)
                persistence.update_agent_run(second, AgentRun("agent", second, objective=first))
        except BusyError:
            return "busy"
        return "done"

    with ThreadPoolExecutor(2) as pool:
        outcomes = [
            pool.submit(change, "one", "other"),
            pool.submit(change, "other", "one"),
        ]
        assert sorted(outcome.result(timeout=10) for outcome in outcomes) == ["busy", "done"]


def test_a_server_with_no_connection_left_is_unavailable(private_postgres: PostgresServer) -> None:
    with closing(psycopg2.connect(private_postgres.dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("CREATE ROLE few LOGIN CONNECTION LIMIT 1")
            cursor.execute("GRANT CREATE ON DATABASE postgres TO few")
    dsn = make_dsn(private_postgres.dsn, user="few")
    with PostgresPersistence(dsn=dsn, pool_timeout=0.5) as persistence:
        with pytest.raises(UnavailableError, match="too many connections"):
            PostgresPersistence(dsn=dsn)
        with ThreadPoolExecutor(1) as pool, persistence.transaction():
            reading = pool.submit(persistence.get_agent_run, "run")
            with pytest.raises(UnavailableError, match="too many connections"):
                reading.result(timeout=10)
        assert persistence.get_agent_run("run") is None


# --- a full disk ------------------------------------------------------------------------------


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    with small_disk(megabytes=16) as disk:
        yield disk


@pytest.fixture
def on_small_disk(
    disk: SmallDisk, private_postgres: PostgresServer
) -> Iterator[PostgresPersistence]:
    """A schema whose tables are on a separate small disk, unlike the server's other files."""
    private_postgres.account.own(disk.folder)
    with closing(psycopg2.connect(private_postgres.dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE TABLESPACE small LOCATION '{disk.folder}'")
    dsn = make_dsn(private_postgres.dsn, options="-c default_tablespace=small")
    with PostgresPersistence(dsn=dsn) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
        yield persistence


@pytest.mark.slow
def test_a_full_disk_of_the_server_is_one_typed_error(
    on_small_disk: PostgresPersistence, disk: SmallDisk
) -> None:
    disk.fill()
    written = write_until_full(on_small_disk)
    assert len(logged(on_small_disk)) == written
    disk.make_room()
    log(on_small_disk)
    assert len(logged(on_small_disk)) == written + 1


def write_until_full(persistence: Persistence) -> int:
    """Write until it fails; return the number of writes that succeeded."""
    for number in range(10_000):
        try:
            log(persistence, "x" * 1500)
        except StorageFullError:
            return number
    raise AssertionError("the disk was never full")


@pytest.mark.slow
def test_a_transaction_continues_after_a_write_that_fails_on_a_full_server_disk(
    on_small_disk: PostgresPersistence, disk: SmallDisk
) -> None:
    """Only the failed write is rolled back; the others are committed."""
    disk.fill()
    write_until_full(on_small_disk)
    before = len(logged(on_small_disk))
    with on_small_disk.transaction():
        assert on_small_disk.delete_agent_run("nobody's") is False
        with pytest.raises(StorageFullError, match="free some space"):
            log(on_small_disk, "".join(map(str, range(1_000_000))))
        disk.make_room()
        log(on_small_disk, "afterwards")
    assert len(logged(on_small_disk)) == before + 1
