"""Metrics: what agents measured, added up by time and by what it belongs to.

The database finds the values, by an index that holds them, and Python adds them up: the numbers are
exact before they are rounded once, and so the same on every backend.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count, repeat
from math import fsum, inf
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack

from curio_persistence.capabilities.windows import Moment, window
from curio_persistence.clock import Clock
from curio_persistence.errors import InvalidValueError
from curio_persistence.results.pages import Records
from curio_persistence.store import codecs
from curio_persistence.store.base import Store
from curio_persistence.store.filters import COUNT, Filter, Where
from curio_persistence.store.table import Column, Table
from curio_persistence.tables import EVENTS
from curio_persistence.tables.columns import object_in

if TYPE_CHECKING:
    from fractions import Fraction


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """What the values of one bucket and one group come to, and how many they are.

    `bucket` is when it begins, None where all time is one; `group` is None where there are no
    groups, and for the values that belong to none.
    """

    bucket: datetime | None
    group: str | None
    value: float
    count: int


class MetricFilters(TypedDict, total=False):
    """What metrics can be picked by; all that is given has to be true of them."""

    agent_id: str | None
    run_id: str | None
    session_id: str | None
    since: Moment | None
    until: Moment | None


POINTS = Table(
    "metric points",
    MetricPoint,
    (
        Column("bucket", codecs.encode_time, codecs.decode_times),
        Column("group", codecs.encode_text, codecs.decode_texts),
        Column("value", codecs.encode_real),
        Column("count", codecs.encode_integer),
    ),
    order=(),
    ages_by="bucket",
    lookups=(),
    ddl="",
)
"""An answer, of the form that all answers have; no database has such a table."""


class Metrics:
    """Numbers that agents reported, as events of the type `metric`."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def names(self, **filters: Unpack[MetricFilters]) -> dict[str, int]:
        """The metrics there are, by name, and how many values each has."""
        where = (EVENTS.filter("metric_name", "is not null"), *self._where(**filters))
        counts = self._store.aggregate(EVENTS, (COUNT,), where, group_by=("metric_name",))
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
        """What a metric's values come to; see `Persistence.query_metrics`."""
        combine = _combining(aggregation)
        parts = (_by_time(bucket), _by_group(group_by))
        where = (_named(name), *self._where(**filters))
        columns = tuple(part.column for part in parts if part)
        rows = self._store.pick(EVENTS, ("metric_value", *columns), where)
        return _points(_gathered(rows, parts), combine)

    def _where(
        self, *, since: Moment | None = None, until: Moment | None = None, **equal: str | None
    ) -> Where:
        return (*EVENTS.where(**equal), *window(EVENTS, self._clock, since, until))


def _named(name: Any) -> Filter:
    if not isinstance(name, str):
        raise InvalidValueError(f"name is that of a metric, not {name!r}.", field="name")
    return EVENTS.filter("metric_name", "=", name)


# --- which values belong together -----------------------------------------------------------------

Key = tuple[str | None, str | None]
"""A bucket's begin and a group."""


class _Part(NamedTuple):
    """A part of the key: the column that it is made of, and how, if it is not the value itself."""

    column: str
    read: Callable[[Any], str | None] | None = None

    def of(self, kept: Iterable[Any]) -> Iterable[str | None]:
        return kept if self.read is None else map(self.read, kept)


def _gathered(
    rows: Sequence[tuple[Any, ...]], parts: Iterable[_Part | None]
) -> Mapping[Key, list[float]]:
    """The values by bucket and group; in a row they stand first, and then what the parts read."""
    columns = (map(itemgetter(n), rows) for n in count(1))
    keys = zip(*(part.of(next(columns)) if part else repeat(None) for part in parts), strict=False)
    gathered: dict[Key, list[float]] = defaultdict(list)
    for row, key in zip(rows, keys, strict=False):  # Without parts, the keys never end.
        gathered[key].append(row[0])
    return gathered


_BUCKET = re.compile(r"([1-9][0-9]{0,3})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DAY, _WEEK = timedelta(days=1), timedelta(weeks=1)
_KNOWN = ((_DAY, 10), (timedelta(hours=1), 13), (timedelta(minutes=1), 16))
"""For what a bucket is a multiple of, how much of a kept time tells which bucket it is in."""


def _by_time(bucket: str | None) -> _Part | None:
    if bucket is None:
        return None
    match = _BUCKET.fullmatch(bucket) if isinstance(bucket, str) else None
    size = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta()
    if not size or (_DAY % size and size != _WEEK):
        raise InvalidValueError(
            "bucket is '1w', '1d' or what divides a day evenly, as '6h', '1h' and '15m' do, "
            f"not {bucket!r}.",
            field="bucket",
        )
    starts = _Starts(size)
    known = next(known for unit, known in _KNOWN if not size % unit)
    return _Part("timestamp", lambda kept: starts[kept[:known]])


class _Starts(dict[str, str]):
    """For each day, hour or minute, as a kept time begins, when its bucket does; kept."""

    def __init__(self, size: timedelta) -> None:
        super().__init__()
        self._size = size

    def __missing__(self, known: str) -> str:
        moment = datetime.fromisoformat(known)
        # Counted from the first day of the calendar, which is a Monday.
        start = moment - (moment - datetime.min) % self._size
        kept = self[known] = codecs.encode_time(start.replace(tzinfo=UTC))
        return kept


_COLUMNS = ("agent_id", "run_id", "session_id")
_TAGS = "tags."


def _by_group(group_by: str | None) -> _Part | None:
    if group_by is None:
        return None
    if group_by in _COLUMNS:
        return _Part(group_by)
    if isinstance(group_by, str) and group_by.startswith(_TAGS) and group_by != _TAGS:
        return _Part("data", partial(_tag, group_by.removeprefix(_TAGS)))
    raise InvalidValueError(
        f"group_by is {', '.join(map(repr, _COLUMNS))} or 'tags.' and the name of a tag, "
        f"not {group_by!r}.",
        field="group_by",
    )


def _tag(key: str, payload: str) -> str | None:
    """The value of a metric's tag; what is no text, as JSON."""
    tags = object_in(payload).get("tags")
    value = tags.get(key) if isinstance(tags, dict) else None
    return value if value is None or isinstance(value, str) else codecs.json_text(value)


# --- what they come to ----------------------------------------------------------------------------

Combine = Callable[[list[float]], float]


def _points(gathered: Mapping[Key, list[float]], combine: Combine) -> Records[MetricPoint]:
    """Ordered by bucket and group; what belongs to no group comes last."""
    ordered = sorted(gathered, key=lambda key: (key[0] or "", key[1] is None, key[1] or ""))
    return Records(
        POINTS,
        [
            [bucket for bucket, _ in ordered],
            [group if group is None else codecs.encode_text(group) for _, group in ordered],
            # Of the two zeros, which not every database tells apart, the positive one.
            [combine(gathered[key]) + 0.0 for key in ordered],
            [len(gathered[key]) for key in ordered],
        ],
    )


def _combining(aggregation: str) -> Combine:
    if isinstance(aggregation, str):
        if aggregation in _COMBINE:
            return _COMBINE[aggregation]
        if match := _PERCENTILE.fullmatch(aggregation):
            return partial(_percentile, int(match[1]))
    raise InvalidValueError(
        f"aggregation is {', '.join(map(repr, _COMBINE))} or a percentile from 'p0' to 'p100', "
        f"not {aggregation!r}.",
        field="aggregation",
    )


def _average(values: list[float]) -> float:
    return float(_exact_sum(values) / len(values))


def _sum(values: list[float]) -> float:
    total = _exact_sum(values)
    try:
        return float(total)
    except OverflowError:
        return inf if total > 0 else -inf


def _exact_sum(values: list[float]) -> float | Fraction:
    """Rounded once, so in whatever order they come; a fraction where no float is so large."""
    try:
        return fsum(values)
    except OverflowError:
        from fractions import Fraction

        return sum(map(Fraction, values), Fraction())


def _percentile(q: int, values: list[float]) -> float:
    """Interpolated linearly between neighbours, as `numpy.percentile` does."""
    ordered = sorted(values)
    position, hundredths = divmod((len(ordered) - 1) * q, 100)
    lower = ordered[position]
    if not hundredths:
        return lower
    from fractions import Fraction  # It takes long to import, and is seldom needed.

    # Exactly: far apart, two floats may differ by more than any float.
    step = Fraction(ordered[position + 1]) - Fraction(lower)
    return float(Fraction(lower) + step * hundredths / 100)


_PERCENTILE = re.compile(r"p(100|[1-9]?[0-9])")
_COMBINE: Mapping[str, Combine] = {
    "avg": _average,
    "sum": _sum,
    "min": min,
    "max": max,
    "count": len,
}
