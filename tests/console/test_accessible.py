"""Every page is accessible by the rules of axe, in both themes and on wide and narrow screens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from curio_persistence import InMemoryPersistence, Persistence
from curio_persistence.clock import Clock
from tests.support.console import NOW, record
from tests.support.console_pages import PAGES

pytestmark = pytest.mark.thorough

Open = Callable[..., Any]

_RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


def violations(page: Any) -> list[str]:
    """Return what axe finds: the rule, what it says, and where."""
    from axe_playwright_python.sync_playwright import Axe

    options = {"runOnly": {"type": "tag", "values": [*_RULES]}}
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{each['id']}: {each['help']}: {node['html'][:160]} {node['failureSummary'][:300]}"
        for each in found
        for node in each["nodes"][:3]
    ]


def check_each_look(page: Any) -> None:
    """Assert that axe finds nothing on wide and narrow screens, in both themes."""
    for width in (1440, 760):
        for theme in ("light", "dark"):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=theme)
            assert violations(page) == [], f"{width} pixels, {theme}"


@pytest.fixture(scope="module")
def history() -> Iterator[Persistence]:
    """A shorter history than elsewhere: rows are alike, and the time of axe grows with them."""
    with InMemoryPersistence(clock=Clock(lambda: NOW)) as persistence:
        record(persistence, runs=16)
        yield persistence


@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing(open_page: Open, path: str) -> None:
    check_each_look(open_page(path, bypass_csp=True))


def test_axe_finds_nothing_in_the_dialog_of_keys(open_page: Open) -> None:
    page = open_page("/events", bypass_csp=True)
    page.keyboard.press("?")
    assert violations(page) == []


@pytest.mark.parametrize("path", PAGES)
def test_nothing_is_lost_at_320_pixels(open_page: Open, path: str) -> None:
    """They are 200 % of a screen of 640: only tables and pictures may scroll to the side."""
    page = open_page(path, width=320, height=640)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 320


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_seen_with_forced_colors_and_without_motion(open_page: Open, path: str) -> None:
    page = open_page(path, forced_colors="active", reduced_motion="reduce")
    running = "document.getAnimations().filter((each) => each.playState === 'running').length"
    assert page.evaluate(running) == 0
    current = page.locator('.rail [aria-current="page"]')
    if current.count():
        outline = current.evaluate("element => getComputedStyle(element).outlineStyle")
        assert outline != "none"
