"""Replace the tables of an original Curio by today's tables.

All of it is one transaction: other connections see the old tables or the new ones, and a crash
leaves the old ones unchanged.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from curio_persistence.backends.sql import migrations
from curio_persistence.backends.sql.store import SQLStore
from curio_persistence.errors import BusyError, CorruptDatabaseError, SchemaMismatchError
from curio_persistence.store.filters import Filter
from curio_persistence.store.table import Row, StoredValue, Table
from curio_persistence.tables import EVENTS, RUNS, TABLES_OF_RUNS

ASIDE = "_before_import"
"""The suffix of the old tables while, and where, they stay."""
_ROWS = 2_000
"""The rows to copy at a time."""

OldRow = tuple[Any, ...]


class Original(SQLStore):
    """A store with the tables of an original Curio, opened for an import."""

    _aside = ""
    """The present suffix of the old tables."""
    _found: Mapping[str, frozenset[str]]

    def is_imported(self) -> bool:
        """Return whether the tables are today's; raise SchemaMismatchError if they are neither."""
        catalog = self._catalog()
        self._tables_are_ours = True  # Or will be: writes here go into them.
        if catalog.applied:
            return True
        if not migrations.is_original(catalog.tables):
            found = ", ".join(sorted(catalog.tables)) or "none"
            raise SchemaMismatchError(
                f"{self.location} has no tables of an original Curio, of which there are "
                "agent_runs, agent_run_events and agent_llm_usage. "
                f"Found under such names: {found}.",
                found=found,
                wanted="the tables of an original Curio",
            )
        self._found = catalog.tables
        return False

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Make the old rows readable inside the block, without any change."""
        yield

    @abstractmethod
    def replacing(self) -> AbstractContextManager[str]:
        """Make old rows readable and new rows writable inside the block, then swap the tables.

        Yields the name of the backup of the old tables. If the block raises, nothing changes.
        """

    def _old_value(self, column: str) -> str:
        """Return the expression that yields an old value in a form the driver can return."""
        return column

    def columns(self, table: Table[Any]) -> tuple[str, ...]:
        """Return the columns of an old table that are copied, besides the id."""
        found = self._found.get(table.name, frozenset())
        return tuple(name for name in table.always if name in found)

    def left_out(self, table: Table[Any]) -> tuple[str, ...]:
        """Return the columns of an old table that no known original Curio had."""
        found = self._found.get(table.name, frozenset())
        return tuple(sorted(found - {"id", *table.always}))

    def count_old(self, table: Table[Any]) -> int:
        if table.name not in self._found:
            return 0
        [(count,)] = self._read(f"SELECT count(*) FROM {self._old(table)}", ())
        return int(count)

    def count_strays(self) -> int:
        """Count the runs that only events name."""
        if EVENTS.name not in self._found:
            return 0
        [(count,)] = self._read(
            f"SELECT count(DISTINCT coalesce(e.run_id, '')) FROM {self._old(EVENTS)} e "
            f"WHERE NOT EXISTS (SELECT 1 FROM {self._old(RUNS)} r WHERE r.run_id = e.run_id)",
            (),
        )
        return int(count)

    def old_rows(self, table: Table[Any]) -> Iterator[list[OldRow]]:
        """Yield the old rows by id, in chunks: the id, then `columns`."""
        if table.name not in self._found:
            return
        values = ", ".join(("id", *map(self._old_value, self.columns(table))))
        select = f"SELECT {values} FROM {self._old(table)}"
        end = f" ORDER BY id LIMIT {_ROWS}"
        rows = self._read(select + end, ())
        while rows:
            yield rows
            rows = self._read(f"{select} WHERE id > {self.placeholder}{end}", (rows[-1][0],))

    def unknown_runs(self, run_ids: Iterable[StoredValue]) -> set[StoredValue]:
        """Return the runs without a new row."""
        asked = tuple(dict.fromkeys(run_ids))
        known = self.select_columns(RUNS, ("run_id",), (Filter("run_id", "in", asked),))
        return set(asked).difference(run_id for (run_id,) in known)

    def keep(self, table: Table[Any], ids: Sequence[int], rows: list[Row]) -> None:
        """Store rows under new last ids, read them back, and compare: each must be equal."""
        rows = [{**row, "id": ident} for ident, row in zip(ids, rows, strict=True)]
        self.insert_many(table, rows)
        columns, lines = table.align(rows)
        stored = self.select_columns(table, columns, (Filter("id", ">=", ids[0]),))
        if set(stored) != set(lines):
            raise self._differs(f"rows of {table.name} do not read back")

    def check_counts(self, stubs: int) -> None:
        """Raise unless the new tables have all old rows, and so many more runs."""
        for table in TABLES_OF_RUNS:
            expected = self.count_old(table) + (stubs if table is RUNS else 0)
            found = self.count(table)
            if found != expected:
                raise self._differs(f"{table.name} has {found} rows and not {expected}")

    def _differs(self, what: str) -> CorruptDatabaseError:
        return CorruptDatabaseError(
            f"{self.location} was not imported: when it was checked, {what}. Nothing was changed. "
            "Look for damage, with the tools of the database."
        )

    def _old(self, table: Table[Any]) -> str:
        return self._qualified(table.name + self._aside)

    @contextmanager
    def _old_ones_aside(self) -> Iterator[None]:
        """Rename the old tables and create the new ones for the time of the block."""
        if self.is_imported():  # Checked again, now that other connections cannot import.
            raise BusyError(f"{self.location} was imported by another process at this moment.")
        self._put_aside()
        self._aside = ASIDE
        tables, indexes = migrations.indexes_apart(self.dialect)
        try:
            self._run_script(tables)
            yield
            self._run_script(indexes)
            for step in migrations.migrations(self.dialect):
                self._note(step)
        finally:
            self._aside = ""

    @abstractmethod
    def _put_aside(self) -> None:
        """Rename the old tables."""
