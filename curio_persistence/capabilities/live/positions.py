"""Positions in the change feeds that a stream tells from, as texts to resume from."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

from curio_persistence.errors import InvalidValueError
from curio_persistence.store.base import Store
from curio_persistence.store.change_feed import Gaps, Range, Watermark, holes, watermark_now
from curio_persistence.store.table import Table
from curio_persistence.tables import CHANGES, EVENTS, RUNS, SPANS, USAGE

FEEDS: tuple[Table[Any], ...] = (RUNS, EVENTS, USAGE, SPANS, CHANGES)
"""The tables that are followed, in the order in which their rows are told.

A run is told before its events, and its end after them.
"""

Position = tuple[Watermark, ...]
"""A watermark for each of `FEEDS`."""


def position_now(store: Store) -> Position:
    """Return the position behind all that is committed."""
    return tuple(watermark_now(store, table) for table in FEEDS)


def text_of(position: Position) -> str:
    """Return a position as text: `12.40.3.0.7`, unless rows of open transactions are missing."""
    return ".".join(map(_text_of_watermark, position))


def _text_of_watermark(watermark: Watermark) -> str:
    if not watermark.gaps:
        return str(watermark.upto)
    return f"~{urlsafe_b64encode(bytes(watermark.text(), 'utf-8')).decode()}"


def parse_position(name: str, text: Any) -> Position:
    """Return the position that `text_of` wrote, the argument of this name."""
    parts = text.split(".") if isinstance(text, str) else ()
    if len(parts) == len(FEEDS):
        try:
            return tuple(map(_parse_watermark, parts))
        except (ValueError, InvalidValueError):
            pass
    raise InvalidValueError(
        f"{name} is the id of an item of a stream, such as '12.40.3.0.7', not {text!r:.80}.",
        field=name,
    )


def _parse_watermark(part: str) -> Watermark:
    if part.startswith("~"):
        return Watermark.parse(urlsafe_b64decode(part[1:]).decode())
    if not (part.isascii() and part.isdigit() and len(part) < 20):
        raise ValueError(part)
    return Watermark(int(part))


class Batch(NamedTuple):
    """The ids of the rows that one read of a feed returned, and the positions around them."""

    position: Position
    feed: int
    """Which of `FEEDS` was read."""
    until: Watermark
    ids: Sequence[int]

    def after(self, index: int) -> Position:
        """Return the position behind one of the rows, from which the rest is read."""
        since, ident = self.position[self.feed], self.ids[index]
        if ident <= since.upto:  # It filled a gap.
            reached = Watermark(since.upto, _without(since.gaps, self.ids[: index + 1]))
        else:
            reached = Watermark(ident, _below(self.until.gaps, ident))
        return replaced(self.position, self.feed, reached)


def replaced(position: Position, feed: int, watermark: Watermark) -> Position:
    """Return a position with another watermark of one feed."""
    return (*position[:feed], watermark, *position[feed + 1 :])


def _without(gaps: tuple[Gaps, ...], ids: Sequence[int]) -> tuple[Gaps, ...]:
    ids = sorted(ids)
    left = (
        Gaps(tuple(h for first, end in each.ranges for h in holes(first, end, ids)), each.waiting)
        for each in gaps
    )
    return tuple(each for each in left if each.ranges)


def _below(gaps: tuple[Gaps, ...], ident: int) -> tuple[Gaps, ...]:
    """Return the gaps in front of an id, which is in none of them."""
    left = (Gaps(_ranges_below(each.ranges, ident), each.waiting) for each in gaps)
    return tuple(each for each in left if each.ranges)


def _ranges_below(ranges: tuple[Range, ...], ident: int) -> tuple[Range, ...]:
    return ranges[: bisect_right(ranges, (ident, 0))]
