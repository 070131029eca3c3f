"""The console in a headless Chromium: first paint, a long run, the weight of a first visit."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.support.console_history import LONG_RUN
from curio_persistence import Persistence

_TIMES = 7
_PAINT = """
    () => new Promise(done => {
        const found = performance.getEntriesByName('first-contentful-paint')[0]
        if (found) return done(found.startTime)
        new PerformanceObserver((list, watch) => {
            const paint = list.getEntriesByName('first-contentful-paint')[0]
            if (paint) { watch.disconnect(); done(paint.startTime) }
        }).observe({type: 'paint', buffered: true})
    })
"""
_LOADED = "() => performance.getEntriesByType('navigation')[0].loadEventEnd"
_LONGEST = """
    async () => {
        let longest = 0
        new PerformanceObserver(list => {
            for (const task of list.getEntries()) longest = Math.max(longest, task.duration)
        }).observe({type: 'longtask'})
        const list = [...document.querySelectorAll('*')].filter(
            each => each.scrollHeight > each.clientHeight + 2000)[0] || document.scrollingElement
        for (let step = 0; step < 60; step += 1) {
            list.scrollTop += 400
            await new Promise(requestAnimationFrame)
        }
        return longest
    }
"""


def browser_lines(persistence: Persistence, chromium: str) -> Iterator[Sequence[str]]:
    """Yield the heading and a line for each measurement; one line says why there are none."""
    yield "", "measured", "goal"
    if not Path(chromium).exists():
        yield f"no browser at {chromium}", "", ""
        return
    from playwright.sync_api import sync_playwright

    from tests.support.console import served_console

    with served_console(persistence) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        octets = _first_visit(browser, f"{url}/runs")
        yield "a first visit of the runs page, compressed", f"{octets:,} bytes", "130,000 bytes"
        paints = [_measured(browser, f"{url}/runs", _PAINT) for _ in range(_TIMES)]
        yield "first contentful paint of the runs page", _ms(paints), "300 ms"
        opened = [_measured(browser, f"{url}/runs/{LONG_RUN}", _LOADED) for _ in range(_TIMES)]
        yield "a run of 10,000 steps is open", _ms(opened), "500 ms"
        longest = [_measured(browser, f"{url}/runs/{LONG_RUN}", _LONGEST) for _ in range(3)]
        yield "its longest task while it is scrolled", _ms(longest), "50 ms"
        browser.close()


def _first_visit(browser: Any, url: str) -> int:
    """Return how many bytes come over the wire for a page and what it loads."""
    context = browser.new_context()
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    received: list[float] = []
    session.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    page.goto(url, wait_until="networkidle")
    context.close()
    return int(sum(received))


def _measured(browser: Any, url: str, script: str) -> float:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(url, wait_until="load")
    taken = float(page.evaluate(script))
    context.close()
    return taken


def _ms(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.0f} ms"
