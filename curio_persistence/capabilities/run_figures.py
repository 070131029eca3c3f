"""The figures of runs for lists of them: calls, tokens, costs and failures."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from curio_persistence.store.base import Store
from curio_persistence.store.codecs import decode_money
from curio_persistence.store.filters import COUNT, Filter, Measure, total
from curio_persistence.tables import EVENTS, USAGE

_CALLS = (
    COUNT,
    total("input_tokens"),
    total("output_tokens"),
    total("cost_usd"),
    Measure("count", "cost_usd"),
)
_TOOLS = (Measure("count", "tool_error"), total("tool_error"))
_SUCCESS = "success"


@dataclass(slots=True)
class RunFigures:
    """The model calls and tool calls of one run, added up.

    `cost_usd` is exact, and None if no call has a known cost; `unpriced` calls have none. A tool
    call failed if its event has an `error`, a model call if its status is not `success`.
    """

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal | None = None
    unpriced: int = 0
    failed_calls: int = 0
    tool_calls: int = 0
    failed_tools: int = 0

    @property
    def failed(self) -> int:
        """The tool calls and model calls that failed."""
        return self.failed_calls + self.failed_tools

    def add_calls(
        self,
        status: str,
        calls: int,
        input_tokens: int | None,
        output_tokens: int | None,
        cost: int | None,
        priced: int,
    ) -> None:
        """Add the calls of one status; the cost is in stored form."""
        self.calls += calls
        self.input_tokens += input_tokens or 0
        self.output_tokens += output_tokens or 0
        if (more := decode_money(cost)) is not None:
            self.cost_usd = more if self.cost_usd is None else self.cost_usd + more
        self.unpriced += calls - priced
        self.failed_calls += 0 if status == _SUCCESS else calls


def run_figures(store: Store, run_ids: tuple[str, ...]) -> dict[str, RunFigures]:
    """Return the figures of each run; the sums are read from indexes only."""
    figures = {run_id: RunFigures() for run_id in run_ids}
    of_these = (Filter("run_id", "in", run_ids),)
    for run_id, *calls in store.aggregate(USAGE, _CALLS, of_these, group_by=("run_id", "status")):
        figures[run_id].add_calls(*calls)
    for run_id, tools, failed in store.aggregate(EVENTS, _TOOLS, of_these, group_by=("run_id",)):
        figures[run_id].tool_calls = tools
        figures[run_id].failed_tools = failed or 0
    return figures
