"""Stores trees of runs in an archive: Parquet files by day, verified, then committed to its log."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

from curio_persistence.archive.delta_log import ArchivedFile, DeltaLog
from curio_persistence.archive.places import Place
from curio_persistence.capabilities.lifecycle.settings import Settings
from curio_persistence.capabilities.lifecycle.trees import Tree
from curio_persistence.capabilities.transfers.kinds import KINDS
from curio_persistence.capabilities.transfers.reading import Reading
from curio_persistence.errors import CorruptDatabaseError
from curio_persistence.export.formats import write_parquet
from curio_persistence.persistence import Persistence
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import COUNT, Filter, Measure
from curio_persistence.store.table import Columns, Table

_ROWS = 20_000
_LETTERS = 32 << 20
"""Rows, and characters of text, that are gathered before files are written."""
_COMMITTED = ("events", "usage", "scores", "runs")
"""The order of commits: a run that is in the archive is there with all that belongs to it."""
BLOOMS = ("run_id", "event_id")
_KIND = "archiving"


class Archiver:
    """Stores trees in an archive, and tells which of them may be deleted.

    Before it commits, it notes in the database what it is about to commit and for which runs: an
    archiver that was killed there is completed by the next one, so that no row is archived twice.
    """

    def __init__(self, persistence: Persistence, place: Place) -> None:
        self._persistence = persistence
        self._store = persistence._store
        self._transfers = persistence._transfers
        self._settings = Settings(self._store, persistence.clock)
        self._place = place
        self._folder = folder_of(persistence)
        self._logs = {
            name: DeltaLog(place, f"{self._folder}/{name}", table) for name, table in KINDS.items()
        }
        self._note: dict[str, Any] = {}
        self._batch = ""

    @property
    def location(self) -> str:
        """The archive, as tombstones name it."""
        return f"{self._place.name.rstrip('/')}/{self._folder}"

    def unfinished(self) -> list[str]:
        """Commit what a killed archiver noted; return the roots of its trees."""
        self._note = self._settings.of(_KIND).get(self.location, {})
        if not self._note:
            return []
        self._commit()
        return [*self._note["roots"]]

    def store(self, trees: Sequence[Tree]) -> None:
        """Store all rows of these trees, read them back, and commit them."""
        ids = tuple(run.run_id for tree in trees for run in tree.runs)
        files: dict[str, list[ArchivedFile]] = {}
        counts: Counter[str] = Counter()
        note = {
            "roots": [tree.root.run_id for tree in trees],
            "read_at": encode_time(self._persistence.clock.now()),
            "last": {table.name: self._transfers.last_id(table) for table in KINDS.values()},
        }
        self._batch = self._batch_of(ids)
        with self._transfers.reading() as reading:
            for name, table in KINDS.items():
                files[name] = [*self._write(reading, name, table, ids, counts)]
        self._note = {**note, "files": files, "counts": counts}
        with self._store.transaction():
            self._settings.put(_KIND, self.location, self._note)
        self._commit()

    def _batch_of(self, ids: tuple[str, ...]) -> str:
        """Return a name of these runs as they are stored: the same again if nothing has changed."""
        where = (Filter("run_id", "in", ids),)
        measures = (COUNT, Measure("max", "id"))
        rows = [self._store.aggregate(table, measures, where) for table in KINDS.values()]
        return _digest(json.dumps([sorted(ids), rows]).encode())[:16]

    def _commit(self) -> None:
        for name in _COMMITTED:
            files = [ArchivedFile(*each) for each in self._note["files"][name]]
            self._logs[name].commit(files)

    def unchanged(self, trees: list[Tree]) -> list[Tree]:
        """Return the trees that are in the archive as they are stored now; in a transaction."""
        ids = tuple(run.run_id for tree in trees for run in tree.runs)
        where = (Filter("run_id", "in", ids),)
        changed: set[str] = set()
        for table in KINDS.values():
            late = [Filter("id", ">", self._note["last"][table.name])]
            if "updated_at" in table.names:
                late.append(Filter("updated_at", ">=", self._note["read_at"]))
            for each in late:
                found = self._store.select_columns(table, ("run_id",), (*where, each))
                changed.update(run_id for (run_id,) in found)
            counts = self._store.aggregate(table, (COUNT,), where, group_by=("run_id",))
            archived = self._note["counts"]
            changed.update(r for r, n in counts if n > archived.get(f"{table.name} {r}", 0))
        return [tree for tree in trees if changed.isdisjoint(run.run_id for run in tree.runs)]

    def done(self) -> None:
        """Forget what was noted: the trees were deleted."""
        self._settings.remove(_KIND, self.location)
        self._note = {}

    # --- files --------------------------------------------------------------------------------

    def _write(
        self,
        reading: Reading,
        name: str,
        table: Table[Any],
        ids: tuple[str, ...],
        counts: Counter[str],
    ) -> Iterator[ArchivedFile]:
        """Write the rows of these runs into files, and count them."""
        gathered: defaultdict[str, list[Columns]] = defaultdict(list)
        rows = letters = 0
        runs = table.names.index("run_id")
        for columns in reading.stream(table, (Filter("run_id", "in", ids),)):
            counts.update(f"{table.name} {run_id}" for run_id in columns[runs])
            for day, part in _by_day(table, columns):
                gathered[day].append(part)
            rows += len(columns[0])
            letters += sum(len(text or "") for at in _texts(table) for text in columns[at])
            if rows >= _ROWS or letters >= _LETTERS:
                yield from (self._file(name, table, *each) for each in gathered.items())
                gathered.clear()
                rows = letters = 0
        yield from (self._file(name, table, *each) for each in gathered.items())

    def _file(self, name: str, table: Table[Any], day: str, parts: list[Columns]) -> ArchivedFile:
        """Write one file, and read it back."""
        content = BytesIO()
        write_parquet(content, table, parts, blooms=BLOOMS)
        at = table.names.index("run_id")
        runs = [run_id for columns in parts for run_id in columns[at]]
        return put_file(self._place, f"{self._folder}/{name}", content, day, self._batch, runs)


def put_file(
    place: Place, folder: str, content: BytesIO, day: str, batch: str, runs: Sequence[str]
) -> ArchivedFile:
    """Store a Parquet file and read it back; `runs` are the run ids of its rows."""
    written = content.getvalue()
    digest = _digest(written)
    path = f"dt={day}/{batch}-{digest[:16]}.parquet"
    place.put_new(f"{folder}/{path}", written)
    if _digest(place.get(f"{folder}/{path}")) != digest:
        raise CorruptDatabaseError(
            f"{place.name}/{folder}/{path} is not there as it was written. Nothing was deleted."
        )
    first, last = min(runs), max(runs)
    return ArchivedFile(path, day, len(written), len(runs), digest, batch, first, last)


def fetched(place: Place, folder: str, file: ArchivedFile) -> bytes:
    """Return the content of an archived file; raise CorruptDatabaseError if it was changed."""
    content = place.get(f"{folder}/{file.path}")
    if _digest(content) != file.sha256:
        raise CorruptDatabaseError(
            f"{place.name}/{folder}/{file.path} is not as it was archived. Nothing was changed."
        )
    return content


def _digest(content: bytes) -> str:
    from hashlib import sha256  # On use: the import takes longer than that of this module.

    return sha256(content).hexdigest()


def folder_of(persistence: Persistence) -> str:
    """Return the folder of a database in an archive."""
    return _digest(persistence._transfers.identity.encode())[:16]


def _texts(table: Table[Any]) -> list[int]:
    return [table.names.index(name) for name in table.content]


def _by_day(table: Table[Any], columns: Columns) -> Iterator[tuple[str, Columns]]:
    """Yield the rows of each day: runs by when they finished."""
    column = "finished_at" if "finished_at" in table.names else table.ages_by
    days: defaultdict[str, list[int]] = defaultdict(list)
    for row, time in enumerate(columns[table.names.index(column)]):
        days[time[:10]].append(row)
    if len(days) == 1:
        yield next(iter(days)), columns
        return
    for day, rows in days.items():
        yield day, [[values[row] for row in rows] for values in columns]
