"""Erases runs from the files of an archive, and deletes files that it no longer names."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from curio_persistence.archive.delta_log import ArchivedFile, DeltaLog
from curio_persistence.archive.files import fetched, put_file
from curio_persistence.archive.forms import Form, rows_of
from curio_persistence.clock import utc_now
from curio_persistence.places import Place
from curio_persistence.results.arrow import pyarrow
from curio_persistence.store.table import Table

ABANDONED = timedelta(hours=1)
"""A file is committed some minutes after it was stored at most, or never; and a reader has read
the files that it found in a log by then."""


def erase_rows(
    place: Place, folder: str, table: Table[Any], form: Form, run_ids: Collection[str]
) -> set[str]:
    """Replace the files with rows of these runs by files without; return the runs that had some.

    Files that killed programs left are deleted as well: those that were replaced before, and those
    that were never committed, when they are too old for any program to commit them yet.
    """
    log = DeltaLog(place, folder, table, form)
    found: set[str] = set()
    for file in log.files().values():
        if any(map(file.may_have, run_ids)):
            found |= _erase(place, folder, table, form, log, file, run_ids)
    sweep(place, folder, log, form, replaced=timedelta(0))
    return found


def sweep(
    place: Place, folder: str, log: DeltaLog, form: Form, *, replaced: timedelta = ABANDONED
) -> None:
    """Delete files that were replaced so long ago, and those that were never committed."""
    committed, now = log.files(), utc_now()
    for found in place.objects(folder):
        path = found.path.removeprefix(f"{folder}/")
        if path in committed or not path.endswith(form.ending) or path.startswith(form.log):
            continue
        removed = log.removed.get(path)
        at, age = (found.modified, ABANDONED) if removed is None else (removed, replaced)
        if now - at >= age:
            place.delete(found.path)


def _erase(
    place: Place,
    folder: str,
    table: Table[Any],
    form: Form,
    log: DeltaLog,
    file: ArchivedFile,
    run_ids: Collection[str],
) -> set[str]:
    pa = pyarrow()  # Which says what to install where it is missing.
    from pyarrow import compute

    content, unwanted = fetched(place, folder, file), pa.array(sorted(run_ids))
    where = f"{place.name}/{folder}/{file.path}"
    erased: set[str] = set()
    for rows in rows_of(where, form, content, table):
        theirs = rows.filter(compute.is_in(rows["run_id"], unwanted))
        erased.update(theirs["run_id"].to_pylist())
    if erased:
        left = (
            rows.filter(compute.invert(compute.is_in(rows["run_id"], unwanted)))
            for rows in rows_of(where, form, content, table)
        )
        new = put_file(place, folder, table, form, left, file.day, file.batch)
        log.commit([new] if new else [], removed=[file])
    return erased
