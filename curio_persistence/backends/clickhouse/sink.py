"""Write the rows of one source into a replica, and note how far that source was read.

A row of `agent_run_events` or `agent_llm_usage` is inserted once. What is about to be inserted is
noted first, the intent: after a crash, those of its ids that are missing are inserted. Rows of the
other tables change; of several with one key, the one with the highest version counts.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from curio_persistence.backends.clickhouse.arrow import arrow_table
from curio_persistence.backends.clickhouse.client import ClickHouseClient
from curio_persistence.errors import BusyError
from curio_persistence.store.table import Columns, Table
from curio_persistence.tables import EVENTS, USAGE

APPENDED = (EVENTS.name, USAGE.name)
"""The tables whose rows are inserted once; those of others have a version."""
SHIFT = 48
"""The bits of an id that are the row's own; those above are the number of the source."""

_LISTED = 100_000
"""The values of one list in a statement."""
_ENDS_WITHIN = 120.0
"""Seconds that an insert of a killed replicator may go on in the server."""
_MOMENT = 0.1


Sums = tuple[int, int]


class Noted(NamedTuple):
    """A position in what is read of a source: the mark, and what is about to be inserted."""

    mark: str = ""
    intent: str = ""


class Sink:
    """Inserts and deletes the rows of one source in a replica."""

    def __init__(self, client: ClickHouseClient, source: str, number: int) -> None:
        self._client = client
        self.source = source
        self._number = number
        self._base = number << SHIFT
        rows = client.rows(
            "SELECT name, n, mark, intent FROM replica_sync FINAL WHERE source_name = %s", (source,)
        )
        self._noted = {name: Noted(*noted) for name, _, *noted in rows}
        self._version = max((version for _, version, *_ in rows), default=0)

    def next_version(self) -> int:
        """Return a number that is larger than those before, also in former processes."""
        self._version = max(time.time_ns() // 1_000, self._version + 1)
        return self._version

    # --- positions ----------------------------------------------------------------------------

    def noted(self, name: str) -> Noted:
        """Return what was noted under a name; nothing before the first time."""
        return self._noted.get(name, Noted())

    def note(self, positions: dict[str, Noted]) -> None:
        """Note positions under names, all or none."""
        version = self.next_version()
        rows = [(self.source, name, version, *each) for name, each in positions.items()]
        values = ", ".join(["(%s, %s, %s, %s, %s)"] * len(rows))
        self._client.command(
            f"INSERT INTO replica_sync (source_name, name, n, mark, intent) VALUES {values}",
            [value for row in rows for value in row],
        )
        self._noted |= positions

    # --- rows ---------------------------------------------------------------------------------

    def insert(self, table: Table[Any], columns: Columns, *, token: str | None = None) -> None:
        """Insert rows; those that an insert with the same token has inserted are left out.

        Without a token they are inserted whatever was inserted, and deleted, before.
        """
        if not columns[0]:
            return
        internal: dict[str, Any] = {"source_name": self.source}
        if table.name not in APPENDED:
            internal["version"] = self.next_version()
        rows = arrow_table(table, columns, self._base, internal)
        self._client.insert(table.name, rows, token=token or self.token(table))

    def token(self, table: Table[Any]) -> str:
        """Return a token for an insert."""
        return f"curio-{self._number}-{table.name}-{self.next_version()}"

    def wait_for(self, token: str) -> None:
        """Wait until the insert with a token, which a killed process began, has ended."""
        until = time.monotonic() + _ENDS_WITHIN
        running = "SELECT 1 FROM system.processes WHERE query_id = %s"
        while self._client.rows(running, (token,)):
            if time.monotonic() > until:
                raise BusyError(
                    f"{self._client.location} is still inserting rows of a replicator that has "
                    "ended. Try again later."
                )
            time.sleep(_MOMENT)

    def ids_between(self, table: Table[Any], first: int, end: int) -> set[int]:
        """Return the ids, from the first up to the end, of the rows that are here."""
        return {row[0] for row in self.rows_between(table, ("id",), first, end)}

    def ids_with(self, table: Table[Any], column: str, values: Collection[Any]) -> set[int]:
        """Return the ids of the rows with one of these values."""
        return {row[0] for row in self.rows_with(table, ("id",), column, values)}

    def rows_between(
        self, table: Table[Any], names: tuple[str, ...], first: int, end: int
    ) -> Iterator[tuple[Any, ...]]:
        """Yield some columns of the rows with ids from the first up to the end."""
        between = (self._base + first, self._base + end)
        return self._select(table, names, "id >= %s AND id < %s", between)

    def rows_with(
        self, table: Table[Any], names: tuple[str, ...], column: str, values: Collection[Any]
    ) -> Iterator[tuple[Any, ...]]:
        """Yield some columns of the rows with one of these values."""
        if column == "id":
            values = [self._base + ident for ident in sorted(values)]
        for some in _lists(values):
            yield from self._select(table, names, f"{column} IN %s", (some,))

    def _select(
        self, table: Table[Any], names: tuple[str, ...], condition: str, params: tuple[Any, ...]
    ) -> Iterator[tuple[Any, ...]]:
        wanted = ", ".join(f"id - {self._base}" if name == "id" else name for name in names)
        yield from self._client.rows(
            f"SELECT {wanted} FROM {_newest(table.name)} WHERE source_name = %s AND {condition}",
            (self.source, *params),
        )

    def totals(self, upto: Mapping[str, int]) -> dict[str, Sums]:
        """Return the number of rows, and the sum of their ids, of tables, each up to an id."""
        each = [
            f"SELECT '{name}', count(), sum(id - {self._base}) FROM {_newest(name)} "
            f"WHERE source_name = %s AND id <= {self._base + last}"
            for name, last in upto.items()
        ]
        rows = self._client.rows(" UNION ALL ".join(each), [self.source] * len(each))
        return {name: (count, total) for name, count, total in rows}

    def sums(self, table: Table[Any], upto: int, step: int) -> dict[int, Sums]:
        """Return the number of rows, and the sum of their ids, by `id // step`, up to an id."""
        found = self._client.rows(
            "SELECT intDiv(id - %s, %s) AS block, count(), sum(id - %s) "
            f"FROM {_newest(table.name)} WHERE source_name = %s AND id <= %s GROUP BY block",
            (self._base, step, self._base, self.source, self._base + upto),
        )
        return {block: (count, total) for block, count, total in found}

    def delete(self, table: Table[Any], ids: Collection[int]) -> None:
        """Delete rows by their ids."""
        self.delete_with(table, "id", [self._base + ident for ident in sorted(ids)])

    def delete_with(self, table: Table[Any], column: str, values: Collection[Any]) -> None:
        """Delete the rows with one of these values."""
        for some in _lists(values):
            self._client.command(
                f"DELETE FROM {table.name} WHERE source_name = %s AND {column} IN %s",
                (self.source, some),
            )

    def compact(self, tables: Iterable[Table[Any]]) -> None:
        """Rewrite what has deleted rows, or former versions of rows, so that nothing is left.

        ClickHouse removes the former files some minutes later.
        """
        for table in tables:
            if table.name in APPENDED:
                self._client.command(f"ALTER TABLE {table.name} APPLY DELETED MASK")
            else:
                self._client.command(f"OPTIMIZE TABLE {table.name} FINAL")


def _newest(name: str) -> str:
    """Return a table as it is read: of rows with versions, the newest."""
    return name if name in APPENDED else f"{name} FINAL"


def _lists(values: Collection[Any]) -> Iterator[tuple[Any, ...]]:
    """Yield values in lists that one statement may have."""
    every = tuple(values)
    for at in range(0, len(every), _LISTED):
        yield every[at : at + _LISTED]
