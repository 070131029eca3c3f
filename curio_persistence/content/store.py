"""Long texts stored once, as a part of a store that comes before the others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import local
from typing import Any, TypeVar

from curio_persistence.content.markers import has_marker_in_bytes
from curio_persistence.content.resolving import SHARING, DamagedText, resolved
from curio_persistence.content.seeing import seeing_texts
from curio_persistence.content.storing import has_long_text, with_markers
from curio_persistence.content.sweeping import blobs_of, sweep
from curio_persistence.errors import ClosedError, ConfigurationError, InvalidValueError
from curio_persistence.results.csv import csv_of_rows, position_at_end
from curio_persistence.store.base import Store
from curio_persistence.store.filters import COUNT, Filter, GroupKey, Measure, Select, Where
from curio_persistence.store.query import Query, ReadRows, query_of
from curio_persistence.store.table import Columns, Row, Table
from curio_persistence.tables import CONTENT, EVENTS, RUNS, USAGE

T = TypeVar("T")

_TRIES = 5
_BLOBS_AT_ONCE = 1_000
_MANY = 1_000
"""The rows with long texts in a scope that is swept once by a deletion of several transactions."""
_SCOPE = "content_scope"


class _Unswept(local):
    """The scopes that the transaction of this thread has to sweep, and those that are left."""

    def __init__(self) -> None:
        self.scopes = set[str]()
        self.left = set[str]()


class SharedContent(Store):
    """Stores the long texts of events and model calls once, and returns them as they were written.

    It is the first base of a store. What is read never depends on `dedupe`.
    """

    dedupe: bool = False
    """True where the long texts of all rows are stored once; those of a run log always are."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._unswept = _Unswept()
        super().__init__(*args, **kwargs)

    # --- writing ------------------------------------------------------------------------------

    def _is_shared(self, table: Table[Any], row: Row) -> bool:
        """Return whether a row has long texts to store once."""
        return (self.dedupe or "seq" in row) and _SCOPE not in row and has_long_text(table, row)

    def insert(self, table: Table[Any], row: Row) -> int:
        if table.name not in SHARING or not self._is_shared(table, row):
            return super().insert(table, row)  # type: ignore[safe-super]
        try:
            with self.transaction():
                [marked] = with_markers(self, table, [row])
                return super().insert(table, marked)  # type: ignore[safe-super]
        except InvalidValueError:  # A database's encoding may lack the character of markers.
            return super().insert(table, row)  # type: ignore[safe-super]

    def insert_many(self, table: Table[Any], rows: Sequence[Row]) -> Sequence[int]:
        if table.name not in SHARING or not any(self._is_shared(table, row) for row in rows):
            return super().insert_many(table, rows)
        try:
            with self.transaction():
                return super().insert_many(table, self._with_markers(table, rows))
        except InvalidValueError:
            return super().insert_many(table, rows)

    def _with_markers(self, table: Table[Any], rows: Sequence[Row]) -> list[Row]:
        places = [at for at, row in enumerate(rows) if self._is_shared(table, row)]
        marked = list(rows)
        shared = with_markers(self, table, [rows[at] for at in places])
        for at, row in zip(places, shared, strict=True):
            marked[at] = row
        return marked

    # --- reading ------------------------------------------------------------------------------

    def select_query(self, query: Query, limit: int | None, offset: int) -> Columns:
        table, names = query.table, query.table.names
        seen = query._replace(where=self._seen(table, query.where))

        def read() -> Columns:
            columns = super(SharedContent, self).select_query(seen, limit, offset)  # type: ignore[safe-super]
            whole: Columns = self._resolved(table, names, columns)
            return whole

        return self._again(read)

    def select_columns(
        self,
        table: Table[Any],
        columns: tuple[GroupKey, ...],
        where: Where = (),
        limit: int | None = None,
    ) -> list[tuple[Any, ...]]:
        where = self._seen(table, where)
        if SHARING.get(table.name, frozenset()).isdisjoint(columns):
            return super().select_columns(table, columns, where, limit)

        def read() -> list[tuple[Any, ...]]:
            rows = super(SharedContent, self).select_columns(table, columns, where, limit)
            turned = list(zip(*rows, strict=True))
            return [*zip(*self._resolved(table, columns, turned), strict=True)]

        return self._again(read)

    def aggregate(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        where: Where = (),
        *,
        group_by: tuple[GroupKey, ...] = (),
    ) -> list[tuple[Any, ...]]:
        where = self._seen(table, where)
        return super().aggregate(table, measures, where, group_by=group_by)  # type: ignore[safe-super]

    def _seen(self, table: Table[Any], where: Where) -> Where:
        """Return the filters of a query, of which some are about long texts."""
        return seeing_texts(table, where, self.stream_query) if where else where

    def _again(self, read: Callable[[], T]) -> T:
        """Return what is read, again if a deletion between rows and texts may be the trouble."""
        for _ in range(_TRIES):
            try:
                return read()
            except DamagedText as error:
                damaged = error
        raise damaged

    def _resolved(
        self, table: Table[Any], names: Sequence[Any], columns: Sequence[Sequence[Any]]
    ) -> Any:
        return resolved(table, names, columns, lambda where: self.select(CONTENT, where))

    def stream_query(self, query: Query, size: int) -> Iterator[Columns]:
        if query.table.name in SHARING and not self._is_inside() and self._has_blobs():
            yield from self._stream_of_one_state(query, size)
            return
        query = query._replace(where=self._seen(query.table, query.where))
        for columns in super().stream_query(query, size):
            yield self._resolved(query.table, query.table.names, columns)

    def _stream_of_one_state(self, query: Query, size: int) -> Iterator[Columns]:
        """Yield rows and texts as of the first ones; go on behind a fork, which ends a snapshot."""
        process, there_already = os.getpid(), self._there_already(query.table)
        is_open = True
        while is_open:
            is_open = False
            try:
                with self.snapshot() as read:
                    is_open = True
                    for columns in read(query, size):
                        yield columns
                        query = query.behind(query.last_of(columns))
                return
            except ClosedError:
                if not is_open or os.getpid() != process:
                    raise
            query = query._replace(where=query.where + there_already)

    def pages_query(self, query: Query, size: int) -> Iterator[Columns]:
        query = query._replace(where=self._seen(query.table, query.where))
        return super().pages_query(query, size)

    def stream_csv(self, query: Query) -> Iterator[bytes]:
        """Yield the rows of a query as CSV; see `results.csv`."""
        by_database = getattr(super(), "stream_csv", None)
        if by_database is None or (query.table.name in SHARING and self._has_blobs()):
            yield from csv_of_rows(self, query)
            return
        last = b""
        for text in by_database(query):
            if has_marker_in_bytes(text):  # The first one was stored just now.
                if last:
                    query = query.behind(position_at_end(last, query.order))
                yield from csv_of_rows(self, query)
                return
            yield (last := text)

    def _has_blobs(self) -> bool:
        return bool(self.select_columns(CONTENT, ("id",), (), 1))

    @contextmanager
    def snapshot(self) -> Iterator[ReadRows]:
        with super().snapshot() as read:
            yield lambda query, size: _resolved_rows(read, query, size)

    def sizes(self, table: Table[Any], where: Where = ()) -> dict[str | None, tuple[int, int]]:
        found = super().sizes(table, where)
        if table.name in SHARING and found and self._has_blobs():
            shared = (*where, Filter(_SCOPE, "is not null"))
            rows = self.aggregate(table, (COUNT,), shared, group_by=("run_id", _SCOPE))
            octets = self._octets_of_a_row({scope for _, scope, _ in rows})
            for run_id, scope, count in rows:
                before, size = found[run_id]
                found[run_id] = (before, size + int(count * octets[scope]))
        return found

    def _octets_of_a_row(self, scopes: Iterable[str]) -> dict[str, float]:
        """Return the bytes of the blobs of each scope, divided by the rows that refer to them."""
        octets = dict[str, float]()
        for scope in scopes:
            [(blobs, size)] = super().sizes(CONTENT, blobs_of(scope)).values() or [(0, 0)]
            octets[scope] = (blobs * self.row_overhead + size) / max(self._rows_of(scope), 1)
        return octets

    # --- changing -----------------------------------------------------------------------------

    def update(
        self, table: Table[Any], where: Where, changes: Row, *, returning: tuple[str, ...] = ("id",)
    ) -> list[tuple[Any, ...]]:
        content = SHARING.get(table.name, frozenset())
        if content.isdisjoint(changes) or not self._has_blobs():
            return super().update(table, where, changes, returning=returning)  # type: ignore[safe-super]
        with self.transaction():
            self._sweep_later(table, where)
            if content <= changes.keys():  # Then no marker is left.
                changes = {**changes, _SCOPE: None}
            return super().update(table, where, changes, returning=returning)  # type: ignore[safe-super]

    def delete(self, table: Table[Any], where: Where, limit: int | None = None) -> int:
        if (table.name not in SHARING and table is not RUNS) or not self._has_blobs():
            return super().delete(table, where, limit)  # type: ignore[safe-super]
        with self.transaction():
            if table is RUNS:  # And their events.
                self._sweep_later(EVENTS, (Filter("run_id", "in", Select(RUNS, "run_id", where)),))
            else:
                self._sweep_later(table, where)
            return super().delete(table, where, limit)  # type: ignore[safe-super]

    def _sweep_later(self, table: Table[Any], where: Where) -> None:
        """Sweep the scopes of rows as the last step of the transaction."""
        shared = (*where, Filter(_SCOPE, "is not null"))
        scopes = self.aggregate(table, (), shared, group_by=(_SCOPE,))
        if scopes:
            self._unswept.scopes.update(scope for (scope,) in scopes)
            self.before_commit(self._sweep)

    def _sweep(self) -> None:
        """Sweep the scopes of the transaction, all at its first such step; leave large ones."""
        scopes, self._unswept.scopes = self._unswept.scopes, set()
        for scope in sorted(scopes):
            if self._rows_of(scope) <= _MANY:
                sweep(self, self._as_stored, scope)
            else:
                self._unswept.left.add(scope)

    def sweep_texts(self) -> None:
        scopes = self._unswept.left | self._unswept.scopes
        self._unswept.left, self._unswept.scopes = set(), set()
        for scope in sorted(scopes):
            with self.transaction():
                sweep(self, self._as_stored, scope)

    def _rows_of(self, scope: str) -> int:
        """Return how many rows refer to the blobs of a scope."""
        where = (Filter(_SCOPE, "=", scope),)
        return self.count(EVENTS, where) + self.count(USAGE, where)

    def _as_stored(
        self, table: Table[Any], names: tuple[str, ...], where: Where
    ) -> list[tuple[Any, ...]]:
        return super().select_columns(table, names, where)


def _resolved_rows(read: ReadRows, query: Query, size: int) -> Iterator[Columns]:
    """Yield the rows of a snapshot with their long texts, which are read as of the same moment."""

    def blobs(where: Where) -> Columns:
        parts = [*read(query_of(CONTENT, where), _BLOBS_AT_ONCE)]
        return [[v for part in parts for v in part[at]] for at in range(len(CONTENT.names))]

    def whole(query: Query, size: int) -> Iterator[Columns]:
        for columns in read(query, size):
            yield resolved(query.table, query.table.names, columns, blobs)  # type: ignore[misc]

    where = seeing_texts(query.table, query.where, whole)
    yield from whole(query._replace(where=where), size)


def share_long_texts(store: Store) -> None:
    """Store the long texts of all rows once from now on."""
    if not isinstance(store, SharedContent):
        raise ConfigurationError(
            f"dedupe=True needs a store that shares texts, which {type(store).__name__} does not."
        )
    store.dedupe = True
