"""Append records, alone or in batches, and store each one once.

An event of an unknown run creates a stub of the run. A record whose `event_id` is already stored is
not stored again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar, get_args

from curio_persistence.capabilities.batches import encode_all, in_one_transaction
from curio_persistence.capabilities.capability import Capability
from curio_persistence.clock import Clock
from curio_persistence.errors import (
    BusyError,
    ConflictError,
    InvalidValueError,
    MissingRunError,
)
from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent, AgentRunStatus
from curio_persistence.redaction import Redaction
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, checked_count
from curio_persistence.store.table import Row, Table
from curio_persistence.tables import RUNS
from curio_persistence.tables.runs import derive_trace

OnConflict = Literal["keep", "error"]
"""The treatment of a record whose `event_id` is stored with other content."""

_ATTEMPTS = 100
_MANY_RUNS = 10
_STUB = RUNS.encode(AgentRun("stub", "stub", status=AgentRunStatus.RUNNING))

M = TypeVar("M", AgentRunEvent, AgentLLMUsage)


class _Outrun(Exception):
    """Another thread or process has just created one of the missing runs."""


class Stored(NamedTuple, Generic[M]):
    """The outcome for some rows: the id of each, and by position the records stored before."""

    ids: Sequence[int]
    known: dict[int, M]


class Appends(Capability, Generic[M]):
    """A table whose rows are added and never changed."""

    _table: ClassVar[Table[Any]]
    _dated: ClassVar[tuple[str, ...]]
    """The columns that get the time of storing where they have none."""
    _assigned: ClassVar[tuple[str, ...]] = ()
    """Other columns that may get a value here where they have none."""

    def __init__(self, store: Store, clock: Clock, redaction: Redaction) -> None:
        super().__init__(store, clock)
        self._encode = redaction.encoder(self._table)

    def get(self, ident: int) -> M | None:
        """Return the record with this id, or None."""
        where = (Filter("id", "=", checked_count("ident", ident)),)
        found: list[M] = self._table.decode(self._store.select(self._table, where, limit=1))
        return found[0] if found else None

    def log_many(self, records: Iterable[M], *, on_conflict: OnConflict = "keep") -> int:
        """Append all records or none, and return how many were not stored before.

        The iterable is read a thousand records at a time, in one transaction. With
        `on_conflict="keep"` a record whose `event_id` is already stored is left unchanged;
        with `"error"` other content raises ConflictError.
        """
        if on_conflict not in get_args(OnConflict):
            raise InvalidValueError(
                f'on_conflict is "keep" or "error", not {on_conflict!r}.', field="on_conflict"
            )
        return in_one_transaction(
            self._store,
            records,
            lambda chunk, first: self._log_chunk(chunk, first, on_conflict),
        )

    def log_rows(self, rows: Sequence[Row]) -> int:
        """Append encoded rows, all or none, and return how many were not stored before."""
        return len(rows) - len(self.store(rows, self._date(rows)).known)

    def _log_chunk(self, records: list[M], first: int, on_conflict: OnConflict) -> int:
        rows = encode_all(self._encode, records, first)
        moments = self._date(rows)
        return self._store_and_tell(records, rows, moments, on_conflict)

    def _store_and_tell(
        self,
        records: list[M],
        rows: list[Row],
        moments: dict[Any, datetime],
        on_conflict: OnConflict = "keep",
    ) -> int:
        """Store rows, fill in their records, and return how many were not stored before."""
        stored = self.store(rows, moments, on_conflict=on_conflict)
        for at, known in stored.known.items():
            with suppress(AttributeError):
                _take_times(records[at], known, self._dated)
        self._fill_in(records, rows, stored.ids, moments)
        return len(rows) - len(stored.known)

    def _date(self, rows: Iterable[Row]) -> dict[Any, datetime]:
        """Set the missing times of rows: one moment for all rows of one run."""
        moments: dict[Any, datetime] = {}
        texts: dict[Any, str] = {}
        for row in rows:
            for name in self._dated:
                if row[name] is None:
                    run_id: Any = row["run_id"]
                    if run_id not in texts:
                        moments[run_id] = self._clock.stamp(run_id)
                        texts[run_id] = encode_time(moments[run_id])
                    row[name] = texts[run_id]
        return moments

    def _fill_in(
        self,
        records: Sequence[M],
        rows: Sequence[Row],
        ids: Sequence[int],
        moments: Mapping[Any, datetime],
    ) -> None:
        """Set the ids of records, and the times that they lacked."""
        dated = self._dated
        for record, row, ident in zip(records, rows, ids, strict=True):
            try:
                record.id = ident
                for name in dated:
                    if getattr(record, name) is None:
                        setattr(record, name, moments[row["run_id"]])
            except AttributeError:  # The record is frozen, and stored all the same.
                continue

    # --- each once ----------------------------------------------------------------------------

    def store(
        self,
        rows: Sequence[Row],
        moments: Mapping[Any, datetime] | None = None,
        *,
        on_conflict: OnConflict = "keep",
    ) -> Stored[M]:
        """Store encoded rows, all or none, except those whose `event_id` is already stored.

        `moments` has the times that `_date` set, by run. They do not count as content.
        """
        firsts, repeats = _positions(rows)
        if not firsts:
            return Stored(self._insert(rows), {})
        repeated = {at: self._table.decode_row(rows[first]) for at, first in repeats.items()}
        # Most records are new. One that is twice in a batch was usually sent before.
        may_try = self._store.insert_first and not repeats
        named = [] if may_try else self._named(tuple(firsts))
        for _ in range(_ATTEMPTS):
            known = {firsts[record.event_id]: record for record in named}
            known.update((at, known.get(repeats[at], first)) for at, first in repeated.items())
            if on_conflict == "error":
                self._refuse_other_content(rows, known, moments or {})
            new = [at for at in range(len(rows)) if at not in known]
            try:
                ids = dict(zip(new, self._insert([rows[at] for at in new]), strict=True))
            except ConflictError:
                named = self._named(tuple(firsts))
                continue
            ids.update((at, record.id) for at, record in known.items() if record.id is not None)
            ids.update((at, ids[first]) for at, first in repeats.items())
            return Stored([ids[at] for at in range(len(rows))], known)
        raise BusyError(
            f"Other transactions keep storing the same event_ids in {self._table.name}; try again."
        )

    def _named(self, event_ids: tuple[str, ...]) -> list[M]:
        where = (Filter("event_id", "in", event_ids),)
        return self._table.decode(self._store.select(self._table, where))

    def _refuse_other_content(
        self, rows: Sequence[Row], known: dict[int, M], moments: Mapping[Any, datetime]
    ) -> None:
        for at, record in known.items():
            given, moment = self._table.decode_row(rows[at]), moments.get(rows[at]["run_id"])
            for name in self._table.names:
                value = getattr(given, name)
                assigned = (
                    name == "id"
                    or (name in self._dated and value == moment)
                    or (name in self._assigned and value is None)
                    or (name in self._table.recomputed and not _is_given(self._table, rows[at]))
                )
                if not assigned and value != getattr(record, name):
                    raise ConflictError(
                        f"{self._table.name} has event_id {record.event_id!r} already, "
                        f"with another {name}."
                    )

    def _insert(self, rows: Sequence[Row]) -> Sequence[int]:
        """Insert rows, and stubs of the unknown runs that they name.

        Usually a refused insert tells that a run is missing. For a batch of many runs the missing
        ones are queried first, because a refusal would take as long as the insert.
        """
        stubs = self._missing_runs(rows) if self._names_many_runs(rows) else []
        for _ in range(_ATTEMPTS):
            with suppress(MissingRunError, _Outrun):
                if not stubs:
                    return self._add(rows)
                with self._store.transaction():
                    self._create_stubs(stubs)
                    return self._add(rows)
            stubs = self._missing_runs(rows)
        raise BusyError("Runs of these events are deleted again and again; try again.")

    def _create_stubs(self, stubs: list[Row]) -> None:
        try:
            self._store.insert_many(RUNS, stubs)
        except ConflictError as error:
            raise _Outrun from error

    def _names_many_runs(self, rows: Sequence[Row]) -> bool:
        if self._table.references is None or len(rows) <= _MANY_RUNS:
            return False
        return len({row["run_id"] for row in rows}) > _MANY_RUNS

    def _missing_runs(self, rows: Iterable[Row]) -> list[Row]:
        """Return stubs of the runs that rows name and that are not stored.

        They are sorted, so that two transactions with the same runs do not deadlock.
        """
        firsts: dict[Any, Row] = {}
        for row in rows:
            firsts.setdefault(row["run_id"], row)
        where = (Filter("run_id", "in", tuple(firsts)),)
        for (run_id,) in self._store.select_columns(RUNS, ("run_id",), where):
            del firsts[run_id]
        return [stub_of(row) for _, row in sorted(firsts.items())]

    def _add(self, rows: Sequence[Row]) -> Sequence[int]:
        if len(rows) == 1:
            return (self._store.insert(self._table, rows[0]),)
        return self._store.insert_many(self._table, rows)


def _positions(rows: Sequence[Row]) -> tuple[dict[Any, int], dict[int, int]]:
    """Return the first position of each `event_id`, and for each repetition that first position."""
    firsts: dict[Any, int] = {}
    repeats: dict[int, int] = {}
    for at, row in enumerate(rows):
        name = row.get("event_id")
        if name is not None and firsts.setdefault(name, at) != at:
            repeats[at] = firsts[name]
    return firsts, repeats


def _is_given(table: Table[Any], row: Row) -> bool:
    """Return whether the caller gave the values that are computed otherwise."""
    first, *_, last = table.recomputed
    return row.get(first) is not None and row.get(last) is None


def _take_times(record: object, known: object, names: tuple[str, ...]) -> None:
    """Set the missing times of a record to those that are stored."""
    for name in names:
        if getattr(record, name) is None:
            setattr(record, name, getattr(known, name))


def stub_of(event: Row) -> Row:
    """Return the stub of a run that an event names."""
    row = dict(_STUB)
    for name in ("agent_id", "run_id", "agent_name"):
        row[name] = event[name]
    if session_id := event.get("session_id"):
        row["session_id"] = session_id
    row["started_at"] = event["timestamp"]
    row["created_at"] = row["updated_at"] = event["created_at"]
    row["stub"] = 1
    derive_trace(row)
    return row
