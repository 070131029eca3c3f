"""Traces: spans of runs, tools, model calls and of the application's own, in one tree."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    AgentSpan,
    InMemoryPersistence,
    InvalidValueError,
    Persistence,
    Trace,
    archive_runs,
    copy_records,
    export_records,
    import_records,
    open_archive,
)
from curio_persistence.runlog.entries import (
    LLMCallCompleted,
    RunFinished,
    RunStarted,
    StepMetrics,
    ToolStepCommitted,
)
from curio_persistence.trace_ids import span_id_of, trace_id_of
from tests.support.hands import Hands

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MS = timedelta(milliseconds=1)


def at(ms: float) -> datetime:
    return NOON + ms * MS


def put(
    persistence: Persistence,
    run_id: str,
    begin: float,
    end: float | None,
    *,
    parent: str | None = None,
    status: str = "completed",
    **fields: object,
) -> None:
    """Store a run that began and ended so many milliseconds after noon."""
    persistence.create_agent_run(
        AgentRun(
            f"agent of {run_id}",
            run_id,
            started_at=at(begin),
            finished_at=None if end is None else at(end),
            created_at=at(begin),
            parent_run_id=parent,
            status=status,
            **fields,  # type: ignore[arg-type]
        )
    )


def save(
    persistence: Persistence, span_id: str, begin: float, end: float | None, **fields: object
) -> AgentSpan:
    """Save a span of run `r`, unless the fields say otherwise."""
    values = {
        "trace_id": trace_id_of("r"),
        "name": span_id,
        "started_at": at(begin),
        "ended_at": None if end is None else at(end),
        **fields,
    }
    persistence.traces.save_span(AgentSpan(span_id=span_id, **values))  # type: ignore[arg-type]
    [stored] = (
        span
        for span in persistence.traces.spans(trace_id=str(values["trace_id"]))
        if span.span_id == span_id
    )
    return stored


def read(persistence: Persistence, ident: str = "r") -> Trace:
    trace = persistence.traces.get(ident)
    assert trace is not None
    return trace


def drawn(trace: Trace) -> list[str]:
    """Return the names of the spans in the order of the tree, each below its parent."""
    return ["  " * node.depth + node.span.name for node in trace.walk()]


# --- saving ---------------------------------------------------------------------------------------


def test_a_saved_span_round_trips(persistence: Persistence) -> None:
    span = AgentSpan(
        "trace",
        "span",
        "look up",
        "retriever",
        "above",
        None,
        "error",
        "Nothing \0 found.",
        at(0),
        at(1.5),
        123,
        999,
        "agent",
        "session",
        "user",
        "step-1",
        {"q": "x"},
        "plain \ud800 text",
        {"http.status": 404},
        {"tokens.input": 7},
        {"tool_details": {"tool_name": "search"}},
        [{"name": "exception"}],
        [{"trace_id": "other"}],
        "resp-1",
        "vendor=1",
        1,
    )
    assert persistence.traces.save_span(span)
    [stored] = persistence.traces.spans()
    assert AgentSpan.from_dict(json.loads(json.dumps(stored.to_dict()))) == stored
    assert (stored.error_message, stored.output) == (span.error_message, span.output)
    assert json.loads(stored.attributes) == {"http.status": 404}
    assert stored.duration_ms == pytest.approx(1.500876)
    assert stored.created_at == stored.updated_at


def test_saving_a_span_again_replaces_it(persistence: Persistence, clock: Hands) -> None:
    clock.put(NOON)
    first = save(persistence, "s", 0, None, status="running", input="x", trace_id="t")
    clock.move(seconds=1)
    ended = AgentSpan("t", "s", "named", ended_at=at(5), status="ok")
    assert not persistence.traces.save_span(ended)
    [again] = persistence.traces.spans()
    assert (again.id, again.created_at) == (first.id, first.created_at)
    assert again.updated_at == NOON + timedelta(seconds=1)
    assert (again.name, again.status, again.input) == ("named", "ok", None)
    assert again.started_at == at(0)
    assert again.duration_ms == 5


def test_a_span_without_a_begin_begins_now(persistence: Persistence, clock: Hands) -> None:
    clock.put(NOON)
    persistence.traces.save_span(AgentSpan("t", "s"))
    assert [span.started_at for span in persistence.traces.spans()] == [NOON]


def test_many_spans_are_saved_all_or_none(persistence: Persistence) -> None:
    spans = [AgentSpan("t", f"s{n}", started_at=at(n)) for n in range(1_200)]
    assert persistence.traces.save_spans(iter(spans)) == 1_200
    assert persistence.traces.save_spans([spans[0], AgentSpan("t", "new")]) == 1
    with pytest.raises(InvalidValueError, match="Record 1 of the batch"):
        persistence.traces.save_spans([AgentSpan("t2", "s"), AgentSpan("t2", "")])
    assert len(list(persistence.traces.spans(trace_id="t"))) == 1_201
    assert list(persistence.traces.spans(trace_id="t2")) == []


def test_a_span_gets_the_run_of_its_trace(persistence: Persistence) -> None:
    put(persistence, "r", 0, 10)
    uuid = "01a2283b-870b-7000-8000-00000000000a"
    put(persistence, uuid, 0, 10)
    assert save(persistence, "s", 1, 2).run_id == "r"
    assert save(persistence, "s", 1, 2, trace_id=uuid.replace("-", "")).run_id == uuid
    assert save(persistence, "s", 1, 2, trace_id="elsewhere").run_id is None
    assert [span.span_id for span in persistence.traces.spans(run_id="r")] == ["s"]


@pytest.mark.before_io
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("trace_id", ""),
        ("span_id", "x" * 256),
        ("kind", ""),
        ("status", "done"),
        ("start_nanos", 1000),
        ("started_at", "yesterday"),
        ("flags", 1.5),
        ("name", 5),
    ],
)
def test_a_bad_span_is_refused(persistence: Persistence, field: str, value: object) -> None:
    values = {"trace_id": "t", "span_id": "s", field: value}
    with pytest.raises(InvalidValueError) as caught:
        persistence.traces.save_span(AgentSpan(**values))  # type: ignore[arg-type]
    assert caught.value.field == f"AgentSpan.{field}"


# --- one tree -------------------------------------------------------------------------------------


def test_a_recorded_run_is_a_trace(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="editor", objective="Edit it", session_id="s") as run:
        with run.tool("search", {"q": "x"}) as call:
            with persistence.record_run(agent_id="helper") as child:
                child.llm_call(model="acme-1", input_tokens=10, output_tokens=3, cost_usd=0.5)
            call.result = "found"
        with run.span("retrieve", kind="retriever", input={"k": 3}) as span:
            with run.llm(model="acme-2", prompt="Say hello") as model:
                model.response = "hello"
            span.output = ["a"]
        persistence.traces.save_span(
            AgentSpan(run.trace_id, "own", "parse", parent_span_id=span.span_id, status="ok")
        )
    trace = read(persistence, run.run_id)
    assert trace.trace_id == run.trace_id
    assert drawn(trace) == [
        "editor",
        "  search",
        "    helper",
        "      acme-1",
        "  retrieve",
        "    acme-2",
        "    parse",
    ]
    kinds = [node.span.kind for node in trace.walk()]
    assert kinds == ["agent", "tool", "agent", "llm", "retriever", "llm", "span"]
    _, tool, _, _, retrieve, second, _ = (node.span for node in trace.walk())
    assert (tool.input, tool.output) == ('{"q": "x"}', "found")
    assert (retrieve.input, retrieve.output) == ('{"k": 3}', '["a"]')
    assert (second.input, second.output) == ("Say hello", "hello")
    assert {span.status for span in trace.spans} == {"ok"}
    told = trace.summary
    assert (told.name, told.session_id, told.input) == ("editor", "s", "Edit it")
    assert (told.spans, told.runs, told.model_calls, told.tool_calls) == (7, 2, 2, 1)
    assert (told.errors, told.depth) == (0, 3)
    assert (told.input_tokens, told.output_tokens) == (10, 3)
    assert (told.cost_usd, told.unpriced) == (Decimal("0.5"), 1)


def test_a_trace_is_found_by_all_of_its_ids(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="a") as run, persistence.record_run(agent_id="b") as child:
        child.log("note")
    trace = read(persistence, run.run_id)
    for ident in (run.trace_id, child.run_id, trace_id_of(child.run_id)):
        assert persistence.traces.get(ident) == trace
    assert persistence.traces.find_ids(run.trace_id[:12]) == [run.trace_id]
    put(persistence, "named", 0, 1)
    assert read(persistence, trace_id_of("named")).root.run_id == "named"
    assert persistence.traces.find_ids(trace_id_of("named")[:8]) == [trace_id_of("named")]
    save(persistence, "s", 0, 1, trace_id="abcdefab")
    assert persistence.traces.find_ids("abcdefab") == ["abcdefab"]
    assert persistence.traces.find_ids("xyz") == []
    assert persistence.traces.get("unknown") is None


def test_a_run_log_is_a_trace(persistence: Persistence) -> None:
    ids = {"run_id": "r", "agent_id": "guide"}
    took = StepMetrics(duration_ms=40)
    call = StepMetrics(
        duration_ms=100, input_tokens=12, output_tokens=3, token_cost=0.25, model_name="m"
    )
    tool = {"step_id": "s", "role": "tool", "metrics": took}
    persistence.runlog.append(
        "session",
        [
            RunStarted(**ids, user_input="Where?", created_at=at(0)),
            LLMCallCompleted(**ids, metrics=call, created_at=at(110)),
            ToolStepCommitted(**ids, **tool, name="find", content="here", created_at=at(150)),
            ToolStepCommitted(
                **ids, **tool, name="go", content="no way", is_error=True, created_at=at(200)
            ),
            RunFinished(**ids, response="There.", created_at=at(210)),
        ],
    )
    trace = read(persistence)
    assert drawn(trace) == ["guide", "  m", "  find", "  go"]
    assert [(span.duration_ms, span.status) for span in trace.spans] == [
        (210, "ok"),
        (100, "ok"),
        (40, "ok"),
        (40, "error"),
    ]
    assert (trace.spans[2].output, trace.spans[3].error_message) == ("here", "no way")
    told = next(iter(persistence.traces.query()))
    assert told == trace.summary
    assert (told.tool_calls, told.errors, told.input_tokens, told.cost_usd) == (
        2,
        1,
        12,
        Decimal("0.25"),
    )


def test_a_tool_call_that_is_logged_stands_in_the_span_around_it(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="a", run_id="r") as run:
        run.log("tool_call", {"tool_name": "first", "latency_ms": 0})
        with run.span("part"):
            run.log("mcp.call", {"server": "docs", "tool": "second", "latency_ms": 0})
            with run.llm(model="m"):
                run.log("tool_call", {"tool_name": "third", "error": "no"})
    trace = read(persistence)
    assert drawn(trace) == ["a", "  first", "  part", "    docs/second", "    m", "      third"]
    assert [span.status for span in trace.spans if span.status != "ok"] == ["error"]


def test_a_run_that_only_events_name_is_found_by_its_trace(persistence: Persistence) -> None:
    for run_id in ("r", "01a2283b-870b-7000-8000-00000000000a"):
        persistence.log_agent_run_event(AgentRunEvent("a", run_id, "", at(0), "note"))
        trace_id = trace_id_of(run_id)
        assert read(persistence, trace_id).root.run_id == run_id
        assert save(persistence, "s", 1, 2, trace_id=trace_id).run_id == run_id


def test_a_saved_span_may_be_around_the_outermost_run(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="a", run_id="r") as run:
        run.llm_call(model="m")
    above = AgentSpan(run.trace_id, "request", "GET /", started_at=NOON, ended_at=at(9))
    persistence.traces.save_span(above)
    persistence.traces.save_span(
        AgentSpan(run.trace_id, run.span_id, parent_span_id="request", started_at=at(1))
    )
    trace = read(persistence)
    assert drawn(trace) == ["GET /", "  a", "    m"]
    assert (trace.root.run_id, trace.summary.name, trace.summary.depth) == ("r", "a", 2)
    assert sum(part.duration_ms for part in trace.critical_path()) == pytest.approx(9)


def test_failures_are_told(persistence: Persistence) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        persistence.record_run(agent_id="a", run_id="f") as run,
        run.tool("divide"),
    ):
        raise ZeroDivisionError("by zero")
    with persistence.record_run(agent_id="a", run_id="r") as run:
        run.llm_call(model="m", error=ValueError("too long"))
    failed = read(persistence, "f")
    assert [span.status for span in failed.spans] == ["error", "error"]
    assert failed.spans[1].error_message == "ZeroDivisionError: by zero"
    assert (failed.summary.status, failed.summary.errors) == ("error", 2)
    trace = read(persistence)
    assert (trace.summary.status, trace.summary.errors) == ("ok", 1)
    assert trace.spans[1].error_message == "ValueError: too long"


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("pending", "running"),
        ("running", "running"),
        ("completed", "ok"),
        ("error", "error"),
        ("timeout", "error"),
        ("cancelled", "cancelled"),
        ("of my own", "ok"),
    ],
)
def test_statuses_of_runs_are_told_in_those_of_spans(
    persistence: Persistence, status: str, told: str
) -> None:
    put(persistence, "r", 0, 1, status=status)
    assert read(persistence).summary.status == told
    for asked in ("ok", "error", "cancelled", "running", "unset"):
        assert persistence.traces.count(status=asked) == int(asked == told)
    assert persistence.traces.count(status=["error", told]) == 1


def test_what_runs_has_no_end(persistence: Persistence) -> None:
    with (
        persistence.record_run(agent_id="a") as run,
        run.tool("slow", {"n": 1}),
        run.span("part"),
    ):
        trace = read(persistence, run.run_id)
    assert [span.status for span in trace.spans] == ["running"] * 3
    assert [span.name for span in trace.spans] == ["a", "slow", "part"]
    assert [span.duration_ms for span in trace.spans] == [None] * 3
    assert trace.spans[1].input == '{"n": 1}'
    assert trace.critical_path()
    assert {node.self_ms for node in trace.walk()} == {None}


def test_an_end_that_was_never_recorded_is_not_running(persistence: Persistence) -> None:
    put(persistence, "r", 0, 10)
    persistence.log_agent_run_event(
        AgentRunEvent("a", "r", "", at(1), "tool_call_started", {"tool_name": "t"}, span_id="s")
    )
    [_, tool] = read(persistence).spans
    assert (tool.name, tool.status, tool.ended_at) == ("t", "unset", None)


def test_what_is_saved_counts_for_more_than_what_is_derived(persistence: Persistence) -> None:
    put(persistence, "r", 0, 10)
    persistence.log_llm_usage(
        AgentLLMUsage(
            "a", "r", model="m", span_id="s", latency_ms=4, created_at=at(6), input_tokens=3
        )
    )
    save(persistence, "s", 2.25, 5.5, name="", attributes={"region": "eu"}, start_nanos=7)
    save(persistence, span_id_of("r"), 0, 1, name="renamed")
    root, call = read(persistence).spans
    assert (root.name, root.kind, root.duration_ms) == ("renamed", "agent", 1)
    assert (call.name, call.kind, call.status, call.input_tokens) == ("m", "llm", "ok", 3)
    assert call.duration_ms == pytest.approx(3.25 - 7e-6)
    assert json.loads(call.attributes) == {"region": "eu"}


# --- odd trees ------------------------------------------------------------------------------------


def test_what_is_saved_leaves_a_span_to_the_run_of_its_record(persistence: Persistence) -> None:
    put(persistence, "r", 0, 9)
    persistence.log_llm_usage(AgentLLMUsage("a", "r", model="m", created_at=at(4), span_id="call"))
    save(persistence, span_id_of("r"), 0, 9, run_id="elsewhere", kind="agent")
    save(persistence, "call", 1, 4, run_id="elsewhere")
    trace = read(persistence)
    assert [span.run_id for span in trace.spans] == ["r", "r"]
    assert (trace.summary.run_id, trace.summary.runs) == ("r", 1)
    assert drawn(trace) == [span_id_of("r"), "  call"]


def test_the_first_of_several_calls_names_their_span(persistence: Persistence) -> None:
    for run_id in ("r", "child"):
        put(persistence, run_id, 0, 9, parent=None if run_id == "r" else "r")
    for model, run_id, end in (("third", "r", 8), ("first", "child", 2), ("second", "r", 5)):
        call = AgentLLMUsage("a", run_id, model=model, created_at=at(end), span_id="call")
        persistence.log_llm_usage(call)
    [span] = (span for span in read(persistence).spans if span.span_id == "call")
    assert (span.name, span.run_id, span.ended_at) == ("first", "child", at(2))
    assert span.model_calls == 3


def test_the_first_of_several_runs_is_the_root_of_what_is_saved(persistence: Persistence) -> None:
    for run_id, begin in (("z", 5), ("b", 0), ("m", 9)):
        put(persistence, run_id, begin, 10)
    for run_id in ("m", "b", "z"):
        save(persistence, f"of {run_id}", 6, 9, trace_id="shared", run_id=run_id)
    assert read(persistence, "shared").summary.run_id == "z"


def test_a_late_parent_is_shown_as_missing_until_it_comes(persistence: Persistence) -> None:
    put(persistence, "r", 0, 10)
    save(persistence, "inner", 2, 3, parent_span_id="outer")
    trace = read(persistence)
    assert drawn(trace) == ["agent of r", "  inner"]
    assert [node.parent_missing for node in trace.walk()] == [False, True]
    save(persistence, "outer", 1, 4)
    trace = read(persistence)
    assert drawn(trace) == ["agent of r", "  outer", "    inner"]
    assert not any(node.parent_missing for node in trace.walk())


def test_a_run_whose_parent_is_missing_is_a_trace_of_its_own(persistence: Persistence) -> None:
    put(persistence, "r", 5, 10, parent="late")
    trace = read(persistence)
    assert (trace.trace_id, trace.tree()[0].parent_missing) == (trace_id_of("r"), True)
    assert [each.run_id for each in persistence.traces.query()] == ["r"]
    put(persistence, "late", 0, 20)
    assert read(persistence).root.run_id == "late"
    assert [each.run_id for each in persistence.traces.query()] == ["late"]


def test_a_trace_without_a_run_has_one_root(persistence: Persistence) -> None:
    save(persistence, "b", 1, 2, trace_id="t", parent_span_id="a")
    save(persistence, "c", 1, 2, trace_id="t", parent_span_id="gone")
    assert drawn(read(persistence, "t")) == ["b", "c"]
    assert persistence.traces.count() == 0
    save(persistence, "a", 0, 3, trace_id="t")
    trace = read(persistence, "t")
    assert drawn(trace) == ["a", "  b", "c"]
    assert [each.trace_id for each in persistence.traces.query()] == ["t"]


def test_clocks_that_differ_are_told(persistence: Persistence) -> None:
    put(persistence, "r", 100, 200)
    save(persistence, "early", 40, 110)
    save(persistence, "backwards", 150, 120)
    early, backwards = read(persistence).tree()[0].children
    assert (early.early_ms, early.span.duration_ms) == (60, 70)
    assert (backwards.early_ms, backwards.span.duration_ms) == (0, 0)
    assert read(persistence).tree()[0].self_ms == 90


def test_parents_in_a_circle_are_opened_at_the_earliest(persistence: Persistence) -> None:
    put(persistence, "r", 0, 10)
    for span_id, begin, parent in (("x", 3, "z"), ("y", 1, "x"), ("z", 2, "y"), ("own", 4, "own")):
        save(persistence, span_id, begin, 9, parent_span_id=parent)
    trace = read(persistence)
    assert drawn(trace) == ["agent of r", "  own", "y", "  z", "    x"]
    assert [node.in_circle for node in trace.walk()] == [False, False, True, False, False]
    assert len(trace.spans) == 5
    assert [*persistence.traces.query()] == [trace.summary]


def test_runs_in_a_circle_are_one_trace(persistence: Persistence) -> None:
    for run_id, begin, parent in (("r", 0, "c"), ("b", 1, "r"), ("c", 2, "b")):
        put(persistence, run_id, begin, 10, parent=parent)
    trace = read(persistence, "b")
    assert drawn(trace) == ["agent of r", "  agent of b", "    agent of c"]
    assert all(read(persistence, run_id) == trace for run_id in ("r", "c"))
    assert persistence.traces.count() == 0


@pytest.mark.slow
def test_spans_nest_ten_thousand_deep(persistence: Persistence) -> None:
    put(persistence, "r", 0, 20_000)
    persistence.traces.save_spans(
        AgentSpan(
            trace_id_of("r"),
            f"s{n}",
            parent_span_id=f"s{n - 1}" if n else None,
            started_at=at(n),
            ended_at=at(20_000 - n),
        )
        for n in range(10_000)
    )
    trace = read(persistence)
    assert trace.summary.depth == 10_000
    assert sum(segment.duration_ms for segment in trace.critical_path()) == pytest.approx(20_000)
    assert len(json.dumps(trace.to_dict())) > 10_000
    assert trace._repr_html_()


def test_runs_nest_as_deeply_as_they_like(persistence: Persistence) -> None:
    persistence.create_agent_runs(
        AgentRun("a", f"r{n}", parent_run_id=f"r{n - 1}" if n else None, created_at=at(n))
        for n in range(300)
    )
    trace = read(persistence, "r299")
    assert (trace.root.run_id, trace.summary.depth, trace.summary.runs) == ("r0", 299, 300)


# --- time -----------------------------------------------------------------------------------------


def test_self_time_is_what_nothing_below_covers(persistence: Persistence) -> None:
    put(persistence, "r", 0, 100)
    for name, begin, end in (("a", 10, 40), ("b", 30, 50), ("c", 90, 120)):
        save(persistence, name, begin, end)
    root = read(persistence).tree()[0]
    assert root.self_ms == 50
    assert [child.self_ms for child in root.children] == [30, 20, 30]


def test_the_critical_path_is_what_the_root_waited_for(persistence: Persistence) -> None:
    put(persistence, "r", 0, 100)
    save(persistence, "short", 10, 30)
    save(persistence, "long", 10, 60)
    save(persistence, "inside", 20, 50, parent_span_id="long")
    save(persistence, "after", 70, 140)
    path = [(s.span.name, s.after_ms, s.duration_ms) for s in read(persistence).critical_path()]
    assert path == [
        ("agent of r", 0, 10),
        ("long", 10, 10),
        ("inside", 20, 30),
        ("long", 50, 10),
        ("agent of r", 60, 10),
        ("after", 70, 30),
    ]


# --- lists ----------------------------------------------------------------------------------------


@pytest.fixture
def several(persistence: Persistence) -> Persistence:
    """Ten traces: nine runs with children, and one that is only saved."""
    for number in range(9):
        fields = {"session_id": f"s{number % 3}", "user_id": f"u{number % 2}"}
        status = "error" if number % 4 == 3 else "completed"
        end = None if number == 8 else 10 * number + 7 * number
        put(persistence, f"r{number}", 10 * number, end, status=status, **fields)
        put(persistence, f"c{number}", 10 * number + 1, 10 * number + 2, parent=f"r{number}")
        persistence.log_llm_usage(
            AgentLLMUsage("a", f"c{number}", model="m", input_tokens=number, cost_usd=number)
        )
    save(persistence, "root", 25, 125, trace_id="saved", agent_id="own", session_id="s0")
    save(persistence, "below", 26, 30, trace_id="saved", parent_span_id="root", status="error")
    return persistence


def test_pages_list_each_trace_once_in_order(several: Persistence) -> None:
    traces = several.traces
    everything = [each.run_id or each.trace_id for each in traces.query(limit=None)]
    assert everything == ["r8", "r7", "r6", "r5", "r4", "r3", "saved", "r2", "r1", "r0"]
    found, cursor = [], None
    while True:
        page = traces.query(limit=3, cursor=cursor)
        found += [each.run_id or each.trace_id for each in page]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == everything
    oldest = [each.run_id or each.trace_id for each in traces.iterate(order="oldest")]
    assert oldest == everything[::-1]
    assert traces.count() == 10
    assert len(traces.query(limit=0)) == 0


def test_a_summary_is_that_of_the_whole_trace(several: Persistence) -> None:
    for told in several.traces.iterate():
        assert read(several, told.trace_id).summary == told
        assert type(told).from_dict(json.loads(json.dumps(told.to_dict()))) == told


def test_traces_are_chosen_by_their_roots(several: Persistence) -> None:
    def chosen(**filters: object) -> list[str]:
        found = [each.run_id or each.trace_id for each in several.traces.query(**filters)]  # type: ignore[arg-type]
        assert several.traces.count(**filters) == len(found)  # type: ignore[arg-type]
        assert len(list(several.traces.iterate(**filters))) == len(found)  # type: ignore[arg-type]
        return found

    assert chosen(agent_id="own") == ["saved"]
    assert chosen(agent_id=["own", "agent of r1", "agent of c1"]) == ["saved", "r1"]
    assert chosen(session_id="s0") == ["r6", "r3", "saved", "r0"]
    assert chosen(user_id="u1") == ["r7", "r5", "r3", "r1"]
    assert chosen(status="error") == ["r7", "r3"]
    assert chosen(since=at(25), until=at(50)) == ["r4", "r3", "saved"]
    assert chosen(min_duration_ms=49) == ["r7", "saved"]
    assert chosen(min_duration_ms=14, max_duration_ms=21) == ["r3", "r2"]
    assert chosen(max_duration_ms=0) == ["r0"]
    assert "r8" not in chosen(min_duration_ms=0)


@pytest.mark.before_io
def test_a_bad_filter_is_refused(persistence: Persistence) -> None:
    for value in (-1, float("nan"), "5", True):
        with pytest.raises(InvalidValueError, match="min_duration_ms is a number"):
            persistence.traces.query(min_duration_ms=value)  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="must be one of unset, running"):
        persistence.traces.count(status="completed")
    with pytest.raises(InvalidValueError, match="order is"):
        persistence.traces.query(order="up")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="is not a filter"):
        persistence.traces.query(agent="a")  # type: ignore[call-arg]
    with pytest.raises(InvalidValueError, match="cursor is damaged"):
        persistence.traces.query(cursor="x")


# --- the life of spans ----------------------------------------------------------------------------


def test_spans_go_with_their_run(persistence: Persistence) -> None:
    put(persistence, "r", 0, 10)
    put(persistence, "other", 0, 10)
    save(persistence, "s", 1, 2)
    kept = save(persistence, "s", 1, 2, trace_id=trace_id_of("other"))
    assert persistence.delete_agent_run("r")
    assert list(persistence.traces.spans()) == [kept]
    assert persistence.traces.get(trace_id_of("r")) is None


def test_the_cost_of_a_deleted_child_run_stays_in_its_trace(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="a") as run, persistence.record_run(agent_id="b") as child:
        child.llm_call(model="m", prompt="words", input_tokens=5, cost_usd=2)
    before = read(persistence, run.run_id).summary
    persistence.delete_agent_run(child.run_id)
    trace = read(persistence, run.run_id)
    assert trace.summary.cost_usd == before.cost_usd == 2
    assert (trace.summary.runs, trace.summary.input_tokens) == (1, 5)
    assert (trace.spans[1].input, trace.spans[1].kind) == (None, "llm")
    assert next(iter(persistence.traces.query())) == trace.summary


def test_a_saved_trace_can_be_deleted(persistence: Persistence) -> None:
    save(persistence, "a", 0, 1, trace_id="t")
    kept = save(persistence, "b", 0, 1, trace_id="t2")
    assert persistence.traces.delete("t") == 1
    assert persistence.traces.delete("t") == 0
    assert list(persistence.traces.spans()) == [kept]
    [line] = persistence.audit.query()
    assert (line.action, line.resource, line.resource_type) == ("delete", "t", "trace")


def test_spans_without_a_stored_run_expire_by_their_own_age(
    persistence: Persistence, clock: Hands
) -> None:
    clock.put(NOON + timedelta(days=100))
    old, new = NOON, NOON + timedelta(days=99)
    for name, when in (("old", old), ("new", new)):
        put(persistence, name, (when - NOON) / MS, (when - NOON) / MS)
        spans = (AgentSpan(name, "s", started_at=when), AgentSpan(name, "t", run_id=name))
        persistence.traces.save_spans(spans)
        persistence.traces.save_span(AgentSpan(name, "u", run_id="gone", started_at=when))
    planned = persistence.lifecycle.expire("90d", dry_run=True)
    done = persistence.lifecycle.expire("90d", pace=1)
    assert planned.spans == done.spans == 3
    assert {span.trace_id for span in persistence.traces.spans()} == {"new"}


def test_spans_are_copied_exported_and_imported(persistence: Persistence, tmp_path: Path) -> None:
    put(persistence, "r", 0, 10)
    saved = [save(persistence, "a", 1, 2, attributes={"x": 1}), save(persistence, "b", 2, None)]
    export_records(persistence, tmp_path / "all.jsonl")
    with InMemoryPersistence() as copy, InMemoryPersistence() as imported:
        copy_records(persistence, copy)
        import_records(tmp_path / "all.jsonl", imported)
        for other in (copy, imported):
            assert list(other.traces.spans(order="oldest")) == saved
            assert read(other) == read(persistence)
            assert other.runs.hash("r") == persistence.runs.hash("r")


def test_traces_are_read_from_an_archive(
    persistence: Persistence, place: Path, clock: Hands
) -> None:
    put(persistence, "r", 0, 10)
    put(persistence, "child", 2, 8, parent="r")
    data = {"tool_name": "t", "latency_ms": 5, "error": "no"}
    persistence.log_agent_run_event(AgentRunEvent("a", "child", "", at(7), "tool_call", data))
    persistence.log_llm_usage(AgentLLMUsage("a", "child", input_tokens=4, created_at=at(7)))
    save(persistence, "own", 1, 9)
    clock.put(NOON + timedelta(days=100))
    before, listed = read(persistence, "child"), list(persistence.traces.query())
    assert archive_runs(persistence, place, older_than="90d").spans == 1
    assert persistence.traces.get("child") is None
    with open_archive(persistence, place) as both:
        assert read(both, trace_id_of("r")).summary == before.summary
        assert drawn(read(both, "child")) == drawn(before)
        filters = {"status": "ok", "agent_id": "agent of r", "min_duration_ms": 1}
        assert list(both.traces.query(**filters)) == listed  # type: ignore[arg-type]
        assert both.traces.count(user_id="ann") == 0


def test_threads_that_save_one_span_leave_one(persistence: Persistence) -> None:
    def write(name: str) -> None:
        for number in range(10):
            span = AgentSpan("t", f"s{number}", name, started_at=at(number), status="ok")
            persistence.traces.save_spans([span, AgentSpan("t", "root", started_at=NOON)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, ("a", "b", "c", "d")))
    assert len(read(persistence, "t").spans) == 11
