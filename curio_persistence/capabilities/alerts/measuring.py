"""The value of a rule: what existing aggregates say about the records of its scope and window."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from curio_persistence.capabilities.metrics import metric_points
from curio_persistence.capabilities.totals import UsageTotals, usage_totals
from curio_persistence.capabilities.windows import before
from curio_persistence.errors import UnsupportedError
from curio_persistence.models import FAILED_STATUSES, AgentRunStatus
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import COUNT, Filter, Select, Where
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, USAGE
from curio_persistence.tables.alerts import AlertRule

Value = float | None
_NOT_ENDED = (AgentRunStatus.RUNNING.value, AgentRunStatus.PENDING.value)
_BY_NAME = ("agent_id", "session_id", "user_id")


def is_measured(rule: AlertRule) -> bool:
    """Return whether the condition of a rule is one of ours; other programs measure others."""
    return rule.condition in _VALUES


def measure(store: Store, rule: AlertRule, now: datetime) -> Value:
    """Return the value of a rule in the window that ends now; None if there is none."""
    if not is_measured(rule):
        raise UnsupportedError(
            f"The condition {rule.condition!r} of the alert rule {rule.rule_id!r} is measured by "
            "the program that made the rule."
        )
    value = _VALUES[rule.condition](Measuring(store, rule, now))
    # The nearest float, also of a cost: compared exactly, Decimal("0.3") is above 0.3.
    return None if value is None else float(value)


class Measuring:
    """The records that a rule is about."""

    def __init__(self, store: Store, rule: AlertRule, now: datetime) -> None:
        self.store = store
        self.rule = rule
        begin = before(now, timedelta(seconds=rule.window_seconds))
        self._since, self._until = encode_time(begin), encode_time(now)

    def where(self, table: Table[Any], time: str | None = None) -> Where:
        """Return the filters for the records of a table; `time` is the column of their time."""
        time = time or table.ages_by
        window = (Filter(time, ">=", self._since), Filter(time, "<", self._until))
        own, of_run = list(window), list[Filter]()
        for name in _BY_NAME:
            if (value := getattr(self.rule, name)) is not None:
                (own if name in table.names else of_run).append(Filter(name, "=", value))
        if self.rule.tags:
            tags = Filter("tags", "has any", tuple(self.rule.tags))
            # No index has tags: of all runs, only those with records in the window are read.
            in_window = Filter("run_id", "in", Select(table, "run_id", window))
            of_run += [] if table is RUNS else [tags, in_window]
            own += [tags] if table is RUNS else []
        if self.rule.model is not None:
            own.append(Filter("model", "=", self.rule.model))
        if of_run:
            own.append(Filter("run_id", "in", Select(RUNS, "run_id", tuple(of_run))))
        return tuple(own)

    def calls(self, *, percentiles: bool = False) -> UsageTotals:
        """Return the totals of the model calls."""
        where = self.where(USAGE)
        [totals] = usage_totals(
            self.store, where, group_by=(), timezone=None, percentiles=percentiles
        )
        return totals


def _error_rate(records: Measuring) -> Value:
    """Return the share of failed runs among those that ended; of one model, of its calls."""
    if records.rule.model is not None:
        calls = records.calls()
        return calls.errors / calls.calls if calls.calls else None
    where = (*records.where(RUNS, "finished_at"), Filter("finished_at", "is not null"))
    groups = records.store.aggregate(RUNS, (COUNT,), where, group_by=("status",))
    ended = {status: count for status, count in groups if status not in _NOT_ENDED}
    failed = sum(ended.get(status, 0) for status in FAILED_STATUSES)
    return failed / sum(ended.values()) if ended else None


def _latency(records: Measuring) -> Value:
    aggregation = records.rule.aggregation
    if aggregation == "avg":
        return records.calls().avg_latency_ms
    value: float | None = getattr(records.calls(percentiles=True), f"latency_{aggregation}_ms")
    return value


def _event_count(records: Measuring) -> Value:
    if records.rule.model is not None:
        return records.calls().calls
    return records.store.count(EVENTS, records.where(EVENTS))


def _arrivals(records: Measuring) -> Value:
    """Return the number of records of any kind; of one model, of its calls."""
    tables = (USAGE,) if records.rule.model is not None else (EVENTS, USAGE, RUNS)
    return sum(records.store.count(table, records.where(table)) for table in tables)


def _token_count(records: Measuring) -> Value:
    calls = records.calls()
    return calls.input_tokens + calls.output_tokens


def _metric(records: Measuring) -> Value:
    name, aggregation = records.rule.metric or "", records.rule.aggregation or "avg"
    points = metric_points(records.store, name, aggregation, records.where(EVENTS))
    return next((point.value for point in points), None)


_VALUES: Mapping[str, Callable[[Measuring], Decimal | Value]] = {
    "error_rate": _error_rate,
    "cost": lambda records: records.calls().cost_usd,
    "latency": _latency,
    "event_count": _event_count,
    "silence": _arrivals,
    "token_count": _token_count,
    "metric": _metric,
}
