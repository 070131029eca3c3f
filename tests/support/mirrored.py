"""A database in memory whose readings are answered by its replica in ClickHouse.

So the tests of readings, which write and then ask, hold for the replica as well. What it does not
have, and what is read inside a transaction, memory answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

import pyarrow as pa

from curio_persistence.backends.clickhouse import ddl
from curio_persistence.backends.clickhouse.client import open_client
from curio_persistence.backends.clickhouse.sink import APPENDED
from curio_persistence.backends.clickhouse.store import ClickHouseStore
from curio_persistence.backends.memory.store import MemoryStore
from curio_persistence.store.base import Store
from curio_persistence.store.filters import GroupKey, Measure, Where
from curio_persistence.store.query import Query, ReadRows, query_of
from curio_persistence.store.table import Columns, Table
from tests.support.replicas import new_replica_url

_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_MICROSECOND = timedelta(microseconds=1)
_TYPES = {
    "integer": pa.int64(),
    "money": pa.int64(),
    "real": pa.float64(),
    "time": pa.timestamp("us", "UTC"),
}

_REPLICATED = frozenset(table.name for table in ddl.REPLICATED)

_free: list[Replica] = []
"""Replicas that tests have left: to make one takes longer than to fill it."""


class Replica:
    """Tables of ClickHouse that are filled anew with the rows of a store."""

    def __init__(self) -> None:
        self.url = new_replica_url()
        self._client = open_client(self.url, create=True)
        ddl.upgrade(self._client)
        self._sent: dict[str, Columns] = {}

    def fill(self, read: Any) -> None:
        """Replace the rows of the tables that have changed since the last time."""
        for table in ddl.REPLICATED:
            part = _whole(table)
            columns = read(query_of(part), None, 0)
            if self._sent.get(table.name, [()] * len(part.names)) != columns:
                self._client.command(f"TRUNCATE TABLE {table.name}")
                if len(columns[0]):
                    self._client.insert(table.name, arrow_of(part, columns))
                self._sent[table.name] = columns


def _whole(table: Table[Any]) -> Table[Any]:
    return table.part(*table.names, *sorted(table.stored_names - {*table.names, "content_scope"}))


def arrow_of(table: Table[Any], columns: Columns, source: str = "main") -> pa.Table:
    """Return rows, in stored form, as they are inserted."""
    arrays = {
        name: _array(table.kind_of(name), c) for name, c in zip(table.names, columns, strict=True)
    }
    count = len(columns[0])
    arrays["source_name"] = pa.array([source] * count, pa.string())
    if table.name not in APPENDED:
        arrays["version"] = pa.array([1] * count, pa.uint64())
    return pa.table(arrays)


def _array(kind: str, values: Sequence[Any]) -> pa.Array:
    if kind == "time":
        values = [
            None if v is None else (datetime.fromisoformat(v) - _EPOCH) // _MICROSECOND
            for v in values
        ]
    return pa.array(values, _TYPES.get(kind, pa.string()))


def _microseconds(time: str) -> int:
    return (datetime.fromisoformat(time) - _EPOCH) // _MICROSECOND


class MirroredStore(MemoryStore):
    """Memory that asks its replica."""

    def __init__(self) -> None:
        super().__init__()
        self._replica = _free.pop() if _free else Replica()
        self._asked = ClickHouseStore(self._replica.url)
        self._unindexed = MemoryStore()
        self._filling = Lock()
        self._writes = 0
        self._replicated_at = -1
        self._closed = False

    @property
    def candidates(self) -> None:
        return None

    @property
    def indexed(self) -> Store:
        return self._unindexed

    def _do(self, do: Callable[[], object], undo: Callable[[], object]) -> None:
        self._writes += 1
        super()._do(do, undo)

    def _answers(self, table: Table[Any]) -> bool:
        """Bring the replica up to date, if it has the table, and return whether it has."""
        if self._is_inside() or table.name not in _REPLICATED:
            return False
        self._replicate()
        return True

    def _replicate(self) -> None:
        """Fill the replica, if anything has changed since it was filled for this store."""
        with self._filling:
            changes = self._writes
            if changes != self._replicated_at:
                self._replica.fill(super().select_query)
                self._replicated_at = changes

    def select_query(self, query: Query, limit: int | None, offset: int) -> Columns:
        if self._answers(query.table):
            return self._asked.select_query(query, limit, offset)
        return super().select_query(query, limit, offset)

    def stream_query(self, query: Query, size: int) -> Iterator[Columns]:
        if self._answers(query.table):
            return self._asked.stream_query(query, size)
        return super().stream_query(query, size)

    @contextmanager
    def snapshot(self) -> Iterator[ReadRows]:
        yield self.stream_query

    def select_columns(
        self,
        table: Table[Any],
        columns: tuple[GroupKey, ...],
        where: Where = (),
        limit: int | None = None,
    ) -> list[tuple[Any, ...]]:
        if self._answers(table):
            return self._asked.select_columns(table, columns, where, limit)
        return super().select_columns(table, columns, where, limit)

    def aggregate(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        where: Where = (),
        *,
        group_by: tuple[GroupKey, ...] = (),
    ) -> list[tuple[Any, ...]]:
        if self._answers(table):
            return self._asked.aggregate(table, measures, where, group_by=group_by)
        return super().aggregate(table, measures, where, group_by=group_by)

    def sizes(self, table: Table[Any], where: Where = ()) -> dict[str | None, tuple[int, int]]:
        if self._answers(table):
            return self._asked.sizes(table, where)
        return super().sizes(table, where)

    def close(self) -> None:
        super().close()
        self._asked.close()
        if not self._closed:
            self._closed = True
            _free.append(self._replica)
