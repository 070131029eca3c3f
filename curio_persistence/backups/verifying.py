"""Read a whole database, and compare it with a backup of it: that finds damage to single values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from curio_persistence.backups.files import Address, backup_at
from curio_persistence.capabilities.transfers.hashes import hash_runs
from curio_persistence.capabilities.transfers.kinds import KINDS
from curio_persistence.capabilities.transfers.reading import BY_ID, Reading, of_runs
from curio_persistence.errors import CorruptDatabaseError, InvalidValueError, SchemaMismatchError
from curio_persistence.persistence import Persistence, SQLitePersistence, connect
from curio_persistence.store.base import HealthCheck, Store
from curio_persistence.store.filters import Filter
from curio_persistence.store.table import Columns, Row, Table
from curio_persistence.tables import RUNS_AND_STUBS

_DAMAGE = ("integrity", "texts", "checksums", "backup")
"""The checks whose errors are damage."""
_RUNS = 200
"""The runs whose rows are compared at a time."""
_TOLD = 1_000
_DATABASES = ("sqlite://", "postgres://", "postgresql://")


class DamagedRow(NamedTuple):
    """A row that is not as in the backup, although no program changes it in this way."""

    run_id: str | None
    table: str
    row_id: int
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `Persistence.verify` found.

    `checks` are those of `diagnose(deep=True)`; `compared` is the number of runs of the backup,
    None without one. `damaged` are the rows, the first thousand, that differ from it although they
    should not; `more_damaged` is the number of the others.
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


def verify(persistence: Persistence, against: Address | None = None) -> VerifyReport:
    """Read everything, and compare it with a backup; see `Persistence.verify`."""
    checks = tuple(persistence.diagnose(deep=True))
    if against is None:
        return VerifyReport(checks)
    with _opened(against) as backup:
        here, there = persistence._store, backup._store
        if here.identity != there.identity:
            raise InvalidValueError(
                f"{backup.location} is no backup of {persistence.location}: name one that is.",
                field="against",
            )
        try:
            differing = _differing_runs(here, there)
            damaged = iter(_damaged_rows(here, there, differing))
            first = tuple(islice(damaged, _TOLD))
            more = sum(1 for _ in damaged)
        except CorruptDatabaseError as error:
            return VerifyReport((*checks, HealthCheck("backup", "error", str(error))))
        return VerifyReport(checks, there.count(RUNS_AND_STUBS), first, more)


@contextmanager
def _opened(against: Address) -> Iterator[Persistence]:
    """Open a backup, or a database that was restored from one."""
    if isinstance(against, str) and against.startswith(_DATABASES):
        with connect(against, read_only=True) as restored:
            yield restored
        return
    file = backup_at(against)
    with file.local() as path:
        file.check(path)
        with path.open("rb") as content:
            if content.read(5) == b"PGDMP":
                raise InvalidValueError(
                    f"{file.name} is a backup of PostgreSQL, which has to be restored to be "
                    "compared: restore it into another database, and name that by its URL.",
                    field="against",
                )
        with _opened_file(path, file.name) as backup:
            yield backup


def _opened_file(path: Path, name: str) -> Persistence:
    try:
        return SQLitePersistence(path, read_only=True)
    except SchemaMismatchError as error:
        raise InvalidValueError(
            f"{name} is of an older version of curio_persistence: restore it into a new file, "
            "open that once, which migrates it, and name that file by its URL.",
            field="against",
        ) from error


def _differing_runs(here: Store, there: Store) -> list[str | None]:
    """Return the runs of the backup that have another hash here: most of them were continued."""
    hashes = hash_runs(here, None)
    return [run.run_id for run in hash_runs(there, None) if hashes.get(run.run_id) != run]


def _damaged_rows(here: Store, there: Store, run_ids: Sequence[str | None]) -> Iterator[DamagedRow]:
    with there.snapshot() as state:
        reading = Reading(state)
        for at in range(0, len(run_ids), _RUNS):
            for where in of_runs(run_ids[at : at + _RUNS]):
                for table in KINDS.values():
                    for columns in reading.stream(table, where, order=BY_ID):
                        yield from _damaged(here, table, columns)


def _damaged(here: Store, table: Table[Any], columns: Columns) -> Iterator[DamagedRow]:
    """Compare rows of the backup with those of the same ids, where these are still there."""
    ids = columns[table.names.index("id")]
    stored = here.select(table, (Filter("id", "in", tuple(ids)),))
    now = {row["id"]: row for row in _rows(table, stored)}
    for before in _rows(table, columns):
        row = now.get(before["id"])
        if row is not None and not _may_follow(table, before, row):
            changed = tuple(name for name in table.names if before[name] != row[name])
            run_id = before["run_id"]
            yield DamagedRow(
                None if run_id is None else str(run_id), table.name, int(row["id"] or 0), changed
            )


def _rows(table: Table[Any], columns: Columns) -> Iterable[Row]:
    return (dict(zip(table.names, values, strict=True)) for values in zip(*columns, strict=True))


def _may_follow(table: Table[Any], before: Row, now: Row) -> bool:
    """Return whether programs may have changed one row into the other.

    They update runs and scores, which `updated_at` tells, and create runs that were known from
    events only; a retention policy removes texts; and the deletion of a run takes it, and the
    texts, from its model calls, and the parent from its children.
    """
    if before == now or before.get("updated_at") != now.get("updated_at"):
        return True
    if before.get("stub") and not now.get("stub"):
        return True
    if now.get("parent_run_id", "") is None:
        before = {**before, "parent_run_id": None}
    if now["run_id"] is None:
        before = {**before, "run_id": None, **table.content}
    return now in (before, _stripped(table, before))


def _stripped(table: Table[Any], row: Row) -> Row:
    """Return a row without its texts."""
    stripped = dict(row)
    table.strip(stripped)
    return {name: stripped.get(name, table.filled.get(name)) for name in table.names}
