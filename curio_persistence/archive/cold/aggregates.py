"""Numbers of groups that two sources tell, each of its own rows, as the numbers of all rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

from curio_persistence.store.aggregates import as_number, average
from curio_persistence.store.filters import GroupKey, Measure, column_of

Group = tuple[Any, ...]
_PARTS: dict[str, tuple[str, ...]] = {"avg": ("sum", "count")}
"""The measures of parts that another one is made of; any other is made of its own."""


def parts_of(measures: tuple[Measure, ...]) -> tuple[Measure, ...]:
    """Return the measures that each source tells."""
    return tuple(
        measure._replace(kind=kind)  # type: ignore[arg-type]
        for measure in measures
        for kind in _PARTS.get(measure.kind, (measure.kind,))
    )


def columns_of(measures: tuple[Measure, ...], group_by: tuple[GroupKey, ...]) -> tuple[str, ...]:
    """Return the columns of which groups and measures are made; at least one."""
    names = dict.fromkeys(
        [*map(column_of, group_by), *(m.column for m in measures if m.column is not None)]
    )
    return tuple(names) or ("id",)


def united(groups: Iterable[Group], width: int, measures: tuple[Measure, ...]) -> list[Group]:
    """Return one row for each group, whose first `width` values tell it from others.

    Its other values are those of `measures`, made of those of `parts_of(measures)`.
    """
    found: dict[Group, list[list[Any]]] = defaultdict(lambda: [[] for _ in parts_of(measures)])
    for row in groups:
        for values, value in zip(found[row[:width]], row[width:], strict=True):
            if value is not None:
                values.append(value)
    return [(*key, *_measured(parts, measures)) for key, parts in found.items()]


def _measured(parts: list[list[Any]], measures: tuple[Measure, ...]) -> Iterable[Any]:
    combined = iter(parts)
    for measure in measures:
        if measure.kind == "avg":
            total, count = _sum(next(combined)), sum(next(combined))
            yield average(total, count) if count else None
        else:
            yield _COMBINE[measure.kind](next(combined))


def _sum(values: list[Any]) -> Any:
    return as_number(sum(values)) if values else None


_COMBINE: dict[str, Callable[[list[Any]], Any]] = {
    "count": sum,
    "sum": _sum,
    "min": lambda values: min(values, default=None),
    "max": lambda values: max(values, default=None),
    "values": lambda values: [*chain.from_iterable(values)],
}
