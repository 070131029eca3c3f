"""Statistics: what an agent, or all of them, did and spent.

The database counts and sums; what is left for Python is a handful of groups, and for percentiles
a histogram. Kept values are whole numbers, so sums are exact and equal on every backend.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import accumulate
from typing import Any

from curio_persistence.models import AgentRunStatus
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import decode_money, decode_text
from curio_persistence.store.filters import COUNT, Measure, total
from curio_persistence.store.tables import EVENTS, RUNS, USAGE

PERCENTILES = (50, 75, 90, 95, 99)
_SUCCESS = "success"
_SUMS = (COUNT, total("input_tokens"), total("output_tokens"), total("cost_usd"))
_LATENCIES = Measure("values", "latency_ms")


class Stats:
    """Answers from the statistics indexes, without reading a table."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def summary(self, *, agent_id: str | None = None) -> dict[str, Any]:
        """All totals of one agent, or of all.

        Costs are Decimals in US dollars; None where calls were made and none has a known cost.
        Latencies are in milliseconds. `errors` counts calls whose status is not `success`.
        """
        return {
            **self._runs(agent_id),
            **self._calls(agent_id),
            "tool_metrics": self._tools(agent_id),
        }

    def _runs(self, agent_id: str | None) -> dict[str, Any]:
        by_status: dict[str, int] = defaultdict(int)
        iterations = 0
        # Grouping by agent as well follows the order of the index, so the database need not sort.
        for _, status, count, steps in self._store.aggregate(
            RUNS,
            (COUNT, total("total_iterations")),
            RUNS.where(agent_id=agent_id),
            group_by=("agent_id", "status"),
        ):
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

    def _calls(self, agent_id: str | None) -> dict[str, Any]:
        # One agent's latencies come with the same look at the index; for all agents together
        # another index has them in order, and the database counts them.
        groups = self._store.aggregate(
            USAGE,
            _SUMS if agent_id is None else (*_SUMS, _LATENCIES),
            USAGE.where(agent_id=agent_id),
            group_by=("agent_id", "model", "status"),
        )
        models: dict[str, _Calls] = defaultdict(_Calls)
        everything = _Calls()
        latencies: Counter[int] = Counter()
        for _, model, status, count, input_tokens, output_tokens, cost, *rest in groups:
            for calls in (models[model], everything):
                calls.add(status, count, input_tokens, output_tokens, cost)
            for values in rest:
                latencies.update(values)
        histogram = self._latencies_of_all() if agent_id is None else latencies.items()
        return {
            "total_llm_calls": everything.count,
            "total_input_tokens": everything.input_tokens,
            "total_output_tokens": everything.output_tokens,
            "total_cost_usd": everything.cost_usd,
            "avg_input_tokens_per_call": _ratio(everything.input_tokens, everything.count, 2),
            "avg_output_tokens_per_call": _ratio(everything.output_tokens, everything.count, 2),
            "token_efficiency": _ratio(everything.output_tokens, everything.input_tokens, 4),
            "by_model": {model: calls.as_dict() for model, calls in sorted(models.items())},
            "latency_percentiles": percentiles(histogram),
        }

    def _latencies_of_all(self) -> Iterable[tuple[int, int]]:
        known = (USAGE.filter("latency_ms", "is not null"),)
        return self._store.aggregate(USAGE, (COUNT,), known, group_by=("latency_ms",))

    def _tools(self, agent_id: str | None) -> dict[str, dict[str, Any]]:
        tools: dict[str, _Tool] = defaultdict(_Tool)
        timed = Measure("count", "tool_latency_us")
        for _, name, failed, *sums in self._store.aggregate(
            EVENTS,
            (COUNT, timed, total("tool_latency_us")),
            (*EVENTS.where(agent_id=agent_id), EVENTS.filter("tool_name", "is not null")),
            group_by=("agent_id", "tool_name", "tool_error"),
        ):
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


def percentiles(histogram: Iterable[tuple[int, int]]) -> dict[str, float]:
    """`{"p50": …, …}` of (value, count) pairs, interpolated linearly between neighbours.

    The same numbers as `numpy.percentile(values, q)`, rounded to two decimals; `{}` of nothing.
    """
    bars = sorted(histogram)
    if not bars:
        return {}
    values = [value for value, _ in bars]
    ends = list(accumulate(count for _, count in bars))
    return {f"p{q}": _percentile(values, ends, q) for q in PERCENTILES}


def _percentile(values: Sequence[int], ends: Sequence[int], q: int) -> float:
    position, hundredths = divmod((ends[-1] - 1) * q, 100)
    lower = _nth(values, ends, position)
    upper = _nth(values, ends, min(position + 1, ends[-1] - 1))
    return round(lower + (upper - lower) * hundredths / 100, 2)


def _nth(values: Sequence[int], ends: Sequence[int], n: int) -> int:
    return values[bisect_right(ends, n)]


def _ratio(numerator: int, denominator: int, digits: int) -> float:
    return round(numerator / denominator, digits) if denominator else 0.0
