"""Charts in a browser: the tooltip by mouse and by keyboard, links, and pages that stay current."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from curio_persistence import AgentRun, AgentRunEvent, InMemoryPersistence, Persistence
from curio_persistence.clock import Clock
from tests.console.test_accessible import check_each_look
from tests.support.console import NOW, record, served_console

pytestmark = pytest.mark.thorough

Open = Callable[..., Any]

_PAGES = ("/", "/costs?by=tag", "/activity?by=agent", "/custom-metrics?by=agent", "/agents/coder")


@pytest.fixture(scope="module")
def history() -> Iterator[Persistence]:
    """A history with a metric."""
    with InMemoryPersistence(clock=Clock(lambda: NOW)) as persistence:
        record(persistence)
        for number in range(30):
            payload = {"name": "accuracy", "value": number / 30}
            persistence.log_agent_run_event(
                AgentRunEvent("coder", f"run-{number}", "", NOW, "metric", payload)
            )
        yield persistence


@pytest.fixture(scope="module")
def served(history: Persistence) -> Iterator[str]:
    with served_console(history) as url:
        yield url


def _columns(page: Any) -> Any:
    return page.locator(".plot .column")


def _tip(page: Any) -> Any:
    return page.locator(".chart-tip")


def test_the_tooltip_of_a_column_has_its_row_of_the_table(open_page: Open) -> None:
    page = open_page("/costs")
    number = _columns(page).count() - 2
    _columns(page).nth(number).hover()
    row = page.locator(".chart-table tbody tr").nth(number)
    heading, *cells = row.locator("th, td").all_text_contents()
    text = _tip(page).text_content()
    assert text.startswith(heading)
    assert all(cell in text for cell in cells if cell != "–")
    assert any(cell.startswith("$") for cell in cells)
    page.locator("h1").hover()
    assert _tip(page).count() == 0


def test_the_tooltip_is_the_only_one(open_page: Open) -> None:
    page = open_page("/costs")
    column = _columns(page).last
    column.hover()
    assert column.locator("title").count() == 0
    assert column.get_attribute("aria-label").startswith("Sunday 29 November\n")


def test_the_tooltip_stays_on_the_page(open_page: Open) -> None:
    for width in (1440, 390):
        page = open_page("/costs", width=width)
        for column in (_columns(page).first, _columns(page).last):
            column.hover()
            box = _tip(page).bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width


def test_arrow_keys_walk_the_columns_and_enter_opens_one(open_page: Open) -> None:
    page = open_page("/costs")
    last = _columns(page).count() - 1
    page.locator(".segmented a", has_text="by tag").focus()
    stops = []
    while "column" not in (page.locator(":focus").get_attribute("class") or ""):
        page.keyboard.press("Tab")
        stops.append(page.locator(":focus").first)
    focused = "columns => columns.findIndex((each) => each === document.activeElement)"
    assert _columns(page).evaluate_all(focused) == last
    for key, place in (("ArrowLeft", last - 1), ("Home", 0), ("ArrowLeft", 0), ("End", last)):
        page.keyboard.press(key)
        assert _columns(page).evaluate_all(focused) == place
        assert _tip(page).count() == 1
    page.keyboard.press("Escape")
    assert _tip(page).count() == 0
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert _columns(page).evaluate_all(focused) == last
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/runs\?since=2026-11-28T23%3A00%3A00Z"))


def test_charts_are_links_without_a_script(open_page: Open) -> None:
    page = open_page("/costs", java_script_enabled=False)
    assert page.locator(".plot .s1").count() > 1
    column = _columns(page).last
    assert column.locator("title").text_content().startswith("Sunday 29 November")
    page.goto(page.url.partition("/costs")[0] + column.get_attribute("href"))
    assert page.locator('input[name="pick"]').count() > 1


def test_the_overview_stays_current_without_flicker(open_page: Open, history: Persistence) -> None:
    page = open_page("/")
    page.locator(".chart-table summary").click()
    tile = page.locator(".tile .value").first
    before = int(tile.text_content())
    tile.evaluate("tile => { tile.stays = true; }")
    history.create_agent_run(AgentRun("late", "late", created_at=NOW.replace(hour=9, minute=1)))
    try:
        expect(tile).to_have_text(str(before + 1), timeout=15_000)
    finally:
        history.delete_agent_run("late")
    assert tile.evaluate("tile => tile.stays") is True
    assert page.locator(".chart-table[open]").count() == 1


@pytest.mark.parametrize("path", _PAGES)
def test_axe_finds_nothing_where_there_is_much(open_page: Open, path: str) -> None:
    page = open_page(path, bypass_csp=True)
    for details in page.locator(".chart-table summary").all():
        details.click()
    check_each_look(page)


@pytest.mark.parametrize("path", _PAGES)
def test_narrow_screens_do_not_scroll_to_the_side(open_page: Open, path: str) -> None:
    page = open_page(path, width=390, height=800)
    for details in page.locator(".chart-table summary").all():
        details.click()
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_narrow_screens_show_where_one_is_in_the_rail(open_page: Open) -> None:
    here = open_page("/agents", width=390, height=800).locator(".rail [aria-current]")
    box = here.bounding_box()
    assert 0 <= box["x"] <= 390 - box["width"]


def test_bars_are_seen_in_forced_colors_and_on_paper(open_page: Open) -> None:
    page = open_page("/costs", forced_colors="active")
    stroke = "piece => getComputedStyle(piece).stroke"
    assert page.locator(".column .s1").first.evaluate(stroke) != "none"
    page.emulate_media(media="print", forced_colors="none")
    fill = "piece => getComputedStyle(piece).fill"
    assert page.locator(".column .s1").first.evaluate(fill) == "rgb(91, 91, 214)"
    assert page.locator(".plot").is_visible()


def test_the_first_run_turns_the_code_into_an_overview(browser: Any) -> None:
    with (
        InMemoryPersistence(clock=Clock(lambda: NOW)) as persistence,
        served_console(persistence) as url,
    ):
        page = browser.new_page()
        page.goto(url)
        assert page.locator("pre").count() == 1
        persistence.create_agent_run(AgentRun("guide", "first", created_at=NOW.replace(minute=1)))
        page.locator(".tile .value").first.wait_for(timeout=8_000)
        assert page.locator("#results").get_attribute("hx-trigger") == "every 10s"
        page.close()
