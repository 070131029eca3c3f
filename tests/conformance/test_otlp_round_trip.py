"""What was exported by OTLP is received as the records it was, and what was received goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from curio_persistence import AgentLLMUsage, InMemoryPersistence, Persistence, export_otlp
from curio_persistence.interop.otel.receiving import Receiver
from curio_persistence.interop.otel.spans import OtelSpan
from curio_persistence.tables import ALL_TABLES, CONSUMERS
from tests.support import otlp_corpus
from tests.support.otlp_story import EDITOR, OLD_RUN, WRITER, spans_in, tell, tell_an_old_one
from tests.support.web_server import WebServer, web_server

pytestmark = pytest.mark.slow  # Not in the inner loop.


@pytest.fixture(scope="module")
def listening() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture
def server(listening: WebServer) -> WebServer:
    listening.received.clear()
    return listening


def exported(persistence: Persistence, server: WebServer, **options: Any) -> list[OtelSpan]:
    """Return the spans that an export sends."""
    server.received.clear()
    export_otlp(persistence, server.url, **options)
    return [span for request in server.received for span in spans_in(request)]


def by_ids(spans: Any) -> dict[tuple[str, str], OtelSpan]:
    return {(span.trace_id, span.span_id): span for span in spans}


@pytest.fixture
def other(persistence: Persistence, server: WebServer) -> Iterator[InMemoryPersistence]:
    """Another database, which has received what is told in the first."""
    tell(persistence)
    tell_an_old_one(persistence)
    with InMemoryPersistence() as other:
        Receiver(other).spans(exported(persistence, server))
        yield other


def test_runs_arrive_as_they_were(persistence: Persistence, other: Persistence) -> None:
    for run_id in (EDITOR, WRITER, OLD_RUN):
        ours, theirs = persistence.get_agent_run(run_id), other.get_agent_run(run_id)
        assert ours is not None
        assert theirs is not None
        for name in (
            *("agent_id", "run_id", "objective", "final_synthesis_output", "status"),
            *("error_message", "session_id", "user_id", "parent_run_id", "tags"),
            *("started_at", "finished_at"),
        ):
            assert getattr(theirs, name) == getattr(ours, name), (run_id, name)
    assert other.count_agent_runs() == 3
    assert [s.session_id for s in other.sessions.query()] == ["session-7"]


def test_model_calls_arrive_as_they_were(persistence: Persistence, other: Persistence) -> None:
    ours, theirs = (sorted(each.iter_llm_usage(), key=_begin) for each in (persistence, other))
    assert len(theirs) == len(ours) == 4
    for one, two in zip(ours, theirs, strict=True):
        for name in (
            *("run_id", "provider", "model", "input_tokens", "output_tokens"),
            *("cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "cost_usd"),
            *("response_content", "status", "error_message", "created_at"),
        ):
            assert getattr(two, name) == getattr(one, name), name
        assert (two.latency_ms or 0) == (one.latency_ms or 0)


def _begin(call: AgentLLMUsage) -> Any:
    return call.created_at, call.run_id


def test_tool_calls_and_totals_arrive_as_they_were(
    persistence: Persistence, other: Persistence
) -> None:
    ours, theirs = (
        {
            (event.run_id, data["tool_name"]): (
                data.get("args"),
                data.get("result"),
                data.get("error"),
                data.get("latency_ms"),
            )
            for event in each.iter_agent_run_events(event_type="tool_call")
            for data in [event.get_data_dict()]
        }
        for each in (persistence, other)
    )
    assert theirs == ours
    for name in ("total_runs", "runs_by_status", "total_llm_calls", "total_cost_usd", "by_model"):
        assert other.get_agent_run_stats()[name] == persistence.get_agent_run_stats()[name]


def test_traces_are_the_same_in_both(persistence: Persistence, other: Persistence) -> None:
    for run_id in (EDITOR, WRITER):
        ours, theirs = persistence.traces.get(run_id), other.traces.get(run_id)
        assert ours is not None
        assert theirs is not None
        assert {(s.span_id, s.parent_span_id, s.kind) for s in theirs.spans} == {
            (s.span_id, s.parent_span_id, s.kind) for s in ours.spans
        }
        one, two = ours.summary, theirs.summary
        for name in ("trace_id", "duration_ms", "input_tokens", "cost_usd", "errors", "tool_calls"):
            assert getattr(two, name) == getattr(one, name), name


def test_what_was_received_goes_out_as_it_came(
    other: Persistence, persistence: Persistence, server: WebServer
) -> None:
    first = by_ids(exported(persistence, server))
    assert by_ids(exported(other, server)) == first


@pytest.mark.parametrize("capture", ["otel-genai-openai-agents-handoff", "vercel-ai7-steps"])
def test_spans_of_other_makers_go_out_as_they_came(
    persistence: Persistence, server: WebServer, capture: str
) -> None:
    came = otlp_corpus.spans(capture)
    Receiver(persistence).spans(came)
    assert by_ids(exported(persistence, server)) == by_ids(came)
    assert by_ids(exported(persistence, server, name="test")) == by_ids(came)
    assert exported(persistence, server, name="test") == []


def test_all_spans_of_the_corpus_go_out_as_they_came(server: WebServer) -> None:
    for capture in otlp_corpus.CAPTURES:
        came = by_ids(otlp_corpus.spans(capture))
        with InMemoryPersistence() as persistence:
            Receiver(persistence).spans(came.values())
            assert by_ids(exported(persistence, server)) == came, capture


def test_spans_of_other_makers_go_out_without_words(
    persistence: Persistence, server: WebServer
) -> None:
    Receiver(persistence).spans(otlp_corpus.spans("openinference-openai-agents-steps"))
    spans = exported(persistence, server, content=False)
    assert spans
    for span in spans:
        assert not {"input.value", "output.value", "metadata"} & span.attributes.keys()
        assert not [name for name in span.attributes if "messages" in name]
    tokens = [s.attributes.get("llm.token_count.prompt") for s in spans]
    assert [each for each in tokens if each]


def test_a_database_that_receives_its_own_traces_stores_nothing(
    persistence: Persistence, server: WebServer
) -> None:
    tell(persistence)
    sent = exported(persistence, server, name="itself")
    before = _counts(persistence)
    stored = Receiver(persistence).spans(sent)
    assert (stored.new, stored.changed, stored.repeated) == (0, 0, len(sent))
    assert _counts(persistence) == before
    assert exported(persistence, server, name="itself") == []


def test_two_databases_that_send_to_each_other_come_to_rest(
    persistence: Persistence, server: WebServer
) -> None:
    tell(persistence)
    with InMemoryPersistence() as other:
        Receiver(other).spans(exported(persistence, server, name="there"))
        back = exported(other, server, name="back")
        assert len(back) == 7
        assert Receiver(persistence).spans(back).new == 0
        assert exported(persistence, server, name="there") == []
        assert exported(other, server, name="back") == []


def _counts(persistence: Persistence) -> dict[str, int]:
    store = persistence._store
    return {table.name: store.count(table) for table in ALL_TABLES if table is not CONSUMERS}
