"""The list of runs: its rows, its filters, its pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from starlette.testclient import TestClient

from curio_persistence import AgentLLMUsage, AgentRun, InMemoryPersistence
from curio_persistence.clock import Clock
from tests.support.console import NOW, client_of


def ids_on(page: str) -> list[str]:
    return re.findall(r'name="pick" data-pick value="([^"]+)"', page)


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


def test_a_form_without_a_script_leads_to_a_url_that_says_what_was_chosen(
    console: TestClient,
) -> None:
    sent = "/runs?agent_id=coder&tags=&session_id=&since=&until="
    answer = console.get(sent, follow_redirects=False)
    assert answer.headers["location"] == "/runs?agent_id=coder"


def test_each_bar_leads_to_the_runs_of_its_time(console: TestClient) -> None:
    page = console.get("/runs?since=12h&agent_id=coder").text
    links = re.findall(r'class="column" href="(/runs[^"]+)"', page)
    assert len(links) > 20
    found = [each for link in links for each in ids_on(console.get(unescape(link)).text)]
    assert sorted(found) == sorted(ids_on(page))


def test_what_passes_no_filter_names_each_filter_with_a_link_that_drops_it(
    console: TestClient,
) -> None:
    page = console.get("/runs?status=error&status=timeout&agent_id=nobody").text
    assert "No run passes these filters" in page
    links = {unescape(link) for link in re.findall(r'class="button" href="(/runs[^"]*)"', page)}
    assert links == {
        "/runs?status=timeout&agent_id=nobody",
        "/runs?status=error&agent_id=nobody",
        "/runs?status=error&status=timeout",
    }


def test_a_database_without_runs_shows_the_code_that_records_one() -> None:
    with InMemoryPersistence() as persistence:
        client = client_of(persistence)
        page = client.get("/runs").text
        assert "persistence.record_run(" in page
        assert 'hx-trigger="every 2s"' in page
        persistence.create_agent_run(AgentRun("agent", "first"))
        assert ids_on(client.get("/runs").text) == ["first"]


def test_each_run_comes_once_while_others_are_recorded() -> None:
    with InMemoryPersistence() as persistence:
        for number in range(120):
            persistence.create_agent_run(AgentRun("agent", f"old-{number}"))
        client, link, found = client_of(persistence), "/runs", list[str]()
        while link:
            persistence.create_agent_run(AgentRun("agent", f"new-{len(found)}"))
            page = client.get(link).text
            found += ids_on(page)
            link = next(iter(re.findall(r'href="(/runs\?cursor=[^"]+)"', page)), "")
    assert found == ["new-0", *(f"old-{number}" for number in range(119, -1, -1))]


def test_two_ticked_runs_are_compared(console: TestClient) -> None:
    answer = console.get("/picked?pick=run-1&pick=a%2Fb", follow_redirects=False)
    assert answer.headers["location"] == "/compare?a=run-1&b=a%2Fb"
    assert console.get("/picked?pick=run-1").status_code == 400


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since=yesterday", "since"),
        ("since=2d&until=3d", "until"),
        ("metadata=plan", "metadata"),
        ("cursor=nonsense", "cursor"),
        ("status=" + "x" * 300, "status"),
    ],
)
def test_a_filter_that_cannot_be_is_a_sentence(console: TestClient, query: str, field: str) -> None:
    answer = console.get(f"/runs?{query}")
    assert (answer.status_code, field in answer.text) in ((400, True), (200, True))
    assert "This cannot be asked" in answer.text or "No run passes" in answer.text


def test_times_and_costs_that_are_unknown_are_said_in_words() -> None:
    with InMemoryPersistence(clock=Clock(lambda: NOW)) as persistence:
        begin = NOW - timedelta(hours=1)
        backwards = AgentRun("agent", "backwards", status="completed", started_at=begin)
        backwards.finished_at = begin - timedelta(seconds=1)
        persistence.create_agent_run(backwards)
        persistence.create_agent_run(AgentRun("agent", "timeless", status="completed"))
        persistence.log_llm_usage(AgentLLMUsage("agent", "timeless", "p", "m", input_tokens=1))
        page = client_of(persistence).get("/runs").text
    assert "end before begin" in page
    assert "no times" in page
    assert "unknown" in page
    assert "$0" not in page
    assert "NaN" not in page


@pytest.mark.slow
@pytest.mark.thorough
def test_runs_are_filtered_compared_and_found_again_with_a_mouse(
    open_page: Callable[..., Any],
) -> None:
    from playwright.sync_api import expect

    page = open_page("/runs")
    rows = page.locator("[data-rows] tr")
    assert rows.count() == 50
    page.locator("label", has_text="error").click()
    page.wait_for_url("**/runs?status=error")
    page.locator("select[name=agent_id]").select_option("coder")
    page.wait_for_url("**/runs?status=error&agent_id=coder")
    expect(rows).to_have_count(3)
    page.go_back()
    expect(rows).to_have_count(9)
    assert page.locator("select[name=agent_id]").input_value() == ""
    assert not page.locator("#compare").is_visible()
    page.locator("input[name=pick]").nth(0).check()
    page.locator("input[name=pick]").nth(2).check()
    assert page.locator("#compare").inner_text() == "Compare 2"
    page.locator("#compare").click()
    page.wait_for_url("**/compare?a=run-58&b=run-44")


@pytest.mark.slow
@pytest.mark.thorough
def test_runs_are_filtered_without_a_script(open_page: Callable[..., Any]) -> None:
    page = open_page("/runs", java_script_enabled=False)
    page.locator("select[name=agent_id]").select_option("coder")
    page.locator("noscript button, .toolbar > button").first.click()
    assert page.url.endswith("/runs?agent_id=coder")
    assert page.locator("[data-rows] tr").count() == 15
