"""A replica as a store, which is only read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Any, NoReturn

from curio_persistence.backends.clickhouse import ddl, health
from curio_persistence.backends.clickhouse.address import read_address
from curio_persistence.backends.clickhouse.client import ClickHouseClient
from curio_persistence.backends.clickhouse.payloads import ClickHousePayloads
from curio_persistence.backends.clickhouse.registry import seconds_behind, sources, waited_for
from curio_persistence.backends.memory.store import MemoryStore
from curio_persistence.backends.sql.migrations import MIGRATIONS_TABLE
from curio_persistence.backends.sql.queries import refused_query
from curio_persistence.errors import (
    InvalidValueError,
    NotFoundError,
    SchemaMismatchError,
    UnsupportedError,
)
from curio_persistence.store.base import HealthCheck, Replicated, Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Where
from curio_persistence.store.query import ReadRows
from curio_persistence.store.search_index import SearchIndex
from curio_persistence.store.table import Row, Table


class ClickHouseStore(ClickHousePayloads):
    """Reads the rows of the databases that are replicated, or of one of them.

    Rows of several have their numbers in their ids; see `sink.SHIFT`.
    """

    has_embeddings = False
    read_only = True

    def __init__(self, url: str) -> None:
        address = read_address(url)
        super().__init__(ClickHouseClient(address, settings=_settings(address.source)))
        self._nothing = MemoryStore()
        """No record of a replica waits for an index."""
        self._identity = ""

    def __repr__(self) -> str:
        return f"ClickHouseStore({self._client.address.name!r})"

    @property
    def location(self) -> str:
        return self._client.location

    @property
    def identity(self) -> str:
        if not self._identity:
            [(first,)] = self._read(f"SELECT min(applied_at) FROM {MIGRATIONS_TABLE}", ())
            self._identity = f"{first.isoformat()} {self._client.address.source or ''}"
        return self._identity

    @property
    def search_index(self) -> SearchIndex:
        return self._nothing.search_index

    @property
    def candidates(self) -> None:
        return None

    @property
    def indexed(self) -> Store:
        return self._nothing

    def schema_version(self) -> int:
        return ddl.version(self._client)

    def initialize(self) -> bool:
        ddl.check(self._client)
        source = self._client.address.source
        known = [each.name for each in sources(self._client)]
        if source is not None and source not in known:
            raise NotFoundError(
                f"{self.location} has no source {source!r}; it has {', '.join(known) or 'none'}."
            )
        return False

    @contextmanager
    def snapshot(self) -> Iterator[ReadRows]:
        # ClickHouse has none of several queries: what arrives meanwhile may be seen by the later.
        yield self.stream_query

    def sql(
        self, query: str, params: Sequence[Any], limit: int | None
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        try:
            names, rows = self._client.asked(query, params, limit)
        except (InvalidValueError, SchemaMismatchError) as error:
            raise refused_query(self.location, error) from error.__cause__
        return names, [tuple(map(_stored, row)) for row in rows]

    def diagnose(self, *, deep: bool = False) -> list[HealthCheck]:
        return health.checks(self._client)

    def engine_numbers(self) -> dict[str, int]:
        return {"database_bytes": health.database_bytes(self._client)}

    def replicated(self) -> list[Replicated]:
        only, behind = self._client.address.source, seconds_behind(self._client)
        return [
            Replicated(each.name, each.location, behind.get(each.name))
            for each in sources(self._client)
            if only in (None, each.name)
        ]

    def active_transactions(self, table: Table[Any]) -> frozenset[str] | None:
        # Rows that the replicator waits for come later than those with larger ids.
        return waited_for(self._client, table.name)

    def used_bytes(self) -> int:
        return health.database_bytes(self._client)

    def close(self) -> None:
        self._client.close()

    # --- what is not allowed ------------------------------------------------------------------

    def _refused(self) -> UnsupportedError:
        of = [each.location for each in self.replicated()]
        return UnsupportedError(
            f"{self.location} is a replica of {' and '.join(of) or 'nothing yet'}; write there."
        )

    def check_writable(self) -> NoReturn:
        raise self._refused()

    def insert(self, table: Table[Any], row: Row) -> NoReturn:
        raise self._refused()

    def update(
        self, table: Table[Any], where: Where, changes: Row, *, returning: tuple[str, ...] = ("id",)
    ) -> NoReturn:
        raise self._refused()

    def delete(self, table: Table[Any], where: Where, limit: int | None = None) -> NoReturn:
        raise self._refused()

    def compact(self) -> NoReturn:
        raise self._refused()

    def transaction(self) -> AbstractContextManager[None]:
        raise self._refused()

    def _is_inside(self) -> bool:
        return False

    def without_backups(self) -> UnsupportedError:
        return UnsupportedError(
            f"{self.location} has no backups: it is made anew from its sources by `replicate`. "
            "Back these up."
        )


def _settings(source: str | None) -> Mapping[str, Any]:
    """Return the settings for reading: of replaced rows the last, and of one source if asked."""
    if source is None:
        return {"final": 1}
    quoted = source.replace("\\", "\\\\").replace("'", "\\'")
    only = f"source_name = '{quoted}'".replace("\\", "\\\\").replace("'", "\\'")
    tables = ", ".join(f"'{table.name}': '{only}'" for table in ddl.REPLICATED)
    return {"final": 1, "additional_table_filters": f"{{{tables}}}"}


def _stored(value: Any) -> Any:
    """Return a value of a query in stored form: a number, text, bytes or None."""
    if isinstance(value, datetime):
        return encode_time(value)
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    return str(value)
