"""The list of traces, and the waterfall of one."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from curio_persistence import AgentRun, AgentSpan, Persistence
from curio_persistence.console.http.paths import Paths
from curio_persistence.console.pages import traces
from curio_persistence.interop.otel.receiving import Receiver
from curio_persistence.trace_ids import trace_id_of
from tests.support.console import NOW, client_of
from tests.support.otlp_corpus import spans

ORPHAN = AgentSpan("5" * 32, "6" * 16, "lost", parent_span_id="7" * 16, started_at=NOW)


@pytest.fixture
def traced(persistence: Persistence) -> Persistence:
    """A trace of two runs, with a tool that fails and a model call."""
    with persistence.record_run(agent_id="guide", objective="Where is Lyon?") as run:
        run.llm_call(model="acme-1", prompt="Where?", response="In France.", cost_usd=0.002)
        with suppress(TimeoutError), run.tool("look_up", {"word": "Lyon"}):
            raise TimeoutError("no answer")
        with persistence.record_run(agent_id="helper", objective="Look it up") as child:
            child.finish("found")
        run.finish("In France.")
    return persistence


def test_traces_are_listed_with_what_they_add_up_to(traced: Persistence) -> None:
    page = client_of(traced).get("/traces").text
    assert "Where is Lyon?" in page
    assert "Look it up" not in page
    assert "$0.0020" in page


def test_filters_choose_traces(console: TestClient) -> None:
    page = console.get("/traces?status=error&agent_id=coder").text
    assert page.count("<tr data-row") == 5
    assert "No trace passes the filters" in console.get("/traces?session_id=none").text
    slow = console.get("/traces?min_duration_ms=1000")
    assert (slow.status_code, "<tr data-row" in slow.text) == (200, True)
    refused = console.get("/traces?min_duration_ms=slow")
    assert (refused.status_code, "number of milliseconds" in refused.text) == (400, True)


def test_pages_of_traces_lead_to_all(console: TestClient) -> None:
    path, found = "/traces", []
    while path:
        page = console.get(path).text
        found += re.findall(r'class="mono dim cut">([0-9a-f]{32})', page)
        older = re.search(r'href="([^"]+)" data-key="n"', page)
        path = older[1].replace("&amp;", "&") if older else ""
    assert (len(found), len(set(found))) == (60, 60)


def test_a_waterfall_has_each_span_below_its_parent(traced: Persistence) -> None:
    [run] = traced.query_agent_runs(agent_id="guide")
    page = client_of(traced).get(Paths().trace(trace_id_of(run.run_id)))
    assert page.status_code == 200
    rows = re.findall(
        r'<svg width="(\d+)" height="1".*?data-open dir="auto">([^<]+)</a>', page.text
    )
    assert rows[0] == ("0", "guide")
    assert sorted(rows[1:]) == [("14", "acme-1"), ("14", "helper"), ("14", "look_up")]
    assert page.text.count("<rect") >= len(rows)


def test_a_trace_is_found_by_its_run_as_well(traced: Persistence) -> None:
    [run] = traced.query_agent_runs(agent_id="helper")
    page = client_of(traced).get(Paths().trace(run.run_id))
    assert "Where is Lyon?" in page.text


def test_a_chosen_span_tells_its_details(traced: Persistence) -> None:
    [run] = traced.query_agent_runs(agent_id="guide")
    client, path = client_of(traced), Paths().trace(trace_id_of(run.run_id))
    spans = re.findall(r'<a href="([^"]+)" hx-get', client.get(path).text)
    panes = [client.get(span).text.partition('id="span"')[2] for span in spans]
    assert any("no answer" in pane for pane in panes)
    assert any("In France." in pane and "acme-1" in pane for pane in panes)
    assert all(Paths().run(run.run_id) in pane for pane in panes[:1])


def test_orphans_are_shown_as_such(persistence: Persistence) -> None:
    persistence.traces.save_span(ORPHAN)
    page = client_of(persistence).get(Paths().trace("5" * 32)).text
    assert "The parent of 1 span is not stored" in page
    assert "parent missing" in page
    assert "not stored</span>" in page


def test_thousands_of_spans_come_in_parts(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "_SPANS", 50)
    persistence.traces.save_spans(
        AgentSpan("a" * 32, f"{n:016x}", f"span {n}", started_at=NOW + timedelta(milliseconds=n))
        for n in range(1, 122)
    )
    client, path, seen = client_of(persistence), Paths().trace("a" * 32), []
    while path:
        page = client.get(path).text
        seen += re.findall(r">span (\d+)</a>", page)
        later = re.search(r'href="([^"]+)" data-key="n"', page)
        path = later[1] if later else ""
    assert [int(n) for n in seen] == [*range(1, 122)]


def test_hostile_names_are_shown_as_text(persistence: Persistence) -> None:
    hostile = "<script>alert(1)</script>\u202e"
    persistence.create_agent_run(AgentRun(hostile, "r/..", objective=hostile, started_at=NOW))
    persistence.traces.save_span(
        AgentSpan(trace_id_of("r/.."), "1" * 16, hostile, hostile, run_id="r/..", input=hostile)
    )
    client = client_of(persistence)
    for path in ("/traces", Paths().trace("r/.."), Paths().trace("r/..", span="1" * 16)):
        page = client.get(path)
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        # What is copied, or sent by a form, is exact.
        assert "\u202e" not in re.sub('(data-copy|value)="[^"]*"', "", page.text)


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/traces/none", 404, "deleted or never recorded"),
        ("/traces?cursor=x", 400, "cursor"),
        ("/traces?status=happy", 400, "status"),
        ("/traces/TRACE?span=x", 404, "deleted or never recorded"),
        ("/traces/TRACE?from=x", 400, "number of a span"),
    ],
)
def test_mistakes_are_explained(traced: Persistence, path: str, status: int, said: str) -> None:
    [run] = traced.query_agent_runs(agent_id="guide")
    page = client_of(traced).get(path.replace("TRACE", trace_id_of(run.run_id)))
    assert (page.status_code, said in page.text) == (status, True)


def test_received_spans_name_their_sender(persistence: Persistence) -> None:
    Receiver(persistence).spans(spans("openinference-openai-agents-nested"))
    [trace] = persistence.traces.query()
    page = client_of(persistence).get(Paths().trace(trace.trace_id))
    assert page.status_code == 200
    assert "Received by OpenTelemetry" in page.text
    assert "openinference.instrumentation.openai_agents" in page.text
    assert page.text.count("<tr data-row") == trace.spans
