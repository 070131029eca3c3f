"""The answer to a question in SQL, whose columns are known only when it is there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

from curio_persistence.results.pandas import pandas


@dataclass(frozen=True, slots=True)
class SQLResult:
    """Rows in the order of the query, and the names of their columns.

    Values are numbers, texts, bools, bytes and None. Times are UTC text,
    `2026-11-20T10:30:00.000000+00:00`, costs and other decimals the nearest floats. `has_more` is
    True if `limit` left rows out.
    """

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    has_more: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.rows)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return each row as a dict; the second column `cost` of a join is its `cost_2`."""
        names = _distinct(self.columns)
        return [dict(zip(names, row, strict=True)) for row in self.rows]

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame`; needs `pip install 'curio-persistence[pandas]'`."""
        return pandas().DataFrame(self.rows, columns=list(self.columns))


def _distinct(columns: tuple[str, ...]) -> list[str]:
    names: list[str] = []
    for column in columns:
        others = (f"{column}_{number}" for number in count(2))
        names.append(next(name for name in chain((column,), others) if name not in names))
    return names
