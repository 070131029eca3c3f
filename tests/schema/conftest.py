"""Databases with tables of other programs, and future versions of the library."""

from __future__ import annotations

import re
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import psycopg2
import pytest

from curio_persistence import Persistence, PostgresPersistence, SQLitePersistence
from curio_persistence.backends.postgres.ddl import adapted
from curio_persistence.backends.sql import migrations
from tests.conftest import PostgresServers
from tests.support.backends import chosen
from tests.support.children import ROOT

Rows = list[tuple[Any, ...]]


class Database(Protocol):
    """A place for tables, accessible through the library and without it.

    `{schema}.` in a statement is the schema of the tables. `catalog` describes the tables, and
    `state` everything including the rows: it is equal if nothing was changed.
    """

    dialect: str

    @property
    def url(self) -> str: ...

    def open(self, **options: Any) -> Persistence: ...

    def run(self, script: str) -> None: ...

    def ask(self, question: str) -> Rows: ...

    def columns(self) -> dict[str, list[str]]: ...

    def catalog(self) -> Rows: ...

    def state(self) -> object: ...

    def is_untouched(self) -> bool: ...


class SQLiteFile:
    """A SQLite file in a folder of its own."""

    dialect = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def url(self) -> str:
        return f"sqlite:///{quote(str(self.path))}"

    def open(self, **options: Any) -> Persistence:
        return SQLitePersistence(self.path, **options)

    def run(self, script: str) -> None:
        with closing(self.connect()) as connection:
            connection.executescript(script.replace("{schema}.", ""))

    def ask(self, question: str) -> Rows:
        with closing(self.connect()) as connection:
            return connection.execute(question.replace("{schema}.", "")).fetchall()

    def columns(self) -> dict[str, list[str]]:
        return _by_table(
            self.ask(
                "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c "
                "WHERE m.type IN ('table', 'view') AND m.name NOT LIKE 'sqlite~_%' ESCAPE '~' "
                "ORDER BY m.name, c.cid"
            )
        )

    def catalog(self) -> Rows:
        """Return the statements of SQLite's catalog without comments and layout."""
        rows = self.ask(
            "SELECT type, name, tbl_name, sql FROM sqlite_master "
            "WHERE name <> 'sqlite_sequence' ORDER BY type, name"
        )
        return [(*row, _without_layout(text or "")) for *row, text in rows]

    def state(self) -> object:
        """Return the bytes of the file and of SQLite's files beside it."""
        return {file.name: file.read_bytes() for file in self.path.parent.iterdir()}

    def is_untouched(self) -> bool:
        return not self.state()

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, isolation_level=None)


class PostgresSchema:
    """A schema of a database that other tests use too."""

    dialect = "postgres"

    def __init__(self, dsn: str, name: str) -> None:
        self.dsn = dsn
        self.name = name

    @property
    def url(self) -> str:
        return f"{self.dsn}&schema={self.name}"

    def open(self, **options: Any) -> Persistence:
        return PostgresPersistence(**{"dsn": self.dsn, "schema": self.name, **options})

    def run(self, script: str) -> None:
        self._ask(f'CREATE SCHEMA IF NOT EXISTS "{self.name}"')
        self._ask(script)

    def ask(self, question: str) -> Rows:
        return self._ask(question)

    def columns(self) -> dict[str, list[str]]:
        return _by_table(self._ask(_COLUMNS, self.name))

    def catalog(self) -> Rows:
        """Return the server's list of relations, columns, constraints, indexes, functions."""
        rows = [row for question in _CATALOG for row in self._ask(question, self.name)]
        return [tuple(str(value).replace(self.name, "…") for value in row) for row in rows]

    def state(self) -> object:
        rows = {table: self.ask(f'SELECT * FROM {{schema}}."{table}"') for table in self.columns()}
        return self._ask(_SCHEMA, self.name), self.catalog(), rows

    def is_untouched(self) -> bool:
        return not self._ask(_SCHEMA, self.name)

    def connect(self) -> psycopg2.extensions.connection:
        connection = psycopg2.connect(self.dsn)
        connection.autocommit = True
        return connection

    def _ask(self, statement: str, *parameters: str) -> Rows:
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            statement = adapted(statement, connection.server_version)
            cursor.execute(statement.replace("{schema}", f'"{self.name}"'), parameters or None)
            return cursor.fetchall() if cursor.description else []


_SCHEMA = "SELECT nspname, nspacl FROM pg_namespace WHERE nspname = %s"
_COLUMNS = (
    "SELECT table_name, column_name FROM information_schema.columns "
    "WHERE table_schema = %s ORDER BY table_name, ordinal_position"
)
_CATALOG = (
    "SELECT relname, relkind, relpersistence, reloptions FROM pg_class "
    "WHERE relnamespace = to_regnamespace(%s) ORDER BY relname",
    "SELECT a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, "
    "a.attidentity, a.attgenerated, a.attcollation, pg_get_expr(d.adbin, d.adrelid) "
    "FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
    "LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum "
    "WHERE c.relnamespace = to_regnamespace(%s) AND a.attnum > 0 AND NOT a.attisdropped "
    "ORDER BY c.relname, a.attnum",
    "SELECT conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint "
    "WHERE connamespace = to_regnamespace(%s) ORDER BY conrelid::regclass::text, conname",
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = %s ORDER BY indexname",
    "SELECT viewname, definition FROM pg_views WHERE schemaname = %s ORDER BY viewname",
    "SELECT proname, pg_get_functiondef(oid) FROM pg_proc "
    "WHERE pronamespace = to_regnamespace(%s) ORDER BY proname",
)


def _by_table(rows: Rows) -> dict[str, list[str]]:
    tables: dict[str, list[str]] = {}
    for table, column in rows:
        tables.setdefault(table, []).append(column)
    return tables


def _without_layout(text: str) -> str:
    words = " ".join(re.sub(r"--[^\n]*", "", text).split())
    return re.sub(r" ?([(),]) ?", r"\1", words)


Make = Callable[[], Database]


@pytest.fixture(params=chosen("sqlite", "postgres18", "postgres16", "postgres15"))
def make(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_servers: PostgresServers
) -> Iterator[Make]:
    """Creates empty databases of one kind."""
    made: list[str] = []

    def make_sqlite() -> Database:
        made.append(f"database {len(made)}")
        folder = tmp_path / made[-1]
        folder.mkdir()
        return SQLiteFile(folder / "agents.db")

    def make_postgres() -> Database:
        made.append(f"test_{uuid.uuid4().hex}")
        return PostgresSchema(postgres_servers.dsn(request.param), made[-1])

    if request.param == "sqlite":
        yield make_sqlite
        return
    yield make_postgres
    for name in made:
        postgres_servers.drop_schema(name)


@pytest.fixture
def database(make: Make) -> Database:
    return make()


@pytest.fixture
def sqlite_file(tmp_path: Path) -> SQLiteFile:
    folder = tmp_path / "a file of its own"
    folder.mkdir()
    return SQLiteFile(folder / "agents.db")


@pytest.fixture
def postgres_schema(postgres18: str, schema_name: str) -> PostgresSchema:
    return PostgresSchema(postgres18, schema_name)


class Versions:
    """Future versions of the library: today's `schema/` and further steps."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch

    @contextmanager
    def having(self, **steps: str) -> Iterator[None]:
        """In this block the installed version has these steps too, in order."""
        folder = self._folder / "_".join(steps)
        for dialect in ("sqlite", "postgres"):
            newest = migrations.migrations(dialect)[-1].version
            shutil.copytree(ROOT / "schema" / dialect, folder / dialect, dirs_exist_ok=True)
            for version, (name, text) in enumerate(steps.items(), start=newest + 1):
                _write_step(folder / dialect, f"{version:04}_{name}.sql", text)
        with self._monkeypatch.context() as patch:
            patch.setattr(migrations, "_folder", folder.joinpath)
            _forget_what_was_read()
            try:
                yield
            finally:
                _forget_what_was_read()


def _write_step(folder: Path, name: str, text: str) -> None:
    if folder.name == "sqlite":
        text = text.replace("{schema}.", "")
    (folder / "migrations" / name).write_text(text)
    with (folder / "usage.sql").open("a") as fresh:  # The last step that creates tables.
        fresh.write(text)


def _forget_what_was_read() -> None:
    migrations.migrations.cache_clear()
    migrations.fresh.cache_clear()


@pytest.fixture
def versions(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Versions:
    return Versions(tmp_path_factory.mktemp("versions"), monkeypatch)
