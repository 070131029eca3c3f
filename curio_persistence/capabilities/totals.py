"""Totals: runs, model calls, tokens, costs and latencies, by any group and period.

The database groups and sums. A period of the reader's time zone is put together from smaller
buckets, which no zone's midnight divides. What a call does not know itself, such as its session
and tags, is looked up in its run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from curio_persistence.capabilities import stats
from curio_persistence.capabilities.expired import expired_groups
from curio_persistence.capabilities.grouping import GroupBy, Grouping
from curio_persistence.capabilities.windows import moment_after
from curio_persistence.models import FAILED_STATUSES, AgentRunStatus
from curio_persistence.results.computed import computed_table
from curio_persistence.results.pages import Records
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import decode_time
from curio_persistence.store.filters import (
    COUNT,
    Filter,
    GroupKey,
    Measure,
    Select,
    Spans,
    Where,
    total,
)
from curio_persistence.store.table import Record, Table
from curio_persistence.tables import RUNS, USAGE
from curio_persistence.tables.runs import ORIGIN

M = TypeVar("M", bound=Record)
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """The model calls of one group, added up.

    Of the first eleven fields those are set that the calls are grouped by; None there means that a
    call has no such value. `cost_usd` is exact, and None if no call has a known cost; `unpriced`
    counts the calls without one. Percentiles are None unless they were asked for.
    """

    agent_id: str | None
    model: str | None
    provider: str | None
    session_id: str | None
    user_id: str | None
    tag: str | None
    source: str | None
    project: str | None
    branch: str | None
    status: str | None
    period: str | None
    calls: int
    errors: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    cost_usd: Decimal | None
    unpriced: int
    avg_latency_ms: float | None
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    latency_p99_ms: float | None


@dataclass(frozen=True, slots=True)
class RunTotals:
    """The runs of one group, added up, with the model calls that they made.

    `errors` counts runs that failed or timed out. Durations are those of finished runs, in
    seconds. The other fields are as in `UsageTotals`.
    """

    agent_id: str | None
    session_id: str | None
    user_id: str | None
    tag: str | None
    source: str | None
    project: str | None
    branch: str | None
    status: str | None
    period: str | None
    runs: int
    completed: int
    errors: int
    running: int
    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    unpriced: int
    avg_duration_s: float | None
    duration_p50_s: float | None
    duration_p95_s: float | None
    duration_p99_s: float | None


CALL_SUMS = (
    COUNT,
    Measure("count", "cost_usd"),
    total("cost_usd"),
    total("input_tokens"),
    total("output_tokens"),
    total("cache_read_tokens"),
    total("cache_write_tokens"),
    total("reasoning_tokens"),
    Measure("count", "latency_ms"),
    total("latency_ms"),
)
_MOST = 1_000
"""The periods that are looked up one by one, and their days."""
CALL_LATENCIES = Measure("values", "latency_ms")
SUCCESS = "success"


def usage_totals(
    store: Store, where: Where, *, group_by: GroupBy, timezone: Any, percentiles: bool
) -> Records[UsageTotals]:
    """Return the totals of the model calls that pass the filters."""
    grouping = Grouping(group_by, timezone, USAGE_TOTALS)
    own = [name for name in grouping.fields if name in USAGE.names]
    runs = known_of_runs(store, USAGE, where) if grouping.fields & KNOWN_OF_RUNS else None
    # Times first: rows are stored in the order of time, so that SQLite has less to sort.
    times, within = _times(store, grouping, where)
    others = (*own, *(() if runs is None else ("run_id",)))
    columns, names = (*times, *others), (*(["created_at"] if times else []), *others)
    measures = (*CALL_SUMS, *((CALL_LATENCIES,) if percentiles else ()))
    groups = grouping.groups(Calls)
    buckets = grouping.buckets("created_at")  # Those that expired may be of any time.
    # Counted by itself: sorting all calls by their status takes longer than reading them twice.
    failed = (*within, Filter("status", "<>", SUCCESS))
    for add, rows in (
        (Calls.add_sums, store.aggregate(USAGE, measures, within, group_by=columns)),
        (Calls.add_errors, store.aggregate(USAGE, (COUNT,), failed, group_by=columns)),
        (Calls.add, expired_calls(store, where, (*buckets, *others, "status"))),
    ):
        for row in rows:
            known = dict(zip(names, row, strict=False))
            if runs is not None:
                known |= runs.get(known["run_id"], {})
            for key in grouping.keys(known):
                add(groups[key], *row[len(columns) :])
    return grouping.records(groups)


def _times(
    store: Store, grouping: Grouping[Any], where: Where
) -> tuple[tuple[GroupKey, ...], Where]:
    """Return what to group times by, and the filters that are left.

    Periods are spans, each of which an index finds, in a third of the time of buckets. Only a
    condition on runs would be evaluated for each span.
    """
    buckets = grouping.buckets("created_at"), where
    if grouping.periods is None or any(isinstance(each.value, Select) for each in where):
        return buckets
    bounds = tuple(each for each in where if each.column == "created_at")
    [(first,)] = store.aggregate(USAGE, (Measure("min", "created_at"),), bounds)
    [(last,)] = store.aggregate(USAGE, (Measure("max", "created_at"),), bounds)
    if first is None or (end := moment_after(last)) == last:
        return buckets
    if (datetime.fromisoformat(last) - datetime.fromisoformat(first)).days > _MOST:
        return buckets
    begins = grouping.periods.begins(first, end)
    if len(begins) > _MOST:
        return buckets
    others = tuple(each for each in where if each.column != "created_at")
    return (Spans("created_at", (first, *begins[1:], end)),), others


def run_totals(
    store: Store, where: Where, *, group_by: GroupBy, timezone: Any, percentiles: bool
) -> Records[RunTotals]:
    """Return the totals of the runs that pass the filters, and of their model calls."""
    grouping = Grouping(group_by, timezone, RUN_TOTALS)
    of_these = (Filter("run_id", "in", Select(RUNS, "run_id", where)),)
    calls = {
        run_id: numbers
        for run_id, *numbers in store.aggregate(USAGE, CALL_SUMS, of_these, group_by=("run_id",))
    }
    groups = grouping.groups(partial(_Runs, percentiles))
    for row in store.select_columns(RUNS, _RUN_COLUMNS, where):
        known = dict(zip(_RUN_COLUMNS, row, strict=True))
        for key in grouping.keys(known):
            groups[key].add(known, calls.get(known["run_id"]))
    columns = ("agent_id", "status", *grouping.buckets("created_at"))
    for agent_id, status, *day, numbers in _expired_runs(store, where, columns):
        known = {"agent_id": agent_id, "status": status, "created_at": next(iter(day), None)}
        for key in grouping.keys(known):
            groups[key].add_expired(status, *numbers)
    return grouping.records(groups)


# --- what has expired -----------------------------------------------------------------------------

_EXPIRED_CALLS = (
    "priced",
    "cost_usd",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
)


def expired_calls(
    store: Store, where: Where, columns: tuple[GroupKey, ...]
) -> Iterator[tuple[Any, ...]]:
    """Yield expired calls in groups as stored ones are read: the columns, then `CALL_SUMS`."""
    known = tuple(column for column in columns if column != "run_id")
    numbers = ("count", *_EXPIRED_CALLS, "timed", "duration_us")
    for row in expired_groups(store, "call", numbers, where, known):
        values = dict(zip(known, row, strict=False))
        # The totals have "" for an agent that a call did not name.
        if values.get("agent_id") == "":
            values["agent_id"] = None
        yield (*map(values.get, columns), *row[len(known) : -1], row[-1] // 1000)


def _expired_runs(
    store: Store, where: Where, columns: tuple[GroupKey, ...]
) -> Iterator[tuple[Any, ...]]:
    """Yield expired runs in groups: the columns, then the arguments of `_Runs.add_expired`."""
    numbers = ("count", "timed", "duration_us", "calls", *_EXPIRED_CALLS)
    for row in expired_groups(store, "run", numbers, where, columns):
        yield (*row[: len(columns)], row[len(columns) :])


KNOWN_OF_RUNS = frozenset({"session_id", "user_id", "tag", *ORIGIN})
_FROM_RUNS = ("session_id", "user_id", "tags", *ORIGIN)
_RUN_COLUMNS = (
    "run_id",
    "agent_id",
    "session_id",
    "user_id",
    "tags",
    *ORIGIN,
    "status",
    "created_at",
    "started_at",
    "finished_at",
)


def known_of_runs(store: Store, table: Table[Any], where: Where) -> dict[str, dict[str, Any]]:
    """Return what records are grouped by that only their runs know, by the ids of these."""
    of_these = (Filter("run_id", "in", Select(table, "run_id", where)),) if where else ()
    rows = store.select_columns(RUNS, ("run_id", *_FROM_RUNS), of_these)
    return {run_id: dict(zip(_FROM_RUNS, known, strict=True)) for run_id, *known in rows}


# --- sums -----------------------------------------------------------------------------------------


class Calls:
    """Model calls, added up."""

    def __init__(self) -> None:
        self._sums = [0] * len(CALL_SUMS)
        self._errors = 0
        self._latencies: list[int] = []

    def add(self, status: str, *numbers: Any) -> None:
        """Add the measures of calls with one status."""
        self.add_sums(*numbers)
        self.add_errors(0 if status == SUCCESS else numbers[0])

    def add_sums(self, *numbers: Any) -> None:
        """Add the measures of calls; those that failed among them are added by `add_errors`."""
        self._sums = [known + (more or 0) for known, more in zip(self._sums, numbers, strict=False)]
        self._latencies += chain.from_iterable(numbers[len(CALL_SUMS) :])

    def add_errors(self, count: int) -> None:
        self._errors += count

    def numbers(self) -> dict[str, Any]:
        """Return the sums by the fields of `UsageTotals`, in stored form."""
        calls, priced, cost, *tokens, timed, latency = self._sums
        return {
            "calls": calls,
            "errors": self._errors,
            "unpriced": calls - priced,
            "cost_usd": cost if priced or not calls else None,
            **dict(zip(_TOKENS, tokens, strict=True)),
            "avg_latency_ms": round(latency / timed, 3) if timed else None,
            **_percentiles("latency", "ms", self._latencies, 1),
        }


class _Runs:
    """Runs, added up with their model calls."""

    def __init__(self, percentiles: bool) -> None:
        self._percentiles = percentiles
        self._calls = Calls()
        self._statuses: Counter[str] = Counter()
        self._timed = self._duration = 0
        self._microseconds: list[int] = []

    def add(self, run: Mapping[str, Any], calls: Sequence[Any] | None) -> None:
        self._statuses[run["status"]] += 1
        started, finished = decode_time(run["started_at"]), decode_time(run["finished_at"])
        if started is not None and finished is not None:
            duration = (finished - started) // timedelta(microseconds=1)
            self._timed += 1
            self._duration += duration
            if self._percentiles:
                self._microseconds.append(duration)
        if calls is not None:
            self._calls.add(SUCCESS, *calls)

    def add_expired(self, status: str, runs: int, timed: int, duration: int, *calls: int) -> None:
        """Add expired runs with one status; `calls` are as the first of `CALL_SUMS`."""
        self._statuses[status] += runs
        self._timed += timed
        self._duration += duration
        self._calls.add(SUCCESS, *calls, 0, 0)

    def numbers(self) -> dict[str, Any]:
        """Return the sums by the fields of `RunTotals`, in stored form."""
        return {
            **self._calls.numbers(),
            "runs": self._statuses.total(),
            "completed": self._statuses[AgentRunStatus.COMPLETED.value],
            "errors": sum(self._statuses[status] for status in FAILED_STATUSES),
            "running": self._statuses[AgentRunStatus.RUNNING.value],
            "avg_duration_s": round(self._duration / self._timed / 1e6, 3) if self._timed else None,
            **_percentiles("duration", "s", self._microseconds, 1e6),
        }


_TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
)


def _percentiles(name: str, unit: str, values: Iterable[int], scale: float) -> dict[str, float]:
    found = stats.percentiles(values)
    return {f"{name}_{q}_{unit}": round(value / scale, 3) for q, value in found.items()}


# --- the table form of the results, which no database stores --------------------------------------

USAGE_TOTALS = computed_table("usage totals", UsageTotals)
RUN_TOTALS = computed_table("run totals", RunTotals)
