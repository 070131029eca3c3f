"""Every statement finds its rows by the index that was made for it, and none sorts what an index
has in order. Otherwise a call would be fast in every test and slow in a year's database."""

from __future__ import annotations

import json
import re
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

import psycopg2
import pytest

from curio_persistence import (
    AgentRun,
    AgentRunEvent,
    Persistence,
    PostgresPersistence,
    SQLitePersistence,
)
from curio_persistence.backends.sql import SQLStore
from tests.conftest import PostgresServers

pytestmark = pytest.mark.slow

RUNS, ROWS = 4_000, 20_000
TEXT = "x" * 1000

# Both databases understand it; what they say differently stands in braces.
FILL = [
    f"""
    WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {RUNS} - 1)
    INSERT INTO {{schema}}agent_runs (agent_id, run_id, parent_run_id, status, total_iterations,
        final_synthesis_output, created_at, updated_at)
    SELECT 'agent ' || i % 20, 'run ' || i, CASE WHEN i % 5 = 0 THEN 'run ' || i / 10 END,
        CASE WHEN i % 100 = 0 THEN 'running' WHEN i % 10 = 0 THEN 'error' ELSE 'completed' END,
        i % 9, '{TEXT}', {{time}}, {{time}}
    FROM n
    """,
    f"""
    WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS} - 1)
    INSERT INTO {{schema}}agent_run_events (agent_id, run_id, event_type, data, timestamp,
        created_at, tool_name, tool_latency_us, tool_error)
    SELECT 'agent ' || (i / 20) % 20, 'run ' || i / 20, 'type ' || i % 3, '{TEXT}', {{time}},
        {{time}}, CASE WHEN i % 3 = 0 THEN 'tool ' || i % 7 END,
        CASE WHEN i % 3 = 0 THEN i % 1000 END, CASE WHEN i % 3 = 0 THEN 0 END
    FROM n
    """,
    f"""
    WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS} - 1)
    INSERT INTO {{schema}}agent_llm_usage (agent_id, run_id, model, prompt, input_tokens,
        output_tokens, latency_ms, cost_usd, created_at)
    SELECT 'agent ' || (i / 20) % 20, CASE WHEN i % 10 > 0 THEN 'run ' || i / 20 END,
        'model ' || i % 3, '{TEXT}', i % 1000, i % 100, i % 5000, i % 10, {{time}}
    FROM n
    """,
]


class Question(NamedTuple):
    """A call, and the indexes by which its statements are to find their rows."""

    ask: Callable[[Persistence], object]
    indexes: set[str]
    sorts: bool = False
    """Whether PostgreSQL may sort the rows: where they are few, or all of many are wanted."""


RUN_ID = "agent_runs.run_id"

QUESTIONS = {
    "newest runs": Question(lambda p: p.get_agent_runs(), {"agent_runs_by_time"}),
    "a later page of runs": Question(
        lambda p: p.get_agent_runs(limit=10, offset=100), {"agent_runs_by_time"}
    ),
    "all runs": Question(lambda p: p.get_agent_runs(limit=None), {"agent_runs_by_time"}),
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
    ),
    "newest usage": Question(lambda p: p.get_llm_usage(), {"agent_llm_usage_by_time"}),
    "newest usage of an agent": Question(
        lambda p: p.get_llm_usage("agent 3"), {"agent_llm_usage_by_agent"}
    ),
    "usage of a run": Question(
        lambda p: p.get_llm_usage(run_id="run 7"), {"agent_llm_usage_by_run"}, sorts=True
    ),
    "usage of a run and its agent": Question(
        lambda p: p.get_llm_usage("agent 7", "run 7"), {"agent_llm_usage_by_run"}, sorts=True
    ),
    "runs left behind": Question(
        lambda p: p.runs.left_behind(),
        {
            "agent_runs_by_status",
            "agent_runs_by_parent",
            "agent_run_events_by_run",
            "agent_llm_usage_by_run",
        },
        sorts=True,
    ),
    "abandoning runs": Question(
        lambda p: p.runs.abandon(older_than=timedelta(1)),
        {
            "agent_runs_by_status",
            "agent_runs_by_parent",
            "agent_run_events_by_run",
            "agent_llm_usage_by_run",
            RUN_ID,
        },
        sorts=True,
    ),
    "updating a run": Question(
        lambda p: p.update_agent_run("run 7", AgentRun("agent 7", "run 7")), {RUN_ID}
    ),
    "filling a stub in": Question(
        lambda p: (
            p.log_agent_run_event(AgentRunEvent("agent", "stub")),
            p.create_agent_run(AgentRun("agent", "stub")),
        ),
        {RUN_ID},
    ),
    "deleting a run": Question(
        lambda p: p.delete_agent_run("run 7"),
        {
            RUN_ID,
            "agent_run_events_by_run",
            "agent_llm_usage_by_run",
            "agent_runs_by_parent",
        },
    ),
}

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
}


@dataclass
class Plan:
    """How a statement is carried out: what it reads, and whether it has to sort."""

    indexes: set[str] = field(default_factory=set)
    covering: set[str] = field(default_factory=set)
    """The indexes that answer by themselves, without a look at the table."""
    unaided: set[str] = field(default_factory=set)
    """The tables that are read from one end to the other."""
    sorts: bool = False

    def add(self, other: Plan) -> None:
        self.indexes |= other.indexes
        self.covering |= other.covering
        self.unaided |= other.unaided
        self.sorts |= other.sorts


class Planner(NamedTuple):
    """A database with enough rows, and how to ask it for its plans and its indexes."""

    name: str
    persistence: Persistence
    indexes: set[str]
    explain: Callable[[str, tuple[Any, ...]], Plan]

    def plan(self, question: Question, monkeypatch: pytest.MonkeyPatch) -> Plan:
        """The plan of all the statements of a call but the INSERTs; the call leaves no trace."""
        asked: dict[str, tuple[Any, ...]] = {}
        store = self.persistence._store
        assert isinstance(store, SQLStore)
        for method in ("_read", "_write"):
            monkeypatch.setattr(store, method, noting(asked, getattr(store, method)))

        with undone(self.persistence):
            question.ask(self.persistence)
        whole = Plan()
        for sql, params in asked.items():
            if not sql.startswith("INSERT"):
                whole.add(self.explain(sql, params))
        return whole


@contextmanager
def undone(persistence: Persistence) -> Iterator[None]:
    class Undo(Exception):
        pass

    with suppress(Undo), persistence.transaction():
        yield
        raise Undo


def noting(asked: dict[str, tuple[Any, ...]], run: Callable[..., Any]) -> Callable[..., Any]:
    def note_and_run(sql: str, params: tuple[Any, ...]) -> Any:
        asked[sql] = params
        return run(sql, params)

    return note_and_run


def _said(index: str) -> str:
    """The index that a UNIQUE makes has another name in each database."""
    unique = ("sqlite_autoindex_agent_runs_1", "agent_runs_run_id_key")
    return RUN_ID if index in unique else index


_STEP = re.compile(
    r"(?:SCAN|SEARCH) (?P<table>\w+)(?: USING (?P<covering>COVERING )?INDEX (?P<index>\w+))?"
)


def explain_sqlite(connection: sqlite3.Connection, sql: str, params: tuple[Any, ...]) -> Plan:
    plan = Plan()
    for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {sql}", params):
        if match := _STEP.match(detail):
            if match["index"]:
                plan.indexes.add(_said(match["index"]))
            else:
                plan.unaided.add(match["table"])
            if match["covering"]:
                plan.covering.add(match["index"])
        plan.sorts |= "USE TEMP B-TREE" in detail
    return plan


def explain_postgres(cursor: Any, sql: str, params: tuple[Any, ...]) -> Plan:
    cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params or None)
    [(answer,)] = cursor.fetchall()
    plan, steps = Plan(), [(answer if isinstance(answer, list) else json.loads(answer))[0]["Plan"]]
    while steps:
        step = steps.pop()
        steps += step.get("Plans", [])
        if "Index Name" in step:
            plan.indexes.add(_said(step["Index Name"]))
        if step["Node Type"] == "Index Only Scan":
            plan.covering.add(step["Index Name"])
        if step["Node Type"] == "Seq Scan":
            plan.unaided.add(step["Relation Name"])
        plan.sorts |= "Sort" in step["Node Type"]
    return plan


@contextmanager
def sqlite_planner(path: str, *, analyzed: bool) -> Iterator[Planner]:
    with (
        SQLitePersistence(path) as persistence,
        closing(sqlite3.connect(path, isolation_level=None)) as connection,
    ):
        time = "strftime('%Y-%m-%dT%H:%M:%S', 1767225600 + i, 'unixepoch') || '.000000+00:00'"
        for statement in FILL:
            connection.execute(statement.format(schema="", time=time))
        if analyzed:
            connection.execute("ANALYZE")
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")
        indexes = {_said(name) for (name,) in names}
        yield Planner("sqlite", persistence, indexes, lambda s, p: explain_sqlite(connection, s, p))


@contextmanager
def postgres_planner(dsn: str, schema: str) -> Iterator[Planner]:
    with (
        PostgresPersistence(dsn=dsn, schema=schema) as persistence,
        closing(psycopg2.connect(dsn)) as connection,
        connection.cursor() as cursor,
    ):
        connection.autocommit = True
        # Only what is known to be committed lets VACUUM mark a page as visible to all.
        cursor.execute("SET synchronous_commit = on")
        for statement in FILL:
            cursor.execute(
                statement.format(schema=f"{schema}.", time="to_timestamp(1767225600 + i)")
            )
        for table in ("agent_runs", "agent_run_events", "agent_llm_usage"):
            cursor.execute(f"VACUUM ANALYZE {schema}.{table}")
        cursor.execute("SELECT indexname FROM pg_indexes WHERE schemaname = %s", (schema,))
        indexes = {_said(name) for (name,) in cursor if not name.endswith("_pkey")}
        yield Planner("postgres", persistence, indexes, lambda s, p: explain_postgres(cursor, s, p))
        cursor.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture(scope="module", params=["sqlite", "sqlite analyzed", "postgres18", "postgres16"])
def planner(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    postgres_servers: PostgresServers,
) -> Iterator[Planner]:
    dialect, _, more = request.param.partition(" ")
    if dialect == "sqlite":
        path = tmp_path_factory.mktemp("plans") / "agents.db"
        with sqlite_planner(str(path), analyzed=bool(more)) as planner:
            yield planner
    else:
        dsn = postgres_servers.dsn(int(dialect.removeprefix("postgres")))
        with postgres_planner(dsn, f"test_plans_{uuid.uuid4().hex}") as planner:
            yield planner


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS.keys())
def test_a_question_is_answered_by_its_indexes(
    planner: Planner, question: Question, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planner.plan(question, monkeypatch)
    assert plan.indexes == question.indexes
    assert not plan.unaided
    assert not plan.sorts or (question.sorts and planner.name == "postgres")


@pytest.mark.parametrize("question", STATISTICS.values(), ids=STATISTICS.keys())
def test_statistics_are_answered_by_indexes_alone(
    planner: Planner, question: Question, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planner.plan(question, monkeypatch)
    assert plan.indexes == plan.covering == question.indexes
    assert not plan.unaided
    assert not plan.sorts


def test_no_index_is_kept_up_for_nothing(planner: Planner) -> None:
    """Each costs every write; so each is there for a question."""
    used = set().union(*(it.indexes for it in [*QUESTIONS.values(), *STATISTICS.values()]))
    assert planner.indexes == used
