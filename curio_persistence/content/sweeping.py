"""Delete the long texts of a scope to which no row refers any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from curio_persistence.content.markers import addresses_in
from curio_persistence.content.resolving import SHARING, LongTexts
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter, Where
from curio_persistence.store.table import Table
from curio_persistence.tables import CONTENT, EVENTS, USAGE

ReadStored = Callable[[Table[Any], tuple[str, ...], Where], Iterable[Sequence[Any]]]
"""Returns the values of columns with their markers."""

_AT_ONCE = 1_000
_AFTER_ALL = "~"
"""Follows all addresses of a scope, whose characters come before it."""


def blobs_of(scope: str) -> Where:
    """Return the filters for the blobs of a scope."""
    return (Filter("address", ">=", scope), Filter("address", "<", scope + _AFTER_ALL))


def sweep(store: Store, read: ReadStored, scope: str) -> None:
    """Delete the blobs of a scope that nothing refers to; inside a transaction.

    A blob that another transaction is about to refer to is locked by that one, and stays.
    """
    stored = dict(store.select_columns(CONTENT, ("id", "address"), blobs_of(scope)))
    if not stored:
        return
    free = store.lock_rows(CONTENT, stored)  # First: what was stored before is seen below.
    wanted = {address for ident, address in stored.items() if ident not in free}
    wanted |= _referred_to(read, scope)
    kept = LongTexts(lambda where: store.select(CONTENT, where), wanted).reached
    dead = [ident for ident in free if stored[ident] not in kept]
    for at in range(0, len(dead), _AT_ONCE):
        store.delete(CONTENT, (Filter("id", "in", tuple(dead[at : at + _AT_ONCE])),))


def _referred_to(read: ReadStored, scope: str) -> set[str]:
    """Return the addresses in the rows that refer to blobs of a scope."""
    found = set[str]()
    for table in (EVENTS, USAGE):
        for row in read(table, tuple(SHARING[table.name]), (Filter("content_scope", "=", scope),)):
            found.update(address for text in row if text for address in addresses_in(text))
    return found
