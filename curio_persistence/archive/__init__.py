"""Archives of expired runs: Parquet files under a Delta Lake log, in a directory or S3."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from curio_persistence.archive.archiver import Archiver
from curio_persistence.archive.checking import check_archive
from curio_persistence.archive.copying import copy_trees
from curio_persistence.archive.delta_log import ArchivedFile, DeltaLog
from curio_persistence.archive.erasing import erase_rows
from curio_persistence.archive.files import checked_folder, fetched, folder_of
from curio_persistence.archive.forms import FORMS, NDJSON, Form, checked_form
from curio_persistence.archive.merging import tidy
from curio_persistence.archive.scratch import ScratchFolder, telling_of_scratch
from curio_persistence.archive.versions import Stored, Versions
from curio_persistence.capabilities.arguments import check_progress, checked_run_ids
from curio_persistence.capabilities.deletions import bury
from curio_persistence.capabilities.lifecycle import EXPIRING, ExpireReport, RetentionPolicy
from curio_persistence.capabilities.lifecycle.expired_totals import ExpiredTotals
from curio_persistence.capabilities.lifecycle.settings import Settings
from curio_persistence.capabilities.lifecycle.trees import before
from curio_persistence.capabilities.transfers.kinds import KINDS
from curio_persistence.capabilities.windows import checked_length
from curio_persistence.errors import CorruptDatabaseError, InvalidValueError, NotFoundError
from curio_persistence.export.records import checked_persistence
from curio_persistence.importers.common.report import ImportReport, ReportBuilder
from curio_persistence.importers.exports import store_records
from curio_persistence.importers.exports.values import ParsedRecord
from curio_persistence.persistence import InMemoryPersistence, Persistence
from curio_persistence.places import Place
from curio_persistence.progress import Progress
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Where
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, TOMBSTONES, USAGE

__all__ = ["archive_runs", "check_archive", "erase_runs", "open_archive", "restore_runs"]

Destination = str | os.PathLike[str]


def archive_runs(
    persistence: Persistence,
    destination: Destination,
    *,
    older_than: timedelta | str | None = None,
    since: timedelta | str | None = None,
    default: RetentionPolicy | None = None,
    format: str = "parquet",
    keep: bool = False,
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

    With `keep` the runs are copied, and nothing is deleted: also those on hold. `since`, such as
    `"30d"`, copies the runs that finished since then, and no policy decides. What was copied, and
    has not changed, is not copied again, nor when it is moved later.

    With `format="ndjson"` the files are JSON lines, packed by gzip, which only `restore_runs` and
    `import_records` read.
    """
    form = checked_form(format)
    archiver = Archiver(checked_persistence(persistence), Place(destination), form)
    if keep or since is not None:
        policies, where = _copied(persistence, older_than, since, default)
        check_progress(progress)
        report = copy_trees(
            persistence, archiver, policies, where, dry_run=dry_run, progress=progress
        )
    else:
        report = persistence.lifecycle.expire(
            older_than,
            default=default,
            dry_run=dry_run,
            pace=pace,
            check_clock=check_clock,
            progress=progress,
            archiver=archiver,
        )
    if not dry_run:
        tidy(persistence, Place(destination), form)
    return report


def _copied(
    persistence: Persistence,
    older_than: timedelta | str | None,
    since: timedelta | str | None,
    default: RetentionPolicy | None,
) -> tuple[list[RetentionPolicy], Where]:
    """Return the policies and filters of the runs to copy."""
    if since is None:
        return persistence.lifecycle._chosen(older_than, None, default), ()
    if older_than is not None:
        raise InvalidValueError("Give older_than or since, not both.", field="since")
    first = before(persistence.clock.now(), checked_length("since", since))
    finished = Filter("finished_at", ">=", encode_time(first))
    return [RetentionPolicy("since", timedelta(0))], (finished,)


def open_archive(
    persistence: Persistence, destination: Destination, *, source: str | None = None
) -> Persistence:
    """Return a database and its archive as one persistence, which is only read.

    Every call that reads finds runs in either; statistics and searches do as well. What is returned
    takes the persistence over, and closes it. With `source`, the folder of another database in the
    archive, only that is read: two databases give the same ids to their rows. Raise NotFoundError
    if the archive has nothing of the database.
    """
    from curio_persistence.archive.cold.tiers import TieredStore  # On use: it needs DuckDB.

    place = Place(destination)
    hot = checked_persistence(persistence)._store
    folder = checked_folder(place, source or folder_of(hot))
    if folder != folder_of(hot):
        persistence.close()
        hot = InMemoryPersistence()._store
    store = TieredStore(hot, place, folder)
    return Persistence(
        store, initialize=False, clock=persistence.clock, redaction=persistence.redaction
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
    Raise BusyError while a program expires or archives runs of this database, and NotFoundError if
    the archive has nothing of it.
    """
    wanted = frozenset(checked_run_ids(run_ids))
    place = Place(destination)
    folder = checked_folder(
        place, source or folder_of(checked_persistence(persistence)._store), FORMS.values()
    )
    with Settings(persistence._store, persistence.clock).lease(EXPIRING) as lease:
        here = {run_id for run_id in wanted if persistence.delete_agent_run(run_id)}
        found = set(here)
        if source is None:
            archiver = Archiver(persistence, place)
            archiver.unfinished()
            archiver.done()
        for form in FORMS.values():
            for _, path, table in form.tables(folder):
                lease.keep()
                found |= erase_rows(place, path, table, form, wanted)
        if source is None:
            bury(persistence._store, persistence.clock, found - here, "erased")
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

    Their times, `event_id`s and hashes are as they were; rows get new ids. Runs that are stored
    here are left as they are. `source` is the folder of another database in the archive. Raise
    NotFoundError for a run that is not there. Put a restored run on hold if it is to stay.
    """
    wanted = frozenset(checked_run_ids(run_ids))
    place = Place(destination)
    folder = checked_folder(
        place, source or folder_of(checked_persistence(persistence)._store), FORMS.values()
    )
    report = ReportBuilder()
    stored = {run.run_id for run in persistence.runs.get_many(wanted)}
    if stored:
        report.skip("stored before", len(stored))
    with ScratchFolder() as directory:
        archive = _Archive(place, folder, directory, report)
        archive.fetch(wanted - stored)
        with persistence.transaction():
            tables = (EVENTS, USAGE)
            last = {table.name: persistence._transfers.last_id(table) for table in tables}
            expired = _without_tombstones(persistence, wanted - stored, archive.id)
            records = archive.records(wanted - stored)
            store_records(records, persistence, report, progress)
            if missing := wanted - stored - archive.found:
                names = ", ".join(sorted(missing))
                raise NotFoundError(f"{place.name}/{folder} has no run {names}.")
            done = report.build(dry_run=False)
            if done.problems:
                raise CorruptDatabaseError(f"Nothing was restored: {done.problems[0]}.")
            for archive_id, run_ids in expired.items():
                _subtract(persistence, archive_id, run_ids, last)
            location = f"{place.name}/{folder}"
            bury(persistence._store, persistence.clock, archive.found, "restored", location)
    return done


class _Archive:
    """The files of one database in an archive."""

    def __init__(self, place: Place, folder: str, directory: Path, report: ReportBuilder) -> None:
        self._place = place
        self._folder = folder
        self._directory = directory
        self._report = report
        self._files: dict[str, list[tuple[ArchivedFile, Path, Form]]] = {name: [] for name in KINDS}
        self.found: set[str] = set()
        self.id = DeltaLog(place, f"{folder}/runs", KINDS["runs"]).id

    def fetch(self, run_ids: Collection[str]) -> None:
        """Fetch the files that may have rows of these runs."""
        for form in FORMS.values():
            for name, folder, table in form.tables(self._folder):
                for file in DeltaLog(self._place, folder, table, form).files().values():
                    if any(map(file.may_have, run_ids)):
                        path = self._directory / f"{name}-{len(self._files[name])}{form.ending}"
                        content = fetched(self._place, folder, file)
                        with telling_of_scratch():
                            path.write_bytes(content)
                        self._files[name].append((file, path, form))

    def records(self, run_ids: Collection[str]) -> Iterator[ParsedRecord]:
        """Yield all rows of these runs that count, the runs first; `found` has their ids."""
        runs = [*self._rows("runs", run_ids)]
        versions = Versions(row for row, _ in runs)
        self.found = {row.run_id for row, _ in runs}
        runs.sort(key=lambda each: each[0].row_id)  # As they were stored first.
        yield from _counted(versions, KINDS["runs"], runs)
        for name, table in KINDS.items():
            if name == "runs":
                continue
            rows: Iterable[tuple[Stored, ParsedRecord]] = self._rows(name, self.found)
            if "updated_at" in table.names:  # The last update of each has to be known first.
                rows = [*rows]
                versions.add(table, (row for row, _ in rows))
            yield from _counted(versions, table, rows)

    def _rows(self, name: str, run_ids: Collection[str]) -> Iterator[tuple[Stored, ParsedRecord]]:
        """Yield the rows of these runs in one table, in the order of their commits."""
        for file, path, form in self._files[name]:
            try:
                for record in form.records(path, file.path, KINDS[name], self._report):
                    values = record.values
                    if values.get("run_id") in run_ids:
                        run_id, row_id = str(values["run_id"]), values["id"]
                        yield Stored(run_id, row_id, values.get("updated_at"), file), record
            except InvalidValueError as error:
                raise CorruptDatabaseError(f"{file.path} cannot be read: it {error}.") from error


def _counted(
    versions: Versions, table: Table[Any], rows: Iterable[tuple[Stored, ParsedRecord]]
) -> Iterator[ParsedRecord]:
    """Yield the rows of a table that count."""
    seen: set[int] = set()
    for row, record in rows:
        if versions.counts(table, row.run_id, row.row_id, row.file, seen):
            yield record


def _without_tombstones(
    persistence: Persistence, run_ids: Collection[str], archive: str
) -> dict[str, tuple[str, ...]]:
    """Remove the tombstones of expired runs; return these runs, by the archive of their totals.

    A run that was restored may have expired since without being archived again, or in a form that
    is not queried.
    """
    store = persistence._store
    where = (Filter("run_id", "in", tuple(run_ids)), Filter("reason", "=", "expired"))
    found: dict[str, tuple[str, ...]] = {}
    for run_id, place in store.select_columns(TOMBSTONES, ("run_id", "archived_in"), where):
        totals_of = archive if place and not place.endswith(f"/{NDJSON.name}") else ""
        found[totals_of] = (*found.get(totals_of, ()), run_id)
    store.delete(TOMBSTONES, where)
    return found


def _subtract(
    persistence: Persistence, archive: str, run_ids: tuple[str, ...], last: Mapping[str, int]
) -> None:
    """Subtract runs, and their rows behind the last ids, from the totals of expired ones."""
    where = (Filter("run_id", "in", run_ids),)
    calls = (*where, Filter("id", ">", last[USAGE.name]))
    totals = ExpiredTotals(persistence._store, archive=archive, sign=-1)
    totals.add_tools((*where, Filter("id", ">", last[EVENTS.name])))
    totals.add_calls(calls)
    totals.add_calls_of_runs(calls)
    totals.add_runs(where)
    totals.store()
