"""A database and its archive, read as one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from heapq import merge
from itertools import chain, islice
from typing import Any, NoReturn, TypeVar

from curio_persistence.archive.cold.aggregates import columns_of, parts_of, united
from curio_persistence.archive.cold.candidates import TieredCandidates
from curio_persistence.archive.cold.plan import Values
from curio_persistence.archive.cold.rows import FOLDERS, ColdRows
from curio_persistence.backends.sql.queries import refused_query
from curio_persistence.errors import AccessDeniedError, UnsupportedError
from curio_persistence.places import Place
from curio_persistence.store.aggregates import aggregate_rows
from curio_persistence.store.base import HealthCheck, Store
from curio_persistence.store.filters import Bucket, Filter, GroupKey, Measure, Order, Where
from curio_persistence.store.query import Query, ReadRows
from curio_persistence.store.search_index import CandidateSource, SearchIndex
from curio_persistence.store.table import Columns, Row, Table
from curio_persistence.tables import EXPIRED_TOTALS, RUNS, TOMBSTONES

T = TypeVar("T")

_TRIES = 5
"""Attempts to add up rows, if some of them move to the archive during each."""
_AT_ONCE = 5_000
"""Runs that the database is asked for by one query."""


class TieredStore(Store):
    """Reads the rows of a database, and those of its archive. It writes neither.

    A row that is in both is returned once, as it is in the database. Numbers of expired rows that
    are in this archive are left out, since the rows themselves count.
    """

    dialect = "archive"
    read_only = True

    def __init__(self, hot: Store, place: Place, folder: str) -> None:
        self._hot = hot
        self._archive = f"{place.name}/{folder}"
        self._cold = ColdRows(place, folder, self._stored_runs)

    def __repr__(self) -> str:
        return f"TieredStore({self._hot!r}, {self._archive!r})"

    @property
    def location(self) -> str:
        return f"{self._hot.location} with the archive {self._archive}"

    @property
    def identity(self) -> str:
        return f"{self._hot.identity} {self._archive}"

    @property
    def search_index(self) -> SearchIndex:
        return self._hot.search_index

    @property
    def candidates(self) -> CandidateSource:
        return TieredCandidates(self._hot.search_index, self._cold)

    @property
    def indexed(self) -> Store:
        return self._hot

    def schema_version(self) -> int:
        return self._hot.schema_version()

    def initialize(self) -> None:
        self._hot.initialize()

    def close(self) -> None:
        self._cold.close()
        self._hot.close()

    def diagnose(self, *, deep: bool = False) -> list[HealthCheck]:
        return self._hot.diagnose(deep=deep)

    def _stored_runs(self, run_ids: Collection[str]) -> set[str]:
        """Return those of the runs that the database has."""
        names, found = iter(run_ids), set[str]()
        while some := tuple(islice(names, _AT_ONCE)):
            where = (Filter("run_id", "in", some),)
            found |= {name for (name,) in self._hot.select_columns(RUNS, ("run_id",), where)}
        return found

    # --- rows in order ------------------------------------------------------------------------

    def select_query(self, query: Query, limit: int | None, offset: int) -> Columns:
        if query.table.name not in FOLDERS:
            return self._hot.select_query(query, limit, offset)
        end = None if limit is None else offset + limit
        hot = self._hot.select_query(query, end, 0)
        rows = self._merged(query, zip(*hot, strict=True), end)
        return _columns(query.table, [*islice(rows, offset, end)])

    def stream_query(self, query: Query, size: int) -> Iterator[Columns]:
        return self._streamed(query, size, self._hot.stream_query)

    @contextmanager
    def snapshot(self) -> Iterator[ReadRows]:
        with self._hot.snapshot() as read:
            yield lambda query, size: self._streamed(query, size, read)

    def _streamed(self, query: Query, size: int, read: ReadRows) -> Iterator[Columns]:
        if query.table.name not in FOLDERS:
            yield from read(query, size)
            return
        hot = chain.from_iterable(zip(*columns, strict=True) for columns in read(query, size))
        rows = self._merged(query, hot, None)
        while some := list(islice(rows, size)):
            yield _columns(query.table, some)

    def _merged(self, query: Query, hot: Iterator[Values], limit: int | None) -> Iterator[Values]:
        """Yield the rows of both in order; the archive is read when its rows have their turn."""
        first = [*islice(hot, 1)]  # A stream's moment: what moves later is in both.
        hot = chain(first, hot)
        plan = self._cold.plan(query)
        if not plan.files:
            yield from hot
            return
        if plan.is_by_time:
            begin = plan.begin_of(plan.files[0])
            for row in hot:
                if not plan.is_before(row, begin):
                    hot = chain([row], hot)
                    break
                yield row
        cold = self._cold.walk(plan, limit)
        both = merge(hot, cold, key=plan.key, reverse=plan.descending)
        yield from _each_once(both, query.table.names.index("id"))

    # --- numbers ------------------------------------------------------------------------------

    def select_columns(
        self,
        table: Table[Any],
        columns: tuple[GroupKey, ...],
        where: Where = (),
        limit: int | None = None,
    ) -> list[tuple[Any, ...]]:
        if table.name not in FOLDERS:
            return self._hot.select_columns(table, columns, self._of_others(table, where), limit)
        names = columns_of((), columns)
        rows = self._while_nothing_moves(lambda: self._rows(table, names, where))
        found = (dict(zip(names, row, strict=True)) for row in rows)
        return [tuple(_value(row, column) for column in columns) for row in found][:limit]

    def aggregate(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        where: Where = (),
        *,
        group_by: tuple[GroupKey, ...] = (),
    ) -> list[tuple[Any, ...]]:
        if table.name not in FOLDERS:
            where = self._of_others(table, where)
            return self._hot.aggregate(table, measures, where, group_by=group_by)
        add_up = self._added_up if _rounds(table, measures) else self._united
        return self._while_nothing_moves(lambda: add_up(table, measures, where, group_by))

    def _united(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        where: Where,
        group_by: tuple[GroupKey, ...],
    ) -> list[tuple[Any, ...]]:
        """Return the numbers of groups, of which each side tells its own."""
        parts = parts_of(measures)
        hot = self._hot.aggregate(table, parts, where, group_by=group_by)
        cold = self._cold.aggregate(table, parts, where, group_by)
        return united(chain(hot, cold), len(group_by), measures)

    def _added_up(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        where: Where,
        group_by: tuple[GroupKey, ...],
    ) -> list[tuple[Any, ...]]:
        """Return the numbers of groups of all rows; sums of floats are rounded once."""
        names = columns_of(measures, group_by)
        rows = (dict(zip(names, row, strict=True)) for row in self._rows(table, names, where))
        return aggregate_rows(rows, measures, group_by)

    def _rows(
        self, table: Table[Any], names: tuple[str, ...], where: Where
    ) -> list[tuple[Any, ...]]:
        hot = self._hot.select_columns(table, names, where)
        return [*hot, *self._cold.columns(table, names, where)]

    def _while_nothing_moves(self, read: Callable[[], T]) -> T:
        """Return what is read while no run moves from the database to the archive.

        After some attempts runs may be counted twice that moved meanwhile.
        """
        for _ in range(_TRIES):
            before, found = self._last_deletion(), read()
            if self._last_deletion() == before:
                break
        return found

    def _last_deletion(self) -> int:
        newest = self._hot.select(TOMBSTONES, order=(Order("id", descending=True),), limit=1)
        return next(iter(newest[TOMBSTONES.names.index("id")]), 0)

    def _of_others(self, table: Table[Any], where: Where) -> Where:
        """Return the filters; of expired rows for those that this archive does not have."""
        if table is not EXPIRED_TOTALS:
            return where
        return (*where, Filter("archive", "<>", self._cold.id))

    # --- SQL ----------------------------------------------------------------------------------

    def sql(
        self, query: str, params: Sequence[Any], limit: int | None
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        # On use: other calls do without.
        from curio_persistence.archive.cold.queries import answer
        from curio_persistence.archive.cold.sandbox import QueryRefused

        try:
            return answer(self._hot, self._cold, query, params, limit)
        except QueryRefused as refusal:
            raise refused_query(self.location, refusal) from refusal.__cause__

    # --- what is not allowed ------------------------------------------------------------------

    def _refused(self) -> AccessDeniedError:
        return AccessDeniedError(
            f"{self.location} is only read. To write, open the database without its archive."
        )

    def insert(self, table: Table[Any], row: Row) -> NoReturn:
        raise self._refused()

    def update(
        self, table: Table[Any], where: Where, changes: Row, *, returning: tuple[str, ...] = ("id",)
    ) -> NoReturn:
        raise self._refused()

    def delete(self, table: Table[Any], where: Where, limit: int | None = None) -> NoReturn:
        raise self._refused()

    def compact(self) -> NoReturn:
        raise self._refused()

    def without_backups(self) -> UnsupportedError:
        return UnsupportedError(
            f"{self.location}: a backup is of the database alone. Open it without the archive, "
            "whose files are copies already."
        )

    def transaction(self) -> AbstractContextManager[None]:
        raise self._refused()

    def _is_inside(self) -> bool:
        return False


def _columns(table: Table[Any], rows: list[Values]) -> Columns:
    return list(zip(*rows, strict=True)) if rows else [() for _ in table.names]


def _each_once(rows: Iterable[Values], at: int) -> Iterator[Values]:
    """Yield rows without one that follows itself, by the position of its id."""
    last = None
    for row in rows:
        if row[at] != last:
            yield row
        last = row[at]


def _value(row: Row, column: GroupKey) -> Any:
    if not isinstance(column, Bucket):
        return row[column]
    time = row[column.column]
    return None if time is None else column.start_of(str(time))


def _rounds(table: Table[Any], measures: tuple[Measure, ...]) -> bool:
    """Return whether a number is a sum of floats, which two sides may not round by themselves."""
    return any(m.column is not None and table.kind_of(m.column) == "real" for m in measures)
