"""The files of an archive: stored and read back, and checked by their hash."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from curio_persistence.archive.delta_log import ArchivedFile, DeltaLog
from curio_persistence.archive.forms import PARQUET, Form
from curio_persistence.errors import CorruptDatabaseError, InvalidValueError, NotFoundError
from curio_persistence.places import Place
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.table import Table

_FOLDER = re.compile("[0-9a-f]{16}")


def digest_of(content: bytes) -> str:
    """Return the SHA-256 of some bytes, as hexadecimal digits."""
    from hashlib import sha256  # On use: the import takes longer than that of this module.

    return sha256(content).hexdigest()


def folder_of(store: Store) -> str:
    """Return the folder of a database in an archive."""
    return digest_of(store.identity.encode())[:16]


def checked_folder(place: Place, folder: Any, forms: Iterable[Form] = (PARQUET,)) -> str:
    """Return the folder of a database in an archive, which has something of it in these forms."""
    if not isinstance(folder, str) or not _FOLDER.fullmatch(folder):
        raise InvalidValueError(
            f"source is the name of a folder in {place.name}, 16 hexadecimal digits, not "
            f"{folder!r}.",
            field="source",
        )
    found = [form for form in forms if has_logs(place, folder, form)]
    if not found:
        raise NotFoundError(f"{place.name} has no archive of this database: {_why(place, folder)}")
    return folder


def has_logs(place: Place, folder: str, form: Form) -> bool:
    """Return whether an archive has anything of a database in a form.

    Raise CorruptDatabaseError if it has its runs, which are committed last, but not another log.
    """
    logs = {
        path: DeltaLog(place, path, table, form).exists for _, path, table in form.tables(folder)
    }
    if not logs[form.path_of(folder, "runs")]:
        return False
    for path, is_there in logs.items():
        if not is_there:
            raise CorruptDatabaseError(
                f"{place.name}/{path}/{form.log} is missing, or its first version: without it, "
                "archived rows are not found. Bring it back from a copy of the archive."
            )
    return True


def _why(place: Place, folder: str) -> str:
    """Return why a place has no archive of a database, and what to do."""
    known = sorted({name.partition("/")[0] for name in place.folders()})
    if folder in known:
        return (
            f"its folder {folder} has no log of runs. If archive_runs was interrupted there, call "
            "it again; else bring the folder back from a copy."
        )
    if not known:
        return "it is empty, or does not exist. Check its name."
    return f"it has no folder {folder}. It has the databases {', '.join(known)}."


class _Summary:
    """Gathers, while a file is written, what the log says of its rows."""

    def __init__(self, table: Table[Any]) -> None:
        self._columns = ("run_id", table.ages_by)
        self._ranges: dict[str, list[Any]] = {column: [] for column in self._columns}
        self.rows = 0

    def of(self, tables: Iterable[Any]) -> Iterator[Any]:
        """Yield the Arrow tables."""
        from pyarrow import compute  # On use: it may not be installed.

        for rows in tables:
            self.rows += len(rows)
            for column in self._columns if len(rows) else ():
                self._ranges[column] += compute.min_max(rows[column]).as_py().values()
            yield rows

    def extremes(self, column: str) -> tuple[Any, Any]:
        """Return the first and the last value of a column."""
        return min(self._ranges[column]), max(self._ranges[column])


def put_file(
    place: Place,
    folder: str,
    table: Table[Any],
    form: Form,
    tables: Iterable[Any],
    day: str,
    batch: str,
) -> ArchivedFile | None:
    """Store a file of a table's rows, given as Arrow tables, and read it back.

    Return None, and store nothing, if there are no rows.
    """
    content, summary = BytesIO(), _Summary(table)
    form.write(content, table, summary.of(tables))
    if not summary.rows:
        return None
    written = content.getvalue()
    digest = digest_of(written)
    # Merged batches have long names.
    name = batch if len(batch) <= len(digest) else digest_of(batch.encode())[:16]
    path = f"dt={day}/{name}-{digest[:16]}{form.ending}"
    times = map(encode_time, summary.extremes(table.ages_by))
    runs = summary.extremes("run_id")
    file = ArchivedFile(path, day, len(written), summary.rows, digest, batch, *runs, *times)
    place.put_new(f"{folder}/{path}", written)
    fetched(place, folder, file)
    return file


def fetched(place: Place, folder: str, file: ArchivedFile) -> bytes:
    """Return the content of a file; raise CorruptDatabaseError if it is not as it was archived."""
    content = place.get(f"{folder}/{file.path}")
    if digest_of(content) != file.sha256:
        raise _changed(place, folder, file)
    return content


def check(place: Place, folder: str, file: ArchivedFile, path: Path) -> None:
    """Raise CorruptDatabaseError if a file of a directory is not as it was archived."""
    from hashlib import file_digest  # On use, as above.

    try:
        with path.open("rb") as content:
            digest = file_digest(content, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise NotFoundError(f"{place.name} has no file {folder}/{file.path}.") from error
    if digest != file.sha256:
        raise _changed(place, folder, file)


def _changed(place: Place, folder: str, file: ArchivedFile) -> CorruptDatabaseError:
    return CorruptDatabaseError(
        f"{place.name}/{folder}/{file.path} is not as it was archived: it is damaged, or another "
        "program changed it."
    )
