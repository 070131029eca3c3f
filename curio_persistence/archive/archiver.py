"""Stores trees of runs in an archive: Parquet files by day, verified, then committed."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from io import BytesIO
from typing import Any

from curio_persistence.archive.delta_log import ArchivedFile, DeltaLog, file_of
from curio_persistence.archive.erasing import erase_rows
from curio_persistence.archive.files import BLOOMS, digest_of, fetched, folder_of, put_file
from curio_persistence.capabilities.lifecycle.settings import Lease, Settings
from curio_persistence.capabilities.lifecycle.trees import Tree
from curio_persistence.capabilities.transfers.kinds import KINDS
from curio_persistence.capabilities.transfers.reading import Reading
from curio_persistence.errors import CorruptDatabaseError, NotFoundError
from curio_persistence.export.formats import write_parquet
from curio_persistence.persistence import Persistence
from curio_persistence.places import Place
from curio_persistence.store.filters import COUNT, Filter, Measure
from curio_persistence.store.table import Columns, Table
from curio_persistence.tables import TOMBSTONES

_ROWS = 20_000
_LETTERS = 32 << 20
"""Rows, and characters of text, that are gathered before files are written."""
_COMMITTED = ("events", "usage", "scores", "runs")
"""The order of commits: a run that is in the archive is there with all that belongs to it."""
_VERSIONED = tuple(name for name, table in KINDS.items() if "updated_at" in table.names)
_KIND = "archiving"


class Archiver:
    """Stores trees in an archive, and tells which of them may be deleted.

    Before it commits, it notes in the database what it is about to commit and for which runs: what
    an archiver that was killed there began is completed by the next one.
    """

    def __init__(self, persistence: Persistence, place: Place) -> None:
        self._store = persistence._store
        self._transfers = persistence._transfers
        self._settings = Settings(self._store, persistence.clock)
        self._place = place
        self._folder = folder_of(persistence._store)
        self._logs = {
            name: DeltaLog(place, f"{self._folder}/{name}", table) for name, table in KINDS.items()
        }
        self._noted_as = digest_of(self.location.encode())[:16]
        self._note: dict[str, Any] = {}

    @property
    def location(self) -> str:
        """The archive, as tombstones name it."""
        return f"{self._place.name}/{self._folder}"

    @property
    def id(self) -> str:
        """The id of the archive: that of its table of runs."""
        return self._logs["runs"].id

    def unfinished(self) -> list[str]:
        """Complete what a killed archiver noted; return the roots of its trees.

        Without its files, or if one of its runs was erased since, nothing is completed: what is
        stored here still is archived again.
        """
        self._note = self._settings.of(_KIND).get(self._noted_as, {})
        if not self._note:
            return []
        erased = self._erased(self._note["run_ids"])
        if erased or not self._has_files():
            for name, table in KINDS.items():
                erase_rows(self._place, f"{self._folder}/{name}", table, erased)
            self.done()
            return []
        self._commit()
        return [*self._note["roots"]]

    def _erased(self, run_ids: Sequence[str]) -> set[str]:
        where = (Filter("run_id", "in", tuple(run_ids)), Filter("reason", "=", "erased"))
        return {run_id for (run_id,) in self._store.select_columns(TOMBSTONES, ("run_id",), where)}

    def _has_files(self) -> bool:
        """Return whether all files that were noted are there, as they were written."""
        try:
            for name in _COMMITTED:
                for file in self._noted_files(name):
                    fetched(self._place, f"{self._folder}/{name}", file)
        except (NotFoundError, CorruptDatabaseError):
            return False
        return True

    def _noted_files(self, name: str) -> list[ArchivedFile]:
        return [file_of(add) for add in self._note["files"][name]]

    def store(self, trees: Sequence[Tree], lease: Lease) -> None:
        """Store all rows of these trees, read them back, and commit them."""
        ids = tuple(run_id for tree in trees for run_id in tree.run_ids)
        counts: Counter[str] = Counter()
        versions: dict[str, list[tuple[str, str]]] = {name: [] for name in _VERSIONED}
        last = {name: self._transfers.last_id(table) for name, table in KINDS.items()}
        batch = self._batch_of(ids)
        files: dict[str, list[ArchivedFile]] = {}
        with self._transfers.reading() as reading:
            for name, table in KINDS.items():
                pieces = _noting(self._rows(reading, table, ids), name, table, counts, versions)
                files[name] = []
                for day, parts in _by_day(table, pieces):
                    files[name].append(self._file(name, table, day, batch, parts))
                    lease.keep()
        self._note = {
            "roots": [tree.root.run_id for tree in trees],
            "run_ids": ids,
            "last": last,
            "files": {name: self._logs[name].additions(some) for name, some in files.items()},
            "counts": counts,
            "versions": versions,
        }
        with self._store.transaction():
            lease.renew()
            self._settings.put(_KIND, self._noted_as, self._note)
        self._commit()

    def _commit(self) -> None:
        for name in _COMMITTED:
            self._logs[name].commit(self._noted_files(name))

    def unchanged(self, trees: list[Tree]) -> list[Tree]:
        """Return the trees that are in the archive as they are stored now; in a transaction."""
        ids = tuple(run_id for tree in trees for run_id in tree.run_ids)
        where = (Filter("run_id", "in", ids),)
        changed: set[str] = set()
        for name, table in KINDS.items():
            new = (*where, Filter("id", ">", self._note["last"][name]))
            changed.update(r for (r,) in self._store.select_columns(table, ("run_id",), new))
            counts = self._store.aggregate(table, (COUNT,), where, group_by=("run_id",))
            archived = self._note["counts"]
            changed.update(r for r, count in counts if count > archived.get(f"{name} {r}", 0))
        for name in _VERSIONED:
            known = {(run_id, version) for run_id, version in self._note["versions"][name]}
            now = self._store.select_columns(KINDS[name], ("run_id", "updated_at"), where)
            changed.update(run_id for run_id, version in now if (run_id, version) not in known)
        return [tree for tree in trees if changed.isdisjoint(tree.run_ids)]

    def done(self) -> None:
        """Forget what was noted: the trees were deleted."""
        self._settings.remove(_KIND, self._noted_as)
        self._note = {}

    # --- files --------------------------------------------------------------------------------

    def _batch_of(self, ids: tuple[str, ...]) -> str:
        """Return a name of these runs as they are stored: the same again if nothing has changed."""
        where = (Filter("run_id", "in", ids),)
        measures = (COUNT, Measure("max", "id"))
        rows = [self._store.aggregate(table, measures, where) for table in KINDS.values()]
        return digest_of(json.dumps([sorted(ids), rows]).encode())[:16]

    def _rows(self, reading: Reading, table: Table[Any], ids: Collection[str]) -> Iterator[Columns]:
        return reading.stream(table, (Filter("run_id", "in", tuple(ids)),))

    def _file(
        self, name: str, table: Table[Any], day: str, batch: str, parts: list[Columns]
    ) -> ArchivedFile:
        content = BytesIO()
        write_parquet(content, table, parts, blooms=BLOOMS)
        return put_file(self._place, f"{self._folder}/{name}", table, content, day, batch)


def _noting(
    pieces: Iterator[Columns],
    name: str,
    table: Table[Any],
    counts: Counter[str],
    versions: dict[str, list[tuple[str, str]]],
) -> Iterator[Columns]:
    """Yield pieces, and count their rows and list their versions by run."""
    runs = table.names.index("run_id")
    for columns in pieces:
        counts.update(f"{name} {run_id}" for run_id in columns[runs])
        if name in versions:
            updated = columns[table.names.index("updated_at")]
            versions[name] += zip(columns[runs], updated, strict=True)
        yield columns


def _by_day(table: Table[Any], pieces: Iterator[Columns]) -> Iterator[tuple[str, list[Columns]]]:
    """Yield rows by their day, runs by when they finished, as many as a file has."""
    gathered: defaultdict[str, list[Columns]] = defaultdict(list)
    texts = [table.names.index(name) for name in table.content]
    rows = letters = 0
    for columns in pieces:
        for day, part in _split(table, columns):
            gathered[day].append(part)
        rows += len(columns[0])
        letters += sum(len(text or "") for at in texts for text in columns[at])
        if rows >= _ROWS or letters >= _LETTERS:
            yield from gathered.items()
            gathered.clear()
            rows = letters = 0
    yield from gathered.items()


def _split(table: Table[Any], columns: Columns) -> Iterator[tuple[str, Columns]]:
    """Yield the rows of each day."""
    column = "finished_at" if "finished_at" in table.names else table.ages_by
    days: defaultdict[str, list[int]] = defaultdict(list)
    for row, time in enumerate(columns[table.names.index(column)]):
        days[time[:10]].append(row)
    for day, rows in days.items():
        yield day, [[values[row] for row in rows] for values in columns]
