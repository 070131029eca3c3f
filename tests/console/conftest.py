"""The console on a recorded history: for requests, and for a browser."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from curio_persistence import InMemoryPersistence, Persistence, SQLitePersistence
from curio_persistence.clock import Clock
from tests.support.console import NOW, client_of, record, served_console


@pytest.fixture(scope="module")
def history() -> Iterator[Persistence]:
    """A persistence with the runs of `tests.support.console.record`, for tests that only read."""
    with InMemoryPersistence(clock=Clock(lambda: NOW)) as persistence:
        record(persistence)
        yield persistence


@pytest.fixture(scope="module")
def console(history: Persistence) -> TestClient:
    """The console on that history, as a client."""
    return client_of(history)


@pytest.fixture(params=["memory", "sqlite"])
def persistence(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Persistence]:
    """An empty persistence, for tests that record what they look at."""
    in_memory = request.param == "memory"
    with InMemoryPersistence() if in_memory else SQLitePersistence(tmp_path / "agent.db") as opened:
        yield opened


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real browser: the system's Chromium, driven by playwright.

    Closed with its module: as long as it is open, other tests cannot call `asyncio.run`.
    """
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path is not None, "install your system's package chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def served(history: Persistence) -> Iterator[str]:
    """The URL of the console on that history."""
    with served_console(history) as url:
        yield url


@pytest.fixture
def open_page(browser: Any, served: str) -> Iterator[Callable[..., Any]]:
    """Return a function that opens a path, and returns playwright's page.

    Its keywords are those of `browser.new_context`, such as `color_scheme="dark"` and
    `java_script_enabled=False`. An error in the page's console fails the test. Tests wait with
    playwright's `expect`: `wait_for_function` evaluates text, which the pages' policy forbids.
    """
    contexts, faults = [], []

    def open_path(path: str = "/", width: int = 1440, height: int = 900, **settings: Any) -> Any:
        viewport = {"width": width, "height": height}
        zone = {"timezone_id": "Europe/Berlin"}
        context = browser.new_context(viewport=viewport, **zone | settings)
        contexts.append(context)
        # The time zone is known: the first page is not asked for twice.
        told = {"name": "curio_zone", "value": (zone | settings)["timezone_id"], "url": served}
        context.add_cookies([told])
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        page.goto(served + path)
        return page

    yield open_path
    for context in contexts:
        context.close()
    assert faults == []
