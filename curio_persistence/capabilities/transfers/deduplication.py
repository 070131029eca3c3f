"""Storing records that arrive from elsewhere, each of them once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from curio_persistence.capabilities.appends import Appends
from curio_persistence.capabilities.deletions import expired_here
from curio_persistence.capabilities.transfers.hashes import (
    Content,
    contents,
    contents_of_columns,
)
from curio_persistence.capabilities.transfers.reading import of_runs
from curio_persistence.errors import BusyError, ConflictError
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter
from curio_persistence.store.table import Row, Table
from curio_persistence.tables import RUNS_AND_STUBS
from curio_persistence.tables.runs import ORIGIN

_ATTEMPTS = 100
ARRIVING = "arriving"
"""Names the lock that transfers take before they compare with stored records."""
_MICROSECOND = timedelta(microseconds=1)


class Deduplicator:
    """Stores records from elsewhere once, however often they are sent.

    Batches of events and model calls come oldest first. A record with an `event_id` is recognised
    by it; a record without one by all its fields but the id, and of several equal ones as many are
    stored as were sent. Any other stored record is replaced by a version that was updated later.
    """

    def __init__(self, store: Store, appends: Mapping[Table[Any], Appends[Any]]) -> None:
        self._store = store
        self._appends = appends
        self._edges: dict[Table[Any], tuple[Any, Counter[Content]]] = {}

    def add(self, table: Table[Any], rows: Sequence[Row]) -> int:
        """Store the rows that are new, all or none, and return how many they are.

        Rows of runs that have expired here are left out.
        """
        with self._store.transaction():
            self._store.advisory_lock(ARRIVING)
            if expired := expired_here(self._store, (row.get("run_id") for row in rows)):
                rows = [row for row in rows if row.get("run_id") not in expired]
            if not rows:
                return 0
            if table in self._appends:
                return self._append(table, rows)
            return self._add_latest(table, rows)

    # --- rows that change ----------------------------------------------------------------------

    def _add_latest(self, table: Table[Any], rows: Sequence[Row]) -> int:
        """Store the rows that are new, were stubs, or have changed since the last transfer."""
        latest = _latest(table, rows)
        for _ in range(_ATTEMPTS):
            stored = self._versions(table, latest.values())
            new = [row for key, row in latest.items() if key not in stored]
            try:
                self._store.insert_many(table, new)
            except ConflictError:  # Another transaction created one of them, or took its id.
                without_ids(new)
                continue
            known = [(key, row) for key, row in latest.items() if key in stored]
            changed = [row for key, row in known if stored[key] < _version(row)]
            for row in changed:
                self._replace(table, row)
            return len(new) + len(changed)
        raise BusyError("Other transactions keep creating the same records; try again.")

    def _versions(self, table: Table[Any], rows: Iterable[Row]) -> dict[Content, _Version]:
        """Return the versions of the stored rows of the same runs, or owners, by their keys."""
        stub = ("stub",) if table is RUNS_AND_STUBS else ()
        owner = table.unique[0][0]
        owners = tuple(dict.fromkeys(row[owner] for row in rows))
        columns = (*table.unique[0], "updated_at", *stub)
        found = self._store.select_columns(table, columns, (Filter(owner, "in", owners),))
        length = len(table.unique[0])
        return {row[:length]: (not (stub and row[-1]), row[length] or "") for row in found}

    def _replace(self, table: Table[Any], row: Row) -> None:
        key = table.unique[0]
        names = [name for name in table.names if name not in ("id", *key)]
        changes: Row = {name: row.get(name, table.filled.get(name)) for name in names}
        if table is RUNS_AND_STUBS:
            changes |= {"indexed_at": None, **{name: row.get(name) for name in ORIGIN}}
        self._store.update(table, tuple(Filter(name, "=", row[name]) for name in key), changes)

    # --- events and model calls ---------------------------------------------------------------

    def _append(self, table: Table[Any], rows: Sequence[Row]) -> int:
        missing = self._missing(table, rows)
        return len(missing) - len(self._appends[table].store(missing).known)

    def _missing(self, table: Table[Any], rows: Sequence[Row]) -> list[Row]:
        """Return the rows to store; those with an `event_id` are checked when they are stored."""
        found = contents(table, rows)
        times: list[Any] = [row[table.ages_by] for row in rows]
        there = self._there(table, rows, times)
        last = max(times)
        edge, here = self._edges.get(table, (None, Counter()))
        if edge is not None and edge >= min(times):
            there.subtract(here)  # These were stored by an earlier batch.
        if edge != last:
            here = Counter()
        here.update(c for c, time in zip(found, times, strict=True) if time == last)
        self._edges[table] = (last, here)
        return [
            row
            for row, content in zip(rows, found, strict=True)
            if row.get("event_id") is not None or not _take(there, content)
        ]

    def _there(
        self, table: Table[Any], rows: Sequence[Row], times: Sequence[str]
    ) -> Counter[Content]:
        """Return the stored contents of the same runs and the same time."""
        unnamed = [row for row in rows if row.get("event_id") is None]
        if not unnamed:
            return Counter()
        window = tuple(_between(table.ages_by, min(times), max(times)))
        run_ids = dict.fromkeys(row["run_id"] for row in unnamed)
        stored: Counter[Content] = Counter()
        for where in of_runs(run_ids):
            columns = self._store.select(table, (*where, *window))
            stored.update(contents_of_columns(table, columns))
        return stored


_Version = tuple[bool, str]
"""Orders the versions of a row; one that only runs have made comes before any other."""


def _version(row: Row) -> _Version:
    return not row.get("stub"), str(row.get("updated_at") or "")


def _latest(table: Table[Any], rows: Iterable[Row]) -> dict[Content, Row]:
    """Return the latest version of each row, by its key."""
    latest: dict[Content, Row] = {}
    for row in rows:
        key = tuple(row[name] for name in table.unique[0])
        known = latest.setdefault(key, row)
        if _version(known) < _version(row):
            latest[key] = row
    return latest


def _take(stored: Counter[Content], content: Content) -> bool:
    """Take one equal stored record; False if none is left."""
    if stored[content] <= 0:
        return False
    stored[content] -= 1
    return True


def _between(column: str, first: str, last: str) -> Iterator[Filter]:
    yield Filter(column, ">=", first)
    moment = datetime.fromisoformat(last)
    if moment.year < 9999:
        yield Filter(column, "<", encode_time(moment + _MICROSECOND))


def without_ids(rows: Sequence[Row]) -> Sequence[Row]:
    """Remove the ids, so that the store assigns new ones."""
    for row in rows:
        row.pop("id", None)
    return rows
