"""One PostgreSQL schema, many processes, including forks of a connected one."""

from __future__ import annotations

import multiprocessing
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from curio_persistence import (
    AgentRun,
    AgentRunEvent,
    ClosedError,
    Persistence,
    PostgresPersistence,
    connect,
)
from curio_persistence.backends.sql.migrations import migrations
from tests.backends.conftest import Ask, Open
from tests.support import soak
from tests.support.children import Fork

PROCESSES = 8


def log(persistence: Persistence, data: object) -> None:
    persistence.log_agent_run_event(AgentRunEvent("agent", "run", event_type="custom", data=data))


def logged(persistence: Persistence) -> list[str]:
    return [event.data for event in persistence.get_agent_run_events("run")]


@pytest.fixture
def persistence(open_postgres: Open) -> PostgresPersistence:
    persistence = open_postgres(max_connections=4)
    persistence.create_agent_run(AgentRun("agent", "run"))
    return persistence


def test_processes_that_create_one_schema_at_once_all_succeed(
    dsn: str, schema_name: str, ask: Ask
) -> None:
    for _ in soak.times(3):
        start = multiprocessing.get_context("fork").Barrier(PROCESSES)

        def create(start: threading.Barrier = start) -> None:  # type: ignore[assignment]
            start.wait(20)
            with PostgresPersistence(dsn=dsn, schema=schema_name) as persistence:
                log(persistence, "here")

        for fork in [Fork(create) for _ in range(PROCESSES)]:
            fork.result()
        with PostgresPersistence(dsn=dsn, schema=schema_name) as persistence:
            assert logged(persistence) == ["here"] * PROCESSES
        versions = ask(f"SELECT version FROM {schema_name}.schema_migrations ORDER BY 1")
        assert versions == [(step.version,) for step in migrations("postgres")]
        ask(f"DROP SCHEMA {schema_name} CASCADE")


def test_threads_that_create_one_schema_at_once_all_succeed(dsn: str, schema_name: str) -> None:
    start = threading.Barrier(PROCESSES)

    def create() -> None:
        start.wait(20)
        PostgresPersistence(dsn=dsn, schema=schema_name).close()

    with ThreadPoolExecutor(PROCESSES) as pool:
        for creating in [pool.submit(create) for _ in range(PROCESSES)]:
            creating.result()


def test_processes_that_read_and_then_write_lose_no_event(
    persistence: PostgresPersistence, dsn: str, schema_name: str
) -> None:
    def work() -> None:
        with PostgresPersistence(dsn=dsn, schema=schema_name) as own:
            for _ in soak.times(20):
                with own.transaction():
                    assert own.get_agent_run("run") is not None
                    log(own, "child")

    for fork in [Fork(work) for _ in range(PROCESSES)]:
        fork.result()
    assert len(logged(persistence)) == PROCESSES * len(soak.times(20))


def test_a_fork_opens_new_connections_and_does_not_use_the_parents(
    persistence: PostgresPersistence, ask: Ask, application: str
) -> None:
    def sessions() -> set[int]:
        question = "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
        return {pid for (pid,) in ask(question, application)}

    log(persistence, "parent")
    before = sessions()

    def write() -> None:
        for number in range(10):
            log(persistence, f"child {number}")
        assert "parent" in logged(persistence)
        persistence.close()

    fork = Fork(write)
    for number in range(10):
        log(persistence, f"parent {number}")
    fork.result()
    assert sessions() == before
    log(persistence, "parent")
    assert Counter(data.split()[0] for data in logged(persistence)) == {"parent": 12, "child": 10}


def test_a_fork_that_just_ends_does_not_affect_the_parents_connections(
    persistence: PostgresPersistence,
) -> None:
    Fork(lambda: log(persistence, "child")).result()
    Fork(lambda: None).result()
    log(persistence, "parent")
    assert logged(persistence) == ["child", "parent"]


def test_a_fork_inside_a_transaction_leaves_the_transaction_to_the_parent(
    persistence: PostgresPersistence,
) -> None:
    def use() -> None:
        with pytest.raises(ClosedError, match="forked inside this transaction"):
            log(persistence, "child")
        with pytest.raises(ClosedError, match="forked inside this transaction"):
            logged(persistence)

    with persistence.transaction():
        log(persistence, "parent")
        Fork(use).result()
        log(persistence, "parent again")
    assert logged(persistence) == ["parent", "parent again"]


def test_a_fork_that_leaves_an_inherited_transaction_can_continue(
    persistence: PostgresPersistence,
) -> None:
    transaction = persistence.transaction()

    def leave_it() -> None:
        with pytest.raises(ClosedError, match="forked inside this transaction"):
            transaction.__exit__(None, None, None)
        log(persistence, "child")

    transaction.__enter__()
    log(persistence, "parent")
    Fork(leave_it).result()
    log(persistence, "parent again")
    transaction.__exit__(None, None, None)
    assert sorted(logged(persistence)) == ["child", "parent", "parent again"]


@pytest.mark.slow
def test_forks_work_while_other_threads_read_and_write(open_postgres: Open) -> None:
    persistence = open_postgres(max_connections=4, statement_timeout=20.0)
    persistence.create_agent_run(AgentRun("agent", "run"))
    going_on = threading.Event()
    going_on.set()

    def work() -> int:
        count = 0
        while going_on.is_set():
            log(persistence, "thread")
            persistence.get_agent_run("run")
            count += 1
        return count

    def be_child() -> None:
        for _ in range(3):
            log(persistence, "child")
        persistence.get_agent_run("run")

    forks = soak.times(10)
    with ThreadPoolExecutor(6) as pool:
        workers = [pool.submit(work) for _ in range(6)]
        try:
            for _ in forks:
                Fork(be_child).result()
        finally:
            going_on.clear()
        written = sum(worker.result() for worker in workers)
    assert Counter(logged(persistence)) == {"thread": written, "child": 3 * len(forks)}


def log_through(url: str, data: str) -> None:
    with connect(url) as persistence:
        log(persistence, data)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing_works_by_url(
    persistence: PostgresPersistence, dsn: str, schema_name: str, method: str
) -> None:
    context = multiprocessing.get_context(method)
    url = f"{dsn}&schema={schema_name}"
    workers = [
        context.Process(target=log_through, args=(url, f"worker {number}")) for number in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    assert sorted(logged(persistence)) == ["worker 0", "worker 1"]
