"""Compare the rows of a backup with those that the database has now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from curio_persistence.capabilities.transfers.hashes import RunHashes
from curio_persistence.capabilities.transfers.reading import BY_ID, Reading, of_runs
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter, Where
from curio_persistence.store.table import Columns, Maker, Row, StoredValue, Table
from curio_persistence.tables import (
    EVENTS_AS_STORED,
    OF_SPAN,
    RUNS,
    RUNS_AND_STUBS,
    SMALL_TABLES_OF_RUNS,
    USAGE,
)

TABLES: tuple[Table[Any], ...] = (RUNS_AND_STUBS, EVENTS_AS_STORED, USAGE, *SMALL_TABLES_OF_RUNS)
_NEVER_ALONE = (EVENTS_AS_STORED, USAGE)
"""The tables whose rows programs delete only together with their run."""
_RUNS = 200
"""The runs whose rows are compared at a time."""


class DamagedRow(NamedTuple):
    """A row that is not as in the backup, although no program changes it in this way.

    Without a backup it is an event whose `columns` its text contradicts. Without columns the row is
    gone, although its run is there. A session or an agent has no `run_id`.
    """

    run_id: str | None
    table: str
    row_id: int
    columns: tuple[str, ...]


class Comparison:
    """The comparison of the runs of a backup with those of the same database as it is now."""

    def __init__(self, here: Store, there: Store, hashes: RunHashes, before: RunHashes) -> None:
        self._here = here
        self._there = there
        same = {run.run_id for run in before if hashes.get(run.run_id) == run}
        self._differing = [run.run_id for run in before if run.run_id not in same]
        self.compared = len(same - {None})
        """The runs that were found in both, so far."""

    def damaged(self) -> Iterator[DamagedRow]:
        """Yield the rows that differ, although no program has changed them; most runs went on."""
        with self._there.snapshot() as state:
            reading = Reading(state)
            for at in range(0, len(self._differing), _RUNS):
                for where in of_runs(self._differing[at : at + _RUNS]):
                    yield from self._damaged_of(reading, where)
            for maker in RUNS.makes:
                yield from self._damaged_of_maker(reading, maker)

    def _damaged_of(self, reading: Reading, where: Where) -> Iterator[DamagedRow]:
        """Compare the rows of some runs; the runs themselves come first."""
        still_here: set[StoredValue] = set()
        for table in TABLES:
            for columns in reading.stream(table, where, order=BY_ID):
                gone = []
                for before, now in self._pairs(table, columns):
                    if now is None:
                        if not str(before.get("event_id")).startswith(OF_SPAN):
                            gone.append(before)
                        continue
                    if table is RUNS_AND_STUBS:
                        still_here.add(before["run_id"])
                    if not _may_follow(table, before, now):
                        changed = (name for name in table.names if before[name] != now[name])
                        yield damaged_row(table, before, tuple(changed))
                if table in _NEVER_ALONE:
                    yield from self._left_alone(table, gone, still_here)
        self.compared += len(still_here)

    def _damaged_of_maker(self, reading: Reading, maker: Maker) -> Iterator[DamagedRow]:
        """Compare the sessions, or the agents; programs may delete them."""
        for columns in reading.stream(maker.table, order=BY_ID):
            for before, now in self._pairs(maker.table, columns):
                if now is None or _is_later(before, now):
                    continue
                expected = _moved(maker, before, now)
                if changed := tuple(n for n in maker.table.names if expected[n] != now[n]):
                    yield damaged_row(maker.table, before, changed)

    def _pairs(self, table: Table[Any], columns: Columns) -> Iterator[tuple[Row, Row | None]]:
        """Yield rows of the backup, and what they are now; None if they are gone."""
        ids = columns[table.names.index("id")]
        stored = self._here.select(table, (Filter("id", "in", tuple(ids)),))
        now = {row["id"]: row for row in rows_of(table, stored)}
        for before in rows_of(table, columns):
            row = now.get(before["id"])
            yield before, row if row is not None and _is_same(before, row) else None

    def _left_alone(
        self, table: Table[Any], gone: list[Row], still_here: set[StoredValue]
    ) -> Iterator[DamagedRow]:
        """Yield rows that are gone, if their runs are still here: none was deleted meanwhile."""
        if run_ids := still_here & {row["run_id"] for row in gone}:
            where = (Filter("run_id", "in", tuple(run_ids)),)
            left = {run_id for (run_id,) in self._here.select_columns(RUNS, ("run_id",), where)}
            yield from (damaged_row(table, row, ()) for row in gone if row["run_id"] in left)


def damaged_row(table: Table[Any], row: Row, columns: tuple[str, ...]) -> DamagedRow:
    run_id = row.get("run_id")
    return DamagedRow(
        None if run_id is None else str(run_id), table.name, int(row["id"] or 0), columns
    )


def rows_of(table: Table[Any], columns: Columns) -> Iterable[Row]:
    return (dict(zip(table.names, values, strict=True)) for values in zip(*columns, strict=True))


def _is_same(before: Row, now: Row) -> bool:
    """Return whether two rows with the same id are one row at two times.

    A database that was restored from an older backup gives ids again to other rows. Those have
    another time of creation. A run that was known from events only may get another one.
    """
    if before.get("updated_at") is not None and before["updated_at"] == now["updated_at"]:
        return True
    created = now["created_at"] if before.get("stub") else before["created_at"]
    return now.get("run_id") in (before.get("run_id"), None) and now["created_at"] == created


def _may_follow(table: Table[Any], before: Row, now: Row) -> bool:
    """Return whether programs may have changed one row into the other.

    They update runs and what few rows belong to them, which a later `updated_at` tells, and create
    runs that were known from events only; a retention policy removes texts; and the deletion of a
    run takes it, and the texts, from its model calls, and the parent from its children. Costs are
    computed anew by other prices.
    """
    if before == now or _is_later(before, now):
        return True
    if before.get("stub") and not now.get("stub"):
        return True
    if now.get("parent_run_id", "") is None:
        before = {**before, "parent_run_id": None}
    if now["run_id"] is None:
        before = {**before, "run_id": None, **table.content}
    if table.recomputed and now[table.recomputed[-1]] not in (None, before[table.recomputed[-1]]):
        before = {**before, **{name: now[name] for name in table.recomputed}}
    return now in (before, _stripped(table, before))


def _is_later(before: Row, now: Row) -> bool:
    """Return whether a program has updated a row since."""
    return str(now.get("updated_at") or "") > str(before.get("updated_at") or "")


def _moved(maker: Maker, before: Row, now: Row) -> Row:
    """Return a session or an agent with the times to which runs may have moved it."""
    first = min(str(before[maker.first]), str(now[maker.first]))
    last = max(str(before[maker.last]), str(now[maker.last]))
    return {**before, maker.first: first, maker.last: last}


def _stripped(table: Table[Any], row: Row) -> Row:
    """Return a row without its texts."""
    stripped = dict(row)
    table.strip(stripped)
    return {name: stripped.get(name, table.filled.get(name)) for name in table.names}
