"""The page of a run in a browser: the main job by pointer, by keys and without script."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import expect

from curio_persistence import (
    AgentRun,
    AgentRunEvent,
    Persistence,
    SQLitePersistence,
)
from tests.support.long_run import BEGIN, LONG, record_long_run

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

Open = Callable[..., Any]
URL = f"/runs/{LONG}"
WIDTHS = (1440, 1024, 390)


@pytest.fixture(scope="module")
def history() -> Iterator[Persistence]:
    with SQLitePersistence(":memory:") as persistence:
        record_long_run(persistence)
        persistence.create_agent_run(
            AgentRun("a", "live", status="running", started_at=BEGIN, objective="Go on")
        )
        yield persistence


def chosen(page: Any) -> str:
    ref: str = page.locator("#steps [aria-current]").locator("..").get_attribute("id")
    return ref


def test_by_pointer_a_failure_is_found_and_read(open_page: Open) -> None:
    page = open_page(URL)
    page.get_by_role("link", name="First failure").click()
    page.locator("#pane .wrong").get_by_text("TimeoutError: no answer").wait_for()
    assert "step=event" in page.url
    page.locator("#next").click()
    page.locator("#pane h2").get_by_text("claude-haiku-4.5").wait_for()
    page.locator("#pane").get_by_text("What does `billing/m1.py` do?").wait_for()
    page.locator("#pane .part", has_text="response").get_by_text("raw").click()
    page.locator("#pane pre", has_text="**moves**").wait_for()
    page.locator("#pane").get_by_role("link", name="formatted").click()
    page.locator("#pane strong", has_text="moves").wait_for()


def test_by_keys_alone_a_failure_is_found_and_read(open_page: Open) -> None:
    page = open_page(URL)
    page.keyboard.press("e")
    page.locator("#pane .wrong").get_by_text("TimeoutError: no answer").wait_for()
    first = chosen(page)
    page.keyboard.press("e")
    assert chosen(page) != first
    page.keyboard.press("E")
    assert chosen(page) == first
    page.keyboard.press("j")
    page.locator("#pane h2").get_by_text("claude-haiku-4.5").wait_for()
    page.keyboard.press("ArrowUp")
    assert chosen(page) == first
    page.keyboard.press("n")
    page.wait_for_url("**cursor=**")
    page.locator("#earlier").wait_for()
    page.keyboard.press("p")
    expect(page.locator("#earlier")).to_have_count(0)


def test_the_list_is_one_tab_stop(open_page: Open) -> None:
    page = open_page(URL)
    assert page.locator("#steps a:not([tabindex='-1'])").count() == 1


def test_without_script_everything_works_by_links(open_page: Open) -> None:
    page = open_page(URL, java_script_enabled=False)
    page.get_by_role("link", name="First failure").click()
    expect(page.locator("#steps .step")).to_have_count(12)
    page.locator("#steps a").first.click()
    expect(page.locator("#pane .wrong")).to_contain_text("TimeoutError: no answer")
    page.locator("#next").click()
    expect(page.locator("#place")).to_have_text("step 2 of 12")
    page.locator("#pane").get_by_role("link", name="raw").first.click()
    expect(page.locator("#pane pre").first).to_be_visible()
    page.get_by_role("link", name="Model").first.click()
    page.get_by_role("link", name="Later steps").click()
    expect(page.locator("#steps .step")).to_have_count(100)
    assert page.locator("#play").is_hidden()


def test_a_link_to_step_900_shows_it(open_page: Open, history: Persistence) -> None:
    call = list(history.usage.iterate(run_id=LONG, order="oldest"))[450]
    page = open_page(f"{URL}?step=usage:{call.id}")
    row = page.locator("#steps [aria-current]")
    assert row.is_visible()
    box, view = row.bounding_box(), page.locator("#list").bounding_box()
    assert view["y"] < box["y"] < view["y"] + view["height"]
    assert page.locator("#pane header .mono").inner_text() == f"usage:{call.id}"


def test_play_goes_on_until_it_is_stopped(open_page: Open) -> None:
    page = open_page(URL)
    page.locator("#steps a").nth(2).click()
    page.keyboard.press(" ")
    expect(page.locator("#place")).to_contain_text("step 5 ")
    page.keyboard.press(" ")
    place = page.locator("#place").inner_text()
    page.wait_for_timeout(1_000)
    assert page.locator("#place").inner_text() == place
    assert page.locator("#so-far").inner_text() == "$0.0258 so far"


def test_bars_are_as_long_as_the_screen_shows(open_page: Open) -> None:
    page = open_page(URL)
    bar = page.locator(".step rect").nth(1)
    expect(bar).to_have_attribute("width", re.compile(r"^([2-9]|\d\d)\.?\d*%"))
    page.locator("#fit").click()
    expect(bar).to_have_attribute("width", "0.5%")
    page.locator("#fit").click()
    expect(bar).to_have_attribute("width", re.compile(r"^([2-9]|\d\d)\.?\d*%"))


def test_the_map_leads_to_any_time_of_the_run(open_page: Open) -> None:
    page = open_page(URL)
    box = page.locator("#minimap").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.1, box["y"] + 8)
    page.locator("#steps [aria-current]").wait_for()
    assert 100_000 < float(page.locator("#steps [aria-current]").get_attribute("data-b")) < 140_000
    page.mouse.click(box["x"] + box["width"] * 0.9, box["y"] + 8)
    page.wait_for_url("**step=**")
    expect(page.locator("#steps [aria-current]")).to_have_attribute(
        "data-b", re.compile(r"^\d{7}$")
    )


def test_a_running_run_grows_and_the_reader_keeps_the_place(
    open_page: Open, history: Persistence
) -> None:
    def add(number: int) -> None:
        history.log_agent_run_event(
            AgentRunEvent(
                "a",
                "live",
                timestamp=BEGIN + timedelta(seconds=number),
                event_type="tool_call",
                data={"tool_name": f"tool-{number}", "latency_ms": 100},
            )
        )

    for number in range(40):
        add(number)
    page = open_page("/runs/live")
    page.locator("#steps a").nth(30).click()
    page.locator("#pane h2", has_text="tool-30").wait_for()
    scrolled = page.evaluate("document.getElementById('list').scrollTop")
    assert scrolled > 0
    add(40)
    page.locator("#steps b", has_text="tool-40").wait_for(timeout=10_000)
    assert page.evaluate("document.activeElement.textContent").find("tool-30") > 0
    assert page.evaluate("document.getElementById('list').scrollTop") == scrolled
    assert page.locator("#steps [aria-current] b").inner_text() == "tool-30"
    assert page.locator("#pane h2").inner_text() == "tool-30"
    assert "of 41" in page.locator("#place").inner_text()


@pytest.mark.parametrize("width", [*WIDTHS, 320])
def test_the_page_fits_the_screen(open_page: Open, width: int) -> None:
    page = open_page(f"{URL}?step=usage:1", width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_page_has_few_nodes_and_is_small(open_page: Open) -> None:
    page = open_page(URL)
    assert page.evaluate("document.querySelectorAll('*').length") < 8_000
