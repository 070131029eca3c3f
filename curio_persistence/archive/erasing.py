"""Erases runs from the files of an archive."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from io import BytesIO
from typing import Any

from curio_persistence.archive.delta_log import ArchivedFile, DeltaLog
from curio_persistence.archive.files import BLOOMS, fetched, put_file
from curio_persistence.export.formats import write_parquet_groups
from curio_persistence.places import Place
from curio_persistence.results.arrow import arrow_schema, pyarrow
from curio_persistence.store.table import Table

_ABANDONED = timedelta(hours=1)
"""A file is committed some minutes after it was stored at most, or never."""


def erase_rows(place: Place, folder: str, table: Table[Any], run_ids: Collection[str]) -> set[str]:
    """Replace the files with rows of these runs by files without; return the runs that had some.

    Files that killed programs left are deleted as well: those that were replaced before, and those
    that were never committed, when they are too old for any program to commit them yet.
    """
    log = DeltaLog(place, folder, table)
    found: set[str] = set()
    for file in log.files().values():
        if any(map(file.may_have, run_ids)):
            found |= _erase(place, folder, table, log, file, run_ids)
    committed = log.files()
    abandoned = set(place.names(folder, older_than=_ABANDONED))
    for name in place.names(folder):
        path = name.removeprefix(f"{folder}/")
        if path in log.removed or (
            name in abandoned and name.endswith(".parquet") and path not in committed
        ):
            place.delete(name)
    return found


def _erase(
    place: Place,
    folder: str,
    table: Table[Any],
    log: DeltaLog,
    file: ArchivedFile,
    run_ids: Collection[str],
) -> set[str]:
    pa = pyarrow()  # Which says what to install where it is missing.
    from pyarrow import compute
    from pyarrow.parquet import read_table

    rows = read_table(BytesIO(fetched(place, folder, file)), partitioning=None)
    theirs = compute.is_in(rows["run_id"], pa.array(sorted(run_ids)))
    erased = {*rows.filter(theirs)["run_id"].to_pylist()}
    if not erased:
        return erased
    left = rows.filter(compute.invert(theirs))
    new = []
    if len(left):
        content = BytesIO()
        groups = [left.select(table.names).cast(arrow_schema(table))]
        write_parquet_groups(content, table, groups, blooms=BLOOMS)
        new.append(put_file(place, folder, table, content, file.day, file.batch))
    log.commit(new, removed=[file])
    return erased
