"""The list of events in a browser: rows come in on top, in order and each once, or wait."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from curio_persistence import AgentRunEvent, Persistence, connect
from tests.cli.program import Program
from tests.support.console import served_console

pytestmark = pytest.mark.thorough

_WATCH = """() => {
  window.came = [];
  new MutationObserver((changes) => {
    for (const change of changes)
      window.came.push(...[...change.addedNodes].filter((n) => n.id).map((n) => n.id).reverse());
  }).observe(document.querySelector("[data-rows]"), { childList: true });
}"""
"""Keeps the ids of the rows that are put in, in the order in which they were stored."""


@pytest.fixture
def persistence(tmp_path: Path) -> Iterator[Persistence]:
    with connect(f"sqlite:///{tmp_path / 'runs.db'}") as opened:
        yield opened


@pytest.fixture
def live(persistence: Persistence) -> Iterator[str]:
    with served_console(persistence) as url:
        yield url


Open = Callable[..., Any]


@pytest.fixture
def open_events(browser: Any, live: str) -> Iterator[Open]:
    """Return a function that opens the list of events, and waits until it follows."""
    contexts = []

    def open_events(query: str = "", url: str = live) -> Any:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        contexts.append(context)
        page = context.new_page()
        page.goto(f"{url}/events{query}")
        page.wait_for_selector('[data-state="live"]')
        page.evaluate(_WATCH)
        return page

    yield open_events
    for context in contexts:
        context.close()


def store(persistence: Persistence, count: int, first: int = 0) -> None:
    persistence.log_agent_run_events(
        [
            AgentRunEvent("agent", "run", message=f"number {number}", event_type="log")
            for number in range(first, first + count)
        ]
    )


def rows(page: Any) -> list[str]:
    found: list[str] = page.eval_on_selector_all("[data-row]", "rows => rows.map(row => row.id)")
    return found


def wait_for_row(page: Any, number: int) -> None:
    page.wait_for_selector(f"#event-{number}", state="attached")


def ids(numbers: Any) -> list[str]:
    return [f"event-{number}" for number in numbers]


def test_rows_come_in_on_top_in_order_each_once(
    persistence: Persistence, open_events: Open
) -> None:
    store(persistence, 3)
    page = open_events()
    for number in range(20):
        store(persistence, 1, number)
    wait_for_row(page, 23)
    assert rows(page) == ids(range(23, 0, -1))
    assert page.evaluate("came") == ids(range(4, 24))


def test_a_page_without_events_shows_the_first(persistence: Persistence, open_events: Open) -> None:
    page = open_events()
    assert page.get_by_text("No event is recorded yet").is_visible()
    store(persistence, 1)
    wait_for_row(page, 1)
    assert not page.get_by_text("No event is recorded yet").is_visible()


def test_rows_wait_while_the_page_is_paused(persistence: Persistence, open_events: Open) -> None:
    store(persistence, 5)
    page = open_events()
    page.keyboard.press("Space")
    assert page.get_by_text("Paused").is_visible()
    store(persistence, 37)
    page.get_by_role("button", name="37 new").wait_for()
    assert rows(page) == ids(range(5, 0, -1))
    page.keyboard.press("Space")
    wait_for_row(page, 42)
    assert rows(page) == ids(range(42, 0, -1))
    assert page.get_by_text("Live", exact=True).is_visible()


def test_rows_wait_while_the_page_is_scrolled(persistence: Persistence, open_events: Open) -> None:
    store(persistence, 90)
    page = open_events()
    page.evaluate("scrollTo(0, 900)")
    store(persistence, 600)
    button = page.get_by_role("button", name="600 new")
    button.wait_for()
    assert len(rows(page)) == 90
    assert button.is_visible()
    button.click()
    wait_for_row(page, 690)
    assert page.evaluate("scrollY") == 0
    assert rows(page) == ids(range(690, 190, -1))


def test_rows_wait_while_one_is_read(persistence: Persistence, open_events: Open) -> None:
    store(persistence, 3)
    page = open_events()
    page.click("#event-2 [data-expand]")
    page.wait_for_selector("#event-2 #event")
    store(persistence, 2)
    page.get_by_role("button", name="2 new").wait_for()
    page.click("#event-2 [data-expand]")
    store(persistence, 1)
    wait_for_row(page, 6)
    assert page.locator("#event").count() == 0


def test_the_end_of_a_call_takes_the_place_of_its_begin(
    persistence: Persistence, open_events: Open
) -> None:
    page = open_events()
    call = {"span_id": "a" * 16, "payload": {"tool_name": "grep"}}
    persistence.append_event("run", "agent", "tool_call_started", **call)
    wait_for_row(page, 1)
    persistence.append_event("run", "agent", "tool_call", **call)
    wait_for_row(page, 2)
    assert rows(page) == ids([2])
    page.keyboard.press("Space")
    for kind in ("tool_call_started", "tool_call"):
        persistence.append_event("run", "agent", kind, **call | {"span_id": "b" * 16})
    page.get_by_role("button", name="2 new").click()
    assert rows(page) == ids([4, 2])


def test_filters_hold_for_what_comes_in(persistence: Persistence, open_events: Open) -> None:
    page = open_events("?min_level=error")
    store(persistence, 5)
    persistence.append_event("run", "agent", "log", level="error")
    wait_for_row(page, 6)
    assert rows(page) == ids([6])
    page.select_option("select[name=min_level]", "info")
    wait_for_row(page, 5)
    page.wait_for_selector('[data-state="live"]')
    store(persistence, 1)
    wait_for_row(page, 7)
    assert rows(page) == ids(range(7, 0, -1))
    page.go_back()
    page.wait_for_selector("#event-5", state="detached")
    page.wait_for_selector('[data-state="live"]')
    assert rows(page) == ids([6])


def test_a_flood_is_shown_without_losing_a_row(persistence: Persistence, open_events: Open) -> None:
    """930 events a second for ten seconds, of which the page keeps 500."""
    page = open_events()
    begin = time.monotonic()
    for tenth in range(100):
        store(persistence, 93, 93 * tenth)
        page.wait_for_timeout(max(0, begin + (tenth + 1) / 10 - time.monotonic()) * 1000)
    wait_for_row(page, 9_300)
    assert page.evaluate("came") == ids(range(1, 9_301))
    assert rows(page) == ids(range(9_300, 8_800, -1))
    heap = page.evaluate("performance.memory.usedJSHeapSize") / 2**20
    assert heap < 30


def test_a_row_is_on_the_screen_soon_after_its_commit(
    persistence: Persistence, open_events: Open
) -> None:
    page = open_events()
    took = []
    for number in range(1, 21):
        begin = time.monotonic()
        store(persistence, 1)
        wait_for_row(page, number)
        took.append(time.monotonic() - begin)
        page.wait_for_timeout(37)
    print(f"p50 {sorted(took)[10]:.2f} s, p95 {sorted(took)[18]:.2f} s")
    assert sorted(took)[10] < 2


def test_a_page_goes_on_after_the_server_was_started_again(
    persistence: Persistence, open_events: Open
) -> None:
    with served_console(persistence) as url:
        page = open_events(url=url)
        store(persistence, 1)
        wait_for_row(page, 1)
    page.wait_for_selector('[data-state="waiting"]')
    store(persistence, 3)
    with served_console(persistence, port=int(url.rpartition(":")[2])):
        wait_for_row(page, 4)
        page.wait_for_selector('[data-state="live"]')
        assert page.evaluate("came") == ids(range(1, 5))


def test_a_page_that_is_not_looked_at_holds_no_connection(
    persistence: Persistence, open_events: Open
) -> None:
    page = open_events()
    hide = (
        "hidden => Object.defineProperty(document, 'hidden', {value: hidden, configurable: true})"
    )
    for hidden in (True, False):
        page.evaluate(f"({hide})({str(hidden).lower()})")
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        until = time.monotonic() + 10
        while persistence._live.listeners != (0 if hidden else 1):
            assert time.monotonic() < until
            time.sleep(0.02)
        store(persistence, 1)
    wait_for_row(page, 2)
    assert page.evaluate("came") == ids([1, 2])


def test_the_command_ends_at_ctrl_c_while_pages_follow(
    browser: Any, tmp_path: Path, persistence: Persistence
) -> None:
    store(persistence, 1)
    database = ("--db-path", str(tmp_path / "runs.db"))
    with Program(tmp_path).start("console", "--port", "0", "--json", *database) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        context = browser.new_context()
        page = context.new_page()
        page.goto(url)
        page.goto(urljoin(url, "/events"))
        page.wait_for_selector('[data-state="live"]')
        store(persistence, 1)
        wait_for_row(page, 2)
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        took = time.monotonic() - begin
        page.wait_for_selector('[data-state="waiting"]')
        context.close()
    assert process.returncode == 0
    assert took < 3


def test_a_page_that_waits_for_its_database_follows_as_soon_as_it_is_there(
    browser: Any, tmp_path: Path
) -> None:
    options = ("--port", "0", "--json", "--db-path", str(tmp_path / "later.db"))
    with Program(tmp_path).start("console", *options) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        context = browser.new_context()
        page = context.new_page()
        page.goto(url)
        page.goto(urljoin(url, "/events"))
        page.get_by_role("heading", name="There is no database yet", level=2).wait_for()
        with connect(f"sqlite:///{tmp_path / 'later.db'}") as persistence:
            store(persistence, 1)
            page.wait_for_selector('[data-state="live"]')
            store(persistence, 1)
            wait_for_row(page, 2)
        context.close()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
