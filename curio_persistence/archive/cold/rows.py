"""The archived rows of a database that count beside its own, as a store returns them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from curio_persistence.archive.cold import sql
from curio_persistence.archive.cold.aggregates import columns_of
from curio_persistence.archive.cold.database import WHOLE, ArchivedDatabase, Read
from curio_persistence.archive.cold.plan import ANY, Plan, Test, Values, bounds_of, is_within
from curio_persistence.archive.cold.whereabouts import Holder, Whereabouts
from curio_persistence.archive.delta_log import ArchivedFile
from curio_persistence.store.aggregates import aggregate_rows
from curio_persistence.store.base import Store
from curio_persistence.store.filters import (
    Filter,
    GroupKey,
    Measure,
    Select,
    Spans,
    Where,
    matches,
)
from curio_persistence.store.query import Query
from curio_persistence.store.table import Columns, Row, Table
from curio_persistence.tables import RUNS

_MOST = 10_000
"""Rows that are read in one query to find those that match."""


class ColdRows:
    """The rows of an archive that count for one call.

    Of runs that are in both, those rows count which the database has not; of the run itself only
    if the database knows it from a late event.
    """

    def __init__(self, archived: ArchivedDatabase, hot: Store, moment: int) -> None:
        self._archived = archived
        self._hot = hot
        self._runs = Whereabouts(hot, moment)

    # --- rows in order ------------------------------------------------------------------------

    def plan(self, query: Query) -> Plan:
        """Return which files are read for a query."""
        query = query._replace(where=self._resolved(query.where))
        descending = query.order[0].descending
        bounds = bounds_of(query)
        files = self._archived.files_of(query.table, query.where)
        files = [file for file in files if is_within(file, bounds)]
        files.sort(key=lambda file: file.last_time if descending else file.first_time)
        return Plan(query, files[::-1] if descending else files)

    def walk(self, plan: Plan, limit: int | None, test: Test = ANY) -> Iterator[Values]:
        """Yield the first rows of a plan in order, or all; it reads no more files than needed."""
        waiting: list[Values] = []
        seen: set[int] = set()
        for files, bound in plan.groups(few=limit is not None):
            waiting += self._first(plan.query, files, limit, seen, test)
            waiting.sort(key=plan.key, reverse=plan.descending)
            ready = plan.count_before(waiting, bound)
            yield from waiting[:ready]
            del waiting[:ready]

    def _first(
        self,
        query: Query,
        files: Sequence[ArchivedFile],
        limit: int | None,
        seen: set[int],
        test: Test,
    ) -> list[Values]:
        """Return the first rows of a query in some files, or all; in any order."""
        table, size = query.table, limit
        found: list[Values] = []
        while True:
            read = self._archived.read(
                table, table.names, query.where, files, query, size, test.conditions
            )
            count = 0
            for rows in read:
                count += len(rows)
                last = rows[-1].values
                matching = self._matching(table, query.where, self._counted(table, rows, seen))
                found += filter(test.passes, matching) if test.passes else matching
            if size is None or limit is None or count < size or len(found) >= limit:
                return found
            query = query.behind(Plan(query, []).key(last))
            size = min(size * 4, _MOST)

    # --- rows in any order --------------------------------------------------------------------

    def columns(
        self, table: Table[Any], columns: Sequence[str], where: Where
    ) -> Iterator[tuple[Any, ...]]:
        """Yield the stored values of some columns of each row that matches."""
        where = self._resolved(where)
        files, seen = self._archived.files_of(table, where), set[int]()
        plain = {*columns} <= {*table.names} and sql.are_decided(table, where)
        for rows in self._archived.read(table, columns if plain else table.names, where, files):
            counted = self._counted(table, rows, seen)
            if plain:
                yield from (each.values for each in counted)
            else:
                for row in _derived(table, [each.values for each in counted]):
                    if matches(row, where):
                        yield tuple(map(row.get, columns))

    def aggregate(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        where: Where,
        group_by: tuple[GroupKey, ...],
    ) -> list[tuple[Any, ...]]:
        """Return values of groups and measures; of a group there may be several rows."""
        where = self._resolved(where)
        columns = columns_of(measures, group_by)
        spans = any(isinstance(key, Spans) for key in group_by)
        if spans or not {*columns} <= {*table.names} or not sql.are_decided(table, where):
            return self._added_up(table, measures, where, group_by)
        others: set[str] = {*self._archived.versions.run_ids}
        found = [*self._groups(table, measures, where, group_by, others)]
        if others:
            one_by_one = (*where, Filter("run_id", "in", tuple(others)))
            found += self._added_up(table, measures, one_by_one, group_by)
        return found

    def _added_up(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        where: Where,
        group_by: tuple[GroupKey, ...],
    ) -> list[tuple[Any, ...]]:
        columns = columns_of(measures, group_by)
        rows = self.columns(table, columns, where)
        mappings = (dict(zip(columns, row, strict=True)) for row in rows)
        return aggregate_rows(mappings, measures, group_by)

    def _groups(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        where: Where,
        group_by: tuple[GroupKey, ...],
        others: set[str],
    ) -> Iterator[tuple[Any, ...]]:
        """Yield a row for each group of each run, but for others; add those that are in both."""
        files = self._archived.files_of(table, where)
        keys = ["run_id", *(sql.group_text(table, group) for group in group_by)]
        numbers = [sql.measure_text(table, measure) for measure in measures]
        by = ", ".join(str(at + 1) for at in range(len(keys)))
        conditions = sql.conditions_of(table, where).also(sql.without_runs([*others]))
        text = (
            f"SELECT {', '.join([*keys, *numbers])} FROM {sql.FILES}{conditions.where} "
            f"GROUP BY {by}"
        )
        for rows in self._archived.rows(table, text, files, conditions.values):
            runs = self._runs.of(row[0] for row in rows)
            for run_id, *values in rows:
                if runs[run_id] is Holder.ARCHIVE:
                    yield (*sql.starts_of(group_by, values), *values[len(group_by) :])
                elif runs[run_id] is Holder.BOTH:
                    others.add(run_id)

    # --- what counts --------------------------------------------------------------------------

    def _counted(self, table: Table[Any], rows: list[Read], seen: set[int]) -> list[Read]:
        """Return the rows that count, each once."""
        runs, versions = self._runs.of(each.run_id for each in rows), self._archived.versions
        both = [each for each in rows if runs[each.run_id] is Holder.BOTH]
        here = self._here(table, both) if both else set()
        return [
            each
            for each in rows
            if runs[each.run_id] is not Holder.ELSEWHERE
            and (table.name, each.row_id, each.run_id) not in here
            and versions.counts(table, each.run_id, each.row_id, each.file, seen)
        ]

    def _here(self, table: Table[Any], rows: Iterable[Read]) -> set[tuple[str, int, str]]:
        """Return those of the rows, by table, id and run, in whose place the database has some."""
        run_ids = tuple({each.run_id for each in rows})
        where: Where = (Filter("run_id", "in", run_ids),)
        if table.name == RUNS.name:
            stubs = self.stubs(run_ids)
            return {(table.name, row.row_id, row.run_id) for row in rows if row.run_id not in stubs}
        ids = tuple(each.row_id for each in rows)
        stored = self._hot.select_columns(
            table, ("id", "run_id"), (*where, Filter("id", "in", ids))
        )
        return {(table.name, row_id, run_id) for row_id, run_id in stored}

    def stubs(self, run_ids: Iterable[str] | None = None) -> set[str]:
        """Return the runs, or those of some, that the database knows from late events only."""
        where: Where = (Filter("stub", "=", 1),)
        if run_ids is not None:
            where = (Filter("run_id", "in", tuple(run_ids)), *where)
        found = [run_id for (run_id,) in self._hot.select_columns(RUNS, ("run_id",), where)]
        runs = self._runs.of(found)
        return {run_id for run_id in found if runs[run_id] is Holder.BOTH}

    def apart(self, run_ids: Iterable[str]) -> tuple[set[str], set[str]]:
        """Return the runs whose archived rows do not count, and those that are in both."""
        found = self._runs.of(run_ids).items()
        return (
            {run_id for run_id, holder in found if holder is Holder.ELSEWHERE},
            {run_id for run_id, holder in found if holder is Holder.BOTH},
        )

    def _matching(self, table: Table[Any], where: Where, rows: list[Read]) -> Iterable[Values]:
        values = [each.values for each in rows]
        if sql.are_decided(table, where):
            return values
        derived = _derived(table, values)
        return [each for each, row in zip(values, derived, strict=True) if matches(row, where)]

    def _resolved(self, where: Where) -> Where:
        """Return the filters with values in place of each `Select`, as the archive has them."""
        return tuple(
            f._replace(value=self._selected(f.value)) if isinstance(f.value, Select) else f
            for f in where
        )

    def _selected(self, select: Select) -> tuple[Any, ...]:
        rows = self.columns(select.table, (select.column,), select.where)
        return tuple({value for (value,) in rows})


def is_part(table: Table[Any]) -> bool:
    """Return True for a table with only some of its columns."""
    return table.names != WHOLE[table.name].names


def part_of(part: Table[Any], columns: Columns) -> Columns:
    """Return those columns of whole rows that a part of the table has, also derived ones."""
    whole = WHOLE[part.name]
    stored = dict(zip(whole.names, columns, strict=True))
    rows = [] if stored.keys() >= {*part.names} else _derived(whole, [*zip(*columns, strict=True)])
    return [
        stored[name] if name in stored else tuple(row.get(name) for row in rows)
        for name in part.names
    ]


def _derived(table: Table[Any], rows: Sequence[Values]) -> list[Row]:
    """Return rows with the columns that a store derives from them."""
    return table.rows([*zip(*rows, strict=True)]) if rows else []
