"""The reader's theme and time zone: cookies that the server reads, so that nothing flickers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from curio_persistence import AgentRun, InMemoryPersistence
from curio_persistence.clock import Clock
from curio_persistence.console.request.viewer import machine_zone
from tests.support.console import client_of

OWN = {"sec-fetch-site": "same-origin"}
SHIFTS = [
    ("Europe/Berlin", datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "25 Oct 02:30:00"),
    ("Europe/Berlin", datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "25 Oct 02:30:00"),
    ("Europe/Berlin", datetime(2026, 10, 25, 2, 30, tzinfo=UTC), "25 Oct 03:30:00"),
    ("America/New_York", datetime(2026, 3, 8, 6, 59, tzinfo=UTC), "8 Mar 01:59:00"),
    ("America/New_York", datetime(2026, 3, 8, 7, 0, tzinfo=UTC), "8 Mar 03:00:00"),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 14, 45, tzinfo=UTC), "5 Apr 01:45:00"),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, 15, tzinfo=UTC), "5 Apr 01:45:00"),
    ("Asia/Kathmandu", datetime(2026, 1, 1, 0, 0, tzinfo=UTC), "1 Jan 05:45:00"),
]


@pytest.mark.parametrize(("zone", "moment", "told"), SHIFTS)
def test_times_are_those_of_the_readers_zone_also_when_clocks_change(
    zone: str, moment: datetime, told: str
) -> None:
    with InMemoryPersistence(clock=Clock(lambda: datetime(2026, 11, 1, tzinfo=UTC))) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run", started_at=moment))
        page = client_of(persistence).get("/runs", headers={"cookie": f"curio_zone={zone}"}).text
    iso = f"{moment:%Y-%m-%dT%H:%M}:00.000Z"
    assert f'<time datetime="{iso}" title="{told} · {iso}">' in page


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "Europe", "", "é", "x" * 300])
def test_a_zone_that_is_not_known_is_as_if_none_were_told(console: TestClient, zone: str) -> None:
    cookie = f"curio_zone={zone}".encode()
    answer = console.get("/runs", headers={"cookie": cookie})
    assert answer.status_code == 200
    assert "data-guessed" in answer.text
    form = {"zone": zone or "?", "back": "/runs"}
    assert console.post("/preferences", data=form, headers=OWN).status_code == 400


@pytest.mark.parametrize(("link", "zone"), [("Etc/UTC", "UTC"), ("Asia/Tokyo", "Asia/Tokyo")])
def test_the_zone_of_the_machine_is_named_as_browsers_name_it(
    monkeypatch: pytest.MonkeyPatch, link: str, zone: str
) -> None:
    """Another name would make them ask for the first page again."""
    monkeypatch.setattr(Path, "resolve", lambda _: Path("/usr/share/zoneinfo", link))
    assert machine_zone.__wrapped__() == zone


def test_a_theme_is_in_the_page_that_the_server_sends(console: TestClient) -> None:
    assert 'data-theme="dark"' in console.get("/runs", headers={"cookie": "curio_theme=dark"}).text
    assert 'data-theme="system"' in console.get("/runs", headers={"cookie": "curio_theme=x"}).text


def test_the_form_keeps_both_and_leads_back(console: TestClient) -> None:
    form = {"theme": "light", "zone": "Asia/Tokyo", "back": "/runs?status=error"}
    answer = console.post("/preferences", data=form, headers=OWN, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs?status=error")
    kept = answer.headers.get_list("set-cookie")
    assert [each.partition(";")[0] for each in kept] == [
        "curio_theme=light",
        'curio_zone="Asia/Tokyo"',
    ]
    console.cookies.clear()
    assert console.post("/preferences", data={"theme": "pink"}, headers=OWN).status_code == 400


def test_a_zone_in_quotation_marks_is_read(console: TestClient) -> None:
    page = console.get("/runs", headers={"cookie": 'curio_zone="Asia/Tokyo"'}).text
    assert 'data-zone="Asia/Tokyo"' in page
    assert "data-guessed" not in page


@pytest.mark.slow
@pytest.mark.thorough
def test_the_theme_changes_at_once_and_is_kept(open_page: Callable[..., Any]) -> None:
    page = open_page("/runs", color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(247, 246, 244)"
    page.locator("#theme").click()
    assert page.evaluate(background) == "rgb(14, 13, 12)"
    page.reload()
    assert page.evaluate(background) == "rgb(14, 13, 12)"
    page.locator("#theme").click()
    assert page.evaluate(background) == "rgb(247, 246, 244)"


@pytest.mark.slow
@pytest.mark.thorough
def test_the_first_page_has_the_zone_of_the_browser(browser: Any, served: str) -> None:
    context = browser.new_context(timezone_id="Asia/Tokyo")
    page = context.new_page()
    page.goto(f"{served}/runs")
    page.locator("#zone", has_text="Tokyo").wait_for()
    context.close()
