"""Which runs an archive has as they are stored here: they are not written a second time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from curio_persistence.archive.delta_log import ArchivedFile, DeltaLog
from curio_persistence.archive.files import fetched
from curio_persistence.archive.forms import Form, rows_of
from curio_persistence.capabilities.lifecycle.trees import Tree
from curio_persistence.capabilities.transfers.kinds import KINDS_OF_RUNS
from curio_persistence.places import Place
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter
from curio_persistence.store.table import Table

VERSIONED = tuple(name for name, table in KINDS_OF_RUNS.items() if "updated_at" in table.names)
"""The tables whose rows are changed: they tell when."""


class Rows(NamedTuple):
    """The rows of a run in one table, by their ids: when each was changed, `""` if never."""

    versions: dict[int, str]

    def add(self, ident: int, version: str) -> None:
        """Add a row, of which the last version counts."""
        self.versions[ident] = max(self.versions.get(ident, ""), version)


class Archived:
    """The rows of some runs in an archive: of each run those of its last version."""

    def __init__(self, place: Place, folder: str, form: Form) -> None:
        self._place = place
        self._folder = folder
        self._form = form

    def unchanged(self, store: Store, trees: Sequence[Tree]) -> dict[str, dict[str, Rows]]:
        """Return the rows by run and table of those trees that are archived as they are stored."""
        batches = self._batches_of(trees)
        found = [tree for tree in trees if all(run.run_id in batches for run in tree.runs)]
        if not found:
            return {}
        ids = {run_id for tree in found for run_id in tree.run_ids}
        archived = {name: self._rows(name, ids, batches) for name in KINDS_OF_RUNS}
        stored = {name: _stored(store, name, table, ids) for name, table in KINDS_OF_RUNS.items()}
        same = {
            run_id
            for run_id in ids
            if all(archived[n].get(run_id) == stored[n].get(run_id) for n in KINDS_OF_RUNS)
        }
        return {
            run_id: {name: archived[name].get(run_id, Rows({})) for name in KINDS_OF_RUNS}
            for tree in found
            if same.issuperset(tree.run_ids)
            for run_id in tree.run_ids
        }

    def _batches_of(self, trees: Sequence[Tree]) -> dict[str, frozenset[str]]:
        """Return the batches of those runs that are in the archive, by the ids of their rows."""
        ids = {run.run_id: run.id for tree in trees for run in tree.runs}
        days = {str(run.finished_at)[:10] for tree in trees for run in tree.runs}
        found: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
        for file in self._files("runs"):
            if file.day in days:
                for run_id, ident, _ in self._values("runs", file):
                    if ids.get(run_id) == ident:
                        found[run_id] |= file.batches
        return dict(found)

    def _rows(
        self, name: str, ids: Collection[str], batches: dict[str, frozenset[str]]
    ) -> dict[str, Rows]:
        wanted = frozenset[str]().union(*(batches[run_id] for run_id in ids))
        found: defaultdict[str, Rows] = defaultdict(lambda: Rows({}))
        for file in self._files(name):
            if not wanted.isdisjoint(file.batches):
                for run_id, ident, version in self._values(name, file):
                    if run_id in ids and not file.batches.isdisjoint(batches[run_id]):
                        found[run_id].add(ident, version)
        return dict(found)

    def _files(self, name: str) -> list[ArchivedFile]:
        log = DeltaLog(
            self._place, self._form.path_of(self._folder, name), KINDS_OF_RUNS[name], self._form
        )
        return [*log.files().values()]

    def _values(self, name: str, file: ArchivedFile) -> Iterator[tuple[str, int, str]]:
        """Yield the run, the id and the version of each row of a file."""
        folder, columns = self._form.path_of(self._folder, name), _columns(name)
        content = fetched(self._place, folder, file)
        where = f"{self._place.name}/{folder}/{file.path}"
        for rows in rows_of(where, self._form, content, KINDS_OF_RUNS[name], columns):
            ids, idents, *times = (rows[column].to_pylist() for column in columns)
            versions = map(encode_time, times[0]) if times else ("" for _ in ids)
            yield from zip(ids, idents, versions, strict=True)


def _columns(name: str) -> tuple[str, ...]:
    return ("run_id", "id", *(("updated_at",) if name in VERSIONED else ()))


def _stored(store: Store, name: str, table: Table[Any], ids: Collection[str]) -> dict[str, Rows]:
    """Return the stored rows of runs."""
    found: defaultdict[str, Rows] = defaultdict(lambda: Rows({}))
    where = (Filter("run_id", "in", tuple(ids)),)
    for run_id, ident, *version in store.select_columns(table, _columns(name), where):
        found[run_id].add(ident, *(version or ("",)))
    return dict(found)
