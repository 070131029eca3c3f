"""Where a page ended, as text that a caller keeps and hands back for the next one.

A cursor is good for one query of one database. It holds the place of the page's last row, which
stays right whatever is written meanwhile, and a digest of that place, the query and the database.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode

from curio_persistence.errors import InvalidValueError
from curio_persistence.store.base import Position, Store
from curio_persistence.store.filters import Order, Where

_DIGEST_BYTES = 9
_ALPHABET = b"._"
"""Beside letters and digits. A dash at the front would be an option to a command line."""
_PLACE = json.JSONEncoder(separators=(",", ":"))


class Cursors:
    """The cursors of one query, `name` being what it asks for."""

    def __init__(self, store: Store, name: str, where: Where, order: tuple[Order, ...]) -> None:
        self._columns = len(order)
        # The same query, asked again later: where its window moves with the clock, how it was asked
        # counts and not what came of it.
        asked = sorted((f.column, f.op, f.asked or f.value) for f in where)
        self._query = repr((store.identity, name, asked, order)).encode()

    def write(self, position: Position) -> str:
        """The cursor for a place in the query's order."""
        from hashlib import blake2b  # It takes long to import.

        place = _PLACE.encode(position).encode()
        digest = blake2b(self._query + place, digest_size=_DIGEST_BYTES).digest()
        return b64encode(digest + place, _ALPHABET).decode().rstrip("=")

    def read(self, cursor: str) -> Position:
        """The place that was written; InvalidValueError for all else that looks like a cursor."""
        try:
            padded = cursor + "=" * (-len(cursor) % 4)
            position = tuple(json.loads(b64decode(padded, _ALPHABET)[_DIGEST_BYTES:]))
            if len(position) == self._columns and self.write(position) == cursor:
                return position
        except (ValueError, TypeError, RecursionError):
            pass  # Not what base64 or JSON makes of anything.
        raise InvalidValueError(
            "cursor is damaged, or comes from another query, order or database; "
            "start again without one.",
            field="cursor",
        )
