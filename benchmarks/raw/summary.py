"""Statistics from the groups returned by a database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import accumulate
from typing import Any

QUANTILES = (50, 75, 90, 95, 99)


def quantiles(values: Sequence[int]) -> dict[str, float]:
    """Return quantiles of sorted values."""
    found = {}
    for q in QUANTILES:
        position, hundredths = divmod((len(values) - 1) * q, 100)
        lower, upper = values[position], values[min(position + 1, len(values) - 1)]
        found[f"p{q}"] = round(lower + (upper - lower) * hundredths / 100, 2)
    return found


def quantiles_of_histogram(bars: Sequence[tuple[int, int]]) -> dict[str, float]:
    """Return quantiles of sorted (value, count) pairs."""
    ends = list(accumulate(count for _, count in bars))
    found, bar = {}, 0
    for q in QUANTILES:
        position, hundredths = divmod((ends[-1] - 1) * q, 100)
        while ends[bar] <= position:
            bar += 1
        lower = bars[bar][0]
        last = ends[bar] == position + 1 and position + 1 < ends[-1]
        upper = bars[bar + 1][0] if last else lower
        found[f"p{q}"] = round(lower + (upper - lower) * hundredths / 100, 2)
    return found


def stats(
    run_groups: Iterable[tuple[Any, ...]],
    call_groups: Iterable[tuple[Any, ...]],
    quantiles: dict[str, float],
    tool_groups: Iterable[tuple[Any, ...]],
) -> dict[str, Any]:
    statuses: dict[str, int] = {}
    iterations = 0
    for status, count, steps in run_groups:
        statuses[status] = statuses.get(status, 0) + count
        iterations += int(steps)
    models: dict[str, list[Any]] = {}
    for model, status, count, asked, answered, cost, *_ in call_groups:
        sums = models.setdefault(model, [0, 0, 0, 0, 0])
        sums[0] += count
        sums[1] += int(asked or 0)
        sums[2] += int(answered or 0)
        sums[3] += cost or 0
        sums[4] += 0 if status == "success" else count
    tools: dict[str, list[Any]] = {}
    for name, *counts in tool_groups:
        tools[name] = [
            a + int(b or 0) for a, b in zip(tools.get(name, [0] * 4), counts, strict=True)
        ]
    runs = sum(statuses.values())
    calls, asked, answered, cost, _ = map(sum, zip(*models.values(), strict=True))
    return {
        "total_runs": runs,
        "completed_runs": statuses.get("completed", 0),
        "error_runs": statuses.get("error", 0),
        "runs_by_status": statuses,
        "avg_iterations": round(iterations / runs, 2),
        "total_llm_calls": calls,
        "total_input_tokens": asked,
        "total_output_tokens": answered,
        "total_cost_usd": _dollars(cost),
        "avg_input_tokens_per_call": round(asked / calls, 2),
        "avg_output_tokens_per_call": round(answered / calls, 2),
        "token_efficiency": round(answered / asked, 4),
        "by_model": {
            model: {
                "calls": sums[0],
                "input_tokens": sums[1],
                "output_tokens": sums[2],
                "cost_usd": _dollars(sums[3]),
                "errors": sums[4],
            }
            for model, sums in models.items()
        },
        "latency_percentiles": quantiles,
        "tool_metrics": {
            name: {
                "call_count": count,
                "total_latency_ms": round(micros / 1000, 2),
                "avg_latency_ms": round(micros / timed / 1000, 2),
                "error_count": errors,
            }
            for name, (count, errors, timed, micros) in tools.items()
        },
    }


def _dollars(cost: int | Decimal) -> Decimal:
    """Convert to dollars: PostgreSQL stores dollars, SQLite picodollars."""
    return cost if isinstance(cost, Decimal) else Decimal(cost).scaleb(-12)
