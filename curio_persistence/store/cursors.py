"""Cursors: the end of a page, as text that the caller hands back for the next page.

A cursor belongs to one query of one database. It holds the position of the page's last row, which
stays valid whatever is written meanwhile, and a digest of position, query and database.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode

from curio_persistence.errors import InvalidValueError
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Order, Where
from curio_persistence.store.query import Position

_DIGEST_BYTES = 9
_ALPHABET = b"._"
"""Two letters of base64 that a command line does not take for an option."""
_POSITION = json.JSONEncoder(separators=(",", ":"))


class Cursors:
    """The cursors of one query; `name` identifies the kind of query."""

    def __init__(self, store: Store, name: str, where: Where, order: tuple[Order, ...]) -> None:
        self._columns = len(order)
        # A window that moves with the clock is compared as the caller spelt it, so that the same
        # query asked later accepts the cursor.
        asked = sorted(((f.column, f.op, f.asked or f.value) for f in where), key=repr)
        self._query = repr((store.identity, name, asked, order)).encode()

    def write(self, position: Position) -> str:
        """Return the cursor for a position in the query's order."""
        from hashlib import blake2b  # Imported here: the import is slow.

        encoded = _POSITION.encode(position).encode()
        digest = blake2b(self._query + encoded, digest_size=_DIGEST_BYTES).digest()
        return b64encode(digest + encoded, _ALPHABET).decode().rstrip("=")

    def read(self, cursor: str) -> Position:
        """Return the position in a cursor; raises InvalidValueError for any other text."""
        try:
            padded = cursor + "=" * (-len(cursor) % 4)
            position = tuple(json.loads(b64decode(padded, _ALPHABET)[_DIGEST_BYTES:]))
            if len(position) == self._columns and self.write(position) == cursor:
                return position
        except (ValueError, TypeError, RecursionError):
            pass  # Neither base64 nor JSON.
        raise InvalidValueError(
            "cursor is damaged, or comes from another query, order or database; "
            "start again without one.",
            field="cursor",
        )
