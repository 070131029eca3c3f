"""One database in an archive: its logs, its files on this machine, and DuckDB to read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from threading import Lock
from typing import Any, NamedTuple

from curio_persistence.archive.cold import sql
from curio_persistence.archive.cold.duck import DuckDB
from curio_persistence.archive.cold.files import LocalFiles
from curio_persistence.archive.cold.plan import ANY, Values
from curio_persistence.archive.delta_log import ArchivedFile, DeltaLog
from curio_persistence.archive.versions import Stored, Versions
from curio_persistence.capabilities.transfers.kinds import KINDS_OF_RUNS
from curio_persistence.concurrency import forking
from curio_persistence.places import Place
from curio_persistence.store.filters import Filter, Where
from curio_persistence.store.query import Query
from curio_persistence.store.table import Table
from curio_persistence.tables import RUNS, SMALL_TABLES_OF_RUNS

FOLDERS: Mapping[str, str] = {table.name: name for name, table in KINDS_OF_RUNS.items()}
WHOLE: Mapping[str, Table[Any]] = {table.name: table for table in KINDS_OF_RUNS.values()}
"""The folder of each table in the folder of a database."""


class Read(NamedTuple):
    """A row as it was read: its values, and what decides whether it counts."""

    values: Values
    run_id: str
    row_id: int
    file: ArchivedFile


class ArchivedDatabase(forking.Forkable):
    """Reads the committed files of one database in an archive; threads may share it."""

    def __init__(self, place: Place, folder: str) -> None:
        self._place = place
        self._folder = folder
        self._files = LocalFiles(place)
        self._duckdb = DuckDB()
        self.start_again()
        forking.follow(self)

    def start_again(self) -> None:
        """Forget the logs: a thread of the parent may have been reading them."""
        self._lock = Lock()
        self._logs = {
            table.name: DeltaLog(self._place, f"{self._folder}/{name}", table)
            for name, table in KINDS_OF_RUNS.items()
        }
        self._known_runs: tuple[str, ...] = ()
        self.versions = Versions()
        """The runs that are in the archive more than once, as of the last call of `files_of`."""

    def close(self) -> None:
        """Delete what was fetched; later calls fail."""
        self._duckdb.close()
        self._files.close()

    @property
    def id(self) -> str:
        """The id of the archive: that of its table of runs."""
        with self._lock:
            return self._logs[RUNS.name].id

    def rows(
        self, table: Table[Any], text: str, files: Sequence[ArchivedFile], values: Sequence[Any]
    ) -> Iterator[list[Values]]:
        """Yield the rows of a statement, some at a time, which binds the paths of files first."""
        if files:
            with self.on_disk(table, files) as paths:
                yield from self._duckdb.rows(text, [[*paths], *values])

    # --- files --------------------------------------------------------------------------------

    @contextmanager
    def held(self, tables: Iterable[Table[Any]]) -> Iterator[dict[str, list[str]]]:
        """Provide the paths of all files of some tables, by the names of these.

        The runs of a batch are committed last: where they are, its other rows are as well.
        """
        batches = {batch for file in self.files_of(RUNS, ()) for batch in file.batches}
        with ExitStack() as stack:
            found: dict[str, list[str]] = {}
            for table in tables:
                files = [f for f in self.files_of(table, ()) if f.batches & batches]
                found[table.name] = [*stack.enter_context(self.on_disk(table, files))]
            yield found

    def files_of(self, table: Table[Any], where: Where) -> list[ArchivedFile]:
        """Return the committed files that may have rows for these filters."""
        with self._lock:
            self._read_versions()
            files = [*self._logs[table.name].files().values()]
        runs = tuple(f for f in where if f.column == "run_id" and f.op in ("=", "in"))
        files = [file for file in files if all(file.may_pass(table, f) for f in where)]
        if not runs or table.name == RUNS.name or len(files) <= 1:
            return files
        # Ids that are not in the order of time may be in any file: the runs tell in which batch.
        found = self.read(RUNS, (), runs, self.files_of(RUNS, runs))
        batches = {batch for rows in found for each in rows for batch in each.file.batches}
        return [file for file in files if not file.batches.isdisjoint(batches)]

    def _read_versions(self) -> None:
        """Find the runs that are in the archive more than once, whenever runs were added to it."""
        files = self._logs[RUNS.name].files()
        if self._known_runs == tuple(files):
            return
        self.versions = Versions()
        if several := self._several([*files.values()]):
            self.versions = Versions(self._stored_rows(RUNS, [*files.values()], several))
            for table in SMALL_TABLES_OF_RUNS:
                files = self._logs[table.name].files()
                self.versions.add(table, self._stored_rows(table, [*files.values()], several))
        self._known_runs = tuple(files)

    def _several(self, files: Sequence[ArchivedFile]) -> tuple[str, ...]:
        """Return the runs that have several rows in some files."""
        if not files:
            return ()
        text = f"SELECT run_id FROM {sql.FILES} GROUP BY 1 HAVING count(*) > 1"
        with self.on_disk(RUNS, files) as paths:
            found = chain.from_iterable(self._duckdb.rows(text, [[*paths]]))
            return tuple(run_id for (run_id,) in found)

    def _stored_rows(
        self, table: Table[Any], files: Sequence[ArchivedFile], run_ids: tuple[str, ...]
    ) -> list[Stored]:
        """Return the rows of runs in the order of their commits, with their last updates."""
        where = (Filter("run_id", "in", run_ids),)
        rows = chain.from_iterable(self.read(table, ("updated_at",), where, files))
        order = {file: number for number, file in enumerate(files)}
        return sorted(
            (Stored(each.run_id, each.row_id, each.values[0], each.file) for each in rows),
            key=lambda row: order[row.file],
        )

    def run_ids(self, paths: Sequence[str]) -> set[str]:
        """Return the runs in some files of theirs."""
        text = f"SELECT DISTINCT run_id FROM {sql.FILES}"
        rows = self._duckdb.rows(text, [[*paths]]) if paths else ()
        return {run_id for some in rows for (run_id,) in some}

    # --- reading ------------------------------------------------------------------------------

    def read(
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
        with self.on_disk(table, files) as paths:
            for rows in self._duckdb.rows(text, [[*paths], *conditions.values]):
                yield [
                    Read(tuple(values), run_id, row_id, paths[path])
                    for *values, run_id, row_id, path in rows
                ]

    @contextmanager
    def on_disk(
        self, table: Table[Any], files: Sequence[ArchivedFile]
    ) -> Iterator[dict[str, ArchivedFile]]:
        """Provide files of a table on this machine, by their paths."""
        with self._files.held(f"{self._folder}/{FOLDERS[table.name]}", files) as paths:
            yield dict(zip(paths, files, strict=True))
