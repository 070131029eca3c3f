"""Full-text search: a query finds the same records on every backend, whatever is typed."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from math import inf
from time import monotonic
from typing import Any, Literal, TypedDict, Unpack, get_args

from curio_persistence.capabilities.arguments import check_progress
from curio_persistence.capabilities.capability import Capability
from curio_persistence.capabilities.record_filter import (
    Condition,
    FilterKind,
    checked_values,
    equal,
)
from curio_persistence.capabilities.search.documents import NUMBERS
from curio_persistence.capabilities.search.finding import Finder, Question, hit_of
from curio_persistence.capabilities.search.hits import SearchHit, SearchPage
from curio_persistence.capabilities.search.indexing import Indexing, Metadata
from curio_persistence.capabilities.windows import BOUNDS, TimeLike
from curio_persistence.clock import Clock
from curio_persistence.errors import (
    AccessDeniedError,
    InvalidValueError,
    StorageFullError,
    UnavailableError,
    UnsupportedError,
)
from curio_persistence.progress import Progress
from curio_persistence.store.base import HealthCheck, Store
from curio_persistence.store.codecs import decode_time
from curio_persistence.store.cursors import Cursors
from curio_persistence.store.filters import Order, Where, checked_count
from curio_persistence.tables import EVENTS, RUNS, USAGE
from curio_persistence.text.query import parse_query
from curio_persistence.text.tokenizer import VERSION

__all__ = ["Search", "SearchHit", "SearchOrder", "SearchPage"]

SearchOrder = Literal["newest", "rank"]
"""The newest hits first, or those that fit best."""

_EVERYTHING = 2**62
_LONGEST = 1e9
"""Seconds: thirty years are as good as for ever."""
_TRIES = 10
"""Attempts of a search, if the index is rebuilt during each of them."""
Slots = tuple[int, ...]


class SearchFilters(TypedDict, total=False):
    """The filters of a search; a record must pass all that are given."""

    agent_id: str | None
    run_id: str | None
    session_id: str | None
    event_type: str | Collection[str] | None
    level: str | Collection[str] | None
    model: str | Collection[str] | None
    since: TimeLike | None
    until: TimeLike | None


_FILTERS = FilterKind(
    EVENTS,
    SearchFilters,
    conditions={
        "model": Condition(
            partial(checked_values, USAGE, "model"), lambda model: (equal("model", model),)
        )
    },
)


class Search(Capability):
    """The full-text index and what is found by it. Records are indexed when a search needs them.

    With `active=False` this process neither indexes nor searches; the database stays as it is.
    """

    def __init__(self, store: Store, clock: Clock, *, active: bool = True) -> None:
        super().__init__(store, clock)
        self.active = active
        self._indexing = Indexing(store.indexed)

    # --- the index ----------------------------------------------------------------------------

    @property
    def enabled(self) -> bool:
        """True where the database has a search index, and this process uses it."""
        return self.active and self._indexing.metadata().enabled

    def enable(self) -> None:
        """Switch the search index on; everything already stored waits to be indexed."""
        self._store.check_writable()
        self.active = True
        self._indexing.switch(on=True)

    def disable(self) -> None:
        """Delete the search index, and index nothing from now on, in any process."""
        self._store.check_writable()
        self._indexing.switch(on=False)

    def pending(self) -> int:
        """Return how many records wait to be indexed."""
        return self._indexing.pending() if self.active else 0

    def index_pending(
        self,
        *,
        limit: int | None = None,
        max_wait: float | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Index waiting records, and return how many.

        At most `limit`, and for about `max_wait` seconds. One process indexes at a time:
        this call returns at once while another process indexes. After a kill, the next call
        continues. `progress` is called with the number done and the total.
        """
        check_progress(progress)
        limit = None if limit is None else checked_count("limit", limit)
        until = None if max_wait is None else monotonic() + checked_wait(max_wait)
        if not self.active:
            return 0
        return self._indexing.index_pending(limit=limit, until=until, progress=progress)[0]

    def rebuild(self, *, progress: Progress | None = None) -> int:
        """Rebuild the index, and return how many records were indexed."""
        self._store.check_writable()
        self._refuse_disabled(self._indexing.metadata())
        check_progress(progress)
        self._indexing.clear()
        return self.index_pending(progress=progress)

    def remove_orphans(self) -> None:
        """Remove what is left of records that expired, or that other programs deleted.

        Where their words cannot be removed without the records, the index is rebuilt.
        """
        self._store.check_writable()
        if self._indexing.metadata().forgotten:
            self._rebuild()
            return
        index = self._store.search_index
        for table, kind in NUMBERS.items():
            orphans = index.orphans(kind, table.name)
            if not orphans:
                continue
            if index.removal_needs_words and table is not RUNS:
                self._rebuild()
                return
            with self._store.transaction():
                index.remove(kind, orphans, {})

    def _rebuild(self) -> None:
        self._indexing.clear()
        self._indexing.index_pending()

    def check(self, *, deep: bool = False) -> list[HealthCheck]:
        """Return the state of the index and of its backlog; `deep` compares it with the records."""
        metadata = self._indexing.metadata()
        if not metadata.enabled:
            return [HealthCheck("search", "ok", "switched off")]
        if metadata.version not in (None, VERSION):
            return [
                _damaged(
                    "made by a Python or a version of curio_persistence that splits words otherwise"
                )
            ]
        if deep and (damage := self._damage()):
            return [_damaged(damage)]
        message = f"{self._indexing.pending():,} records wait to be indexed"
        if deep and (orphans := self._orphans()):
            message += f"; {orphans:,} records were deleted by other programs: compact() leaves"
            message += " nothing of their words"
        return [HealthCheck("search", "ok", message)]

    def _damage(self) -> str:
        """Describe what the index lacks."""
        index = self._store.search_index
        for table in NUMBERS:
            lost = self._indexing.lost(table)
            if lost:
                return f"not whole: {lost:,} {table.name} are not in it, and would not be found"
        # FTS5 has to write to check itself.
        return "" if self._store.read_only else index.check()

    def _orphans(self) -> int:
        index = self._store.search_index
        return sum(len(index.orphans(kind, table.name)) for table, kind in NUMBERS.items())

    def _refuse_disabled(self, metadata: Metadata) -> None:
        if not self.active:
            raise UnsupportedError(
                "This persistence was opened with search=False. Open it without that, or call "
                "persistence.search.enable()."
            )
        if not metadata.enabled:
            raise UnsupportedError(
                f"{self._store.location} has no search index: it was switched off. Switch it on "
                "with `curio-persistence index --enable` or persistence.search.enable()."
            )

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
        """Return the records that have these words; see `Persistence.search_text`."""
        _check_query(query)
        if order not in get_args(SearchOrder):
            raise InvalidValueError(f'order is "newest" or "rank", not {order!r}.', field="order")
        count = _EVERYTHING if limit is None else checked_count("limit", limit)
        end = monotonic() + (inf if max_wait is None else checked_wait(max_wait))
        where = _FILTERS.of(filters).where(self._clock)
        metadata = self._indexing.metadata()
        self._refuse_disabled(metadata)
        question = _question(query, where, self._runs_of_session(where))
        cursors = Cursors(self._store, f"search {order} {question.query!r}", where, _SLOTS[order])
        position = None if cursor is None else cursors.read(cursor)
        for _ in range(_TRIES):
            generation = metadata.generation
            hits, following, pending = self._answer(question, order, position, count, end)
            metadata = self._indexing.metadata()
            is_whole = metadata.generation == generation
            if is_whole or monotonic() >= end:
                break
        if not is_whole:  # The index was rebuilt meanwhile, again and again.
            pending = max(pending, self._indexing.pending(), 1)
        return SearchPage(
            hits,
            cursors.write(following) if following else None,
            pending,
            is_partial=metadata.cut,
        )

    def beginnings(self, query: str) -> list[str]:
        """Return the words of a query that no record has, but with which words of some begin.

        `word*` finds those.
        """
        _check_query(query)
        return [
            word
            for word in dict.fromkeys(query.split())
            if word.isalnum() and not self._has(word) and self._has(f"{word}*")
        ]

    def _has(self, query: str) -> bool:
        return len(self.text(query, limit=1, max_wait=0)) > 0

    def _answer(
        self, question: Question, order: SearchOrder, position: Any, count: int, end: float
    ) -> tuple[list[SearchHit], Slots | None, int]:
        """Return hits, the position behind them, and how many records were not searched."""
        is_complete = self._index(end)
        pending = 0 if is_complete else self._indexing.pending()
        finder = Finder(self._store, question, drift=self._indexing.metadata().drift, until=end)
        if not count or not question.can_be_met():
            return [], None, pending
        answer = _newest if order == "newest" else _ranked
        return (*answer(finder, question, position, count), pending)

    def _index(self, until: float) -> bool:
        """Index waiting records; return False if some are left, as in a read-only database."""
        try:
            return self._indexing.index_pending(until=until)[1]
        except (AccessDeniedError, StorageFullError, UnavailableError):
            return False

    def _runs_of_session(self, where: Where) -> frozenset[str]:
        session = tuple(each for each in where if each.column == "session_id")
        runs = self._store.select_columns(RUNS, ("run_id",), session) if session else []
        return frozenset(run_id for (run_id,) in runs)


_SLOTS = {
    "newest": (Order("slot", descending=True),),
    "rank": (Order("before"), Order("hits")),
}


def _check_query(query: Any) -> None:
    if not isinstance(query, str):
        raise InvalidValueError(f"query is text, not {type(query).__name__}.", field="query")


def _newest(
    finder: Finder, question: Question, position: Any, count: int
) -> tuple[list[SearchHit], Slots | None]:
    before = position[0] if position else None
    # One more, which tells whether there is another page.
    found = finder.newest(before, count + 1)
    hits = [hit_of(question.query, each) for each in found[:count]]
    # Slots know milliseconds only.
    hits.sort(key=lambda hit: (hit.timestamp, hit.record.id), reverse=True)
    if len(found) > count:
        return hits, (found[count - 1].candidate.slot,)
    return hits, None if finder.gave_up_at is None else (finder.gave_up_at,)


def _ranked(
    finder: Finder, question: Question, position: Any, count: int
) -> tuple[list[SearchHit], Slots | None]:
    before, skipped = position or (None, 0)
    found = finder.ranked(before, skipped + count + 1)
    hits = [hit_of(question.query, *each) for each in found[skipped : skipped + count]]
    if len(found) <= skipped + count:
        return hits, None
    # Records stored from now on would shift the others.
    return hits, (finder.newest_slot + 1 if before is None else before, skipped + count)


def _question(query: str, where: Where, runs: frozenset[str]) -> Question:
    values = {
        f.column: f.value if f.op == "in" else (f.value,) for f in where if f.op in ("=", "in")
    }
    bounds = {f.op: decode_time(f.value) for f in where if f.op in BOUNDS.values()}
    return Question(parse_query(query), values, runs, bounds.get(">="), bounds.get("<"))


def checked_wait(max_wait: Any) -> float:
    """Return a number of seconds to wait; raise InvalidValueError for what is none."""
    if isinstance(max_wait, bool) or not isinstance(max_wait, int | float) or not max_wait >= 0:
        raise InvalidValueError(
            f"max_wait is a number of seconds, or None, not {max_wait!r}.", field="max_wait"
        )
    return float(min(max_wait, _LONGEST))


def _damaged(how: str) -> HealthCheck:
    return HealthCheck(
        "search",
        "warning",
        f"the search index is {how}",
        "Make it anew: curio-persistence index --rebuild",
    )
