"""Few connections for many threads: opened on demand, waited for in order, reused, replaced."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from curio_persistence import (
    AgentRun,
    AgentRunEvent,
    ClosedError,
    ConfigurationError,
    ConflictError,
    Persistence,
    PoolTimeoutError,
    PostgresPersistence,
    SchemaMismatchError,
    UnavailableError,
)
from curio_persistence.backends.postgres.store import PostgresStore
from tests.backends.conftest import Ask, Open, wait_until
from tests.support import soak
from tests.support.postgres import PostgresServer

Sessions = Callable[[], set[int]]


@pytest.fixture
def sessions(ask: Ask, application: str) -> Sessions:
    """The server's processes for this test's connections."""

    def sessions() -> set[int]:
        question = "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
        return {pid for (pid,) in ask(question, application)}

    return sessions


def event(data: object = None) -> AgentRunEvent:
    return AgentRunEvent("agent", "run", event_type="custom", data=data)


def store_of(persistence: Persistence) -> PostgresStore:
    assert isinstance(persistence._store, PostgresStore)
    return persistence._store


def wait_for_queue(persistence: Persistence, length: int) -> None:
    wait_until(lambda: len(store_of(persistence)._pool._permits._queue) >= length)


def test_more_threads_than_connections_wait_their_turn(
    open_postgres: Open, sessions: Sessions
) -> None:
    persistence = open_postgres(max_connections=2)
    persistence.create_agent_run(AgentRun("agent", "run"))
    seen = set()

    def write_and_read(writer: int) -> None:
        for number in range(25):
            persistence.log_agent_run_event(event([writer, number]))
            persistence.get_agent_run("run")

    with ThreadPoolExecutor(8) as pool:
        for writing in [pool.submit(write_and_read, number) for number in range(8)]:
            writing.result()
            seen |= sessions()
    assert len(seen) <= 2
    assert len(persistence.get_agent_run_events("run")) == 200


def test_connections_are_given_in_the_order_of_requests(open_postgres: Open) -> None:
    persistence = open_postgres(max_connections=1)
    persistence.create_agent_run(AgentRun("agent", "run"))
    with ThreadPoolExecutor(10) as pool, persistence.transaction():
        for number in range(10):
            pool.submit(persistence.log_agent_run_event, event(number))
            wait_for_queue(persistence, number + 1)
    found = sorted(persistence.get_agent_run_events("run"), key=lambda each: each.id or 0)
    assert [each.data for each in found] == [str(number) for number in range(10)]


def test_a_timeout_names_the_holders_of_the_connections(open_postgres: Open) -> None:
    persistence = open_postgres(max_connections=1, pool_timeout=0.1)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with persistence.transaction():
            held.set()
            done.wait(10)

    thread = threading.Thread(target=hold, name="the-nightly-import")
    thread.start()
    held.wait(10)
    try:
        with pytest.raises(PoolTimeoutError, match="the-nightly-import") as caught:
            persistence.get_agent_run("run")
        assert isinstance(caught.value, TimeoutError)
        assert isinstance(caught.value, UnavailableError)
        assert not persistence.health_check()
    finally:
        done.set()
        thread.join()
    assert persistence.get_agent_run("run") is None


def test_connections_are_opened_on_demand_and_reused(
    open_postgres: Open, sessions: Sessions
) -> None:
    """Holds for those above the minimum, too: a connection costs more than a hundred statements."""
    persistence = open_postgres(min_connections=1, max_connections=4)
    assert len(sessions()) == 1
    meet = threading.Barrier(4)

    def be_inside_together() -> None:
        with persistence.transaction():
            meet.wait(10)

    with ThreadPoolExecutor(4) as pool:
        for work in [pool.submit(be_inside_together) for _ in range(4)]:
            work.result()
        opened = sessions()
        assert len(opened) == 4
        for work in [pool.submit(be_inside_together) for _ in range(4)]:
            work.result()
    for _ in range(10):
        persistence.get_agent_run("run")
    assert sessions() == opened


def test_the_minimum_of_connections_is_opened_at_once(
    open_postgres: Open, sessions: Sessions
) -> None:
    persistence = open_postgres(min_connections=3)
    assert len(sessions()) == 3
    persistence.get_agent_run("run")
    assert len(sessions()) == 3


def test_without_initializing_nothing_is_connected(open_postgres: Open, sessions: Sessions) -> None:
    persistence = open_postgres(min_connections=3, initialize=False)
    assert sessions() == set()
    with pytest.raises(SchemaMismatchError):
        persistence.get_agent_run("run")


def test_many_threads_acquire_and_release_at_once(open_postgres: Open, sessions: Sessions) -> None:
    """The last free connection may go to another thread at any moment."""
    persistence = open_postgres(max_connections=6)

    def read() -> None:
        for _ in soak.times(100):
            persistence.get_agent_run("run")

    with ThreadPoolExecutor(8) as pool:
        for work in [pool.submit(read) for _ in range(8)]:
            work.result()
    assert len(sessions()) <= 6
    assert not store_of(persistence)._pool._permits.held()


@pytest.mark.parametrize(
    ("least", "most"), [(-1, 5), (6, 5), (0, 0), (1, 0)], ids=lambda number: str(number)
)
def test_invalid_sizes_are_refused(open_postgres: Open, least: int, most: int) -> None:
    with pytest.raises(ConfigurationError, match=f"not {least} and {most}"):
        open_postgres(min_connections=least, max_connections=most)


@pytest.mark.parametrize("setting", ["pool_timeout", "statement_timeout"])
@pytest.mark.parametrize("value", [-1, float("nan"), "30", True])
def test_a_timeout_is_a_number_of_seconds(open_postgres: Open, setting: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"{setting} is a number of seconds"):
        open_postgres(**{setting: value})


def test_the_server_knows_the_connections_by_name(
    open_postgres: Open, ask: Ask, dsn: str, sessions: Sessions
) -> None:
    question = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'curio_persistence'"
    [(before,)] = ask(question)
    open_postgres(dsn=dsn)
    assert ask(question) == [(before + 1,)]
    open_postgres()
    assert len(sessions()) == 1, "the name that the user gave is kept"


def test_close_ends_every_connection(open_postgres: Open, sessions: Sessions) -> None:
    persistence = open_postgres(min_connections=2)
    assert len(sessions()) == 2
    persistence.close()
    wait_until(lambda: not sessions())
    persistence.close()
    with pytest.raises(ClosedError, match="was closed"):
        persistence.get_agent_run("run")
    with pytest.raises(ClosedError, match="was closed"), persistence.transaction():
        pytest.fail("the transaction began")


def test_closing_while_others_use_it_raises_only_closed_errors(
    open_postgres: Open, sessions: Sessions
) -> None:
    persistence = open_postgres(max_connections=3)
    persistence.create_agent_run(AgentRun("agent", "run"))
    busy = threading.Barrier(7)

    def work() -> None:
        busy.wait(10)
        with pytest.raises(ClosedError):
            read_and_write_for_ever(persistence)

    with ThreadPoolExecutor(6) as pool:
        workers = [pool.submit(work) for _ in range(6)]
        busy.wait(10)
        persistence.close()
        for worker in workers:
            worker.result(timeout=10)
    wait_until(lambda: not sessions())


def read_and_write_for_ever(persistence: Persistence) -> None:
    while True:
        persistence.log_agent_run_event(event())
        with persistence.transaction():
            persistence.get_agent_run("run")


def test_a_persistence_that_could_not_be_opened_leaves_no_connection(
    open_postgres: Open, sessions: Sessions
) -> None:
    with pytest.raises(SchemaMismatchError):
        open_postgres(read_only=True)
    wait_until(lambda: not sessions())


def test_a_connection_is_returned_without_an_open_transaction(
    open_postgres: Open, ask: Ask, application: str
) -> None:
    persistence = open_postgres(max_connections=1)
    with suppress(LookupError), persistence.transaction():
        raise LookupError
    with suppress(LookupError), persistence.transaction():
        persistence.update_agent_run("nobody's", AgentRun("agent", "nobody's"))
    states: list[tuple[Any, ...]] = ask(
        "SELECT state FROM pg_stat_activity WHERE application_name = %s", application
    )
    assert states == [("idle",)]


# --- streams ----------------------------------------------------------------------------------


def test_streams_count_among_the_connections_and_the_error_says_so(
    open_postgres: Open, sessions: Sessions
) -> None:
    persistence = open_postgres(max_connections=2, pool_timeout=0.2)
    for number in range(3):
        persistence.create_agent_run(AgentRun("agent", f"run {number}"))
    streams = [persistence.iter_agent_runs(), persistence.iter_agent_runs()]
    begun = [iter(stream) for stream in streams]
    assert {next(each).run_id for each in begun} == {"run 2"}
    with pytest.raises(PoolTimeoutError, match="Open streams or snapshots keep 2 of them"):
        next(iter(persistence.iter_agent_runs()))
    with pytest.raises(PoolTimeoutError, match="Open streams or snapshots keep 2 of them"):
        persistence.log_agent_run_event(event())
    assert len(sessions()) <= 2
    assert [len(list(each)) for each in begun] == [2, 2]
    persistence.log_agent_run_event(event())


def test_an_abandoned_stream_returns_its_connection(open_postgres: Open) -> None:
    persistence = open_postgres(max_connections=1, pool_timeout=5)
    for number in range(3):
        persistence.create_agent_run(AgentRun("agent", f"run {number}"))
    for _ in persistence.iter_agent_runs():
        break
    persistence.log_agent_run_event(event())
    begun = iter(persistence.iter_agent_runs())
    next(begun)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(persistence.log_agent_run_event, event())
        wait_for_queue(persistence, 1)
        del begun
        writing.result(timeout=10)


# --- transactions -----------------------------------------------------------------------------


def test_a_statement_in_a_transaction_is_one_round_trip(
    private_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its savepoint is sent with it."""
    with PostgresPersistence(dsn=private_postgres.dsn) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
        sent = 0
        execute = PostgresStore._execute

        def counting(*args: Any) -> Any:
            nonlocal sent
            sent += 1
            return execute(*args)

        monkeypatch.setattr(PostgresStore, "_execute", counting)
        with persistence.transaction():
            for _ in range(3):
                persistence.log_agent_run_event(event())
            persistence.get_agent_run("run")
        assert sent == 1 + 4 + 1


def test_failures_in_nested_transactions_roll_back_only_themselves(open_postgres: Open) -> None:
    persistence = open_postgres()
    persistence.create_agent_run(AgentRun("agent", "run"))

    def log_and_fail(name: str) -> None:
        persistence.log_agent_run_event(event(name))
        for _ in range(2):
            with pytest.raises(ConflictError):
                persistence.create_agent_run(AgentRun("agent", "run"))

    with persistence.transaction():
        log_and_fail("first")
        with persistence.transaction():
            log_and_fail("inner")
        with suppress(LookupError), persistence.transaction():
            log_and_fail("undone")
            raise LookupError
        log_and_fail("last")
    found = {each.data for each in persistence.get_agent_run_events("run")}
    assert found == {"first", "inner", "last"}


def test_a_pool_larger_than_the_server_allows_shares_the_available_connections(
    postgres18: str,
) -> None:
    with closing(psycopg2.connect(postgres18)) as server, server.cursor() as cursor:
        server.autocommit = True
        cursor.execute("DROP ROLE IF EXISTS narrow")
        cursor.execute("CREATE ROLE narrow LOGIN CONNECTION LIMIT 3")
        cursor.execute("GRANT CREATE ON DATABASE postgres TO narrow")
        dsn = make_dsn(**{**parse_dsn(postgres18), "user": "narrow"})
        with PostgresPersistence(dsn=dsn, schema="narrow") as persistence:

            def write(_: int) -> None:
                for _ in range(20):
                    persistence.log_agent_run_event(event())

            with ThreadPoolExecutor(10) as pool:
                list(pool.map(write, range(10)))
            assert persistence.count_events() == 200
        cursor.execute("DROP SCHEMA narrow CASCADE")
        cursor.execute("DROP OWNED BY narrow")
        cursor.execute("DROP ROLE narrow")
