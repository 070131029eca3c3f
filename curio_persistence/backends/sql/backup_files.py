"""The kinds of files that backups are, told apart by their first bytes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from curio_persistence.errors import InvalidValueError


class Kind(NamedTuple):
    """A kind of backup: its first bytes, its name, and the database that it is restored into."""

    begin: bytes
    what: str
    into: str


SQLITE = Kind(b"SQLite format 3\0", "a SQLite database", "a SQLite file")
POSTGRES = Kind(b"PGDMP", "a PostgreSQL schema", "PostgreSQL")


def kind_of(path: Path) -> Kind | None:
    """Return the kind of a file; None if it is not a backup."""
    with path.open("rb") as file:
        begin = file.read(len(SQLITE.begin))
    return next((kind for kind in (SQLITE, POSTGRES) if begin.startswith(kind.begin)), None)


def check_kind(path: Path, wanted: Kind) -> None:
    """Raise InvalidValueError, with what to do, for a file of another kind."""
    found = kind_of(path)
    if found is not wanted:
        advice = "name another file" if found is None else f"restore it into {found.into}"
        said = "" if found is None else f", but one of {found.what}"
        raise InvalidValueError(
            f"{path} is not a backup of {wanted.what}{said}: {advice}.", field="source"
        )
