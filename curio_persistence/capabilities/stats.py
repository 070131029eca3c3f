"""Statistics: the runs, calls, tokens and costs of one agent, or of all.

The database counts and sums. Python combines a handful of groups, and for percentiles a histogram.
Stored values are whole numbers, so sums are exact and equal on every backend.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from functools import partial
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack

from curio_persistence.capabilities.capability import Capability
from curio_persistence.capabilities.record_filter import FilterKind
from curio_persistence.capabilities.windows import TimeLike
from curio_persistence.clock import Clock
from curio_persistence.models import AgentRunStatus
from curio_persistence.results.pages import Records
from curio_persistence.store.codecs import decode_money, decode_text
from curio_persistence.store.filters import COUNT, Measure, Where, total
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, EXPIRED_TOTALS, RUNS, USAGE

if TYPE_CHECKING:
    from curio_persistence.capabilities.failures import FailureGroup
    from curio_persistence.capabilities.tool_totals import ToolTotals

PERCENTILES = (50, 75, 90, 95, 99)
_SUCCESS = "success"
_SUMS = (COUNT, total("input_tokens"), total("output_tokens"), total("cost_usd"))
_LATENCIES = Measure("values", "latency_ms")
_TIMED = (COUNT, Measure("count", "tool_latency_us"), total("tool_latency_us"))

_MORE_OF_CALLS = (
    Measure("count", "cost_usd"),
    Measure("count", "latency_ms"),
    total("latency_ms"),
)

Groups = Sequence[tuple[Any, ...]]


class StatGroups(NamedTuple):
    """Runs, model calls and tool calls by agent, in stored form."""

    runs: Groups
    """Agent, status; count, iterations."""
    calls: Groups
    """Agent, model, status; count, tokens in and out, cost, calls that have one; calls with a
    latency, milliseconds."""
    tools: Groups
    """Agent, tool, whether it failed; count, calls with a latency, microseconds."""


class StatsFilters(TypedDict, total=False):
    """The filters of statistics: what is counted must pass all that are given."""

    agent_id: str | None
    session_id: str | None
    source: str | Collection[str] | None
    project: str | Collection[str] | None
    since: TimeLike | None
    until: TimeLike | None


_EXPIRED = tuple(
    map(
        total,
        (
            "count",
            "iterations",
            "input_tokens",
            "output_tokens",
            "cost_usd",
            "priced",
            "timed",
            "duration_us",
        ),
    )
)
_OF_RUN = ("session_id", "source", "project")
_FILTERS = {
    RUNS: FilterKind(RUNS, StatsFilters),
    EVENTS: FilterKind(EVENTS, StatsFilters, _OF_RUN),
    USAGE: FilterKind(USAGE, StatsFilters, _OF_RUN),
    EXPIRED_TOTALS: FilterKind(EXPIRED_TOTALS, StatsFilters, _OF_RUN),
}


def where_of_stats(filters: StatsFilters, clock: Clock, table: Table[Any]) -> Where:
    """Return the filters of a table's rows that statistics count."""
    return _FILTERS[table].of(filters).where(clock)


class Stats(Capability):
    """Compute statistics from their indexes, without reading a table."""

    def summary(self, **filters: Unpack[StatsFilters]) -> dict[str, Any]:
        """Return all totals of one agent, or of all; of a session, project or window of time.

        Runs and calls count for the time at which they were stored, tools for that of their event.
        Costs are Decimals in US dollars; None where calls were made and none has a known cost.
        Latencies are in milliseconds. `errors` counts calls whose status is not `success`. A tool
        call failed if its event has an `error`; a tool of an MCP server is named `server/tool`.
        What has expired is counted too, except in percentiles, sessions and projects.
        """
        where = partial(self._where, filters)
        if where(USAGE):
            # The latencies come from the same scan as all else.
            calls = self._calls(where(USAGE), _LATENCIES)
            latencies = percentiles(chain.from_iterable(row[-1] for row in calls))
        else:
            # Another index has the latencies of all calls in order.
            calls, latencies = self._calls(()), percentiles_of_histogram(self._latencies())
        expired = self._expired(filters)
        return {
            **_summary_of_runs([*self._runs(where(RUNS)), *expired["run"]]),
            **_summary_of_calls([*calls, *expired["call"]]),
            "latency_percentiles": latencies,
            "tool_metrics": _summary_of_tools([*self._tools(where(EVENTS)), *expired["tool"]]),
        }

    def tools(self, **filters: Unpack[StatsFilters]) -> Records[ToolTotals]:
        """Return the finished tool calls of each agent and tool, as `summary` counts them."""
        from curio_persistence.capabilities.tool_totals import tool_totals  # On use.

        expired = self._expired(filters)["tool"]
        return tool_totals([*self._tools(self._where(filters, EVENTS)), *expired])

    def failures(self, **filters: Unpack[StatsFilters]) -> Records[FailureGroup]:
        """Return what failed and why: runs, tool calls and model calls, grouped by their message.

        A run failed if its status is `error` or `timeout`, a model call if its status is not
        `success`, a tool call if its event has an `error`. Messages that differ only in numbers and
        ids are one group. The group of the newest failure comes first.
        """
        from curio_persistence.capabilities.failures import failure_groups  # On use: seldom needed.

        return failure_groups(self._store.for_reading, partial(self._where, filters))

    def groups(self) -> StatGroups:
        """Return the groups that `summary` adds up, of everything, for monitoring.

        What has expired is counted too.
        """
        expired = self._expired({})
        calls = self._calls((), *_MORE_OF_CALLS)
        return StatGroups(
            [*self._runs(()), *expired["run"]],
            [*calls, *((*row, 0, 0) for row in expired["call"])],
            [*self._tools(()), *expired["tool"]],
        )

    def _where(self, filters: StatsFilters, table: Table[Any]) -> Where:
        return where_of_stats(filters, self._clock, table)

    # Grouping by agent as well follows the order of an index, so the database need not sort.

    def _runs(self, where: Where) -> Groups:
        measures = (COUNT, total("total_iterations"))
        return self._store.for_reading.aggregate(
            RUNS, measures, where, group_by=("agent_id", "status")
        )

    def _calls(self, where: Where, *more: Measure) -> Groups:
        group_by = ("agent_id", "model", "status")
        return self._store.for_reading.aggregate(USAGE, _SUMS + more, where, group_by=group_by)

    def _tools(self, where: Where) -> Groups:
        where = (*where, EVENTS.filter("tool_name", "is not null"))
        group_by = ("agent_id", "tool_name", "tool_error")
        return self._store.for_reading.aggregate(EVENTS, _TIMED, where, group_by=group_by)

    def _expired(self, filters: StatsFilters) -> dict[str, Groups]:
        """Return what has expired in the groups of `_runs`, `_calls` and `_tools`, by kind."""
        found: dict[str, list[tuple[Any, ...]]] = {"run": [], "call": [], "tool": []}
        if any(filters.get(name) is not None for name in _OF_RUN):  # Not known of expired rows.
            return dict(found)
        where = self._where(filters, EXPIRED_TOTALS)
        where = (*where, EXPIRED_TOTALS.filter_any("kind", (*found,)))
        group_by = ("kind", "agent_id", "name", "status")
        rows = self._store.for_reading.aggregate(EXPIRED_TOTALS, _EXPIRED, where, group_by=group_by)
        for kind, agent, name, status, count, steps, tokens, output, cost, priced, *timed in rows:
            groups = {
                "run": (agent, status, count, steps),
                "call": (
                    agent,
                    name,
                    status,
                    count,
                    tokens,
                    output,
                    cost if priced else None,
                    priced,
                ),
                "tool": (agent, name, status == "error", count, *timed),
            }
            found[kind].append(groups[kind])
        return dict(found)

    def _latencies(self) -> Groups:
        """Return each latency, and the number of calls with it."""
        where = (USAGE.filter("latency_ms", "is not null"),)
        return self._store.for_reading.aggregate(USAGE, (COUNT,), where, group_by=("latency_ms",))


def _summary_of_runs(groups: Groups) -> dict[str, Any]:
    by_status: dict[str, int] = defaultdict(int)
    iterations = 0
    for _, status, count, steps in groups:
        by_status[status] += count
        iterations += steps
    runs = sum(by_status.values())
    return {
        "total_runs": runs,
        "completed_runs": by_status.get(AgentRunStatus.COMPLETED, 0),
        "error_runs": by_status.get(AgentRunStatus.ERROR, 0),
        "runs_by_status": dict(sorted(by_status.items())),
        "avg_iterations": _ratio(iterations, runs, 2),
    }


def _summary_of_calls(groups: Groups) -> dict[str, Any]:
    models: dict[str, _Calls] = defaultdict(_Calls)
    everything = _Calls()
    for _, model, *numbers in groups:
        for calls in (models[model], everything):
            calls.add(*numbers[:5])
    return {
        "total_llm_calls": everything.count,
        "total_input_tokens": everything.input_tokens,
        "total_output_tokens": everything.output_tokens,
        "total_cost_usd": everything.cost_usd,
        "avg_input_tokens_per_call": _ratio(everything.input_tokens, everything.count, 2),
        "avg_output_tokens_per_call": _ratio(everything.output_tokens, everything.count, 2),
        "token_efficiency": _ratio(everything.output_tokens, everything.input_tokens, 4),
        "by_model": {model: calls.as_dict() for model, calls in sorted(models.items())},
    }


def _summary_of_tools(groups: Groups) -> dict[str, dict[str, Any]]:
    tools: dict[str, _Tool] = defaultdict(_Tool)
    for _, name, failed, *sums in groups:
        tools[decode_text(name) or ""].add(failed, *sums)
    return {name: tool.as_dict() for name, tool in sorted(tools.items())}


class _Calls:
    """Model calls, added up."""

    def __init__(self) -> None:
        self.count = self.errors = self.input_tokens = self.output_tokens = 0
        self._picodollars: int | None = None

    def add(
        self,
        status: str,
        count: int,
        input_tokens: int | None,
        output_tokens: int | None,
        picodollars: int | None,
    ) -> None:
        self.count += count
        self.errors += count if status != _SUCCESS else 0
        self.input_tokens += input_tokens or 0
        self.output_tokens += output_tokens or 0
        if picodollars is not None:
            self._picodollars = (self._picodollars or 0) + picodollars

    @property
    def cost_usd(self) -> Decimal | None:
        return decode_money(self._picodollars if self.count else 0)

    def as_dict(self) -> dict[str, Any]:
        return {
            "calls": self.count,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": self.cost_usd,
            "errors": self.errors,
        }


class _Tool:
    """Finished calls of one tool, added up."""

    def __init__(self) -> None:
        self._count = self._errors = self._timed = self._microseconds = 0

    def add(self, failed: int, count: int, timed: int, microseconds: int | None) -> None:
        self._count += count
        self._errors += count if failed else 0
        self._timed += timed
        self._microseconds += microseconds or 0

    def as_dict(self) -> dict[str, Any]:
        return {
            "call_count": self._count,
            "total_latency_ms": round(self._microseconds / 1000, 2),
            "avg_latency_ms": _ratio(self._microseconds, self._timed * 1000, 2),
            "error_count": self._errors,
        }


def percentiles_of_histogram(histogram: Iterable[tuple[int, int]]) -> dict[str, float]:
    """Return `{"p50": …, …}` of (value, count) pairs, interpolated linearly between neighbours.

    The same numbers as `numpy.percentile(values, q)`, rounded to two decimals; `{}` without values.
    """
    bars = sorted(histogram)
    values = [value for value, _ in bars]
    return _percentiles(values, list(accumulate(count for _, count in bars)))


def percentiles(values: Iterable[int]) -> dict[str, float]:
    """Return the same of single values in any order."""
    ordered = sorted(values)
    return _percentiles(ordered, range(1, len(ordered) + 1))


def _percentiles(values: Sequence[int], ends: Sequence[int]) -> dict[str, float]:
    """Return percentiles of sorted values and their cumulative counts."""
    return {f"p{q}": _percentile(values, ends, q) for q in PERCENTILES if values}


def _percentile(values: Sequence[int], ends: Sequence[int], q: int) -> float:
    position, hundredths = divmod((ends[-1] - 1) * q, 100)
    lower = _nth(values, ends, position)
    upper = _nth(values, ends, min(position + 1, ends[-1] - 1))
    return round(lower + (upper - lower) * hundredths / 100, 2)


def _nth(values: Sequence[int], ends: Sequence[int], n: int) -> int:
    return values[bisect_right(ends, n)]


def _ratio(numerator: int, denominator: int, digits: int) -> float:
    return round(numerator / denominator, digits) if denominator else 0.0
