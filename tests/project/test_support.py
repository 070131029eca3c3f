"""The test servers themselves: what the other tests rely on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import parse_dsn

from tests.conftest import PostgresServers
from tests.support.backends import chosen
from tests.support.blackhole import BlackHole
from tests.support.postgres import PostgresServer

ROOT = Path(__file__).parents[2]

OWNER = """
import sys, time
from tests.support.postgres import PostgresServer

print(PostgresServer().start().dsn, flush=True)
time.sleep(60)
"""


@contextmanager
def connected(dsn: str) -> Iterator[Connection]:
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        yield connection


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN; SELECT 1")
        yield
        cursor.execute("COMMIT")


def ask(connection: Connection, question: str) -> object:
    with connection.cursor() as cursor:
        cursor.execute(question)
        [(answer,)] = cursor.fetchall()
        return answer


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline, "waited ten seconds in vain"
        time.sleep(0.02)


@pytest.mark.skipif("CURIO_TEST_POSTGRES_DSN" in os.environ, reason="a server of your own")
@pytest.mark.parametrize("name", chosen("postgres18", "postgres16", "postgres15"))
def test_a_server_has_the_version_asked_for(name: str, postgres_servers: PostgresServers) -> None:
    with connected(postgres_servers.dsn(name)) as connection:
        assert connection.server_version // 10_000 == int(name.removeprefix("postgres"))


def test_a_restarted_server_keeps_address_and_data_but_no_session(
    private_postgres: PostgresServer,
) -> None:
    with connected(private_postgres.dsn) as before:
        with before.cursor() as cursor:
            cursor.execute("CREATE TABLE kept AS SELECT 1 AS one")
        private_postgres.restart()
        with pytest.raises(psycopg2.OperationalError):
            ask(before, "SELECT 1")
    with connected(private_postgres.dsn) as after:
        assert ask(after, "SELECT one FROM kept") == 1


def test_a_server_over_tcp_is_durable_when_asked() -> None:
    with PostgresServer(tcp=True, fsync=True) as server, connected(server.dsn) as connection:
        assert parse_dsn(server.dsn)["host"] == "127.0.0.1"
        assert ask(connection, "SHOW fsync") == "on"


def test_a_killed_owner_leaves_neither_server_nor_directory() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        dsn = owner.stdout.readline().strip()
        directory = Path(parse_dsn(dsn)["host"])
        postmaster = int((directory / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(owner.pid, signal.SIGKILL)
    wait_until(lambda: not directory.exists())
    with pytest.raises(ProcessLookupError):
        os.kill(postmaster, 0)


def test_a_bouncer_shares_few_server_sessions_among_clients(pgbouncer: str) -> None:
    with connected(pgbouncer) as one, connected(pgbouncer) as other:
        with transaction(one), transaction(other):
            pass  # both at once, so that pgbouncer opens its second session
        assert len({ask(one, "SELECT pg_backend_pid()") for _ in range(4)}) == 2


def test_a_bouncer_refuses_startup_options(pgbouncer: str) -> None:
    with pytest.raises(psycopg2.OperationalError, match="startup parameter"):
        psycopg2.connect(pgbouncer, options="-c search_path=elsewhere")


def test_a_silent_network_delivers_once_it_is_back(postgres18: str, blackhole: BlackHole) -> None:
    with connected(blackhole.dsn(postgres18)) as connection:
        blackhole.swallow()
        with ThreadPoolExecutor() as pool:
            answer = pool.submit(ask, connection, "SELECT 1")
            assert wait([answer], timeout=0.1).not_done
            blackhole.forward()
            assert answer.result(timeout=5) == 1


def test_a_silent_network_accepts_and_sends_nothing(postgres18: str, blackhole: BlackHole) -> None:
    blackhole.swallow()
    with socket.create_connection(blackhole.address, timeout=0.1) as client:
        client.sendall(b"anybody there?")
        with pytest.raises(TimeoutError):
            client.recv(1)


@pytest.mark.parametrize("silent", [False, True])
def test_a_cut_ends_connections_and_welcomes_new_ones(
    postgres18: str, blackhole: BlackHole, silent: bool
) -> None:
    with connected(blackhole.dsn(postgres18)) as connection:
        if silent:
            blackhole.swallow()
        blackhole.cut()
        with pytest.raises(psycopg2.OperationalError):
            ask(connection, "SELECT 1")
    blackhole.forward()
    with connected(blackhole.dsn(postgres18)) as connection:
        assert ask(connection, "SELECT 1") == 1
