"""The tools that agents called, each with the calls of all agents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curio_persistence.capabilities.tool_totals import ToolTotals


@dataclass
class Tool:
    """Calls of one tool, added up."""

    name: str
    calls: int = 0
    errors: int = 0
    timed: int = 0
    spent_ms: float = 0.0

    def add(self, row: ToolTotals) -> None:
        self.calls += row.calls
        self.errors += row.errors
        self.timed += row.timed
        self.spent_ms += row.timed * (row.avg_latency_ms or 0.0)

    @property
    def avg_latency_ms(self) -> float | None:
        return self.spent_ms / self.timed if self.timed else None


def tools_of(rows: Iterable[ToolTotals]) -> list[Tool]:
    """Return the tools, the one with the most calls first."""
    tools: dict[str, Tool] = {}
    for row in rows:
        tools.setdefault(row.tool, Tool(row.tool)).add(row)
    return sorted(tools.values(), key=lambda tool: (-tool.calls, tool.name))
