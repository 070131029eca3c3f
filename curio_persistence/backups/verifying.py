"""Read a whole database, and compare it with a backup of it: that finds damage to single values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from curio_persistence.backends.sql.backup_files import POSTGRES, SQLITE, kind_of
from curio_persistence.backups.comparing import TABLES, Comparison, DamagedRow, damaged_row
from curio_persistence.backups.files import Address, backup_at, parts_of
from curio_persistence.capabilities.transfers.hashes import RunHashes
from curio_persistence.capabilities.transfers.reading import BY_ID, Reading
from curio_persistence.errors import CorruptDatabaseError, InvalidValueError, SchemaMismatchError
from curio_persistence.persistence import Persistence, SQLitePersistence, connect
from curio_persistence.progress import Progress
from curio_persistence.store.base import HealthCheck, Store
from curio_persistence.store.table import Columns, Table
from curio_persistence.tables import DERIVED, EVENTS_AS_STORED, contradictions

_DAMAGE = ("integrity", "chains", "texts", "checksums", "rows")
"""The checks whose errors are damage."""
_NEEDED = ("id", "run_id", "event_type", "level", "data", *DERIVED)
_TOLD = 1_000
_DATABASES = ("sqlite://", "postgres://", "postgresql://")


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The result of `Persistence.verify`.

    `checks` are those of `diagnose(deep=True)`; `compared` is the number of runs that are both here
    and in the backup, None without one. `damaged` are the rows, the first thousand, that differ
    from it although they should not, or contradict themselves; `more_damaged` is the number of the
    others.
    """

    checks: tuple[HealthCheck, ...]
    compared: int | None = None
    damaged: tuple[DamagedRow, ...] = ()
    more_damaged: int = 0

    @property
    def ok(self) -> bool:
        """True if nothing is damaged."""
        found = {check.name for check in self.checks if check.level == "error"}
        return not self.damaged and found.isdisjoint(_DAMAGE)

    def to_dict(self) -> dict[str, Any]:
        """Everything by name, ready for JSON."""
        return {
            "ok": self.ok,
            **asdict(self),
            "checks": [check._asdict() for check in self.checks],
            "damaged": [row._asdict() for row in self.damaged],
        }


def verify(
    persistence: Persistence, against: Address | None = None, progress: Progress | None = None
) -> VerifyReport:
    """Read everything, and compare it with a backup; see `Persistence.verify`."""
    if against is None:
        return _verified(persistence, None, progress)
    with _opened(against) as backup:
        there = backup._store
        if persistence._store.indexed.identity != there.identity:
            raise InvalidValueError(
                f"{backup.location} is not a backup of {persistence.location}: name one that is.",
                field="against",
            )
        return _verified(persistence, there, progress)


def _verified(
    persistence: Persistence, there: Store | None, progress: Progress | None
) -> VerifyReport:
    here = persistence._store.indexed  # Without its archive.
    checks = tuple(persistence.diagnose(deep=True))
    told = _Told(progress, [here] if there is None else [here, there])
    comparison = None
    try:
        hashes, contradictory = RunHashes(), dict[int, DamagedRow]()
        for table, columns in _everything(here, told):
            if table is EVENTS_AS_STORED:
                contradictory.update(_contradictory(table, columns))
            if there is not None:
                hashes.add(table, columns)
        if there is not None:
            before = RunHashes()
            for table, columns in _everything(there, told):
                before.add(table, columns)
            comparison = Comparison(here, there, hashes, before)
        damaged = _all_damaged(comparison, contradictory)
        first = tuple(islice(damaged, _TOLD))
        more = sum(1 for _ in damaged)
    except CorruptDatabaseError as error:
        return VerifyReport((*checks, HealthCheck("rows", "error", str(error))))
    return VerifyReport(checks, comparison.compared if comparison else None, first, more)


def _everything(store: Store, told: _Told) -> Iterator[tuple[Table[Any], Columns]]:
    """Yield all rows of a database as of one moment."""
    with store.snapshot() as state:
        reading = Reading(state)
        for table in TABLES:
            for columns in reading.stream(table, order=BY_ID):
                yield table, columns
                told(len(columns[0]))


class _Told:
    """Tells the caller how many rows of some databases were read."""

    def __init__(self, progress: Progress | None, stores: Sequence[Store]) -> None:
        self._progress = progress
        self._done = 0
        if progress is not None:
            self._total = sum(store.count(table) for store in stores for table in TABLES)

    def __call__(self, rows: int) -> None:
        if self._progress is not None:
            self._done += rows
            self._progress(self._done, self._total)


def _contradictory(table: Table[Any], columns: Columns) -> Iterator[tuple[int, DamagedRow]]:
    """Yield the events that contradict themselves, by id."""
    read = dict(zip(table.names, columns, strict=True))
    for values in zip(*map(read.__getitem__, _NEEDED), strict=True):
        row = dict(zip(_NEEDED, values, strict=True))
        if wrong := contradictions(row):
            damaged = damaged_row(table, row, wrong)
            yield damaged.row_id, damaged


def _all_damaged(
    comparison: Comparison | None, contradictory: dict[int, DamagedRow]
) -> Iterator[DamagedRow]:
    """Yield the rows that differ from the backup, and the other ones that are contradictory."""
    for row in comparison.damaged() if comparison else ():
        if row.table == EVENTS_AS_STORED.name:
            contradictory.pop(row.row_id, None)
        yield row
    yield from contradictory.values()


@contextmanager
def _opened(against: Address) -> Iterator[Persistence]:
    """Open a backup, or a database that was restored from one."""
    if isinstance(against, str) and against.startswith(_DATABASES):
        with connect(against, read_only=True) as restored:
            yield restored
        return
    file = backup_at(against)
    with file.local() as path:
        file.check(parts_of(path))
        if kind_of(path) is POSTGRES:
            raise InvalidValueError(
                f"{file.name} is a backup of PostgreSQL, which has to be restored to be "
                "compared: restore it into another database, and name that by its URL.",
                field="against",
            )
        if kind_of(path) is not SQLITE:
            raise _is_no_backup(file.name)
        with _opened_file(path, file.name) as backup:
            yield backup


def _opened_file(path: Path, name: str) -> Persistence:
    try:
        return SQLitePersistence(path, read_only=True)
    except SchemaMismatchError as error:
        if not error.found.isdecimal():  # No version: it has other tables, or none.
            raise _is_no_backup(name) from error
        if int(error.found) > int(error.wanted):
            raise
        raise InvalidValueError(
            f"{name} is of an older version of curio_persistence: restore it into a new file, "
            "open that once, which migrates it, and name that file by its URL.",
            field="against",
        ) from error


def _is_no_backup(name: str) -> InvalidValueError:
    return InvalidValueError(
        f"{name} is not a backup of curio_persistence: name another file.", field="against"
    )
