"""chdb does not survive a fork: a child says so, and ends, instead of waiting for ever."""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Iterator

import pytest

from curio_persistence.backends.clickhouse.client import ClickHouseClient, open_client
from curio_persistence.errors import ClosedError
from tests.support.children import Fork
from tests.support.replicas import new_replica_url


@pytest.fixture
def client() -> Iterator[ClickHouseClient]:
    client = open_client(new_replica_url(), create=True)
    yield client
    client.close()


def test_a_child_says_that_it_cannot_read_what_its_parent_reads(client: ClickHouseClient) -> None:
    def be_child() -> None:
        for _ in range(2):
            with pytest.raises(ClosedError, match="does not survive a fork"):
                client.rows("SELECT 1")
        with pytest.raises(ClosedError, match="does not survive a fork"):
            open_client(new_replica_url())

    assert client.rows("SELECT 1") == [(1,)]
    Fork(be_child).result()
    assert client.rows("SELECT 2") == [(2,)]


def test_a_child_of_a_process_with_chdb_ends(client: ClickHouseClient) -> None:
    child = multiprocessing.get_context("fork").Process(target=gc.collect)
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert client.rows("SELECT 1") == [(1,)]
