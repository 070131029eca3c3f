"""Filters and measures as data: built once, compiled to SQL or evaluated in memory."""

from __future__ import annotations

import json
import operator
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from string import ascii_lowercase, ascii_uppercase
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from curio_persistence.errors import InvalidValueError
from curio_persistence.store.codecs import encode_integer, encode_time
from curio_persistence.store.payload_match import contains

if TYPE_CHECKING:
    from curio_persistence.store.table import Table

Op = Literal[
    "=",
    "<>",
    "<",
    ">",
    ">=",
    "in",
    "not in",
    "has",
    "has any",
    "may contain",
    "contains",
    "has text",
    "may have words",
    "is null",
    "is not null",
    "differs from",
    "any",
]


class Filter(NamedTuple):
    """One condition on a column, its value in stored form. Several filters are ANDed.

    A comparison with a column that is NULL is false, as in SQL. For `in` and `not in` the value is
    a tuple of stored values, or a `Select`. `has` asks tags for one, `has any` for one of a tuple;
    `contains` asks a payload for a pattern (see `payload_match`), and `may contain` is a faster
    first test of a store. `has text` asks a text for a part of it, in which the case of ASCII
    letters does not count. `may have words`, which few stores have, asks it for one of several
    words, each with whether it is only a beginning: all rows that have one pass it, and maybe
    others. `differs from` names another column, of which NULL is a value. `any` is
    about no column: a row must pass all filters of one of several tuples.
    """

    column: str
    op: Op
    value: Any = None
    asked: str | None = None
    """The spelling that a caller gave a value that moves with the clock."""


Where = tuple[Filter, ...]


def any_of(*each: Where) -> Filter:
    """Return the filter for rows that pass all of some filters, or all of some others."""
    return Filter("", "any", each)


@dataclass(frozen=True)
class Select:
    """The values of a column in the matching rows of a table, for a filter with `in`."""

    table: Table[Any]
    column: str
    where: Where = ()


class Order(NamedTuple):
    """One column to sort by. NULLs are not sorted by: such columns are never ordered on."""

    column: str
    descending: bool = False


class Bucket(NamedTuple):
    """A group of `Store.aggregate`: rows whose time column falls into the same span of time.

    Spans last `seconds` and follow each other without gaps; one of them begins `offset` seconds
    after a Monday, 00:00 UTC. The group's value is the begin of its span, as a stored time.
    """

    column: str
    seconds: int
    offset: int = 0

    @property
    def shift(self) -> int:
        """Seconds by which a span begins before the year 1, whose first day is a Monday."""
        return -self.offset % self.seconds

    def number_of(self, time: str) -> int:
        """Return which span a stored time falls into; the first one is 0."""
        since = datetime.fromisoformat(time) - _FIRST_MOMENT
        return (since.days * _DAY + since.seconds + self.shift) // self.seconds

    def start(self, number: int) -> str:
        """Return when a span begins; the first one begins with the year 1, if not before."""
        return _stored_moment(max(number * self.seconds - self.shift, 0))

    def start_of(self, time: str) -> str:
        """Return the begin of the span that a stored time falls into."""
        return self.start(self.number_of(time))


_FIRST_MOMENT = datetime.min.replace(tzinfo=UTC)
_DAY = 86_400


@lru_cache(4_096)  # The hours of half a year.
def _stored_moment(seconds: int) -> str:
    return encode_time(_FIRST_MOMENT + timedelta(seconds=seconds))


class Spans(NamedTuple):
    """Groups of `Store.aggregate`: rows whose time column falls between two neighbouring edges.

    The edges are stored times that ascend. The group's value is the edge at which its span begins.
    Rows outside of all spans are in no group. Spans are the first key of a call.
    """

    column: str
    edges: tuple[str, ...]

    def start_of(self, time: str) -> str | None:
        """Return the begin of the span that a stored time falls into; None outside of all."""
        after = bisect_right(self.edges, time)
        return self.edges[after - 1] if 0 < after < len(self.edges) else None


GroupKey = str | Bucket | Spans
"""A column whose values tell groups apart, a bucket of times, or spans of time."""


def column_of(key: GroupKey) -> str:
    """Return the column that a key of groups is about."""
    return key if isinstance(key, str) else key.column


MeasureKind = Literal["count", "distinct", "sum", "avg", "min", "max", "values"]


class Measure(NamedTuple):
    """A number that is computed for each group of rows.

    `count` counts rows, or the values of a column, and `distinct` its different values. `sum`,
    `avg`, `min` and `max` are of a column of numbers, the last two also of one of times; over no
    values they are None. The sum of integers is exact, whatever its size; the sum of reals is exact
    before it is rounded once, and infinite beyond the largest float; `avg` is a float. `values` is
    a list of all values of a column of integers, in any order.
    """

    kind: MeasureKind
    column: str | None = None


COUNT = Measure("count")


def total(column: str) -> Measure:
    """Return the measure for the sum of a column."""
    return Measure("sum", column)


def beyond(where: Where, order: tuple[Order, ...], after: tuple[Any, ...] | None) -> Where:
    """Return the filters without those that all rows behind a position pass."""
    if after is None:
        return where
    (column, descending), value = order[0], after[0]
    return tuple(
        f
        for f in where
        if f.column != column
        or not (
            f.op == "<" and value < f.value if descending else f.op == ">=" and value >= f.value
        )
    )


_SMALL = str.maketrans(ascii_uppercase, ascii_lowercase)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda stored, values: stored in values,
    "not in": lambda stored, values: stored not in values,
    "has": lambda stored, tag: tag in json.loads(stored),
    "has any": lambda stored, tags: not set(tags).isdisjoint(json.loads(stored)),
    "contains": contains,
    "has text": lambda stored, part: part.translate(_SMALL) in stored.translate(_SMALL),
    "is null": lambda stored, _: stored is None,
    "is not null": lambda stored, _: stored is not None,
}


def with_selected(
    where: Where, rows_of: Callable[[Table[Any]], Iterable[Mapping[str, Any]]]
) -> Where:
    """Return the filters with the selected values in place of each `Select`."""

    def selected(select: Select) -> tuple[Any, ...]:
        inner = with_selected(select.where, rows_of)
        rows = (row for row in rows_of(select.table) if matches(row, inner))
        return tuple(dict.fromkeys(row.get(select.column) for row in rows))

    return tuple(
        f._replace(value=selected(f.value)) if isinstance(f.value, Select) else f for f in where
    )


def matches(row: Mapping[str, Any], where: Where) -> bool:
    """Return True if a stored row passes every filter."""
    for column, op, value, _ in where:
        stored = row.get(column)
        if op == "any":
            if not any(matches(row, each) for each in value):
                return False
        elif op == "differs from":
            if stored == row.get(value):
                return False
        elif (stored is None and op != "is null") or not _COMPARE[op](stored, value):
            return False
    return True


def checked_count(name: str, value: Any) -> int:
    """Return a `limit` or an `offset`: a whole number that is not negative."""
    try:
        count = encode_integer(value)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{name} {error}.", field=name) from error
    if count < 0:
        raise InvalidValueError(f"{name} may not be negative, but is {count}.", field=name)
    return count


def refuse_unknown(given: Mapping[str, Any], known: type) -> None:
    """Raise TypeError if a filter has a name that this TypedDict does not know."""
    for name in given:
        if name not in known.__annotations__:
            names = ", ".join(sorted(known.__annotations__))
            raise TypeError(f"{name!r} is not a filter here; the filters are {names}.")
