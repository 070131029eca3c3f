"""Stores trees of runs in an archive: files by day, verified, then committed."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from curio_persistence.archive.delta_log import ArchivedFile, DeltaLog, file_of
from curio_persistence.archive.erasing import erase_rows
from curio_persistence.archive.files import digest_of, fetched, folder_of, has_logs, put_file
from curio_persistence.archive.forms import FORMS, PARQUET, Form
from curio_persistence.archive.stored import VERSIONED, Archived, Rows
from curio_persistence.capabilities.lifecycle.settings import Lease, Settings
from curio_persistence.capabilities.lifecycle.trees import Tree
from curio_persistence.capabilities.transfers.kinds import KINDS_BESIDE_RUNS, KINDS_OF_RUNS
from curio_persistence.concurrency.prefetch import prefetch_map
from curio_persistence.errors import CorruptDatabaseError, NotFoundError
from curio_persistence.persistence import Persistence
from curio_persistence.places import Place
from curio_persistence.results.arrow import pyarrow
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import COUNT, Filter, Measure, Where
from curio_persistence.store.table import Table
from curio_persistence.tables import TOMBSTONES

_BYTES = 8 << 20
"""Bytes in memory of rows that are gathered before files are written."""
_ROWS = 900
"""The rows that are read by one query: fewer than the first piece of a CSV stream has."""
_UPLOADS = 2
"""The files that are stored at the same time: an object store answers late."""
_COMMITTED = (*KINDS_BESIDE_RUNS, "runs")
"""The order of commits: a run that is in the archive is there with all that belongs to it."""
_KIND = "archiving"
_MEASURES = (COUNT, Measure("max", "id"))


class Archiver:
    """Stores trees in an archive, and tells which of them may be deleted.

    Before it commits, it notes in the database what it is about to commit and for which runs: what
    an archiver that was killed there began is completed by the next one.
    """

    def __init__(self, persistence: Persistence, place: Place, form: Form = PARQUET) -> None:
        self._store = persistence._store
        self._transfers = persistence._transfers
        self._settings = Settings(self._store, persistence.clock)
        self._place = place
        self._folder = folder_of(persistence._store)
        self._form = form
        self._logs: dict[str, DeltaLog] = {}
        self._noted_as = digest_of(self.location.encode())[:16]
        self._note: dict[str, Any] = {}
        self._versions: dict[str, set[tuple[str, str]]] = {}

    @property
    def location(self) -> str:
        """The archive, as tombstones name it."""
        return f"{self._place.name}/{self._form.path_of(self._folder, '')}".rstrip("/")

    @property
    def id(self) -> str:
        """The id of the archive, that of its table of runs; empty if nothing can query it."""
        return self._log("runs").id if self._form is PARQUET else ""

    def unfinished(self) -> list[str]:
        """Complete what a killed archiver noted; return the roots of its trees.

        Without its files, or if one of its runs was erased since, nothing is completed: what is
        stored here still is archived again. Raise CorruptDatabaseError if a log was deleted.
        """
        has_logs(self._place, self._folder, self._form)
        note = self._settings.of(_KIND).get(self._noted_as, {})
        if not note:
            return []
        self._take(note)
        erased = self._erased(note["run_ids"])
        if erased or not self._has_files():
            form = FORMS[note["form"]]
            for _, folder, table in form.tables(self._folder):
                erase_rows(self._place, folder, table, form, erased)
            self.done()
            return []
        self._commit()
        return [*note["roots"]]

    def _erased(self, run_ids: Sequence[str]) -> set[str]:
        where = (Filter("run_id", "in", tuple(run_ids)), Filter("reason", "=", "erased"))
        return {run_id for (run_id,) in self._store.select_columns(TOMBSTONES, ("run_id",), where)}

    def _has_files(self) -> bool:
        """Return whether all files that were noted are there, as they were written."""
        try:
            for name in _COMMITTED:
                folder = FORMS[self._note["form"]].path_of(self._folder, name)
                for file in self._noted_files(name):
                    fetched(self._place, folder, file)
        except (NotFoundError, CorruptDatabaseError):
            return False
        return True

    def _noted_files(self, name: str) -> list[ArchivedFile]:
        return [file_of(add) for add in self._note["files"][name]]

    def missing(self, trees: Sequence[Tree]) -> list[Tree]:
        """Return the trees that are not in the archive as they are stored here."""
        there = self._there(trees)
        return [tree for tree in trees if tree.root.run_id not in there]

    def _there(self, trees: Sequence[Tree]) -> dict[str, dict[str, Rows]]:
        return Archived(self._place, self._folder, self._form).unchanged(self._store, trees)

    def store(self, trees: Sequence[Tree], lease: Lease) -> list[Tree]:
        """Store all rows of these trees, read them back, and commit them.

        Return the trees that were not in the archive as they are stored here.
        """
        ids = tuple(run_id for tree in trees for run_id in tree.run_ids)
        # Before the rows are read: one that is stored later may not be in the archive.
        last = {name: self._transfers.last_id(table) for name, table in KINDS_OF_RUNS.items()}
        there = self._there(trees)
        noted = _Noted(there)
        new = (Filter("run_id", "in", tuple(run_id for run_id in ids if run_id not in there)),)
        groups = {name: self._groups(table, new) for name, table in KINDS_OF_RUNS.items()}
        batch, files = _name_of(groups), dict[str, list[ArchivedFile]]()
        for name, folder, table in self._form.tables(self._folder):
            counts = {run_id: count for run_id, count, _ in groups[name]}
            # In the order of the trees: those of a day come together.
            found = [(run_id, counts[run_id]) for run_id in ids if run_id in counts]
            rows = self._transfers.arrow_tables(table, _some_at_a_time(found))
            files[name] = [*self._files(table, folder, noted.of(name, rows), batch, lease)]
        self._take(
            {
                "form": self._form.name,
                "roots": [tree.root.run_id for tree in trees],
                "run_ids": ids,
                "last": last,
                "files": {name: self._log(name).additions(some) for name, some in files.items()},
                "counts": noted.counts,
                "versions": noted.versions,
            }
        )
        with self._store.transaction():
            lease.renew()
            self._settings.put(_KIND, self._noted_as, self._note)
        self._commit()
        return [tree for tree in trees if tree.root.run_id not in there]

    def _take(self, note: dict[str, Any]) -> None:
        self._note = note
        self._versions = {
            name: {(run_id, version) for run_id, version in some}
            for name, some in note["versions"].items()
        }

    def _commit(self) -> None:
        for name in _COMMITTED:
            self._log(name).commit(self._noted_files(name))

    def _log(self, name: str) -> DeltaLog:
        form = FORMS[self._note["form"]] if self._note else self._form
        path = form.path_of(self._folder, name)
        if path not in self._logs:
            self._logs[path] = DeltaLog(self._place, path, KINDS_OF_RUNS[name], form)
        return self._logs[path]

    def unchanged(self, trees: list[Tree]) -> list[Tree]:
        """Return the trees that are in the archive as they are stored now; in a transaction."""
        ids = tuple(run_id for tree in trees for run_id in tree.run_ids)
        where = (Filter("run_id", "in", ids),)
        changed: set[str] = set()
        for name, table in KINDS_OF_RUNS.items():
            archived, last = self._note["counts"][name], self._note["last"][name]
            for run_id, count, newest in self._groups(table, where):
                if newest > last or count > archived.get(run_id, 0):
                    changed.add(run_id)
        for name in VERSIONED:
            now = self._store.select_columns(KINDS_OF_RUNS[name], ("run_id", "updated_at"), where)
            changed.update(each[0] for each in now if each not in self._versions[name])
        return [tree for tree in trees if changed.isdisjoint(tree.run_ids)]

    def _groups(self, table: Table[Any], where: Where) -> list[tuple[Any, ...]]:
        """Return each run with the number of its rows and the largest id."""
        return sorted(self._store.aggregate(table, _MEASURES, where, group_by=("run_id",)))

    def done(self) -> None:
        """Forget what was noted: the trees were deleted."""
        self._settings.remove(_KIND, self._noted_as)
        self._note = {}

    # --- files --------------------------------------------------------------------------------

    def _files(
        self, table: Table[Any], folder: str, rows: Iterable[Any], batch: str, lease: Lease
    ) -> Iterator[ArchivedFile]:
        """Store rows, a file for each day, while the next ones are read."""

        def put(day_and_rows: tuple[str, Any]) -> ArchivedFile | None:
            day, some = day_and_rows
            return put_file(self._place, folder, table, self._form, [some], day, batch)

        for file in filter(None, prefetch_map(put, _by_day(table, rows), threads=_UPLOADS)):
            yield file
            lease.keep()


def _name_of(groups: Mapping[str, Sequence[tuple[Any, ...]]]) -> str:
    """Return the name of a batch: the same again if nothing has changed."""
    return digest_of(json.dumps(groups).encode())[:16]


def _some_at_a_time(counts: Iterable[tuple[str, int]]) -> Iterator[Where]:
    """Yield filters that together select the rows of all runs: a database sorts those of one."""
    some: list[str] = []
    rows = 0
    for run_id, count in counts:
        if some and rows + count > _ROWS:
            yield _of_runs(some)
            some, rows = [], 0
        some.append(run_id)
        rows += count
    if some:
        yield _of_runs(some)


def _of_runs(ids: Sequence[str]) -> Where:
    # The index has the rows of a single run in order.
    return (Filter("run_id", "in", tuple(ids)) if len(ids) > 1 else Filter("run_id", "=", ids[0]),)


class _Noted:
    """Counts archived rows by run, and lists their versions, for the note of an archiver."""

    def __init__(self, there: Mapping[str, Mapping[str, Rows]]) -> None:
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in KINDS_OF_RUNS}
        self.versions: dict[str, list[tuple[str, str]]] = {name: [] for name in VERSIONED}
        for run_id, tables in there.items():
            for name, rows in tables.items():
                self.counts[name][run_id] = len(rows.versions)
                if name in VERSIONED:
                    self.versions[name] += ((run_id, each) for each in rows.versions.values())

    def of(self, name: str, pieces: Iterable[Any]) -> Iterator[Any]:
        """Yield Arrow tables of rows, and note them."""
        for rows in pieces:
            for each in rows["run_id"].value_counts().to_pylist():
                self.counts[name][each["values"]] += each["counts"]
            if name in VERSIONED:
                times = map(encode_time, rows["updated_at"].to_pylist())
                self.versions[name] += zip(rows["run_id"].to_pylist(), times, strict=True)
            yield rows


def _by_day(table: Table[Any], pieces: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Yield rows by their day, runs by when they finished, as many as fit into memory."""
    gathered: defaultdict[str, list[Any]] = defaultdict(list)
    size = 0
    for rows in pieces:
        for day, some in _split(table, rows):
            gathered[day].append(some)
        size += rows.nbytes
        if size >= _BYTES:
            yield from _in_order(table, gathered)
            gathered.clear()
            pyarrow().default_memory_pool().release_unused()  # By itself it keeps 30 MB more.
            size = 0
    yield from _in_order(table, gathered)


def _split(table: Table[Any], rows: Any) -> Iterator[tuple[str, Any]]:
    """Yield the rows of each day."""
    pa = pyarrow()
    from pyarrow import compute

    column = "finished_at" if "finished_at" in table.names else table.ages_by
    days = rows[column].cast(pa.date32())
    for day in days.unique():
        yield day.as_py().isoformat(), rows.filter(compute.equal(days, day))


def _in_order(table: Table[Any], gathered: dict[str, list[Any]]) -> Iterator[tuple[str, Any]]:
    order = [(table.ages_by, "ascending"), ("id", "ascending")]
    for day in sorted(gathered):
        rows = pyarrow().concat_tables(gathered.pop(day)).combine_chunks()
        yield day, rows.sort_by(order)
