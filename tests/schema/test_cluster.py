"""The tables of a cluster of ClickHouse follow from those of one server."""

from __future__ import annotations

import pytest

from curio_persistence.backends.clickhouse.client import open_client
from tests.support.cluster_ddl import CLUSTER, files
from tests.support.replicas import new_replica_url


def test_the_tables_of_a_cluster_are_those_of_one_server() -> None:
    """Write them anew by `python -m tests.support.cluster_ddl`."""
    written = {path.name: path.read_text(encoding="utf-8") for path in CLUSTER.glob("*.sql")}
    assert written == files()


def test_every_table_is_replicated_and_sharded_by_run() -> None:
    for name, text in files().items():
        tables = text.count("CREATE TABLE")
        assert text.count("ON CLUSTER '{cluster}'") == tables, name
        assert text.count("ENGINE = Replicated") + text.count("ENGINE = Distributed") == tables
        assert "non_replicated" not in text
    assert "cityHash64(source_name, run_id)" in files()["runs.sql"]
    assert "cityHash64(source_name, run_id)" in files()["events.sql"]
    assert "cityHash64(source_name, ifNull(run_id, ''))" in files()["usage.sql"]


@pytest.mark.slow
def test_clickhouse_can_read_every_statement() -> None:
    """It has no Keeper here, without which such tables cannot be made."""
    client = open_client(new_replica_url(), create=True)
    for text in files().values():
        for statement in filter(str.strip, text.split(";\n")):
            [(read,)] = client.rows("SELECT formatQuery(%s)", (statement,))
            assert "ON CLUSTER" in read
    client.close()
