"""Sessions, traces, compare and alerts in a real browser: by mouse, by keys, and without script."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from curio_persistence.trace_ids import trace_id_of

pytestmark = pytest.mark.thorough

Open = Callable[..., Any]
REPLAY = "/sessions/session-0?view=replay"


def step_of(page: Any) -> int:
    said = page.locator("#replay [role=status]").inner_text()
    return int(said.split()[1])


def at_step(page: Any, number: int) -> None:
    expect(page.locator("#replay [role=status]")).to_contain_text(f"step {number} of")


def test_a_session_is_opened_from_the_list_and_read(open_page: Open) -> None:
    page = open_page("/sessions")
    page.get_by_role("link", name="session-0").click()
    page.wait_for_url("**/sessions/session-0")
    assert page.locator("article").count() == 4
    page.get_by_role("link", name="Timeline").click()
    page.wait_for_url("**view=timeline")
    assert page.locator("tbody tr").count() > 10
    page.locator("tbody a.name").nth(1).click()
    page.wait_for_url("**/runs/**step=*")


def test_filters_of_sessions_are_in_the_address_and_back_works(open_page: Open) -> None:
    page = open_page("/sessions")
    page.get_by_label("Agent").select_option("coder")
    page.wait_for_url("**agent_id=coder*")
    assert page.locator("tbody tr").count() == 1
    page.go_back()
    expect(page.locator("tbody tr")).to_have_count(5)


def test_a_replay_is_walked_by_keys(open_page: Open) -> None:
    page = open_page(REPLAY)
    assert step_of(page) == 1
    for number in (2, 3, 4):
        page.keyboard.press("j")
        at_step(page, number)
    page.keyboard.press("k")
    at_step(page, 3)
    assert "at=" in page.url
    marked = page.locator("tr[aria-current=step]")
    assert marked.count() == 1
    page.reload()
    assert step_of(page) == 3


def test_a_replay_plays_and_pauses_by_the_space_key(open_page: Open) -> None:
    page = open_page(REPLAY)
    page.wait_for_timeout(500)  # Until links change only the replay, instead of the whole page.
    page.keyboard.press(" ")
    assert page.get_by_role("button", name="Pause").get_attribute("aria-pressed") == "true"
    at_step(page, 3)
    page.keyboard.press(" ")
    page.get_by_role("button", name="Play").wait_for()
    stopped = step_of(page)
    page.wait_for_timeout(1500)
    assert step_of(page) <= stopped + 1  # One step may have been under way.


def test_a_replay_stops_at_its_last_step(open_page: Open) -> None:
    page = open_page(REPLAY)
    last = page.locator("tbody a.name").last
    while page.locator("#replay-j").count():
        before = step_of(page)
        last.click()
        expect(page.locator("#replay [role=status]")).not_to_contain_text(f"step {before} of")
    page.get_by_role("button", name="Play").click()
    page.wait_for_timeout(300)
    assert page.locator("#play").get_attribute("aria-pressed") == "false"


def test_a_replay_is_walked_without_script(open_page: Open) -> None:
    page = open_page(REPLAY, java_script_enabled=False)
    page.locator("#replay-j").click()
    assert step_of(page) == 2
    assert not page.locator("#play").is_visible()


def test_a_span_is_chosen_in_the_waterfall(open_page: Open) -> None:
    page = open_page(f"/traces/{trace_id_of('run-9')}")
    page.locator(".waterfall a", has_text="run_sql").first.click()
    page.wait_for_url("**span=*")
    page.locator("#span h2", has_text="run_sql").wait_for()
    assert page.locator(".waterfall tr[aria-current]").count() == 1
    assert page.locator("#span").inner_text().count("select 1") == 1
    bars = page.locator(".bars rect").all()
    assert all(bar.bounding_box()["width"] > 0 for bar in bars)


def test_a_waterfall_is_walked_by_keys(open_page: Open) -> None:
    page = open_page(f"/traces/{trace_id_of('run-9')}")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**span=*")
    expect(page.locator("tr[aria-current=true] :focus")).to_be_attached()


def test_equal_steps_unfold(open_page: Open) -> None:
    page = open_page("/compare?a=run-9&b=run-13")
    equal = page.locator(".equal").first
    assert not equal.locator("ul").is_visible()
    equal.locator("summary").click()
    assert equal.locator("ul").is_visible()


@pytest.mark.parametrize("path", ["/sessions/session-0", REPLAY, "/compare?a=run-9&b=run-13"])
@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_nothing_stands_beside_the_page(open_page: Open, path: str, width: int) -> None:
    page = open_page(path, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
