"""The current tables, and the steps that lead to them."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from curio_persistence.backends.sql import migrations
from curio_persistence.store.codecs import encode_time
from curio_persistence.tables import ALL_TABLES
from tests.schema.conftest import Database, Make, SQLiteFile, Versions
from tests.support.one_of_each import insert_one_of_each

PLACES = {"sqlite": "sqlite_file", "postgres": "postgres_schema"}
DIALECTS = tuple(PLACES)


def test_the_steps_lead_to_the_same_tables_as_a_fresh_start(make: Make) -> None:
    fresh, migrated = make(), make()
    fresh.run(migrations.fresh(fresh.dialect))
    for step in migrations.migrations(migrated.dialect):
        migrated.run(step.sql)
    assert fresh.catalog() == migrated.catalog()
    assert fresh.columns() == migrated.columns()


def test_opening_creates_the_tables_of_a_fresh_start(make: Make) -> None:
    fresh, opened = make(), make()
    fresh.run(migrations.fresh(fresh.dialect))
    opened.open().close()
    assert fresh.catalog() == opened.catalog()


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE {schema}.agent_runs ADD COLUMN flavour TEXT",
        "ALTER TABLE {schema}.agent_runs ADD COLUMN flavour INTEGER",
        "ALTER TABLE {schema}.agent_runs ADD COLUMN flavour TEXT DEFAULT 'sweet'",
        "ALTER TABLE {schema}.agent_runs ADD COLUMN flavour TEXT NOT NULL DEFAULT 'sweet'",
        "ALTER TABLE {schema}.agent_runs ADD COLUMN flavour TEXT CHECK (flavour <> '')",
        "ALTER TABLE {schema}.agent_runs ADD COLUMN flavour TEXT "
        "REFERENCES {schema}.agent_runs (run_id)",
        "CREATE TABLE {schema}.more (flavour TEXT)",
        "CREATE VIEW {schema}.more AS SELECT 1 AS flavour",
        "DROP INDEX {schema}.agent_runs_by_time",
        "DROP VIEW {schema}.tool_calls",
        "DROP TABLE {schema}.agent_search_state",
    ],
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_comparison_detects_every_kind_of_difference(
    request: pytest.FixtureRequest, dialect: str, change: str
) -> None:
    """Otherwise it would prove nothing."""
    place: Database = request.getfixturevalue(PLACES[dialect])
    place.run(migrations.fresh(dialect))
    before = place.catalog()
    place.run(change)
    assert place.catalog() != before


def test_the_columns_are_those_of_the_models_and_nothing_else(database: Database) -> None:
    database.open().close()
    columns = {table: set(names) for table, names in database.columns().items()}
    assert columns.pop(migrations.MIGRATIONS_TABLE) == set(migrations.Migration._fields[:4]) | {
        "applied_at"
    }
    for name in (*migrations.SEARCH_TABLES, *migrations.VIEWS):
        del columns[name]
    assert columns == {table.name: table.stored_names for table in ALL_TABLES}


def test_every_database_has_the_same_columns_in_the_same_order(
    database: Database, sqlite_file: SQLiteFile
) -> None:
    database.open().close()
    sqlite_file.open().close()
    here, there = database.columns(), sqlite_file.columns()
    for columns in (here, there):
        for name in migrations.SEARCH_TABLES:
            del columns[name]
    assert here == there


def test_both_dialects_have_the_same_steps() -> None:
    sqlite, postgres = (
        [(step.version, step.name, step.kind) for step in migrations.migrations(dialect)]
        for dialect in DIALECTS
    )
    assert sqlite == postgres


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_steps_are_numbered_from_one_and_state_their_kind(dialect: str) -> None:
    steps = migrations.migrations(dialect)
    assert [step.version for step in steps] == list(range(1, len(steps) + 1))
    for step in steps:
        assert step.sql.startswith(("-- additive: ", "-- breaking: ")), step.name


def test_a_step_without_a_kind_counts_as_breaking(versions: Versions) -> None:
    """That is the safe interpretation of a forgotten line."""
    with versions.having(forgotten="ALTER TABLE {schema}.agent_runs ADD COLUMN flavour TEXT;"):
        for dialect in DIALECTS:
            assert migrations.migrations(dialect)[-1].kind == "breaking"


TIMES = [(table.name, column) for table in ALL_TABLES for column in table.encoded_by(encode_time)]
OTHER_FORMS = (
    "2026-11-20",
    "2026-11-20 10:30:00.000000+00:00",
    "2026-11-20T10:30:00+00:00",
    "2026-11-20T10:30:00.000000Z",
    "2026-11-20T10:30:00.000000+01:00",
    "2026-11-20T10:30:00.000000+00:00 ",
    "",
)


@pytest.mark.parametrize(("table", "column"), TIMES)
def test_sqlite_refuses_any_other_form_of_a_time(
    sqlite_file: SQLiteFile, table: str, column: str
) -> None:
    """Otherwise the order of the texts would not be the order of the times."""
    with sqlite_file.open() as persistence:
        insert_one_of_each(persistence._store)
    with closing(sqlite_file.connect()) as connection:
        for time in OTHER_FORMS:
            with pytest.raises(sqlite3.IntegrityError, match="CHECK constraint failed"):
                connection.execute(f"UPDATE {table} SET {column} = ?", (time,))
