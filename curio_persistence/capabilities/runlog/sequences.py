"""Number the entries of run logs: each number is given out once, and all later ones are higher."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from curio_persistence.clock import Clock
from curio_persistence.errors import ConflictError
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import HIGHEST_POSITION
from curio_persistence.store.filters import Filter, Measure, Where
from curio_persistence.tables import EVENTS, RUN_LOGS
from curio_persistence.tables.run_logs import RunLogNumbers, run_log_row

_KEY = RUN_LOGS.unique[0]
_LAST = Measure("max", "seq")


def log_of(session_id: str) -> Where:
    """Return the filters for the entries of a session's run log."""
    return (Filter("session_id", "=", session_id), Filter("seq", "is not null"))


def last_entry(store: Store, session_id: str) -> int:
    """Return the highest sequence of the stored entries of a session, or 0."""
    [(last,)] = store.aggregate(EVENTS, (_LAST,), log_of(session_id))
    return last or 0


class Sequences:
    """The counters of the run logs, one for each session.

    A counter stays when entries are deleted. The transaction that advances one keeps the others
    that would advance it waiting until it ends, so that entries become visible in their order.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def taken(self, session_id: str, given: Iterable[int]) -> list[int]:
        """Return those of some sequences that are twice among them, or that the session has."""
        counted = Counter(filter(None, given))
        where = (*log_of(session_id), Filter("seq", "in", tuple(counted)))
        stored = {seq for (seq,) in self._store.select_columns(EVENTS, ("seq",), where)}
        return sorted(seq for seq, times in counted.items() if times > 1 or seq in stored)

    def number(self, session_id: str, given: Sequence[int], *, look: bool = False) -> Sequence[int]:
        """Return the sequences of entries, in a transaction: those given, and new ones for 0."""
        new, above = given.count(0), max(given)
        following = self.take(session_id, new, above, look=look)
        if new == len(given):
            return following
        free = iter(following)
        return [each or next(free) for each in given]

    def take(self, session_id: str, count: int, above: int = 0, *, look: bool = False) -> range:
        """Return so many sequences, in a transaction, above all that were taken before.

        With `look`, they are also above all stored entries, which a copy or an import may have
        brought without the counter. ConflictError if there are not so many left.
        """
        if look:
            self._advance(session_id, 0, above)  # Others that append wait from here on.
            above = max(above, last_entry(self._store, session_id))
        last = self._advance(session_id, count, above)
        if last > HIGHEST_POSITION:
            raise ConflictError(
                f"The run log of session {session_id!r} has no room for {count:,} more: sequences "
                f"end with {HIGHEST_POSITION:,}. Go on in another session."
            )
        return range(last - count + 1, last + 1)

    def _advance(self, session_id: str, count: int, above: int) -> int:
        last = self._store.advance(RUN_LOGS, session_id, "last_seq", count, above=above)
        while last is None:
            begin = RunLogNumbers(
                session_id, last_entry(self._store, session_id), self._clock.now()
            )
            self._store.upsert(RUN_LOGS, [run_log_row(begin)], key=_KEY)
            last = self._store.advance(RUN_LOGS, session_id, "last_seq", count, above=above)
        return last
