"""Scores: what people, code and models think of a run, or of a span of it."""

from __future__ import annotations

import builtins
from collections.abc import Collection
from typing import Any, TypedDict, Unpack

from curio_persistence.capabilities.arguments import checked_run_id
from curio_persistence.capabilities.capability import Capability
from curio_persistence.capabilities.deletions import audit, where_run_is
from curio_persistence.capabilities.record_filter import FilterKind
from curio_persistence.capabilities.windows import TimeLike
from curio_persistence.clock import Clock
from curio_persistence.errors import InvalidValueError, MissingRunError, NotFoundError
from curio_persistence.models import Score
from curio_persistence.redaction import Redaction
from curio_persistence.results.pages import Direction, Page, Stream, open_stream, read_page
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter, Order, Where
from curio_persistence.store.json_text import bool_as_number
from curio_persistence.tables import SCORES

_KEY = SCORES.unique[0]
_BY_KEY = tuple(map(Order, _KEY))
_CHANGES = ("value", "label", "comment", "updated_at")


class ScoreFilters(TypedDict, total=False):
    """The filters of scores; a score must pass all that are given."""

    agent_id: str | None
    run_id: str | Collection[str] | None
    span_id: str | None
    name: str | Collection[str] | None
    source: str | Collection[str] | None
    author: str | Collection[str] | None
    session_id: str | None
    user_id: str | None
    since: TimeLike | None
    until: TimeLike | None


SCORE_FILTERS = FilterKind(SCORES, ScoreFilters, of_run=("agent_id", "session_id", "user_id"))


class Scores(Capability):
    """Set, list and delete scores."""

    def __init__(self, store: Store, clock: Clock, redaction: Redaction) -> None:
        super().__init__(store, clock)
        self._encode = redaction.encoder(SCORES)

    def set(
        self,
        run_id: str,
        name: str,
        value: float | None = None,
        *,
        label: str | None = None,
        comment: str | None = None,
        source: str = "human",
        author: str = "",
        span_id: str | None = None,
    ) -> Score:
        """Store what an author thinks of a run, or of a span of it, and return the score.

        It replaces the score of the same run, span, name, source and author. `value` is a finite
        number or a bool; `label` is a word in its place, or beside it. `source` is `"human"`,
        `"code"` or `"model"`. Raise NotFoundError if the run is not stored.
        """
        checked_run_id(run_id)
        if value is None and label is None:
            raise InvalidValueError("A score needs a value or a label.", field="value")
        now = self._clock.stamp(run_id)
        number = bool_as_number(value)
        score = Score(run_id, name, number, label, comment, source, author, span_id, None, now, now)
        row = self._encode(score)
        try:
            with self._store.transaction():
                self._store.upsert(SCORES, [row], key=_KEY, update=_CHANGES)
                stored = self._store.select(SCORES, _same_key(row), order=_BY_KEY)
        except MissingRunError as error:
            where = where_run_is(self._store, run_id)
            raise NotFoundError(f"No run {run_id!r} exists to score{where}") from error
        return SCORES.decode(stored)[0]

    def list(self, run_id: str) -> builtins.list[Score]:
        """Return all scores of a run, then those of its spans, in the order of their names."""
        where = SCORES.where(run_id=checked_run_id(run_id))
        return SCORES.decode(self._store.select(SCORES, where, order=_BY_KEY))

    def query(
        self,
        *,
        order: Direction = "newest",
        limit: int | None = 100,
        cursor: str | None = None,
        **filters: Unpack[ScoreFilters],
    ) -> Page[Score]:
        """Return one page of scores by the time at which they were first set."""
        where = self._where(filters)
        return read_page(self._store, SCORES, where, order=order, limit=limit, cursor=cursor)

    def iterate(
        self,
        *,
        order: Direction = "newest",
        snapshot: bool = True,
        **filters: Unpack[ScoreFilters],
    ) -> Stream[Score]:
        """Iterate over all scores by the time at which they were first set."""
        return open_stream(
            self._store, SCORES, self._where(filters), order=order, snapshot=snapshot
        )

    def count(self, **filters: Unpack[ScoreFilters]) -> int:
        """Return the number of scores that pass the filters."""
        return self._store.count(SCORES, self._where(filters))

    def delete(
        self,
        run_id: str,
        name: str,
        *,
        source: str = "human",
        author: str = "",
        span_id: str | None = None,
    ) -> bool:
        """Delete one score; False if it is not stored."""
        checked_run_id(run_id)
        row: dict[str, Any] = {"run_id": run_id, "name": name, "source": source, "author": author}
        where = (*SCORES.where(**row), SCORES.filter("span_id", "=", span_id or ""))
        with self._store.transaction():
            deleted = bool(self._store.delete(SCORES, where))
            if deleted:
                about = {"source": source, "author": author, "span_id": span_id}
                audit(self._store, self._clock, "delete", name, "score", run_id, **about)
        return deleted

    def _where(self, filters: ScoreFilters) -> Where:
        return SCORE_FILTERS.of(filters).where(self._clock)


def _same_key(row: dict[str, Any]) -> Where:
    return tuple(Filter(name, "=", row[name]) for name in _KEY)
