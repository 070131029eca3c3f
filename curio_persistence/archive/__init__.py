"""Archives of expired runs: Parquet files under a Delta Lake log, in a directory or S3."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from datetime import timedelta
from pathlib import Path

from curio_persistence.archive.archiver import Archiver, fetched, folder_of
from curio_persistence.archive.delta_log import DeltaLog
from curio_persistence.archive.erasing import erase_rows
from curio_persistence.archive.places import Place
from curio_persistence.capabilities.arguments import checked_run_ids
from curio_persistence.capabilities.lifecycle import ExpireReport, RetentionPolicy
from curio_persistence.capabilities.lifecycle.expired_totals import ExpiredTotals
from curio_persistence.capabilities.transfers.kinds import KINDS
from curio_persistence.errors import NotFoundError
from curio_persistence.export.records import checked_persistence
from curio_persistence.importers.common.report import ImportReport, ReportBuilder
from curio_persistence.importers.exports import store_records
from curio_persistence.importers.exports.columnar import read_parquet
from curio_persistence.importers.exports.values import ParsedRecord
from curio_persistence.persistence import Persistence
from curio_persistence.progress import Progress
from curio_persistence.store.filters import Filter
from curio_persistence.tables import TOMBSTONES

Destination = str | os.PathLike[str]


def archive_runs(
    persistence: Persistence,
    destination: Destination,
    *,
    older_than: timedelta | str | None = None,
    default: RetentionPolicy | None = None,
    dry_run: bool = False,
    pace: float = 0.05,
    check_clock: bool = True,
    progress: Progress | None = None,
) -> ExpireReport:
    """Move the runs that `lifecycle.expire` would delete into an archive.

    `destination` is a directory, or the URL of an object store such as `s3://bucket/prefix`. Rows
    are written as Parquet files, one for each table and day, and read back before anything is
    deleted. Each table has a log of Delta Lake, so that other programs read the archive too. What
    was interrupted anywhere is completed by the next call, and no row is archived twice.
    """
    archiver = Archiver(checked_persistence(persistence), Place(destination))
    return persistence.lifecycle.expire(
        older_than,
        default=default,
        dry_run=dry_run,
        pace=pace,
        check_clock=check_clock,
        progress=progress,
        archiver=archiver,
    )


def erase_runs(
    persistence: Persistence,
    destination: Destination,
    run_ids: Collection[str],
    *,
    source: str | None = None,
) -> int:
    """Delete runs here and in an archive, and return how many were found in either.

    Files of the archive that have rows of theirs are replaced by files without these, and deleted.
    """
    wanted = frozenset(checked_run_ids(run_ids))
    place = Place(destination)
    folder = source or folder_of(checked_persistence(persistence))
    found = {run_id for run_id in wanted if persistence.delete_agent_run(run_id)}
    for name, table in KINDS.items():
        found |= erase_rows(place, f"{folder}/{name}", table, wanted)
    return len(found)


def restore_runs(
    persistence: Persistence,
    destination: Destination,
    run_ids: Collection[str],
    *,
    source: str | None = None,
    progress: Progress | None = None,
) -> ImportReport:
    """Bring runs back from an archive, with their events, model calls and scores.

    Their times, `event_id`s and hashes are as they were; rows get new ids. `source` is the folder
    of another database in the archive. Raise NotFoundError for a run that is not there.
    """
    from tempfile import TemporaryDirectory  # On use: the import takes longer than this module's.

    wanted = frozenset(checked_run_ids(run_ids))
    place = Place(destination)
    folder = source or folder_of(checked_persistence(persistence))
    report = ReportBuilder()
    with TemporaryDirectory(prefix="curio-restore-") as directory:
        archive = _Archive(place, folder, Path(directory), report)
        with persistence.transaction():
            expired = _without_tombstones(persistence, wanted)
            store_records(archive.records(wanted), persistence, report, progress)
            if missing := wanted - archive.found:
                raise NotFoundError(
                    f"{place.name}/{folder} has no run {', '.join(sorted(missing))}."
                )
            _subtract(persistence, expired)
    return report.build(dry_run=False)


class _Archive:
    """The files of one database in an archive."""

    def __init__(self, place: Place, folder: str, directory: Path, report: ReportBuilder) -> None:
        self._place = place
        self._folder = folder
        self._directory = directory
        self._report = report
        self.found: set[str] = set()

    def records(self, run_ids: Collection[str]) -> Iterator[ParsedRecord]:
        """Yield all rows of these runs, of those archived more than once the last version.

        Runs come first; `found` has their ids.
        """
        versions: dict[str, tuple[str, ParsedRecord]] = {}
        for batch, record in self._rows("runs", run_ids):
            versions[str(record.values["run_id"])] = batch, record
        self.found = set(versions)
        yield from (record for _, record in versions.values())
        for name in KINDS:
            for batch, record in self._rows(name, versions) if name != "runs" else ():
                if versions[str(record.values["run_id"])][0] == batch:
                    yield record

    def _rows(self, name: str, run_ids: Collection[str]) -> Iterator[tuple[str, ParsedRecord]]:
        """Yield the rows of these runs in one table, each with its batch."""
        table = KINDS[name]
        for file in DeltaLog(self._place, f"{self._folder}/{name}", table).files().values():
            if any(map(file.may_have, run_ids)):
                path = self._directory / "rows.parquet"
                path.write_bytes(fetched(self._place, f"{self._folder}/{name}", file))
                for record in read_parquet(path, file.path, table, self._report):
                    if record.values.get("run_id") in run_ids:
                        yield file.batch, record
                path.unlink()


def _without_tombstones(persistence: Persistence, run_ids: Collection[str]) -> tuple[str, ...]:
    """Remove the tombstones of runs; return those that have expired here."""
    store = persistence._store
    where = (Filter("run_id", "in", tuple(run_ids)), Filter("reason", "=", "expired"))
    found = {run_id for (run_id,) in store.select_columns(TOMBSTONES, ("run_id",), where)}
    store.delete(TOMBSTONES, where)
    return tuple(found)


def _subtract(persistence: Persistence, run_ids: tuple[str, ...]) -> None:
    """Subtract restored runs from the totals of expired ones."""
    where = (Filter("run_id", "in", run_ids),)
    totals = ExpiredTotals(persistence._store, sign=-1)
    totals.add_tools(where)
    totals.add_calls(where)
    totals.add_calls_of_runs(where)
    totals.add_runs(where)
    totals.store()
