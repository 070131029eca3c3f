"""An agent continues, with its result or its exception, whatever happens to the database."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from curio_persistence import (
    AgentRun,
    AgentRunEvent,
    Persistence,
    PostgresPersistence,
    SQLitePersistence,
    UnavailableError,
    connect,
)
from tests.support.blackhole import BlackHole
from tests.support.children import Child
from tests.support.postgres import PostgresServer

MOST = 2.0
"""Seconds that a run may cost its agent, all writes together; the margin is for a busy machine."""
MARGIN = 1.5

LOCK = """
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """A SQLite file whose lock another process holds."""
    with Child(LOCK, path) as child:
        child.read()
        yield
        child.finish()


class AgentError(Exception):
    pass


def agent(persistence: Persistence, fail: Callable[[], object]) -> tuple[str, float, int]:
    """Work, with ten writes or more; return the result, the seconds and the records dropped."""
    begin = time.monotonic()
    with persistence.record_run(agent_id="agent") as run:
        for number in range(5):
            with run.tool("search", {"q": number}) as call:
                call.result = number
        run.llm_call(model="m", prompt="hi", response="ho")
        fail()
        result = "the answer"
        run.finish(result)
    return result, time.monotonic() - begin, run.dropped


def check(persistence: Persistence) -> None:
    """Assert that a run costs little, its end is the agent's, and the next run costs nothing."""
    result, seconds, dropped = agent(persistence, lambda: None)
    print(f"{seconds:.2f} s")  # The documents give these figures.
    assert result == "the answer"
    assert dropped >= 10
    assert seconds < MOST + MARGIN
    begin = time.monotonic()
    with pytest.raises(AgentError):
        agent(persistence, raise_error)
    assert time.monotonic() - begin < MARGIN


def raise_error() -> None:
    raise AgentError


def test_a_locked_file_costs_a_run_two_seconds_at_most(tmp_path: Path) -> None:
    path = tmp_path / "agents.db"
    with SQLitePersistence(path) as persistence:
        with locked(path):
            check(persistence)
        check_recovers(persistence)


def check_recovers(persistence: Persistence) -> None:
    """Assert that records are stored again some seconds later."""
    deadline = time.monotonic() + 20
    while agent(persistence, lambda: None)[2]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert persistence.get_agent_runs(limit=1)[0].status == "completed"


def test_other_calls_wait_as_long_as_their_settings_allow(tmp_path: Path) -> None:
    path = tmp_path / "agents.db"
    with SQLitePersistence(path, lock_timeout=2.0) as persistence:
        with locked(path):
            agent(persistence, lambda: None)
            begin = time.monotonic()
            with pytest.raises(UnavailableError):
                persistence.create_agent_run(AgentRun("agent", "run"))
            assert time.monotonic() - begin > 1.9
        persistence.create_agent_run(AgentRun("agent", "run"))


def test_with_raise_a_write_waits_as_long_as_settings_allow(tmp_path: Path) -> None:
    path = tmp_path / "agents.db"
    with SQLitePersistence(path, lock_timeout=1.5) as persistence, locked(path):
        begin = time.monotonic()
        with pytest.raises(UnavailableError):
            persistence.record_run(agent_id="agent", on_error="raise").__enter__()
        assert time.monotonic() - begin > 1.4


def test_a_frozen_server_costs_a_run_two_seconds_at_most(private_postgres: PostgresServer) -> None:
    with PostgresPersistence(dsn=private_postgres.dsn) as persistence:
        with private_postgres.frozen():
            check(persistence)
        check_recovers(persistence)


def test_a_black_hole_costs_a_run_two_seconds_at_most(
    blackhole: BlackHole, postgres18: str, schema_name: str
) -> None:
    with PostgresPersistence(dsn=blackhole.dsn(postgres18), schema=schema_name) as persistence:
        blackhole.swallow()
        check(persistence)
        blackhole.forward()
        check_recovers(persistence)


def test_a_black_hole_for_new_connections_costs_a_run_two_seconds_at_most(
    blackhole: BlackHole, postgres18: str, schema_name: str
) -> None:
    with PostgresPersistence(dsn=blackhole.dsn(postgres18), schema=schema_name) as persistence:
        blackhole.cut()
        blackhole.swallow()
        check(persistence)


def test_a_stopped_server_costs_a_run_two_seconds_at_most(
    private_postgres: PostgresServer,
) -> None:
    with PostgresPersistence(dsn=private_postgres.dsn) as persistence:
        with private_postgres.down():
            check(persistence)
        check_recovers(persistence)


def test_several_agents_wait_at_the_same_time(
    blackhole: BlackHole, postgres18: str, schema_name: str
) -> None:
    dsn = blackhole.dsn(postgres18)
    with (
        PostgresPersistence(dsn=dsn, schema=schema_name, max_connections=2) as persistence,
        ThreadPoolExecutor(8) as agents,
    ):
        blackhole.swallow()
        begin = time.monotonic()
        ends = [agents.submit(agent, persistence, lambda: None) for _ in range(8)]
        assert [end.result()[0] for end in ends] == ["the answer"] * 8
        assert time.monotonic() - begin < MOST + MARGIN


@pytest.mark.slow
def test_by_default_a_call_into_a_black_hole_ends_after_ten_seconds(
    blackhole: BlackHole, postgres18: str, schema_name: str
) -> None:
    with PostgresPersistence(dsn=blackhole.dsn(postgres18), schema=schema_name) as persistence:
        blackhole.swallow()
        begin = time.monotonic()
        with pytest.raises(UnavailableError):
            persistence.append_event("run", "agent", "custom")
        assert 9 < time.monotonic() - begin < 11 + MARGIN


def test_a_program_starts_while_its_server_is_down(private_postgres: PostgresServer) -> None:
    with private_postgres.down():
        persistence = connect(private_postgres.dsn, wait=False)
        assert agent(persistence, lambda: None)[0] == "the answer"
        with pytest.raises(UnavailableError):
            persistence.get_agent_runs()
    with persistence:
        assert persistence.get_agent_runs() == []  # The tables are created.
        persistence.create_agent_run(AgentRun("agent", "run"))
        check_recovers(persistence)


def in_transaction(persistence: Persistence) -> None:
    with persistence.transaction():
        persistence.create_agent_run(AgentRun("agent", "run"))


FIRST_CALLS: dict[str, Callable[[Persistence], object]] = {
    "run": lambda p: p.create_agent_run(AgentRun("agent", "run")),
    "batch": lambda p: p.log_agent_run_events([AgentRunEvent("agent", "run")] * 3),
    "transaction": in_transaction,
    "stream": lambda p: list(p.iter_agent_runs()),
    "recorder": lambda p: agent(p, lambda: None),
}


@pytest.mark.parametrize("name", FIRST_CALLS)
def test_the_first_call_that_reaches_a_server_creates_the_tables(
    postgres18: str, schema_name: str, name: str
) -> None:
    with PostgresPersistence(dsn=postgres18, schema=schema_name, wait=False) as persistence:
        FIRST_CALLS[name](persistence)
        assert persistence._store.schema_version() > 0


def test_a_buffered_run_does_not_wait_and_is_stored_when_the_file_is_free(tmp_path: Path) -> None:
    path = tmp_path / "agents.db"
    with SQLitePersistence(path).buffered(max_seconds=0.01) as persistence:
        with locked(path):
            result, seconds, dropped = agent(persistence, lambda: None)
            print(f"{seconds:.3f} s")
            assert (result, dropped) == ("the answer", 0)
            assert seconds < MARGIN
        [run] = persistence.get_agent_runs()
        assert (run.status, run.final_synthesis_output) == ("completed", "the answer")
        assert len(persistence.get_agent_run_events(run.run_id)) == 12
        assert persistence.dropped == {}


def test_a_full_queue_costs_a_run_two_seconds_at_most(tmp_path: Path) -> None:
    path = tmp_path / "agents.db"
    persistence = SQLitePersistence(path)
    with persistence.buffered(max_items=3, max_seconds=0) as buffered, locked(path):
        result, seconds, dropped = agent(buffered, lambda: None)
        print(f"{seconds:.2f} s")
        assert result == "the answer"
        assert seconds < MOST + MARGIN
        assert dropped >= 10
