"""Keeps an archive tidy: merges small files of a day, and deletes files that are not in the log.

Batches are merged only if no run is in several of them: the batch tells to which version of a run
a row belongs. A merged file has the names of all of its batches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

from curio_persistence.archive.delta_log import ArchivedFile, DeltaLog
from curio_persistence.archive.erasing import sweep
from curio_persistence.archive.files import fetched, folder_of, put_file
from curio_persistence.archive.forms import Form, rows_of
from curio_persistence.capabilities.lifecycle import EXPIRING
from curio_persistence.capabilities.lifecycle.settings import Lease, Settings
from curio_persistence.capabilities.transfers.kinds import KINDS_OF_RUNS
from curio_persistence.errors import BusyError
from curio_persistence.persistence import Persistence
from curio_persistence.places import Place

_SMALL = 8 << 20
"""A file of fewer bytes is merged with others of its day, up to four times as many."""
_LEAST = 4
"""The small files of a day that are worth it."""
_MOST = 64
"""The files of a table that are merged at a time."""


def tidy(persistence: Persistence, place: Place, form: Form) -> None:
    """Merge small files, and delete those that were replaced an hour ago or never committed.

    Nothing is done while another program expires or archives runs: that one does it.
    """
    settings = Settings(persistence._store, persistence.clock)
    with suppress(BusyError), settings.lease(EXPIRING) as lease:
        _Merging(place, folder_of(persistence._store), form, lease).merge()


class _Merging:
    """One pass over the tables of an archive."""

    def __init__(self, place: Place, folder: str, form: Form, lease: Lease) -> None:
        self._place = place
        self._folder = folder
        self._form = form
        self._lease = lease
        self._logs = {
            name: DeltaLog(place, path, table, form) for name, path, table in form.tables(folder)
        }
        self._runs: dict[str, frozenset[str]] = {}

    def merge(self) -> None:
        for name, folder, _ in self._form.tables(self._folder):
            left = _MOST
            for files in self._mergeable(name):
                if len(files) <= left:
                    self._merge(name, folder, files)
                    left -= len(files)
            self._lease.keep()
            sweep(self._place, folder, self._logs[name], self._form)

    def _mergeable(self, name: str) -> Iterator[list[ArchivedFile]]:
        """Yield files of one day that follow each other, and become one file."""
        for files in self._small_ones(name):
            if len(files) < _LEAST:
                continue
            group: list[ArchivedFile] = []
            runs: frozenset[str] = frozenset()
            for file in files:
                of_file = self._runs_of(file)
                if not runs.isdisjoint(of_file) or sum(f.size for f in group) >= 4 * _SMALL:
                    if len(group) >= _LEAST:
                        yield group
                    group, runs = [], frozenset()
                group.append(file)
                runs |= of_file
            if len(group) >= _LEAST:
                yield group

    def _small_ones(self, name: str) -> Iterator[list[ArchivedFile]]:
        """Yield the small files of each day, between larger ones."""
        days: defaultdict[str, list[ArchivedFile]] = defaultdict(list)
        for file in self._logs[name].files().values():
            if file.size < _SMALL:
                days[file.day].append(file)
            elif file.day in days:
                yield days.pop(file.day)
        yield from days.values()

    def _runs_of(self, file: ArchivedFile) -> frozenset[str]:
        """Return the runs of the batches of a file."""
        return frozenset().union(*map(self._runs_of_batch, file.batches))

    def _runs_of_batch(self, batch: str) -> frozenset[str]:
        if batch not in self._runs:
            files = self._logs["runs"].files().values()
            found = (
                self._rows("runs", file, ["run_id"]) for file in files if batch in file.batches
            )
            ids = (rows["run_id"].to_pylist() for rows in chain.from_iterable(found))
            self._runs[batch] = frozenset(chain.from_iterable(ids))
            self._lease.keep()
        return self._runs[batch]

    def _merge(self, name: str, folder: str, files: Sequence[ArchivedFile]) -> None:
        batch = "+".join(dict.fromkeys(chain(*(sorted(file.batches) for file in files))))
        rows = chain.from_iterable(self._rows(name, file) for file in files)
        day, table = files[0].day, KINDS_OF_RUNS[name]
        new = put_file(self._place, folder, table, self._form, rows, day, batch)
        self._lease.keep()
        self._logs[name].commit([new] if new else [], removed=files, is_change=False)

    def _rows(
        self, name: str, file: ArchivedFile, columns: Sequence[str] | None = None
    ) -> Iterator[Any]:
        folder = self._form.path_of(self._folder, name)
        content = fetched(self._place, folder, file)
        where = f"{self._place.name}/{folder}/{file.path}"
        return rows_of(where, self._form, content, KINDS_OF_RUNS[name], columns)
