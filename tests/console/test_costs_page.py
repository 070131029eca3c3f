"""The page of costs: its numbers are those of the façade, its days those of the reader."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest

from curio_persistence import AgentLLMUsage, AgentRun, InMemoryPersistence, SQLitePersistence
from curio_persistence.clock import Clock
from curio_persistence.views import wording
from tests.support.console import client_of

_HOSTILE = "<b>=1+1</b>"


@pytest.fixture(params=["memory", "sqlite"])
def opened(request, tmp_path) -> Iterator:
    """Return a function that opens an empty persistence at a time, and the console on it."""
    closing = []

    def open_at(now: datetime):
        clock = Clock(lambda: now)
        persistence = (
            InMemoryPersistence(clock=clock, prices=False)
            if request.param == "memory"
            else SQLitePersistence(str(tmp_path / "costs.db"), clock=clock, prices=False)
        )
        closing.append(persistence)
        return persistence, client_of(persistence)

    yield open_at
    for each in closing:
        each.close()


def _call(persistence, at, cost="0.50", model="claude", agent="guide", **fields):
    persistence.log_llm_usage(
        AgentLLMUsage(
            agent,
            fields.pop("run_id", None),
            fields.pop("provider", "anthropic"),
            model,
            input_tokens=1_000,
            output_tokens=100,
            created_at=at,
            cost_usd=None if cost is None else Decimal(cost),
            **fields,
        )
    )


def _page(client, path, zone="Europe/Berlin"):
    client.cookies.set("curio_zone", zone)
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.text


def _tables(text):
    """Return the tables of a page as lists of rows of texts."""
    found = []
    while "<table" in text:
        table, _, text = text[text.index("<table") :].partition("</table>")
        rows = ElementTree.fromstring(f"{table}</table>").iter("tr")
        found.append([[" ".join("".join(cell.itertext()).split()) for cell in row] for row in rows])
    return found


def _tile(text, label):
    after = text.partition(f"<dt>{label}</dt>")[2]
    parts = ElementTree.fromstring(f"<d>{after.partition('</div>')[0]}</d>")
    return [" ".join("".join(each.itertext()).split()) for each in parts]


_DAYS = {
    "Europe/Berlin": ("2026-03-29", 23),
    "America/New_York": ("2026-11-01", 25),
    "Australia/Lord_Howe": ("2026-04-05", 24.5),
}


@pytest.mark.parametrize("zone", _DAYS)
def test_a_day_of_the_reader_has_its_own_calls_and_no_others(opened, zone):
    day, hours = _DAYS[zone]
    begin = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    end = begin + timedelta(hours=hours)
    persistence, client = opened(end + timedelta(days=3))
    moment = timedelta(microseconds=1)
    for at, cost in ((begin - moment, 1), (begin, 2), (end - moment, 4), (end, 8)):
        _call(persistence, at, str(cost))
    text = _page(client, f"/costs?from={day}&to={day}", zone)
    assert _tile(text, "Spent")[0] == "$6.00"
    assert [row[1:] for row in _tables(_page(client, "/costs?days=7", zone))[0]][1:6] == [
        ["–"], ["$1.00"], ["$6.00"], ["$8.00"], ["–"]
    ]  # fmt: skip
    assert f"since={begin:%Y-%m-%dT%H}%3A" in text


def test_the_numbers_of_the_page_are_those_of_the_facade(opened):
    now = datetime(2026, 11, 29, 9, 12, tzinfo=UTC)
    persistence, client = opened(now)
    for number in range(60):
        at = now - timedelta(hours=11 * number)
        cost = None if number % 7 == 0 else f"0.{number:02}"
        status = "error" if number % 5 == 0 else "success"
        _call(persistence, at, cost, f"model-{number % 3}", f"agent-{number % 2}", status=status)
    for by, name in (("model", "model"), ("agent", "agent_id"), ("provider", "provider")):
        text = _page(client, f"/costs?days=30&by={by}")
        zone = ZoneInfo("Europe/Berlin")
        since = datetime(2026, 10, 31, tzinfo=zone)
        totals = persistence.usage.totals(group_by=by, since=since, until=now)
        table = {row[0]: row for row in _tables(text)[1][1:]}
        assert len(table) == len(totals)
        for each in totals:
            row = table[getattr(each, name)]
            unpriced = f" + {each.unpriced} unpriced" if each.unpriced else ""
            assert row[1] == wording.price(each.cost_usd) + unpriced
            assert row[3:5] == [str(each.calls), str(each.errors)]
            assert row[5:7] == [
                wording.number(each.input_tokens),
                wording.number(each.output_tokens),
            ]
            assert row[7] == wording.price(each.cost_usd / (each.calls - each.unpriced))
        [whole] = persistence.usage.totals(since=since, until=now)
        assert _tile(text, "Spent")[0] == wording.price(whole.cost_usd)
        assert _tile(text, "Of unknown cost")[0] == str(whole.unpriced)


def test_a_call_counts_for_each_tag_of_its_run_and_once_in_the_sum(opened):
    now = datetime(2026, 11, 29, 12, tzinfo=UTC)
    persistence, client = opened(now)
    persistence.create_agent_run(AgentRun("guide", "r", created_at=now, tags=["a", "b"]))
    _call(persistence, now - timedelta(hours=1), "0.50", run_id="r")
    _call(persistence, now - timedelta(hours=1), "0.25")
    text = _page(client, "/costs?by=tag")
    assert [row[:2] for row in _tables(text)[1][1:]] == [
        ["a", "$0.5000"],
        ["b", "$0.5000"],
        ["no tag", "$0.2500"],
    ]
    assert _tile(text, "Spent")[0] == "$0.7500"


def test_a_cost_that_is_unknown_is_never_zero(opened):
    now = datetime(2026, 11, 29, 12, tzinfo=UTC)
    persistence, client = opened(now)
    _call(persistence, now - timedelta(hours=1), None)
    text = _page(client, "/costs?days=7")
    assert _tile(text, "Spent")[0] == "unknown"
    assert _tile(text, "Of unknown cost") == ["1", "calls; unknown is not free"]
    days, models = _tables(text)
    assert days[-1][1:] == ["unknown"]
    assert models[1][1] == "unknown"
    told = text.partition('class="scale"')[0] + text.partition('role="group"')[2]  # No axis.
    assert not {"$0", "$0.00", "NaN", "None"} & {*told.replace("<", " ").replace(">", " ").split()}


def test_links_lead_to_what_a_row_or_a_bar_counts(opened):
    now = datetime(2026, 11, 29, 12, tzinfo=UTC)
    persistence, client = opened(now)
    _call(persistence, now - timedelta(hours=1), agent="a/b ..%", model="m&1")
    by_model = _page(client, "/costs?days=7")
    assert "/costs?days=7&amp;model=m%261&amp;by=agent" in by_model
    narrowed = _page(client, "/costs?model=m%261&days=7&by=agent")
    assert "/runs?since=2026-11-22T23%3A00%3A00Z&amp;until=2026-11-29T12%3A00%3A00Z" in narrowed
    assert "agent_id=a%2Fb+..%25" in narrowed
    assert ">90 days</a>" in _page(client, "/costs?model=other&days=7&by=agent")


def test_csv_has_each_day_and_group_and_no_formulas(opened):
    now = datetime(2026, 11, 29, 12, tzinfo=UTC)
    persistence, client = opened(now)
    for model in ("=cmd()", "gpt"):
        _call(persistence, now - timedelta(hours=1), "0.50", model)
    _call(persistence, now - timedelta(days=1), None, "gpt")
    answer = client.get("/costs.csv?days=7")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"].startswith("attachment; ")
    assert "sandbox" in answer.headers["content-security-policy"]
    rows = list(csv.DictReader(answer.text.splitlines()))
    assert [(row["day"], row["model"], row["cost_usd"], row["unpriced"]) for row in rows] == [
        ("2026-11-28", "gpt", "", "1"),
        ("2026-11-29", "'=cmd()", "0.500000", "0"),
        ("2026-11-29", "gpt", "0.500000", "0"),
    ]


def test_recorded_names_are_text(opened):
    now = datetime(2026, 11, 29, 12, tzinfo=UTC)
    persistence, client = opened(now)
    for model in (_HOSTILE, "{{ 7 * 7 }}", "x" * 255, "‮evil", "東京"):
        _call(persistence, now - timedelta(hours=1), "0.50", model)
    text = _page(client, "/costs?days=7")
    assert _HOSTILE not in text
    assert "‮" not in text
    assert "{{ 7 * 7 }}" in text


def test_a_window_without_calls_says_so_and_leads_to_more(opened):
    _, client = opened(datetime(2026, 11, 29, 12, tzinfo=UTC))
    text = _page(client, "/costs?days=7&agent_id=nobody")
    assert "No model calls" in text
    assert 'href="/costs?days=7"' in text


@pytest.mark.parametrize(
    "query", ["by=users", "days=0", "days=x", "from=x", "from=2026-02-02&to=2026-02-01", "other=1"]
)
def test_what_cannot_be_asked_is_refused_in_words(opened, query):
    _, client = opened(datetime(2026, 11, 29, 12, tzinfo=UTC))
    for path in ("/costs", "/costs.csv"):
        answer = client.get(f"{path}?{query}")
        assert answer.status_code == 400
        assert "This cannot be asked" in answer.text


def test_costs_are_grouped_by_project_branch_and_source_where_runs_tell_them(opened) -> None:
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    persistence, client = opened(noon + timedelta(hours=1))
    _call(persistence, noon)
    assert "by project" not in _page(client, "/costs")
    for number, (project, branch) in enumerate([("/mill", "main"), ("/mill", "7"), ("/sea", None)]):
        metadata = {"source": "codex", "project": project, "branch": branch}
        run = AgentRun("codex", f"r{number}", metadata=metadata, created_at=noon)
        persistence.create_agent_run(run)
        _call(persistence, noon, str(number + 1), run_id=run.run_id)
    client = client_of(persistence)
    found = {
        by: {row[0]: row[1] for row in _tables(_page(client, f"/costs?by={by}"))[-1][1:]}
        for by in ("project", "branch", "source")
    }
    assert found["project"] == {"/mill": "$3.00", "/sea": "$3.00", "no project": "$0.5000"}
    assert found["branch"] == {"main": "$1.00", "7": "$2.00", "no branch": "$3.50"}
    assert found["source"] == {"codex": "$6.00", "no source": "$0.5000"}
    assert "Branches" in _page(client, "/costs?by=branch")
    text = _page(client, "/costs?by=branch")
    leads = [unescape(link) for link in re.findall(r'href="(/runs\?[^"]*metadata[^"]*)"', text)]
    assert len(leads) == 2
    assert all(len(re.findall('name="pick"', client.get(link).text)) == 1 for link in leads)
    assert _tile(_page(client, "/costs?project=/sea"), "Spent")[0] == "$3.00"


def test_lists_are_filtered_by_project_and_source(opened) -> None:
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    persistence, client = opened(noon + timedelta(hours=1))
    persistence.create_agent_run(AgentRun("a", "own", created_at=noon))
    with InMemoryPersistence() as other:
        other.create_agent_run(AgentRun("a", "own"))
        assert "Project" not in client_of(other).get("/runs").text
    for number, project in enumerate(["/mill", "/sea"]):
        metadata = {"source": "codex", "project": project}
        run = AgentRun("codex", f"r{number}", metadata=metadata, created_at=noon)
        persistence.create_agent_run(run)
        persistence.append_event(run.run_id, "codex", f"type-{number}", timestamp=noon)
    page = client.get("/runs?project=/sea&source=codex").text
    assert re.findall(r'name="pick" data-pick value="([^"]+)"', page) == ["r1"]
    assert '<option value="/mill">mill</option>' in page
    events = client.get("/events?project=/mill").text
    assert "type-0" in events
    assert "type-1" not in events.partition("<ol data-rows")[2]
