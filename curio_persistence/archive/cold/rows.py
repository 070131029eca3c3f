"""The rows of one database in an archive, as a store returns them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from threading import Lock
from typing import Any, NamedTuple

from curio_persistence.archive.cold import sql
from curio_persistence.archive.cold.aggregates import columns_of
from curio_persistence.archive.cold.duck import DuckDB
from curio_persistence.archive.cold.files import LocalFiles
from curio_persistence.archive.cold.plan import (
    ANY,
    Plan,
    Test,
    Values,
    bounds_of,
    is_within,
    may_pass,
)
from curio_persistence.archive.cold.versions import Stored, Versions
from curio_persistence.archive.delta_log import ArchivedFile, DeltaLog
from curio_persistence.capabilities.transfers.kinds import KINDS
from curio_persistence.places import Place
from curio_persistence.store.aggregates import aggregate_rows
from curio_persistence.store.filters import Filter, GroupKey, Measure, Select, Where, matches
from curio_persistence.store.query import Query
from curio_persistence.store.table import Row, Table
from curio_persistence.tables import RUNS, SCORES

FOLDERS: Mapping[str, str] = {table.name: name for name, table in KINDS.items()}
"""The folder of each table in the folder of a database."""
_MOST = 10_000
"""Rows that are read in one query to find those that match."""


class Read(NamedTuple):
    """A row as it was read: its values, and what decides whether it counts."""

    values: Values
    run_id: str
    row_id: int
    file: ArchivedFile


class ColdRows:
    """Reads the committed files of one database in an archive.

    Rows of runs that are also in the database are left out: a run was restored, or it is about to
    be deleted there. `stored` returns those of some runs that the database has.
    """

    def __init__(
        self, place: Place, folder: str, stored: Callable[[Collection[str]], set[str]]
    ) -> None:
        self._folder = folder
        self._stored = stored
        self._files = LocalFiles(place)
        self._duckdb = DuckDB()
        self._lock = Lock()
        self._logs = {
            table.name: DeltaLog(place, f"{folder}/{name}", table) for name, table in KINDS.items()
        }
        self._versions = Versions()
        self._known_runs: tuple[str, ...] = ()

    def close(self) -> None:
        """Delete what was fetched; later calls fail."""
        self._duckdb.close()
        self._files.close()

    @property
    def id(self) -> str:
        """The id of the archive: that of its table of runs."""
        with self._lock:
            return self._logs[RUNS.name].id

    # --- rows in order ------------------------------------------------------------------------

    def plan(self, query: Query) -> Plan:
        """Return which files are read for a query."""
        query = query._replace(where=self._resolved(query.where))
        descending = query.order[0].descending
        bounds = bounds_of(query)
        files = [f for f in self._files_of(query.table, query.where) if is_within(f, bounds)]
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
            read = self._read(table, table.names, query.where, files, query, size, test.conditions)
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
        files, seen = self._files_of(table, where), set[int]()
        plain = {*columns} <= {*table.names} and sql.are_decided(table, where)
        names = columns if plain else table.names
        for rows in self._read(table, names, where, files):
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
        if not {*columns} <= {*table.names} or not sql.are_decided(table, where):
            return self._added_up(table, measures, where, group_by, columns)
        found = [*self._groups(table, measures, where, group_by)]
        if self._versions:
            several = (*where, Filter("run_id", "in", self._versions.run_ids))
            found += self._added_up(table, measures, several, group_by, columns)
        return found

    def _added_up(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        where: Where,
        group_by: tuple[GroupKey, ...],
        columns: tuple[str, ...],
    ) -> list[tuple[Any, ...]]:
        rows = self.columns(table, columns, where)
        mappings = (dict(zip(columns, row, strict=True)) for row in rows)
        return aggregate_rows(mappings, measures, group_by)

    def _groups(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        where: Where,
        group_by: tuple[GroupKey, ...],
    ) -> Iterator[tuple[Any, ...]]:
        """Yield a row for each group of each run, but for runs with several versions."""
        files = self._files_of(table, where)
        if not files:
            return
        keys = ["run_id", *(sql.group_text(table, group) for group in group_by)]
        numbers = [sql.measure_text(table, measure) for measure in measures]
        by = ", ".join(str(at + 1) for at in range(len(keys)))
        conditions = sql.conditions_of(table, where).also(sql.without_runs(self._versions.run_ids))
        text = (
            f"SELECT {', '.join([*keys, *numbers])} FROM {sql.FILES}{conditions.where} "
            f"GROUP BY {by}"
        )
        with self._held(table, files) as paths:
            for rows in self._duckdb.rows(text, [[*paths], *conditions.values]):
                stored = self._stored({row[0] for row in rows})
                for run_id, *values in rows:
                    if run_id not in stored:
                        yield (*sql.starts_of(group_by, values), *values[len(group_by) :])

    # --- files --------------------------------------------------------------------------------

    @property
    def versions(self) -> tuple[str, ...]:
        """The runs that are in the archive more than once, as of the last read."""
        return self._versions.run_ids

    @contextmanager
    def held(self, tables: Iterable[Table[Any]]) -> Iterator[dict[str, list[str]]]:
        """Provide the paths of all files of some tables, by the names of these.

        The runs of a batch are committed last: where they are, its other rows are as well.
        """
        batches = {batch for file in self._files_of(RUNS, ()) for batch in file.batches}
        with ExitStack() as stack:
            found: dict[str, list[str]] = {}
            for table in tables:
                files = [f for f in self._files_of(table, ()) if f.batches & batches]
                found[table.name] = [*stack.enter_context(self._held(table, files))]
            yield found

    def _files_of(self, table: Table[Any], where: Where) -> list[ArchivedFile]:
        """Return the committed files that may have rows for these filters."""
        with self._lock:
            self._read_versions()
            files = [*self._logs[table.name].files().values()]
        runs = tuple(f for f in where if f.column == "run_id" and f.op in ("=", "in"))
        files = [file for file in files if all(may_pass(table, file, f) for f in where)]
        if not runs or table.name == RUNS.name or len(files) <= 1:
            return files
        # Ids that are not in the order of time may be in any file: the runs tell in which batch.
        found = self._read(RUNS, (), runs, self._files_of(RUNS, runs))
        batches = {batch for rows in found for each in rows for batch in each.file.batches}
        return [file for file in files if not file.batches.isdisjoint(batches)]

    def _read_versions(self) -> None:
        """Find the runs that are in the archive more than once, whenever runs were added to it."""
        files = self._logs[RUNS.name].files()
        if self._known_runs == tuple(files):
            return
        self._versions = Versions()
        if several := self._several([*files.values()]):
            self._versions = Versions(self._stored_rows(RUNS, [*files.values()], several))
            scores = [*self._logs[SCORES.name].files().values()]
            self._versions.add(SCORES, self._stored_rows(SCORES, scores, several))
        self._known_runs = tuple(files)

    def _several(self, files: Sequence[ArchivedFile]) -> tuple[str, ...]:
        """Return the runs that have several rows in some files."""
        if not files:
            return ()
        text = f"SELECT run_id FROM {sql.FILES} GROUP BY 1 HAVING count(*) > 1"
        with self._held(RUNS, files) as paths:
            found = chain.from_iterable(self._duckdb.rows(text, [[*paths]]))
            return tuple(run_id for (run_id,) in found)

    def _stored_rows(
        self, table: Table[Any], files: Sequence[ArchivedFile], run_ids: tuple[str, ...]
    ) -> list[Stored]:
        """Return the rows of runs in the order of their commits, with their last updates."""
        where = (Filter("run_id", "in", run_ids),)
        rows = chain.from_iterable(self._read(table, ("updated_at",), where, files))
        order = {file: number for number, file in enumerate(files)}
        return sorted(
            (Stored(each.run_id, each.row_id, each.values[0], each.file) for each in rows),
            key=lambda row: order[row.file],
        )

    def runs_in_both(self, files: Sequence[str], others: Sequence[str]) -> set[str]:
        """Return the runs of which some files have rows, and others have as well."""
        if not others:
            return set()
        text = f"SELECT run_id FROM {sql.FILES} INTERSECT SELECT run_id FROM {sql.FILES}"
        found = self._duckdb.rows(text, [[*files], [*others]])
        return {run_id for rows in found for (run_id,) in rows}

    # --- reading ------------------------------------------------------------------------------

    def _read(
        self,
        table: Table[Any],
        names: Sequence[str],
        where: Where,
        files: Sequence[ArchivedFile],
        query: Query | None = None,
        limit: int | None = None,
        also: sql.Conditions = ANY.conditions,
    ) -> Iterator[list[Read]]:
        """Yield rows that may match, some at a time; the first of a query if there is one."""
        conditions = sql.conditions_of(table, where).also(also)
        end = ""
        if query is not None:
            conditions = conditions.also(sql.behind(table, query.order, query.after))
            end = f" ORDER BY {sql.ordered_by(query.order)}"
            end += "" if limit is None else f" LIMIT {limit}"
        wanted = [*(sql.stored_form(table, name) for name in names), "run_id", "id", "filename"]
        text = f"SELECT {', '.join(wanted)} FROM {sql.FILES}{conditions.where}{end}"
        if not files:
            return
        with self._held(table, files) as paths:
            for rows in self._duckdb.rows(text, [[*paths], *conditions.values]):
                yield [
                    Read(tuple(values), run_id, row_id, paths[path])
                    for *values, run_id, row_id, path in rows
                ]

    @contextmanager
    def _held(
        self, table: Table[Any], files: Sequence[ArchivedFile]
    ) -> Iterator[dict[str, ArchivedFile]]:
        """Provide files of a table on this machine, by their paths."""
        with self._files.held(f"{self._folder}/{FOLDERS[table.name]}", files) as paths:
            yield dict(zip(paths, files, strict=True))

    def _counted(self, table: Table[Any], rows: list[Read], seen: set[int]) -> list[Read]:
        """Return the rows of runs that only the archive has, each row once."""
        stored = self._stored({each.run_id for each in rows})
        return [
            each
            for each in rows
            if each.run_id not in stored and self._versions.counts(table, *each[1:], seen=seen)
        ]

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


def _derived(table: Table[Any], rows: Sequence[Values]) -> list[Row]:
    """Return rows with the columns that a store derives from them."""
    return table.rows([*zip(*rows, strict=True)]) if rows else []
