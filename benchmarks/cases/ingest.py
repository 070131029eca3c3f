"""Spans over HTTP, from the socket to the commit, against reading and inserting the same rows."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from time import perf_counter_ns
from typing import Any
from urllib.parse import urlencode, urlsplit

import psycopg2
from psycopg2.extensions import parse_dsn
from psycopg2.extras import execute_values

from benchmarks.cases.sides import Case
from benchmarks.support import telemetry
from benchmarks.support.memory import CAN_BE_MEASURED, peak
from benchmarks.support.report import Goal, Line, megabytes, rows_per_second
from benchmarks.support.timing import Timing, median, quantile, timed, timed_each
from benchmarks.support.workspace import Workspace
from curio_persistence import PostgresPersistence, SQLitePersistence
from curio_persistence.interop.otel.decoding import decode_traces

_TYPE = "application/x-protobuf"
_TABLES = ("agent_runs", "agent_run_events", "agent_llm_usage", "agent_spans", "agent_span_sources")
_SIZE, _REQUEST, _CLIENTS = 512, 500, 4
_LARGEST = 64 << 20
_ROUNDS = 20
"""More rounds of the corpus than a repetition sends."""
Rows = dict[str, list[tuple[Any, ...]]]


def sqlite_ingest(work: Workspace) -> list[Line]:
    mine, theirs = work.directory / "ingest.db", work.directory / "ingest-raw.db"
    for path in (mine, theirs):
        SQLitePersistence(path).close()
    with closing(sqlite3.connect(theirs)) as raw, closing(sqlite3.connect(mine)) as ours:
        raw.execute("PRAGMA synchronous=NORMAL")
        with _served(f"sqlite:///{mine}") as server:
            lines = _lines("SQLite", work, server, _Tables(ours), _insert_into_sqlite(raw))
            return [*lines, *_memory(work, server)]


def postgres_ingest(work: Workspace) -> list[Line]:
    for schema in ("ingest", "ingest_raw"):
        PostgresPersistence(dsn=work.dsn, schema=schema).close()
    with closing(psycopg2.connect(work.dsn)) as raw, closing(psycopg2.connect(work.dsn)) as ours:
        ours.autocommit = True
        settings = parse_dsn(work.dsn)
        database = settings.pop("dbname", "postgres")
        url = f"postgresql:///{database}?{urlencode(settings | {'schema': 'ingest'})}"
        with _served(url) as server:
            tables = _Tables(ours.cursor(), "ingest.")
            return _lines("PostgreSQL", work, server, tables, _insert_into_postgres(raw))


CASES: dict[str, Case] = {"sqlite-ingest": sqlite_ingest, "postgres-ingest": postgres_ingest}


class _Server:
    """A server in a process of its own."""

    def __init__(self, url: str, process_id: int) -> None:
        self._address = urlsplit(url)
        self._process_id = process_id

    def connect(self) -> HTTPConnection:
        return HTTPConnection(str(self._address.hostname), self._address.port)

    def peak(self) -> int:
        return peak(self._process_id)


@contextmanager
def _served(url: str) -> Iterator[_Server]:
    command = [sys.executable, "-m", "curio_persistence", "serve", "--port=0", "--json"]
    with subprocess.Popen(
        [*command, "--url", url], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield _Server(json.loads(process.stdout.readline())["url"], process.pid)
        finally:
            process.terminate()


def _post(connection: HTTPConnection, body: bytes) -> None:
    connection.request("POST", "/v1/traces", body, {"Content-Type": _TYPE})
    with connection.getresponse() as answer:
        if answer.status != 200 or answer.read():
            raise RuntimeError(f"The server answered {answer.status}.")


class _Tables:
    """Reads the rows that were stored since the last time."""

    def __init__(self, cursor: Any, schema: str = "") -> None:
        self._cursor, self._schema = cursor, schema
        self._last = dict.fromkeys(_TABLES, 0)

    def new_rows(self) -> Rows:
        return {table: self._new_rows(table) for table in _TABLES}

    def _new_rows(self, table: str) -> list[tuple[Any, ...]]:
        found = self._cursor.execute(
            f"SELECT * FROM {self._schema}{table} WHERE id > {self._last[table]} ORDER BY id"
        )
        rows = list(self._cursor.fetchall() if found is None else found)
        self._last[table] = max((row[0] for row in rows), default=self._last[table])
        return rows


Insert = Callable[[str, Sequence[tuple[Any, ...]]], None]


def _insert_into_sqlite(raw: sqlite3.Connection) -> Callable[[Rows], None]:
    def insert(rows: Rows) -> None:
        with raw:
            for table, some in rows.items():
                if some:
                    marks = ", ".join("?" * len(some[0]))
                    raw.executemany(f"INSERT INTO {table} VALUES ({marks})", some)

    return insert


def _insert_into_postgres(raw: Any) -> Callable[[Rows], None]:
    def insert(rows: Rows) -> None:
        with raw, raw.cursor() as cursor:
            for table, some in rows.items():
                if some:
                    execute_values(cursor, f"INSERT INTO ingest_raw.{table} VALUES %s", some)

    return insert


def _lines(
    name: str,
    work: Workspace,
    server: _Server,
    tables: _Tables,
    insert: Callable[[Rows], None],
) -> list[Line]:
    spans = telemetry.spans((work.sizes.slow_repetitions + 1) * _ROUNDS + 1)
    connection = server.connect()
    return [
        _whole(name, work, connection, tables, insert),
        _again(name, work, connection, spans),
        _request(name, work, connection, spans),
        _single(name, work, server, spans),
    ]


def _whole(
    name: str,
    work: Workspace,
    connection: HTTPConnection,
    tables: _Tables,
    insert: Callable[[Rows], None],
) -> Line:
    """Compare with reading the bodies and inserting the rows that were made, as they are."""
    count = max(work.sizes.batched // 5 // _SIZE, 1)
    raw, ours = [], []
    for repetition in range(work.sizes.slow_repetitions + 1):
        # Whole traces: rows of a trace that comes in two repetitions are written twice.
        spans = telemetry.spans(repetition * _ROUNDS + 1)
        bodies = [telemetry.body(spans, _SIZE) for _ in range(count)]
        mine = timed(lambda body: _post(connection, body), bodies)
        rows = tables.new_rows()
        parts = [_part(rows, number, count) for number in range(count)]
        begin = perf_counter_ns()
        for body, part in zip(bodies, parts, strict=True):
            decode_traces(body, _TYPE)
            insert(part)
        raw.append((perf_counter_ns() - begin) / (count * _SIZE))
        ours.append(mine / (count * _SIZE))
    return Line(
        f"{name}, spans received over HTTP, {_SIZE} in a body",
        Goal(0.6, 0.8, "speed"),
        Timing(raw[1:], ours[1:]),
        unit=rows_per_second,
        remark="raw reads the bodies and inserts the rows of ours",
    )


def _part(rows: Rows, number: int, count: int) -> Rows:
    """Return the share of one body of the rows of several.

    The first has all runs, since the other rows refer to them.
    """
    part = {
        table: some[len(some) * number // count : len(some) * (number + 1) // count]
        for table, some in rows.items()
    }
    return part | {"agent_runs": [] if number else rows["agent_runs"]}


def _again(name: str, work: Workspace, connection: HTTPConnection, spans: Iterator[Any]) -> Line:
    def post(body: bytes) -> None:
        _post(connection, body)

    first, second = [], []
    for _ in range(work.sizes.slow_repetitions):
        body = telemetry.body(spans, _SIZE)
        first.append(timed(post, [body]) / _SIZE)
        second.append(timed(post, [body]) / _SIZE)
    return Line(
        f"{name}, the same spans again, against new ones",
        Goal(2, 2, "times"),
        Timing(first, second),
        unit=rows_per_second,
    )


def _request(name: str, work: Workspace, connection: HTTPConnection, spans: Iterator[Any]) -> Line:
    middle, late = [], []
    for _ in range(work.sizes.slow_repetitions):
        bodies = [telemetry.body(spans, _REQUEST) for _ in range(work.rounds(20))]
        taken = timed_each(lambda body: _post(connection, body), bodies)
        middle.append(median(taken))
        late.append(quantile(0.95)(taken))
    return Line(
        f"{name}, p95 of a request of {_REQUEST} spans, against the median",
        Goal(None, None),
        Timing(middle, late),
    )


def _single(name: str, work: Workspace, server: _Server, spans: Iterator[Any]) -> Line:
    """Compare clients that send each span by itself at the same time with one such client."""
    count = max(work.sizes.writes // 4, _CLIENTS)

    def run(clients: int) -> float:
        shares = [
            [telemetry.body(spans, 1) for _ in range(count // clients)] for _ in range(clients)
        ]
        begin = perf_counter_ns()
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(lambda bodies: _send(server, bodies), shares))
        return (perf_counter_ns() - begin) / sum(map(len, shares))

    repetitions = range(work.sizes.slow_repetitions)
    one, several = zip(*[(run(1), run(_CLIENTS)) for _ in repetitions], strict=True)
    return Line(
        f"{name}, requests of one span by {_CLIENTS} clients, against one client",
        Goal(2e6, 1.1e6, "alone"),
        Timing([*one], [*several]),
    )


def _send(server: _Server, bodies: Sequence[bytes]) -> None:
    with closing(server.connect()) as connection:
        for body in bodies:
            _post(connection, body)


def _memory(work: Workspace, server: _Server) -> Iterator[Line]:
    """Measure the server after many spans, and after the largest body."""
    if not CAN_BE_MEASURED:
        return
    before = server.peak()
    yield Line(
        "SQLite, memory of the server after these spans",
        Goal(150e6, 150e6, "alone"),
        Timing([before], [before]),
        unit=megabytes,
    )
    size = min(_LARGEST, work.sizes.batched * 4096)
    spans, parts, taken = telemetry.spans(), [], 0
    for request in spans:
        part = request.SerializeToString()
        taken += len(part)
        if taken > size:
            break
        parts.append(part)
    body = b"".join(parts)  # Messages of protobuf, joined, are one with the fields of all.
    with closing(server.connect()) as connection:
        _post(connection, body)
    yield Line(
        f"SQLite, memory of the server after a body of {megabytes(len(body))}",
        Goal(10, 5),
        Timing([float(len(body))], [float(server.peak() - before)]),
        unit=megabytes,
        remark="ours is what was added",
    )
