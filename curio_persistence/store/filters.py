"""Filters and measures as data: built once, compiled to SQL or evaluated in memory."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from curio_persistence.errors import InvalidValueError
from curio_persistence.store.codecs import encode_integer
from curio_persistence.store.payload_match import holds

Op = Literal[
    "=",
    "<>",
    "<",
    ">",
    ">=",
    "in",
    "of session",
    "has",
    "has any",
    "may hold",
    "holds",
    "is null",
    "is not null",
]


class Filter(NamedTuple):
    """One condition on a column, its value in kept form. Several filters are ANDed.

    A comparison with a column that is NULL is false, as in SQL. For `in` the value is a tuple of
    kept values. `of session` asks a `run_id` whether its run is of a session. `has` asks tags for
    one, `has any` for one of a tuple; `holds` asks a payload for a pattern (see `patterns`), and
    `may hold` is what a store may ask itself before.
    """

    column: str
    op: Op
    value: Any = None
    asked: str | None = None
    """How a caller spelt a value that moves with the clock."""


Where = tuple[Filter, ...]


class Order(NamedTuple):
    """One column to sort by. NULLs are not sorted by: such columns are never ordered on."""

    column: str
    descending: bool = False


class Measure(NamedTuple):
    """What to compute for a group: `count` of rows (or of a column's values), `sum` of a column.

    A sum over no values is None; sums are exact, whatever their size. `values` is a list of all
    values of a column of whole numbers, in any order.
    """

    kind: Literal["count", "sum", "values"]
    column: str | None = None


COUNT = Measure("count")


def total(column: str) -> Measure:
    """The sum of a column."""
    return Measure("sum", column)


def beyond(where: Where, order: tuple[Order, ...], after: tuple[Any, ...] | None) -> Where:
    """The filters without those that hold for all that comes after a position in an order."""
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


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda kept, values: kept in values,
    "has": lambda kept, tag: tag in json.loads(kept),
    "has any": lambda kept, tags: not set(tags).isdisjoint(json.loads(kept)),
    "holds": holds,
    "is null": lambda kept, _: kept is None,
    "is not null": lambda kept, _: kept is not None,
}


def by_run(where: Where, runs_of: Callable[[str], tuple[str, ...]]) -> Where:
    """The same filters, with the runs that are of a session in its place."""
    return tuple(
        f._replace(op="in", value=runs_of(f.value)) if f.op == "of session" else f for f in where
    )


def matches(row: Mapping[str, Any], where: Where) -> bool:
    """Whether a kept row passes every filter."""
    for column, op, value, _ in where:
        kept = row.get(column)
        if (kept is None and op != "is null") or not _COMPARE[op](kept, value):
            return False
    return True


def checked_count(name: str, value: Any) -> int:
    """A `limit` or an `offset`: a whole number that is not negative."""
    try:
        count = encode_integer(value)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{name} {error}.", field=name) from error
    if count < 0:
        raise InvalidValueError(f"{name} may not be negative, but is {count}.", field=name)
    return count
