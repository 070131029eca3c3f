"""The records of analytics: the numbers of one period and one group."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from curio_persistence.results.computed import computed_table


@dataclass(frozen=True, slots=True)
class PeriodTotals:
    """The totals of one group in one period.

    `period` is the ISO 8601 name of an hour, day, week or month, and `begin` its first moment. Of
    the next four fields those are set that were grouped by; None there means that a run has no such
    value. Runs and model calls count for the time at which they were stored, events and tool calls
    for the time at which they happened.

    `errors` counts runs that failed or timed out, and `error_rate` is their share of the runs.
    Latencies are those of model calls; the percentiles are None unless they were asked for.
    `cost_usd` is exact, and None if no call has a known cost; `unpriced` counts the calls without
    one. `sessions`, `agents` and `users` count the different ones of the runs.
    """

    period: str | None
    begin: datetime | None
    agent_id: str | None
    session_id: str | None
    user_id: str | None
    tag: str | None
    runs: int
    errors: int
    error_rate: float | None
    events: int
    tool_calls: int
    tool_errors: int
    calls: int
    call_errors: int
    avg_latency_ms: float | None
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    unpriced: int
    sessions: int
    agents: int
    users: int


PERIOD_TOTALS = computed_table("period totals", PeriodTotals)
