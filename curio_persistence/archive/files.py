"""The files of an archive: Parquet, stored and read back, and checked by their hash."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from curio_persistence.archive.delta_log import ArchivedFile
from curio_persistence.archive.places import Place
from curio_persistence.errors import CorruptDatabaseError
from curio_persistence.persistence import Persistence

BLOOMS = ("run_id", "event_id")
"""The columns by whose values a reader finds rows."""


def digest_of(content: bytes) -> str:
    """Return the SHA-256 of some bytes, as hexadecimal digits."""
    from hashlib import sha256  # On use: the import takes longer than that of this module.

    return sha256(content).hexdigest()


def folder_of(persistence: Persistence) -> str:
    """Return the folder of a database in an archive."""
    return digest_of(persistence._transfers.identity.encode())[:16]


def put_file(
    place: Place, folder: str, content: BytesIO, day: str, batch: str, runs: Sequence[str]
) -> ArchivedFile:
    """Store a Parquet file and read it back; `runs` are the run ids of its rows."""
    written = content.getvalue()
    digest = digest_of(written)
    path = f"dt={day}/{batch}-{digest[:16]}.parquet"
    file = ArchivedFile(path, day, len(written), len(runs), digest, batch, min(runs), max(runs))
    place.put_new(f"{folder}/{path}", written)
    fetched(place, folder, file)
    return file


def fetched(place: Place, folder: str, file: ArchivedFile) -> bytes:
    """Return the content of a file; raise CorruptDatabaseError if it is not as it was archived."""
    content = place.get(f"{folder}/{file.path}")
    if digest_of(content) != file.sha256:
        raise CorruptDatabaseError(
            f"{place.name}/{folder}/{file.path} is not as it was archived: it is damaged, or "
            "another program changed it."
        )
    return content
