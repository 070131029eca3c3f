"""Spans of OpenTelemetry's SDK are stored as OTLP would carry them, and never spans of our own."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags

from curio_persistence import (
    ConfigurationError,
    InMemoryPersistence,
    InvalidValueError,
    Persistence,
    Receiver,
    SQLitePersistence,
)
from curio_persistence.interop.otel.decoding import decode_traces
from curio_persistence.interop.otel.sdk import CurioSpanExporter, instrument, otel_spans

AGENT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "guide"}
CALL = {"gen_ai.operation.name": "chat", "gen_ai.response.model": "acme-1"}


@pytest.fixture
def persistence() -> Iterator[Persistence]:
    with InMemoryPersistence() as opened:
        yield opened


def provider() -> TracerProvider:
    return TracerProvider(resource=Resource({"service.name": "shop"}, "https://example.org/1"))


def run_an_agent(made: TracerProvider) -> None:
    tracer = made.get_tracer("agents", "1.2", attributes={"of": "scope"})
    remote = SpanContext(2**100, 2**60, is_remote=True, trace_flags=TraceFlags(1))
    above = trace.set_span_in_context(NonRecordingSpan(remote))
    with tracer.start_as_current_span("invoke_agent guide", above, attributes=AGENT) as span:
        span.add_event("note", {"text": "é", "numbers": (1, 2)})
        with (
            pytest.raises(ValueError, match="no answer"),
            tracer.start_as_current_span(
                "chat",
                kind=SpanKind.CLIENT,
                attributes={**CALL, "a": True, "b": (1.5, 2.0), "gen_ai.usage.input_tokens": 7},
                links=[Link(remote, {"why": "before"})],
            ),
        ):
            raise ValueError("no answer")


def test_a_span_is_that_which_otlp_would_carry() -> None:
    made, memory = provider(), InMemorySpanExporter()
    made.add_span_processor(SimpleSpanProcessor(memory))
    run_an_agent(made)
    ended: tuple[ReadableSpan, ...] = memory.get_finished_spans()
    body = encode_spans(ended).SerializeToString()
    assert otel_spans(ended) == decode_traces(body, "application/x-protobuf").spans


def test_an_instrumented_program_records_its_agents(persistence: Persistence) -> None:
    made = instrument(persistence, provider())
    run_an_agent(made)
    made.shutdown()
    [run] = persistence.get_agent_runs()
    [call] = persistence.get_llm_usage(run_id=run.run_id)
    assert (run.agent_name, run.status, run.parent_run_id) == ("guide", "completed", None)
    assert (call.model, call.input_tokens, call.output_tokens) == ("acme-1", 7, None)
    assert (call.status, call.error_message) == ("error", "ValueError: no answer")


def test_the_global_provider_is_made_only_if_none_is_given(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[object] = []
    monkeypatch.setattr(trace, "set_tracer_provider", chosen.append)
    monkeypatch.setattr(trace, "get_tracer_provider", trace.ProxyTracerProvider)
    instrument(persistence, provider()).shutdown()
    assert chosen == []
    made = instrument(persistence)
    assert chosen == [made]
    made.shutdown()
    monkeypatch.setattr(trace, "get_tracer_provider", trace.NoOpTracerProvider)
    with pytest.raises(ConfigurationError, match="NoOpTracerProvider is no TracerProvider"):
        instrument(persistence)


def test_what_is_stored_is_not_traced(
    persistence: Persistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = CurioSpanExporter(persistence)
    suppressed = []
    monkeypatch.setattr(
        exporter._receiver,
        "spans",
        lambda _: suppressed.append(context.get_value(context._SUPPRESS_INSTRUMENTATION_KEY)),
    )
    assert exporter.export([]) is SpanExportResult.SUCCESS
    assert suppressed == [True]
    assert not context.get_value(context._SUPPRESS_INSTRUMENTATION_KEY)


def test_a_database_that_fails_costs_the_spans_and_no_exception(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with SQLitePersistence(tmp_path / "a.db", lock_timeout=0.01) as persistence:
        exporter = CurioSpanExporter(persistence)
        made, memory = provider(), InMemorySpanExporter()
        made.add_span_processor(SimpleSpanProcessor(memory))
        run_an_agent(made)
        other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with caplog.at_level(logging.ERROR, "curio_persistence"):
            for _ in range(2):
                assert exporter.export(memory.get_finished_spans()) is SpanExportResult.FAILURE
        other.execute("ROLLBACK")
        other.close()
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert exporter.export(memory.get_finished_spans()) is SpanExportResult.SUCCESS
        assert len(persistence.get_agent_runs()) == 1


def test_what_is_not_a_persistence_is_refused() -> None:
    for wrong in (None, "sqlite:///agent.db", InMemoryPersistence):
        for take in (Receiver, CurioSpanExporter, instrument):
            with pytest.raises(InvalidValueError, match="takes an open persistence"):
                take(wrong)  # type: ignore[operator]
