"""How a long answer is asked for in pieces of bounded size, whose rows may be short or long."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from curio_persistence.errors import InvalidValueError
from curio_persistence.store.base import Position
from curio_persistence.store.csv_text import position_at_end
from curio_persistence.store.filters import Order

_FIRST_ROWS = 1_000
_MOST_ROWS = 20_000
_BYTES = 8 << 20


def csv_in_pieces(
    read: Callable[[Position | None, int], tuple[bytes, int]], order: tuple[Order, ...]
) -> Iterator[bytes]:
    """All that `read` answers: CSV of the rows after a position, at most so many, and how many.

    It may refuse a piece as too long with InvalidValueError, as long as there are several rows in
    it.
    """
    after, count = None, _FIRST_ROWS
    while True:
        try:
            text, rows = read(after, count)
        except InvalidValueError:
            if count == 1:
                raise
            count //= 2
            continue
        if rows:
            yield text
        if rows < count:
            return
        after = position_at_end(text, order)
        count = max(1, min(_MOST_ROWS, rows * _BYTES // len(text)))
