"""The records that spans are derived from, in stored form, as far as they are needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple

from curio_persistence.models import EventType
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter, Where
from curio_persistence.store.table import Columns
from curio_persistence.tables import EVENTS, RUNS, SPANS, USAGE
from curio_persistence.tables.events import TOOL_EVENTS

_AT_ONCE = 2_000
"""The runs whose records are read by one query."""

RUN_STARTED = EventType.RUN_STARTED.value
BEGINS = {
    EventType.TOOL_CALL_STARTED.value: EventType.TOOL_CALL.value,
    EventType.SPAN_STARTED.value: EventType.SPAN.value,
    EventType.ACTION_EXECUTION_STARTED.value: EventType.ACTION_EXECUTION_COMPLETED.value,
}
"""The events with which tool calls and spans begin, and those with which they end."""
_OF_SPANS_IN_BRIEF = (
    *("trace_id", "span_id", "name", "kind", "parent_span_id", "run_id", "status"),
    *("error_message", "started_at", "ended_at", "start_nanos", "end_nanos"),
    *("agent_id", "session_id", "user_id", "input", "created_at", "updated_at"),
)
SPAN_EVENTS = tuple(sorted({RUN_STARTED, *BEGINS, *BEGINS.values(), *TOOL_EVENTS}))
"""The types of the events from which spans are derived."""


class RunRow(NamedTuple):
    """A run."""

    run_id: str
    id: int
    parent_run_id: str | None
    agent_id: str
    agent_name: str
    session_id: str | None
    user_id: str | None
    status: str
    created_at: str
    started_at: str | None
    finished_at: str | None
    error_message: str | None
    objective: str
    final_synthesis_output: str | None = None

    @property
    def begin(self) -> str:
        return self.started_at or self.created_at


class EventRow(NamedTuple):
    """The begin of a run, the begin or the end of a tool call or span."""

    run_id: str
    id: int
    event_type: str
    timestamp: str
    span_id: str | None
    parent_span_id: str | None
    tool_name: str | None
    tool_latency_us: int | None
    tool_error: int | None
    data: str | None = None


class CallRow(NamedTuple):
    """A model call."""

    run_id: str | None
    id: int
    span_id: str | None
    parent_span_id: str | None
    provider: str
    model: str
    status: str
    error_message: str | None
    created_at: str
    latency_ms: int | None
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: int | None
    trace_id: str | None
    prompt: str | None = None
    response_content: str | None = None


class RecordReader:
    """Reads the records of runs; in brief, those without long texts."""

    def __init__(self, store: Store, *, brief: bool) -> None:
        self._store = store
        self._brief = brief

    def family(self, run_ids: Iterable[str]) -> list[RunRow]:
        """Return some runs and all that they started, each once, even where these go in circles."""
        found: dict[str, RunRow] = {}
        level = self.runs("run_id", run_ids)
        while level:
            new = [run for run in level if found.setdefault(run.run_id, run) is run]
            level = self.runs("parent_run_id", [run.run_id for run in new])
        return [*found.values()]

    def runs(self, column: str, values: Iterable[str]) -> list[RunRow]:
        """Return the runs with one of some values in a column, as they were stored."""
        rows = [
            RunRow(*row)
            for where in of_values(column, values)
            for row in self._store.select_columns(RUNS, self._columns(RunRow), where)
        ]
        return sorted(rows, key=lambda row: row.id)

    def events(self, run_ids: Iterable[str]) -> list[EventRow]:
        """Return the events of runs from which spans are derived, in the order of their times."""
        types = Filter("event_type", "in", SPAN_EVENTS)
        rows = [
            EventRow(*row)
            for where in of_values("run_id", run_ids)
            for row in self._store.select_columns(EVENTS, self._columns(EventRow), (*where, types))
        ]
        rows.sort(key=lambda row: (row.timestamp, row.id))
        return self._with_data(rows) if self._brief else rows

    def _with_data(self, rows: list[EventRow]) -> list[EventRow]:
        """Return events with the payloads that alone tell how a span is called, and ended."""
        ended = {row.span_id for row in rows if row.event_type in _ENDS}
        wanted = [row.id for row in rows if _needs_data(row, ended)]
        data = {
            ident: text
            for where in of_values("id", wanted)
            for ident, text in self._store.select_columns(EVENTS, ("id", "data"), where)
        }
        return [row._replace(data=data[row.id]) if row.id in data else row for row in rows]

    def calls(self, run_ids: Iterable[str], trace_ids: Iterable[str]) -> list[CallRow]:
        """Return the model calls of runs, and those of traces that belong to no run, by time."""
        loose = (Filter("run_id", "is null"),)
        wheres = (*of_values("run_id", run_ids), *of_values("trace_id", trace_ids, loose))
        rows = [
            CallRow(*row)
            for where in wheres
            for row in self._store.select_columns(USAGE, self._columns(CallRow), where)
        ]
        return sorted(rows, key=lambda row: (row.created_at, row.id))

    def saved(self, run_ids: Iterable[str], trace_ids: Iterable[str]) -> list[dict[str, Any]]:
        """Return the saved spans of runs, and those of traces, each once, as they were saved.

        They have the fields of AgentSpan that are not None.
        """
        names = _OF_SPANS_IN_BRIEF if self._brief else SPANS.names
        of_traces = [*of_values("trace_id", trace_ids)]
        # Most spans of a run are of its trace, and need not be read twice.
        others = tuple(each._replace(op="not in") for where in of_traces for each in where)
        rows = [
            row
            for where in (*of_traces, *of_values("run_id", run_ids, others))
            for row in self._store.select_columns(SPANS, ("id", *names), where)
        ]
        rows.sort(key=itemgetter(0))
        stored = dict(zip(("id", *names), zip(*rows, strict=True), strict=False))
        nothing = (None,) * len(rows)
        columns: Columns = [stored.get(name, nothing) for name in SPANS.names]
        with SPANS.naming_damage(columns):
            read = zip(*SPANS.decode_columns(columns), strict=True)
            return [
                {
                    name: value
                    for name, value in zip(SPANS.names, row, strict=True)
                    if value is not None
                }
                for row in read
            ]

    def _columns(self, row: Any) -> tuple[str, ...]:
        return tuple(
            name for name in row._fields if not (self._brief and name in row._field_defaults)
        )


_ENDS = frozenset(BEGINS.values())


def _needs_data(row: EventRow, ended: set[str | None]) -> bool:
    if row.event_type == EventType.SPAN.value:
        return True
    return row.event_type in BEGINS and row.span_id is not None and row.span_id not in ended


def of_values(column: str, values: Iterable[Any], also: Where = ()) -> Iterator[Where]:
    """Yield filters for rows with one of some values in a column, so many at a time."""
    waiting = iter(dict.fromkeys(values))
    while some := tuple(islice(waiting, _AT_ONCE)):
        yield (*also, Filter(column, "in", some))
