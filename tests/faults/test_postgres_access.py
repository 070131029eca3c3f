"""Wrong passwords, missing privileges, unknown names, unreachable servers; no secret is shown."""

from __future__ import annotations

import logging
import pickle
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import make_dsn

from curio_persistence import (
    AccessDeniedError,
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    ConfigurationError,
    DatabaseConfig,
    NotFoundError,
    Persistence,
    PersistenceError,
    PostgresPersistence,
    UnavailableError,
    UnsupportedError,
    connect,
)
from curio_persistence.backends.postgres.store import PostgresStore
from tests.support.postgres import PostgresServer
from tests.support.server import free_port

PASSWORD = "s3cr3t-Ünïque%@/:?#[]"
"""It contains every character with a special meaning in a URL."""

HBA = """\
local all postgres trust
local postgres agent scram-sha-256
local postgres reader trust
local postgres writer trust
local postgres stranger trust
local postgres nologin trust
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that requires a password of `agent`, and has other roles with fewer privileges."""
    with PostgresServer() as server:
        with administrator(server) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE ROLE agent LOGIN PASSWORD %s", (PASSWORD,))
            cursor.execute("CREATE ROLE reader LOGIN; CREATE ROLE writer LOGIN")
            cursor.execute("CREATE ROLE stranger LOGIN; CREATE ROLE nologin")
            cursor.execute("CREATE ROLE excluded LOGIN")
            cursor.execute("GRANT CREATE ON DATABASE postgres TO agent")
        with PostgresPersistence(dsn=server.dsn) as persistence:
            persistence.create_agent_run(AgentRun("agent", "run"))
        with administrator(server) as connection, connection.cursor() as cursor:
            cursor.execute("GRANT USAGE ON SCHEMA agent_sdk TO reader, writer")
            cursor.execute("GRANT SELECT ON ALL TABLES IN SCHEMA agent_sdk TO reader, writer")
            cursor.execute(
                "GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA agent_sdk TO writer"
            )
            Path(server.directory, "data", "pg_hba.conf").write_text(HBA)
            cursor.execute("SELECT pg_reload_conf()")
        yield server


def administrator(server: PostgresServer) -> closing[Connection]:
    connection = psycopg2.connect(server.dsn)
    connection.autocommit = True
    return closing(connection)


def as_role(server: PostgresServer, role: str, **more: str) -> str:
    return make_dsn(server.dsn, user=role, **more)


# --- logging in -------------------------------------------------------------------------------


def test_the_right_password_is_accepted(server: PostgresServer) -> None:
    given = {"host": str(server.directory), "database": "postgres", "user": "agent"}
    for schema in ("of_agent", "of_agent"):
        with PostgresPersistence(**given, password=PASSWORD, schema=schema) as persistence:  # type: ignore[arg-type]
            assert persistence.health_check()


@pytest.mark.parametrize("password", ["wrong", ""])
def test_a_wrong_password_is_refused(server: PostgresServer, password: str) -> None:
    given = {"host": str(server.directory), "database": "postgres", "user": "agent"}
    with pytest.raises(AccessDeniedError, match="Check user and password"):
        PostgresPersistence(**given, password=password)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"user": "unheard-of"}, "Check"),
        ({"user": "excluded"}, "Check"),
        ({"user": "nologin"}, "Check the names of database and user"),
    ],
    ids=lambda value: str(value),
)
def test_unknown_roles_are_refused(
    server: PostgresServer, change: dict[str, str], says: str
) -> None:
    with pytest.raises(AccessDeniedError, match=says):
        PostgresPersistence(dsn=make_dsn(server.dsn, **change))


def test_a_missing_database_is_not_found(server: PostgresServer) -> None:
    with pytest.raises(NotFoundError, match='"unheard_of" does not exist'):
        PostgresPersistence(dsn=make_dsn(server.dsn, dbname="unheard_of"))


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:{closed}/postgres", "nowhere.invalid/postgres", "/postgres?host=/nowhere"],
)
def test_an_unreachable_server_is_unavailable(address: str) -> None:
    url = f"postgresql://agent@{address.format(closed=free_port())}"
    with pytest.raises(UnavailableError, match="are host and port right"):
        connect(url)
    with connect(url, initialize=False) as persistence:
        assert not persistence.health_check()
        with pytest.raises(UnavailableError):
            persistence.get_agent_run("run")


@pytest.mark.parametrize(
    "parameter", ["sslmode=sometimes", "connect_timeout=soon", "port=99999", "unheard_of=1"]
)
def test_a_wrong_setting_is_a_configuration_error(parameter: str) -> None:
    url = f"postgresql://agent@127.0.0.1/postgres?{parameter}"
    with pytest.raises(ConfigurationError):
        connect(url)


# --- privileges -------------------------------------------------------------------------------


def test_a_role_that_may_not_create_works_on_a_current_schema(server: PostgresServer) -> None:
    with PostgresPersistence(dsn=as_role(server, "writer")) as persistence:
        persistence.create_agent_run(AgentRun("writer", "of-writer"))
        persistence.log_agent_run_event(AgentRunEvent("writer", "of-writer"))
        persistence.log_agent_run_event(AgentRunEvent("writer", "stub"))
        persistence.log_llm_usage(AgentLLMUsage("writer", "of-writer"))
        persistence.update_agent_run("of-writer", AgentRun("writer", "of-writer"))
        assert persistence.get_agent_run_stats("writer")["total_runs"] == 2
        assert persistence.delete_agent_run("of-writer")
        assert persistence.delete_agent_run("stub")
        assert {check.level for check in persistence.diagnose()} == {"ok"}


@pytest.mark.parametrize("read_only", [False, True])
def test_a_role_that_may_only_read_can_read(server: PostgresServer, read_only: bool) -> None:
    with PostgresPersistence(dsn=as_role(server, "reader"), read_only=read_only) as persistence:
        assert [run.run_id for run in persistence.get_agent_runs()] == ["run"]
        assert persistence.get_agent_run_stats()["total_runs"] == 1
        for write in (
            lambda: persistence.create_agent_run(AgentRun("reader", "other")),
            lambda: persistence.update_agent_run("run", AgentRun("reader", "run")),
            lambda: persistence.delete_agent_run("run"),
            lambda: persistence.log_llm_usage(AgentLLMUsage("reader", None)),
        ):
            with pytest.raises(AccessDeniedError, match=r"GRANT|read-only"):
                write()
        assert [run.run_id for run in persistence.get_agent_runs()] == ["run"]


def test_a_role_without_privileges_gets_an_error_that_names_the_missing_one(
    server: PostgresServer,
) -> None:
    with pytest.raises(AccessDeniedError, match=r"permission denied for schema agent_sdk.*GRANT"):
        PostgresPersistence(dsn=as_role(server, "stranger"))


@pytest.mark.parametrize("role", ["stranger", "reader"])
def test_a_role_that_may_not_create_gets_an_error_that_names_the_owner(
    server: PostgresServer, role: str
) -> None:
    with pytest.raises(AccessDeniedError) as caught:
        PostgresPersistence(dsn=as_role(server, role), schema="not_there")
    assert "permission denied for database postgres" in str(caught.value)
    assert "GRANT" in str(caught.value)
    assert "curio-persistence migrate" in str(caught.value)


def test_a_role_that_may_not_create_in_an_empty_schema_gets_that_error(
    server: PostgresServer,
) -> None:
    with administrator(server) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA IF NOT EXISTS nearly; GRANT USAGE ON SCHEMA nearly TO reader")
    with pytest.raises(AccessDeniedError, match="permission denied for schema nearly"):
        PostgresPersistence(dsn=as_role(server, "reader"), schema="nearly")


def test_a_role_may_be_given_a_schema_of_its_own(server: PostgresServer) -> None:
    with administrator(server) as connection, connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA IF EXISTS given CASCADE")
        cursor.execute("CREATE SCHEMA given AUTHORIZATION reader")
    with PostgresPersistence(dsn=as_role(server, "reader"), schema="given") as persistence:
        persistence.create_agent_run(AgentRun("reader", "run"))


# --- secrets ----------------------------------------------------------------------------------

SECRET = "hunter2"

MALFORMED = [
    f"postgresql://agent:p@{SECRET}@127.0.0.1/postgres",
    f"postgresql://agent:{SECRET}@x@127.0.0.1/postgres",
    f"postgresql://agent:{SECRET}/x@127.0.0.1/postgres",
    f"postgresql://agent:x/{SECRET}@127.0.0.1/postgres",
    f"postgresql://agent:{SECRET}?x@127.0.0.1/postgres",
    f"postgresql://agent:x?{SECRET}@127.0.0.1/postgres",
    f"postgresql://agent:{SECRET}%zz@127.0.0.1/postgres",
    f"postgresql://agent:%00{SECRET}@127.0.0.1/postgres",
    f"postgresql://agent:{SECRET}@[::1/postgres",
    f"postgresql://agent:{SECRET}@127.0.0.1:port/postgres",
    f"postgresql://agent:{SECRET}@127.0.0.1:99999/postgres",
    f"postgresql://agent:{SECRET}@127.0.0.1/postgres?sslmode=sometimes",
    f"postgresql://agent:{SECRET}@127.0.0.1/postgres?connect_timeout=soon",
    f"postgresql://agent:{SECRET}@127.0.0.1/postgres?unheard_of=1",
    f"postgresql://agent:{SECRET}@127.0.0.1/postgres?schema={'n' * 64}",
    f"postgresql://agent@127.0.0.1/postgres?password={SECRET}&unheard_of=1",
    f"postgresql://agent:{SECRET}@127.0.0.1:1/postgres",
    f"postgresql://agent:{SECRET}@nowhere.invalid/postgres",
    f"postgresql:/agent:{SECRET}@127.0.0.1/postgres",
    f"postgresql:agent:{SECRET}@127.0.0.1/postgres",
    f"agent:{SECRET}@127.0.0.1/postgres",
    f"mysql://agent:{SECRET}@127.0.0.1/db",
    f"sqlite://agent:{SECRET}@127.0.0.1/db",
    f"memory://{SECRET}",
    f"host=127.0.0.1 password={SECRET}",
]


@pytest.mark.parametrize("url", MALFORMED)
def test_a_url_that_does_not_work_is_not_shown(
    url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(PersistenceError) as caught:
        connect(url)
    assert_untold(caught.value)
    monkeypatch.setenv("CURIO_DATABASE_URL", url)
    with pytest.raises(PersistenceError) as caught:
        connect()
    assert_untold(caught.value)
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "dsn",
    [
        f"host=127.0.0.1 password={SECRET} port=",
        f"host=127.0.0.1 port=1 password={SECRET}",
        f"host=127.0.0.1 password={SECRET} unheard_of=1",
        f"host=127.0.0.1 password='{SECRET}",
        f"host=127.0.0.1 password=x {SECRET}",
        SECRET,
        *(url for url in MALFORMED if url.startswith("postgresql://")),
    ],
)
def test_a_dsn_that_does_not_work_is_not_shown(dsn: str) -> None:
    with pytest.raises(PersistenceError) as caught:
        PostgresPersistence(dsn=dsn, initialize=False).get_agent_run("run")
    assert_untold(caught.value)


def assert_untold(error: BaseException) -> None:
    assert SECRET not in "".join(traceback.format_exception(error))
    assert SECRET not in repr(error)
    assert SECRET not in repr(vars(error))
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    for frame in shown.stack:
        if "curio_persistence/" in frame.filename:
            assert SECRET not in str(frame.locals), f"shown by {frame.name}"


def test_a_refused_password_is_not_shown(
    server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(AccessDeniedError) as caught:
        PostgresPersistence(dsn=as_role(server, "agent", password=SECRET))
    assert_untold(caught.value)
    assert SECRET not in caplog.text


def test_objects_with_a_password_do_not_show_it() -> None:
    config = DatabaseConfig.from_url(f"postgresql://agent:{SECRET}@127.0.0.1/db?schema=mine")
    by_variables = DatabaseConfig(db_type="postgres", db_user="agent", db_password=SECRET)
    persistence = config.get_persistence(initialize=False)
    other = by_variables.get_persistence(initialize=False)
    for thing in (config, by_variables, persistence, other, persistence._store, other._store):
        assert SECRET not in repr(thing)
        assert SECRET not in str(thing)
    assert SECRET not in persistence.location
    persistence.close()
    other.close()


def test_a_persistence_cannot_be_pickled() -> None:
    persistence: Persistence = PostgresPersistence(password=SECRET, initialize=False)
    for pickle_it in (pickle.dumps, lambda it: pickle.dumps(it, 0)):
        with pytest.raises(UnsupportedError, match="connect\\(url\\)") as caught:
            pickle_it(persistence)
        assert_untold(caught.value)


def test_a_half_constructed_object_has_a_repr() -> None:
    """Error trackers call it when the constructor has failed."""
    for kind in (PostgresPersistence, PostgresStore):
        assert repr(kind.__new__(kind)) == f"{kind.__name__}(None)"
