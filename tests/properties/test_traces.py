"""Whatever was recorded, a trace adds up to its model calls, on every backend alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    AgentSpan,
    ConflictError,
    Persistence,
    Trace,
)
from curio_persistence.backends.memory.store import MemoryStore
from curio_persistence.backends.sqlite.store import SQLiteStore
from curio_persistence.clock import Clock
from curio_persistence.store.base import Store
from curio_persistence.trace_ids import span_id_of, trace_id_of
from tests.support import soak

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
RUNS = ("r1", "r2", "r3", "r4")
TRACES = (*map(trace_id_of, RUNS), "saved")
SPANS = (*map(span_id_of, RUNS), "s1", "s2", "s3", "gone")

moments = st.integers(0, 60_000).map(lambda ms: NOON + timedelta(milliseconds=ms))
no_span = st.none() | st.sampled_from(SPANS)
tokens = st.none() | st.integers(0, 5_000)

runs = st.builds(
    AgentRun,
    st.sampled_from(("planner", "reader")),
    st.sampled_from(RUNS),
    started_at=st.none() | moments,
    finished_at=st.none() | moments,
    created_at=moments,
    status=st.sampled_from(("pending", "running", "completed", "error", "cancelled", "odd")),
    parent_run_id=st.none() | st.sampled_from((*RUNS, "elsewhere")),
)
payloads = st.fixed_dictionaries(
    {"tool_name": st.sampled_from(("search", "fetch")), "name": st.just("part")},
    optional={
        "latency_ms": st.none() | st.floats(-10, 90_000) | st.just("long"),
        "error": st.none() | st.booleans() | st.sampled_from(("", "failed", 0, 3)),
        "kind": st.sampled_from(("retriever", "", 5)),
    },
)
events = st.builds(
    AgentRunEvent,
    st.just("planner"),
    st.sampled_from(RUNS),
    timestamp=moments,
    event_type=st.sampled_from(
        (
            "tool_call_started",
            "tool_call",
            "span_started",
            "span",
            "mcp.call",
            "run_started",
            "note",
        )
    ),
    data=payloads | st.just("no object"),
    span_id=no_span,
    parent_span_id=no_span,
)
calls = st.builds(
    AgentLLMUsage,
    st.just("planner"),
    st.none() | st.sampled_from(RUNS),
    model=st.sampled_from(("", "acme-1")),
    status=st.sampled_from(("success", "error", "cancelled")),
    input_tokens=tokens,
    output_tokens=tokens,
    cache_read_tokens=tokens,
    latency_ms=st.none() | st.integers(0, 90_000),
    cost_usd=st.none() | st.decimals(0, 10, places=6),
    created_at=moments,
    span_id=no_span,
    parent_span_id=no_span,
    trace_id=st.none() | st.sampled_from(TRACES),
    event_id=st.none() | st.sampled_from(("call 1", "call 2")),
)
spans = st.builds(
    AgentSpan,
    st.sampled_from(TRACES),
    st.sampled_from(SPANS),
    st.sampled_from(("", "wrapper")),
    st.sampled_from(("span", "llm", "agent")),
    no_span,
    st.none() | st.sampled_from((*RUNS, "elsewhere")),
    status=st.sampled_from(("unset", "running", "ok", "error")),
    started_at=moments,
    ended_at=st.none() | moments,
    start_nanos=st.integers(0, 999),
    metrics=st.none() | st.just({"tokens.input": 999_999, "token_cost": 5}),
)


@dataclass(frozen=True)
class Step:
    """A change of a database: what is done with which record or run."""

    name: str
    record: Any

    def on(self, persistence: Persistence) -> None:
        record = self.record if isinstance(self.record, str) else replace(self.record)
        match self.name:
            case "run":
                try:
                    persistence.create_agent_run(record)
                except ConflictError:
                    persistence.update_agent_run(record.run_id, record)
            case "event":
                persistence.log_agent_run_event(record)
            case "call":
                persistence.log_llm_usage(record)
            case "span":
                persistence.traces.save_span(record)
            case "delete":
                persistence.delete_agent_run(record)
            case "expire":
                persistence.lifecycle.expire(record, pace=1, check_clock=False)


steps = st.lists(
    st.one_of(
        st.builds(Step, st.just("run"), runs),
        st.builds(Step, st.just("event"), events),
        st.builds(Step, st.just("event"), events),
        st.builds(Step, st.just("call"), calls),
        st.builds(Step, st.just("call"), calls),
        st.builds(Step, st.just("span"), spans),
        st.builds(Step, st.just("delete"), st.sampled_from(RUNS)),
        st.builds(Step, st.just("expire"), st.sampled_from(("50s", "5s"))),
    ),
    max_size=25,
)


def persistence_on(store: Store) -> Persistence:
    """Return a persistence whose clock stands still after all records."""
    return Persistence(store, clock=Clock(lambda: NOON + timedelta(seconds=61)), search=False)


def family(persistence: Persistence, root: str) -> set[str]:
    """Return a run and all that it started, told by the runs themselves."""
    parents = {run.run_id: run.parent_run_id for run in persistence.iter_agent_runs()}
    found, new = {root}, {root}
    while new:
        new = {run for run, parent in parents.items() if parent in new} - found
        found |= new
    return found


def check(persistence: Persistence) -> dict[str, Any]:
    """Check what holds of every trace; return all of them by the ids that lead to them."""
    by_id: dict[str, Any] = {}
    stored = [run.run_id for run in persistence.iter_agent_runs()]
    for ident in (*stored, *TRACES):
        trace = persistence.traces.get(ident)
        by_id[ident] = told(trace)
        if trace is not None:
            check_one(persistence, trace)
    for summary in persistence.traces.iterate():
        trace = persistence.traces.get(summary.trace_id)
        assert trace is not None
        assert trace.summary == summary
    listed = [trace.trace_id for trace in persistence.traces.iterate()]
    assert len(listed) == len(set(listed)) == persistence.traces.count()
    by_id["listed"] = listed
    return by_id


def check_one(persistence: Persistence, trace: Trace) -> None:
    stored = {run.run_id for run in persistence.iter_agent_runs()}
    roots = [span.run_id for span in trace.spans if span.is_run and span.run_id in stored]
    runs_of_it = {run for root in roots if root for run in family(persistence, root)}
    own = [
        call
        for call in persistence.iter_llm_usage()
        if call.run_id in runs_of_it or (call.run_id is None and call.trace_id == trace.trace_id)
    ]
    summary = trace.summary
    assert summary.model_calls == len(own)
    for name in ("input_tokens", "output_tokens", "cache_read_tokens"):
        assert getattr(summary, name) == sum(getattr(call, name) or 0 for call in own)
    costs = [call.cost_usd for call in own if call.cost_usd is not None]
    assert (summary.cost_usd or 0) == sum(costs, Decimal())
    assert summary.unpriced == len(own) - len(costs)
    nodes = [*trace.walk()]
    assert len(nodes) == len(trace.spans) == len({span.span_id for span in trace.spans})
    assert all(0 <= (node.self_ms or 0) <= (node.span.duration_ms or 0) for node in nodes)
    path = trace.critical_path()
    assert all(
        one.after_ms + one.duration_ms == pytest.approx(two.after_ms) for one, two in pairwise(path)
    )
    top = trace.tree()[0].span
    if top.duration_ms:
        assert sum(piece.duration_ms for piece in path) == pytest.approx(top.duration_ms)
    assert trace._repr_html_()


def told(trace: Trace | None) -> Any:
    """Return a trace in a form that is the same on every backend."""
    if trace is None:
        return None
    ids = ("id", "created_at", "updated_at")
    data = trace.to_dict()
    data["spans"] = [{n: v for n, v in s.items() if n not in ids} for s in data["spans"]]
    for span in data["spans"]:
        if ":" in span["span_id"]:  # The id of an event or a call, which databases number.
            del span["span_id"]
    return data


def compare(store: Store, history: list[Step]) -> None:
    memory, other = persistence_on(MemoryStore()), persistence_on(store)
    for step in history:
        step.on(memory)
        step.on(other)
    assert check(other) == check(memory)


@settings(max_examples=25 * soak.FACTOR)
@given(steps)
def test_sqlite_returns_the_same_traces_as_memory(history: list[Step]) -> None:
    store = SQLiteStore(":memory:")
    try:
        compare(store, history)
    finally:
        store.close()


@settings(max_examples=10 * soak.FACTOR)
@given(steps)
def test_postgres_returns_the_same_traces_as_memory(
    postgres: tuple[Store, Callable[[], None]], history: list[Step]
) -> None:
    store, empty = postgres
    empty()
    compare(store, history)
