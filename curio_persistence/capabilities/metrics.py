"""Metrics: values that agents measured, aggregated by time and by group.

The database computes sums, means and extremes. For percentiles, and for tags, which are inside of
payloads, it selects the values and Python computes the rest. The numbers are exact before they are
rounded once, and so the same on every backend.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypedDict, Unpack, cast

from curio_persistence.capabilities.capability import Capability
from curio_persistence.capabilities.record_filter import FilterKind
from curio_persistence.capabilities.windows import TimeLike
from curio_persistence.errors import InvalidValueError
from curio_persistence.results.computed import computed_table
from curio_persistence.results.pages import Records
from curio_persistence.store import codecs
from curio_persistence.store.aggregates import as_number, average, exact_sum
from curio_persistence.store.base import Store
from curio_persistence.store.filters import (
    COUNT,
    Bucket,
    Filter,
    Measure,
    MeasureKind,
    Where,
)
from curio_persistence.store.json_text import json_text
from curio_persistence.store.table import Columns
from curio_persistence.tables import EVENTS
from curio_persistence.tables.columns import object_in


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """The aggregate of the values of one bucket and one group, and their number.

    `bucket` is the time at which the bucket begins; None if there are no buckets. `group` is None
    if there are no groups, and for the values without a group.
    """

    bucket: datetime | None
    group: str | None
    value: float
    count: int


class MetricFilters(TypedDict, total=False):
    """The filters of metrics; an event must pass all that are given."""

    agent_id: str | None
    run_id: str | None
    session_id: str | None
    since: TimeLike | None
    until: TimeLike | None


METRIC_FILTERS = FilterKind(EVENTS, MetricFilters)

POINTS = computed_table("metric points", MetricPoint)


class Metrics(Capability):
    """Numbers that agents reported, as events of the type `metric`."""

    def names(self, **filters: Unpack[MetricFilters]) -> dict[str, int]:
        """Return the number of values of each metric, by name."""
        where = (EVENTS.filter("metric_name", "is not null"), *self._where(filters))
        counts = self._store.for_reading.aggregate(
            EVENTS, (COUNT,), where, group_by=("metric_name",)
        )
        return dict(sorted((codecs.decode_text(name) or "", number) for name, number in counts))

    def query(
        self,
        name: str,
        aggregation: str = "avg",
        *,
        bucket: str | None = None,
        group_by: str | None = None,
        **filters: Unpack[MetricFilters],
    ) -> Records[MetricPoint]:
        """Return a metric's aggregated values; see `Persistence.query_metrics`."""
        where = self._where(filters)
        return metric_points(self._store.for_reading, name, aggregation, where, bucket, group_by)

    def _where(self, filters: MetricFilters) -> Where:
        return METRIC_FILTERS.of(filters).where(self._clock)


def metric_points(
    store: Store,
    name: str,
    aggregation: str,
    where: Where,
    bucket: str | None = None,
    group_by: str | None = None,
) -> Records[MetricPoint]:
    """Return the aggregated values of a metric in the events that pass the filters."""
    percentile = percentile_in(aggregation)
    buckets = () if bucket is None else (bucket_of("timestamp", bucket),)
    group, tag = _group_of(group_by)
    where = (_named(name), *where)
    if percentile is None and tag is None:
        measures = (Measure(cast(MeasureKind, aggregation), "metric_value"), COUNT)
        rows = store.aggregate(EVENTS, measures, where, group_by=(*buckets, *group))
    else:
        columns = ("metric_value", *buckets, *group)
        values = _by_key(store.select_columns(EVENTS, columns, where), tag)
        combine = _COMBINE[aggregation] if percentile is None else percentile
        rows = [(*key, combine(found), len(found)) for key, found in values.items()]
    return _points(rows, bool(buckets), bool(group))


def _named(name: Any) -> Filter:
    if not isinstance(name, str):
        raise InvalidValueError(f"name is that of a metric, not {name!r}.", field="name")
    return EVENTS.filter("metric_name", "=", name)


# --- which values belong together -----------------------------------------------------------------

_BUCKET = re.compile(r"([1-9][0-9]{0,3})([mhdw])")
_UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def bucket_of(column: str, bucket: Any) -> Bucket:
    """Return the bucket of a column of times that a caller gave as text."""
    match = _BUCKET.fullmatch(bucket) if isinstance(bucket, str) else None
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not seconds or (_UNITS["d"] % seconds and seconds != _UNITS["w"]):
        raise InvalidValueError(
            "bucket is '1w', '1d' or what divides a day evenly, as '6h', '1h' and '15m' do, "
            f"not {bucket!r}.",
            field="bucket",
        )
    return Bucket(column, seconds)


_COLUMNS = ("agent_id", "run_id", "session_id")
_TAGS = "tags."


def _group_of(group_by: Any) -> tuple[tuple[str, ...], str | None]:
    """Return the column to group by, if any, and the tag to read from it."""
    if group_by is None:
        return (), None
    if isinstance(group_by, str):
        if group_by in _COLUMNS:
            return (group_by,), None
        if group_by.startswith(_TAGS) and group_by != _TAGS:
            return ("data",), group_by.removeprefix(_TAGS)
    raise InvalidValueError(
        f"group_by is {', '.join(map(repr, _COLUMNS))} or 'tags.' and the name of a tag, "
        f"not {group_by!r}.",
        field="group_by",
    )


def _by_key(rows: Iterable[tuple[Any, ...]], tag: str | None) -> dict[tuple[Any, ...], list[float]]:
    """Group the first value of each row by the rest of the row."""
    values: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for row in rows:
        key = row[1:] if tag is None else (*row[1:-1], _tag(tag, row[-1]))
        values[key].append(row[0])
    return values


def _tag(key: str, payload: str) -> str | None:
    """Return the value of a metric's tag; as JSON, if it is not text."""
    tags = object_in(payload).get("tags")
    value = tags.get(key) if isinstance(tags, dict) else None
    return value if value is None or isinstance(value, str) else json_text(value)


def _points(rows: Iterable[tuple[Any, ...]], buckets: bool, groups: bool) -> Records[MetricPoint]:
    """Return points in the order of bucket and group; values without a group come last."""
    points = [
        # Always the positive zero: not every database distinguishes the negative one.
        (key[0] if buckets else None, key[-1] if groups else None, value + 0.0, count)
        for *key, value, count in rows
        if count
    ]
    points.sort(key=lambda point: (point[0] or "", point[1] is None, point[1] or ""))
    columns: Columns = list(zip(*points, strict=True)) or [()] * len(POINTS.names)
    columns[1] = [group if group is None else codecs.encode_text(group) for group in columns[1]]
    return Records(POINTS, columns)


# --- what they come to ----------------------------------------------------------------------------

Combine = Callable[[list[float]], float]

_PERCENTILE = re.compile(r"p(100|[1-9]?[0-9])")
_COMBINE: Mapping[str, Combine] = {
    "avg": lambda values: average(exact_sum(values), len(values)),
    "sum": lambda values: as_number(exact_sum(values)),
    "min": min,
    "max": max,
    "count": len,
}


def percentile_in(aggregation: Any) -> Combine | None:
    """Return the function of a percentile aggregation; None for another one; refuse the rest."""
    if isinstance(aggregation, str):
        if aggregation in _COMBINE:
            return None
        if match := _PERCENTILE.fullmatch(aggregation):
            return partial(_percentile, int(match[1]))
    raise InvalidValueError(
        f"aggregation is {', '.join(map(repr, _COMBINE))} or a percentile from 'p0' to 'p100', "
        f"not {aggregation!r}.",
        field="aggregation",
    )


def _percentile(q: int, values: list[float]) -> float:
    """Interpolate linearly between neighbours, as `numpy.percentile` does."""
    ordered = sorted(values)
    position, hundredths = divmod((len(ordered) - 1) * q, 100)
    lower = ordered[position]
    if not hundredths:
        return lower
    from fractions import Fraction  # Imported here: the import is slow and seldom needed.

    # Exact: the difference of two floats may overflow.
    step = Fraction(ordered[position + 1]) - Fraction(lower)
    return float(Fraction(lower) + step * hundredths / 100)
