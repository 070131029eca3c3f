"""A database and its archive, read as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from heapq import merge
from itertools import chain, islice
from typing import Any, NoReturn, TypeVar

from curio_persistence.archive.checking import check_folder
from curio_persistence.archive.cold.aggregates import columns_of, parts_of, united
from curio_persistence.archive.cold.candidates import TieredCandidates
from curio_persistence.archive.cold.database import FOLDERS, WHOLE, ArchivedDatabase
from curio_persistence.archive.cold.plan import Values
from curio_persistence.archive.cold.rows import ColdRows, is_part, part_of
from curio_persistence.archive.cold.whereabouts import last_move, moment_of
from curio_persistence.backends.sql.queries import refused_query
from curio_persistence.errors import AccessDeniedError, UnsupportedError
from curio_persistence.places import Place
from curio_persistence.store.aggregates import aggregate_rows
from curio_persistence.store.base import HealthCheck, Store
from curio_persistence.store.filters import Filter, GroupKey, Measure, Where
from curio_persistence.store.query import Query, ReadRows
from curio_persistence.store.search_index import CandidateSource, SearchIndex
from curio_persistence.store.table import Columns, Row, Table
from curio_persistence.tables import EXPIRED_TOTALS, RUNS

T = TypeVar("T")

_TRIES = 5
"""Attempts to read the database, if runs move to the archive during each."""


class TieredStore(Store):
    """Reads the rows of a database, and those of its archive. It writes neither.

    A search only brings the index of the database up to date, as it always does.

    A row that is in both is returned once, as it is in the database. Numbers of expired rows that
    are in this archive are left out, since the rows themselves count.
    """

    dialect = "archive"
    read_only = True

    def __init__(self, hot: Store, place: Place, folder: str) -> None:
        self._hot = hot
        self._place = place
        self._folder = folder
        self._archived = ArchivedDatabase(place, folder)

    def __repr__(self) -> str:
        return f"TieredStore({self._hot!r}, {self._archive!r})"

    @property
    def _archive(self) -> str:
        return f"{self._place.name}/{self._folder}"

    @property
    def location(self) -> str:
        return f"{self._hot.location} with the archive {self._place.name}"

    @property
    def identity(self) -> str:
        return f"{self._hot.identity} {self._archive}"

    @property
    def search_index(self) -> SearchIndex:
        return self._hot.search_index

    @property
    def candidates(self) -> CandidateSource:
        return TieredCandidates(self._hot, self._archived)

    @property
    def indexed(self) -> Store:
        return self._hot

    def schema_version(self) -> int:
        return self._hot.schema_version()

    def initialize(self) -> bool:
        return self._hot.initialize()

    def close(self) -> None:
        self._archived.close()
        self._hot.close()

    def diagnose(self, *, deep: bool = False) -> list[HealthCheck]:
        archive = check_folder(self._place, self._folder, deep=deep)
        return [*self._hot.diagnose(deep=deep), archive]

    # --- rows in order ------------------------------------------------------------------------

    def select_query(self, query: Query, limit: int | None, offset: int) -> Columns:
        if query.table.name not in FOLDERS:
            return self._hot.select_query(query, limit, offset)
        if is_part(query.table):
            found = self.select_query(_of_whole(query), limit, offset)
            return part_of(query.table, found)
        end = None if limit is None else offset + limit
        page, cold = self._with_cold(lambda: self._hot.select_query(query, end, 0))
        rows = self._merged(query, self._pages(query, page, end), cold, end)
        return _columns(query.table, [*islice(rows, offset, end)])

    def _pages(self, query: Query, page: Columns, size: int | None) -> Iterator[Columns]:
        """Yield a page of the database, and those that follow it when they are needed."""
        yield page
        while size is not None and page[0] and len(page[0]) == size:
            query = query.behind(query.last_of(page))
            yield (page := self._hot.select_query(query, size, 0))

    def stream_query(self, query: Query, size: int) -> Iterator[Columns]:
        with self.snapshot() as read:
            yield from read(query, size)

    @contextmanager
    def snapshot(self) -> Iterator[ReadRows]:
        before = last_move(self._hot)
        with self._hot.snapshot() as read:
            cold = ColdRows(self._archived, self._hot, moment_of(read, before))
            yield lambda query, size: self._streamed(query, size, read, cold)

    def _streamed(
        self, query: Query, size: int, read: ReadRows, cold: ColdRows
    ) -> Iterator[Columns]:
        if query.table.name not in FOLDERS:
            yield from read(query, size)
            return
        if is_part(query.table):
            for found in self._streamed(_of_whole(query), size, read, cold):
                yield part_of(query.table, found)
            return
        rows = self._merged(query, read(query, size), cold, None)
        while some := list(islice(rows, size)):
            yield _columns(query.table, some)

    def _merged(
        self, query: Query, pages: Iterable[Columns], cold: ColdRows, limit: int | None
    ) -> Iterator[Values]:
        """Yield the rows of both in order; the archive is read when its rows have their turn."""
        plan = cold.plan(query)
        hot = _rows_of(pages)
        if not plan.files:
            yield from hot
            return
        if query.table.name == RUNS.name:
            hot = _without_stubs(query.table, pages, cold)
        if plan.is_by_time:
            begin = plan.begin_of(plan.files[0])
            for row in hot:
                if not plan.is_before(row, begin):
                    hot = chain([row], hot)
                    break
                yield row
        both = merge(hot, cold.walk(plan, limit), key=plan.key, reverse=plan.descending)
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
        rows = (dict(zip(names, row, strict=True)) for row in self._rows(table, names, where))
        return [tuple(_value(row, column) for column in columns) for row in islice(rows, limit)]

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
        if _needs_rows(table, measures):
            names = columns_of(measures, group_by)
            rows = (dict(zip(names, row, strict=True)) for row in self._rows(table, names, where))
            return aggregate_rows(rows, measures, group_by)
        parts = parts_of(measures)
        hot, cold = self._with_cold(
            lambda: self._hot.aggregate(
                table, parts, self._without_stubs(table, where), group_by=group_by
            )
        )
        archived = cold.aggregate(table, parts, where, group_by)
        return united(chain(hot, archived), len(group_by), measures)

    def _rows(
        self, table: Table[Any], names: tuple[str, ...], where: Where
    ) -> Iterator[tuple[Any, ...]]:
        """Return the values of columns of all rows that match."""
        hot, cold = self._with_cold(
            lambda: self._hot.select_columns(table, names, self._without_stubs(table, where))
        )
        return chain(hot, cold.columns(table, names, where))

    def _without_stubs(self, table: Table[Any], where: Where) -> Where:
        """Return the filters, and others for runs whose archived rows count in their place."""
        if table.name != RUNS.name:
            return where
        stubs = ColdRows(self._archived, self._hot, last_move(self._hot)).stubs()
        return (*where, *(Filter("run_id", "<>", run_id) for run_id in sorted(stubs)))

    def _with_cold(self, read: Callable[[], T]) -> tuple[T, ColdRows]:
        """Return what is read of the database, and the rows of the archive that count beside it.

        Runs that move meanwhile are found once. While runs move all the time, the last attempt is
        taken, whose numbers may be off by those that moved during it.
        """
        for _ in range(_TRIES):
            moment, found = last_move(self._hot), read()
            if last_move(self._hot) == moment:
                break
        return found, ColdRows(self._archived, self._hot, moment)

    def _of_others(self, table: Table[Any], where: Where) -> Where:
        """Return the filters; of expired rows for those that this archive does not have."""
        if table is not EXPIRED_TOTALS:
            return where
        return (*where, Filter("archive", "<>", self._archived.id))

    # --- SQL ----------------------------------------------------------------------------------

    def sql(
        self, query: str, params: Sequence[Any], limit: int | None
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        # On use: other calls do without.
        from curio_persistence.archive.cold.queries import answer
        from curio_persistence.archive.cold.sandbox import QueryRefused

        try:
            return answer(self._hot, self._archived, query, params, limit)
        except QueryRefused as refusal:
            raise refused_query(self.location, refusal) from refusal.__cause__

    # --- what is not allowed ------------------------------------------------------------------

    def _refused(self) -> AccessDeniedError:
        return AccessDeniedError(
            f"{self.location} is only read. To write, open the database without its archive."
        )

    def check_writable(self) -> NoReturn:
        raise self._refused()

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


def _of_whole(query: Query) -> Query:
    """Return a query for whole rows, in place of one for some columns.

    Files have neither the columns that a store derives nor an index of their own: filters, and the
    run that a row belongs to, need the others.
    """
    return query._replace(table=WHOLE[query.table.name])


def _columns(table: Table[Any], rows: list[Values]) -> Columns:
    return list(zip(*rows, strict=True)) if rows else [() for _ in table.names]


def _rows_of(pages: Iterable[Columns]) -> Iterator[Values]:
    return chain.from_iterable(zip(*page, strict=True) for page in pages)


def _without_stubs(table: Table[Any], pages: Iterable[Columns], cold: ColdRows) -> Iterator[Values]:
    """Yield the rows of runs but those of which the archive knows more."""
    at = table.names.index("run_id")
    for page in pages:
        stubs = cold.stubs(page[at]) if page[at] else ()
        yield from (row for row in zip(*page, strict=True) if row[at] not in stubs)


def _each_once(rows: Iterable[Values], at: int) -> Iterator[Values]:
    """Yield rows; of neighbours with the same id, at this position, only the first."""
    last = None
    for row in rows:
        if row[at] != last:
            yield row
        last = row[at]


def _value(row: Row, column: GroupKey) -> Any:
    if isinstance(column, str):
        return row[column]
    time = row[column.column]
    return None if time is None else column.start_of(str(time))


def _needs_rows(table: Table[Any], measures: tuple[Measure, ...]) -> bool:
    """Return whether two sides may not compute by themselves.

    Both round the sum of floats, and both may have one of the different values.
    """
    return any(
        m.kind == "distinct" or (m.column is not None and table.kind_of(m.column) == "real")
        for m in measures
    )
