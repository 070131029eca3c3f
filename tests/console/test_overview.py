"""The overview: its numbers are those of the façade."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from curio_persistence import AgentRun, InMemoryPersistence, Persistence
from curio_persistence.clock import Clock
from curio_persistence.views import wording
from tests.support.console import NOW, client_of, words_of

_DAY = timedelta(days=1)


def test_tiles_have_the_numbers_of_24_hours(console: TestClient, history: Persistence) -> None:
    text = words_of(console.get("/").text)
    [day] = history.analytics(NOW - _DAY, NOW, bucket=None, percentiles=True)
    [before] = history.analytics(NOW - 2 * _DAY, NOW - _DAY, bucket=None)
    assert f"Runs, 24 h {day.runs} {before.runs} the day before" in text
    assert f"Failed {wording.share(day.errors, day.runs)} {day.errors} runs" in text
    assert f"Running now {history.count_agent_runs(status='running')} " in text
    assert f"Spent, 24 h {wording.price(day.cost_usd)} {day.calls} calls" in text
    assert f"Latency p95 {wording.span(day.latency_p95_ms or 0)} p50" in text


def test_running_runs_that_are_silent_are_left_behind() -> None:
    moments = [NOW - timedelta(hours=3)]
    with InMemoryPersistence(clock=Clock(lambda: moments[-1])) as persistence:
        persistence.create_agent_run(AgentRun("guide", "silent", status="running"))
        moments.append(NOW)
        persistence.create_agent_run(AgentRun("guide", "lively", status="running"))
        text = words_of(client_of(persistence).get("/").text)
    assert "Running now 2 1 left behind" in text
    assert text.count("silent for an hour or more: left behind") == 1


def test_the_histogram_leads_to_the_runs_of_half_an_hour(console: TestClient) -> None:
    columns = re.findall(r'class="column" href="([^"]+)"', console.get("/").text)
    assert len(columns) in (48, 49)
    assert columns[-1] == "/runs?since=2026-11-29T09%3A00%3A00Z&amp;until=2026-11-29T09%3A12%3A00Z"


def test_agents_are_those_of_a_week_and_failing_tools_of_a_day(
    console: TestClient, history: Persistence
) -> None:
    text = words_of(console.get("/").text)
    for agent in history.analytics(NOW - 7 * _DAY, NOW, bucket=None, group_by="agent"):
        assert f"{agent.agent_id} {agent.runs} {wording.share(agent.errors, agent.runs)}" in text
    tool = history.stats.summary(since=NOW - _DAY, until=NOW)["tool_metrics"]["run_sql"]
    assert f"run_sql {tool['call_count']} {tool['error_count']} 120 ms" in text


def test_nothing_recorded_shows_the_code_that_records() -> None:
    with InMemoryPersistence(clock=Clock(lambda: NOW)) as persistence:
        text = client_of(persistence).get("/").text
    assert "persistence.record_run(" in text
    assert 'hx-trigger="every 2s"' in text
    assert "Running now" not in text


def test_a_quiet_day_is_told_without_numbers() -> None:
    with InMemoryPersistence(clock=Clock(lambda: NOW)) as persistence:
        persistence.create_agent_run(AgentRun("guide", "old", created_at=NOW - 9 * _DAY))
        text = words_of(client_of(persistence).get("/").text)
    assert "Failed – 0 runs" in text
    assert "Spent, 24 h – 0 calls · nothing the day before" in text
    assert "No run is running." in text
    assert "No tool has failed." in text
    assert not {"NaN", "None", "$0.00"} & {*text.split()}


@pytest.mark.parametrize("word", ["<script>alert", "javascript:"])
def test_recorded_words_are_text(console: TestClient, word: str) -> None:
    assert word not in console.get("/").text
