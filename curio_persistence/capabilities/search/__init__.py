"""Full-text search: whatever people type finds what was recorded, the same on every backend."""

from __future__ import annotations

from collections.abc import Collection
from math import inf
from time import monotonic
from typing import Any, Literal, TypedDict, Unpack, get_args

from curio_persistence.capabilities.search.documents import KINDS, SORTS
from curio_persistence.capabilities.search.finding import Finder, Question, hit_of
from curio_persistence.capabilities.search.hits import SearchHit, SearchPage
from curio_persistence.capabilities.search.indexing import Indexing, Notes, Progress
from curio_persistence.capabilities.windows import Moment, moment_of
from curio_persistence.clock import Clock
from curio_persistence.errors import (
    AccessDeniedError,
    InvalidValueError,
    StorageFullError,
    UnavailableError,
    UnsupportedError,
)
from curio_persistence.store.base import Finding, Store
from curio_persistence.store.codecs import decode_time, encode_time
from curio_persistence.store.cursors import Cursors
from curio_persistence.store.filters import (
    COUNT,
    Filter,
    Order,
    Where,
    checked_count,
    refuse_unknown,
)
from curio_persistence.tables import RUNS
from curio_persistence.text.query import parse_query
from curio_persistence.text.tokenizer import VERSION

__all__ = ["Search", "SearchHit", "SearchOrder", "SearchPage"]

SearchOrder = Literal["newest", "rank"]
"""Which hits come first: the newest, or those that fit best."""

_EVERYTHING = 2**62
_LONGEST = 1e9
"""Seconds: nobody waits longer than thirty years."""
_COLUMNS = {name: sort.table for sort in reversed(SORTS) for name in sort.marked}


class SearchFilters(TypedDict, total=False):
    """The filters of a search; a record has to pass all that are given."""

    agent_id: str | None
    run_id: str | None
    session_id: str | None
    event_type: str | Collection[str] | None
    level: str | Collection[str] | None
    model: str | Collection[str] | None
    since: Moment | None
    until: Moment | None


class Search:
    """The index of words, and what is found by it. Records get into it when somebody searches."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._indexing = Indexing(store)

    # --- the index ----------------------------------------------------------------------------

    @property
    def enabled(self) -> bool:
        """Whether this database has a search index; it remembers that itself."""
        return self._indexing.notes().enabled

    def switch(self, *, on: bool) -> None:
        """Have a search index from now on, or none any more.

        All that is stored already waits to be taken up then; what was taken up is forgotten.
        """
        self._indexing.switch(on=on)

    def enable(self) -> None:
        """Have a search index from now on: all that is stored already waits to be taken up."""
        self.switch(on=True)

    def disable(self) -> None:
        """Have no search index any more: what was taken up is forgotten."""
        self.switch(on=False)

    def pending(self) -> int:
        """How many records wait to be taken up."""
        return self._indexing.pending()

    def index_pending(
        self,
        *,
        limit: int | None = None,
        max_wait: float | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Take up what waits, and return how many records it were.

        At most `limit`, and for about `max_wait` seconds. Any number of processes may do so at a
        time; killed anywhere it goes on where it was. `progress` is called with how many are done
        and how many there are.
        """
        limit = None if limit is None else checked_count("limit", limit)
        until = None if max_wait is None else monotonic() + _checked_wait(max_wait)
        return self._indexing.index_pending(limit=limit, until=until, progress=progress)[0]

    def rebuild(self, *, progress: Progress | None = None) -> int:
        """Make the index anew, and return how many records it has."""
        if not self.enabled:
            raise _switched_off(self._store)
        self._indexing.clear()
        return self.index_pending(progress=progress)

    def check(self, *, deep: bool = False) -> list[Finding]:
        """Whether the index is whole, and how much waits; `deep` also counts and looks inside."""
        notes = self._indexing.notes()
        if not notes.enabled:
            return [Finding("search", "ok", "switched off")]
        if notes.version not in (None, VERSION):
            return [
                _damaged(
                    "made by a Python or a version of curio_persistence that parts words otherwise"
                )
            ]
        damage = self._damage(notes) if deep else ""
        if damage:
            return [_damaged(damage)]
        waiting = self.pending()
        return [Finding("search", "ok", f"{waiting:,} records wait to be indexed")]

    def _damage(self, notes: Notes) -> str:
        """What the index has too much or lacks, in words."""
        counts = self._store.words.counts()
        for table, kind in KINDS.items():
            stored = self._count(table)
            expected = stored - self._indexing.waiting(table, notes)
            # A run that has changed waits, and is in it as it was.
            most = stored if table is RUNS else expected
            if not expected <= counts.get(kind, 0) <= most:
                return f"{counts.get(kind, 0):,} of {expected:,} {table.name} are in it"
        # To look inside FTS5 has to write.
        return "" if self._store.read_only else self._store.words.check()

    def _count(self, table: Any) -> int:
        [(count,)] = self._store.aggregate(table, (COUNT,))
        return int(count)

    # --- searching ----------------------------------------------------------------------------

    def text(
        self,
        query: str,
        *,
        order: SearchOrder = "newest",
        limit: int | None = 50,
        cursor: str | None = None,
        max_wait: float | None = 10.0,
        **filters: Unpack[SearchFilters],
    ) -> SearchPage:
        """What has these words; see `Persistence.search_text`."""
        if not isinstance(query, str):
            raise InvalidValueError(f"query is text, not {type(query).__name__}.", field="query")
        if order not in get_args(SearchOrder):
            raise InvalidValueError(f'order is "newest" or "rank", not {order!r}.', field="order")
        count = _EVERYTHING if limit is None else checked_count("limit", limit)
        end = monotonic() + (inf if max_wait is None else _checked_wait(max_wait))
        where = self._where(**filters)
        notes = self._indexing.notes()
        if not notes.enabled:
            raise _switched_off(self._store)
        question = _question(query, where, self._runs_of_session(where))
        cursors = Cursors(self._store, f"search {order} {question.query!r}", where, _PLACES[order])
        position = None if cursor is None else cursors.read(cursor)
        count_taken_up, is_complete = self._taken_up(end)
        pending = 0 if is_complete else self._indexing.pending()
        if count_taken_up or not is_complete:
            notes = self._indexing.notes()
        finder = Finder(self._store, question, drift=notes.drift, until=end)
        if not count or not question.can_be_met():
            return SearchPage([], None, pending)
        if order == "newest":
            hits, following = _newest(finder, question, position, count)
        else:
            hits, following = _ranked(finder, question, position, count)
        return SearchPage(hits, cursors.write(following) if following else None, pending)

    def _runs_of_session(self, where: Where) -> frozenset[str]:
        session = tuple(each for each in where if each.column == "session_id")
        runs = self._store.select_columns(RUNS, ("run_id",), session) if session else []
        return frozenset(run_id for (run_id,) in runs)

    def _taken_up(self, until: float) -> tuple[int, bool]:
        """How much was taken up; who cannot write, or not now, searches what is indexed."""
        try:
            return self._indexing.index_pending(until=until, progress=None)
        except (AccessDeniedError, StorageFullError, UnavailableError):
            return 0, False

    def _where(self, **filters: Unpack[SearchFilters]) -> Where:
        refuse_unknown(filters, SearchFilters)
        equal = [
            table.filter_any(name, value)
            for name, table in _COLUMNS.items()
            if (value := filters.get(name)) is not None
        ]
        return (*equal, *self._window(filters.get("since"), filters.get("until")))

    def _window(self, since: Moment | None, until: Moment | None) -> Where:
        now = self._clock.now()
        bounds: list[tuple[str, Any, Moment | None]] = [
            ("since", ">=", since),
            ("until", "<", until),
        ]
        return tuple(
            Filter(
                name,
                op,
                encode_time(moment_of(moment, now, name)),
                moment if isinstance(moment, str) else None,
            )
            for name, op, moment in bounds
            if moment is not None
        )


_PLACES = {
    "newest": (Order("place", descending=True),),
    "rank": (Order("before"), Order("hits")),
}


def _newest(
    finder: Finder, question: Question, position: Any, count: int
) -> tuple[list[SearchHit], tuple[int, ...] | None]:
    before = position[0] if position else None
    # One more, which tells whether there is another page.
    found = finder.newest(before, count + 1)
    hits = [hit_of(question.query, each) for each in found[:count]]
    # Places know milliseconds only.
    hits.sort(key=lambda hit: (hit.timestamp, hit.record.id), reverse=True)
    if len(found) > count:
        return hits, (found[count - 1].found.place,)
    if finder.looked_down_to is not None:
        return hits, (finder.looked_down_to,)
    return hits, None


def _ranked(
    finder: Finder, question: Question, position: Any, count: int
) -> tuple[list[SearchHit], tuple[int, ...] | None]:
    before, skipped = position or (None, 0)
    found = finder.ranked(before, skipped + count + 1)
    hits = [hit_of(question.query, *each) for each in found[skipped : skipped + count]]
    if len(found) <= skipped + count:
        return hits, None
    # What is stored from now on would shift the others.
    return hits, (finder.newest_place + 1 if before is None else before, skipped + count)


def _question(query: str, where: Where, runs: frozenset[str]) -> Question:
    values = {
        f.column: f.value if f.op == "in" else (f.value,) for f in where if f.op in ("=", "in")
    }
    bounds = {f.column: decode_time(f.value) for f in where if f.op in (">=", "<")}
    return Question(parse_query(query), values, runs, bounds.get("since"), bounds.get("until"))


def _checked_wait(max_wait: Any) -> float:
    if isinstance(max_wait, bool) or not isinstance(max_wait, int | float) or not max_wait >= 0:
        raise InvalidValueError(
            f"max_wait is a number of seconds, or None, not {max_wait!r}.", field="max_wait"
        )
    return float(min(max_wait, _LONGEST))


def _switched_off(store: Store) -> UnsupportedError:
    return UnsupportedError(
        f"{store.place} has no search index: it was made without one, or that was switched off. "
        "Switch it on with `curio-persistence index --enable` or persistence.search.enable()."
    )


def _damaged(how: str) -> Finding:
    return Finding(
        "search",
        "warning",
        f"the search index is {how}",
        "Make it anew: curio-persistence index --rebuild",
    )
