"""Pictures of the console's pages on fixed data, and how they differ from the ones that are kept.

    python -m tests.support.looks      keeps them anew for this Chromium (`make console-golden`)

They are kept for each major version of Chromium, since versions draw text differently.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from pixelmatch.contrib.PIL import pixelmatch
from playwright.sync_api import sync_playwright

from curio_persistence import InMemoryPersistence, Persistence
from curio_persistence.clock import Clock
from curio_persistence.console.demo import record_demo
from tests.support.console import served_console

NOW = datetime(2026, 11, 24, 15, 30, tzinfo=UTC)
KEPT = Path(__file__).parents[1] / "console" / "looks"
THEMES = ("light", "dark")
PAGES = ("overview", "runs", "run", "session", "compare", "costs")
_SIZE = {"width": 1440, "height": 900}


def fixed_history() -> Persistence:
    """Return records in Latin script, which looks the same with whatever fonts a machine has."""
    persistence = InMemoryPersistence(clock=Clock(lambda: NOW))
    record_demo(persistence, events=6_000, days=30, until=NOW, latin=True)
    return persistence


def paths(persistence: Persistence) -> dict[str, str]:
    """Return the path of each page."""
    long = persistence.query_agent_runs(agent_id="coder", session_id="billing-migration", limit=1)[
        0
    ]
    step = persistence.query_llm_usage(run_id=long.run_id, limit=100)[-1]
    first, second = persistence.query_agent_runs(agent_id="browser", status="completed", limit=2)
    talk = next(
        run.session_id
        for run in persistence.iter_agent_runs(agent_id="support-triage", order="newest")
        if run.session_id and persistence.count_agent_runs(session_id=run.session_id) > 2
    )
    return {
        "overview": "/",
        "runs": "/runs",
        "run": f"/runs/{long.run_id}?step=usage:{step.id}",
        "session": f"/sessions/{talk}",
        "compare": f"/compare?a={first.run_id}&b={second.run_id}",
        "costs": "/costs",
    }


class Camera:
    """A browser that takes pictures of pages."""

    def __init__(self, browser: Any, url: str) -> None:
        self._browser, self._url = browser, url
        self.version = browser.version.partition(".")[0]

    def take(self, path: str, theme: str) -> Image.Image:
        """Return a page as it looks: nothing moves, and all times are those of Berlin."""
        context = self._browser.new_context(
            viewport=_SIZE,
            color_scheme=theme,
            reduced_motion="reduce",
            timezone_id="Europe/Berlin",
        )
        page = context.new_page()
        page.goto(self._url + path, wait_until="networkidle")
        page.evaluate("document.fonts.ready")
        picture = page.screenshot(animations="disabled", caret="hide")
        context.close()
        return Image.open(BytesIO(picture)).convert("RGB")


@contextmanager
def camera(persistence: Persistence) -> Iterator[Camera]:
    """Serve the console on a persistence, and yield a camera."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    with served_console(persistence) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield Camera(browser, url)
        finally:
            browser.close()


def kept(version: str, page: str, theme: str) -> Path:
    """Return the file of a picture that is kept."""
    return KEPT / version / f"{page}-{theme}.png"


def difference(first: Image.Image, second: Image.Image) -> float:
    """Return the share of pixels that differ visibly."""
    if first.size != second.size:
        return 1.0
    return pixelmatch(first, second, threshold=0.1) / (first.width * first.height)


def keep_all() -> None:
    """Keep all pictures anew."""
    persistence = fixed_history()
    with camera(persistence) as chromium:
        for page, path in paths(persistence).items():
            for theme in THEMES:
                file = kept(chromium.version, page, theme)
                file.parent.mkdir(parents=True, exist_ok=True)
                chromium.take(path, theme).quantize(256).save(file, optimize=True)
                print(file.relative_to(KEPT))


if __name__ == "__main__":
    keep_all()
