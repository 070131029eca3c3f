"""The backends of this test run, and one PostgreSQL schema for many tests."""

from __future__ import annotations

import os
import uuid

import psycopg2
from psycopg2 import sql

from curio_persistence import PostgresPersistence
from curio_persistence.backends.postgres.timed import Layout

VARIABLE = "CURIO_TEST_BACKENDS"
DEFAULT = ("memory", "sqlite", "postgres18")
TIMESCALE = "CURIO_TEST_TIMESCALE_DSN"
"""Names a server whose database has the extension timescaledb; without it, none is tested."""
ALL = (
    *(*DEFAULT, "sqlite_memory", "postgres16", "postgres15", "clickhouse"),
    *(("timescale",) if os.environ.get(TIMESCALE) else ()),
)
EVERYTHING = ("all", "matrix")
"""Names for all of them; in a matrix the oldest server has every test of the contract too."""


def chosen(*names: str) -> list[str]:
    """Return those of these backends that this run tests: `CURIO_TEST_BACKENDS=memory,sqlite`.

    Names that follow a space describe a variant: "sqlite analyzed" goes with "sqlite".
    """
    value = os.environ.get(VARIABLE, ",".join(DEFAULT))
    wanted = ALL if value in EVERYTHING else value.split(",")
    if unknown := set(wanted) - set(ALL):
        known = ", ".join((*ALL, *EVERYTHING))
        raise ValueError(f"{VARIABLE} names {sorted(unknown)}; known are {known}")
    return [name for name in names if name.partition(" ")[0] in wanted]


def is_matrix() -> bool:
    """Return whether this run has every test on every server."""
    return os.environ.get(VARIABLE) == "matrix"


def is_whole(name: str) -> bool:
    """Return whether a backend has every test in this run: it was named, or it is a matrix."""
    return is_matrix() or name in os.environ.get(VARIABLE, "").split(",")


# TRUNCATE replaces the files of each table and index; deleting few rows costs a hundredth of it.
_EMPTY = """
DO $$
DECLARE
    name TEXT;
BEGIN
    FOR name IN
        SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
        WHERE schemaname = {schema} AND tablename <> 'schema_migrations' ORDER BY tablename
    LOOP
        EXECUTE 'LOCK TABLE ' || name;
        IF pg_table_size(name::REGCLASS) < 1000000 THEN
            EXECUTE 'DELETE FROM ' || name;
        ELSE
            EXECUTE 'TRUNCATE ' || name || ' CASCADE';
        END IF;
    END LOOP;
    PERFORM setval(format('%I.%I', schemaname, sequencename), 1, FALSE) FROM pg_sequences
    WHERE schemaname = {schema} AND last_value IS NOT NULL;
END $$
"""


class PostgresSchema:
    """A schema with our tables, on a server that others use as well.

    Emptying the tables after each test is faster than creating them for each.
    """

    def __init__(self, dsn: str, layout: Layout = "plain") -> None:
        self.name = f"test_{uuid.uuid4().hex}"
        self._connection = psycopg2.connect(dsn, options="-c lock_timeout=5s")
        self._connection.autocommit = True
        PostgresPersistence(dsn=dsn, schema=self.name, layout=layout).close()

    def empty(self) -> None:
        """Delete every row; a table that a forgotten transaction still uses is an error."""
        self._run(sql.SQL(_EMPTY).format(schema=sql.Literal(self.name)))

    def drop(self) -> None:
        self._run(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(self.name)))
        self._connection.close()

    def _run(self, statement: sql.Composable) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
