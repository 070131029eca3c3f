"""MLflow's tracking store: an event is a span of its run's trace."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from mlflow.entities import Span, TraceInfo, TraceLocation, TraceState
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import Engine
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

_EXPERIMENT = "0"
"""The experiment that every store has from the beginning."""
_ROOT = base64.b64encode((1).to_bytes(8)).decode()


class MLflow(Side):
    title = "mlflow"
    packages = ("mlflow-skinny", "SQLAlchemy")
    tables = "mlflow"
    table = "spans"
    calls = Words(
        single="`SqlAlchemyStore.log_spans(experiment, [span])`, which the tracing client calls "
        "for what has ended: a span below the root of the run's trace, stored before by "
        "`start_trace`; the type is the name, agent and data are attributes",
        batch="`log_spans(experiment, spans)`, spans of twenty traces",
        page="`search_traces(locations=[experiment], filter_string=\"trace.name = '…'\", "
        'order_by=["timestamp_ms DESC"], max_results=100)`: of traces, because spans cannot be '
        "listed. There is an experiment for each agent, and a trace for each event, with one tag "
        "and without spans",
    )
    lacks = Words(statistics="its `query_trace_metrics` returns one metric at a time")

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._store = SqlAlchemyStore(f"sqlite:///{path}", str(path.with_suffix(".artifacts")))
        self._numbers = count(1 << 40)  # Larger than those of the existing rows.

    @classmethod
    def create(cls, path: Path) -> None:
        with _opened(path):
            pass

    @classmethod
    def content(cls, path: Path, kind: Kind, size: int) -> Iterable[fill.Content]:
        with _opened(path) as side:
            if kind == "listed":
                return _listed(side._experiments(), size)
            side._start_traces(runs_for(size) + WRITTEN_RUNS)
        return [(cls.table, _SPAN_COLUMNS, translated(event_rows(size), _span_rows()))]

    def _experiments(self) -> dict[str, int]:
        """Return an experiment for each agent."""
        return {agent: int(self._store.create_experiment(agent)) for agent in rows.AGENTS}

    def _start_traces(self, runs: int) -> None:
        for run in range(runs):
            self._store.start_trace(
                TraceInfo(
                    trace_id=_trace_id(rows.run_id(run)),
                    trace_location=TraceLocation.from_experiment_id(_EXPERIMENT),
                    request_time=0,
                    state=TraceState.OK,
                )
            )

    def records(self, events: Sequence[AgentRunEvent]) -> Sequence[Span]:
        return [
            Span.from_dict(
                _span(number, e.agent_id, e.run_id, e.agent_name, e.timestamp, e.event_type, e.data)
            )
            for number, e in zip(self._numbers, events, strict=False)
        ]

    def log(self, record: Span) -> object:
        return self._store.log_spans(_EXPERIMENT, [record])

    def log_many(self, records: Sequence[Span]) -> object:
        return self._store.log_spans(_EXPERIMENT, list(records))

    def page(self, agent_id: str, event_type: str, limit: int) -> Sequence[Any]:
        experiment = self._store.get_experiment_by_name(agent_id)
        traces, _ = self._store.search_traces(
            locations=[experiment.experiment_id],
            filter_string=f"trace.name = '{event_type}'",
            order_by=["timestamp_ms DESC"],
            max_results=limit,
        )
        return traces

    def pragma(self, name: str) -> Any:
        with self._store.engine.connect() as connection:
            return connection.exec_driver_sql(f"PRAGMA {name}").scalar()

    def close(self) -> None:
        self._store.engine.dispose()


@listening.listens_for(Engine, "connect")
def _relax(connection: Any, _: object) -> None:
    """Relax the settings of every engine of the process, because the store creates its own."""
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA synchronous = NORMAL")


@contextmanager
def _opened(path: Path) -> Iterator[MLflow]:
    side = MLflow(path)
    try:
        yield side
    finally:
        side.close()


def _trace_id(run_id: str) -> str:
    return f"tr-{run_id.replace('-', '')}"


def _span(
    number: int, agent: str, run: str, name: str, at: datetime | None, kind: str, data: str
) -> dict[str, Any]:
    """Return a span in the form of `Span.from_dict` and of the store; attributes are JSON."""
    assert at is not None
    nanoseconds = int(at.timestamp() * 1e6) * 1000
    return {
        "trace_id": base64.b64encode(bytes.fromhex(run.replace("-", ""))).decode(),
        "span_id": base64.b64encode(scattered(number).to_bytes(8)).decode(),
        "parent_span_id": _ROOT,
        "name": kind,
        "start_time_unix_nano": nanoseconds,
        "end_time_unix_nano": nanoseconds,
        "events": [],
        "status": {"code": "STATUS_CODE_OK", "message": ""},
        "attributes": {
            "mlflow.traceRequestId": json.dumps(_trace_id(run)),
            "mlflow.spanType": '"AGENT"',
            "agent_id": json.dumps(agent),
            "agent_name": json.dumps(name),
            "data": json.dumps(data, ensure_ascii=False),
        },
        "links": [],
    }


_SPAN_COLUMNS = (
    "trace_id",
    "experiment_id",
    "span_id",
    "parent_span_id",
    "name",
    "type",
    "status",
    "start_time_unix_nano",
    "end_time_unix_nano",
    "content",
)
_TRACE_COLUMNS = (
    "request_id",
    "experiment_id",
    "timestamp_ms",
    "execution_time_ms",
    "status",
    "trace_name",
)
_TAG_COLUMNS = ("key", "value", "request_id")


def _span_rows() -> Any:
    numbers = count()

    def row(agent: str, run: str, name: str, at: str, kind: str, data: str, *_: Any) -> Any:
        number = next(numbers)
        span = _span(number, agent, run, name, datetime.fromisoformat(at), kind, data)
        span["attributes"]["data"] = data  # The store reads JSON inside JSON.
        return (
            _trace_id(run),
            int(_EXPERIMENT),
            f"{scattered(number):016x}",
            f"{1:016x}",
            kind,
            "AGENT",
            "OK",
            span["start_time_unix_nano"],
            span["end_time_unix_nano"],
            json.dumps(span, ensure_ascii=False),
        )

    return row


def _listed(experiments: dict[str, int], size: int) -> list[fill.Content]:
    """Yield a trace for each event, and a tag for each trace."""
    numbers, tagged = count(), count()

    def trace(agent: str, run: str, name: str, at: str, kind: str, *_: Any) -> Any:
        milliseconds = int(datetime.fromisoformat(at).timestamp() * 1000)
        return _scattered_id(next(numbers)), experiments[agent], milliseconds, 0, "OK", kind

    def tag(*_: Any) -> Any:
        return "mlflow.artifactLocation", "/nowhere", _scattered_id(next(tagged))

    return [
        ("trace_info", _TRACE_COLUMNS, translated(event_rows(size), trace)),
        ("trace_tags", _TAG_COLUMNS, translated(_as_many(size), tag)),
    ]


def _as_many(size: int) -> Iterator[Sequence[tuple[Any, ...]]]:
    """Yield chunks of empty rows, as many as `event_rows` yields."""
    runs = runs_for(size)
    for first in range(0, runs, 10):
        yield [()] * (min(10, runs - first) * rows.EVENTS_OF_A_RUN)


def _scattered_id(number: int) -> str:
    return f"tr-{scattered(number):032x}"
