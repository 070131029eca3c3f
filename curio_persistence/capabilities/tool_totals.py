"""Totals of tool calls, by agent and tool."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from curio_persistence.results.computed import computed_table
from curio_persistence.results.pages import Records


@dataclass(frozen=True, slots=True)
class ToolTotals:
    """The finished calls of one tool by one agent, added up.

    `errors` counts calls whose event has an `error`. `timed` counts those with a latency, and
    `avg_latency_ms` is their mean; None if there is none.
    """

    agent_id: str
    tool: str
    calls: int
    errors: int
    timed: int
    avg_latency_ms: float | None


def tool_totals(groups: Iterable[tuple[Any, ...]]) -> Records[ToolTotals]:
    """Return the totals of groups of stored calls: agent, tool, failed, and their sums."""
    sums: dict[tuple[str, str], list[int]] = {}
    for agent_id, tool, failed, count, timed, microseconds in groups:
        known = sums.setdefault((agent_id, tool), [0, 0, 0, 0])
        for place, more in enumerate((count, count if failed else 0, timed, microseconds or 0)):
            known[place] += more
    rows = [
        (*key, calls, errors, timed, round(spent / timed / 1000, 3) if timed else None)
        for key, (calls, errors, timed, spent) in sorted(sums.items())
    ]
    return Records(TOOL_TOTALS, list(zip(*rows, strict=True)) or [()] * len(TOOL_TOTALS.names))


TOOL_TOTALS = computed_table("tool totals", ToolTotals)
