"""A streaming standby answers pages and statistics, the primary what was just written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    ConfigurationError,
    DatabaseConfig,
    PostgresPersistence,
    UnsupportedError,
)
from tests.backends.conftest import wait_until
from tests.support.postgres import PostgresServer, StandbyServer
from tests.support.replicas import new_replica_url
from tests.support.server import ServerUnavailable

pytestmark = pytest.mark.slow

Open = Callable[..., PostgresPersistence]


@pytest.fixture(scope="module")
def primary(new_data: Any) -> Iterator[PostgresServer]:
    with PostgresServer(data=new_data) as server:
        yield server


@pytest.fixture(scope="module")
def standby(primary: PostgresServer) -> Iterator[StandbyServer]:
    try:
        with StandbyServer(primary) as server:
            yield server
    except ServerUnavailable as error:
        pytest.fail(str(error))


@pytest.fixture
def open_both(
    primary: PostgresServer, standby: StandbyServer, request: pytest.FixtureRequest
) -> Iterator[Open]:
    """Opens a schema of this test on the primary, with the standby for reading."""
    opened: list[PostgresPersistence] = []

    def open_it(**settings: Any) -> PostgresPersistence:
        settings = {"dsn": primary.dsn, "read_dsn": standby.dsn, **settings}
        opened.append(PostgresPersistence(schema=request.node.name, **settings))
        return opened[-1]

    yield open_it
    for each in opened:
        each.close()


@pytest.fixture
def paused(standby: StandbyServer) -> Iterator[Callable[[], None]]:
    """Lets the standby fall behind until the function that it returns is called."""

    def go_on() -> None:
        ask(standby, "SELECT pg_wal_replay_resume()")

    ask(standby, "SELECT pg_wal_replay_pause()")
    wait_until(lambda: ask(standby, "SELECT pg_get_wal_replay_pause_state()") == [("paused",)])
    yield go_on
    go_on()


def ask(server: PostgresServer, statement: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(server.dsn)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(statement)
        return cursor.fetchall()


def by_replica(persistence: PostgresPersistence) -> bool:
    store = persistence._store
    return store.for_reading is not store


def record(persistence: PostgresPersistence, name: str) -> None:
    persistence.create_agent_run(AgentRun("agent", name, status="completed"))
    persistence.log_agent_run_events(AgentRunEvent("agent", name) for _ in range(3))
    persistence.log_llm_usage(AgentLLMUsage("agent", name, model="m", input_tokens=3))


def test_pages_and_statistics_come_from_the_standby(open_both: Open) -> None:
    persistence = open_both()
    record(persistence, "run")
    with open_both(read_dsn=None) as alone:
        wait_until(lambda: by_replica(persistence))
        replica = persistence._store.for_reading
        asked: list[str] = []
        run = replica._run_anywhere
        replica._run_anywhere = lambda sql, params: asked.append(sql) or run(sql, params)
        for question in (
            lambda p: list(p.query_agent_runs()),
            lambda p: list(p.query_events(run_id="run")),
            lambda p: list(p.query_llm_usage()),
            lambda p: (p.count_agent_runs(), p.count_events(), p.count_llm_usage()),
            lambda p: p.get_agent_run_stats("agent"),
            lambda p: list(p.usage.totals(group_by="agent")),
            lambda p: list(p.runs.totals(group_by="agent")),
        ):
            before = len(asked)
            assert question(persistence) == question(alone)
            assert len(asked) > before


def test_what_was_just_written_is_read_from_the_primary(
    open_both: Open, paused: Callable[[], None]
) -> None:
    persistence = open_both(read_staleness=60)
    for number in range(3):
        record(persistence, f"run-{number}")
        assert not by_replica(persistence)
        assert persistence.count_agent_runs() == number + 1
        assert len(persistence.query_agent_runs()) == number + 1
        assert persistence.get_agent_run_stats()["total_runs"] == number + 1
    with persistence.transaction():
        persistence.create_agent_run(AgentRun("agent", "grouped"))
        assert persistence.count_agent_runs() == 4
    assert persistence.count_agent_runs() == 4
    paused()
    wait_until(lambda: by_replica(persistence))
    assert persistence.count_agent_runs() == 4
    with persistence.transaction():
        assert not by_replica(persistence)


def test_what_others_write_is_seen_within_the_bound(
    open_both: Open, standby: StandbyServer
) -> None:
    writer, reader = open_both(read_dsn=None), open_both(read_staleness=0.5)
    record(writer, "first")
    wait_until(lambda: by_replica(reader) and reader.count_agent_runs() == 1)
    ask(standby, "SELECT pg_wal_replay_pause()")
    try:
        record(writer, "second")
        begin = time.monotonic()
        wait_until(lambda: reader.count_agent_runs() == 2)
        assert time.monotonic() - begin < 5
        assert not by_replica(reader)
    finally:
        ask(standby, "SELECT pg_wal_replay_resume()")
    wait_until(lambda: by_replica(reader))


def test_without_its_standby_the_primary_answers(
    open_both: Open, primary: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    with StandbyServer(primary) as other:
        persistence = open_both(read_dsn=other.dsn, read_staleness=0.1)
        record(persistence, "run")
        wait_until(lambda: by_replica(persistence))
    for _ in range(3):
        assert persistence.count_agent_runs() == 1
    assert "The replica is passed by" in caplog.text
    away = open_both(read_dsn=f"{primary.dsn}&port=1&connect_timeout=2")
    assert away.count_agent_runs() == 1


def test_another_database_is_refused(
    open_both: Open, primary: PostgresServer, request: pytest.FixtureRequest
) -> None:
    ask_ = psycopg2.connect(primary.dsn)
    ask_.autocommit = True
    with closing(ask_), ask_.cursor() as cursor:
        cursor.execute("CREATE DATABASE another")
    another = primary.dsn.replace("/postgres?", "/another?")
    PostgresPersistence(dsn=another, schema=request.node.name).close()
    persistence = open_both(read_dsn=another)
    record(persistence, "run")
    with pytest.raises(ConfigurationError, match="another database"):
        persistence.count_agent_runs()
    with pytest.raises(ConfigurationError, match="read_staleness"):
        open_both(read_staleness=-1)
    with pytest.raises(ConfigurationError, match=r"^read_dsn .*: .* does not know: schema"):
        open_both(read_dsn=f"{primary.dsn}&schema=agent_sdk")


def test_the_environment_names_the_standby() -> None:
    environment = {
        "CURIO_DATABASE_URL": "postgresql://user@here/db",
        "CURIO_READ_DSN": "postgresql://user:secret@there/db",
    }
    config = DatabaseConfig.from_env(environment, dotenv=False)
    assert config.read_dsn == environment["CURIO_READ_DSN"]
    assert "secret" not in repr(config)
    told = str(DatabaseConfig.explain(environment, dotenv=False))
    assert "there/db" in told
    assert "secret" not in told
    assert DatabaseConfig.from_env({"CURIO_READ_DSN": "x"}, dotenv=False).read_dsn is None


def test_a_standby_is_not_replicated(primary: PostgresServer, standby: StandbyServer) -> None:
    """It does not know the open transactions, whose rows would be missed."""
    with PostgresPersistence(dsn=primary.dsn, schema="replicated") as source:
        source.create_agent_run(AgentRun("agent", "run"))
    wait_until(lambda: ask(standby, "SELECT to_regclass('replicated.agent_runs')") != [(None,)])
    settings = {"dsn": standby.dsn, "schema": "replicated", "read_only": True}
    with (
        PostgresPersistence(**settings) as reading,
        pytest.raises(UnsupportedError, match=r"standby.*replicate the primary"),
    ):
        reading.replicate(new_replica_url())
