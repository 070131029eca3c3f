"""Reading records for a transfer: all tables as of one moment, equal on every store."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from curio_persistence.store.filters import Filter, Order, Where
from curio_persistence.store.query import STREAM_ROWS, ReadRows, query_of
from curio_persistence.store.table import Columns, Table

BY_ID = (Order("id"),)


class Reading:
    """A snapshot whose rows are equal to the letter on all stores."""

    def __init__(self, read: ReadRows) -> None:
        self._read = read

    def stream(
        self,
        table: Table[Any],
        where: Where = (),
        *,
        order: tuple[Order, ...] | None = None,
        size: int = STREAM_ROWS,
    ) -> Iterator[Columns]:
        """Yield the matching rows, the oldest first by default; one stream at a time."""
        return self._read(query_of(table, where, order or ascending(table)), size)


def ascending(table: Table[Any]) -> tuple[Order, ...]:
    """Return the order in which the oldest rows come first."""
    return tuple(each._replace(descending=False) for each in table.order)


def of_runs(run_ids: Collection[Any]) -> Iterator[Where]:
    """Yield the filters that together select the records of some runs; None stands for no run."""
    named = tuple(run_id for run_id in run_ids if run_id is not None)
    if named:
        yield (Filter("run_id", "in", named),)
    if None in run_ids:
        yield (Filter("run_id", "is null"),)
