"""The `timescale` layout: events and model calls as hypertables of the extension TimescaleDB.

See schema/timescale. Only the edition that is not Apache's compresses old chunks.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from curio_persistence.backends.postgres.parted import PostgresParted
from curio_persistence.backends.postgres.pool import Connection
from curio_persistence.backends.postgres.timed import REGISTRIES, TIMED
from curio_persistence.backends.sql import migrations
from curio_persistence.backends.sql.statements import shape
from curio_persistence.errors import BusyError, UnsupportedError
from curio_persistence.progress import Progress
from curio_persistence.store.base import HealthCheck, Partition
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Where
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS

_LENGTH, _COMPRESSED_AFTER = "7 days", "14 days"
_EXTENSION = (
    "SELECT n.nspname, current_setting('timescaledb.license', true) "
    "FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace "
    "WHERE e.extname = 'timescaledb'"
)
_CHUNKS = (
    # Python's times have no years before 1 and after 9999, and chunks may begin or end there.
    "SELECT greatest(range_start, '0001-01-01 00:00:00+00'), "
    "least(range_end, '9999-12-31 00:00:00+00'), chunk_schema, chunk_name "
    "FROM timescaledb_information.chunks "
    "WHERE hypertable_schema = %s AND hypertable_name = %s ORDER BY range_start"
)


class PostgresHypertables(PostgresParted):
    """The part of a PostgreSQL store that makes and uses hypertables, where there are some."""

    @property
    def _has_hypertables(self) -> bool:
        return self.layout == "timescale"

    def _create_parted(self) -> None:
        found = self._read(_EXTENSION, ())
        if not found:
            if self._wanted == "timescale":
                raise UnsupportedError(
                    f"{self.location} has no extension timescaledb. Let a superuser run CREATE "
                    'EXTENSION timescaledb, or use layout="timed".'
                )
            super()._create_parted()
            return
        [(schema, license)] = found
        before, after = migrations.fresh_hypertables()
        self._run_script(before)
        for table in TIMED:
            self._write(
                f'SELECT "{schema}".create_hypertable(%s::regclass, "{schema}".by_range(%s, '
                "%s::interval), create_default_indexes => false)",
                (self._table(table), table.ages_by, _LENGTH),
            )
        self._run_script(after)
        self._layout = "timescale"
        if license == "timescale":
            self._compress(schema)
        else:
            logging.getLogger(__name__).warning(
                "%s has the Apache edition of TimescaleDB: old chunks are not compressed.",
                self.location,
            )

    def _compress(self, schema: str) -> None:
        """Let the server compress old chunks from now on."""
        self._run_script(migrations.columnstore())
        for table in TIMED:
            self._write(
                f'SELECT "{schema}".add_compression_policy(%s::regclass, %s::interval)',
                (self._table(table), _COMPRESSED_AFTER),
            )

    # --- chunks -------------------------------------------------------------------------------

    def partitions(self, table: Table[Any], before: str) -> list[Partition]:
        if table not in TIMED or not self._has_hypertables:
            return super().partitions(table, before)
        found = [
            Partition(table, encode_time(begin), encode_time(end))
            for begin, end, *_ in self._read(_CHUNKS, (self._schema_name, table.name))
        ]
        return [each for each in found if each.end <= before]

    def _partitions_check(self) -> HealthCheck:
        if not self._has_hypertables:
            return super()._partitions_check()
        chunks = self._read(_CHUNKS, (self._schema_name, EVENTS.name))
        if not chunks:
            return HealthCheck("partitions", "ok", "a hypertable, which has no chunks yet")
        span = f"from {chunks[0][0]:%Y-%m-%d} to {chunks[-1][1]:%Y-%m-%d}"
        return HealthCheck("partitions", "ok", f"events in {len(chunks)} chunks {span}")

    def _part(self, partition: Partition) -> str:
        if not self._has_hypertables:
            return super()._part(partition)
        for begin, _, schema, name in self._read(
            _CHUNKS, (self._schema_name, partition.table.name)
        ):
            if encode_time(begin) == partition.begin:
                return f'"{schema}"."{name}"'
        raise BusyError(f"A chunk of {partition.table.name} was dropped by another program.")

    def _emptying(self, partition: Partition) -> str:
        if not self._has_hypertables:
            return super()._emptying(partition)
        return f"DROP TABLE {self._part(partition)}"

    def drop_empty_partitions(self, before: str) -> None:
        if not self._has_hypertables:
            super().drop_empty_partitions(before)

    def back_up(self, path: Path, progress: Progress | None = None) -> None:
        if self._has_hypertables:  # Their chunks are in a schema of the extension.
            raise UnsupportedError(
                f"{self.location} has hypertables, whose rows are not in a pg_dump of the schema. "
                "Dump the whole database as TimescaleDB describes it, or copy the records into "
                "another one: curio-persistence copy"
            )
        super().back_up(path, progress)

    # --- statements ---------------------------------------------------------------------------

    def delete(self, table: Table[Any], where: Where, limit: int | None = None) -> int:
        if table.name not in REGISTRIES or not self._has_hypertables:
            return super().delete(table, where, limit)
        with self.transaction():
            if limit is not None:
                ids = [ident for (ident,) in self.select_columns(table, ("id",), where, limit)]
                where = (Filter("id", "in", tuple(ids)),)
            some = f"SELECT id FROM {self._table(table)}{self._where_text(shape(where))}"
            registry = self._qualified(REGISTRIES[table.name])
            self._write(f"DELETE FROM {registry} WHERE id IN ({some})", self._values(where))
            return super().delete(table, where)

    def _build_index(self, connection: Connection, name: str, sql: str) -> bool:
        if not self._has_hypertables or not any(f"{t.name}" in sql for t in TIMED):
            return super()._build_index(connection, name, sql)
        if self._is_valid(connection, name) is not None:
            return False
        columns, where, condition = sql.replace(" CONCURRENTLY", "", 1).partition(" WHERE ")
        by_chunk = f"{columns.rstrip(' ;')} WITH (timescaledb.transaction_per_chunk)"
        self._run(connection, f"{by_chunk}{where}{condition}", ())
        return True

    def _drop_index(self, connection: Connection, name: str) -> None:
        if self._has_hypertables:  # Those of its tables cannot be dropped CONCURRENTLY.
            self._run(connection, f"DROP INDEX IF EXISTS {self._qualified(name)}", ())
        else:
            super()._drop_index(connection, name)
