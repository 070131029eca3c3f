"""Migrations beside programs that use the tables meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import psycopg2
import pytest

from curio_persistence import AgentRunEvent, BusyError, PostgresPersistence, UnavailableError
from curio_persistence.backends.postgres import ddl
from curio_persistence.backends.sql import migrations
from curio_persistence.backends.sql.migrations import Migration
from tests.backends.conftest import Ask, Open, wait_until

COLUMN = Migration(
    901,
    "scratch_column",
    "additive",
    "c1",
    "-- additive: a column.\n"
    "ALTER TABLE {schema}.agent_run_events ADD COLUMN scratch TEXT;\n"
    "UPDATE {schema}.agent_run_events SET scratch = event_type;",
)
INDEX = Migration(
    902,
    "scratch_index",
    "additive",
    "c2",
    "-- additive, concurrent: an index instead of another.\n"
    "CREATE INDEX scratch_by_type ON {schema}.agent_run_events (event_type, data)\n"
    "    WHERE data IS NOT NULL;\n"
    "-- It did the same.\n"
    "DROP INDEX {schema}.agent_runs_by_parent;\n",
)


@pytest.fixture
def filled(open_postgres: Open) -> PostgresPersistence:
    """A schema with so many events that changing them takes a while."""
    persistence = open_postgres()
    for number in range(4):
        persistence.log_agent_run_events(
            AgentRunEvent("agent", "run", event_type="step", data={"batch": number, "at": at})
            for at in range(5_000)
        )
    return persistence


@pytest.fixture
def _two_new_steps(filled: PostgresPersistence, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = (*migrations.migrations("postgres"), COLUMN, INDEX)
    monkeypatch.setattr(migrations, "migrations", lambda dialect: steps)
    monkeypatch.setattr(ddl, "_LOCK_TIMEOUT", "200ms")
    monkeypatch.setattr(ddl, "_PAUSE", 0.1)


def validity(ask: Ask, schema_name: str) -> dict[str, bool]:
    """Return for each index of the schema whether it can be used."""
    found = ask(
        "SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "WHERE c.relnamespace = %s::regnamespace",
        schema_name,
    )
    return dict(found)


@contextmanager
def idle_reader(dsn: str, schema_name: str) -> Iterator[None]:
    """Keep a transaction open that has read events."""
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {schema_name}.agent_run_events")
        yield
        connection.rollback()


@pytest.mark.usefixtures("_two_new_steps")
def test_a_migration_neither_times_out_nor_blocks_writers(
    filled: PostgresPersistence, open_postgres: Open, dsn: str, ask: Ask, schema_name: str
) -> None:
    slowest, done = 0.0, threading.Event()

    def write() -> None:
        nonlocal slowest
        while not done.is_set():
            begin = time.monotonic()
            filled.append_event("run", "agent", "live")
            slowest = max(slowest, time.monotonic() - begin)

    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(write)
        with idle_reader(dsn, schema_name):
            migrating = pool.submit(open_postgres, statement_timeout=0.1)
            time.sleep(1.5)
            assert not migrating.done()
            reached_by_writer = slowest
        assert migrating.result(30)._store.schema_version() == 902
        done.set()
        writing.result()
    assert reached_by_writer < 1.0, "the writer waited for the reader"
    found = validity(ask, schema_name)
    assert found["scratch_by_type"]
    assert "agent_runs_by_parent" not in found


@pytest.mark.usefixtures("_two_new_steps")
def test_a_migration_that_never_gets_its_lock_names_the_cause(
    open_postgres: Open, dsn: str, schema_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ddl, "_TRIES", 2)
    with idle_reader(dsn, schema_name), pytest.raises(BusyError, match="in the way"):
        open_postgres()


@pytest.mark.usefixtures("_two_new_steps")
def test_programs_that_migrate_at_once_wait_for_one_another(open_postgres: Open) -> None:
    with ThreadPoolExecutor(4) as pool:
        opening = [pool.submit(open_postgres) for _ in range(4)]
        assert {each.result(30)._store.schema_version() for each in opening} == {902}


@pytest.mark.usefixtures("_two_new_steps")
def test_an_index_whose_build_was_interrupted_is_built_again(
    open_postgres: Open, dsn: str, ask: Ask, schema_name: str, application: str
) -> None:
    """The interrupted build leaves an invalid index."""
    with (
        closing(psycopg2.connect(dsn)) as connection,
        connection.cursor() as cursor,
        ThreadPoolExecutor(1) as pool,
    ):
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SELECT 1")  # The build waits until this snapshot has ended.
        opening = pool.submit(open_postgres)
        wait_until(lambda: "scratch_by_type" in validity(ask, schema_name))
        ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
            application,
        )
        with pytest.raises(UnavailableError):
            opening.result(30)
    assert validity(ask, schema_name)["scratch_by_type"] is False
    open_postgres()
    assert validity(ask, schema_name)["scratch_by_type"]


def test_a_payload_index_is_built_with_any_timeout(
    filled: PostgresPersistence, open_postgres: Open, ask: Ask, schema_name: str
) -> None:
    assert open_postgres(statement_timeout=0.1).create_payload_index()
    assert validity(ask, schema_name)["agent_run_events_payload"]


def test_a_failed_build_of_a_payload_index_leaves_nothing(
    filled: PostgresPersistence, ask: Ask, schema_name: str, dsn: str, application: str
) -> None:
    with (
        closing(psycopg2.connect(dsn)) as connection,
        connection.cursor() as cursor,
        ThreadPoolExecutor(1) as pool,
    ):
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SELECT 1")
        building = pool.submit(filled.create_payload_index)
        wait_until(lambda: "agent_run_events_payload" in validity(ask, schema_name))
        ask(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = %s "
            "AND query LIKE 'CREATE INDEX%%'",
            application,
        )
        connection.rollback()
        with pytest.raises(UnavailableError):
            building.result(30)
    assert "agent_run_events_payload" not in validity(ask, schema_name)
