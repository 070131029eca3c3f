"""Activity, metrics and agents: their numbers are those of the façade."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from html import unescape
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from starlette.testclient import TestClient

from curio_persistence import (
    AgentRun,
    AgentRunEvent,
    InMemoryPersistence,
    Persistence,
    SQLitePersistence,
)
from curio_persistence.clock import Clock
from curio_persistence.views import wording
from tests.support.console import NOW, client_of, record

_BERLIN = ZoneInfo("Europe/Berlin")
_SINCE = datetime(2026, 10, 31, tzinfo=_BERLIN)
_HOSTILE = 'a/b ..% "><script>alert(1)</script> 東京'


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def recorded(request: Any, tmp_path_factory: Any) -> Iterator[Persistence]:
    """A history with metrics, and an agent with a hostile name."""
    clock = Clock(lambda: NOW)
    path = tmp_path_factory.mktemp("console") / "analysis.db"
    opened: Persistence = (
        InMemoryPersistence(clock=clock)
        if request.param == "memory"
        else SQLitePersistence(str(path), clock=clock)
    )
    with opened as persistence:
        with persistence.transaction():
            record(persistence)
            _record_more(persistence)
        yield persistence


def _record_more(persistence: Persistence) -> None:
    """Record metrics, and an agent with a hostile name."""
    persistence.create_agent_run(
        AgentRun(_HOSTILE, "hostile", objective=_HOSTILE, created_at=NOW - timedelta(days=2))
    )
    for number in range(40):
        payload = {
            "name": _HOSTILE if number % 4 == 0 else "accuracy",
            "value": number / 7,
            "tags": {"split": "test" if number % 2 else "dev"},
        }
        at = NOW - timedelta(hours=7 * number)
        persistence.log_agent_run_event(AgentRunEvent("coder", "run-2", "", at, "metric", payload))


@pytest.fixture
def client(recorded: Persistence) -> TestClient:
    found = client_of(recorded)
    found.cookies.set("curio_zone", "Europe/Berlin")
    return found


def _words(client: TestClient, path: str) -> str:
    """Return the words of a page, with single spaces."""
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    assert "<script>alert" not in answer.text
    words = " ".join(unescape(re.sub(r"<title>.*?</title>|<[^>]*>", " ", answer.text)).split())
    assert not {"NaN", "None", "inf"} & {*words.split()}
    return words


# --- activity -------------------------------------------------------------------------------------


def test_activity_has_the_numbers_of_each_day(client: TestClient, recorded: Persistence) -> None:
    words = _words(client, "/activity?days=30")
    rows = recorded.analytics(_SINCE, NOW, timezone=_BERLIN, percentiles=True)
    assert len(rows) == 12
    for row in rows:
        assert row.begin is not None
        local = row.begin.astimezone(_BERLIN)
        numbers = (
            f"{local:%A} {local.day} November {row.runs} "
            f"{wording.share(row.errors, row.runs)} {row.events} {row.calls} "
        )
        assert numbers in words


@pytest.mark.parametrize("by", ["agent", "session", "user", "tag"])
def test_activity_by_group_has_a_row_for_each(
    client: TestClient, recorded: Persistence, by: str
) -> None:
    text = client.get(f"/activity?days=30&by={by}").text
    groups = recorded.analytics(_SINCE, NOW, bucket=None, group_by=by)
    table = text[text.rindex("<tbody>") :]
    assert table.count("<tr>") == len(groups)


@pytest.mark.parametrize("bucket", ["hour", "day", "week", "month"])
def test_activity_draws_empty_periods_too(client: TestClient, bucket: str) -> None:
    text = client.get(f"/activity?days=7&bucket={bucket}").text
    columns = {"hour": 7 * 24, "day": 7, "week": 1, "month": 1}[bucket]
    assert text.count('class="column"') == 6 * columns


def test_activity_offers_only_periods_that_it_can_draw(client: TestClient) -> None:
    for asked in ("days=30&bucket=hour", "days=90", "from=2026-01-01&to=2026-11-30"):
        text = client.get(f"/activity?{asked}").text
        offered = {unescape(link) for link in re.findall(r'href="(/activity\?[^"]*)"', text)}
        assert offered
        assert [link for link in offered if client.get(link).status_code != 200] == []


def test_activity_is_filtered_and_leads_to_the_same_runs(client: TestClient) -> None:
    text = client.get("/activity?days=7&agent_id=coder").text
    columns = re.findall(r'class="column" href="(/runs[^"]+)"', text)
    assert columns
    assert all("agent_id=coder" in each for each in columns)


# --- metrics --------------------------------------------------------------------------------------


def test_metrics_have_their_aggregates(client: TestClient, recorded: Persistence) -> None:
    words = _words(client, "/custom-metrics?name=accuracy&days=30")
    [median] = recorded.query_metrics("accuracy", "p50", since=_SINCE, until=NOW)
    assert f"Values {median.count} " in words
    assert f"Median {median.value:.4g} " in words


@pytest.mark.parametrize(
    ("query", "group"),
    [("by=agent", "agent_id"), ("by=session", "session_id"), ("by=tag&tag=split", "tags.split")],
)
def test_metrics_by_group_have_a_row_for_each(
    client: TestClient, recorded: Persistence, query: str, group: str
) -> None:
    text = client.get(f"/custom-metrics?name=accuracy&{query}").text
    points = recorded.query_metrics("accuracy", group_by=group, since=_SINCE, until=NOW)
    assert text[text.rindex("<tbody>") :].count("<tr>") == len(points)


def test_the_buckets_of_a_metric_are_those_of_the_facade(
    client: TestClient, recorded: Persistence
) -> None:
    for days, bucket in ((2, "1h"), (7, "6h"), (30, "1d"), (100, "1w")):
        text = client.get(f"/custom-metrics?name=accuracy&days={days}").text
        since = datetime(2026, 11, 29, tzinfo=_BERLIN) - timedelta(days=days - 1)
        points = recorded.query_metrics("accuracy", bucket=bucket, since=since, until=NOW)
        assert text.count("<circle") == len(points)


def test_a_metric_that_is_not_there_is_said_to_be_missing(client: TestClient) -> None:
    assert "There are no values of other in this window." in _words(
        client, "/custom-metrics?name=other"
    )
    assert "No metrics" in _words(client, "/custom-metrics?from=2020-01-01&to=2020-01-02")


# --- agents ---------------------------------------------------------------------------------------


def test_agents_have_the_numbers_of_the_window(client: TestClient, recorded: Persistence) -> None:
    words = _words(client, "/agents?days=30")
    for each in recorded.analytics(_SINCE, NOW, bucket=None, group_by="agent"):
        share = wording.share(each.errors, each.runs)
        numbers = f"{each.runs} {share} {each.calls} "
        assert re.search(rf"{re.escape(each.agent_id or '')} [^ ]+( \w+)* {numbers}", words)


def test_the_page_of_an_agent_has_its_numbers(client: TestClient, recorded: Persistence) -> None:
    words = _words(client, "/agents/coder?days=30")
    [totals] = recorded.analytics(_SINCE, NOW, bucket=None, percentiles=True, agent_id="coder")
    assert f"Runs {totals.runs} " in words
    assert f"Spent {wording.price(totals.cost_usd)} {totals.calls} calls" in words
    assert f"Latency p95 {wording.span(totals.latency_p95_ms or 0)} " in words
    tool = recorded.stats.summary(agent_id="coder")["tool_metrics"]["run_sql"]
    assert f"run_sql {tool['call_count']} {tool['error_count']} 120 ms" in words


def test_the_last_day_of_a_chart_is_called_a_day_also_when_it_has_begun() -> None:
    early = NOW.replace(hour=2)
    with InMemoryPersistence(clock=Clock(lambda: early)) as persistence:
        persistence.create_agent_run(
            AgentRun("coder", "early", created_at=early - timedelta(hours=1))
        )
        page = client_of(persistence).get("/agents/coder", headers={"cookie": "curio_zone=UTC"})
    labels = re.findall(r'<text class="label[^>]*>([^<]*)</text>', page.text)
    assert labels
    assert [label for label in labels if ":" in label] == []


def test_every_agent_of_the_list_has_a_page(client: TestClient, recorded: Persistence) -> None:
    text = client.get("/agents?days=30").text
    links = re.findall(r'class="objective cut" href="([^"]+)"', text)
    assert len(links) == recorded.agents.count()
    for link in links:
        assert client.get(link.replace("&amp;", "&")).status_code == 200


def test_an_agent_that_was_never_seen_has_no_page(client: TestClient) -> None:
    answer = client.get("/agents/nobody")
    assert answer.status_code == 404
    assert "deleted or never recorded" in answer.text


# --- all ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/activity", "/custom-metrics", "/agents", "/agents/guide"])
def test_a_database_without_records_has_every_page(path: str) -> None:
    with InMemoryPersistence(clock=Clock(lambda: NOW)) as persistence:
        persistence.agents.create("guide")
        words = _words(client_of(persistence), path)
    assert "$0" not in words


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/activity?bucket=year", "bucket"),
        ("/activity?days=90&bucket=hour", "bucket"),
        ("/activity?by=model", "by"),
        ("/custom-metrics?name=accuracy&by=model", "by"),
        ("/custom-metrics?name=accuracy&value=mode", "aggregation"),
        ("/agents?days=x", "days"),
        ("/agents?cursor=x", "cursor"),
        ("/agents/coder?by=x", "by"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(
    client: TestClient, path: str, field: str
) -> None:
    answer = client.get(path)
    assert answer.status_code == 400
    assert field in answer.text
