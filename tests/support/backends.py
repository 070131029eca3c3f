"""One PostgreSQL schema for many tests: emptying its tables is faster than making them anew."""

from __future__ import annotations

import uuid
from contextlib import closing

import psycopg2
from psycopg2 import sql

from curio_persistence import PostgresPersistence
from curio_persistence.backends.sql import migrations
from curio_persistence.tables import TABLES


class PostgresSchema:
    """A schema with our tables, on a server that others use as well."""

    def __init__(self, dsn: str) -> None:
        self.name = f"test_{uuid.uuid4().hex}"
        self._dsn = dsn
        PostgresPersistence(dsn=dsn, schema=self.name).close()

    def empty(self) -> None:
        """Delete every row; a table that a forgotten transaction still uses is an error."""
        names = (*(table.name for table in TABLES), *migrations.SEARCH_TABLES["postgres"])
        tables = sql.SQL(", ").join(sql.Identifier(self.name, name) for name in names)
        self._run(sql.SQL("TRUNCATE {} RESTART IDENTITY").format(tables))

    def drop(self) -> None:
        self._run(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(self.name)))

    def _run(self, statement: sql.Composable) -> None:
        with (
            closing(psycopg2.connect(self._dsn)) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("SET lock_timeout = '5s'")
            cursor.execute(statement)
