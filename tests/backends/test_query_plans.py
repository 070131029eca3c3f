"""Every statement finds its rows by the index that was made for it, and none sorts what an index
has in order. Otherwise a call would be fast in every test and slow in a year's database."""

from __future__ import annotations

import re
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    AgentSpan,
    Persistence,
    PostgresPersistence,
    SQLitePersistence,
    tables,
)
from curio_persistence.store.filters import Filter, Order
from tests.conftest import PostgresServers
from tests.support.backends import chosen
from tests.support.plans import (
    RUN_ID,
    SCORES_OF_RUN,
    SOURCE_ID,
    SPAN,
    STEP_OF_RUN,
    TICKET_ID,
    Plan,
    Planner,
    PostgresPlanner,
    SQLitePlanner,
)

pytestmark = pytest.mark.slow

ROWS = 100_000
"""Rows in each table. Ten runs at a time are active, with ten events and model calls each, of a
hundred agents. A thousand rows have the same time; one event in two hundred has a rare type."""

_NUMBERS = f"""
    WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS} - 1),
    m (i, run) AS (SELECT i, (i / 100) * 10 + i % 10 FROM n)
"""
_TEXT = "x" * 500

# Valid in both databases; braces mark the parts in which they differ.
FILL = [
    f"""
    {_NUMBERS}
    INSERT INTO {{schema}}agent_runs (agent_id, run_id, parent_run_id, session_id, user_id, source,
        project, status, total_iterations, final_synthesis_output, created_at, updated_at,
        indexed_at)
    SELECT 'agent ' || (i % 100), 'run ' || i, CASE WHEN i % 5 = 0 THEN 'run ' || (i / 10) END,
        CASE WHEN i % 4 = 0 THEN 'session ' || (i % 500) END,
        CASE WHEN i % 4 = 0 THEN 'user ' || (i % 500) END,
        CASE WHEN i % 4 = 1 THEN 'tool ' || (i % 50) END,
        CASE WHEN i % 4 = 1 THEN 'project ' || (i % 500) END,
        CASE WHEN i / 7 % 2000 = 0 THEN 'running' WHEN i % 7 = 0 THEN 'error' ELSE 'completed' END,
        i % 9, '{_TEXT}', {{time}}, {{time}}, CASE WHEN i % 997 > 0 THEN {{time}} END
    FROM n
    """,
    f"""
    {_NUMBERS}
    INSERT INTO {{schema}}agent_run_events (agent_id, run_id, event_type, data, timestamp,
        created_at, content_scope, tool_name, tool_latency_us, tool_error, event_id, session_id,
        level, severity, metric_name, metric_value, seq)
    SELECT 'agent ' || (run % 100), 'run ' || run,
        CASE WHEN i % 199 = 3 THEN 'rare' ELSE 'type ' || (i % 11) END, '{_TEXT[:100]}', {{time}},
        {{time}}, CASE WHEN i % 31 = 0 THEN 'sc' || (1000 + i % 997) END,
        CASE WHEN i % 11 = 0 THEN 'tool ' || (i % 7) END,
        CASE WHEN i % 11 = 0 THEN i % 1000 END, CASE WHEN i % 11 = 0 THEN 0 END,
        CASE WHEN i % 4 = 0 THEN 'event ' || i END,
        CASE WHEN run % 4 = 0 THEN 'session ' || (run % 500) END,
        CASE WHEN i % 50 = 13 THEN 'error' WHEN i % 50 = 23 THEN 'warning' ELSE 'info' END,
        CASE WHEN i % 50 = 13 THEN 40 WHEN i % 50 = 23 THEN 30 END,
        CASE WHEN i % 20 = 9 THEN 'metric ' || (i % 3) END,
        CASE WHEN i % 20 = 9 THEN i * 0.5 END, CASE WHEN run % 8 = 0 THEN i + 1 END
    FROM m
    """,
    f"""
    {_NUMBERS}
    INSERT INTO {{schema}}agent_llm_usage (agent_id, run_id, model, prompt, input_tokens,
        output_tokens, latency_ms, cost_usd, created_at, event_id, content_scope)
    SELECT 'agent ' || (run % 100), CASE WHEN i % 13 > 0 THEN 'run ' || run END,
        'model ' || (i % 3), '{_TEXT}', i % 1000, i % 100, i % 5000, i % 10, {{time}},
        CASE WHEN i % 4 = 0 THEN 'call ' || i END,
        CASE WHEN i % 31 = 0 THEN 'sc' || (1000 + i % 997) END
    FROM m
    """,
    f"""
    {_NUMBERS}
    INSERT INTO {{schema}}agent_scores (run_id, name, source, author, value, created_at, updated_at)
    SELECT 'run ' || i, 'name ' || (i % 300), 'human', 'author', i % 10, {{time}}, {{time}} FROM n
    """,
    f"""
    {_NUMBERS}
    INSERT INTO {{schema}}agent_approvals (ticket_id, run_id, agent_id, tool, arguments_hash,
        status, requested_at, expires_at, created_at, updated_at)
    SELECT 'ticket ' || i, 'run ' || i, 'agent', 'tool', '0',
        CASE WHEN i % 700 = 0 THEN 'pending' ELSE 'approved' END, {{time}}, {{time}}, {{time}},
        {{time}}
    FROM n
    """,
    f"""
    {_NUMBERS}
    INSERT INTO {{schema}}agent_spans (trace_id, span_id, parent_span_id, run_id, name, response_id,
        source_id, attributes, started_at, created_at, updated_at)
    SELECT 'trace ' || (i / 10), 'span ' || i, CASE WHEN i % 10 > 0 THEN 'span ' || (i - 1) END,
        CASE WHEN i % 20 > 9 THEN 'run ' || i END, 'name', CASE WHEN i % 5 = 0 THEN 'r ' || i END,
        CASE WHEN i % 2 = 0 THEN 'source ' || (i % 5000) END,
        '{_TEXT}', {{time}}, {{time}}, {{time}}
    FROM n
    """,
    f"""
    {_NUMBERS}
    INSERT INTO {{schema}}agent_span_sources (source_id, created_at, updated_at)
    SELECT 'source ' || i, {{time}}, {{time}} FROM n WHERE i < 5000
    """,
    f"""
    {_NUMBERS}
    INSERT INTO {{schema}}agent_snapshots (run_id, step_id, state, created_at, updated_at)
    SELECT 'run ' || (i / 10), 'step ' || i, '{_TEXT}', {{time}}, {{time}} FROM n
    """,
    f"""
    {_NUMBERS}
    INSERT INTO {{schema}}agent_sessions (session_id, agent_id, user_id, status, started_at,
        last_event_at, created_at)
    SELECT 'chat ' || i, 'agent ' || (i % 100), 'user ' || (i % 500),
        CASE WHEN i % 700 = 0 THEN 'error' ELSE 'active' END, {{time}}, {{time}}, {{time}}
    FROM n
    """,
    f"""
    {_NUMBERS}
    INSERT INTO {{schema}}agents (agent_id, name, first_seen_at, last_seen_at, created_at)
    SELECT 'bot ' || i, 'bot', {{time}}, {{time}}, {{time}} FROM n
    """,
]


class Question(NamedTuple):
    """A call, and the indexes that its statements must use."""

    ask: Callable[[Persistence], object]
    indexes: set[str]
    sorts: bool = False
    """True if PostgreSQL may sort the rows: if they are few, or all of many are wanted."""
    leaving_out: bool = False
    """True if fetched rows may be filtered out afterwards: those of one run."""


SIGNS_OF_LIFE = {
    "agent_runs_by_status",
    "agent_runs_by_parent",
    "agent_run_events_by_run",
    "agent_llm_usage_by_run",
}

READS = {
    "runs that the search index lacks": Question(
        lambda p: p.search._indexing._waiting(tables.RUNS),
        {"agent_runs_unindexed"},
    ),
    "newest runs": Question(lambda p: p.get_agent_runs(), {"agent_runs_by_time"}),
    "a later page of runs": Question(
        lambda p: p.get_agent_runs(limit=10, offset=100), {"agent_runs_by_time"}
    ),
    "newest runs of an agent": Question(
        lambda p: p.get_agent_runs("agent 3"), {"agent_runs_by_agent"}
    ),
    "a run": Question(lambda p: p.get_agent_run("run 7"), {RUN_ID}, sorts=True),
    "events of a run": Question(
        lambda p: p.get_agent_run_events("run 7"), {"agent_run_events_by_run"}, sorts=True
    ),
    "events of a run by type": Question(
        lambda p: p.get_agent_run_events("run 7", "type 1"),
        {"agent_run_events_by_run"},
        sorts=True,
        leaving_out=True,
    ),
    "runs that finished first": Question(
        lambda p: p._store.select(
            tables.RUNS,
            (Filter("finished_at", "<", "2031-01-01T00:00:00.000000+00:00"),),
            order=(Order("finished_at"), Order("id")),
            limit=10,
        ),
        {"agent_runs_by_finish"},
    ),
    "runs that finished first, and have their words": Question(
        lambda p: p._store.select(
            tables.RUNS,
            (
                Filter("finished_at", "<", "2031-01-01T00:00:00.000000+00:00"),
                Filter("stripped", "is null"),
            ),
            order=(Order("finished_at"), Order("id")),
            limit=10,
        ),
        {"agent_runs_with_content"},
    ),
    "newest usage": Question(lambda p: p.get_llm_usage(), {"agent_llm_usage_by_time"}),
    "newest usage of an agent": Question(
        lambda p: p.get_llm_usage("agent 3"), {"agent_llm_usage_by_agent"}
    ),
    "usage of a run": Question(
        lambda p: p.get_llm_usage(run_id="run 7"), {"agent_llm_usage_by_run"}, sorts=True
    ),
    "usage of a run and its agent": Question(
        lambda p: p.get_llm_usage("agent 7", "run 7"),
        {"agent_llm_usage_by_run"},
        sorts=True,
        leaving_out=True,
    ),
    "scores of a run": Question(lambda p: p.scores.list("run 7"), {SCORES_OF_RUN}, sorts=True),
    "newest scores": Question(lambda p: p.scores.query(), {"agent_scores_by_time"}),
    "newest scores of a name": Question(
        lambda p: p.scores.query(name="name 3"), {"agent_scores_by_name"}, sorts=True
    ),
    "newest tickets": Question(lambda p: p.approvals.query(), {"agent_approvals_by_time"}),
    "tickets that wait": Question(
        lambda p: p.approvals.query(status="pending"), {"agent_approvals_by_status"}
    ),
    "tickets of a run": Question(
        lambda p: p.approvals.list("run 7"), {"agent_approvals_by_run"}, sorts=True
    ),
    "a ticket": Question(lambda p: p.approvals.get("ticket 7"), {TICKET_ID}, sorts=True),
    "newest snapshots": Question(
        lambda p: p._store.select(tables.SNAPSHOTS, limit=10), {"agent_snapshots_by_time"}
    ),
    "the last snapshot of a run": Question(
        lambda p: p.snapshots.latest("run 7"), {"agent_snapshots_by_run"}, sorts=True
    ),
    "a snapshot": Question(
        lambda p: p.snapshots.get("run 7", "step 77"), {STEP_OF_RUN}, sorts=True
    ),
    "newest spans": Question(lambda p: next(iter(p.traces.spans())), {"agent_spans_by_time"}),
    "spans of a run": Question(
        lambda p: list(p.traces.spans(run_id="run 7")), {"agent_spans_by_run"}, sorts=True
    ),
    "spans of an answer": Question(
        lambda p: list(p.traces.spans(response_id="r 5")), {"agent_spans_by_response"}, sorts=True
    ),
    "entries of a run log": Question(
        lambda p: p.runlog.entries("session 8", after=10_000, limit=50),
        {"agent_run_events_log"},
        sorts=True,
    ),
    "the last entries of a run log": Question(
        lambda p: p.runlog.entries("session 8", order="newest", limit=5), {"agent_run_events_log"}
    ),
    "entries of a kind in a run log": Question(
        lambda p: p.runlog.entries("session 8", kinds=["rare", "type 1"], order="newest", limit=5),
        {"agent_run_events_log_by_kind"},
        sorts=True,
    ),
    "the last number of a run log": Question(
        lambda p: p.runlog.max_sequence("session 8"), {"agent_run_events_log"}
    ),
    "runs left behind": Question(lambda p: p.runs.stale(), SIGNS_OF_LIFE, sorts=True),
}

WRITES = {
    "an event sent again": Question(
        lambda p: p.log_agent_run_event(AgentRunEvent("agent 3", "run 3", event_id="event 4")),
        {"agent_run_events_by_event_id"},
    ),
    "events sent again": Question(
        lambda p: p.log_agent_run_events(
            AgentRunEvent("agent 3", "run 3", event_id=f"event {i}") for i in range(100)
        ),
        {"agent_run_events_by_event_id"},
    ),
    "model calls sent again": Question(
        lambda p: p.log_llm_usages(
            AgentLLMUsage("agent 3", None, event_id=f"call {i}") for i in range(100)
        ),
        {"agent_llm_usage_by_event_id"},
    ),
    "events of runs that nobody created": Question(
        lambda p: p.log_agent_run_events(
            AgentRunEvent("agent 3", f"run {ROWS + i}") for i in range(-50, 50)
        ),
        {RUN_ID},
    ),
    "filling a stub in": Question(
        lambda p: (
            p.log_agent_run_event(AgentRunEvent("agent", "stub")),
            p.create_agent_run(AgentRun("agent", "stub")),
        ),
        {RUN_ID},
        leaving_out=True,
    ),
    "filling stubs in": Question(
        lambda p: (
            p.log_agent_run_events(AgentRunEvent("agent", f"stub {i}") for i in range(50)),
            p.create_agent_runs(AgentRun("agent", f"stub {i}") for i in range(100)),
        ),
        {RUN_ID},
        leaving_out=True,
    ),
    "setting a score": Question(
        lambda p: p.scores.set("run 7", "name 7", 1.0), {SCORES_OF_RUN}, leaving_out=True
    ),
    "withdrawing a ticket": Question(
        lambda p: p.approvals.expire("ticket 700"), {TICKET_ID}, sorts=True, leaving_out=True
    ),
    "saving a step": Question(
        lambda p: p.snapshots.save("run 7", "step 77", 1),
        {STEP_OF_RUN, "agent_snapshots_by_run"},
        sorts=True,
    ),
    "saving a span again": Question(
        lambda p: p.traces.save_span(AgentSpan("trace 3", "span 33", run_id="run 7")),
        {SPAN},
        leaving_out=True,
    ),
    "updating a run": Question(
        lambda p: p.update_agent_run("run 7", AgentRun("agent 7", "run 7")),
        {RUN_ID},
        leaving_out=True,
    ),
    "deleting a run": Question(
        lambda p: p.delete_agent_run("run 7"),
        {
            RUN_ID,
            SCORES_OF_RUN,
            "agent_approvals_by_run",
            "agent_snapshots_by_run",
            "agent_run_events_by_run",
            "agent_llm_usage_by_run",
            "agent_runs_by_parent",
            "agent_spans_by_run",
        },
        sorts=True,
        leaving_out=True,
    ),
    "abandoning runs": Question(
        lambda p: p.runs.abandon(older_than=timedelta(1)),
        {*SIGNS_OF_LIFE, RUN_ID},
        sorts=True,
        leaving_out=True,
    ),
}

METRICS = {"agent_run_events_metrics"}
BY_PERIOD = {
    "agent_run_events_tools_by_time",
    *("agent_runs_by_period", "agent_llm_usage_by_period"),  # Only SQLite has these two.
}
BY_INDEX: dict[str, Callable[[Persistence], object]] = {
    "agent_sessions_by_time": lambda p: p.sessions.query(limit=PAGE),
    "agent_sessions_by_agent": lambda p: p.sessions.query(agent_id="agent 3", limit=PAGE),
    "agent_sessions_by_user": lambda p: p.sessions.query(user_id="user 8", limit=PAGE),
    "agent_sessions_by_status": lambda p: p.sessions.count(status="error"),
    "agents_by_time": lambda p: p.agents.query(limit=PAGE),
    "agent_spans_roots": lambda p: p.traces.query(limit=PAGE),
    "agent_spans_below": lambda p: p._store.select_columns(
        tables.SPANS,
        ("span_id",),
        (
            Filter("trace_id", "in", ("trace 3", "trace 4")),
            Filter("parent_span_id", "in", ("span 31", "span 41")),
            Filter("source_id", "is not null"),
        ),
    ),
    SOURCE_ID: lambda p: p._store.select_columns(
        tables.SOURCES, ("service_name",), (Filter("source_id", "in", ("source 4", "source 6")),)
    ),
    "agent_runs_by_trace": lambda p: p.traces.get("trace 3"),
    "agent_llm_usage_by_trace": lambda p: p.traces.get("run 7"),
    "agent_run_events_severe_by_run": lambda p: p.sessions.get("session 8"),
    "agent_run_events_chain": lambda p: p.audit.verify("run 7"),
    "agent_run_events_by_content": lambda p: p._store.select_columns(
        tables.EVENTS, ("message",), (Filter("content_scope", "=", "sc1031"),)
    ),
    "agent_llm_usage_by_content": lambda p: p._store.select_columns(
        tables.USAGE, ("error_message",), (Filter("content_scope", "=", "sc1031"),)
    ),
}
"""Calls whose other indexes depend on the number of rows."""
SINCE = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)

STATISTICS = {
    "of all agents": Question(
        lambda p: p.get_agent_run_stats(),
        {
            "agent_runs_stats",
            "agent_llm_usage_stats",
            "agent_llm_usage_latency",
            "agent_run_events_tools",
        },
    ),
    "of one agent": Question(
        lambda p: p.get_agent_run_stats("agent 3"),
        {"agent_runs_stats", "agent_llm_usage_stats", "agent_run_events_tools"},
    ),
    "of a metric": Question(lambda p: p.query_metrics("metric 1"), METRICS),
    "of a metric by hour and agent": Question(
        lambda p: p.query_metrics("metric 1", "p95", bucket="1h", group_by="agent_id"), METRICS
    ),
    "of a metric of an agent since a while": Question(
        lambda p: p.query_metrics("metric 1", agent_id="agent 3", since=SINCE), METRICS
    ),
    "of the names of metrics": Question(lambda p: p.metrics.names(), METRICS),
}


class Listing(NamedTuple):
    """Rows returned in pages or as a stream; otherwise like a Question."""

    calls: tuple[str, str]
    filters: dict[str, str]
    indexes: set[str]
    sorts: bool = False
    leaving_out: bool = False

    def page(self, p: Persistence, **how: Any) -> Any:
        return getattr(p, self.calls[0])(**self.filters, **how)

    def stream(self, p: Persistence, **how: Any) -> Any:
        return getattr(p, self.calls[1])(**self.filters, **how)


RUNS = "query_agent_runs", "iter_agent_runs"
EVENTS = "query_events", "iter_agent_run_events"
USAGE = "query_llm_usage", "iter_llm_usage"
AGENT, RUN = {"agent_id": "agent 3"}, {"run_id": "run 3"}
SESSION = {"session_id": "session 8"}
USER = {"user_id": "user 8"}
PROJECT = {"project": "project 9"}
TYPE, RARE = {"event_type": "type 1"}, {"event_type": "rare"}
# Half of the time span of the records.
WINDOW = {"since": "2026-01-01T00:00:20Z", "until": "2026-01-01T00:01:10Z"}

LISTINGS = {
    "runs": Listing(RUNS, {}, {"agent_runs_by_time"}),
    "runs of an agent": Listing(RUNS, AGENT, {"agent_runs_by_agent"}),
    "runs of a session": Listing(RUNS, SESSION, {"agent_runs_by_session"}, sorts=True),
    "runs of a user": Listing(RUNS, USER, {"agent_runs_by_user"}, sorts=True),
    "runs of a project": Listing(RUNS, PROJECT, {"agent_runs_by_project"}, sorts=True),
    "runs of a tool": Listing(RUNS, {"source": "tool 9"}, {"agent_runs_by_source"}, sorts=True),
    "children of a run": Listing(
        RUNS, {"parent_run_id": "run 8"}, {"agent_runs_by_parent"}, sorts=True
    ),
    "runs by rare status": Listing(RUNS, {"status": "running"}, {"agent_runs_by_status"}),
    "events": Listing(EVENTS, {}, {"agent_run_events_by_time"}),
    "events of an agent": Listing(EVENTS, AGENT, {"agent_run_events_by_agent"}),
    "events of an agent by type": Listing(EVENTS, {**AGENT, **TYPE}, {"agent_run_events_by_agent"}),
    "events of an agent by rare type": Listing(
        EVENTS, {**AGENT, **RARE}, {"agent_run_events_by_agent"}, sorts=True
    ),
    "events of a session": Listing(EVENTS, SESSION, {"agent_run_events_by_session"}, sorts=True),
    "errors": Listing(EVENTS, {"min_level": "error"}, {"agent_run_events_severe"}, sorts=True),
    "errors of an agent": Listing(
        EVENTS, {**AGENT, "min_level": "error"}, {"agent_run_events_severe_by_agent"}, sorts=True
    ),
    "events of a run": Listing(EVENTS, RUN, {"agent_run_events_by_run"}, sorts=True),
    "events of a run by type": Listing(
        EVENTS, {**RUN, **TYPE}, {"agent_run_events_by_run"}, sorts=True, leaving_out=True
    ),
    "runs in a window": Listing(RUNS, WINDOW, {"agent_runs_by_time"}),
    "runs of an agent in a window": Listing(RUNS, {**AGENT, **WINDOW}, {"agent_runs_by_agent"}),
    "events in a window": Listing(EVENTS, WINDOW, {"agent_run_events_by_time"}),
    "events of an agent in a window": Listing(
        EVENTS, {**AGENT, **WINDOW}, {"agent_run_events_by_agent"}
    ),
    "events of a run in a window": Listing(
        EVENTS, {"run_id": "run 5003", **WINDOW}, {"agent_run_events_by_run"}, sorts=True
    ),
    "errors in a window": Listing(
        EVENTS, {"min_level": "error", **WINDOW}, {"agent_run_events_severe"}, sorts=True
    ),
    "errors of an agent in a window": Listing(
        EVENTS,
        {**AGENT, "min_level": "error", **WINDOW},
        {"agent_run_events_severe_by_agent"},
        sorts=True,
    ),
    "usage in a window": Listing(USAGE, WINDOW, {"agent_llm_usage_by_time"}),
    "usage of an agent in a window": Listing(
        USAGE, {**AGENT, **WINDOW}, {"agent_llm_usage_by_agent"}
    ),
    "usage": Listing(USAGE, {}, {"agent_llm_usage_by_time"}),
    "usage of an agent": Listing(USAGE, AGENT, {"agent_llm_usage_by_agent"}),
    "usage of a run": Listing(USAGE, RUN, {"agent_llm_usage_by_run"}, sorts=True),
}

# By its runs; or by time, if the session has many, looking up the run of each call.
OF_SESSION = {
    "agent_runs_by_session",
    "agent_llm_usage_by_run",
    "agent_llm_usage_by_time",
    RUN_ID,
}

# The same with the runs of a user.
OF_USER = {
    "agent_runs_by_user",
    "agent_run_events_by_run",
    "agent_run_events_by_time",
    RUN_ID,
}

# The same with the runs of a project.
OF_PROJECT = {
    "agent_runs_by_project",
    "agent_llm_usage_by_run",
    "agent_llm_usage_by_time",
    RUN_ID,
}

# Without an index of their own. The best other index depends on the number of rows.
OTHERS = {
    "runs by frequent status": Listing(
        RUNS, {"status": "completed"}, {"agent_runs_by_status", "agent_runs_by_time"}
    ),
    "runs of an agent by status": Listing(
        RUNS,
        {**AGENT, "status": "error"},
        {"agent_runs_by_agent", "agent_runs_by_status", "agent_runs_stats"},
    ),
    "events by type": Listing(EVENTS, TYPE, {"agent_run_events_by_time"}),
    "events of a run and its agent": Listing(
        EVENTS, {**AGENT, **RUN}, {"agent_run_events_by_run", "agent_run_events_by_agent"}
    ),
    "usage of a run and its agent": Listing(
        USAGE,
        {**AGENT, **RUN},
        {"agent_llm_usage_by_run", "agent_llm_usage_by_agent", "agent_llm_usage_stats"},
    ),
    "events of a user": Listing(EVENTS, USER, OF_USER),
    "events of a user in a window": Listing(EVENTS, {**USER, **WINDOW}, OF_USER),
    "usage of a project": Listing(USAGE, PROJECT, OF_PROJECT),
    "usage of a session": Listing(USAGE, SESSION, OF_SESSION),
    "usage of a session in a window": Listing(USAGE, {**SESSION, **WINDOW}, OF_SESSION),
}

PAGE, FAR = 20, 2_000


@contextmanager
def undone(persistence: Persistence) -> Iterator[None]:
    class Undo(Exception):
        pass

    with suppress(Undo), persistence.transaction():
        yield
        raise Undo


def fill(
    run: Callable[[str], object], indexes: list[tuple[str, str]], *, schema: str, time: str
) -> None:
    """Fill the tables; the given indexes are built at the end, which is much faster."""
    for name, _ in indexes:
        run(f"DROP INDEX {schema}{name}")
    for statement in FILL:
        run(statement.format(schema=schema, time=time))
    for _, definition in indexes:
        run(definition)


@pytest.fixture(scope="module")
def filled_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plans") / "filled.db"
    SQLitePersistence(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        indexes = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        ).fetchall()
        time = "strftime('%Y-%m-%dT%H:%M:%S', 1767225600 + i / 1000, 'unixepoch')"
        fill(connection.execute, indexes, schema="", time=f"{time} || '.000000+00:00'")
    return path


@contextmanager
def sqlite_planner(path: Path, *, analyzed: bool) -> Iterator[Planner]:
    with (
        SQLitePersistence(path) as persistence,
        closing(sqlite3.connect(path, isolation_level=None)) as connection,
    ):
        if analyzed:
            connection.execute("ANALYZE")
        yield SQLitePlanner(persistence, connection)


@contextmanager
def postgres_planner(dsn: str, schema: str) -> Iterator[Planner]:
    with (
        PostgresPersistence(dsn=dsn, schema=schema) as persistence,
        closing(psycopg2.connect(dsn)) as connection,
        connection.cursor() as cursor,
    ):
        connection.autocommit = True
        # VACUUM marks a page as visible to all only if all its rows are known to be committed.
        cursor.execute("SET synchronous_commit = on")
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = %s "
            "AND indexname NOT IN (SELECT conname FROM pg_constraint)",
            (schema,),
        )
        indexes = cursor.fetchall()
        time = "to_timestamp(1767225600 + i / 1000)"
        fill(cursor.execute, indexes, schema=f"{schema}.", time=time)
        for table in tables.TABLES:
            cursor.execute(f"VACUUM ANALYZE {schema}.{table.name}")
        yield PostgresPlanner(persistence, cursor, schema)
        cursor.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture(
    scope="module",
    params=chosen("sqlite", "sqlite analyzed", "postgres18", "postgres16"),
)
def planner(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Planner]:
    dialect, _, more = request.param.partition(" ")
    if dialect == "sqlite":
        filled: Path = request.getfixturevalue("filled_file")
        path = Path(shutil.copy(filled, tmp_path_factory.mktemp("plans") / "agents.db"))
        with sqlite_planner(path, analyzed=bool(more)) as planner:
            yield planner
    else:
        servers: PostgresServers = request.getfixturevalue("postgres_servers")
        with postgres_planner(servers.dsn(dialect), f"test_plans_{uuid.uuid4().hex}") as planner:
            yield planner


def each(questions: dict[str, Any], name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(name, questions.values(), ids=questions.keys())


each_table = pytest.mark.parametrize("calls", [RUNS, EVENTS, USAGE], ids=lambda calls: calls[0])


def each_listing(
    listings: dict[str, Listing], calls: tuple[str, str]
) -> Iterator[tuple[Listing, str, str]]:
    """Yield the listings of one table in both orders, each with its name for a failure."""
    for name, listing in listings.items():
        for order in ("newest", "oldest") if listing.calls == calls else ():
            yield listing, order, f"{name}, {order} first"


def check(planner: Planner, plan: Plan, question: Question | Listing, name: str = "") -> None:
    assert plan.indexes == question.indexes, name
    assert not plan.unaided, name
    assert not plan.sorts or (question.sorts and planner.name == "postgres"), name
    assert not plan.leaving_out or question.leaving_out, name


@each(READS, "question")
def test_a_query_uses_its_indexes(planner: Planner, question: Question) -> None:
    with planner.listening() as asked:
        question.ask(planner.persistence)
    check(planner, planner.plan(asked), question)


@each(WRITES, "question")
def test_an_update_finds_its_rows_by_its_indexes(planner: Planner, question: Question) -> None:
    with planner.listening() as asked, undone(planner.persistence):
        question.ask(planner.persistence)
    check(planner, planner.plan(asked), question)


@each(STATISTICS, "question")
def test_statistics_read_only_indexes(planner: Planner, question: Question) -> None:
    with planner.listening() as asked:
        question.ask(planner.persistence)
    plan = planner.plan(asked)
    check(planner, plan, question)
    assert plan.covering == plan.indexes


def test_a_check_up_finds_runs_in_indexes(planner: Planner) -> None:
    """SQLite also counts all records, which none has indexed for search yet, by an index."""
    with planner.listening() as asked:
        planner.persistence.diagnose()
    assert planner.plan(asked).indexes >= {*SIGNS_OF_LIFE, "agent_runs_unindexed"}


def test_analytics_find_periods_in_indexes(planner: Planner) -> None:
    with planner.listening() as asked:
        planner.persistence.analytics(**WINDOW, bucket="hour", timezone="UTC")
    plan = planner.plan(asked)
    assert plan.indexes >= BY_PERIOD & planner.indexes
    assert not plan.unaided


@each(BY_INDEX, "ask")
def test_a_call_uses_its_index(
    planner: Planner, ask: Callable[[Persistence], object], request: pytest.FixtureRequest
) -> None:
    with planner.listening() as asked:
        ask(planner.persistence)
    plan = planner.plan(asked)
    assert request.node.callspec.id.rpartition("-")[2] in plan.indexes
    assert not plan.unaided


@each_table
def test_pages_follow_an_index(planner: Planner, calls: tuple[str, str]) -> None:
    """The index has the rows in order, in both directions; only rows of the page are fetched."""
    p = planner.persistence
    for listing, order, name in each_listing(LISTINGS, calls):
        with planner.listening() as asked:
            page = listing.page(p, order=order, limit=PAGE)
            if page.next_cursor:
                listing.page(p, order=order, limit=PAGE, cursor=page.next_cursor)
        check(planner, planner.plan(asked), listing, name)


@each_table
def test_a_far_page_costs_as_much_as_the_first(planner: Planner, calls: tuple[str, str]) -> None:
    """A cursor is a position in the index: nothing before it is read."""
    for listing, order, name in each_listing(LISTINGS, calls):
        far, first = efforts(planner, listing, order)
        assert far < 2 * first + 10, name


def efforts(planner: Planner, listing: Listing, order: str) -> tuple[int, int]:
    """Return the effort of a far page and of the first one."""
    p = planner.persistence
    far = listing.page(p, order=order, limit=FAR)
    if not far.next_cursor:
        far = listing.page(p, order=order, limit=max(len(far) // 2, 1))
    with planner.listening() as first:
        listing.page(p, order=order, limit=PAGE)
    with planner.listening() as later:
        listing.page(p, order=order, limit=PAGE, cursor=far.next_cursor)
    if listing.sorts and planner.plan(later).sorts:
        return 0, 0  # So few rows that PostgreSQL may prefer to read them all.
    (first_effort,) = (planner.effort(*statement) for statement in first.items())
    (later_effort,) = (planner.effort(*statement) for statement in later.items())
    return later_effort, first_effort


@each_table
def test_a_stream_follows_an_index(planner: Planner, calls: tuple[str, str]) -> None:
    """So the first rows are returned at once, however many follow."""
    for listing, order, name in each_listing(LISTINGS, calls):
        with (
            planner.listening() as asked,
            listing.stream(planner.persistence, order=order) as stream,
        ):
            next(iter(stream))
        check(planner, planner.plan(asked), listing, name)


@each_table
def test_no_page_scans_a_table(planner: Planner, calls: tuple[str, str]) -> None:
    for listing, order, name in each_listing(OTHERS, calls):
        with planner.listening() as asked:
            listing.page(planner.persistence, order=order, limit=PAGE)
        plan = planner.plan(asked)
        assert plan.indexes, name
        assert plan.indexes <= listing.indexes, name
        assert not plan.unaided, name


def test_every_index_is_used_by_a_query(planner: Planner) -> None:
    """Each index costs every write, so each must serve a query.

    Left out are the small tables of the library itself, and unique keys.
    """
    questions = (READS, WRITES, STATISTICS, LISTINGS)
    others = (
        "agent_(search|consumers|lifecycle|expired_totals|tombstones|audit_log|alert|chain_heads|"
        "run_logs|api_keys|console_sessions|embeddings)_"
        "|^content_blobs_|^sqlite_autoindex|_key$"
    )
    ours = {name for name in planner.indexes if not re.search(others, name)}
    used = set().union(*(q.indexes for some in questions for q in some.values()))
    assert ours == used | BY_INDEX.keys() | BY_PERIOD & planner.indexes
