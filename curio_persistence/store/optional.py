"""The part of a backend's contract that only some need: by default a store has none of it."""

from __future__ import annotations

from abc import ABC
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from curio_persistence.errors import UnsupportedError
from curio_persistence.progress import Progress
from curio_persistence.store.table import StoredValue, Table

if TYPE_CHECKING:
    from curio_persistence.store.base import Nearest, Partition


class OptionalParts(ABC):  # Stores are abstract.
    """Partitions, indexes on demand, the engine's numbers, free space and backups."""

    dialect: ClassVar[str]
    """The name under which this store is spoken of: `sqlite`, `postgres`, `memory`."""
    backup_ending: str = ""
    """The ending of the name of a backup; `""` where there are none."""

    @property
    def location(self) -> str:
        """The location of the rows, as the subject of a sentence, without secrets."""
        return f"The {self.dialect} store"

    # --- partitions ---------------------------------------------------------------------------

    def prepare_times(self, since: datetime | None = None) -> None:  # noqa: B027  # By default, nothing.
        """Make partitions for the months from a time, or the first that has one, to some ahead.

        Raises BusyError if the tables are in use all the time; rows are stored without it as well.
        A store does nothing if its tables have no partitions.
        """

    def partitions(self, table: Table[Any], before: str) -> list[Partition]:
        """Return the partitions of a table that end at a time or before it, the oldest first.

        There are none where rows are only deleted one by one.
        """
        return []

    def runs_of_partition(self, partition: Partition) -> set[StoredValue]:
        """Return the runs of its rows, and None if a row has no run."""
        raise UnsupportedError(f"{self.location} has no partitions.")

    def lock_partition(self, partition: Partition) -> None:
        """Keep others from changing its rows until the transaction ends, which may take long.

        Raises BusyError if others use it all the time.
        """
        raise UnsupportedError(f"{self.location} has no partitions.")

    def empty_partition(self, partition: Partition) -> None:
        """Delete all of its rows at once, as a last step of the transaction that has locked it.

        Raises as `lock_partition` does, and AccessDeniedError without the right.
        """
        raise UnsupportedError(f"{self.location} has no partitions.")

    def drop_empty_partitions(self, before: str) -> None:  # noqa: B027  # By default, nothing.
        """Drop the oldest empty partitions that end at a time or before it."""

    # --- indexes on demand --------------------------------------------------------------------

    def create_payload_index(self) -> bool:
        """Build the index of payloads; return False if it exists already.

        Other connections may read and write meanwhile. Raises UnsupportedError where the backend
        has none.
        """
        raise UnsupportedError(
            f"{self.location} has no index for payloads: what passes the other filters is looked "
            "through. On PostgreSQL there is one."
        )

    def create_vector_index(self, model: str, dim: int) -> bool:
        """Build an index of a model's embeddings; return False if it exists already.

        Other connections may read and write meanwhile. Raises UnsupportedError where the backend
        has none.
        """
        raise UnsupportedError(
            f"{self.location} has no index for vectors: they are compared in memory. On PostgreSQL "
            "with pgvector there is one."
        )

    def vector_index(self, model: str) -> Nearest | None:
        """Return the reader of the index of a model's embeddings; None without an index."""
        return None

    # --- the engine ---------------------------------------------------------------------------

    def checkpoint(self) -> None:  # noqa: B027  # By default, nothing.
        """Write a part of the log back into the database, if it has grown.

        Long jobs call this between their transactions: it takes some milliseconds each time, where
        one commit that writes all of it back takes a third of a second. Does nothing where the
        database has a process of its own for it.
        """

    def engine_numbers(self) -> dict[str, int]:
        """Return what the engine tells of itself at no cost, for monitoring.

        `database_bytes`; `wal_bytes`, the length of the log, or `wal_written_bytes`, which grows;
        `connections_used`, `connections_idle` and `connections_max`. A store leaves out the numbers
        that it does not have.
        """
        return {}

    def used_bytes(self) -> int | None:
        """Return how many bytes the records take; None where deleting them would not change it."""
        return None

    def sweep_texts(self) -> None:  # noqa: B027  # By default, nothing.
        """Delete long texts that deletions of this store have left for later.

        A deletion calls this at its end. Does nothing where a row holds its own texts.
        """

    def release_space(self, leave: float = 0.02) -> int:
        """Return some empty pages to the disk, in about 10 ms, inside a transaction.

        A share of the pages may be left, for the next records. Return how many bytes; 0 when there
        is nothing more to return, or where only `compact` can.
        """
        return 0

    def advice_on_space(self) -> str:
        """Return how the space of deleted rows comes back to the disk; empty if by itself."""
        return ""

    # --- backups ------------------------------------------------------------------------------

    @property
    def backup_name(self) -> str:
        """The name of a backup without time and ending."""
        return self.dialect

    def back_up(self, path: Path, progress: Progress | None = None) -> None:
        """Write all tables, as of one moment, into an empty file, while others write.

        Not allowed inside a transaction. Raises UnsupportedError where there are no backups, as in
        memory, which is the one difference between our backends.
        """
        raise self.without_backups()

    def without_backups(self) -> UnsupportedError:
        """Return the error for a backend without backups."""
        return UnsupportedError(
            f"{self.location} has no backups. To keep its records, copy them into a SQLite file: "
            'copy_records(persistence, SQLitePersistence("kept.db")).'
        )

    def check_backup(self, path: Path, *, deep: bool = False) -> None:
        """Read a file that `back_up` wrote.

        Raises CorruptDatabaseError if it is damaged, and InvalidValueError if it is not a backup of
        a database of this kind. With `deep`, indexes are compared with the rows.
        """
        raise self.without_backups()

    def restore_backup(self, path: Path) -> None:
        """Create this database from a file that `back_up` wrote, whole or not at all.

        Raises InvalidValueError, and changes nothing, if it exists and is not empty.
        """
        raise self.without_backups()
