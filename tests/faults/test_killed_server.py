"""A client of live streams loses nothing when the server is killed and started again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from curio_persistence import AgentRunEvent, LiveItem, Persistence, connect
from tests.support.children import Child

SERVER = """
from curio_persistence.capabilities.live import hub
hub.INTERVAL = 0.005
persistence = connect(sys.argv[1])
serve(persistence, ServerConfig(port=0), on_start=lambda url: print(url, flush=True))
"""
EVENTS = 150


def told(url: str, last_id: str) -> Iterator[tuple[str, str]]:
    """Yield the id and the payload of each event, until the connection breaks."""
    with closing(HTTPConnection(url.removeprefix("http://"), timeout=30)) as connection:
        connection.request("GET", "/api/v1/stream?kinds=event", headers={"Last-Event-ID": last_id})
        with connection.getresponse() as answer:
            for line in answer:
                if line.startswith(b"data: "):
                    item = json.loads(line.removeprefix(b"data: "))
                    yield item["id"], item["record"]["data"]


def test_a_client_resumes_at_another_server(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    with connect(url) as persistence:
        last_id = persistence.stream().id
        writing = threading.Thread(target=write, args=(persistence,))
        writing.start()
        found: list[str] = []
        while len(found) < EVENTS:
            with Child(SERVER, url) as server:
                for new_id, payload in told(server.read(), last_id):
                    last_id = new_id
                    found.append(payload)
                    if len(found) % 50 == 0:
                        break  # The server is killed, with more on its way.
        writing.join()
    assert found == [str(number) for number in range(EVENTS)]


def write(persistence: Persistence) -> None:
    for number in range(EVENTS):
        persistence.append_event("run", "agent", "log", payload=number)
        threading.Event().wait(0.005)


@pytest.mark.parametrize("size", [10_000, 20])
def test_threads_that_write_and_listen_lose_nothing(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listeners that are overtaken read what they missed by a second stream."""
    monkeypatch.setattr("curio_persistence.capabilities.live.hub._KEPT", size)
    monkeypatch.setattr("curio_persistence.capabilities.live.hub.INTERVAL", 0.005)
    with connect(f"sqlite:///{tmp_path / 'runs.db'}") as persistence:
        last_id = persistence.stream().id
        found: list[list[str]] = [[] for _ in range(4)]
        listening = [
            threading.Thread(target=listen, args=(persistence, last_id, each)) for each in found
        ]
        writing = [threading.Thread(target=write, args=(persistence,)) for _ in range(2)]
        for thread in (*listening, *writing):
            thread.start()
        for thread in (*listening, *writing):
            thread.join()
    expected = sorted([str(number) for number in range(EVENTS)] * 2)
    assert [sorted(each) for each in found] == [expected] * 4


def listen(persistence: Persistence, last_id: str, found: list[str]) -> None:
    """Take all events, slowly; begin anew behind the last one from time to time."""
    stream = persistence.stream(after=last_id, kinds="event")
    while len(found) < 2 * EVENTS:
        items = stream.take(7, timeout=10)
        for item in items:
            found += missed(persistence, item) if item.kind == "missed" else [payload_of(item)]
        threading.Event().wait(0.02)
        if len(found) % 5 == 0:
            stream.close()
            stream = persistence.stream(after=items[-1].id, kinds="event")
    stream.close()


def missed(persistence: Persistence, gap: LiveItem) -> list[str]:
    found = persistence.stream(after=gap.since, until=gap.id, kinds="event")
    return list(map(payload_of, found))


def payload_of(item: LiveItem) -> str:
    assert isinstance(item.record, AgentRunEvent)
    return str(item.record.data)
