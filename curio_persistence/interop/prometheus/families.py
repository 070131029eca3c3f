"""The metrics: their names, types, labels and help, as Prometheus' conventions have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)

from curio_persistence.interop.prometheus.labels import Counters
from curio_persistence.interop.prometheus.sampling import Sample


class Family(NamedTuple):
    """A metric, and the key of its values in a sample."""

    key: str
    kind: Literal["counter", "gauge", "summary"]
    name: str
    labels: tuple[str, ...]
    help: str


FAMILIES = (
    Family(
        "ended",
        "counter",
        "curio_runs_ended",
        ("agent", "status"),
        "Runs that have ended, by their status.",
    ),
    Family(
        "unfinished",
        "gauge",
        "curio_runs_unfinished",
        ("agent", "status"),
        "Runs that are pending or running, also those that a crash left behind.",
    ),
    Family(
        "run_seconds",
        "gauge",
        "curio_run_recent_duration_seconds",
        ("agent", "percentile"),
        "Percentiles (50, 95, 99) of the durations of runs that ended in the last five minutes.",
    ),
    Family(
        "calls",
        "counter",
        "curio_llm_calls",
        ("agent", "model", "status"),
        "Model calls, by whether they succeeded (ok) or not (error).",
    ),
    Family(
        "tokens",
        "counter",
        "curio_llm_tokens",
        ("agent", "model", "type"),
        "Tokens that models have read (input) and written (output).",
    ),
    Family(
        "cost",
        "counter",
        "curio_llm_cost_usd",
        ("agent", "model"),
        "Known cost of model calls, in US dollars.",
    ),
    Family(
        "unpriced",
        "counter",
        "curio_llm_unpriced_calls",
        ("agent", "model"),
        "Model calls whose cost is not known.",
    ),
    Family(
        "call_seconds",
        "summary",
        "curio_llm_call_duration_seconds",
        ("agent", "model"),
        "Latency of model calls; the quantiles are of the last five minutes.",
    ),
    Family(
        "tools",
        "counter",
        "curio_tool_calls",
        ("agent", "tool", "status"),
        "Finished calls of tools, by whether they succeeded (ok) or not (error).",
    ),
    Family(
        "tool_seconds",
        "summary",
        "curio_tool_call_duration_seconds",
        ("tool",),
        "Latency of tool calls.",
    ),
    Family(
        "stored",
        "counter",
        "curio_records_stored",
        ("kind",),
        "Records ever stored, by the ids that the database has given out; also deleted ones.",
    ),
    Family(
        "search",
        "gauge",
        "curio_search_unindexed_records",
        (),
        "Records that the search index does not have yet.",
    ),
    Family(
        "alerts",
        "gauge",
        "curio_alert_state",
        ("rule", "state"),
        "1 for a rule that is firing, or failing: it cannot be measured.",
    ),
    Family(
        "replica_behind",
        "gauge",
        "curio_replica_behind_seconds",
        ("source",),
        "Time since a replica in ClickHouse had all that was committed in a source.",
    ),
    Family(
        "database_bytes",
        "gauge",
        "curio_database_size_bytes",
        (),
        "Size of the database file, or of the tables and their indexes.",
    ),
    Family(
        "wal_bytes",
        "gauge",
        "curio_wal_size_bytes",
        (),
        "Length of the write-ahead log of SQLite.",
    ),
    Family(
        "wal_written_bytes",
        "counter",
        "curio_wal_written_bytes",
        (),
        "Bytes that the PostgreSQL server has written into its write-ahead log.",
    ),
    Family(
        "connections_used",
        "gauge",
        "curio_pool_used_connections",
        (),
        "Connections of the pool that threads use now.",
    ),
    Family(
        "connections_idle",
        "gauge",
        "curio_pool_idle_connections",
        (),
        "Open connections of the pool that no thread uses.",
    ),
    Family(
        "connections_max",
        "gauge",
        "curio_pool_max_connections",
        (),
        "Most connections that the pool may have.",
    ),
    Family(
        "buffered",
        "gauge",
        "curio_buffered_records",
        (),
        "Records in the queue of this process that wait to be stored.",
    ),
    Family(
        "dropped",
        "counter",
        "curio_dropped_records",
        ("reason",),
        "Records that this process could not store, and never will.",
    ),
    Family(
        "listeners",
        "gauge",
        "curio_stream_listeners",
        (),
        "Open live streams of this process.",
    ),
)
_BY_KEY = {family.key: family for family in FAMILIES}


def families(sample: Sample, counters: Counters) -> Iterator[Metric]:
    """Yield the metrics of a sample."""
    for family in FAMILIES:
        if family.kind == "summary":
            yield from _summary(family, sample, counters)
        elif values := sample.values.get(family.key):
            of_kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            metric = of_kind(family.name, family.help, labels=family.labels)
            for labels, value in sorted(values.items()):
                if family.kind == "counter":
                    value = counters.growing((family.name, *labels), value)
                metric.add_metric(labels, value)
            yield metric


def _summary(family: Family, sample: Sample, counters: Counters) -> Iterator[Metric]:
    """Yield a summary of the sums and counts of everything, and quantiles of a window."""
    counts = sample.values.get(f"{family.key}_count")
    if not counts:
        return
    sums = sample.values[f"{family.key}_sum"]
    metric = SummaryMetricFamily(family.name, family.help, labels=family.labels)
    for labels, count in sorted(counts.items()):
        key = (family.name, *labels)
        metric.add_metric(
            labels,
            count_value=int(counters.growing((*key, "count"), count)),
            sum_value=counters.growing((*key, "sum"), sums[labels]),
        )
    names = (*family.labels, "quantile")
    for labels, value in sorted(sample.values.get(family.key, {}).items()):
        metric.add_sample(family.name, dict(zip(names, labels, strict=True)), value)
    yield metric
