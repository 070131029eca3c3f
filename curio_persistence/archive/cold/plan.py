"""Which files of an archive are read for the first rows of a query, and in what order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, NamedTuple

from curio_persistence.archive.cold.sql import Conditions
from curio_persistence.archive.delta_log import ArchivedFile
from curio_persistence.store.query import Query

Values = tuple[Any, ...]
"""The stored values of a row, in the order of the columns that were asked for."""
_AT_A_TIME = (1, 4, 16)
"""How many files are read first, then, and from then on, until there are rows enough."""


class Test(NamedTuple):
    """Conditions, then a function, that a row passes besides the filters of a query."""

    conditions: Conditions = Conditions()
    passes: Callable[[Values], bool] | None = None


class Plan(NamedTuple):
    """A query, and the files that may have rows of it, in the order of their times."""

    query: Query
    files: list[ArchivedFile]

    @property
    def is_by_time(self) -> bool:
        """True if the rows are in the order of the times that the log has for each file."""
        return self.query.order[0].column == self.query.table.ages_by

    @property
    def descending(self) -> bool:
        """True if the newest rows come first."""
        return self.query.order[0].descending

    def groups(self, *, few: bool) -> Iterator[tuple[list[ArchivedFile], str | None]]:
        """Yield files to read together, each time with the first time of those that follow."""
        files = self.files
        sizes = chain(_AT_A_TIME if few else (), _forever(_AT_A_TIME[-1] if few else 1))
        for size in sizes if self.is_by_time else [len(files)]:
            group, files = files[:size], files[size:]
            if group:
                yield group, self.begin_of(files[0]) if files else None
            if not files:
                return

    def begin_of(self, file: ArchivedFile) -> str:
        """Return the time with which the rows of a file begin, in the order of the query."""
        return file.last_time if self.descending else file.first_time

    def is_before(self, row: Values, time: str) -> bool:
        """Return whether a row comes before all rows of a time."""
        own: str = row[self.query.table.names.index(self.query.table.ages_by)]
        return own > time if self.descending else own < time

    def count_before(self, rows: list[Values], time: str | None) -> int:
        """Return how many of some rows in order come before all of a time, or all without one."""
        if time is None:
            return len(rows)
        return next((at for at, row in enumerate(rows) if not self.is_before(row, time)), len(rows))

    def key(self, row: Values) -> Values:
        """Return the position of a row in the order of the query."""
        names = self.query.table.names
        return tuple(row[names.index(each.column)] for each in self.query.order)


ANY = Test()


def _forever(size: int) -> Iterator[int]:
    while True:
        yield size


def bounds_of(query: Query) -> tuple[str, str]:
    """Return the times between which the rows behind a position are."""
    first, last = "", "\x7f"
    if query.after is not None and query.order[0].column == query.table.ages_by:
        if query.order[0].descending:
            last = str(query.after[0])
        else:
            first = str(query.after[0])
    return first, last


def is_within(file: ArchivedFile, bounds: tuple[str, str]) -> bool:
    """Return whether a file may have rows between two times."""
    return file.first_time <= bounds[1] and file.last_time >= bounds[0]
