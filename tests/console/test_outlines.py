"""What assistive technology reads of the pages: landmarks, headings, names of controls and rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.console_pages import PAGES

pytestmark = pytest.mark.thorough

Open = Callable[..., Any]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_one_heading_one_main_part_and_named_landmarks(
    open_page: Open, path: str
) -> None:
    page = open_page(path)
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.get_by_role("main").count() == 1
    assert page.get_by_role("navigation", name="Pages", exact=True).count() == 1
    names = page.eval_on_selector_all(
        "nav, [role=search]", "all => all.map(each => each.ariaLabel)"
    )
    assert len(names) == len({*names})
    assert all(names)


@pytest.mark.parametrize("path", PAGES)
def test_a_list_is_one_stop_of_the_tab_key(open_page: Open, path: str) -> None:
    page = open_page(path)
    lists = page.locator("[data-rows]:has([data-row] :is(a[href], button, input))").count()
    reached = page.locator(
        "[data-row]:has(:is(a[href], button, input, summary):not([tabindex='-1']))"
    )
    assert reached.count() == lists


def test_the_list_of_events_is_read_in_this_order(open_page: Open) -> None:
    page = open_page("/events?run_id=run-55")
    page.wait_for_selector('[data-state="live"]')
    expect(page.locator("main")).to_match_aria_snapshot(
        """
        - main:
          - form "Filters"
          - status: Live
          - button "Pause"
          - list "Events, the newest first":
            - listitem:
              - link "Details of event 112"
              - time
              - link /run_sql TimeoutError.* no answer within 30 s/
              - link "researcher"
              - link "run-55"
            - listitem:
              - link "Details of event 111"
              - link /run_sql .*select 1/
        """
    )


def test_hits_are_read_below_their_run(open_page: Open) -> None:
    page = open_page("/search?q=timeouterror&run_id=run-55")
    expect(page.locator("main")).to_match_aria_snapshot(
        """
        - main:
          - form "Search"
          - status:
            - paragraph: 1 hit in 1 run. Each record has the word timeouterror.
          - region "Hits in run-55":
            - heading "Check the checkout flow on staging" [level=2]
            - list
        """
    )
