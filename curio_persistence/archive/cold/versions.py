"""Which of the rows count, of a run that is in an archive more than once.

A run that was restored and archived again has two versions, told apart by the id of its row. A
version may be in several batches, which share rows, where a run changed while it was archived.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from curio_persistence.archive.delta_log import batches_of
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, USAGE

_APPENDED = (EVENTS, USAGE)


class Version(NamedTuple):
    """The last version of a run: the id of its row, and its batches, the last one first."""

    row_id: int
    batches: tuple[str, ...]


class Versions:
    """The runs that are in an archive more than once."""

    def __init__(self, rows: Iterable[tuple[str, int, str]], commits: Mapping[str, int]) -> None:
        """Take each row of these runs: run id, row id and batch; and the order of batches."""
        found: dict[str, Version] = {}
        for run_id, row_id, batch in sorted(rows, key=lambda row: -commits[row[2]]):
            known = found.get(run_id)
            if known is None or row_id > known.row_id:
                found[run_id] = Version(row_id, (batch,))
            elif row_id == known.row_id:
                found[run_id] = Version(row_id, (*known.batches, batch))
        self._last = found

    def __bool__(self) -> bool:
        return bool(self._last)

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._last

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The ids of these runs."""
        return tuple(self._last)

    def counts(
        self, table: Table[Any], run_id: str, row_id: int, batch: str, seen: set[int]
    ) -> bool:
        """Return whether a row counts; `seen` has the ids of those of the table that did."""
        version = self._last.get(run_id)
        if version is None:
            return True
        # Events and model calls never change, and part of them may be in an earlier batch only.
        batches = version.batches if table in _APPENDED else version.batches[:1]
        own = batches_of(batch)
        if all(own.isdisjoint(batches_of(each)) for each in batches) or row_id in seen:
            return False
        seen.add(row_id)
        return True
