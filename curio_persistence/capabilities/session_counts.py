"""The counters of sessions, computed from their runs by a few queries for each page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from curio_persistence.models import Level
from curio_persistence.store.base import Store
from curio_persistence.store.filters import COUNT, Filter, Measure, Select, Where, total
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, SESSIONS, SEVERITIES, USAGE

_AT_ONCE = 2_000
"""The runs whose rows are counted by one query."""
_EVENTS = (COUNT, Measure("max", "timestamp"), Measure("count", "tool_error"), total("tool_error"))
_SEVERE = (Filter("severity", ">=", SEVERITIES[Level.ERROR.value]),)
_SEVERE_EVENTS = (COUNT, total("tool_error"))
_CALLS = (
    COUNT,
    Measure("max", "created_at"),
    Measure("count", "cost_usd"),
    total("cost_usd"),
    total("input_tokens"),
    total("output_tokens"),
)
_SUCCESS = "success"


@dataclass(slots=True)
class Counts:
    """The records of a session, added up; `last` is the time of the last of them."""

    runs: int = 0
    events: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    priced: int = 0
    last: str = ""

    def add_run(self, created_at: str, finished_at: str | None) -> None:
        self.runs += 1
        self.last = max(self.last, created_at, finished_at or "")

    def add_events(self, events: int, last: str, tools: int, failed: int | None) -> None:
        self.events += events
        self.tool_calls += tools
        self.errors += failed or 0
        self.last = max(self.last, last)

    def add_severe(self, events: int, failed: int | None) -> None:
        """Add events at `error` and above, of which those of failed tools are counted."""
        self.errors += events - (failed or 0)

    def add_calls(self, status: str, calls: int, last: str, priced: int, *sums: int | None) -> None:
        cost, input_tokens, output_tokens = (number or 0 for number in sums)
        self.model_calls += calls
        self.errors += 0 if status == _SUCCESS else calls
        self.priced += priced
        self.cost += cost
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        self.last = max(self.last, last)

    def values(self) -> dict[str, Any]:
        """Return the counters of a `Session` by name, in stored form."""
        return {
            "runs": self.runs,
            "events": self.events,
            "model_calls": self.model_calls,
            "tool_calls": self.tool_calls,
            "errors": self.errors,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": self.cost if self.priced or not self.model_calls else None,
            "unpriced": self.model_calls - self.priced,
        }


def counts_of(store: Store, sessions: Sequence[str]) -> defaultdict[str, Counts]:
    """Return what sessions count; one without runs counts nothing."""
    counts: defaultdict[str, Counts] = defaultdict(Counts)
    where: Where = (Filter("session_id", "in", tuple(sessions)),)
    columns = ("session_id", "run_id", "created_at", "finished_at")
    session_of: dict[str, str] = {}
    for session_id, run_id, created_at, finished_at in store.select_columns(RUNS, columns, where):
        counts[session_id].add_run(created_at, finished_at)
        session_of[run_id] = session_id
    run_ids = iter(session_of)
    while some := tuple(islice(run_ids, _AT_ONCE)):
        of_runs = (Filter("run_id", "in", some),)
        for run_id, *numbers in store.aggregate(EVENTS, _EVENTS, of_runs, group_by=("run_id",)):
            counts[session_of[run_id]].add_events(*numbers)
        severe = (*of_runs, *_SEVERE)
        for run_id, *numbers in store.aggregate(
            EVENTS, _SEVERE_EVENTS, severe, group_by=("run_id",)
        ):
            counts[session_of[run_id]].add_severe(*numbers)
        by_status = ("run_id", "status")
        for run_id, *numbers in store.aggregate(USAGE, _CALLS, of_runs, group_by=by_status):
            counts[session_of[run_id]].add_calls(*numbers)
    return counts


def sessions_since(store: Store, moment: str) -> tuple[str, ...]:
    """Return the sessions for which something came at a time or later, in their order."""
    named = Filter("session_id", "is not null")
    since: list[tuple[Table[Any], Where]] = [
        (SESSIONS, (Filter("last_event_at", ">=", moment),)),
        (RUNS, (named, Filter("created_at", ">=", moment))),
        (RUNS, (named, Filter("finished_at", ">=", moment))),
        *(
            (RUNS, (named, Filter("run_id", "in", Select(table, "run_id", recent))))
            for table, recent in (
                (EVENTS, (Filter("timestamp", ">=", moment),)),
                (USAGE, (Filter("created_at", ">=", moment),)),
            )
        ),
    ]
    found = (store.aggregate(table, (), where, group_by=("session_id",)) for table, where in since)
    return tuple(sorted({session_id for rows in found for (session_id,) in rows}))
