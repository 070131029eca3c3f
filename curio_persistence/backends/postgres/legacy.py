"""A schema of PostgreSQL that an original Curio filled; see `sql.legacy`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from curio_persistence.backends.postgres.copy import SEQUENCE
from curio_persistence.backends.postgres.dsn import quote_identifier
from curio_persistence.backends.postgres.store import PostgresStore
from curio_persistence.backends.sql.legacy import ASIDE, Original
from curio_persistence.store.table import Table
from curio_persistence.tables import RUNS, TABLES

_SETTINGS = (
    # The text of times; those without a zone keep their digits.
    "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; "
    # How long to wait for a program that is in the middle of a transaction.
    "SET LOCAL lock_timeout = '30s'; "
    # Smaller tables are indexed in less time than it takes others to come and help.
    "SET LOCAL min_parallel_table_scan_size = '256MB'"
)
_CONSTRAINTS = (
    "SELECT o.conname FROM pg_catalog.pg_constraint o "
    "JOIN pg_catalog.pg_class c ON c.oid = o.conrelid "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = %s AND c.relname = %s"
)
_OWNER = "SELECT tableowner FROM pg_catalog.pg_tables WHERE schemaname = %s AND tablename = %s"
_NAME_LENGTH = 63
_LAST_ID = (
    f"SELECT coalesce(greatest(max(id), pg_sequence_last_value({SEQUENCE})), 0) FROM {{table}}"
)
_REFUSE_OLD_PROGRAMS = (
    "ALTER TABLE {table} ADD CONSTRAINT not_by_an_original_curio CHECK (updated_at "
    "<> CURRENT_TIMESTAMP OR current_query() !~* 'current_timestamp|now\\(') NOT VALID"
)
"""A row that an original Curio adds lacks `created_at`, and is refused. An update of it would be
taken, and its times without a zone for those of the session's; but it lets the server set
`updated_at`, which no other program does."""


class PostgresOriginal(Original, PostgresStore):
    """The import in PostgreSQL: the old tables stay beside the new ones, under other names."""

    @contextmanager
    def looking(self) -> Iterator[None]:
        with self.transaction():
            self._control(self._mine.required(), f"{_SETTINGS}; SET TRANSACTION READ ONLY")
            yield

    @contextmanager
    def replacing(self) -> Iterator[str]:
        with self.transaction():
            self._lock_schema()
            self._control(self._mine.required(), _SETTINGS)
            self._be_owner()
            with self._old_ones_aside():
                yield ", ".join(f"{name}{ASIDE}" for name in sorted(self._found))
            for table in TABLES:
                if table.name in self._found:
                    self.reserve_ids(table, self._last_id(table))
                self._write(f"ANALYZE {self._table(table)}", ())
            self._write(_REFUSE_OLD_PROGRAMS.format(table=self._table(RUNS)), ())

    def _be_owner(self) -> None:
        """Give the new tables the owner of the old ones, whichever role imports them."""
        [(owner,)] = self._read(_OWNER, (self._schema_name, RUNS.name))
        self._control(self._mine.required(), f"SET LOCAL ROLE {quote_identifier(owner)}")

    def _put_aside(self) -> None:
        for name in sorted(self._found):
            # Otherwise the new ones would get other names than elsewhere.
            table = f"ALTER TABLE {self._qualified(name)} RENAME"
            for (constraint,) in self._read(_CONSTRAINTS, (self._schema_name, name)):
                old, new = quote_identifier(constraint), _name_aside(constraint)
                self._write(f"{table} CONSTRAINT {old} TO {new}", ())
            sequence = f"{name}_id_seq"
            old, new = self._qualified(sequence), _name_aside(sequence)
            self._write(f"ALTER SEQUENCE IF EXISTS {old} RENAME TO {new}", ())
            self._write(f"{table} TO {_name_aside(name)}", ())

    def _last_id(self, table: Table[Any]) -> int:
        """Return the last id that the old table gave, or that the new one has."""
        sql = _LAST_ID.format(table=self._table(table))
        [(last,)] = self._read(sql, (self._schema_name, table.name + ASIDE))
        return int(last)

    def _old_value(self, column: str) -> str:
        return f"{column}::text"


def _name_aside(name: str) -> str:
    return quote_identifier(name[: _NAME_LENGTH - len(ASIDE)] + ASIDE)
