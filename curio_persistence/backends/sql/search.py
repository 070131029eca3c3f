"""The full-text index in SQL: a table of documents and one of values.

The databases differ in how documents are stored and words are found.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from curio_persistence.store.search_index import SearchIndex

Rows = list[tuple[Any, ...]]

RUN = 0
"""The kind of record that knows itself whether it is indexed, because it changes."""


class SQLSearchIndex(SearchIndex):
    """Documents in a table. `qualified` returns the qualified name of a table of the store."""

    _value: ClassVar[str]
    """The placeholder of a value."""
    _any_of: ClassVar[str]
    """The condition that a whole number is one of those that `_numbers` binds."""

    def __init__(
        self,
        read: Callable[[str, tuple[Any, ...]], Rows],
        write: Callable[[str, tuple[Any, ...]], tuple[Rows, int]],
        qualified: Callable[[str], str],
    ) -> None:
        self._read = read
        self._write = write
        self._qualified = qualified
        self._documents = qualified("agent_search_documents")
        self._state = qualified("agent_search_state")
        self._of_records = f"kind = {self._value} AND record_id {self._any_of}"

    @abstractmethod
    def _numbers(self, values: Sequence[int]) -> str:
        """Return the one value that stands for several whole numbers."""

    def metadata(self) -> dict[str, str]:
        return dict(self._read(f"SELECT name, value FROM {self._state}", ()))

    def set_metadata(self, **values: str) -> None:
        for named in values.items():
            self._write(
                f"INSERT INTO {self._state} (name, value) VALUES ({self._value}, {self._value}) "
                "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                named,
            )

    def taken(self, slots: Sequence[int]) -> set[int]:
        sql = f"SELECT slot FROM {self._documents} WHERE slot {self._any_of}"
        return {slot for (slot,) in self._read(sql, (self._numbers(slots),))}

    def slots(self, kind: int, ids: Sequence[int]) -> dict[int, int]:
        sql = f"SELECT record_id, slot FROM {self._documents} WHERE {self._of_records}"
        return dict(self._read(sql, (kind, self._numbers(ids))))

    def remove(self, kind: int, ids: Sequence[int], words: Mapping[int, str]) -> None:
        sql = f"DELETE FROM {self._documents} WHERE {self._of_records}"
        self._write(sql, (kind, self._numbers(ids)))

    def unindexed(self, kind: int, table: str, upto: int) -> list[int]:
        indexed = "AND r.indexed_at IS NOT NULL " if kind == RUN else ""
        rows = self._read(
            f"SELECT r.id FROM {self._qualified(table)} r WHERE r.id <= {self._value} {indexed}"
            f"AND NOT EXISTS (SELECT 1 FROM {self._documents} d "
            f"WHERE d.kind = {self._value} AND d.record_id = r.id)",
            (upto, kind),
        )
        return [ident for (ident,) in rows]

    def orphans(self, kind: int, table: str) -> list[int]:
        rows = self._read(
            f"SELECT record_id FROM {self._documents} WHERE kind = {self._value} AND NOT EXISTS "
            f"(SELECT 1 FROM {self._qualified(table)} r WHERE r.id = record_id)",
            (kind,),
        )
        return [ident for (ident,) in rows]

    def clear(self) -> None:
        self._write(f"DELETE FROM {self._documents}", ())
