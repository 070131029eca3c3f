"""Query plans of the library's statements: how a database finds rows, and how many it reads.

Each database is asked in its own way; the results have the same form.
"""

from __future__ import annotations

import json
import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from curio_persistence import Persistence
from curio_persistence.backends.sql.statements import shape_of
from curio_persistence.store.query import Query
from curio_persistence.tables import TABLES

Params = tuple[Any, ...]
Statements = dict[str, Params]
"""Statement texts with their last bound values."""

RUN_ID = "agent_runs.run_id"
SCORES_OF_RUN = "agent_scores.run_id"
TICKET_ID = "agent_approvals.ticket_id"
STEP_OF_RUN = "agent_snapshots.run_id"
SPAN = "agent_spans.span_id"
SOURCE_ID = "agent_span_sources.source_id"
_UNIQUE = {
    "sqlite_autoindex_agent_runs_1": RUN_ID,
    "agent_runs_run_id_key": RUN_ID,
    "sqlite_autoindex_agent_scores_1": SCORES_OF_RUN,
    "agent_scores_run_id_span_id_name_source_author_key": SCORES_OF_RUN,
    "sqlite_autoindex_agent_approvals_1": TICKET_ID,
    "agent_approvals_ticket_id_key": TICKET_ID,
    "sqlite_autoindex_agent_snapshots_1": STEP_OF_RUN,
    "agent_snapshots_run_id_step_id_key": STEP_OF_RUN,
    "sqlite_autoindex_agent_spans_1": SPAN,
    "agent_spans_trace_id_span_id_key": SPAN,
    "sqlite_autoindex_agent_span_sources_1": SOURCE_ID,
    "agent_span_sources_source_id_key": SOURCE_ID,
}
_EXPLAINED = ("SELECT", "WITH", "UPDATE", "DELETE", "DECLARE")
_TABLES = {table.name for table in TABLES}


@dataclass
class Plan:
    """A query plan: what statements read, and whether they sort."""

    indexes: set[str] = field(default_factory=set)
    covering: set[str] = field(default_factory=set)
    """The indexes that are read without their table."""
    unaided: set[str] = field(default_factory=set)
    """The tables of records that are scanned completely."""
    leaving_out: set[str] = field(default_factory=set)
    """The tables of which fetched rows are filtered out."""
    sorts: bool = False
    """True if rows are sorted, except the few that a list of values selects."""

    def add(self, other: Plan) -> None:
        self.indexes |= other.indexes
        self.covering |= other.covering
        self.unaided |= other.unaided
        self.leaving_out |= other.leaving_out
        self.sorts |= other.sorts


class Planner(ABC):
    """A database that can be asked for its plans and its indexes."""

    name: ClassVar[str]
    _run: ClassVar[Mapping[str, int]]
    """The store's methods that run statements, and the position of the text in their arguments."""

    def __init__(self, persistence: Persistence) -> None:
        self.persistence = persistence

    @property
    @abstractmethod
    def indexes(self) -> set[str]:
        """Return all indexes, except those of the ids."""

    @abstractmethod
    def explain(self, sql: str, params: Params) -> Plan:
        """Return the plan of one statement."""

    @abstractmethod
    def effort(self, sql: str, params: Params) -> int:
        """Return the effort of a SELECT in units of the database, not as a time."""

    @contextmanager
    def listening(self) -> Iterator[Statements]:
        """Record the library's statements in the block, except those that only add rows."""
        asked: Statements = {}
        store = self.persistence._store
        with pytest.MonkeyPatch.context() as patch:
            for method, position in self._run.items():
                patch.setattr(store, method, _noting(asked, getattr(store, method), position))
            yield asked

    def plan(self, statements: Statements) -> Plan:
        """Return the combined plan of all statements."""
        whole = Plan()
        for sql, params in statements.items():
            whole.add(self.explain(sql, params))
        return whole


def _noting(asked: Statements, run: Callable[..., Any], position: int) -> Callable[..., Any]:
    def note_and_run(*arguments: Any) -> Any:
        sql, params = arguments[position : position + 2]
        if sql.startswith(_EXPLAINED):
            asked[sql] = params
        return run(*arguments)

    return note_and_run


class SQLitePlanner(Planner):
    name = "sqlite"
    _run: ClassVar = {"_read": 0, "_write": 0}

    def __init__(self, persistence: Persistence, connection: sqlite3.Connection) -> None:
        super().__init__(persistence)
        self._connection = connection

    @contextmanager
    def listening(self) -> Iterator[Statements]:
        store: Any = self.persistence._store
        stream = store._read_stream
        with super().listening() as asked, pytest.MonkeyPatch.context() as patch:

            def note_and_stream(reader: Any, query: Query, size: int) -> Iterator[Any]:
                asked[store._text(store._select_text, shape_of(query))] = store._params(query)
                yield from stream(reader, query, size)

            patch.setattr(store, "_read_stream", note_and_stream)
            yield asked

    @property
    def indexes(self) -> set[str]:
        names = self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")
        return {_UNIQUE.get(name, name) for (name,) in names}

    def explain(self, sql: str, params: Params) -> Plan:
        plan = Plan()
        if not any(table in sql for table in _TABLES):
            return plan  # It concerns the search index, not records.
        steps = [step for *_, step in self._connection.execute(f"EXPLAIN QUERY PLAN {sql}", params)]
        for step in steps:
            if match := re.match(r"(?:SCAN|SEARCH) \w+ USING (COVERING )?INDEX (\w+)", step):
                index = _UNIQUE.get(match[2], match[2])
                plan.indexes.add(index)
                plan.covering |= {index} if match[1] else set()
            elif (
                (match := re.match(r"SCAN (\w+)", step))
                and match[1] in _TABLES
                and not sql.endswith("ORDER BY id DESC LIMIT ?")  # It ends where it starts.
            ):
                plan.unaided.add(match[1])
        picks = any(step.startswith("LIST SUBQUERY") for step in steps)
        plan.sorts = not picks and any(step.startswith("USE TEMP B-TREE") for step in steps)
        plan.leaving_out = self._leaving_out(sql, params)
        return plan

    def _leaving_out(self, sql: str, params: Params) -> set[str]:
        """Return the tables of which the statement's program compares a column, to continue or not.

        A row is fetched only when a column that is not in the index is read.
        """
        tables = dict(
            self._connection.execute("SELECT rootpage, name FROM sqlite_master WHERE type='table'")
        )
        cursors: dict[int, str] = {}
        registers: dict[int, str | None] = {}
        found = set()
        for _, code, p1, p2, p3, *_ in self._connection.execute(f"EXPLAIN {sql}", params):
            if code in {"OpenRead", "OpenWrite"} and p2 in tables:
                cursors[p1] = tables[p2]
            elif code == "Column":
                registers[p3] = cursors.get(p1)
            elif code in {"Eq", "Ne", "Lt", "Le", "Gt", "Ge"}:
                found |= {table for at in (p1, p3) if (table := registers.get(at))}
        return found

    def effort(self, sql: str, params: Params) -> int:
        """Return the number of instructions of its virtual machine."""
        done = 0

        def count() -> None:
            nonlocal done
            done += 1

        self._connection.set_progress_handler(count, 1)
        self._connection.execute(sql, params).fetchall()
        self._connection.set_progress_handler(None, 0)
        return done


class PostgresPlanner(Planner):
    name = "postgres"
    _run: ClassVar = {"_run": 1, "_run_inside": 1}

    def __init__(self, persistence: Persistence, cursor: Any, schema: str) -> None:
        super().__init__(persistence)
        self._cursor = cursor
        self._schema = schema

    @property
    def indexes(self) -> set[str]:
        self._cursor.execute(
            "SELECT indexname FROM pg_indexes WHERE schemaname = %s", (self._schema,)
        )
        return {_UNIQUE.get(name, name) for (name,) in self._cursor if not name.endswith("_pkey")}

    def explain(self, sql: str, params: Params) -> Plan:
        plan = Plan()
        steps = list(_steps(self._explained("FORMAT JSON", sql, params)))
        if not any(step.get("Relation Name") in _TABLES for step in steps):
            return plan  # It concerns the server, not records.
        picks = any("= ANY (" in step.get("Index Cond", "") for step in steps)
        plan.sorts = not picks and any("Sort" in step["Node Type"] for step in steps)
        for step in steps:
            kind = step["Node Type"]
            if "Index Name" in step and not step["Index Name"].endswith("_pkey"):
                index = _UNIQUE.get(step["Index Name"], step["Index Name"])
                plan.indexes.add(index)
                plan.covering |= {index} if kind == "Index Only Scan" else set()
            if kind == "Seq Scan" and step["Relation Name"] in _TABLES:
                plan.unaided.add(step["Relation Name"])
            if "Filter" in step and kind in {"Index Scan", "Bitmap Heap Scan", "Seq Scan"}:
                plan.leaving_out.add(step["Relation Name"])
        return plan

    def effort(self, sql: str, params: Params) -> int:
        """Return the number of pages that it reads."""
        done = self._explained("ANALYZE, BUFFERS, FORMAT JSON", sql, params)
        return int(done["Shared Hit Blocks"] + done["Shared Read Blocks"])

    def _explained(self, how: str, sql: str, params: Params) -> dict[str, Any]:
        self._cursor.execute(f"EXPLAIN ({how}) {sql}", params or None)
        [(answer,)] = self._cursor.fetchall()
        plan = answer if isinstance(answer, list) else json.loads(answer)
        whole: dict[str, Any] = plan[0]["Plan"]
        return whole


def _steps(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from _steps(part)
