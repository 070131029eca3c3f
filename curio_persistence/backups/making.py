"""Make backups of a database, and databases from backups."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from curio_persistence.backups.files import (
    Address,
    backup_at,
    digest_of,
    new_backup,
    parts_of,
)
from curio_persistence.capabilities.deletions import audit, audit_reading
from curio_persistence.config import DatabaseConfig
from curio_persistence.errors import SchemaMismatchError
from curio_persistence.persistence import Persistence
from curio_persistence.progress import Progress


@dataclass(frozen=True, slots=True)
class BackupReport:
    """The path or URL of a backup, its size in bytes, and its hash if that is stored beside it."""

    path: str
    size: int
    sha256: str | None

    def to_dict(self) -> dict[str, Any]:
        """Everything by name, ready for JSON."""
        return asdict(self)


def back_up(
    persistence: Persistence, destination: Address, progress: Progress | None = None
) -> BackupReport:
    """Make a backup; see `Persistence.backup`."""
    store = persistence._store
    if not store.backup_ending:
        raise store.without_backups()
    time = f"{persistence.clock.now():%Y%m%dT%H%M%S.%fZ}"
    file = new_backup(destination, store.backup_name, time, store.backup_ending)
    audit_reading(store, persistence.clock, "backup", file.name, "database")
    with file.draft() as draft:
        store.back_up(draft, progress)
        store.check_backup(draft)
        digest, size = digest_of(parts_of(draft)), draft.stat().st_size
        file.note(digest)
    file.read_back()
    return BackupReport(file.name, size, digest)


def restore_backup(source: Address, url: str | DatabaseConfig) -> BackupReport:
    """Create a database from a backup: a SQLite file that is not there, or an empty schema.

    `source` is the path or URL of the backup, as `Persistence.backup` reports it. It is compared
    with its hash, if that is beside it, and checked as a database, before anything is created.
    Raise InvalidValueError if the database exists, CorruptDatabaseError for a damaged backup, and
    NotFoundError if there is none. A schema keeps its name, and needs pg_restore on PATH.
    """
    config = url if isinstance(url, DatabaseConfig) else DatabaseConfig.from_url(url)
    file = backup_at(source)
    with file.local() as path, config.get_persistence(initialize=False) as persistence:
        digest = file.check(parts_of(path))
        persistence._store.restore_backup(path)
        with suppress(SchemaMismatchError):  # The tables are older: `migrate` comes first.
            audit(persistence._store, persistence.clock, "restore backup", file.name, "database")
        return BackupReport(file.name, path.stat().st_size, digest)
