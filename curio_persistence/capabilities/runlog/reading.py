"""Read the entries of a run log in their order, in pages."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, get_args

from curio_persistence.capabilities.runlog.rows import (
    FROM_THE_END,
    IN_ORDER,
    MOST,
    entries_of,
    merged,
)
from curio_persistence.errors import InvalidValueError
from curio_persistence.results.pages import Direction, Stream
from curio_persistence.runlog.entries import RunLogEntry
from curio_persistence.runlog.steps import Ranges
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_integer
from curio_persistence.store.filters import Filter, Where
from curio_persistence.store.query import STREAM_ROWS
from curio_persistence.store.table import Columns
from curio_persistence.tables import EVENTS

_MANY = 1_000

_SEQ = EVENTS.names.index("seq")


class LogQuery(NamedTuple):
    """The entries of a session that match, those of each kind by its index."""

    where: Where
    """All filters but the kind, and the bounds."""
    kinds: tuple[str, ...] | None
    after: int
    """Only entries behind this sequence."""
    until: int | None
    """Only entries up to this sequence."""
    descending: bool

    def page(self, store: Store, limit: int | None) -> Columns:
        """Return the first entries, in the columns of events."""
        if self.kinds is None:
            return self._of_kind(store, (), limit)
        parts = [self._of_kind(store, _is(kind), limit) for kind in self.kinds]
        return parts[0] if len(parts) == 1 else merged(parts, self.descending, limit)

    def count(self, store: Store) -> int:
        """Return the number of entries."""
        if self.kinds is None:
            return store.count(EVENTS, self._filters(()))
        return sum(store.count(EVENTS, self._filters(_is(kind))) for kind in self.kinds)

    def _of_kind(self, store: Store, kind: Where, limit: int | None) -> Columns:
        order = FROM_THE_END if self.descending else IN_ORDER
        return store.select(EVENTS, self._filters(kind), order=order, limit=limit)

    def _filters(self, kind: Where) -> Where:
        where = (*self.where, *kind, Filter("seq", ">", self.after))
        return where if self.until is None else (*where, Filter("seq", "<", self.until + 1))

    def behind(self, columns: Columns) -> LogQuery:
        """Return the query for the entries that follow some."""
        last = columns[_SEQ][-1]
        return self._replace(until=last - 1) if self.descending else self._replace(after=last)

    def within(self, window: tuple[int, int] | None) -> LogQuery:
        """Return the query for those of its entries that are in a window."""
        if window is None:
            return self
        first, last = window
        until = last if self.until is None else min(last, self.until)
        return self._replace(after=max(first - 1, self.after), until=until)

    def past(self, ranges: Ranges) -> LogQuery:
        """Return the query without the range of sequences, if it is in one, that comes next."""
        if self.descending:
            found = None if self.until is None else ranges.around(self.until)
            return self if found is None else self._replace(until=max(found[0] - 1, 0))
        found = ranges.around(self.after + 1)
        return self if found is None else self._replace(after=min(found[1], MOST))

    def pages(self, store: Store, size: int) -> Iterator[Columns]:
        """Yield all entries, so many at a time. Nothing is held in between.

        The order in which entries become visible is that of their sequences, so that none is
        passed by, except those whose sequences were allocated long before.
        """
        query = self
        while True:
            columns = query.page(store, size)
            if columns[0]:
                yield columns
            if len(columns[0]) < size:
                return
            query = query.behind(columns)


def _is(kind: str) -> Where:
    return (Filter("event_type", "=", kind),)


def window_of_run(store: Store, run_id: str) -> tuple[int, int] | None:
    """Return the first and last sequence of a run; None if it has many entries, or none.

    Runs follow each other in most sessions. An index finds the entries of a kind within a window,
    without those of other runs.
    """
    where = (Filter("run_id", "=", run_id), Filter("seq", "is not null"))
    seqs = [seq for (seq,) in store.select_columns(EVENTS, ("seq",), where, _MANY)]
    return (min(seqs), max(seqs)) if 0 < len(seqs) < _MANY else None


def log_query(session_id: str, order: Direction, filters: Mapping[str, Any]) -> LogQuery:
    """Return the query for entries of a session, its arguments checked."""
    unknown = filters.keys() - {"run_id", "agent_id", "kinds", "after", "until"}
    if unknown:
        raise TypeError(f"{min(unknown)!r} is not a filter of entries.")
    newest = is_newest(order)
    names = {name: filters.get(name) for name in ("run_id", "agent_id")}
    return LogQuery(
        EVENTS.where(session_id=session_id, **names),
        _checked_kinds(filters.get("kinds")),
        checked_bound("after", filters.get("after")) or 0,
        checked_bound("until", filters.get("until")),
        newest,
    )


def is_newest(order: Any) -> bool:
    """Return whether the newest come first."""
    if order not in get_args(Direction):
        raise InvalidValueError(f'order is "newest" or "oldest", not {order!r}.', field="order")
    return bool(order == "newest")


def _checked_kinds(kinds: str | Collection[str] | None) -> tuple[str, ...] | None:
    if kinds is None:
        return None
    if isinstance(kinds, str):
        kinds = (kinds,)
    if not isinstance(kinds, Iterable):
        raise InvalidValueError(
            f"kinds is a kind or some, not {type(kinds).__name__}.", field="kinds"
        )
    return tuple(dict.fromkeys(str(EVENTS.encode_value("event_type", kind)) for kind in kinds))


def checked_bound(name: str, value: Any) -> int | None:
    """Return a sequence that bounds what is read; 0 for one before the first."""
    if value is None:
        return None
    try:
        return max(encode_integer(value), 0)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{name} {error}.", field=name) from error


class EntryStream(Stream[Any]):
    """All entries of a query, read during iteration, in constant memory.

    The `to_…` methods return the events that the entries are stored as.
    """

    def __init__(self, store: Store, query: LogQuery) -> None:
        order = FROM_THE_END if query.descending else IN_ORDER
        super().__init__(store, EVENTS, query.where, order, snapshot=False)
        self._query = query

    def __iter__(self) -> Iterator[RunLogEntry]:
        for columns in self._chunks():
            yield from entries_of(columns)

    def batches(self) -> Generator[list[RunLogEntry], None, None]:
        """Yield the entries in lists of some hundred; `close()` of the generator ends it."""
        for columns in self._chunks():
            yield [*entries_of(columns)]

    def _chunks(self, size: int = STREAM_ROWS) -> Iterator[Columns]:
        return self._pass(self._query.pages(self._store, size))
