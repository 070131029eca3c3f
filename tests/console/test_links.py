"""Every link of every page leads to an answer, below any base path, and for any id."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from urllib.parse import unquote, urldefrag, urljoin

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from curio_persistence import (
    AgentRun,
    AgentRunEvent,
    ConsoleOptions,
    InMemoryPersistence,
    Persistence,
    create_app,
)
from curio_persistence.clock import Clock
from curio_persistence.console.http.paths import Paths, decoded_id, encoded_id
from tests.support.console import NOW, AsServed, client_of, record

IDS = (
    *("plain", "a/b", "a//b", "/", ".", "..", "../../etc/passwd", "%2F", "%252F", "a%", "?a=b#c"),
    *("a b+c", "日本語 🎉", "x\u202ey", "<script>\"'&", "x" * 255),
)
_LINK = re.compile(r'(?:href|src|hx-get)="([^"]*)"')


class Stripping:
    """A proxy in front that strips a prefix, and decodes nothing."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app, self._prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        assert path.startswith(self._prefix + "/"), path
        await self._app({**scope, "path": path.removeprefix(self._prefix)}, receive, send)


@pytest.fixture(scope="module")
def small() -> Iterator[Persistence]:
    """A history with runs of every hostile id."""
    with InMemoryPersistence(clock=Clock(lambda: NOW)) as persistence:
        record(persistence, runs=6)
        for ident in IDS:
            persistence.create_agent_run(
                AgentRun(ident, ident, objective=ident, session_id=ident, tags=[ident])
            )
            persistence.log_agent_run_event(AgentRunEvent(ident, ident, event_type="note"))
        record_open_run(persistence)
        yield persistence


def record_open_run(persistence: Persistence) -> None:
    """Record a run with all that begins and ends, and a tool call that has not ended."""
    with persistence.record_run(agent_id="coder", run_id="whole", session_id="chat") as run:
        run.iteration()
        with run.tool("grep", {"word": "x"}) as call:
            call.result = "found"
        run.finish("done")
    open_call = AgentRunEvent("coder", "whole", event_type="tool_call_started", span_id="1")
    persistence.log_agent_run_event(open_call)


def links_of(url: str, page: str) -> set[str]:
    """Return the links of a page to the same host, without their fragments."""
    found = (urljoin(url, unescape(link)) for link in _LINK.findall(page))
    return {urldefrag(link).url for link in found if link.startswith("http://127.0.0.1/")}


def form_of(link: str) -> str:
    """Return a link without what differs between links of one kind: ids, times and cursors."""
    path, _, query = link.partition("?")
    names = sorted({each.partition("=")[0] for each in query.split("&")})
    return re.sub(r"/(runs|sessions|traces|agents)/[^/]+", r"/\1/ID", path) + "?" + "&".join(names)


def walked(app: ASGIApp, base: str, of_each: int = 1) -> dict[str, int]:
    """Follow links from the first page, some of each form; return their statuses."""
    client = TestClient(AsServed(app), base_url="http://127.0.0.1")
    start = f"http://127.0.0.1{base}/"
    waiting, statuses, forms = [start], {}, dict[str, int]()
    while waiting:
        link = waiting.pop(0)
        answer = client.get(link)
        statuses[link] = answer.status_code
        if "text/html" not in answer.headers.get("content-type", ""):
            continue
        for found in sorted(links_of(str(answer.url), answer.text) - statuses.keys()):
            forms[form_of(found)] = forms.get(form_of(found), 0) + 1
            if found not in waiting and forms[form_of(found)] <= of_each:
                waiting.append(found)
    return statuses


def assert_all_lead_somewhere(statuses: dict[str, int], base: str) -> None:
    assert len(statuses) > 30
    assert {link: status for link, status in statuses.items() if status >= 400} == {}
    outside = [link for link in statuses if not link.startswith(f"http://127.0.0.1{base}/")]
    assert outside == []


@pytest.mark.slow
@pytest.mark.thorough
def test_every_link_of_every_page_leads_to_an_answer(small: Persistence) -> None:
    assert_all_lead_somewhere(walked(create_app(small), "", of_each=4), "")


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("strips", [True, False], ids=["stripped", "passed on"])
def test_every_link_works_behind_a_proxy(small: Persistence, strips: bool) -> None:
    app: ASGIApp = create_app(small, ConsoleOptions(base_path="/tools/curio"))
    app = Stripping(app, "/tools/curio") if strips else app
    assert_all_lead_somewhere(walked(app, "/tools/curio"), "/tools/curio")


@pytest.mark.slow
@pytest.mark.thorough
def test_every_link_works_where_the_console_is_mounted(small: Persistence) -> None:
    app = Starlette(routes=[Mount("/deep/curio", create_app(small))])
    assert_all_lead_somewhere(walked(app, "/deep/curio"), "/deep/curio")


def test_a_link_to_any_event_opens_it_in_its_run(small: Persistence) -> None:
    client = client_of(small)
    for event in small.query_events(run_id="whole"):
        page = client.get(Paths().run("whole", f"event:{event.id}"))
        assert page.status_code == 200, event.event_type
        assert f'<span class="mono dimmer">event:{event.id}</span>' in page.text


def test_calls_that_are_open_in_a_replay_lead_to_their_steps(small: Persistence) -> None:
    client = client_of(small)
    [*_, last] = small.query_events(run_id="whole", order="oldest")
    replay = client.get(Paths().session("chat", view="replay", at=f"event:{last.id}")).text
    assert f'href="{Paths().run("whole", f"event:{last.id}")}"' in replay


@pytest.mark.parametrize("ident", IDS)
def test_any_id_arrives_as_it_was_sent(ident: str) -> None:
    path = Paths().run(ident)
    assert decoded_id(unquote(path).removeprefix("/runs/")) == ident
    assert re.fullmatch(r"/runs/[A-Za-z0-9%_.~-]+", path)
    assert encoded_id(ident) not in (".", "..")


@pytest.mark.parametrize("ident", IDS)
def test_the_page_of_any_id_is_that_of_the_id(small: Persistence, ident: str) -> None:
    client = client_of(small)
    for url in (Paths().run(ident), Paths().session(ident), Paths().agent(ident)):
        assert client.get(url).status_code == 200, url


@pytest.mark.parametrize("ident", ["nowhere", "a/b/c", "..%2F..", "é" * 300, "x" * 5000])
def test_an_id_that_is_not_recorded_is_told_in_words(small: Persistence, ident: str) -> None:
    answer = client_of(small).get(Paths().run(ident))
    assert answer.status_code in (400, 404)
    assert "deleted or never recorded" in answer.text or "This cannot be asked" in answer.text


def test_an_id_with_a_nul_is_refused(small: Persistence) -> None:
    assert client_of(small).get("/runs/a%2500b").status_code in (400, 404)
