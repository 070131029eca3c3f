"""The trace storage of Agiwo works completely, on every backend."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import AgentSpan, Persistence
from curio_persistence.compat.agiwo import (
    AgentTraceCollector,
    InMemoryTraceStorage,
    PostgresTraceStorage,
    Span,
    SpanKind,
    SpanStatus,
    SQLiteTraceStorage,
    Trace,
    TraceQuery,
    TraceStorage,
    TraceStorageConfig,
    create_trace_storage,
)
from curio_persistence.runlog.entries import LLMCallCompleted, RunFinished, RunStarted
from curio_persistence.runlog.values import StepMetrics
from tests.support.entries import assistant, made, tool

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
Work = Callable[[TraceStorage], Coroutine[Any, Any, None]]


def awaiting(persistence: Persistence, work: Work) -> None:
    """Run `work` on this persistence in an event loop."""
    asyncio.run(work(TraceStorage(lambda: persistence)))


def trace(name: str = "t", minute: float = 0, **fields: Any) -> Trace:
    """Return a trace without spans that began so many minutes after noon."""
    return Trace(trace_id=name, start_time=NOON + timedelta(minutes=minute), **fields)


def full() -> Trace:
    """Return a trace whose fields are all set."""
    whole = trace(
        agent_id="guide",
        session_id="chat",
        user_id="ann",
        root_span_id="root",
        input_query='{"json": 1}',
        final_output="",
        duration_ms=0.125,
        end_time=NOON + timedelta(seconds=1.000001),
        status=SpanStatus.ERROR,
    )
    root = Span(trace_id="t", span_id="root", kind=SpanKind.AGENT, name="guide", run_id="run")
    call = Span(
        trace_id="t",
        span_id="call",
        parent_span_id="root",
        kind=SpanKind.LLM_CALL,
        name="acme-1",
        start_time=NOON,
        end_time=NOON + timedelta(seconds=2),
        duration_ms=1999.5,
        status=SpanStatus.OK,
        depth=1,
        attributes={"None": None, "list": [1.5, {"deep": None}]},
        metrics={"tokens.total": 7, "tokens.input": 5, "token_cost": 0.1},
        llm_details={"request": {}, "messages": [{"role": "user", "content": None}]},
        output_preview="out",
        run_id="run",
    )
    failed = Span(
        trace_id="t",
        span_id="tool",
        parent_span_id="gone",
        kind=SpanKind.TOOL_CALL,
        name="look",
        status=SpanStatus.ERROR,
        error_message="no",
        input_preview="[]",
        tool_details={"input_args": {"where": "Lyon"}},
        step_id="step",
    )
    runtime = Span(trace_id="t", kind=SpanKind.RUNTIME, name="rollback", depth=2)
    for span in (root, call, failed, runtime):
        whole.add_span(span)
    return whole


def test_a_trace_is_returned_as_it_was_saved(persistence: Persistence) -> None:
    async def work(storage: TraceStorage) -> None:
        assert await storage.get_trace("t") is None
        whole = full()
        for saved in (whole, trace("empty")):
            before = deepcopy(saved)
            await storage.save_trace(saved)
            assert await storage.get_trace(saved.trace_id) == saved == before
        whole.spans[0].name = "changed"
        stored = await storage.get_trace("t")
        assert stored is not None
        assert stored.spans[0].name == "guide"

    awaiting(persistence, work)


def test_a_trace_takes_the_place_of_the_one_with_its_id(persistence: Persistence) -> None:
    async def work(storage: TraceStorage) -> None:
        await storage.save_trace(full())
        less = full()
        less.spans = [replace(less.spans[1], name="other"), less.spans[3]]
        less.status, less.final_output, less.user_id = SpanStatus.OK, "done", None
        await storage.save_trace(less)
        assert await storage.get_trace("t") == less
        assert await storage.query_traces(TraceQuery()) == [less]

    awaiting(persistence, work)


def test_traces_are_queried_newest_first(persistence: Persistence) -> None:
    saved = [
        trace("a", 0, agent_id="guide", session_id="s1", user_id="ann", duration_ms=0.0),
        trace("b", 2, agent_id="guide", session_id="s2", status=SpanStatus.OK, duration_ms=50.0),
        trace("c", 1, agent_id="other", user_id="ann", status=SpanStatus.ERROR),
    ]

    async def work(storage: TraceStorage) -> None:
        for each in saved:
            await storage.save_trace(each)

        async def found(**query: Any) -> str:
            return "".join(each.trace_id for each in await storage.query_traces(query))

        assert await found() == "bca"
        assert await found(agent_id="guide") == "ba"
        assert await found(session_id="s1") == "a"
        assert await found(user_id="ann") == "ca"
        assert await found(status="running") == "a"
        assert await found(status=SpanStatus.ERROR, user_id="ann") == "c"
        assert await found(status="unset") == ""
        minute = timedelta(minutes=1)
        assert await found(start_time=NOON + minute) == "bc"
        assert await found(end_time=NOON + minute) == "ca"
        assert await found(start_time=NOON + minute, end_time=NOON + minute) == "c"
        assert await found(min_duration_ms=0) == "ba"
        assert await found(min_duration_ms=50.0) == "b"
        assert await found(max_duration_ms=0) == "a"
        assert await found(min_duration_ms=1, max_duration_ms=49) == ""
        assert await found(limit=1, offset=1) == "c"
        assert await found(offset=3) == ""
        assert [each.trace_id for each in await storage.query_traces(TraceQuery(limit=1))] == ["b"]
        with pytest.raises(ValueError, match=r"TraceQuery\.limit is from 1 to 500, not 0"):
            await found(limit=0)
        with pytest.raises(ValueError, match="'colour' is not a part of a TraceQuery"):
            await found(colour="red")

    awaiting(persistence, work)


def test_a_collected_trace_is_stored_with_every_commit(persistence: Persistence) -> None:
    commits = [
        [made(RunStarted, session_id="chat", user_input="hi", sequence=1, created_at=NOON)],
        [
            made(LLMCallCompleted, metrics=StepMetrics(total_tokens=3, model_name="acme-1")),
            assistant("a", tool_calls=[{"id": "c", "function": {"arguments": "{}"}}]),
            tool("t", tool_call_id="c"),
        ],
        [made(RunFinished, response="bye", created_at=NOON + timedelta(seconds=2))],
    ]

    async def work(storage: TraceStorage) -> None:
        collector = AgentTraceCollector(storage)
        collector.start("t")
        for commit in commits:
            await collector.on_run_log_entries(commit)
            assert await storage.get_trace("t") == collector.trace
        await collector.stop()
        [stored] = await storage.query_traces({"status": "ok"})
        assert (stored.total_tokens, stored.final_output, stored.duration_ms) == (3, "bye", 2000)

    awaiting(persistence, work)


def test_a_saved_trace_is_one_of_our_traces(persistence: Persistence) -> None:
    awaiting(persistence, lambda storage: storage.save_trace(full()))
    kinds = {span.span_id: span.kind for span in persistence.traces.spans(trace_id="t")}
    assert kinds.pop("agiwo_traces") == "trace"
    assert {"root": "agent", "call": "llm", "tool": "tool"}.items() <= kinds.items()
    ours = persistence.traces.get("t")
    assert ours is not None


def test_spans_that_others_save_in_a_trace_are_left_alone(persistence: Persistence) -> None:
    async def work(storage: TraceStorage) -> None:
        await storage.save_trace(full())
        persistence.traces.save_span(AgentSpan("t", "mine"))
        whole = full()
        await storage.save_trace(whole)
        assert await storage.get_trace("t") == whole

    awaiting(persistence, work)
    assert "mine" in {span.span_id for span in persistence.traces.spans(trace_id="t")}


def test_collections_are_apart(persistence: Persistence) -> None:
    async def work(storage: TraceStorage) -> None:
        other = TraceStorage(lambda: persistence, collection_name="other")
        await storage.save_trace(trace("mine"))
        await other.save_trace(trace("theirs"))
        assert await other.get_trace("mine") is None
        assert [each.trace_id for each in await other.query_traces({})] == ["theirs"]
        assert [each.trace_id for each in await storage.query_traces({})] == ["mine"]

    awaiting(persistence, work)


def test_memory_keeps_the_traces_that_were_saved_last() -> None:
    async def work() -> None:
        storage = InMemoryTraceStorage(buffer_size=2)
        for name in ("a", "b", "a", "c"):
            await storage.save_trace(trace(name))
        assert sorted(each.trace_id for each in await storage.query_traces({})) == ["a", "c"]
        assert await storage.get_trace("b") is None

    asyncio.run(work())


def test_a_storage_is_made_for_a_configuration(tmp_path: Path) -> None:
    assert create_trace_storage(TraceStorageConfig()) is None
    memory = create_trace_storage(TraceStorageConfig("memory", {"buffer_size": 3}))
    assert isinstance(memory, InMemoryTraceStorage)
    assert (memory.buffer_size, InMemoryTraceStorage().buffer_size) == (3, 200)
    path = tmp_path / "agiwo.db"
    made_one = create_trace_storage(TraceStorageConfig("sqlite", {"db_path": path}))
    assert isinstance(made_one, SQLiteTraceStorage)
    assert (made_one.db_path, made_one.collection_name) == (path, "agiwo_traces")
    assert isinstance(
        create_trace_storage(TraceStorageConfig("postgres", {"dsn": "postgresql://h/d"})),
        PostgresTraceStorage,
    )
    with pytest.raises(ValueError, match="Unknown trace_storage type: 'mongodb'"):
        create_trace_storage(TraceStorageConfig("mongodb"))


def test_traces_survive_a_close(tmp_path: Path) -> None:
    async def work() -> None:
        storage = SQLiteTraceStorage(tmp_path / "agiwo.db")
        await storage.initialize()
        assert storage.initialized
        await storage.save_trace(full())
        await storage.close()
        assert not storage.initialized
        again = SQLiteTraceStorage(tmp_path / "agiwo.db")
        assert await again.get_trace("t") is not None
        await again.close()

    asyncio.run(work())
