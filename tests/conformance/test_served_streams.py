"""The server sends what is stored as server-sent events, and resumes behind the last one."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import pytest

from curio_persistence import AgentRun, Persistence
from curio_persistence.capabilities.live import hub
from curio_persistence.console.api import streams as sent
from tests.support.served import Served, served

PATH = "/api/v1/stream"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "INTERVAL", 0.01)


class Client:
    """Reads events as EventSource of a browser does."""

    def __init__(self, connection: HTTPConnection, answer: HTTPResponse) -> None:
        self._connection = connection
        self._answer = answer
        self.last_id = ""
        self.comments: list[str] = []

    def next(self) -> dict[str, Any]:
        """Return the data of the next event."""
        data, kind = "", ""
        while line := self._answer.readline():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "id":
                self.last_id = value
            elif name == "event":
                kind = value
            elif name == "data":
                data += value
            elif name == "":
                if data:
                    told: dict[str, Any] = json.loads(data)
                    assert (told["id"], told["kind"]) == (self.last_id, kind)
                    return told
                self.comments += [value] if value else []
        raise EOFError

    def close(self) -> None:
        self._answer.close()
        self._connection.close()


@contextmanager
def listening(server: Served, query: str = "", **headers: str) -> Iterator[Client]:
    connection = server.connect()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", f"{PATH}?{query}", headers=named)
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    client = Client(connection, answer)
    try:
        while not client.last_id:  # From then on everything is told.
            name, _, value = answer.readline().decode().strip().partition(": ")
            client.last_id = value if name == "id" else ""
        yield client
    finally:
        client.close()


def payloads(client: Client, count: int) -> list[Any]:
    return [client.next()["record"]["data"] for _ in range(count)]


def append(persistence: Persistence, *numbers: int, run_id: str = "run") -> None:
    for number in numbers:
        persistence.append_event(run_id, "agent", "log", payload=number)


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_events_are_sent_and_resumed(persistence: Persistence) -> None:
    with served(persistence) as server:
        with listening(server) as client:
            persistence.create_agent_run(AgentRun("agent", "run", status="running"))
            append(persistence, 1, 2, 3)
            run = client.next()
            assert (run["kind"], run["change"], run["record"]["run_id"]) == ("run", "begun", "run")
            assert payloads(client, 2) == ["1", "2"]
        append(persistence, 4)
        with listening(server, Last_Event_ID=client.last_id) as again:
            assert payloads(again, 2) == ["3", "4"]
        with listening(server, f"after={client.last_id}&kinds=event") as again:
            assert payloads(again, 2) == ["3", "4"]


def test_filters_are_parameters(persistence: Persistence) -> None:
    with (
        served(persistence) as server,
        listening(server, "kinds=event,usage&run_id=a&run_id=b") as client,
    ):
        append(persistence, 1, run_id="c")
        append(persistence, 2, run_id="a")
        append(persistence, 3, run_id="b")
        assert payloads(client, 2) == ["2", "3"]


@pytest.mark.before_io
def test_wrong_parameters_are_a_bad_request(persistence: Persistence) -> None:
    wrong = (
        "after=x",
        "kinds=runs",
        "agents=a",
        "after=1.2.3.4.~x",
        "run_id=%00",
        "until=1.1.1.1.1",
    )
    with served(persistence) as server:
        for query in wrong:
            answer = server.get(f"{PATH}?{query}")
            assert answer.status == 400
            assert answer.json()["detail"]
        assert server.get(PATH, Last_Event_ID="x").status == 400


@pytest.mark.before_io
def test_a_stream_needs_a_key_like_all_else(persistence: Persistence) -> None:
    with served(persistence, keys=("secret",)) as server:
        assert server.get(PATH).status == 401
        with listening(server, Authorization="Bearer secret") as client:
            append(persistence, 1)
            assert client.next()["kind"] == "run"


@pytest.mark.slow
@pytest.mark.before_io
def test_silence_is_filled_with_comments_that_move_the_id(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sent, "_HEARTBEAT", 0.05)
    with served(persistence) as server, listening(server, "run_id=other") as client:
        first = client.last_id
        append(persistence, 1, 2)
        time.sleep(0.2)
        append(persistence, 3, run_id="other")
        client.next()
        assert "heartbeat" in client.comments
    with served(persistence) as server, listening(server, "run_id=other", Last_Event_ID=first) as c:
        assert c.next()["kind"] == "run"


def test_a_client_that_is_gone_frees_its_listener(persistence: Persistence) -> None:
    live = persistence._live
    with served(persistence) as server:
        with listening(server), listening(server):
            assert live.listeners == 2
        wait_until(lambda: live.listeners == 0)


def test_a_server_that_stops_ends_its_streams(persistence: Persistence) -> None:
    with served(persistence) as server:
        with_stream = listening(server)
        client = with_stream.__enter__()
        begin = time.monotonic()
    assert time.monotonic() - begin < 5
    with pytest.raises(EOFError):
        client.next()
    client.close()
    assert persistence._live.listeners == 0


def test_a_closed_database_ends_the_streams(persistence: Persistence) -> None:
    with served(persistence) as server, listening(server) as client:
        persistence.close()
        with pytest.raises(EOFError):
            client.next()
        assert server.get(PATH).status == 503


@pytest.mark.before_io
def test_listeners_are_bounded(persistence: Persistence, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sent, "_MOST", 2)
    with served(persistence) as server:
        with listening(server), listening(server):
            refused = server.get(PATH)
            assert refused.status == 503
            assert refused.headers["Retry-After"] == "5"
        wait_until(lambda: server_lets_in(server))


def server_lets_in(server: Served) -> bool:
    connection = server.connect()
    connection.request("GET", PATH)
    status = connection.getresponse().status
    connection.close()
    return status == 200


@pytest.mark.slow
def test_a_slow_client_is_told_what_it_missed(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its socket is full, so the server does not read on for it."""
    monkeypatch.setattr(hub, "_KEPT", 20)
    text = "x" * 100_000
    with served(persistence) as server, listening(server, "kinds=event") as client:
        for _ in range(200):
            persistence.append_event("run", "agent", "log", payload=text)
        append(persistence, -1)
        found, missed = 0, 0
        while True:
            item = client.next()
            if item["kind"] == "missed":
                missed += item["missed"]
                since = item["since"]
            elif item["record"]["data"] == "-1":
                break
            else:
                found += 1
        assert missed
        assert found + missed == 200
        with listening(server, f"kinds=event&after={since}") as second:
            assert second.next()["kind"] == "event"


def test_a_half_sent_request_disturbs_nobody(persistence: Persistence) -> None:
    with served(persistence) as server:
        address = server.connect()
        with socket.create_connection((address.host, address.port)) as raw:
            raw.sendall(b"GET /api/v1/stream HTTP/1.1\r\nHost: loc")
        with listening(server, "kinds=event") as client:
            append(persistence, 1)
            assert payloads(client, 1) == ["1"]
