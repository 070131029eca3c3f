"""Aggregates computed in Python: the reference for the databases, and their fallback."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import fsum, inf
from typing import TYPE_CHECKING, Any

from curio_persistence.store.filters import GroupKey, Measure, Spans, column_of

if TYPE_CHECKING:
    from fractions import Fraction

Number = int | float


def aggregate_rows(
    rows: Iterable[Mapping[str, Any]], measures: Sequence[Measure], group_by: Sequence[GroupKey]
) -> list[tuple[Any, ...]]:
    """Return what `Store.aggregate` returns for these rows, given in stored form."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = defaultdict(list)
    if not group_by:
        groups[()] = []  # As in SQL: without GROUP BY there is one group, even of no rows.
    for row in rows:
        groups[tuple(_group_value(row, group) for group in group_by)].append(row)
    if group_by and isinstance(group_by[0], Spans):  # Rows outside of them are in no group.
        groups = {key: members for key, members in groups.items() if key[0] is not None}
    return [
        (*key, *(_measured(measure, members) for measure in measures))
        for key, members in groups.items()
    ]


def _group_value(row: Mapping[str, Any], group: GroupKey) -> Any:
    value = row.get(column_of(group))
    return value if isinstance(group, str) or value is None else group.start_of(value)


def _measured(measure: Measure, rows: Sequence[Mapping[str, Any]]) -> Any:
    if measure.column is None:
        return len(rows)
    values = [value for row in rows if (value := row.get(measure.column)) is not None]
    match measure.kind:
        case "count":
            return len(values)
        case "distinct":
            return len({*values})
        case "values":
            return values
    if not values:
        return None
    match measure.kind:
        case "min":
            return one_zero(min(values))
        case "max":
            return one_zero(max(values))
        case "avg":
            return average(exact_sum(values), len(values))
    return as_number(exact_sum(values))


def one_zero(value: Any) -> Any:
    """Return the value, or 0.0 for -0.0, which SQLite does not store."""
    return value + 0.0 if isinstance(value, float) else value


def exact_sum(values: Sequence[Number]) -> Number | Fraction:
    """Return the sum of integers, or the sum of floats rounded once, whatever their order.

    A sum beyond the largest float is returned as a Fraction.
    """
    if isinstance(values[0], int):
        return sum(values)
    try:
        return fsum(values)
    except OverflowError:
        from fractions import Fraction  # Imported here: the import is slow and seldom needed.

        return sum(map(Fraction, values), Fraction())


def average(total: Number | Fraction, count: int) -> float:
    """Return the mean as a float; of integers it is rounded once."""
    return float(total / count) + 0.0


def as_number(total: Number | Fraction) -> Number:
    """Return a sum in stored form; infinity beyond the largest float."""
    if isinstance(total, int):
        return total
    try:
        return float(total) + 0.0
    except OverflowError:
        return inf if total > 0 else -inf
