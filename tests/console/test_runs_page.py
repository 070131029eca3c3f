"""The list of runs: its rows, its filters, its pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient


def ids_on(page: str) -> list[str]:
    return re.findall(r'name="pick" value="([^"]+)"', page)


def test_the_newest_runs_come_first_and_older_ones_follow(console: TestClient) -> None:
    first = console.get("/runs").text
    assert ids_on(first) == [f"run-{number}" for number in range(59, 9, -1)]
    [older] = re.findall(r'href="(/runs\?cursor=[^"]+)"', first)
    assert ids_on(console.get(older).text) == [f"run-{number}" for number in range(9, -1, -1)]


def test_filters_are_those_of_the_query(console: TestClient) -> None:
    page = console.get("/runs?status=error&status=timeout&agent_id=coder").text
    assert ids_on(page) == ["run-58", "run-54", "run-30", "run-26", "run-2"]


def test_an_unknown_filter_is_refused_by_name(console: TestClient) -> None:
    answer = console.get("/runs?colour=red")
    assert answer.status_code == 400
    assert "&#39;colour&#39; is no filter here" in answer.text


@pytest.mark.slow
@pytest.mark.thorough
def test_the_page_looks_right_in_a_browser(open_page: Callable[..., Any]) -> None:
    page = open_page("/runs")
    assert page.locator("[data-rows] tr").count() == 50
