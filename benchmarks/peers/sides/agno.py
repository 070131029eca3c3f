"""agno: an event is a span of its run's trace, or a session."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from agno.db.sqlite import SqliteDb
from agno.session import AgentSession
from agno.tracing.schemas import Span, Trace
from sqlalchemy import event as listening

from benchmarks.peers.sides.base import (
    WRITTEN_RUNS,
    Kind,
    Side,
    Words,
    event_rows,
    runs_for,
    scattered,
    translated,
)
from benchmarks.support import fill, rows
from curio_persistence import AgentRunEvent


class _Agno(Side):
    packages = ("agno", "SQLAlchemy")
    lacks = Words(statistics="its `get_span_stats` counts, but has neither tokens nor percentiles")

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._db = _open(path)
        self._numbers = count(1 << 40)  # Larger than those of the existing rows.

    @classmethod
    def create(cls, path: Path) -> None:
        with closing(_open(path)) as db:
            for kind in ("sessions", "traces", "spans"):
                db._get_table(kind, create_table_if_not_found=True)

    def pragma(self, name: str) -> Any:
        with self._db.db_engine.connect() as connection:
            return connection.exec_driver_sql(f"PRAGMA {name}").scalar()

    def close(self) -> None:
        self._db.close()


class AgnoSpans(_Agno):
    title = "agno, spans"
    tables = "agno"
    table = "agno_spans"
    calls = Words(
        single="`SqliteDb.create_span(span)`: the run's trace is stored before, the type is the "
        "name, agent and data are attributes",
        batch="`create_spans(spans)`",
        page="`get_traces(agent_id=…, filter_expr=<name is the type>, limit=100)`: of traces, "
        "because spans cannot be listed but by trace. There is one trace for each event, without "
        "spans; the call counts all matches as well",
    )

    @classmethod
    def content(cls, path: Path, kind: Kind, size: int) -> Iterable[fill.Content]:
        if kind == "listed":
            return [("agno_traces", _TRACE_COLUMNS, translated(event_rows(size), _trace_rows()))]
        with closing(_open(path)) as db:
            for run in range(runs_for(size) + WRITTEN_RUNS):
                db.upsert_trace(_trace(run))
        return [(cls.table, _SPAN_COLUMNS, translated(event_rows(size), _span_rows()))]

    def records(self, events: Sequence[AgentRunEvent]) -> Sequence[Span]:
        return [_span(number, event) for number, event in zip(self._numbers, events, strict=False)]

    def log(self, record: Span) -> object:
        return self._db.create_span(record)

    def log_many(self, records: Sequence[Span]) -> object:
        return self._db.create_spans(list(records))

    def page(self, agent_id: str, event_type: str, limit: int) -> Sequence[Any]:
        named = {"op": "EQ", "key": "name", "value": event_type}
        traces, _ = self._db.get_traces(agent_id=agent_id, filter_expr=named, limit=limit)
        return traces


class AgnoSessions(_Agno):
    title = "agno, sessions"
    tables = "agno-sessions"
    table = "agno_sessions"
    calls = Words(
        single="`SqliteDb.upsert_session(session)`: a new session for each event, its type and "
        "data are `session_data`",
        batch="`upsert_sessions(sessions)`",
    )
    lacks = replace(_Agno.lacks, page="see *agno, spans*")

    @classmethod
    def content(cls, path: Path, kind: Kind, size: int) -> Iterable[fill.Content]:
        return [(cls.table, _SESSION_COLUMNS, translated(event_rows(size), _session_rows()))]

    def records(self, events: Sequence[AgentRunEvent]) -> Sequence[AgentSession]:
        return [
            AgentSession(
                session_id=f"{scattered(number):016x}",
                agent_id=event.agent_id,
                session_data={"event_type": event.event_type, "data": event.data},
                metadata={"run_id": event.run_id, "agent_name": event.agent_name},
                created_at=int(event.timestamp.timestamp()),  # type: ignore[union-attr]
            )
            for number, event in zip(self._numbers, events, strict=False)
        ]

    def log(self, record: AgentSession) -> object:
        return self._db.upsert_session(record)

    def log_many(self, records: Sequence[AgentSession]) -> object:
        return self._db.upsert_sessions(list(records))


def _open(path: Path) -> SqliteDb:
    db = SqliteDb(db_file=str(path))
    listening.listen(db.db_engine, "connect", _relax)
    return db


def _relax(connection: Any, _: object) -> None:
    """agno turns on the write-ahead log and foreign keys itself, and leaves SQLite's FULL."""
    connection.execute("PRAGMA synchronous = NORMAL")


def _trace_id(run_id: str) -> str:
    return run_id.replace("-", "")


def _span(number: int, event: AgentRunEvent) -> Span:
    assert event.timestamp is not None
    return Span(
        span_id=f"{scattered(number):016x}",
        trace_id=_trace_id(event.run_id),
        parent_span_id=None,
        name=event.event_type,
        span_kind="INTERNAL",
        status_code="OK",
        status_message=None,
        start_time=event.timestamp,
        end_time=event.timestamp,
        duration_ms=0,
        attributes=_attributes(event.agent_id, event.agent_name, event.data),
        created_at=event.timestamp,
    )


def _attributes(agent_id: str, agent_name: str, data: str) -> dict[str, str]:
    return {"agent_id": agent_id, "agent_name": agent_name, "data": data}


def _trace(run: int) -> Trace:
    now = datetime.now(UTC)
    return Trace(
        trace_id=_trace_id(rows.run_id(run)),
        name="Research agent.run",
        status="OK",
        start_time=now,
        end_time=now,
        duration_ms=0,
        total_spans=0,
        error_count=0,
        run_id=rows.run_id(run),
        session_id=None,
        user_id=None,
        agent_id=rows.agent_of(run),
        team_id=None,
        workflow_id=None,
        created_at=now,
    )


_SPAN_COLUMNS = (
    "span_id",
    "trace_id",
    "name",
    "span_kind",
    "status_code",
    "start_time",
    "end_time",
    "duration_ms",
    "attributes",
    "created_at",
)
_TRACE_COLUMNS = (
    "trace_id",
    "name",
    "status",
    "start_time",
    "end_time",
    "duration_ms",
    "run_id",
    "agent_id",
    "created_at",
)
_SESSION_COLUMNS = (
    "session_id",
    "session_type",
    "agent_id",
    "session_data",
    "agent_data",
    "metadata",
    "summary",
    "created_at",
    "updated_at",
)


def _span_rows() -> Any:
    numbers = count()

    def row(agent: str, run: str, name: str, at: str, kind: str, data: str, *_: Any) -> Any:
        attributes = json.dumps(_attributes(agent, name, data))
        span_id = f"{scattered(next(numbers)):016x}"
        return span_id, _trace_id(run), kind, "INTERNAL", "OK", at, at, 0, attributes, at

    return row


def _trace_rows() -> Any:
    numbers = count()

    def row(agent: str, run: str, name: str, at: str, kind: str, *_: Any) -> Any:
        trace_id = f"{scattered(next(numbers)):032x}"
        return trace_id, kind, "OK", at, at, 0, run, agent, at

    return row


def _session_rows() -> Any:
    numbers = count()

    def row(agent: str, run: str, name: str, at: str, kind: str, data: str, *_: Any) -> Any:
        session_id = f"{scattered(next(numbers)):016x}"
        state = json.dumps({"event_type": kind, "data": data})
        metadata = json.dumps({"run_id": run, "agent_name": name})
        second = int(datetime.fromisoformat(at).timestamp())
        return session_id, "agent", agent, state, "null", metadata, "null", second, second

    return row
