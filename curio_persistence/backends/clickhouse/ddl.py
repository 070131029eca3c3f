"""Create and upgrade the tables of a replica, and refuse those of another version."""

from __future__ import annotations

from curio_persistence.backends.clickhouse.client import ClickHouseClient
from curio_persistence.backends.sql.migrations import (
    MIGRATIONS_TABLE,
    Catalog,
    Migration,
    migrations,
    outdated,
    refuse_newer,
)
from curio_persistence.clock import utc_now
from curio_persistence.errors import SchemaMismatchError
from curio_persistence.store.codecs import encode_time
from curio_persistence.tables import EXPIRED_TOTALS, TABLES, TOMBSTONES

DIALECT = "clickhouse"
REPLICATED = (*TABLES, EXPIRED_TOTALS, TOMBSTONES)
"""The tables whose rows a replica has. Their steps have the numbers of those of the sources."""
SOURCES = "replica_sources"
SYNC = "replica_sync"
_OURS = {MIGRATIONS_TABLE, SOURCES, SYNC, *(table.name for table in REPLICATED)}


def upgrade(client: ClickHouseClient) -> None:
    """Make the tables, or bring them up to date. Only the replicator does so."""
    catalog = _catalog(client)
    _refuse_foreign(catalog, client)
    refuse_newer(catalog, migrations(DIALECT), client.location)
    for step in migrations(DIALECT):
        if step.version not in {each.version for each in catalog.applied}:
            client.script(step.sql)
            client.command(
                f"INSERT INTO {MIGRATIONS_TABLE} VALUES (%s, %s, %s, %s, %s)",
                (*step[:4], encode_time(utc_now())[:-6]),
            )
    _refuse_incomplete(_catalog(client), client)


def check(client: ClickHouseClient) -> None:
    """Raise SchemaMismatchError unless the tables are those that this version reads."""
    catalog = _catalog(client)
    _refuse_foreign(catalog, client)
    refuse_newer(catalog, migrations(DIALECT), client.location)
    if catalog.version < migrations(DIALECT)[-1].version:
        command = f"curio-persistence replicate --to {client.address.name} --once"
        raise outdated(catalog, DIALECT, client.location, command)
    _refuse_incomplete(catalog, client)


def version(client: ClickHouseClient) -> int:
    """Return the newest step of a replica; 0 without tables."""
    return _catalog(client).version


def _catalog(client: ClickHouseClient) -> Catalog:
    """Return which of our tables a replica has, and the steps that made them."""
    found = client.rows("SELECT name FROM system.tables WHERE database = currentDatabase()")
    tables = {name: frozenset[str]() for (name,) in found if name in _OURS}
    applied = []
    if MIGRATIONS_TABLE in tables:
        applied = client.rows(
            "SELECT DISTINCT version, name, kind, checksum "
            f"FROM {MIGRATIONS_TABLE} ORDER BY version"
        )
    return Catalog(tables, tuple(Migration(*row) for row in applied))


def _refuse_foreign(catalog: Catalog, client: ClickHouseClient) -> None:
    """Refuse tables of another program: ours begin with the table of steps."""
    if catalog.tables and MIGRATIONS_TABLE not in catalog.tables:
        names = ", ".join(sorted(catalog.tables))
        raise SchemaMismatchError(
            f"{client.location} has tables that curio_persistence did not make: {names}. Use "
            "another database.",
            found=names,
            wanted="no such tables, or those of a replica",
        )


def _refuse_incomplete(catalog: Catalog, client: ClickHouseClient) -> None:
    """Refuse a replica that lacks tables: it was copied in part, or a user dropped them.

    Its notes of how far each source was read are wrong then.
    """
    if missing := sorted(_OURS - catalog.tables.keys()):
        raise SchemaMismatchError(
            f"{client.location} is not whole: {', '.join(missing)} are gone. Remove it, or use "
            "another database or directory, and replicate its sources anew.",
            found=f"no {', '.join(missing)}",
            wanted="all tables of a replica",
        )
