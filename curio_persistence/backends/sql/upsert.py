"""Upserts as statements of many rows, in each of which a key occurs once."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from curio_persistence.errors import InvalidValueError
from curio_persistence.store.base import Store, Upserted
from curio_persistence.store.filters import Filter, Where
from curio_persistence.store.table import Row, Table

Key = tuple[Any, ...]
Found = dict[Key, tuple[int, bool]]
"""By key the id of a row, and True where the row is new."""

_AT_ONCE = 500


class SQLUpsert(Store):
    """A store whose database has INSERT … ON CONFLICT."""

    @abstractmethod
    def _write(self, sql: str, params: tuple[Any, ...]) -> tuple[list[tuple[Any, ...]], int]:
        """Run one writing statement, and return its rows."""

    @abstractmethod
    def _insert_text(self, table: Table[Any], columns: tuple[str, ...], rows: int = 1) -> str:
        """Return the text of an INSERT of so many rows."""

    @abstractmethod
    def _newness(self, table: Table[Any]) -> tuple[str, tuple[Any, ...]]:
        """Return the expression that tells inserted rows from updated ones."""

    def upsert(
        self,
        table: Table[Any],
        rows: Sequence[Row],
        *,
        key: tuple[str, ...],
        update: tuple[str, ...] = (),
    ) -> Upserted:
        keys = [tuple(map(row.get, key)) for row in rows]
        ids, new = [0] * len(rows), [True] * len(rows)
        try:
            with self.transaction():
                # A row with NULL in its key conflicts with no other row.
                apart = [at for at, values in enumerate(keys) if None in values]
                for at, ident in zip(
                    apart, self.insert_many(table, [rows[at] for at in apart]), strict=True
                ):
                    ids[at] = ident
                for some in _rounds(keys):
                    found = self._upsert_each(table, key, update, [rows[at] for at in some])
                    for at in some:
                        ids[at], new[at] = found[keys[at]]
        except InvalidValueError:
            return super().upsert(table, rows, key=key, update=update)  # Names the row.
        return Upserted(ids, new)

    def _upsert_each(
        self, table: Table[Any], key: tuple[str, ...], update: tuple[str, ...], rows: list[Row]
    ) -> Found:
        """Upsert rows of different keys by one statement."""
        columns, lines = table.align(rows)
        is_new, params = self._newness(table)
        written, _ = self._write(
            f"{self._insert_text(table, columns, len(rows))} {_on_conflict(table, key, update)} "
            f"RETURNING {', '.join((*key, 'id', is_new))}",
            (*chain.from_iterable(lines), *params),
        )
        found: Found = {tuple(row[:-2]): (row[-2], bool(row[-1])) for row in written}
        if len(found) == len(rows):
            return found
        # A row that was stored before and is not updated is not returned either.
        left = [row for row in rows if tuple(map(row.get, key)) not in found]
        for where in _having(key, left):
            stored = self.select_columns(table, (*key, "id"), where)
            found.update((tuple(values), (ident, False)) for *values, ident in stored)
        deleted = [row for row in left if tuple(map(row.get, key)) not in found]
        return found | self._upsert_each(table, key, update, deleted) if deleted else found


def _on_conflict(table: Table[Any], key: tuple[str, ...], update: tuple[str, ...]) -> str:
    nullable = " AND ".join(f"{name} IS NOT NULL" for name in table.nullable(key))
    target = f"({', '.join(key)})" + (f" WHERE {nullable}" if nullable else "")
    changes = ", ".join(f"{name} = excluded.{name}" for name in update)
    return f"ON CONFLICT {target} DO {f'UPDATE SET {changes}' if update else 'NOTHING'}"


def _having(key: tuple[str, ...], rows: list[Row]) -> Iterable[Where]:
    """Yield filters for rows of these keys."""
    if len(key) == 1:
        return [(Filter(key[0], "in", tuple(row[key[0]] for row in rows)),)]
    return (tuple(Filter(name, "=", row[name]) for name in key) for row in rows)


def _rounds(keys: Sequence[Key]) -> Iterator[list[int]]:
    """Yield positions in groups in which no key is repeated, sorted by key.

    Without one order, two statements could deadlock.
    """
    rounds: dict[int, list[int]] = defaultdict(list)
    seen: dict[Key, int] = defaultdict(int)
    for at, values in enumerate(keys):
        if None not in values:
            rounds[seen[values]].append(at)
            seen[values] += 1
    for positions in rounds.values():
        positions.sort(key=keys.__getitem__)
        for first in range(0, len(positions), _AT_ONCE):
            yield positions[first : first + _AT_ONCE]
