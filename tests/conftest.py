"""Fixtures for all tests: real servers, and a schema for each test.

A server starts when the first test needs it and serves the rest of the session. Each worker of a
parallel run starts its own: waiting for another worker's server would take as long.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg2
import pytest
from hypothesis import settings
from psycopg2 import sql

from tests.support import scratch, soak
from tests.support.backends import TIMESCALE
from tests.support.blackhole import BlackHole
from tests.support.browser import Browser
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import PostgresServer, socket_address
from tests.support.server import ServerUnavailable

_OWN_SERVER = "CURIO_TEST_POSTGRES_DSN"
_NEWEST = "postgres18"
_SETTINGS = {
    "CURIO_RETENTION_DAYS",
    "RETENTION_DAYS",
    "CURIO_DATABASE_URL",
    "CURIO_READ_DSN",
    "CURIO_REDACT",
    "CURIO_CAPTURE_CONTENT",
    "CURIO_CHAIN",
    "CURIO_AUDIT_KEY",
    "CURIO_DEDUPE",
    "CURIO_EMBED",
    "CURIO_SERVER_KEYS",
    "DATABASE_URL",
}

# The time of an example depends more on the machine than on the code.
settings.register_profile("curio", deadline=None, max_examples=50 * soak.FACTOR)
settings.load_profile("curio")


def pytest_configure() -> None:
    """Keep the developer's own database settings out of the tests, and Ctrl-C in them.

    A shell starts background processes with Ctrl-C ignored, and every process the tests start
    would inherit that. Bytecode is written whatever the environment says: the tests start hundreds
    of interpreters, and each would compile the package anew.
    """
    scratch.prefer_memory()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for name in list(os.environ):
        if name.startswith(("DB_", "PG")) or name in _SETTINGS:
            del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put slow tests first, so that no worker starts one when the others are done."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


class PostgresServers:
    """The servers of this session by name ("postgres18"), each started on first use."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._dsns: dict[str, str] = {}

    def dsn(self, name: str) -> str:
        if name not in self._dsns:
            self._dsns[name] = self._own(name) or self._start(name)
        return self._dsns[name]

    def drop_schema(self, name: str) -> None:
        """Drop it on every server; raise an error if an abandoned transaction still uses it."""
        statement = sql.SQL("SET lock_timeout = '5s'; DROP SCHEMA IF EXISTS {} CASCADE")
        for dsn in self._dsns.values():
            with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
                cursor.execute(statement.format(sql.Identifier(name)))
            connection.close()

    def _own(self, name: str) -> str | None:
        if name == "timescale":
            return os.environ[TIMESCALE]
        dsn = os.environ.get(_OWN_SERVER)
        if dsn and name != _NEWEST:
            pytest.skip(f"{_OWN_SERVER} names one server, which is used as {_NEWEST}")
        return dsn

    def _start(self, name: str) -> str:
        with _needed():
            server = PostgresServer(int(name.removeprefix("postgres")))
            return self._stack.enter_context(server).dsn


@pytest.fixture(scope="session")
def postgres_servers() -> Iterator[PostgresServers]:
    with ExitStack() as stack:
        yield PostgresServers(stack)


@pytest.fixture(scope="session")
def postgres18(postgres_servers: PostgresServers) -> str:
    """The DSN of a PostgreSQL 18, or of the server that CURIO_TEST_POSTGRES_DSN names."""
    return postgres_servers.dsn(_NEWEST)


@pytest.fixture(scope="session")
def pgbouncer(postgres18: str) -> Iterator[str]:
    """The DSN of `postgres18` behind a pgbouncer in transaction mode."""
    with ExitStack() as stack:
        with _needed():
            bouncer = stack.enter_context(PgBouncer(postgres18))
        yield bouncer.dsn


@pytest.fixture(scope="session")
def new_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a new PostgreSQL 18 server."""
    data = tmp_path_factory.mktemp("postgres") / "data"
    with _needed(), PostgresServer() as server, server.down():
        shutil.copytree(server.directory / "data", data)
    return data


@pytest.fixture
def private_postgres(new_data: Path) -> Iterator[PostgresServer]:
    """A server for one test alone, which may restart it or fill it up."""
    with ExitStack() as stack:
        with _needed():
            server = stack.enter_context(PostgresServer(data=new_data))
        yield server


@pytest.fixture
def blackhole(postgres18: str) -> Iterator[BlackHole]:
    """A network in front of `postgres18` that fails on request: `blackhole.dsn(postgres18)`."""
    with BlackHole(socket_address(postgres18)) as proxy:
        yield proxy


@pytest.fixture
def schema_name(postgres_servers: PostgresServers) -> Iterator[str]:
    """A schema name that no other test has; the schema is dropped after the test."""
    name = f"test_{uuid.uuid4().hex}"
    yield name
    postgres_servers.drop_schema(name)


@pytest.fixture(scope="session")
def browser() -> Browser:
    """A real browser; skips the test if there is none."""
    with _needed():
        return Browser()


@contextmanager
def _needed() -> Iterator[None]:
    """Skip if a program is missing; fail in CI, where a skipped test would go unnoticed."""
    try:
        yield
        return
    except ServerUnavailable as error:
        missing = str(error)
    if os.environ.get("CI"):
        pytest.fail(f"CI needs every program: {missing}", pytrace=False)
    pytest.skip(missing)
