"""Brings runs back from an archive, of each run its last version."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from curio_persistence.archive.delta_log import ArchivedFile, DeltaLog
from curio_persistence.archive.files import checked_folder, fetched, folder_of
from curio_persistence.archive.forms import FORMS, NDJSON, Form, rows_of
from curio_persistence.archive.scratch import ScratchFolder, telling_of_scratch
from curio_persistence.archive.versions import Stored, Versions
from curio_persistence.capabilities.arguments import checked_run_ids
from curio_persistence.capabilities.deletions import audit, bury
from curio_persistence.capabilities.lifecycle.expired_totals import ExpiredTotals
from curio_persistence.capabilities.transfers.kinds import KINDS_OF_RUNS
from curio_persistence.capabilities.windows import BOUNDS, TimeLike, bound, checked_moment
from curio_persistence.errors import CorruptDatabaseError, InvalidValueError, NotFoundError
from curio_persistence.export.records import checked_persistence
from curio_persistence.importers.common.report import ImportReport, ReportBuilder
from curio_persistence.importers.exports import store_records
from curio_persistence.importers.exports.values import ParsedRecord
from curio_persistence.persistence import Persistence
from curio_persistence.places import Place
from curio_persistence.progress import Progress
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Where, matches
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, TOMBSTONES, USAGE


def restore_runs(
    persistence: Persistence,
    destination: str | os.PathLike[str],
    run_ids: Collection[str] | None = None,
    *,
    since: TimeLike | None = None,
    until: TimeLike | None = None,
    source: str | None = None,
    progress: Progress | None = None,
) -> ImportReport:
    """Bring runs back from an archive, with all that belongs to them.

    The runs are those with these ids, or those created in a window, `since ≤ t < until`. Their
    times, `event_id`s and hashes are as they were; rows get new ids. Runs that are stored here are
    left as they are. `source` is the folder of another database in the archive. Raise NotFoundError
    for an id that is not there. Put a restored run on hold if it is to stay.
    """
    window = _window(persistence, since, until)
    if (run_ids is None) is not bool(window):
        raise InvalidValueError("Give run_ids, or since and until.", field="run_ids")
    place = Place(destination)
    folder = checked_folder(
        place, source or folder_of(checked_persistence(persistence)._store), FORMS.values()
    )
    report = ReportBuilder()
    with ScratchFolder() as directory:
        archive = _Archive(place, folder, directory, report)
        wanted = archive.runs_in(window) if run_ids is None else {*checked_run_ids(run_ids)}
        stored = {run.run_id for run in persistence.runs.get_many(wanted)}
        if stored:
            report.skip("stored before", len(stored))
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
            if archive.found:
                _tell(persistence, location, archive.found)
    return done


def _tell(persistence: Persistence, location: str, run_ids: Collection[str]) -> None:
    about = {"archive": location, "run_ids": sorted(run_ids)}
    audit(persistence._store, persistence.clock, "restore", "", "runs", None, **about)


def _window(persistence: Persistence, since: Any, until: Any) -> Where:
    """Return the filters of a window of times of creation."""
    return tuple(
        bound("created_at", BOUNDS[name], checked_moment(name, moment), persistence.clock)
        for name, moment in (("since", since), ("until", until))
        if moment is not None
    )


class _Archive:
    """The files of one database in an archive."""

    def __init__(self, place: Place, folder: str, directory: Path, report: ReportBuilder) -> None:
        self._place = place
        self._folder = folder
        self._directory = directory
        self._report = report
        self._files: dict[str, list[tuple[ArchivedFile, Path, Form]]] = {
            name: [] for name in KINDS_OF_RUNS
        }
        self.found: set[str] = set()
        self.id = DeltaLog(place, f"{folder}/runs", KINDS_OF_RUNS["runs"]).id

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

    def runs_in(self, window: Where) -> set[str]:
        """Return the runs whose times of creation pass filters."""
        columns, found = ("run_id", "created_at"), set[str]()
        for form in FORMS.values():
            folder = form.path_of(self._folder, "runs")
            log = DeltaLog(self._place, folder, KINDS_OF_RUNS["runs"], form)
            for file in log.files().values():
                if all(file.may_pass(RUNS, f) for f in window):
                    where = f"{self._place.name}/{folder}/{file.path}"
                    content = fetched(self._place, folder, file)
                    for rows in rows_of(where, form, content, KINDS_OF_RUNS["runs"], columns):
                        ids, times = (rows[column].to_pylist() for column in columns)
                        found.update(
                            run_id
                            for run_id, time in zip(ids, times, strict=True)
                            if matches({"created_at": encode_time(time)}, window)
                        )
        return found

    def records(self, run_ids: Collection[str]) -> Iterator[ParsedRecord]:
        """Yield all rows of these runs that count, the runs first; `found` has their ids."""
        runs = [*self._rows("runs", run_ids)]
        versions = Versions(row for row, _ in runs)
        self.found = {row.run_id for row, _ in runs}
        runs.sort(key=lambda each: each[0].row_id)  # As they were stored first.
        yield from _counted(versions, KINDS_OF_RUNS["runs"], runs)
        for name, table in KINDS_OF_RUNS.items():
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
                for record in form.records(path, file.path, KINDS_OF_RUNS[name], self._report):
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
    totals.add_events((*where, Filter("id", ">", last[EVENTS.name])))
    totals.add_calls(calls)
    totals.add_calls_of_runs(calls)
    totals.add_runs(where)
    totals.store()
