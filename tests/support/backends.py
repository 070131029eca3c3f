"""The backends of this test run, and one PostgreSQL schema for many tests."""

from __future__ import annotations

import os
import uuid
from contextlib import closing

import psycopg2
from psycopg2 import sql

from curio_persistence import PostgresPersistence
from curio_persistence.backends.sql import migrations
from curio_persistence.tables import TABLES

VARIABLE = "CURIO_TEST_BACKENDS"
DEFAULT = ("memory", "sqlite", "postgres18")
ALL = (*DEFAULT, "sqlite_memory", "postgres16", "postgres15")


def chosen(*names: str) -> list[str]:
    """Return those of these backends that this run tests: `CURIO_TEST_BACKENDS=memory,sqlite`.

    Names that follow a space describe a variant: "sqlite analyzed" goes with "sqlite".
    """
    value = os.environ.get(VARIABLE, ",".join(DEFAULT))
    wanted = ALL if value == "all" else value.split(",")
    if unknown := set(wanted) - set(ALL):
        raise ValueError(f"{VARIABLE} names {sorted(unknown)}; known are {', '.join(ALL)} and all")
    return [name for name in names if name.partition(" ")[0] in wanted]


class PostgresSchema:
    """A schema with our tables, on a server that others use as well.

    Emptying the tables after each test is faster than creating them for each.
    """

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
