"""The files of an archive: Parquet, stored and read back, and checked by their hash."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import Any

from curio_persistence.archive.delta_log import ArchivedFile, DeltaLog
from curio_persistence.capabilities.transfers.kinds import KINDS
from curio_persistence.errors import CorruptDatabaseError, InvalidValueError, NotFoundError
from curio_persistence.places import Place
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.table import Table

_FOLDER = re.compile("[0-9a-f]{16}")
BLOOMS = ("run_id", "event_id")
"""The columns by whose values a reader finds rows."""


def digest_of(content: bytes) -> str:
    """Return the SHA-256 of some bytes, as hexadecimal digits."""
    from hashlib import sha256  # On use: the import takes longer than that of this module.

    return sha256(content).hexdigest()


def folder_of(store: Store) -> str:
    """Return the folder of a database in an archive."""
    return digest_of(store.identity.encode())[:16]


def checked_folder(place: Place, folder: Any) -> str:
    """Return the folder of a database in an archive, which has something of it."""
    if not isinstance(folder, str) or not _FOLDER.fullmatch(folder):
        raise InvalidValueError(
            f"source is the name of a folder in {place.name}, 16 hexadecimal digits, not "
            f"{folder!r}.",
            field="source",
        )
    if not DeltaLog(place, f"{folder}/runs", KINDS["runs"]).exists:
        others = sorted({name.partition("/")[0] for name in place.folders()})
        known = f" It has the databases {', '.join(others)}." if others else ""
        raise NotFoundError(
            f"{place.name} has no archive of this database: there is no {folder}/runs in it.{known}"
        )
    return folder


def put_file(
    place: Place, folder: str, table: Table[Any], content: BytesIO, day: str, batch: str
) -> ArchivedFile:
    """Store a Parquet file of a table's rows, and read it back."""
    written = content.getvalue()
    digest = digest_of(written)
    path = f"dt={day}/{batch}-{digest[:16]}.parquet"
    metadata = _metadata(content)
    runs = _extremes(metadata, table, "run_id")
    times = map(encode_time, _extremes(metadata, table, table.ages_by))
    file = ArchivedFile(path, day, len(written), metadata.num_rows, digest, batch, *runs, *times)
    place.put_new(f"{folder}/{path}", written)
    fetched(place, folder, file)
    return file


def _metadata(content: BytesIO) -> Any:
    from pyarrow.parquet import read_metadata  # On use: it may not be installed.

    return read_metadata(content)


def _extremes(metadata: Any, table: Table[Any], column: str) -> tuple[Any, Any]:
    """Return the first and the last value of a column in a Parquet file."""
    at = table.names.index(column)
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    ranges = [group.column(at).statistics for group in groups]
    return min(each.min for each in ranges), max(each.max for each in ranges)


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
