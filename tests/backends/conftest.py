"""Servers of every version, and direct queries to them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import psycopg2
import pytest

from curio_persistence import PostgresPersistence
from tests.conftest import PostgresServers
from tests.support.backends import chosen

Open = Callable[..., PostgresPersistence]
Ask = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture(params=chosen("postgres18", "postgres16", "postgres15"))
def dsn(request: pytest.FixtureRequest, postgres_servers: PostgresServers) -> str:
    return postgres_servers.dsn(request.param)


@pytest.fixture
def ask(dsn: str) -> Iterator[Ask]:
    """Run a statement in a new session, and return its result."""
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        connection.autocommit = True

        def ask(statement: str, *parameters: object) -> list[tuple[Any, ...]]:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

        yield ask


@pytest.fixture
def application() -> str:
    """The application_name of this test's connections."""
    return f"test {uuid.uuid4().hex}"


@pytest.fixture
def open_postgres(dsn: str, schema_name: str, application: str) -> Iterator[Open]:
    """Opens this test's schema on every call; `more` is added to the DSN."""
    with ExitStack() as stack:

        def open_postgres(more: str = "", **options: Any) -> PostgresPersistence:
            options = {"dsn": f"{dsn}&application_name={application}{more}", **options}
            options = {"schema": schema_name, **options}
            return stack.enter_context(PostgresPersistence(**options))

        yield open_postgres


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline, "waited ten seconds in vain"
        time.sleep(0.005)
