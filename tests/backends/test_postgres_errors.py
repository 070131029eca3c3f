"""Only temporary failures are UnavailableErrors; the others have their own types."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import pytest

from curio_persistence import (
    AgentRun,
    AgentRunEvent,
    BusyError,
    InvalidValueError,
    Persistence,
    PersistenceError,
    SchemaMismatchError,
    UnavailableError,
    UnsupportedError,
)
from curio_persistence.backends.postgres import statements
from curio_persistence.backends.postgres.store import PostgresStore
from tests.backends.conftest import Ask, Open


def store_of(persistence: Persistence) -> PostgresStore:
    assert isinstance(persistence._store, PostgresStore)
    return persistence._store


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("SELEC 1", PersistenceError),
        ("SELECT 1/0", InvalidValueError),
        ("SELECT nonsense(1)", PersistenceError),
        ("COMMIT PREPARED 'x'", PersistenceError),
        ("SELECT * FROM no_such_table", SchemaMismatchError),
        ("SELECT pg_terminate_backend(pg_backend_pid())", UnavailableError),
        ("DO $$BEGIN RAISE EXCEPTION SQLSTATE '0A000'; END$$", UnsupportedError),
        ("DO $$BEGIN RAISE EXCEPTION SQLSTATE '40P01'; END$$", BusyError),
        ("DO $$BEGIN RAISE EXCEPTION SQLSTATE '53200'; END$$", UnavailableError),
        ("DO $$BEGIN RAISE EXCEPTION SQLSTATE '57P03'; END$$", UnavailableError),
        ("DO $$BEGIN RAISE EXCEPTION SQLSTATE 'XX000'; END$$", PersistenceError),
    ],
)
def test_a_server_error_is_translated_by_its_class(
    open_postgres: Open, statement: str, kind: type[PersistenceError]
) -> None:
    store = store_of(open_postgres())
    with pytest.raises(PersistenceError) as caught:
        store._write(statement, ())
    assert type(caught.value) is kind


def test_the_error_for_a_missing_function_names_the_command_that_creates_it(
    open_postgres: Open, ask: Ask, schema_name: str
) -> None:
    persistence = open_postgres()
    persistence.log_agent_run_event(AgentRunEvent("agent", "run", data={"a": 1}))
    ask(f"DROP FUNCTION {schema_name}.curio_payload(text) CASCADE")
    with pytest.raises(SchemaMismatchError, match="curio_payload"):
        persistence.query_events(payload={"a": 1})


def test_an_old_server_is_refused_in_one_sentence(
    dsn: str, open_postgres: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "_OLDEST", 99)
    with closing(psycopg2.connect(dsn)) as connection:
        major = connection.server_version // 10_000
    with pytest.raises(UnsupportedError, match=f"runs PostgreSQL {major}; .* 99 or newer"):
        open_postgres()


@pytest.mark.parametrize(
    "data",
    ["{", '{"a": "\\u0000"}', '{"a": 1e999999}', "[1]", '{"a": "\\ud800"}', "", "null"],
)
def test_a_payload_that_jsonb_refuses_is_never_found(open_postgres: Open, data: str) -> None:
    persistence = open_postgres()
    persistence.create_agent_run(AgentRun("agent", "run"))
    persistence.log_agent_run_event(AgentRunEvent("agent", "run", data=data))
    persistence.log_agent_run_event(AgentRunEvent("agent", "run", data={"a": 1}))
    assert len(persistence.query_events(payload={"a": 1})) == 1
