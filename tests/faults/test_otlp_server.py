"""The server under attack: killed, flooded, kept waiting, in front of a database that is frozen."""

from __future__ import annotations

import socket
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

from benchmarks.support.memory import CAN_BE_MEASURED, peak
from curio_persistence import (
    InMemoryPersistence,
    PostgresPersistence,
    SQLitePersistence,
    UnavailableError,
    connect,
)
from curio_persistence.interop.otel.receiving import Receiver
from curio_persistence.tables import SPANS
from tests.support.backends import chosen
from tests.support.children import Child
from tests.support.otel_dumps import dump
from tests.support.otlp_corpus import bodies
from tests.support.otlp_requests import body, gzipped, partial, post, span
from tests.support.served import Served, served

CAPTURE = "openinference-openai-agents-steps"
KILLED = """
from signal import SIGKILL
from curio_persistence.interop.otel.receiving import Receiver
stored = Receiver.spans
def spans(self, some):
    stored(self, some)
    if sys.argv[2] == "die":
        os.kill(os.getpid(), SIGKILL)
Receiver.spans = spans
serve(connect(sys.argv[1]), ServerConfig(port=0), on_start=lambda url: print(url, flush=True))
"""


@pytest.fixture(params=chosen("sqlite", "postgres18"))
def url(request: pytest.FixtureRequest, tmp_path: Path, schema_name: str) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'runs.db'}"
    return f"{request.getfixturevalue(request.param)}&schema={schema_name}"


def test_a_server_killed_between_commit_and_answer_stores_a_repeated_body_once(url: str) -> None:
    [sent] = bodies(CAPTURE)
    with Child(KILLED, url, "die") as child:
        with pytest.raises((ConnectionError, OSError)):
            post(Served(child.read()), sent)
        assert child.exit_code() == -9
    with connect(url, read_only=True) as persistence:
        stored = dump(persistence)
        assert len(stored["agent_spans"]) == 14
    with Child(KILLED, url, "live") as child:
        assert partial(post(Served(child.read()), sent)) == (0, "")
    with connect(url, read_only=True) as persistence:
        assert dump(persistence) == stored


@pytest.mark.slow
@pytest.mark.parametrize("processor", [SimpleSpanProcessor, BatchSpanProcessor])
def test_the_exporter_of_the_sdk_tries_again_until_the_database_is_back(
    processor: type[SimpleSpanProcessor] | type[BatchSpanProcessor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored, outages = Receiver.spans, iter([True, True])

    def sometimes(self: Receiver, spans: object) -> object:
        if next(outages, False):
            raise UnavailableError("The network is down.")
        return stored(self, spans)  # type: ignore[arg-type]

    monkeypatch.setattr(Receiver, "spans", sometimes)
    with InMemoryPersistence() as persistence, served(persistence) as server:
        provider = TracerProvider(resource=Resource({"service.name": "tests"}))
        provider.add_span_processor(processor(OTLPSpanExporter(f"{server.url}/v1/traces")))
        tracer = provider.get_tracer("tests")
        with tracer.start_as_current_span("outer"), tracer.start_as_current_span("inner"):
            pass
        provider.shutdown()
        assert next(outages, None) is None
        names = {name for (name,) in persistence._store.select_columns(SPANS, ("name",))}
        assert names == {"outer", "inner"}


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.skipif(not CAN_BE_MEASURED, reason="the system does not report the peak of a process")
def test_the_largest_body_takes_ten_times_its_size_at_most(tmp_path: Path) -> None:
    attributes = {f"part {number}": "x" * (4 << 20) for number in range(3)}
    sent = body(*(span(number, attributes=attributes) for number in range(1, 6)))
    with Child(KILLED, f"sqlite:///{tmp_path / 'runs.db'}", "live") as child:
        server = Served(child.read())
        assert partial(post(server, body(span(100)))) == (0, "")
        before = peak(child.pid)
        assert partial(post(server, sent)) == (0, "")
        assert partial(post(server, gzipped(sent), Content_Encoding="gzip")) == (0, "")
        assert peak(child.pid) - before < 10 * len(sent)


# --- a database that is frozen --------------------------------------------------------------------


def assert_well_while_frozen(server: Served) -> None:
    """Post to a frozen database: the answer is 503 in time, and health is told all the while."""
    with ThreadPoolExecutor(20) as pool:
        begun = time.monotonic()
        waiting = [pool.submit(post, server, body(span(number))) for number in range(1, 20)]
        slowest = 0.0
        while not all(each.done() for each in waiting):
            asked = time.monotonic()
            assert server.get("/healthz").status == 200
            slowest = max(slowest, time.monotonic() - asked)
            time.sleep(0.05)
        assert {each.result().status for each in waiting} == {503}
        assert {each.result().headers["Retry-After"] for each in waiting} == {"1"}
        assert time.monotonic() - begun < 10
        assert slowest < 2


def assert_all_is_stored(server: Served) -> None:
    sent = body(*map(span, range(1, 20)))
    deadline = time.monotonic() + 30
    while post(server, sent).status == 503 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert partial(post(server, sent)) == (0, "")
    assert server.get("/readyz").status == 200


@pytest.mark.slow
def test_a_locked_database_is_told_to_senders_in_time(tmp_path: Path) -> None:
    with SQLitePersistence(tmp_path / "runs.db") as persistence, served(persistence) as server:
        other = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert_well_while_frozen(server)
        assert server.get("/readyz").status == 200, "it can be read"
        other.execute("ROLLBACK")
        other.close()
        assert_all_is_stored(server)


@pytest.mark.slow
@pytest.mark.skipif(not chosen("postgres18"), reason="PostgreSQL 18 is not chosen")
def test_a_silent_network_is_told_to_senders_in_time(
    request: pytest.FixtureRequest, schema_name: str
) -> None:
    hole, dsn = request.getfixturevalue("blackhole"), request.getfixturevalue("postgres18")
    persistence = PostgresPersistence(dsn=hole.dsn(dsn), schema=schema_name)
    with persistence, served(persistence) as server:
        hole.swallow()
        assert_well_while_frozen(server)
        assert server.get("/readyz").status == 503
        hole.forward()
        assert_all_is_stored(server)


# --- connections that are no use ------------------------------------------------------------------


def test_half_requests_keep_nobody_waiting_and_store_nothing() -> None:
    [sent] = bodies(CAPTURE)
    with InMemoryPersistence() as persistence, served(persistence) as server, ExitStack() as stack:
        host, port = urlsplit(server.url).hostname, urlsplit(server.url).port
        head = (
            f"POST /v1/traces HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-protobuf\r\n"
            f"Content-Length: {len(sent)}\r\n\r\n"
        ).encode()
        starts = [b"", b"POST", head[:-3], head, head + sent[:1], head + sent[:-1], b"\x16\x03\x01"]
        starts += [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", head.replace(b"POST", b"P\x00ST")]
        for start in starts * 20:
            half = stack.enter_context(socket.create_connection((host, port)))
            half.sendall(start)
        assert server.get("/healthz").status == 200
        assert partial(post(server, body(span(1)))) == (0, "")
        stack.close()
        assert partial(post(server, body(span(2)))) == (0, "")
        names = {name for (name,) in persistence._store.select_columns(SPANS, ("name",))}
        assert names == {"chat 1", "chat 2"}


def test_more_than_fits_into_the_queue_is_refused_until_there_is_room() -> None:
    big = body(span(1, attributes={"big": "x" * 60_000}))
    with (
        InMemoryPersistence() as persistence,
        served(persistence, max_body_bytes=100_000, max_pending_bytes=100_000) as server,
    ):
        host, port = urlsplit(server.url).hostname, urlsplit(server.url).port
        with socket.create_connection((host, port)) as half:
            head = "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000\r\n"
            half.sendall(f"{head}Content-Type: application/x-protobuf\r\n\r\n".encode() + big)
            while (answer := post(server, big)).status == 200:
                time.sleep(0.01)
            assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
        while (answer := post(server, big)).status == 429:
            time.sleep(0.01)
        assert partial(answer) == (0, "")
