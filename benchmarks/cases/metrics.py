"""Metrics, aggregated by time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.cases.sides import Case, Raw, asking, check, postgres, sqlite
from benchmarks.support import rows
from benchmarks.support.report import Goal, Line
from benchmarks.support.workspace import Workspace
from curio_persistence import MetricPoint, Persistence

_AVERAGES = Goal(6, 3)
"""To be exact, ours fetches every value."""
_PERCENTILES = Goal(3, 1)
_HOUR, _DAY = 13, 10
"""The number of leading characters of a time that identify the bucket."""


def sqlite_metrics(work: Workspace) -> list[Line]:
    with sqlite(work.sqlite_metrics) as (raw, ours):
        return _lines("SQLite", work, raw, ours)


def postgres_metrics(work: Workspace) -> list[Line]:
    with postgres(work, work.postgres_metrics) as (raw, ours):
        return _lines("PostgreSQL", work, raw, ours)


CASES: dict[str, Case] = {"sqlite-metrics": sqlite_metrics, "postgres-metrics": postgres_metrics}


def _lines(name: str, work: Workspace, raw: Raw, ours: Persistence) -> list[Line]:
    """Measure an average for each hour, and a percentile for each day and agent."""

    def averages(metric: str) -> Iterable[MetricPoint]:
        return ours.query_metrics(metric, bucket="1h")

    def percentiles(metric: str) -> Iterable[MetricPoint]:
        return ours.query_metrics(metric, "p95", bucket="1d", group_by="agent_id")

    _check(averages, raw.averages_by_hour, _HOUR)
    _check(percentiles, raw.p95_by_day_and_agent, _DAY)
    values = f"{work.sizes.metrics:,} values of a metric"
    return [
        Line(
            f"{name}, averages of {values} by hour",
            _AVERAGES,
            asking(work, raw.averages_by_hour, averages, [rows.METRIC], 1),
        ),
        Line(
            f"{name}, p95 of {values} by day and agent",
            _PERCENTILES,
            asking(work, raw.p95_by_day_and_agent, percentiles, [rows.METRIC], 1),
        ),
    ]


def _check(
    ours: Callable[[str], Iterable[MetricPoint]],
    raw: Callable[[str], Iterable[tuple[Any, ...]]],
    known: int,
) -> None:
    """Assert equal results, except for the last digits, in which only ours is exact."""
    points = [(point.bucket, point.group, point.value) for point in ours(rows.METRIC)]
    check(_rounded(points, known), _rounded(sorted(raw(rows.METRIC)), known))


def _rounded(points: Iterable[tuple[Any, ...]], known: int) -> list[tuple[Any, ...]]:
    return [
        (str(bucket).replace("T", " ")[:known], group, f"{value:.9g}")
        for bucket, group, value in points
    ]
