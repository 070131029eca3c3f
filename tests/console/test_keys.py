"""The keys of the console, in a browser; the pointer is not used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.thorough

Open = Callable[..., Any]


def place(page: Any) -> str:
    address = urlsplit(page.url)
    return address.path + (f"?{address.query}" if address.query else "")


def focused(page: Any, attribute: str = "id") -> Any:
    return page.evaluate(f"document.activeElement.closest('[data-row]')?.{attribute}")


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


@pytest.mark.parametrize(("letter", "path"), [("r", "/runs"), ("e", "/events"), ("f", "/search")])
def test_g_and_a_letter_lead_to_a_page(open_page: Open, letter: str, path: str) -> None:
    page = open_page("/events?agent_id=coder")
    press(page, "g", letter)
    page.wait_for_url(f"**{path}")


def test_a_search_by_keys_only(open_page: Open) -> None:
    page = open_page("/events")
    press(page, "/")
    page.keyboard.type("timeouterror gre")
    press(page, "Enter")
    page.wait_for_url("**/search?q=timeouterror+gre")
    press(page, "/", "Control+a")
    page.keyboard.type("timeouterror")
    press(page, "Enter")
    page.wait_for_url("**/search?q=timeouterror")
    page.wait_for_selector("mark")
    page.locator("body").click(position={"x": 1, "y": 1})
    press(page, "j", "j", "k", "Enter")
    page.wait_for_url("**/runs/**")


def test_rows_are_walked_by_j_and_k(open_page: Open) -> None:
    page = open_page("/events")
    press(page, "j")
    first = focused(page)
    press(page, "ArrowDown", "j")
    third = focused(page)
    press(page, "k", "ArrowUp", "k")
    assert focused(page) == first != third
    press(page, *("j" for _ in range(40)))
    assert page.evaluate("document.activeElement.getBoundingClientRect().bottom") <= 900
    press(page, "Enter")
    page.wait_for_url("**/runs/**")


def test_only_the_current_row_is_reached_by_tab(open_page: Open) -> None:
    page = open_page("/events")
    reached = page.locator("[data-row]:has([tabindex='0'])")
    assert reached.count() == 1
    press(page, "j", "j", "j")
    assert reached.count() == 1
    before = focused(page)
    press(page, "Tab", "Tab")  # The agent and the run of the row.
    assert focused(page) == before
    press(page, "Tab")
    assert focused(page) is None
    press(page, "Shift+Tab")
    assert focused(page) == before


def test_e_leads_to_failures(open_page: Open) -> None:
    page = open_page("/events")
    press(page, "e")
    first = focused(page)
    assert focused(page, "dataset.failed") == ""
    press(page, "e")
    assert focused(page) != first
    press(page, "E")
    assert focused(page) == first


def test_n_and_p_turn_pages_and_back_returns(open_page: Open) -> None:
    page = open_page("/events")
    press(page, "n")
    page.wait_for_url("**cursor=**")
    press(page, "p")
    page.wait_for_url("**/events")
    page.go_back()
    page.wait_for_url("**cursor=**")


def test_y_copies_the_link_of_the_row(open_page: Open) -> None:
    page = open_page("/events", permissions=["clipboard-read", "clipboard-write"])
    press(page, "y")
    page.get_by_text("The link is copied.").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == page.url
    press(page, "j", "y")
    page.wait_for_timeout(100)
    assert "step=event%3A" in page.evaluate("navigator.clipboard.readText()")


def test_the_dialog_lists_the_keys_and_gives_the_focus_back(open_page: Open) -> None:
    page = open_page("/events")
    press(page, "j")
    before = focused(page)
    press(page, "?")
    dialog = page.get_by_role("dialog", name="Keys")
    assert dialog.is_visible()
    press(page, "j", "g", "r")
    assert place(page) == "/events"
    press(page, "Escape")
    assert not dialog.is_visible()
    assert focused(page) == before
    page.get_by_role("button", name="Show the keys").focus()
    press(page, "Enter")
    page.get_by_role("button", name="Close").press("Enter")
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement.id") == "keys"


def test_keys_do_nothing_while_somebody_types_or_with_a_modifier(open_page: Open) -> None:
    page = open_page("/events")
    press(page, "/")
    page.keyboard.type("gr?jne")
    assert page.input_value("#search") == "gr?jne"
    assert not page.get_by_role("dialog").is_visible()
    page.evaluate("document.activeElement.blur()")
    press(page, "Control+j", "Alt+j", "Meta+j")
    assert focused(page) is None
    assert place(page) == "/events"


def test_the_theme_is_changed_by_t_and_kept(open_page: Open) -> None:
    page = open_page("/events")
    press(page, "t")
    theme = page.evaluate("document.documentElement.dataset.theme")
    assert theme != "system"
    press(page, "g", "r")
    page.wait_for_url("**/runs")
    assert page.evaluate("document.documentElement.dataset.theme") == theme


def test_two_runs_are_picked_and_compared_by_keys(open_page: Open) -> None:
    page = open_page("/runs")
    press(page, "j", "x", "j", "x")
    compare = page.get_by_role("button", name="Compare 2")
    assert compare.is_enabled()
    compare.focus()
    press(page, "Enter")
    page.wait_for_url("**/compare?**")


def test_the_failures_of_a_run_are_reached_by_e(open_page: Open) -> None:
    page = open_page("/runs/run-56")
    press(page, "e")
    page.wait_for_url("**step=event:**")
    assert page.locator("[data-row][data-failed][data-current]").count() == 1


def test_z_leads_to_the_time_zone_and_back(open_page: Open) -> None:
    page = open_page("/events?agent_id=coder")
    press(page, "z")
    page.wait_for_url("**/preferences**")
    page.fill("input[name=zone]", "Asia/Tokyo")
    press(page, "Enter")
    page.wait_for_url("**/events?agent_id=coder")
    assert page.get_by_text("Tokyo").is_visible()


@pytest.mark.parametrize("path", ["/runs", "/events", "/search?q=timeouterror"])
def test_back_returns_to_the_filters_before(open_page: Open, path: str) -> None:
    page = open_page(path)
    agent = page.locator("main select[name=agent_id]")
    agent.select_option("coder")
    page.wait_for_url("**agent_id=coder**")
    page.wait_for_load_state("networkidle")
    page.go_back()
    expect(agent).to_have_value("")
    assert place(page) == path
