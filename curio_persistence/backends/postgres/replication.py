"""Let a streaming standby answer pages and statistics while it is not far behind.

The primary is asked how far its log has come, at most as often as the bound on staleness. A standby
that has come as far is used from then until the bound; after a write of this process, only once it
has come as far as that.
"""

from __future__ import annotations

from itertools import count
from threading import Lock
from time import monotonic
from typing import Any, NamedTuple, Self

from curio_persistence.backends.postgres.statements import PostgresStatements
from curio_persistence.backends.sql.statements import Params
from curio_persistence.concurrency.timeouts import checked_seconds
from curio_persistence.errors import ConfigurationError, PersistenceError, UnavailableError
from curio_persistence.store.table import Table
from curio_persistence.store.transaction import Transaction

STALENESS = 5.0
_POSITION = (
    "CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() "
    "ELSE pg_catalog.pg_current_wal_insert_lsn() END"
)


class _Position(NamedTuple):
    """A position in the log of the primary at a moment, after so many writes of this process."""

    lsn: str
    at: float
    writes: int


class PostgresReplication(PostgresStatements):
    """The part of a PostgreSQL store that knows its replica, or is one."""

    _replica: Self | None = None
    _primary: Self | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._staleness = STALENESS
        self._numbers, self._writes = count(1), 0
        self._looking = Lock()
        self._reached: _Position | None = None
        self._awaited: _Position | None = None
        self._silent_until = 0.0

    def follow(self, replica: Self, staleness: float) -> None:
        """Let a store, which is opened for reading only, answer pages and statistics."""
        self._staleness = checked_seconds("read_staleness", staleness)
        self._replica, replica._primary = replica, self

    @property
    def for_reading(self) -> Self:
        if self._replica is None or self._is_inside():
            return self
        with self._looking:
            return self._replica if self._is_near(self._replica) else self

    def _is_near(self, replica: Self) -> bool:
        """Return whether the replica has everything but what the bound lets it lack."""
        now = monotonic()
        if self._still_counts(self._reached, now):
            return True
        if now < self._silent_until:
            return False
        if not self._still_counts(self._awaited, now):
            writes = self._writes  # Before the primary is asked: what is written later counts.
            [(lsn,)] = self._read(f"SELECT ({_POSITION})::text", ())
            self._awaited = _Position(lsn, now, writes)
        if self._awaited is not None and self._has_reached(replica, self._awaited.lsn):
            self._reached, self._awaited = self._awaited, None
            return True
        return False

    def _still_counts(self, position: _Position | None, now: float) -> bool:
        return (
            position is not None
            and position.writes == self._writes
            and now - position.at <= self._staleness
        )

    def _has_reached(self, replica: Self, lsn: str) -> bool:
        try:
            [(reached,)] = replica._run_anywhere(f"SELECT {_POSITION} >= %s::pg_lsn", (lsn,))[0]
            if not reached:
                return False
            is_ours = replica._identity or replica.identity == self.identity
        except PersistenceError as error:
            self._leave_for_a_while(error)
            return False
        if not is_ours:
            raise ConfigurationError(
                f"read_dsn names another database than the primary's: {replica.location}. "
                "It is that of a streaming standby."
            )
        return True

    def _leave_for_a_while(self, error: PersistenceError) -> None:
        import logging  # Imported here: the import is slow and seldom needed.

        self._silent_until, self._reached = monotonic() + max(self._staleness, 1.0), None
        logging.getLogger(__name__).warning(
            "The replica is passed by, and the primary answers in its place: %s", error
        )

    # --- what changes the answer ----------------------------------------------------------------

    def _read(self, sql: str, params: Params) -> list[tuple[Any, ...]]:
        if self._primary is None:
            return super()._read(sql, params)
        try:
            return super()._read(sql, params)
        except UnavailableError as error:  # Or the standby ended the query to go on.
            self._primary._leave_for_a_while(error)
            return self._primary._read(sql, params)

    def _write(self, sql: str, params: Params) -> tuple[list[tuple[Any, ...]], int]:
        try:
            return super()._write(sql, params)
        finally:
            self._writes = next(self._numbers)

    def insert_many(self, table: Table[Any], rows: Any) -> Any:
        try:
            return super().insert_many(table, rows)
        finally:
            self._writes = next(self._numbers)

    def _finish(self, transaction: Transaction) -> None:
        super()._finish(transaction)
        self._writes = next(self._numbers)

    def close(self) -> None:
        super().close()
        if self._replica is not None:
            self._replica.close()

    def start_again(self) -> None:
        super().start_again()
        self._looking = Lock()
