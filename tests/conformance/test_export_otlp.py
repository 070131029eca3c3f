"""Exports by OTLP: what was recorded arrives as spans, each trace once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from opentelemetry import context

from curio_persistence import (
    AccessDeniedError,
    AgentLLMUsage,
    ConfigurationError,
    ConflictError,
    InvalidValueError,
    NotFoundError,
    OtlpReport,
    Persistence,
    UnavailableError,
    UnsupportedError,
    aio,
    archive_runs,
    export_otlp,
    follow_otlp,
    open_archive,
)
from curio_persistence.interop.otel.receiving import Receiver
from curio_persistence.interop.otel.spans import STATUS_ERROR, STATUS_OK, OtelSpan
from curio_persistence.trace_ids import span_id_of, trace_id_of
from tests.conformance.conftest import Open
from tests.support import otlp_corpus
from tests.support.awkward import TEXTS
from tests.support.hands import Hands
from tests.support.otlp_story import (
    EDITOR,
    NOON,
    OLD_RUN,
    WRITER,
    at,
    call,
    run,
    saved,
    spans_in,
    tell,
    tell_an_old_one,
    tool,
)
from tests.support.web_server import Answer, WebServer, web_server

pytestmark = pytest.mark.slow  # Not in the inner loop.

NONE = timedelta(0)


@pytest.fixture(scope="module")
def listening() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture
def server(listening: WebServer) -> WebServer:
    listening.received.clear()
    listening.answers.clear()
    return listening


def received(server: WebServer) -> list[OtelSpan]:
    """Return the spans that came, in the order in which they came."""
    return [span for request in server.received for span in spans_in(request)]


def by_name(server: WebServer) -> dict[str, OtelSpan]:
    return {span.name: span for span in received(server)}


def named(persistence: Persistence, server: WebServer, **options: Any) -> tuple[int, int, int]:
    """Export under a name; return how many traces and spans were sent, and how many wait."""
    report = export_otlp(persistence, server.url, name="test", **options)
    return report.traces, report.spans, report.waiting


# --- what arrives ---------------------------------------------------------------------------------


def test_a_trace_arrives_as_a_tree_with_the_ids_that_it_has_here(
    persistence: Persistence, server: WebServer
) -> None:
    tell(persistence)
    report = export_otlp(persistence, server.url)
    assert (report.traces, report.spans, report.rejected, report.requests) == (1, 7, 0, 1)
    assert report.url == f"{server.url}/v1/traces"
    assert report.bytes == len(server.received[0].body)
    spans = received(server)
    trace = persistence.traces.get(EDITOR)
    assert trace is not None
    assert {span.trace_id for span in spans} == {trace_id_of(EDITOR)} == {trace.trace_id}
    assert {span.span_id: span.parent_span_id for span in spans} == {
        span.span_id: span.parent_span_id for span in trace.spans
    }
    assert {span.name for span in spans} == {
        "invoke_agent Editor",
        "invoke_agent writer",
        "execute_tool search",
        "execute_tool write",
        "chat gpt-5-mini",
        "chat acme-large",
    }


def test_a_run_arrives_with_its_words_session_and_metadata(
    persistence: Persistence, server: WebServer
) -> None:
    tell(persistence)
    export_otlp(persistence, server.url)
    span = by_name(server)["invoke_agent Editor"]
    assert (span.status_code, span.kind, span.parent_span_id) == (STATUS_OK, 1, None)
    assert (span.start_ns, span.end_ns) == (_nanoseconds(0), _nanoseconds(10))
    assert span.attributes == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.id": "editor",
        "gen_ai.agent.name": "Editor",
        "gen_ai.conversation.id": "session-7",
        "gen_ai.input.messages": _genai("user", "Write about cats."),
        "gen_ai.output.messages": _genai("assistant", "Cats are small."),
        "openinference.span.kind": "AGENT",
        "agent.name": "Editor",
        "session.id": "session-7",
        "user.id": "ann",
        "tag.tags": ["night"],
        "metadata": '{"plan": "pro"}',
        "input.value": "Write about cats.",
        "input.mime_type": "text/plain",
        "output.value": "Cats are small.",
        "output.mime_type": "text/plain",
        "curio.run_id": EDITOR,
    }


def test_a_model_call_arrives_with_tokens_cost_and_messages(
    persistence: Persistence, server: WebServer
) -> None:
    tell(persistence)
    export_otlp(persistence, server.url)
    span = next(s for s in received(server) if s.span_id == span_id_of(f"{EDITOR} call 9"))
    told = span.attributes
    assert (span.kind, span.start_ns, span.end_ns) == (3, _nanoseconds(8), _nanoseconds(9))
    assert {n: v for n, v in told.items() if n.startswith("gen_ai.usage")} == {
        "gen_ai.usage.input_tokens": 1200,
        "gen_ai.usage.output_tokens": 80,
        "gen_ai.usage.cache_read.input_tokens": 1000,
        "gen_ai.usage.cache_creation.input_tokens": 100,
        "gen_ai.usage.cache_write.input_tokens": 100,
        "gen_ai.usage.reasoning.output_tokens": 20,
    }
    assert {n: v for n, v in told.items() if "token_count" in n} == {
        "llm.token_count.prompt": 1200,
        "llm.token_count.completion": 80,
        "llm.token_count.total": 1280,
        "llm.token_count.prompt_details.cache_read": 1000,
        "llm.token_count.prompt_details.cache_write": 100,
        "llm.token_count.completion_details.reasoning": 20,
    }
    assert told["curio.cost_usd"] == "0.003100"
    assert told["llm.cost.total"] == 0.0031
    assert json.loads(told["mlflow.llm.cost"])["total_cost"] == 0.0031
    assert told["gen_ai.request.temperature"] == 0.5
    assert told["gen_ai.request.max_tokens"] == 200
    assert told["gen_ai.response.id"] == f"resp-{EDITOR}-9"
    assert told["gen_ai.response.finish_reasons"] == ["stop"]
    assert told["llm.input_messages.0.message.role"] == "system"
    assert told["llm.input_messages.2.message.tool_calls.0.tool_call.function.name"] == "search"
    assert told["llm.input_messages.3.message.tool_call_id"] == "call_1"
    assert told["llm.output_messages.0.message.content"] == "Cats are small."
    assert json.loads(told["gen_ai.input.messages"])[2]["parts"] == [
        {"type": "tool_call", "id": "call_1", "name": "search", "arguments": {"query": "cats"}}
    ]
    assert json.loads(told["gen_ai.output.messages"])[0]["finish_reason"] == "stop"


def test_what_is_not_known_has_no_attribute(persistence: Persistence, server: WebServer) -> None:
    tell_an_old_one(persistence)
    export_otlp(persistence, server.url)
    told = by_name(server)["chat acme-1"].attributes
    unknown = ("cost", "cache", "reasoning", "provider", "session", "conversation", "request.t")
    assert [name for name in told if any(part in name for part in unknown)] == []
    assert None not in told.values()


def test_failures_arrive_with_their_type_and_message(
    persistence: Persistence, server: WebServer
) -> None:
    tell(persistence)
    export_otlp(persistence, server.url)
    for name in ("invoke_agent writer", "execute_tool write"):
        span = by_name(server)[name]
        assert (span.status_code, span.status_message) == (STATUS_ERROR, "ValueError: no paper")
        assert span.attributes["error.type"] == "ValueError"
        [event] = span.events
        assert event.name == "exception"
        assert event.attributes == {
            "exception.type": "ValueError",
            "exception.message": "no paper",
        }
    call_of_writer = next(s for s in received(server) if s.parent_span_id == span_id_of(WRITER))
    assert call_of_writer.status_code in (STATUS_OK, STATUS_ERROR)


def test_records_of_long_ago_arrive_under_the_same_ids_each_time(
    persistence: Persistence, server: WebServer
) -> None:
    tell_an_old_one(persistence)
    for _ in range(2):
        export_otlp(persistence, server.url)
    first, second = map(spans_in, server.received)
    assert first == second
    assert len({span.span_id for span in first}) == 3
    assert {span.trace_id for span in first} == {trace_id_of(OLD_RUN)}
    assert all(len(span.span_id) == 16 and int(span.span_id, 16) for span in first)


def test_saved_spans_arrive_with_their_own_attributes(
    persistence: Persistence, server: WebServer
) -> None:
    tell(persistence)
    own = {"template": "report", "pages": 3, "nested": {"a": [1, None]}}
    saved(persistence, trace_id_of(EDITOR), "render-1", name="render", attributes=own)
    saved(persistence, "of nobody", "alone", name="cron job", status="ok", start_nanos=123)
    export_otlp(persistence, server.url)
    render, alone = by_name(server)["render"], by_name(server)["cron job"]
    assert own.items() <= render.attributes.items()
    assert render.parent_span_id == span_id_of(EDITOR)
    assert (alone.trace_id, alone.start_ns) == (
        trace_id_of("trace of nobody"),
        _nanoseconds(20) + 123,
    )


def test_a_span_whose_parent_is_not_there_stands_below_its_run(
    persistence: Persistence, server: WebServer
) -> None:
    run(persistence, WRITER, "writer", 0, 2, parent="a run of another database")
    saved(persistence, trace_id_of(WRITER), "0" * 15 + "1", name="x", parent_span_id="f" * 16)
    export_otlp(persistence, server.url)
    assert by_name(server)["invoke_agent writer"].parent_span_id is None
    assert by_name(server)["x"].parent_span_id == span_id_of(WRITER)


def test_no_words_are_sent_without_content(persistence: Persistence, server: WebServer) -> None:
    tell(persistence)
    saved(persistence, trace_id_of(EDITOR), "s", name="x", attributes={"a": {"b": "cats"}, "n": 1})
    export_otlp(persistence, server.url, content=False)
    assert b"cats" not in _bodies(server).lower()
    assert b"paper" not in _bodies(server)
    told = by_name(server)["chat gpt-5-mini"].attributes
    assert told["gen_ai.usage.input_tokens"] == 1200
    assert by_name(server)["execute_tool write"].attributes["error.type"] == "ValueError"
    assert by_name(server)["x"].attributes["n"] == 1


def test_any_text_and_any_time_can_be_sent(persistence: Persistence, server: WebServer) -> None:
    for number, text in enumerate(TEXTS):
        run(persistence, f"run-{number}", "agent", 0, 1, objective=text, error=text)
        tool(persistence, f"run-{number}", "t", 1, NONE, {text: text}, result=text)
        call(persistence, f"run-{number}", 1, NONE, text, text, cost_usd=None)
    for span_id, year in (("past", 1), ("future", 9999)):
        then = datetime(year, 1, 1, tzinfo=UTC)
        saved(persistence, span_id, span_id, name=span_id, started_at=then, ended_at=then)
    report = export_otlp(persistence, server.url)
    assert (report.traces, report.spans) == (len(TEXTS) + 2, 3 * len(TEXTS) + 2)
    assert len(received(server)) == report.spans
    assert by_name(server)["past"].start_ns < by_name(server)["future"].start_ns
    words = [span.attributes.get("input.value") for span in received(server)]
    assert {text for text in TEXTS if text and text.isascii()} <= {*words}


def test_a_project_and_headers_are_told(persistence: Persistence, server: WebServer) -> None:
    tell(persistence)
    export_otlp(persistence, server.url + "/api/", headers={"X-Key": "k"}, project="cats")
    [request] = server.received
    assert request.path == "/api/v1/traces"
    assert request.headers["X-Key"] == "k"
    assert request.headers["Content-Encoding"] == "gzip"
    resource = spans_in(request)[0].source.resource
    assert resource["service.name"] == resource["openinference.project.name"] == "cats"


# --- which traces ---------------------------------------------------------------------------------


def test_traces_are_sent_oldest_first_and_only_those_that_pass_the_filters(
    persistence: Persistence, server: WebServer
) -> None:
    tell(persistence)
    tell_an_old_one(persistence)
    assert export_otlp(persistence, server.url).traces == 2
    assert received(server)[0].attributes["curio.run_id"] == OLD_RUN
    for filters, traces in (
        ({"agent_id": "editor"}, 1),
        ({"session_id": "session-7"}, 1),
        ({"user_id": "bob"}, 0),
        ({"until": NOON}, 1),
        ({"min_duration_ms": 5000}, 1),
        ({"status": "error"}, 0),
        ({"run_id": WRITER}, 1),
    ):
        report = export_otlp(persistence, server.url, dry_run=True, **filters)  # type: ignore[arg-type]
        assert report.traces == traces, filters


def test_a_running_trace_waits_unless_it_is_asked_for(
    persistence: Persistence, server: WebServer
) -> None:
    run(persistence, EDITOR, "editor", 0, None)
    tool(persistence, EDITOR, "search", 3, NONE, {})
    report = export_otlp(persistence, server.url)
    assert (report.traces, report.waiting, server.received) == (0, 1, [])
    report = export_otlp(persistence, server.url, running=True)
    assert (report.traces, report.spans, report.waiting) == (1, 1, 0)
    assert [span.name for span in received(server)] == ["execute_tool search"]


def test_a_dry_run_sends_nothing(persistence: Persistence, server: WebServer) -> None:
    tell(persistence)
    report = export_otlp(persistence, server.url, dry_run=True)
    assert (report.dry_run, report.traces, report.spans) == (True, 1, 7)
    assert named(persistence, server, dry_run=True) == named(persistence, server, dry_run=True)
    assert server.received == []
    assert [*persistence.audit.query(action="export")] == []
    assert report == OtlpReport(**report.to_dict())


def test_the_audit_log_has_a_line(persistence: Persistence, server: WebServer) -> None:
    export_otlp(persistence, f"{server.url}?key=secret", agent_id="editor")
    for _ in range(2):
        named(persistence, server)
    lines = [entry.resource for entry in persistence.audit.query(action="export")]
    assert lines == [f"{server.url}/v1/traces"] * 2


def test_traces_in_an_archive_are_sent_as_they_were(
    persistence: Persistence, server: WebServer, place: Path
) -> None:
    tell(persistence)
    Receiver(persistence).spans(otlp_corpus.spans("vercel-ai7-steps"))
    export_otlp(persistence, server.url)
    before = {(span.trace_id, span.span_id): span for span in received(server)}
    archive_runs(persistence, place, older_than="0s", pace=1)
    assert persistence.count_agent_runs() == 0
    server.received.clear()
    assert export_otlp(open_archive(persistence, place), server.url).traces == 2
    assert {(span.trace_id, span.span_id): span for span in received(server)} == before


# --- going on -------------------------------------------------------------------------------------


def test_an_export_with_a_name_sends_each_trace_once(
    persistence: Persistence, server: WebServer
) -> None:
    tell(persistence)
    tell_an_old_one(persistence)
    assert named(persistence, server) == (2, 10, 0)
    assert named(persistence, server) == (0, 0, 0)
    tell_another(persistence, 1)
    assert named(persistence, server) == (1, 1, 0)
    assert named(persistence, server) == (0, 0, 0)
    assert export_otlp(persistence, server.url, name="another").traces == 3


def tell_another(persistence: Persistence, number: int, end: float | None = 4.0) -> str:
    run_id = f"run-{number}"
    run(persistence, run_id, "agent", 0, end)
    return run_id


def test_a_trace_waits_until_it_has_ended(persistence: Persistence, server: WebServer) -> None:
    before = tell_another(persistence, 1, end=None)
    assert named(persistence, server) == (0, 0, 1)
    after = tell_another(persistence, 2, end=None)
    tool(persistence, after, "search", 3, NONE, {})
    assert named(persistence, server) == (0, 0, 2)
    for run_id in (before, after):
        found = persistence.get_agent_run(run_id)
        assert found is not None
        found.status, found.finished_at = "completed", at(9)
        persistence.update_agent_run(run_id, found)
    assert named(persistence, server) == (2, 3, 0)
    assert named(persistence, server) == (0, 0, 0)


def test_a_run_that_its_parent_follows_waits_for_the_parent(
    persistence: Persistence, server: WebServer
) -> None:
    run(persistence, WRITER, "writer", 1, None, parent=EDITOR)
    assert named(persistence, server) == (0, 0, 1)
    run(persistence, EDITOR, "editor", 0, None)
    assert named(persistence, server) == (0, 0, 1)
    for run_id in (WRITER, EDITOR):
        found = persistence.get_agent_run(run_id)
        assert found is not None
        found.status, found.finished_at = "completed", at(9)
        persistence.update_agent_run(run_id, found)
    assert named(persistence, server) == (1, 2, 0)


def test_a_trace_to_which_records_come_late_is_sent_again(
    persistence: Persistence, server: WebServer
) -> None:
    tell(persistence)
    assert named(persistence, server) == (1, 7, 0)
    call(persistence, EDITOR, 12, NONE, "late", "later", cost_usd=None)
    assert named(persistence, server) == (1, 8, 0)
    saved(persistence, trace_id_of(EDITOR), "late")
    assert named(persistence, server) == (1, 9, 0)
    persistence.append_event(EDITOR, "editor", "note", payload="of no span")
    assert named(persistence, server) == (0, 0, 0)
    assert len({span.span_id for span in received(server)}) == 9


def test_spans_without_a_run_are_sent_when_the_first_of_them_has_ended(
    persistence: Persistence, server: WebServer, clock: Hands
) -> None:
    clock.put(NOON + timedelta(days=1))
    saved(persistence, "1" * 32, "old", name="old")
    assert named(persistence, server) == (1, 1, 0)
    saved(persistence, "2" * 32, "open", name="open", ended_at=None)
    assert named(persistence, server) == (0, 0, 1)
    saved(persistence, "2" * 32, "open", name="open")
    assert named(persistence, server) == (1, 1, 0)
    saved(persistence, "3" * 32, "child", parent_span_id="never", name="child")
    assert named(persistence, server) == (0, 0, 1)
    clock.move(minutes=2)
    assert named(persistence, server) == (1, 1, 0)


def test_a_history_of_many_traces_is_sent_in_rounds(
    persistence: Persistence, server: WebServer
) -> None:
    for number in range(45):
        tell_another(persistence, number, end=None if number % 9 == 0 else 4.0)
    assert named(persistence, server) == (40, 40, 5)
    assert len({span.trace_id for span in received(server)}) == 40
    assert named(persistence, server) == (0, 0, 5)


def test_deleted_runs_wait_no_more(persistence: Persistence, server: WebServer) -> None:
    run_id = tell_another(persistence, 1, end=None)
    assert named(persistence, server) == (0, 0, 1)
    persistence.delete_agent_run(run_id)
    assert named(persistence, server) == (0, 0, 0)


def test_an_export_with_a_name_is_filtered_by_agent(
    persistence: Persistence, server: WebServer
) -> None:
    tell(persistence)
    assert named(persistence, server, agent_id="agent") == (0, 0, 0)
    tell_another(persistence, 1)
    call(persistence, EDITOR, 12, NONE, "late", "later", cost_usd=None)
    assert named(persistence, server, agent_id="agent") == (1, 1, 0)


def test_a_failed_export_goes_on_where_it_was(persistence: Persistence, server: WebServer) -> None:
    for number in range(45):
        tell_another(persistence, number)
    server.answers = [200, 400]
    with pytest.raises(ConfigurationError, match="the answer was 400"):
        named(persistence, server)
    assert named(persistence, server) == (25, 25, 0)
    accepted = [s.span_id for n, r in enumerate(server.received) if n != 1 for s in spans_in(r)]
    assert len(accepted) == len({*accepted}) == 45


def test_two_programs_under_one_name_are_told(persistence: Persistence, server: WebServer) -> None:
    tell(persistence)

    def export_meanwhile() -> int:
        named(persistence, server)
        return 200

    server.answers = [export_meanwhile]
    with pytest.raises(ConflictError, match="Another program exports under the name 'test'"):
        named(persistence, server)
    assert named(persistence, server) == (0, 0, 0)


def test_following_sends_what_ends_until_it_is_stopped(
    persistence: Persistence, server: WebServer
) -> None:
    tell(persistence)
    stop, outcomes = Event(), []

    def on_round(outcome: Any) -> None:
        outcomes.append(outcome)
        if len(outcomes) == 1:
            tell_another(persistence, 1)
        else:
            stop.set()

    follow_otlp(persistence, server.url, 0.01, stop=stop, on_round=on_round)
    assert [outcome.traces for outcome in outcomes] == [1, 1]


def test_beside_agents_each_trace_is_sent_once(persistence: Persistence, server: WebServer) -> None:
    stop = Event()
    options = {"name": "test", "stop": stop, "on_round": lambda _: None}
    following = Thread(target=follow_otlp, args=(persistence, server.url, 0.001), kwargs=options)
    following.start()
    for _ in range(30):
        with persistence.record_run(agent_id="agent") as recorded:
            recorded.llm_call(model="m")
            with recorded.tool("t"):
                pass
    stop.set()
    following.join()
    named(persistence, server)
    ids = [(span.trace_id, span.span_id) for span in received(server)]
    assert len(ids) == len({*ids}) == 90


def test_following_goes_on_after_an_outage(persistence: Persistence, server: WebServer) -> None:
    tell(persistence)
    server.answers = [503]
    stop, outcomes = Event(), []

    def on_round(outcome: Any) -> None:
        outcomes.append(outcome)
        if isinstance(outcome, OtlpReport):
            stop.set()

    follow_otlp(persistence, server.url, 0.01, stop=stop, on_round=on_round, retry_for=0.01)
    assert isinstance(outcomes[0], UnavailableError)
    assert outcomes[-1].traces == 1


def test_following_leaves_a_receiver_alone_that_asks_for_it(
    persistence: Persistence, server: WebServer
) -> None:
    tell(persistence)
    server.answers = [Answer(429, {"Retry-After": "3600"})]
    stop, outcomes = Event(), []

    def on_round(outcome: Any) -> None:
        outcomes.append(str(outcome))
        if len(outcomes) == 3:
            stop.set()

    follow_otlp(persistence, server.url, 0.01, stop=stop, on_round=on_round)
    assert len(server.received) == 1
    assert "the answer was 429" in outcomes[0]
    assert "it asked to be left alone. It may be asked again in 3600 seconds" in outcomes[2]


# --- receivers ------------------------------------------------------------------------------------


def test_a_busy_receiver_is_asked_again_when_it_said(
    persistence: Persistence, server: WebServer
) -> None:
    tell(persistence)
    now = {"Retry-After": "0"}
    past = {"Retry-After": "Fri, 20 Nov 2026 12:00:00 GMT"}
    server.answers = [Answer(503, now), Answer(429, past), Answer(502, {"Retry-After": "0"})]
    assert export_otlp(persistence, server.url).spans == 7
    assert len({request.body for request in server.received}) == 1
    assert len(server.received) == 4


def test_a_receiver_that_asks_for_too_much_patience_is_left(
    persistence: Persistence, server: WebServer
) -> None:
    tell(persistence)
    server.answers = [Answer(429, {"Retry-After": "3600"}, b"quota of the day")]
    with pytest.raises(UnavailableError, match=r"429 \(quota of the day\).*again in 3600 seconds"):
        named(persistence, server)
    assert len(server.received) == 1
    assert named(persistence, server) == (1, 7, 0)


def test_rejected_spans_are_counted_with_the_reason(
    persistence: Persistence, server: WebServer
) -> None:
    tell(persistence)
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTraceServiceResponse,
    )

    told = ExportTraceServiceResponse()
    told.partial_success.rejected_spans = 2
    told.partial_success.error_message = "too old"
    as_json = b'{"partialSuccess": {"rejectedSpans": "3", "errorMessage": "odd"}}'
    server.answers = [
        Answer(200, {"Content-Type": "application/x-protobuf"}, told.SerializeToString()),
        Answer(200, {"Content-Type": "application/json"}, as_json),
        Answer(200, {}, b"<html>"),
    ]
    reports = [export_otlp(persistence, server.url) for _ in range(3)]
    assert [(r.rejected, r.message) for r in reports] == [(2, "too old"), (3, "odd"), (0, None)]
    assert [report.spans for report in reports] == [7, 7, 7]


def test_a_request_that_is_too_large_is_sent_in_parts(
    persistence: Persistence, server: WebServer
) -> None:
    tell(persistence)
    server.answers = [413, 413]
    report = export_otlp(persistence, server.url)
    assert (report.spans, report.requests) == (7, 3)
    assert len({span.span_id for span in received(server)}) == 7
    server.answers = [413] * 9
    with pytest.raises(ConfigurationError, match=r"413.* the span '.*' alone has .* bytes"):
        export_otlp(persistence, server.url)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (400, ConfigurationError, "the receiver refuses the request"),
        (401, AccessDeniedError, "pass the key as a header"),
        (403, AccessDeniedError, "pass the key as a header"),
        (404, ConfigurationError, "is that the URL of an OTLP receiver"),
        (415, ConfigurationError, "does not take OTLP in protobuf"),
        (302, ConfigurationError, "redirects are not followed"),
    ],
)
def test_a_refusal_is_one_clear_error(
    persistence: Persistence,
    server: WebServer,
    status: int,
    error: type[Exception],
    words: str,
) -> None:
    tell(persistence)
    server.answers = [status]
    with pytest.raises(error, match=f"{server.url}/v1/traces: the answer was {status}.*{words}"):
        named(persistence, server)
    assert named(persistence, server) == (1, 7, 0)


def test_a_receiver_that_is_not_there_is_unavailable(persistence: Persistence) -> None:
    tell(persistence)
    with web_server() as gone:
        url = gone.url
    with pytest.raises(UnavailableError, match="no answer"):
        export_otlp(persistence, f"{url}/?key=secret", retry_for=0.01, name="test")


def test_a_receiver_that_does_not_answer_costs_the_timeout(
    persistence: Persistence, server: WebServer
) -> None:
    tell(persistence)
    leave = Event()
    server.answers = [lambda: 200 + int(not leave.wait(5))]
    with pytest.raises(UnavailableError, match="no answer"):
        export_otlp(persistence, server.url, timeout=0.05, retry_for=0.01)
    leave.set()


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.before_io
@pytest.mark.parametrize(
    ("url", "options", "field"),
    [
        ("localhost:4318", {}, "url"),
        ("ftp://localhost", {}, "url"),
        ("http://", {}, "url"),
        ("http://localhost:0x1", {}, "url"),
        ("http://local host", {}, "url"),
        ("http://ann:secret@localhost", {}, "url"),
        (None, {}, "url"),
        ("http://localhost", {"headers": ["a"]}, "headers"),
        ("http://localhost", {"headers": {"a b": "c"}}, "headers"),
        ("http://localhost", {"headers": {"a": "b\r\nc: d"}}, "headers"),
        ("http://localhost", {"headers": {"a": "\xe4"}}, "headers"),
        ("http://localhost", {"headers": {"a": 1}}, "headers"),
        ("http://localhost", {"timeout": 0}, "timeout"),
        ("http://localhost", {"retry_for": "long"}, "retry_for"),
        ("http://localhost", {"project": ""}, "project"),
        ("http://localhost", {"name": ""}, "name"),
        ("http://localhost", {"status": "fine"}, "AgentSpan.status"),
        ("http://localhost", {"name": "x", "status": "ok"}, "status"),
        ("http://localhost", {"name": "x", "running": True}, "running"),
        ("http://localhost", {"run_id": "r", "agent_id": "a"}, "run_id"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_sent(
    persistence: Persistence, url: Any, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidValueError) as refused:
        export_otlp(persistence, url, **options)
    assert refused.value.field == field
    assert "secret" not in str(refused.value)


@pytest.mark.before_io
def test_an_unknown_filter_is_told(persistence: Persistence) -> None:
    with pytest.raises(TypeError, match="'colour' is not a filter here; the filters are agent_id"):
        export_otlp(persistence, "http://localhost", colour="red")  # type: ignore[call-arg]


@pytest.mark.before_io
def test_following_needs_a_name_and_a_time(persistence: Persistence) -> None:
    for arguments in ({"every": 0}, {"every": "soon"}, {"name": None}, {"name": ""}):
        with pytest.raises(InvalidValueError):
            follow_otlp(persistence, "http://localhost", **arguments)  # type: ignore[arg-type]


def test_an_unknown_run_is_not_found(persistence: Persistence) -> None:
    with pytest.raises(NotFoundError, match="There is no trace of run 'nobody'"):
        export_otlp(persistence, "http://localhost", run_id="nobody")


def test_a_position_needs_a_database_that_may_be_written_to(
    persistence: Persistence, open_again: Open, server: WebServer, lasting: None
) -> None:
    reader = open_again(read_only=True)
    assert export_otlp(reader, server.url).traces == 0
    with pytest.raises(AccessDeniedError, match="open the database for writing"):
        named(reader, server)
    with (
        persistence.transaction(),
        pytest.raises(UnsupportedError, match="A transaction is open in this thread"),
    ):
        named(persistence, server)


def test_instrumentations_make_no_spans_of_an_export(
    persistence: Persistence, server: WebServer
) -> None:
    tell(persistence)
    silent: list[object] = []

    def progress(done: int, total: int | None) -> None:
        silent.append(context.get_value(context._SUPPRESS_INSTRUMENTATION_KEY))

    export_otlp(persistence, server.url, progress=progress)
    assert silent == [True]
    assert context.get_value(context._SUPPRESS_INSTRUMENTATION_KEY) is None


def test_threads_may_export_at_the_same_time(persistence: Persistence, server: WebServer) -> None:
    for number in range(10):
        tell_another(persistence, number)
    reports: list[OtlpReport] = []
    threads = [
        Thread(target=lambda: reports.append(export_otlp(persistence, server.url)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [report.traces for report in reports] == [10] * 3


def test_a_call_without_a_run_belongs_to_no_trace(
    persistence: Persistence, server: WebServer
) -> None:
    persistence.log_llm_usage(AgentLLMUsage(None, None, model="alone"))
    assert export_otlp(persistence, server.url).traces == 0


def test_exports_are_awaited_too(persistence: Persistence, server: WebServer) -> None:
    tell(persistence)
    stop, was_sent = Event(), Event()

    async def main() -> None:
        awaited = aio.AsyncPersistence(persistence)
        assert (await aio.export_otlp(awaited, server.url)).spans == 7
        follow = aio.follow_otlp(
            awaited, server.url, name="test", stop=stop, on_round=lambda _: was_sent.set()
        )
        following = asyncio.create_task(follow)
        while not was_sent.is_set():
            await asyncio.sleep(0.01)
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
        assert stop.is_set()

    asyncio.run(main())
    assert named(persistence, server) == (0, 0, 0)


def _nanoseconds(seconds: float) -> int:
    return int(at(seconds).timestamp() * 1_000_000) * 1000


def _genai(role: str, text: str) -> str:
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])


def _bodies(server: WebServer) -> bytes:
    return repr(received(server)).encode()
