"""The tables of a replica in ClickHouse, and the versions of them that are refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from curio_persistence.backends.clickhouse import ddl
from curio_persistence.backends.clickhouse.address import read_address
from curio_persistence.backends.clickhouse.client import ClickHouseClient, open_client
from curio_persistence.backends.clickhouse.errors import not_opened
from curio_persistence.backends.sql import migrations
from curio_persistence.errors import (
    AccessDeniedError,
    ClosedError,
    ConfigurationError,
    InvalidValueError,
    MissingDatabaseError,
    SchemaMismatchError,
    UnavailableError,
)
from tests.support.replicas import chdb_directory, new_replica_url

_OF_THE_REPLICA = {"source_name", "version", "is_deleted", "is_odd"}
_TYPES = {
    "name": {"String", "LowCardinality(String)"},
    "text": {"String"},
    "integer": {"Int64"},
    "money": {"Int64"},
    "real": {"Float64"},
    "time": {"DateTime64(6, 'UTC')"},
}


@pytest.fixture
def client() -> Iterator[ClickHouseClient]:
    client = open_client(new_replica_url(), create=True)
    yield client
    client.close()


def test_every_replicated_table_has_the_columns_of_its_model(client: ClickHouseClient) -> None:
    ddl.upgrade(client)
    for table in ddl.REPLICATED:
        found = dict(_columns(client, table.name))
        assert found.keys() - _OF_THE_REPLICA == table.stored_names, table.name
        assert found["source_name"] == "LowCardinality(String)"
        for name in table.stored_names:
            kind = found[name].replace("Nullable(String)", "String")
            kind = kind.removeprefix("Nullable(").removesuffix(")" if "Nullable(" in kind else "")
            assert kind in _TYPES[table.kind_of(name)], (table.name, name)


def _columns(client: ClickHouseClient, table: str) -> list[tuple[str, str]]:
    sql = "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = %s"
    return [(name, kind) for name, kind in client.rows(sql, (table,))]


def test_the_steps_are_those_of_the_databases_that_are_replicated() -> None:
    steps, theirs = (
        [(step.version, step.name, step.kind) for step in migrations.migrations(dialect)]
        for dialect in (ddl.DIALECT, "sqlite")
    )
    assert steps == theirs


def test_the_steps_lead_to_the_tables_of_the_files() -> None:
    files = ("schema_migrations.sql", "replica.sql", *(table.ddl for table in ddl.REPLICATED))
    texts = (migrations.statements(ddl.DIALECT, name) for name in files)
    [first] = migrations.migrations(ddl.DIALECT)
    assert first.sql == "-- breaking: the first tables.\n\n" + "\n".join(texts)


def test_tables_are_made_once(client: ClickHouseClient) -> None:
    with pytest.raises(SchemaMismatchError, match="replicate --to"):
        ddl.check(client)
    for _ in range(2):
        ddl.upgrade(client)
        ddl.check(client)
    assert ddl.version(client) == migrations.migrations(ddl.DIALECT)[-1].version


def test_an_upgrade_that_was_killed_is_resumed(client: ClickHouseClient) -> None:
    first = migrations.statements(ddl.DIALECT, "schema_migrations.sql")
    client.script(first + "\n" + migrations.statements(ddl.DIALECT, "runs.sql"))
    with pytest.raises(SchemaMismatchError):
        ddl.check(client)
    ddl.upgrade(client)
    ddl.check(client)


def test_a_newer_replica_is_refused(client: ClickHouseClient) -> None:
    ddl.upgrade(client)
    client.command("INSERT INTO schema_migrations VALUES (999, 'later', 'breaking', '', 0)")
    for refused in (ddl.upgrade, ddl.check):
        with pytest.raises(SchemaMismatchError, match="999"):
            refused(client)


def test_tables_of_another_program_are_refused(client: ClickHouseClient) -> None:
    client.command("CREATE TABLE agents (name String) ENGINE = MergeTree ORDER BY name")
    for refused in (ddl.upgrade, ddl.check):
        with pytest.raises(SchemaMismatchError, match="did not make: agents"):
            refused(client)


def test_a_replica_without_one_of_its_tables_is_refused(client: ClickHouseClient) -> None:
    ddl.upgrade(client)
    client.command("DROP TABLE agent_run_events SYNC")
    for use in (ddl.check, ddl.upgrade):
        with pytest.raises(SchemaMismatchError, match="agent_run_events are gone"):
            use(client)


def test_values_come_back_as_they_were_bound(client: ClickHouseClient) -> None:
    values = ("it's \\ 100% \0 \n é ✓", 7, -1.5)
    assert client.rows("SELECT %s, %s, %s, '%%'", values) == [(*values, "%")]


def test_a_client_that_was_closed_says_so(client: ClickHouseClient) -> None:
    client.close()
    with pytest.raises(ClosedError, match="closed"):
        client.rows("SELECT 1")


def test_what_the_engine_refuses_is_a_typed_error(client: ClickHouseClient) -> None:
    with pytest.raises(InvalidValueError, match="Syntax error"):
        client.rows("SELEC 1")
    with pytest.raises(SchemaMismatchError, match="nowhere"):
        client.rows("SELECT 1 FROM nowhere")


def test_a_replica_that_does_not_exist_is_not_made(client: ClickHouseClient) -> None:
    with pytest.raises(MissingDatabaseError, match="never_made"):
        open_client(f"chdb://{chdb_directory()}?database=never_made")
    with pytest.raises(MissingDatabaseError, match="does not exist"):
        open_client("chdb:///nowhere/at/all")


def test_chdb_has_one_directory_in_a_process(client: ClickHouseClient) -> None:
    with pytest.raises(ConfigurationError, match="another directory"):
        open_client(f"chdb://{chdb_directory()}/other", create=True)


@pytest.mark.parametrize(
    "url",
    [
        "chdb://relative/path",
        "chdb://",
        "clickhouse://",
        "clickhouse://user:se/cret@host",
        "clickhouse://host?sauce=one",
        "clickhouse://host:port",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_client(url)
    assert "cret" not in str(caught.value)


def test_the_default_name_of_a_source_is_read_as_it_is_written() -> None:
    name = "2026-11-30T22:28:35.192358+00:00"
    assert read_address(f"chdb:///directory?source={name}").source == name


def test_a_server_that_is_away_is_an_error_without_the_password() -> None:
    with pytest.raises(UnavailableError, match="did not answer") as caught:
        open_client("clickhouse://user:secret@127.0.0.1:1/database")
    assert "secret" not in str(caught.value)


def test_a_user_who_may_set_nothing_is_told_what_it_needs() -> None:
    error = not_opened(Exception("Setting final is readonly"), "The replica")
    assert isinstance(error, AccessDeniedError)
    assert "readonly = 2" in str(error)
