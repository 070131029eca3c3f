"""The change feed: each committed row of a table exactly once, from a watermark that can be stored.

PostgreSQL gives a row its id before the row's transaction commits, so a smaller id may become
visible after a larger one. An id below the watermark that no visible row has is a gap. Only a
transaction that had taken ids when the gap was seen, and was still open, can fill it: the gap is
read again when one of these has ended, and removed when all have. Most gaps are rolled-back
inserts, which nothing ever fills.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any, NamedTuple

from curio_persistence.errors import InvalidValueError
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter, Measure, Order, Where
from curio_persistence.store.table import Columns, Table

Range = tuple[int, int]
"""The ids from the first up to, but not including, the second."""

BATCH = 1_000
MAX_BYTES = 8 * 2**20
MAX_GAPS = 4_000
"""A feed with more gaps waits for the open transactions, so that no watermark grows without end."""
LOOK_BACK = 10_000
"""The number of ids in which `watermark_now` looks for rows that are not committed yet."""

BY_ID = (Order("id"),)
_CHUNK = 100
_FIRST_CHUNK = 10
"""Rows per query: how long rows are is known only when some were read."""
_ENDED = ""
"""Stands for the transactions that ended while the gaps were seen: read those gaps once more."""


class Gaps(NamedTuple):
    """Ids that no row had, and the open transactions that may still fill them."""

    ranges: tuple[Range, ...]
    waiting: frozenset[str]


class Watermark(NamedTuple):
    """A position in a table's change feed: rows up to an id were read, except those in the gaps."""

    upto: int = 0
    gaps: tuple[Gaps, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Watermark:
        """Return the watermark that `text()` wrote."""
        try:
            upto, *gaps = json.loads(text)
            return cls(upto, tuple(Gaps(unpacked(g), frozenset(w)) for w, g in gaps))
        except (ValueError, TypeError) as error:
            raise InvalidValueError(
                f"{text[:80]!r} is not a watermark.", field="watermark"
            ) from error

    def text(self) -> str:
        """Return the watermark as text, to be stored: some bytes per gap."""
        gaps = ((sorted(waiting), packed(ranges)) for ranges, waiting in self.gaps)
        return json.dumps((self.upto, *gaps), separators=(",", ":"))

    def has_passed(self, ident: int) -> bool:
        """Return True for the id of a row that the feed will not return any more."""
        return ident <= self.upto and not any(first <= ident < end for first, end in self.ranges)

    @property
    def ranges(self) -> tuple[Range, ...]:
        """All gaps."""
        return tuple(chain.from_iterable(gaps.ranges for gaps in self.gaps))


START = Watermark()
"""Before the first row."""


class Changes(NamedTuple):
    """A batch of rows, as `Store.select` returns them, and the watermark behind them."""

    columns: Columns
    since: Watermark
    watermark: Watermark
    size: int
    """The length of the rows' texts."""
    more: bool
    """True where a limit ended the batch; False where it has all rows there were."""

    def __len__(self) -> int:
        return len(self.columns[0])


def read_changes(
    store: Store,
    table: Table[Any],
    *,
    since: Watermark = START,
    limit: int = BATCH,
    max_bytes: int = MAX_BYTES,
) -> Changes:
    """Return the next committed rows behind a watermark, and the watermark behind those.

    Reading from watermark to watermark returns each row exactly once, also a row that is
    committed late. The batch ends at `limit` rows or soon after `max_bytes` of text. An empty
    batch can have another watermark. Rows that filled gaps come before those with larger ids.
    """
    batch = _Batch(store, table, limit, max_bytes)
    gaps = _read_gaps(batch, store, table, since)
    upto = since.upto
    if not batch.is_full and sum(len(each.ranges) for each in gaps) < MAX_GAPS:
        new = batch.read(upto=upto)
        if new:
            gaps = _with_new_gaps(gaps, store, table, holes(upto + 1, new[-1] + 1, new))
            upto = new[-1]
    return Changes(batch.columns, since, Watermark(upto, gaps), batch.size, batch.is_full)


def watermark_now(store: Store, table: Table[Any]) -> Watermark:
    """Return the position from which `read_changes` returns only rows committed from now on.

    A row whose transaction is open comes later, unless it is more than LOOK_BACK ids behind.
    """
    [(newest,)] = store.aggregate(table, (Measure("max", "id"),))
    upto = newest or 0
    if not (active := store.active_transactions(table)):
        return Watermark(upto)
    first = max(upto - LOOK_BACK, 1)
    where = (Filter("id", ">=", first), Filter("id", "<", upto))
    there = sorted(ident for (ident,) in store.select_columns(table, ("id",), where))
    ranges = holes(first, upto, there)
    return Watermark(upto, (Gaps(ranges, active),) if ranges else ())


class _Batch:
    """The rows read so far, up to a number of rows and of bytes."""

    def __init__(self, store: Store, table: Table[Any], limit: int, max_bytes: int) -> None:
        self._store = store
        self._table = table
        self._left = limit
        self._max_bytes = max_bytes
        self._at = table.names.index("id")
        self._texts = [table.names.index(name) for name in table.content]
        self._chunks: list[Columns] = []
        self._rows = 0
        self.size = 0

    @property
    def is_full(self) -> bool:
        return self._left <= 0 or self.size >= self._max_bytes

    @property
    def columns(self) -> Columns:
        if not self._chunks:
            return [()] * len(self._table.names)
        return [list(chain.from_iterable(parts)) for parts in zip(*self._chunks, strict=True)]

    def _fitting(self) -> int:
        """Return how many rows like those before fit into the batch, at most a chunk."""
        if not self._rows:
            return _FIRST_CHUNK
        left = (self._max_bytes - self.size) * self._rows // max(self.size, 1)
        return max(1, min(left, _CHUNK))

    def read(self, where: Where = (), *, upto: int = 0) -> list[int]:
        """Add the rows behind an id that match, in the order of their ids, and return the ids."""
        ids: list[int] = []
        while not self.is_full:
            asked = min(self._left, self._fitting())
            # One bound of the ids: SQLite would begin at the first of two, and skip the rows again.
            after = (ids[-1] if ids else upto,)
            chunk = self._store.select(self._table, where, order=BY_ID, after=after, limit=asked)
            found = chunk[self._at] if chunk else ()
            if found:
                self._chunks.append(chunk)
                self._left -= len(found)
                self._rows += len(found)
                self.size += sum(len(text or "") for at in self._texts for text in chunk[at])
                ids += found
            if len(found) < asked:
                break
        return ids


def _read_gaps(
    batch: _Batch, store: Store, table: Table[Any], since: Watermark
) -> tuple[Gaps, ...]:
    """Read the gaps that an ended transaction may have filled, and return those that are left."""
    if not since.gaps:
        return ()
    # Sampled first: the rows of a transaction that is not among these are seen below.
    active = store.active_transactions(table) or frozenset()
    ended = (gaps.ranges for gaps in since.gaps if not gaps.waiting <= active)
    ids = sorted(chain.from_iterable(map(batch.read, conditions(chain.from_iterable(ended)))))
    left: dict[frozenset[str], list[Range]] = defaultdict(list)
    for ranges, waiting in since.gaps:
        # A full batch may have left rows behind: these gaps are read once more.
        left[waiting if batch.is_full else waiting & active] += _without(ranges, ids)
    return tuple(
        Gaps(tuple(sorted(ranges)), waiting)
        for waiting, ranges in left.items()
        if ranges and waiting
    )


def _with_new_gaps(
    gaps: tuple[Gaps, ...], store: Store, table: Table[Any], ranges: tuple[Range, ...]
) -> tuple[Gaps, ...]:
    if not ranges or (active := store.active_transactions(table)) is None:
        return gaps
    return (*gaps, Gaps(ranges, active | {_ENDED}))


def conditions(ranges: Iterable[Range]) -> Iterator[Where]:
    """Yield filters for the ids in ranges: most ranges are of one id, some of a whole batch."""
    ids: list[int] = []
    for first, end in sorted(ranges):
        if end - first > _CHUNK:
            yield (Filter("id", ">=", first), Filter("id", "<", end))
        else:
            ids += range(first, end)
    for at in range(0, len(ids), BATCH):
        yield (Filter("id", "in", tuple(ids[at : at + BATCH])),)


def holes(first: int, end: int, ids: Sequence[int]) -> tuple[Range, ...]:
    """Return the ranges of `first` up to `end` that have none of the ids, which ascend."""
    edges = (first - 1, *ids[bisect_left(ids, first) : bisect_left(ids, end)], end)
    return tuple((before + 1, after) for before, after in pairwise(edges) if after > before + 1)


def _without(ranges: Sequence[Range], ids: Sequence[int]) -> Sequence[Range]:
    if not ids:
        return ranges
    return [hole for first, end in ranges for hole in holes(first, end, ids)]


def packed(ranges: Sequence[Range]) -> list[int]:
    """Return ranges as alternating lengths: of the ids between them, and of themselves."""
    edges = [0, *chain.from_iterable(ranges)]
    return [after - before for before, after in pairwise(edges)]


def unpacked(lengths: Sequence[int]) -> tuple[Range, ...]:
    edges = list(accumulate(lengths))
    return tuple(zip(edges[::2], edges[1::2], strict=True))
