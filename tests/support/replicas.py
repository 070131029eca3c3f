"""Replicas in chdb. A process has one directory of chdb open, and each test a database in it."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from datetime import datetime
from functools import cache
from itertools import count
from typing import Any

from curio_persistence.backends.clickhouse.client import open_client
from curio_persistence.backends.clickhouse.sink import APPENDED, SHIFT
from curio_persistence.replication.rows import FED
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Order
from curio_persistence.store.table import Table

_numbers = count()


@cache
def chdb_directory() -> str:
    """Return the directory of this process, which is removed when the process ends."""
    directory = tempfile.mkdtemp(prefix="chdb-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


def new_replica_url() -> str:
    """Return the URL of a replica that does not exist yet: in chdb, or on a server of your own."""
    server = os.environ.get("CURIO_TEST_CLICKHOUSE_URL")
    name = f"replica_{os.getpid()}_{next(_numbers)}"
    return f"{server or f'chdb://{chdb_directory()}'}?database={name}"


@cache
def shared_replica_url() -> str:
    """Return the URL of a replica for many tests, each of which has sources of its own in it."""
    return new_replica_url()


def assert_same(store: Store, url: str, source: str) -> None:
    """Compare all rows of all tables of a source with those of its replica."""
    client = open_client(url)
    try:
        for table in FED:
            assert _replicated_in(client, table, source) == _stored_in(store, table), table.name
    finally:
        client.close()


def _stored_in(store: Store, table: Table[Any]) -> list[dict[str, Any]]:
    """Return the rows of a source, in the order of their ids."""
    columns = store.select(table, order=(Order("id"),))
    return [dict(zip(table.names, row, strict=True)) for row in zip(*columns, strict=True)]


def _replicated_in(client: Any, table: Table[Any], source: str) -> list[dict[str, Any]]:
    """Return the rows of a replica, in the order of their ids, as a store returns them."""
    final = "" if table.name in APPENDED else "FINAL"
    found = client.rows(
        f"SELECT {', '.join(table.names)} FROM {table.name} {final} "
        "WHERE source_name = %s ORDER BY id",
        (source,),
    )
    rows = [dict(zip(table.names, map(_as_stored, row), strict=True)) for row in found]
    return [{**row, "id": row["id"] % 2**SHIFT} for row in rows]


def _as_stored(value: Any) -> Any:
    return encode_time(value) if isinstance(value, datetime) else value
