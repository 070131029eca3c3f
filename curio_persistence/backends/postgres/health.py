"""Judge a PostgreSQL server for `diagnose()`: age, encoding, connections, dead rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

from curio_persistence.backends.sql import health
from curio_persistence.store.base import HealthCheck

# In one statement, so that an ailing server is asked once. Every user may count connections
# here, and nowhere else.
SERVER = """
    SELECT current_setting('server_version'), current_setting('server_version_num')::int / 10000,
        current_setting('server_encoding'),
        current_setting('max_connections')::int
            - current_setting('superuser_reserved_connections')::int
            - (SELECT sum(numbackends) FROM pg_catalog.pg_stat_database)::int,
        current_setting('data_checksums') = 'on',
        (SELECT coalesce(sum(checksum_failures), 0)::int FROM pg_catalog.pg_stat_database)
"""
_STORED = """
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_inherits i ON i.inhparent = c.oid
    CROSS JOIN LATERAL (SELECT coalesce(i.inhrelid, c.oid) AS oid) AS part
    WHERE n.nspname = %s AND c.relname = ANY(%s) AND c.relkind IN ('r', 'p')
"""
"""Our tables, or the partitions of those that have some."""
TABLES = f"""
    SELECT c.relname, sum(pg_catalog.pg_total_relation_size(part.oid))::bigint,
        sum(pg_catalog.pg_stat_get_live_tuples(part.oid))::bigint,
        sum(pg_catalog.pg_stat_get_dead_tuples(part.oid))::bigint
    {_STORED} GROUP BY c.relname ORDER BY c.relname
"""
NUMBERS = f"""
    SELECT (
        SELECT coalesce(sum(pg_catalog.pg_total_relation_size(part.oid)), 0)::bigint
        {_STORED}
    ), (
        CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
        ELSE pg_catalog.pg_current_wal_lsn() END - '0/0'
    )::bigint
"""
"""The bytes of our tables, and those that the server has written into its log."""
INDEXES = """
    SELECT c.relname, i.indisvalid AND i.indisready
    FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
    WHERE n.nspname = %s AND t.relname = ANY(%s)
"""
VIEWS = "SELECT viewname::text FROM pg_catalog.pg_views WHERE schemaname = %s"

_THURSDAY = 3

_MANY_DEAD = 50_000
"""Dead rows worth a warning, where at least a third of a table's rows are dead. Autovacuum begins
at a fifth."""


def _last_day(major: int) -> date:
    """Return the day of a version's last corrections: the second Thursday of a November.

    See www.postgresql.org/support/versioning.
    """
    november = date(2012 + major, 11, 1)
    return november + timedelta(days=7 + (_THURSDAY - november.weekday()) % 7)


class Server(NamedTuple):
    """A row that `SERVER` answers."""

    version: str
    major: int
    encoding: str
    places: int
    """Connections that the server still lets in."""
    has_checksums: bool = True
    failures: int = 0
    """Damaged pages that the server has met since its statistics were reset."""

    def engine(self, today: date) -> HealthCheck:
        if today <= _last_day(self.major):
            return HealthCheck("engine", "ok", f"PostgreSQL {self.version}")
        return HealthCheck(
            "engine",
            "warning",
            f"PostgreSQL {self.version} gets no corrections any more, not even of its security",
            "Upgrade the server, with pg_upgrade, or with pg_dump and pg_restore.",
        )

    def text(self) -> HealthCheck:
        if self.encoding == "UTF8":
            return HealthCheck("encoding", "ok", "UTF8")
        return HealthCheck(
            "encoding",
            "error",
            f"the database's encoding is {self.encoding}: much text cannot be stored",
            "Create a database with ENCODING 'UTF8' and move the tables there.",
        )

    def checksums(self) -> HealthCheck:
        """Check that pages have checksums, by which a server notices a bad disk."""
        if self.failures:
            return HealthCheck(
                "checksums",
                "error",
                f"{self.failures:,} damaged pages were read in this cluster",
                "Look into the server's log for the files, and restore a backup to another disk.",
            )
        if self.has_checksums:
            return HealthCheck("checksums", "ok", "the server checks each page that it reads")
        return HealthCheck(
            "checksums",
            "ok",
            "off: damage on the disk goes unnoticed (pg_checksums --enable, on a stopped server)",
        )

    def pool(self, milliseconds: float, in_use: int, idle: int, most: int) -> HealthCheck:
        wanted = most - in_use - idle
        said = (
            f"answers in {milliseconds:.2f} ms; {in_use} connections in use, {idle} idle, at most "
            f"{most}; the server has room for {max(self.places, 0):,} more"
        )
        if wanted <= self.places:
            return HealthCheck("pool", "ok", said)
        return HealthCheck(
            "pool",
            "warning",
            f"{said}, and the pool may want {wanted:,}",
            "Set DB_MAX_CONNECTIONS lower or the server's max_connections higher, or put pgbouncer "
            "before it.",
        )


def invalid_indexes(names: Sequence[str]) -> HealthCheck:
    """Report indexes that a failed CREATE INDEX CONCURRENTLY left behind."""
    return HealthCheck(
        "indexes",
        "warning",
        f"invalid: {', '.join(names)}; every write maintains them, and no query uses them",
        "With psql: " + "; ".join(f"REINDEX INDEX CONCURRENTLY {name}" for name in names),
    )


class TableSize(NamedTuple):
    """A row that `TABLES` answers."""

    name: str
    size: int
    live: int
    dead: int

    @property
    def is_bloated(self) -> bool:
        return self.dead >= _MANY_DEAD and 2 * self.dead >= self.live


def space(tables: Sequence[TableSize], schema: str) -> HealthCheck:
    """Check the size of the tables, and count the dead rows that vacuum left."""
    bloated = [table for table in tables if table.is_bloated]
    dead = sum(table.dead for table in tables)
    said = f"{health.size(sum(table.size for table in tables))}, with {dead:,} dead rows"
    if not bloated:
        return HealthCheck("space", "ok", said)
    return HealthCheck(
        "space",
        "warning",
        f"{said}: autovacuum does not keep up",
        "With psql: " + "; ".join(f'VACUUM (ANALYZE) {schema}."{each.name}"' for each in bloated),
    )
