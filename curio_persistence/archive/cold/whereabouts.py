"""Where the rows of a run count: in the database, in its archive, or in both.

The tombstones of the database tell. A run that was archived has one from the moment on when its
first row was deleted, and another one when it is restored or erased. So they tell what was where at
an earlier moment as well, to which a call that reads both keeps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import chain, islice
from typing import NamedTuple

from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter, Order
from curio_persistence.store.query import STREAM_ROWS, ReadRows, query_of
from curio_persistence.tables import RUNS, TOMBSTONES

_NEWEST = (Order("id", descending=True),)
_AT_ONCE = 5_000
"""The runs that the database is asked for by one query."""


class Holder(Enum):
    """The side whose rows of a run count."""

    ARCHIVE = "archive"
    """The rows in the archive count."""
    BOTH = "both"
    """Those in the archive count that the database lacks.

    It deleted some of the run's rows, or got later ones.
    """
    ELSEWHERE = "elsewhere"
    """Those in the archive do not count: the database has them, or the run was deleted there."""


class _Stone(NamedTuple):
    id: int
    reason: str


def last_move(hot: Store) -> int:
    """Return a number that grows whenever a run is deleted, archived or restored."""
    newest = hot.select(TOMBSTONES, order=_NEWEST, limit=1)
    return next(iter(newest[TOMBSTONES.names.index("id")]), 0)


def moment_of(read: ReadRows, before: int) -> int:
    """Return the last move of a snapshot, which began after another one."""
    pages = read(query_of(TOMBSTONES, (Filter("id", ">", before),)), STREAM_ROWS)
    at = TOMBSTONES.names.index("id")
    return max(chain.from_iterable(page[at] for page in pages), default=before)


class Whereabouts:
    """Where runs were when the last move of the database was the one given."""

    def __init__(self, hot: Store, moment: int) -> None:
        self._hot = hot
        self._moment = moment
        self._known: dict[str, Holder] = {}

    def of(self, run_ids: Iterable[str]) -> dict[str, Holder]:
        """Return where the rows of some runs count, and of those that were asked for before."""
        missing = iter({*run_ids} - self._known.keys())
        while some := tuple(islice(missing, _AT_ONCE)):
            self._known |= self._found(some)
        return self._known

    def _found(self, run_ids: tuple[str, ...]) -> Iterator[tuple[str, Holder]]:
        where = (Filter("run_id", "in", run_ids),)
        here = {run_id for (run_id,) in self._hot.select_columns(RUNS, ("run_id",), where)}
        stones: defaultdict[str, list[_Stone]] = defaultdict(list)
        columns = ("run_id", *_Stone._fields)
        for run_id, *stone in self._hot.select_columns(TOMBSTONES, columns, where):
            stones[run_id].append(_Stone(*stone))
        return (
            (run_id, self._holder(run_id in here, sorted(stones[run_id]))) for run_id in run_ids
        )

    def _holder(self, here: bool, stones: list[_Stone]) -> Holder:
        before = [stone for stone in stones if stone.id <= self._moment]
        after = [stone for stone in stones if stone.id > self._moment]
        if after:  # It was in the other place until then.
            here = after[0].reason != "restored"
        if not before:
            return Holder.ELSEWHERE if here else Holder.ARCHIVE
        if before[-1].reason != "expired":  # It was erased, or restored.
            return Holder.ELSEWHERE
        return Holder.BOTH if here else Holder.ARCHIVE
