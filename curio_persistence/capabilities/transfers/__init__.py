"""How records leave for another place, and how they arrive from there: each of them once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from itertools import chain, product
from typing import Any

from curio_persistence.capabilities.appends import Appends
from curio_persistence.capabilities.events import EventFilters, Events
from curio_persistence.capabilities.runs import RunFilters, Runs
from curio_persistence.capabilities.transfers.hashes import (
    Content,
    RunHash,
    RunHashes,
    contents,
    contents_of_columns,
)
from curio_persistence.capabilities.usage import Usage, UsageFilters
from curio_persistence.concurrency.prefetch import one_ahead
from curio_persistence.errors import BusyError, ConflictError, InvalidValueError
from curio_persistence.redaction import Redaction
from curio_persistence.store.base import STREAM_ROWS, Snapshot, Store
from curio_persistence.store.codecs import encode_time, even_times
from curio_persistence.store.filters import COUNT, Filter, Order, Where
from curio_persistence.store.table import Columns, Row, Table
from curio_persistence.tables import EVENTS, RUNS_AND_STUBS, USAGE

KINDS: Mapping[str, Table[Any]] = {"runs": RUNS_AND_STUBS, "events": EVENTS, "usage": USAGE}
"""What records are called where people choose some of them."""

_FILTERS = {
    RUNS_AND_STUBS: {"run_id", *RunFilters.__annotations__},
    EVENTS: {*EventFilters.__annotations__},
    USAGE: {*UsageFilters.__annotations__},
}

_ATTEMPTS = 100
_ARRIVING = "arriving"
"""What those take turns at who look for what is there already, and store the rest."""

BY_ID = (Order("id"),)
_BY_ID_DOWN = (Order("id", descending=True),)
_MICROSECOND = timedelta(microseconds=1)


class Transfers:
    """All three kinds of records at once: read as they were at one moment, and added to."""

    def __init__(
        self, store: Store, redaction: Redaction, runs: Runs, events: Events, usage: Usage
    ) -> None:
        self._store = store
        self._redaction = redaction
        self._where: dict[Table[Any], Callable[..., Where]] = {
            RUNS_AND_STUBS: runs.where,
            EVENTS: events.where,
            USAGE: usage.where,
        }
        self._appends: dict[Table[Any], Appends[Any]] = {EVENTS: events, USAGE: usage}

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """Everything as it is now; see `Store.snapshot`."""
        with self._store.snapshot() as snapshot:
            yield Reading(snapshot)

    def where(self, table: Table[Any], filters: Mapping[str, Any]) -> Where:
        """The filters of the `query_` call of a table's records, and `run_id` for runs as well."""
        given = {name: value for name, value in filters.items() if value is not None}
        if unknown := given.keys() - _FILTERS[table]:
            raise InvalidValueError(
                f"{table.name} cannot be picked by {', '.join(sorted(unknown))}: leave it out, or "
                "choose tables (--table) that can.",
                field="filters",
            )
        return self._where[table](**given)

    def count(self, table: Table[Any], where: Where = ()) -> int:
        """How many records there are."""
        [(count,)] = self._store.aggregate(table, (COUNT,), where)
        return int(count)

    @property
    def identity(self) -> str:
        """What tells this database from all others; see `Store.identity`."""
        return self._store.identity

    def last_id(self, table: Table[Any]) -> int:
        """The largest id of a row; 0 where there are none."""
        last = self._store.select(table, order=_BY_ID_DOWN, limit=1)[table.names.index("id")]
        return int(last[0]) if last else 0

    def row_of(self, table: Table[Any], ident: int) -> tuple[Any, ...] | None:
        """What tells a row from others that have the same id elsewhere; None for an unknown id."""
        for run_id, created_at in self._store.select_columns(
            table, ("run_id", "created_at"), (Filter("id", "=", ident),)
        ):
            return run_id, *even_times([created_at])
        return None

    def reserve_ids(self, table: Table[Any], last: int) -> None:
        """See `Store.reserve_ids`."""
        self._store.reserve_ids(table, last)

    def encoder(self, table: Table[Any]) -> Callable[[Any], Row]:
        """What makes rows of records; words are redacted as in every write."""
        return self._redaction.encoder(table)

    def rows(self, table: Table[Any], columns: Columns) -> list[Row]:
        """Rows, with their ids, of what was read from another store; redacted as well."""
        rows = table.rows(columns)
        if self._redaction.keeps_all:
            return rows
        return [self._redaction.clean(table, row) for row in rows]

    def arrivals(self) -> Arrivals:
        """What records from elsewhere are handed to."""
        return Arrivals(self._store, self._appends)

    def log(self, table: Table[Any], rows: Sequence[Row]) -> int:
        """Append encoded rows, all or none, and return how many were not stored before."""
        return self._appends[table].log_rows(rows)

    def append(self, table: Table[Any], pieces: Iterable[Sequence[Row]], reserved: int) -> int:
        """Store rows under the ids that they bring, all or none; how many they were.

        The ids go up, are above all that were stored, and up to `reserved`: those who look for
        what is new go by them. ConflictError where somebody has taken one of them since.
        """
        pieces = iter(pieces)
        first = next(pieces)
        ids = (Filter("id", ">=", first[0]["id"]), Filter("id", "<", reserved + 1))
        with self._store.transaction():
            self._store.take_turns(_ARRIVING)
            if self.count(table, ids):
                raise ConflictError(
                    f"{table.name} has rows with the ids {first[0]['id']} to {reserved}."
                )
            return self._store.insert_stream(table, chain((first,), pieces))

    def hashes(self, run_ids: Iterable[str | None] | None = None) -> RunHashes:
        """The hash of each run, or of each of some, with its events and model calls.

        None among them stands for the model calls that belong to no run.
        """
        hashes = RunHashes()
        wheres = [()] if run_ids is None else list(of_runs(dict.fromkeys(run_ids)))
        with self.reading() as reading:
            for table, where in product(KINDS.values(), wheres):
                pieces = reading.stream(table, where, order=BY_ID)
                for _ in one_ahead(partial(hashes.add, table), pieces):
                    pass
        return hashes

    def hash(self, run_id: str) -> RunHash | None:
        """One run's hash: the same wherever the run is the same. None for a run that is unknown."""
        return self.hashes((run_id,)).get(run_id)


class Reading:
    """Tables of one moment, in a form in which rows of all stores are equal to the letter."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def stream(
        self,
        table: Table[Any],
        where: Where = (),
        *,
        order: tuple[Order, ...] | None = None,
        size: int = STREAM_ROWS,
    ) -> Iterator[Columns]:
        """What `Snapshot.stream` answers; by itself the oldest come first."""
        if order is None:
            order = tuple(each._replace(descending=False) for each in table.order)
        pieces = self._snapshot.stream(table, where, order=order, size=size)
        return map(table.in_one_form, pieces)


class Arrivals:
    """Records that come from elsewhere, batch by batch, events and model calls oldest first.

    A record is there already if its `event_id` is, or, where it has none, if all its fields but
    the id are: of several that are the same, as many are stored as came. A run that is there is
    replaced by one that was updated later. So everything can be brought again, in part or whole.
    """

    def __init__(self, store: Store, appends: Mapping[Table[Any], Appends[Any]]) -> None:
        self._store = store
        self._appends = appends
        self._edges: dict[Table[Any], tuple[Any, Counter[Content]]] = {}

    def add(self, table: Table[Any], rows: Sequence[Row]) -> int:
        """Store those that are not there yet, all or none; how many these were."""
        with self._store.transaction():
            self._store.take_turns(_ARRIVING)
            return self._add_runs(rows) if table is RUNS_AND_STUBS else self._append(table, rows)

    # --- runs ---------------------------------------------------------------------------------

    def _add_runs(self, rows: Sequence[Row]) -> int:
        """Runs that are new, were stubs, or have changed since they came the last time."""
        latest = _latest(rows)
        for _ in range(_ATTEMPTS):
            stored = self._versions(tuple(latest))
            new = [row for run_id, row in latest.items() if run_id not in stored]
            try:
                self._store.insert_many(RUNS_AND_STUBS, new)
            except ConflictError:  # Somebody creates one of them in this moment, or takes its id.
                without_ids(new)
                continue
            known = [row for run_id, row in latest.items() if run_id in stored]
            changed = [row for row in known if stored[str(row["run_id"])] < _version(row)]
            for row in changed:
                self._replace(row)
            return len(new) + len(changed)
        raise BusyError("Others keep creating the same runs; try again.")

    def _versions(self, run_ids: tuple[str, ...]) -> dict[str, _Version]:
        """The versions of those runs that are there."""
        columns = ("run_id", "stub", "updated_at")
        found = self._store.select_columns(
            RUNS_AND_STUBS, columns, (Filter("run_id", "in", run_ids),)
        )
        times = even_times([time for _, _, time in found])
        return {
            run_id: (not stub, str(time))
            for (run_id, stub, _), time in zip(found, times, strict=True)
        }

    def _replace(self, row: Row) -> None:
        names = [name for name in RUNS_AND_STUBS.names if name not in ("id", "run_id")]
        changes: Row = {name: row.get(name, RUNS_AND_STUBS.filled.get(name)) for name in names}
        where = (Filter("run_id", "=", row["run_id"]),)
        self._store.update(RUNS_AND_STUBS, where, {**changes, "indexed": None})

    # --- events and model calls ---------------------------------------------------------------

    def _append(self, table: Table[Any], rows: Sequence[Row]) -> int:
        missing = self._missing(table, rows)
        return len(missing) - len(self._appends[table].store(missing).known)

    def _missing(self, table: Table[Any], rows: Sequence[Row]) -> list[Row]:
        """Those that may have to be stored: with an `event_id`, it shows when they are."""
        found = contents(table, rows)
        times: list[Any] = [row[table.ages_by] for row in rows]
        there = self._there(table, rows, times)
        last = max(times)
        edge, here = self._edges.get(table, (None, Counter()))
        if edge is not None and edge >= min(times):
            there.subtract(here)  # They stand for some that came with an earlier batch.
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
        """What is stored of the same runs and the same time."""
        unnamed = [row for row in rows if row.get("event_id") is None]
        if not unnamed:
            return Counter()
        window = tuple(_between(table.ages_by, min(times), max(times)))
        run_ids = dict.fromkeys(row["run_id"] for row in unnamed)
        there: Counter[Content] = Counter()
        for where in of_runs(run_ids):
            columns = table.in_one_form(self._store.select(table, (*where, *window)))
            there.update(contents_of_columns(table, columns))
        return there


_Version = tuple[bool, str]
"""By which of two versions of a run one tells the later: a stub comes before anything else."""


def _version(row: Row) -> _Version:
    return not row.get("stub"), str(row["updated_at"])


def _latest(rows: Iterable[Row]) -> dict[Any, Row]:
    """Of each run the last of its versions."""
    latest: dict[Any, Row] = {}
    for row in rows:
        known = latest.setdefault(row["run_id"], row)
        if _version(known) < _version(row):
            latest[row["run_id"]] = row
    return latest


def _take(there: Counter[Content], content: Content) -> bool:
    """Whether one like this was there, and not taken before."""
    if there[content] <= 0:
        return False
    there[content] -= 1
    return True


def _between(column: str, first: str, last: str) -> Iterator[Filter]:
    yield Filter(column, ">=", first)
    moment = datetime.fromisoformat(last)
    if moment.year < 9999:
        yield Filter(column, "<", encode_time(moment + _MICROSECOND))


def without_ids(rows: Sequence[Row]) -> Sequence[Row]:
    """Rows that are to get ids where they are stored."""
    for row in rows:
        row.pop("id", None)
    return rows


def of_runs(run_ids: Collection[Any]) -> Iterator[Where]:
    """The filters that together find the records of some runs; None is for those of no run."""
    named = tuple(run_id for run_id in run_ids if run_id is not None)
    if named:
        yield (Filter("run_id", "in", named),)
    if None in run_ids:
        yield (Filter("run_id", "is null"),)
