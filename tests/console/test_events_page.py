"""The list of events: its filters, its pages, one event, and the rows that come in."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import datetime
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient

from curio_persistence import AgentRun, AgentRunEvent, InMemoryPersistence, Persistence
from curio_persistence.capabilities.live import hub
from curio_persistence.clock import Clock
from curio_persistence.console.parts import following
from tests.support.console import NOW, client_of, served_console


def shown(page: str) -> list[str]:
    """Return the ids of the rows of a page."""
    return re.findall(r'id="(event-\d+)"', page)


@pytest.fixture
def persistence() -> Iterator[Persistence]:
    with InMemoryPersistence() as opened:
        yield opened


@pytest.fixture
def client(persistence: Persistence) -> TestClient:
    return client_of(persistence)


def test_the_newest_events_come_first_and_lead_to_older_ones(
    console: TestClient, history: Persistence
) -> None:
    first = console.get("/events").text
    older = re.search(r'href="([^"]+)" data-key="n"', first)
    assert older
    second = console.get(older[1].replace("&amp;", "&")).text
    stored = [f"event-{event.id}" for event in history.query_events(limit=None)]
    assert shown(first) + shown(second) == stored
    assert "live-rows" in first
    assert "live-rows" not in second


@pytest.mark.parametrize(
    ("query", "filters"),
    [
        ("agent_id=coder", {"agent_id": "coder"}),
        ("run_id=run-7", {"run_id": "run-7"}),
        ("event_type=tool_call&min_level=info", {"event_type": ["tool_call"], "min_level": "info"}),
        ("payload=tool_name%3Drun_sql&payload=latency_ms%3D120", {"payload": {"latency_ms": 120}}),
        ("session_id=session-1", {"session_id": "session-1"}),
        ("since=2026-11-29", {"since": "2026-11-29"}),
        ("level=&agent_id=coder", {"agent_id": "coder"}),
    ],
)
def test_filters_are_those_of_the_query(
    console: TestClient, history: Persistence, query: str, filters: dict[str, Any]
) -> None:
    page = console.get(f"/events?{query}")
    stored = [f"event-{event.id}" for event in history.query_events(limit=100, **filters)]
    assert shown(page.text) == stored


@pytest.mark.parametrize(
    "query",
    ["payload=x", "since=yesterday-ish", "min_level=loud", "seq=x", "cursor=x", "colour=red"],
)
def test_a_wrong_filter_is_told(console: TestClient, query: str) -> None:
    answer = console.get(f"/events?{query}")
    assert answer.status_code == 400
    assert "This cannot be asked" in answer.text


def test_words_are_searched_with_the_same_filters(console: TestClient) -> None:
    answer = console.get("/events?q=rate+limit&agent_id=coder&seq=1", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/search?q=rate+limit&agent_id=coder",
    )


def test_one_event_is_shown_with_its_payload(console: TestClient) -> None:
    page = console.get("/events/1").text
    assert "run_sql" in page
    assert "select 1" in page
    assert console.get("/events/999999").status_code == 404


def test_nothing_recorded_and_nothing_that_passes_are_told_apart(
    client: TestClient, persistence: Persistence
) -> None:
    assert "No event is recorded yet" in client.get("/events").text
    persistence.append_event("run", "agent", "log")
    page = client.get("/events?agent_id=other&min_level=error").text
    assert "No event passes the filters" in page
    assert 'href="/events?min_level=error"' in page
    assert 'href="/events?agent_id=other"' in page


def test_recorded_text_is_no_markup(client: TestClient, persistence: Persistence) -> None:
    persistence.append_event(
        "<b>", "a'\"b", "<i>", message="<script>alert(1)</script>\u202e", payload={"<u>": "<a>"}
    )
    for page in (client.get("/events").text, client.get("/events/1").text):
        assert "&lt;script&gt;" in page
        assert "<script>alert" not in page
        assert "\u202e" not in page


def test_values_beyond_the_first_stay_in_the_form(console: TestClient) -> None:
    page = console.get("/events?payload=a%3D1&payload=b%3D2&event_type=x&event_type=y").text
    for name, value in (("payload", "b=2"), ("event_type", "y")):
        assert f'<input type="hidden" name="{name}" value="{value}">' in page
    assert 'name="payload" value="a=1"' in page
    assert '<option value="x" selected>' in page


@pytest.mark.parametrize(
    ("zone", "moment", "shown"),
    [
        ("Europe/Berlin", "2026-03-29T00:59:59.500Z", "29 Mar 01:59:59.500"),
        ("Europe/Berlin", "2026-03-29T01:00:00.500Z", "29 Mar 03:00:00.500"),
        ("America/New_York", "2026-11-01T05:30:00Z", "1 Nov 01:30:00.000"),
        ("America/New_York", "2026-11-01T06:30:00Z", "1 Nov 01:30:00.000"),
        ("Australia/Lord_Howe", "2026-04-04T14:59:00Z", "5 Apr 01:59:00.000"),
        ("Australia/Lord_Howe", "2026-04-04T15:00:00Z", "5 Apr 01:30:00.000"),
    ],
)
def test_times_are_those_of_the_reader_also_when_clocks_are_changed(
    zone: str, moment: str, shown: str
) -> None:
    with InMemoryPersistence(clock=Clock(lambda: NOW)) as persistence:
        at = datetime.fromisoformat(moment)
        persistence.log_agent_run_event(AgentRunEvent("agent", "run", timestamp=at))
        client = client_of(persistence)
        client.cookies.set("curio_zone", zone)
        page = client.get("/events").text
    iso = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert f'<time class="mono" datetime="{iso}" title="{iso}">{shown}</time>' in page


# --- the stream ------------------------------------------------------------------------------


class Stream:
    """The frames of a stream, as a browser reads them."""

    def __init__(self, url: str, path: str) -> None:
        address = urlsplit(url)
        self._connection = HTTPConnection(str(address.hostname), address.port, timeout=5)
        self._connection.request("GET", path)
        self._answer = self._connection.getresponse()
        self.status = self._answer.status

    def next(self) -> tuple[str, str, str]:
        """Return the kind, the data and the id of the next event."""
        fields: dict[str, str] = {}
        while line := self._line():
            name, _, value = line.partition(": ")
            fields[name] = f"{fields[name]}\n{value}" if name in fields else value
        return fields.get("event", ""), fields.get("data", ""), fields.get("id", "")

    def _line(self) -> str:
        line = self._answer.readline().decode()
        if not line:
            raise EOFError
        return line.rstrip("\n")

    def close(self) -> None:
        self._answer.close()
        self._connection.close()


@pytest.fixture
def url(persistence: Persistence, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(hub, "INTERVAL", 0.01)
    with served_console(persistence) as served:
        yield served


def position(persistence: Persistence) -> str:
    with persistence.stream(kinds="event") as stream:
        return stream.id


def rows(stream: Stream, count: int) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        kind, data, _ = stream.next()
        found = shown(data) + found if kind == "rows" else found
    return found


def test_new_events_come_as_rows_the_newest_first(persistence: Persistence, url: str) -> None:
    after = position(persistence)
    for number in range(5):
        persistence.append_event("run", "agent", "log", message=f"number {number}")
    stream = Stream(url, f"/events/stream?after={after}")
    assert rows(stream, 5) == ["event-5", "event-4", "event-3", "event-2", "event-1"]
    persistence.append_event("run", "agent", "log", message="<b>\r\ndata: no")
    kind, data, ident = stream.next()
    assert (kind, shown(data)) == ("rows", ["event-6"])
    assert "&lt;b&gt;" in data
    stream.close()
    again = Stream(url, f"/events/stream?after={ident}")
    persistence.append_event("run", "agent", "log")
    assert rows(again, 1) == ["event-7"]
    again.close()


def test_rows_pass_the_filters_of_the_page(persistence: Persistence, url: str) -> None:
    after = position(persistence)
    stream = Stream(url, f"/events/stream?after={after}&min_level=error&agent_id=a&payload=n%3D1")
    for agent, level, number in (("a", "info", 1), ("b", "error", 1), ("a", "error", 2)):
        persistence.append_event("run", agent, "log", level=level, payload={"n": number})
    persistence.append_event("run", "a", "log", level="error", payload={"n": 1})
    assert rows(stream, 1) == ["event-4"]
    stream.close()


def test_rows_of_one_user_are_told_by_their_runs(persistence: Persistence, url: str) -> None:
    for run_id, user in (("a", "ann"), ("b", "bob")):
        persistence.create_agent_run(AgentRun("agent", run_id, user_id=user))
    stream = Stream(url, f"/events/stream?after={position(persistence)}&user_id=bob")
    for run_id in ("a", "b", "c"):
        persistence.append_event(run_id, "agent", "log")
    assert rows(stream, 1) == ["event-2"]
    stream.close()


def test_a_page_that_missed_too_much_is_told(
    persistence: Persistence, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "MOST_RESUMED", 10)
    after = position(persistence)
    for _ in range(11):
        persistence.append_event("run", "agent", "log")
    stream = Stream(url, f"/events/stream?after={after}")
    while (told := stream.next())[0] != "skipped":
        assert told[0] == ""
    persistence.append_event("run", "agent", "log")
    assert rows(stream, 1) == ["event-12"]
    stream.close()


def test_a_wrong_position_is_refused(persistence: Persistence, url: str) -> None:
    for query in ("after=x", "colour=red", "min_level=loud", "payload=x", "since=soon"):
        stream = Stream(url, f"/events/stream?{query}")
        assert stream.status == 400
        stream.close()


def test_pages_share_what_is_rendered(
    persistence: Persistence, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int | None] = []

    def counted(look: following.Look, event: AgentRunEvent) -> str:
        made.append(event.id)
        return row(look, event)

    row = following.Look.row
    monkeypatch.setattr(following.Look, "row", counted)
    after = position(persistence)
    streams = [Stream(url, f"/events/stream?after={after}") for _ in range(3)]
    for _ in range(4):
        persistence.append_event("run", "agent", "log")
    assert [len(rows(stream, 4)) for stream in streams] == [4, 4, 4]
    assert sorted(each or 0 for each in made) == [1, 2, 3, 4]
    for stream in streams:
        stream.close()


def test_streams_of_pages_that_are_gone_end(persistence: Persistence, url: str) -> None:
    stream = Stream(url, "/events/stream")
    assert persistence._live.listeners == 1
    stream.close()
    until = time.monotonic() + 10
    while persistence._live.listeners:
        assert time.monotonic() < until
        time.sleep(0.01)
