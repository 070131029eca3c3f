"""Store entries of the queue together, without those that the database refuses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

from curio_persistence.errors import (
    ClosedError,
    ConfigurationError,
    CorruptDatabaseError,
    InvalidValueError,
    MissingRunError,
    NotFoundError,
    SchemaMismatchError,
    StorageFullError,
    UnavailableError,
)
from curio_persistence.recording.repair import spelt_row
from curio_persistence.store.base import Store
from curio_persistence.store.table import Row, Table

_ROW_BYTES = 800
"""The memory of a row without its texts, in bytes."""


class Kind:
    """A kind of rows: the function that stores some of them, and their table.

    In one transaction rows are stored in the `order` of their kinds.
    """

    def __init__(
        self, order: int, table: Table[Any], store: Callable[[Sequence[Row]], object]
    ) -> None:
        self.order = order
        self.table = table
        self.store = store
        self._usual = tuple(name for name in table.content if name in table.always)
        self._rare = tuple(name for name in table.content if name not in table.always)
        self._columns = len(table.always)

    def size_of(self, rows: Sequence[Row]) -> int:
        """Return about how many bytes rows take in memory."""
        size = _ROW_BYTES * len(rows)
        for row in rows:
            names = self._usual if len(row) == self._columns else (*self._usual, *self._rare)
            for name in names:
                if text := row.get(name):
                    size += len(text)  # type: ignore[arg-type]  # No text column has numbers.
        return size


Kinds = Mapping[Hashable, Kind]

Entry = tuple[Kind, Sequence[Row], int]
"""Rows that are stored all or none, and their size in bytes."""

PASSING = (UnavailableError, StorageFullError)
"""Errors of the database that pass by themselves."""
STANDING = (
    ClosedError,
    ConfigurationError,
    CorruptDatabaseError,
    NotFoundError,
    SchemaMismatchError,
)
"""Errors of the database that stand until a person ends them. All others are of the rows."""


def store_entries(store: Store, entries: Sequence[Entry]) -> Iterator[tuple[int, Exception | None]]:
    """Store entries together, and in halves if the database refuses one of them.

    One that is refused alone is spelled out in ASCII, as a database's encoding may lack its
    characters. Yields how many entries are settled, or 1 and the error that refuses an entry.
    Raises errors that may pass.
    """
    try:
        _store_together(store, entries)
    except Exception as error:
        if isinstance(error, (*PASSING, *STANDING)) and not isinstance(error, MissingRunError):
            raise
        if len(entries) == 1:
            yield from _store_spelt(store, entries[0], error)
            return
    else:
        yield len(entries), None
        return
    middle = len(entries) // 2
    yield from store_entries(store, entries[:middle])
    yield from store_entries(store, entries[middle:])


def _store_spelt(
    store: Store, entry: Entry, refusal: Exception
) -> Iterator[tuple[int, Exception | None]]:
    """Store a refused entry spelled out in ASCII, if this changes it."""
    kind, rows, size = entry
    spelt = [spelt_row(kind.table, row) for row in rows]
    if isinstance(refusal, InvalidValueError) and spelt != list(rows):
        yield from store_entries(store, [(kind, spelt, size)])
    else:
        yield 1, refusal


def _store_together(store: Store, entries: Sequence[Entry]) -> None:
    rows: dict[Kind, list[Row]] = defaultdict(list)
    for kind, some, _ in entries:
        rows[kind] += some
    if len(rows) == 1:
        kind.store(rows[kind])  # One kind needs no transaction of ours.
        return
    with store.transaction():
        for kind in sorted(rows, key=lambda kind: kind.order):
            kind.store(rows[kind])
