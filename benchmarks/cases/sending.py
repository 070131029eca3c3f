"""Traces sent by OTLP, against reading their rows and posting the same bodies, ready-made."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import psycopg2

from benchmarks.cases.sides import Case, check
from benchmarks.support.report import Goal, Line, rows_per_second
from benchmarks.support.timing import Timing, each, mean, sample, timed
from benchmarks.support.workspace import Workspace
from curio_persistence import Persistence, PostgresPersistence, SQLitePersistence, export_otlp

_TABLES = ("agent_runs", "agent_run_events", "agent_llm_usage", "agent_spans")
_CALLS = 4
_SPANS = 1 + 2 * _CALLS
"""The spans of a run: itself, and as many model calls as tool calls."""
_MOST_RUNS = 1_000
_PROMPT = "You help people who travel. " * 40


def sqlite_sending(work: Workspace) -> list[Line]:
    path = work.directory / "sending.db"
    with SQLitePersistence(path) as ours, closing(sqlite3.connect(path)) as raw:
        return [_line("SQLite", work, ours, raw, "")]


def postgres_sending(work: Workspace) -> list[Line]:
    with (
        PostgresPersistence(dsn=work.dsn, schema="sending") as ours,
        closing(psycopg2.connect(work.dsn)) as raw,
    ):
        return [_line("PostgreSQL", work, ours, raw.cursor(), "sending.")]


CASES: dict[str, Case] = {"sqlite-sending": sqlite_sending, "postgres-sending": postgres_sending}


def _line(
    name: str, work: Workspace, ours: Persistence, raw: sqlite3.Connection, schema: str
) -> Line:
    runs = min(work.sizes.runs, _MOST_RUNS)
    _fill(ours, runs)
    spans = runs * _SPANS
    with _receiver() as receiver:
        export_otlp(ours, receiver.url)
        bodies, receiver.bodies = receiver.bodies, []

        def by_hand() -> None:
            for table in _TABLES:
                found = raw.execute(f"SELECT * FROM {schema}{table}")
                list(raw.fetchall() if found is None else found)  # type: ignore[attr-defined]
            with closing(HTTPConnection("127.0.0.1", receiver.server_port)) as connection:
                for body in bodies:
                    connection.request("POST", "/v1/traces", body)
                    connection.getresponse().read()

        def send() -> None:
            check(export_otlp(ours, receiver.url).spans, spans)

        theirs, mine = sample(
            lambda: timed(lambda _: by_hand(), [None]),
            lambda: timed(lambda _: send(), [None]),
            chunks=1,
            repetitions=work.sizes.slow_repetitions,
            warm_up=False,
        )
    return Line(
        f"{name}, send {runs:,} traces of {_SPANS} spans by OTLP",
        Goal(None, None, "speed"),
        Timing(each(theirs, mean, spans), each(mine, mean, spans)),
        unit=rows_per_second,
        remark="raw posts bodies that were made before",
    )


def _fill(persistence: Persistence, runs: int) -> None:
    for number in range(runs):
        with persistence.record_run(agent_id="traveller", session_id=f"s-{number}") as run:
            for call in range(_CALLS):
                run.llm_call(
                    provider="acme",
                    model="acme-1",
                    prompt=[{"role": "user", "content": _PROMPT}],
                    response="Take the train.",
                    input_tokens=300,
                    output_tokens=5,
                )
                with run.tool("look_up", {"number": call}) as tool:
                    tool.result = {"found": call}


class _Receiver(ThreadingHTTPServer):
    """Takes all bodies, and keeps them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[bytes] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: _Receiver

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@contextmanager
def _receiver() -> Iterator[_Receiver]:
    with _Receiver() as server:
        thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
