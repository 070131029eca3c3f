"""Ask a persistence for the numbers that are monitored, by the same queries as its statistics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from curio_persistence.buffering.persistence import BufferedPersistence
from curio_persistence.capabilities.lifecycle.policies import UNFINISHED
from curio_persistence.capabilities.stats import percentiles
from curio_persistence.capabilities.totals import SUCCESS
from curio_persistence.interop.prometheus.labels import Names
from curio_persistence.persistence import Persistence
from curio_persistence.store.base import Replicated
from curio_persistence.store.codecs import PICODOLLARS, decode_time, encode_time
from curio_persistence.store.filters import Filter, Measure, Where
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, SPANS, USAGE

Labels = tuple[str, ...]
Values = dict[Labels, float]
"""The value of each series of a metric, by the values of its labels."""

WINDOW = timedelta(minutes=5)
"""The time before a sample that quantiles cover."""
_MOST_RUNS = 10_000
_MOST_RULES = 200
_QUANTILES = {"p50": "0.5", "p95": "0.95", "p99": "0.99"}
_SINCE_THE_BEGINNING = (
    *("ended", "calls", "tokens", "cost", "unpriced", "tools"),
    *("call_seconds_count", "call_seconds_sum", "tool_seconds_count", "tool_seconds_sum"),
)
"""The metrics whose series stay when all of their records are deleted."""
_KINDS: Mapping[str, Table[Any]] = {"run": RUNS, "event": EVENTS, "usage": USAGE, "span": SPANS}


@dataclass
class Sample:
    """The values of all metrics at one time, by the names of `families.FAMILIES`."""

    values: dict[str, Values] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(float))
    )

    def add(self, name: str, value: float, *labels: str) -> None:
        """Add to one series."""
        self.values[name][labels] += value


class Sampler:
    """Takes samples; remembers which agents, models, tools and statuses have names of their own."""

    def __init__(self, persistence: Persistence, top: int) -> None:
        self._persistence = persistence
        self._agents, self._models, self._tools = Names(top), Names(top), Names(top)
        self._statuses = Names(top)
        self._series: dict[str, set[Labels]] = {name: set() for name in _SINCE_THE_BEGINNING}
        self._newest = dict.fromkeys(_KINDS, 0)

    def sample(self) -> Sample:
        """Query the database."""
        sample = Sample()
        self._add_totals(sample)
        self._add_durations(sample)
        self._add_latencies(sample)
        if replicated := self._persistence._store.replicated():
            self._add_lags(sample, replicated)
        else:
            self._add_stored(sample)
            self._add_alerts(sample)
        for name, value in self._persistence._store.engine_numbers().items():
            sample.add(name, value)
        if self._persistence.search.active:
            sample.add("search", self._persistence.search.pending())
        return sample

    def add_own(self, sample: Sample) -> None:
        """Add the numbers of this process, which no database knows."""
        persistence = self._persistence
        sample.add("listeners", persistence._live.listeners)
        if isinstance(persistence, BufferedPersistence):
            sample.add("buffered", persistence.pending)
            for reason, count in {"overflow": 0, **persistence.dropped}.items():
                sample.add("dropped", count, reason)

    def _add_totals(self, sample: Sample) -> None:
        """Add the runs, model calls and tool calls since the beginning."""
        runs, calls, tools = self._persistence.stats.groups()
        self._agents.learn((row[0], row[2]) for row in runs)
        self._agents.learn((row[0], row[3]) for row in (*calls, *tools))
        self._models.learn((row[1], row[3]) for row in calls)
        self._statuses.learn((row[1], row[2]) for row in runs)
        self._tools.learn((row[1], row[3]) for row in tools)
        for agent, status, count, _ in runs:
            name = "unfinished" if status in UNFINISHED else "ended"
            sample.add(name, count, self._agents[agent], self._statuses[status])
        for agent, model, status, *numbers in calls:
            self._add_calls(sample, (self._agents[agent], self._models[model]), status, *numbers)
        for agent, tool, failed, count, timed, microseconds in tools:
            outcome = "error" if failed else "ok"
            sample.add("tools", count, self._agents[agent], self._tools[tool], outcome)
            sample.add("tool_seconds_count", timed, self._tools[tool])
            sample.add("tool_seconds_sum", (microseconds or 0) / 1e6, self._tools[tool])
        self._keep_series(sample)

    def _keep_series(self, sample: Sample) -> None:
        """Add 0 to each series there was before: all of its records may have been deleted."""
        for name, known in self._series.items():
            known.update(sample.values[name])
            for labels in known:
                sample.add(name, 0, *labels)

    def _add_calls(
        self,
        sample: Sample,
        labels: tuple[str, str],
        status: str,
        count: int,
        tokens_in: int | None,
        tokens_out: int | None,
        picodollars: int | None,
        priced: int,
        timed: int,
        milliseconds: int | None,
    ) -> None:
        sample.add("calls", count, *labels, "ok" if status == SUCCESS else "error")
        sample.add("tokens", tokens_in or 0, *labels, "input")
        sample.add("tokens", tokens_out or 0, *labels, "output")
        sample.add("unpriced", count - priced, *labels)
        if picodollars is not None:
            sample.add("cost", picodollars / PICODOLLARS, *labels)
        sample.add("call_seconds_count", timed, *labels)
        sample.add("call_seconds_sum", (milliseconds or 0) / 1e3, *labels)

    def _recent(self, column: str) -> Where:
        """Return the filters for the window. With two bounds SQLite uses the index by time."""
        now = self._persistence.clock.now()
        begin, end = encode_time(now - WINDOW), encode_time(now + WINDOW)
        return (Filter(column, ">=", begin), Filter(column, "<", end))

    def _add_durations(self, sample: Sample) -> None:
        """Add percentiles of the durations of the runs that ended in the window."""
        where = (*self._recent("finished_at"), Filter("started_at", "is not null"))
        columns = ("agent_id", "started_at", "finished_at")
        found: defaultdict[str, list[int]] = defaultdict(list)
        for agent, started, finished in self._persistence._store.select_columns(
            RUNS, columns, where, limit=_MOST_RUNS
        ):
            begin, end = decode_time(started), decode_time(finished)
            if begin is not None and end is not None:
                found[self._agents[agent]].append((end - begin) // timedelta(milliseconds=1))
        for agent_name, milliseconds in found.items():
            for name, value in _seconds(milliseconds):
                sample.add("run_seconds", value, agent_name, name.removeprefix("p"))

    def _add_latencies(self, sample: Sample) -> None:
        """Add quantiles of the latencies of the model calls in the window."""
        where = self._recent("created_at")
        found: defaultdict[Labels, list[int]] = defaultdict(list)
        for agent, model, latencies in self._persistence._store.aggregate(
            USAGE, (Measure("values", "latency_ms"),), where, group_by=("agent_id", "model")
        ):
            found[self._agents[agent], self._models[model]] += latencies
        for labels, milliseconds in found.items():
            for name, value in _seconds(milliseconds):
                sample.add("call_seconds", value, *labels, _QUANTILES[name])

    def _add_stored(self, sample: Sample) -> None:
        """Add the newest ids: no deletion frees one, and they cost nothing to find."""
        for kind, table in _KINDS.items():
            [(newest,)] = self._persistence._store.aggregate(table, (Measure("max", "id"),))
            self._newest[kind] = max(newest or 0, self._newest[kind])
            sample.add("stored", self._newest[kind], kind)

    def _add_lags(self, sample: Sample, replicated: list[Replicated]) -> None:
        """Add the lag of a replica; stored records and alerts are metrics of its sources."""
        for source in replicated:
            if source.behind is not None:
                sample.add("replica_behind", max(source.behind, 0.0), source.name)

    def _add_alerts(self, sample: Sample) -> None:
        alerts = self._persistence.alerts
        open_ones: Mapping[str, set[str]] = {
            state: {alert.rule_id for alert in alerts.history(state=state, limit=_MOST_RULES)}
            for state in ("firing", "failing")
        }
        for rule in alerts.list()[:_MOST_RULES]:
            for state, rules in open_ones.items():
                sample.add("alerts", rule.rule_id in rules, rule.rule_id, state)


def _seconds(milliseconds: list[int]) -> list[tuple[str, float]]:
    """Return the percentiles of milliseconds by name, in seconds."""
    found = percentiles(milliseconds)
    return [(name, found[name] / 1e3) for name in _QUANTILES if name in found]
