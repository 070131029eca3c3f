"""Checks an archive: files that are missing, damaged, or in no log."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from curio_persistence.archive.delta_log import ArchivedFile, DeltaLog
from curio_persistence.archive.files import checked_folder, fetched, folder_of, has_logs
from curio_persistence.archive.forms import FORMS, Form
from curio_persistence.clock import utc_now
from curio_persistence.errors import CorruptDatabaseError, NotFoundError, PersistenceError
from curio_persistence.export.records import checked_persistence
from curio_persistence.persistence import Persistence
from curio_persistence.places import Found, Place
from curio_persistence.store.base import HealthCheck
from curio_persistence.store.table import Table

_ORPHANED = timedelta(days=1)
"""A file is committed some minutes after it was stored; one this old never will be."""
_NAMED = 3


def check_archive(
    persistence: Persistence, destination: str | os.PathLike[str], *, deep: bool = False
) -> HealthCheck:
    """Return whether an archive has all files of this database that its logs name.

    Files of another size than was stored are damaged; with `deep` each is read, and its hash
    compared. Files that are in no log, a day after they were stored, were left by programs that
    were killed: the next `archive_runs` deletes them.
    """
    folder = folder_of(checked_persistence(persistence)._store)
    return check_folder(Place(destination), folder, deep=deep)


def check_folder(place: Place, folder: str, *, deep: bool) -> HealthCheck:
    """Return the same of the folder of a database."""
    try:
        found = [
            _check(place, path, table, form, deep)
            for form in FORMS.values()
            if has_logs(place, folder, form)
            for _, path, table in form.tables(folder)
        ]
        if not found and place.objects(folder):
            checked_folder(place, folder, FORMS.values())  # Which says what is missing.
    except PersistenceError as error:
        message, _, advice = str(error).partition(". ")
        return HealthCheck("archive", "error", message.rstrip("."), advice)
    return _told(place, [*map(_together, zip(*found, strict=True))])


class _State(NamedTuple):
    """The names of the files of a table, by what is wrong with them."""

    right: list[str]
    missing: list[str]
    damaged: list[str]
    orphaned: list[str]


def _together(lists: Any) -> list[str]:
    return [name for names in lists for name in names]


def _check(place: Place, folder: str, table: Table[Any], form: Form, deep: bool) -> _State:
    log = DeltaLog(place, folder, table, form)
    committed = log.files()
    stored = {each.path.removeprefix(f"{folder}/"): each for each in place.objects(folder)}
    state = _State([], [], [], [])
    for path, file in committed.items():
        if path not in stored:
            state.missing.append(f"{folder}/{path}")
        elif _is_damaged(place, folder, file, stored[path], deep):
            state.damaged.append(f"{folder}/{path}")
        else:
            state.right.append(path)
    state.orphaned.extend(_orphaned(stored, {*committed, *log.removed}, form))
    return state


def _is_damaged(place: Place, folder: str, file: ArchivedFile, found: Found, deep: bool) -> bool:
    if found.size != file.size:
        return True
    try:
        if deep:
            fetched(place, folder, file)
    except (CorruptDatabaseError, NotFoundError):
        return True
    return False


def _orphaned(stored: dict[str, Found], known: set[str], form: Form) -> Iterator[str]:
    for path, found in stored.items():
        is_file = path.endswith(form.ending) and path.startswith("dt=")
        if is_file and path not in known and utc_now() - found.modified > _ORPHANED:
            yield found.path


def _told(place: Place, found: list[list[str]]) -> HealthCheck:
    right, missing, damaged, orphaned = found or ([], [], [], [])
    if missing or damaged:
        parts = [
            f"{len(names):,} files are {what}: {_some(names)}"
            for what, names in (("missing", missing), ("damaged", damaged))
            if names
        ]
        return HealthCheck(
            "archive",
            "error",
            f"{place.name}: {'; '.join(parts)}",
            "Bring these files back from a version or a copy of the archive: their rows are "
            "nowhere else.",
        )
    if orphaned:
        return HealthCheck(
            "archive",
            "warning",
            f"{place.name}: {len(right):,} files, and {len(orphaned):,} that no log names: "
            f"{_some(orphaned)}",
            "A program was killed there. The next archive run deletes them.",
        )
    if not right:
        return HealthCheck("archive", "warning", f"{place.name} has nothing of this database")
    return HealthCheck("archive", "ok", f"{place.name}: {len(right):,} files, all there")


def _some(names: list[str]) -> str:
    return ", ".join(sorted(names)[:_NAMED]) + (", …" if len(names) > _NAMED else "")
