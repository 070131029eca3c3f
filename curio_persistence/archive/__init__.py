"""Archives of expired runs: Parquet files under a Delta Lake log, in a directory or S3."""

from __future__ import annotations

import os
from collections.abc import Collection
from datetime import timedelta

from curio_persistence.archive.archiver import Archiver
from curio_persistence.archive.checking import check_archive
from curio_persistence.archive.copying import copy_trees
from curio_persistence.archive.erasing import erase_rows
from curio_persistence.archive.files import checked_folder, folder_of
from curio_persistence.archive.forms import FORMS, checked_form
from curio_persistence.archive.merging import tidy
from curio_persistence.archive.restoring import restore_runs
from curio_persistence.capabilities.arguments import check_progress, checked_run_ids
from curio_persistence.capabilities.chains import EVENT_CHAINS, Chains
from curio_persistence.capabilities.deletions import audit, bury
from curio_persistence.capabilities.lifecycle import EXPIRING, ExpireReport, RetentionPolicy
from curio_persistence.capabilities.lifecycle.settings import Settings
from curio_persistence.capabilities.windows import before, checked_length
from curio_persistence.errors import InvalidValueError
from curio_persistence.export.records import checked_persistence
from curio_persistence.persistence import InMemoryPersistence, Persistence
from curio_persistence.places import Place
from curio_persistence.progress import Progress
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Where

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
        store,
        initialize=False,
        clock=persistence.clock,
        redaction=persistence.redaction,
        embed=persistence._embed,
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
        with persistence.transaction():
            store, clock = persistence._store, persistence.clock
            if source is None:
                bury(store, clock, found - here, "erased")
                Chains(store, clock, EVENT_CHAINS).forget(found)
            if found:
                about = {"archive": f"{place.name}/{folder}", "run_ids": sorted(found)}
                audit(store, clock, "erase", "", "runs", None, **about)
    return len(found)
