"""Store entries of the queue together, without those that the database refuses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from curio_persistence.errors import (
    ClosedError,
    ConfigurationError,
    CorruptDatabaseError,
    MissingRunError,
    NotFoundError,
    SchemaMismatchError,
    StorageFullError,
    UnavailableError,
)
from curio_persistence.store.base import Store
from curio_persistence.store.table import Row, Table

Entry = tuple[Table[Any], Sequence[Row], int]
"""Rows that are stored all or none, and their size in bytes."""

Appends = Mapping[Table[Any], Callable[[Sequence[Row]], object]]
"""For each table the function that stores its rows."""

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


def store_entries(
    store: Store, appends: Appends, entries: Sequence[Entry]
) -> Iterator[tuple[int, Exception | None]]:
    """Store entries together, and in halves if the database refuses one of them.

    Yields how many entries are settled, or 1 and the error that refuses an entry. Raises errors
    that may pass.
    """
    try:
        _store_together(store, appends, entries)
    except Exception as error:
        if isinstance(error, (*PASSING, *STANDING)) and not isinstance(error, MissingRunError):
            raise
        if len(entries) == 1:
            yield 1, error
            return
    else:
        yield len(entries), None
        return
    middle = len(entries) // 2
    yield from store_entries(store, appends, entries[:middle])
    yield from store_entries(store, appends, entries[middle:])


def _store_together(store: Store, appends: Appends, entries: Sequence[Entry]) -> None:
    rows: dict[Table[Any], list[Row]] = defaultdict(list)
    for table, some, _ in entries:
        rows[table] += some
    if len(rows) == 1:
        appends[table](rows[table])  # One append is a transaction anyway.
        return
    with store.transaction():
        for table, some in rows.items():
            appends[table](some)
