"""Copy: all records of one database into another, counted and compared afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice
from typing import Any

from curio_persistence.capabilities.deletions import audit_reading
from curio_persistence.capabilities.transfers import Transfers
from curio_persistence.capabilities.transfers.deduplication import without_ids
from curio_persistence.capabilities.transfers.hashes import RunHash, RunHashes
from curio_persistence.capabilities.transfers.kinds import KINDS, KINDS_OF_RUNS
from curio_persistence.capabilities.transfers.reading import BY_ID, Reading, of_runs
from curio_persistence.errors import (
    ConflictError,
    InvalidValueError,
    MissingRunError,
)
from curio_persistence.export.records import checked_persistence
from curio_persistence.persistence import Persistence
from curio_persistence.progress import Progress, is_told
from curio_persistence.store.filters import Filter
from curio_persistence.store.table import Row, Table
from curio_persistence.tables import RUNS_AND_STUBS

_PIECE, _PIECES = 200, 25
"""Rows read at a time, and the number of such chunks in a batch."""
_LOOKED_UP = 1_000
"""Runs that are asked for at a time."""
_TOLD = 1_000


@dataclass(frozen=True, slots=True)
class CopyReport:
    """The number of records of each table in the source, and how many of them were new.

    `kept_ids` tells whether rows have the ids that they had. `differing` are the runs, the first
    thousand, that are not the same in both afterwards: the destination has events or model calls
    of theirs that did not come from here, or others were stored under the same `event_id`.
    `more_differing` is the number of the others.
    """

    runs: int
    events: int
    usage: int
    scores: int
    approvals: int
    snapshots: int
    spans: int
    sources: int
    agents: int
    sessions: int
    new_runs: int
    new_events: int
    new_usage: int
    new_scores: int
    new_approvals: int
    new_snapshots: int
    new_spans: int
    new_sources: int
    new_agents: int
    new_sessions: int
    kept_ids: bool
    differing: tuple[str, ...]
    more_differing: int

    @property
    def ok(self) -> bool:
        """True if every run is the same in both, with all that belongs to it."""
        return not self.differing

    def to_dict(self) -> dict[str, Any]:
        """Everything by name, ready for JSON."""
        return {"ok": self.ok, **asdict(self)}


def copy_records(
    source: Persistence, destination: Persistence, *, progress: Progress | None = None
) -> CopyReport:
    """Copy everything as it is now into another database, beside what that has.

    Killed anywhere it can be run again, and finishes. Times and each `event_id` are kept;
    ids of rows too, if the destination has nothing but an earlier copy. In the end each run's hash
    is compared, and what is missing is looked for. A redactor of the destination sees all words.
    """
    here, there = (
        checked_persistence(source)._transfers,
        checked_persistence(destination)._transfers,
    )
    if here.identity == there.identity:
        raise InvalidValueError(
            "Source and destination are the same database, or began as copies of one file.",
            field="destination",
        )
    there.prepare_times(here.oldest())
    copying = _Copying(here, there, progress)
    audit_reading(source._store, source.clock, "copy", destination.location, "database")
    with here.reading() as reading:
        for name, table in KINDS.items():
            copying.copy(name, table, reading)
        copying.look_for_what_is_missing(reading)
        for heads in here.heads(reading):
            there.adopt_heads(heads)
    return copying.report()


class _Copying:
    def __init__(self, here: Transfers, there: Transfers, progress: Progress | None) -> None:
        self._here = here
        self._there = there
        self._progress = progress
        self._total = sum(map(here.count, KINDS.values())) if is_told(progress) else None
        self._deduplicator = there.deduplicator()
        self._came = RunHashes()
        self._counts = dict.fromkeys(KINDS, 0)
        self._new = dict.fromkeys(KINDS, 0)
        self._kept_ids = True
        self._differing: list[str | None] = []

    def copy(self, name: str, table: Table[Any], reading: Reading) -> None:
        last = self._there.last_id(table)
        if last and self._here.row_of(table, last) != self._there.row_of(table, last):
            self._kept_ids = False
            for batch in self._batches(name, table, reading.stream(table, size=_PIECE)):
                self._add(name, table, map(without_ids, batch))
            return
        reserved = self._here.last_id(table)
        self._there.reserve_ids(table, reserved)
        # What has an id up to the last was copied before. Runs may have changed since.
        new, known = (Filter("id", ">=", last + 1),), (Filter("id", "<", last + 1),)
        for where in (new, known):
            pieces = reading.stream(table, where, order=BY_ID, size=_PIECE)
            for batch in self._batches(name, table, pieces):
                if self._there.changes(table):
                    self._add(name, table, batch)
                elif where is new:
                    self._append(name, table, batch, reserved)

    def _add(self, name: str, table: Table[Any], batch: Iterable[Sequence[Row]]) -> int:
        """Store what is not there yet, and return how many that were."""
        new = self._deduplicator.add(table, list(chain.from_iterable(batch)))
        self._new[name] += new
        return new

    def _append(
        self, name: str, table: Table[Any], batch: Iterator[Sequence[Row]], reserved: int
    ) -> None:
        """Store rows under their ids; or under new ones, if others took those in this moment."""
        taken: list[Sequence[Row]] = []
        try:
            self._new[name] += self._there.append(table, _noting(taken, batch), reserved)
        except (ConflictError, MissingRunError):
            if self._add(name, table, map(without_ids, chain(taken, batch))):
                self._kept_ids = False

    def _batches(
        self, name: str, table: Table[Any], pieces: Iterable[Any]
    ) -> Iterator[Iterator[Sequence[Row]]]:
        """Rows for the destination, made while those before are stored; each batch is told of."""
        made = self._rows(name, table, pieces)
        for first in made:
            yield chain((first,), islice(made, _PIECES - 1))
            if self._progress is not None:
                self._progress(sum(self._counts.values()), self._total)

    def _rows(self, name: str, table: Table[Any], pieces: Iterable[Any]) -> Iterator[Sequence[Row]]:
        """Rows for the destination, which are counted and hashed."""
        for columns in pieces:
            rows = self._there.rows(table, columns)
            if name in KINDS_OF_RUNS:
                self._came.add(table, table.columns_of(rows))
            self._counts[name] += len(rows)
            yield rows

    def look_for_what_is_missing(self, reading: Reading) -> None:
        """Compare the runs; what was stored late under an early id, or deleted, comes once more."""
        missing = iter(self._compare(run.run_id for run in self._came))
        differing = []
        while some := list(islice(missing, _LOOKED_UP)):
            for name, table in KINDS_OF_RUNS.items():
                if table is not RUNS_AND_STUBS:
                    self._bring(name, table, reading, some)
            differing += self._compare(some)
        self._differing = differing

    def _bring(
        self, name: str, table: Table[Any], reading: Reading, run_ids: Sequence[str | None]
    ) -> None:
        deduplicator = self._there.deduplicator()
        for where in of_runs(run_ids):
            for columns in reading.stream(table, where, size=_PIECE):
                rows = self._there.rows(table, columns)
                self._new[name] += deduplicator.add(table, without_ids(rows))

    def _compare(self, run_ids: Iterable[str | None]) -> list[str | None]:
        """Return the runs that are not the same in both."""
        named = list(run_ids)
        stored = self._there.hashes(named)
        return [run_id for run_id in named if not _is_there(self._came.get(run_id), stored)]

    def report(self) -> CopyReport:
        return CopyReport(
            **self._counts,
            **{f"new_{name}": count for name, count in self._new.items()},
            kept_ids=self._kept_ids,
            differing=tuple(map(str, self._differing[:_TOLD])),
            more_differing=len(self._differing[_TOLD:]),
        )


def _noting(taken: list[Sequence[Row]], batch: Iterable[Sequence[Row]]) -> Iterator[Sequence[Row]]:
    """The pieces of a batch; those that were asked for are noted."""
    for rows in batch:
        taken.append(rows)
        yield rows


def _is_there(run: RunHash | None, stored: RunHashes) -> bool:
    if run is None:
        return False
    there = stored.get(run.run_id)
    if run.run_id is None:  # Model calls without a run are not all of them from here.
        return there is not None and there.usage >= run.usage
    return there == run
