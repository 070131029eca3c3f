"""Query results: records that stay columns until the caller asks for one of them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from typing import Any, Generic, Literal, Self, TypeVar, get_args, overload
from weakref import WeakSet

from curio_persistence.concurrency.time_limit import check_reading_time
from curio_persistence.errors import ClosedError, InvalidValueError
from curio_persistence.results.arrow import arrow_schema, arrow_table, arrow_tables_of_csv, pyarrow
from curio_persistence.results.csv import stream_csv
from curio_persistence.results.html import html_table
from curio_persistence.results.pandas import data_frame
from curio_persistence.store.base import Store
from curio_persistence.store.column import Kind
from curio_persistence.store.cursors import Cursors
from curio_persistence.store.filters import Order, Where, checked_count
from curio_persistence.store.query import STREAM_ROWS, position_of_last, query_of
from curio_persistence.store.table import Columns, Record, Table
from curio_persistence.tables import table_of

M = TypeVar("M", bound=Record)
T = TypeVar("T")

Direction = Literal["newest", "oldest"]
"""Which records come first."""
_DIRECTIONS = get_args(Direction)

AddColumns = Callable[[Columns], Columns]
"""Returns the columns of stored records, and those computed of them."""

_AT_A_TIME = 1_000
_ROWS_OF_A_FRAME = 10_000
"""Rows converted into a data frame at a time: each conversion costs a millisecond."""
_MOST = 2**63 - 1


class Records(Generic[M]):
    """Records that were read; they can be counted, indexed, sliced and iterated like a list.

    A record is built when it is asked for; the `to_…` methods read the columns without building
    any.
    """

    # Not a Sequence: polars would iterate over one instead of reading its columns.

    def __init__(self, table: Table[M], columns: Columns) -> None:
        self._table = table
        self._columns = columns

    def __getstate__(self) -> dict[str, Any]:
        # A table has functions that cannot be pickled; its model stands for it.
        return vars(self) | {"_table": self._table.model}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _table=table_of(state["_table"]))

    def __len__(self) -> int:
        return len(self._columns[0])

    @overload
    def __getitem__(self, index: int) -> M: ...
    @overload
    def __getitem__(self, index: slice) -> Records[M]: ...
    def __getitem__(self, index: int | slice) -> M | Records[M]:
        if isinstance(index, slice):
            return Records(self._table, self._part(index))
        return self._table.decode([[column[index]] for column in self._columns])[0]

    def _part(self, some: slice) -> Columns:
        return [column[some] for column in self._columns]

    def __iter__(self) -> Iterator[M]:
        if len(self) <= _AT_A_TIME:
            return iter(self._table.decode(self._columns))
        starts = range(0, len(self), _AT_A_TIME)
        parts = (self._part(slice(start, start + _AT_A_TIME)) for start in starts)
        return chain.from_iterable(map(self._table.decode, parts))

    def __contains__(self, record: object) -> bool:
        return any(each == record for each in self)

    def __reversed__(self) -> Iterator[M]:
        return iter(self[::-1])

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return each record's `to_dict()`."""
        return _dicts(self._table, self._columns)

    def to_pandas(self, *, expand: str | Iterable[str] = ()) -> Any:
        """Return a `pandas.DataFrame`; needs `pip install 'curio-persistence[pandas]'`.

        Integers are nullable `Int64`; times are in UTC to the microsecond; costs are the nearest
        floats; tags are lists. A lone surrogate in a text becomes U+FFFD. The types do not depend
        on the rows.

        `expand="data"`, or several names, adds a column for each member of the JSON objects in that
        column, such as `data.tool_name`, after all others. Its type holds all its values: `Int64`,
        floats, nullable booleans, text, or else Python objects. Rows without the member have no
        value. Raises InvalidValueError for a column that has no JSON.
        """
        return data_frame(self._table, [self._columns], expand)

    def to_arrow(self) -> Any:
        """Return a `pyarrow.Table`; needs `pip install 'curio-persistence[arrow]'`.

        Times are in UTC to the microsecond, costs are exact decimals, tags are JSON. A lone
        surrogate in a text, which Arrow cannot hold, becomes U+FFFD. The types do not depend on the
        rows.
        """
        return arrow_table(self._table, self._columns)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Export by the Arrow PyCapsule protocol, which polars, pandas, DuckDB and pyarrow read."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def _repr_html_(self) -> str:
        return html_table(self._table, self._columns, self._heading())

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._heading()}>"

    def _heading(self) -> str:
        noun = self._table.name.removeprefix("agent_").replace("_", " ")
        return f"{len(self):,} {noun}"


class Page(Records[M]):
    """One page of a query's records.

    Hand `next_cursor` to the same query for the next page; it is None on the last page. Records
    that are stored or deleted meanwhile neither move nor repeat any other.
    """

    def __init__(self, table: Table[M], columns: Columns, next_cursor: str | None) -> None:
        super().__init__(table, columns)
        self.next_cursor = next_cursor

    def _heading(self) -> str:
        return super()._heading() + (" and more" if self.next_cursor else "")


class Stream(Generic[M]):
    """All of a query's records, read during iteration, in constant memory.

    Each iteration asks the database again and shows the state at its begin; inside a transaction
    it includes the transaction's writes. An iteration holds a database connection of its own until
    it ends or is dropped. A `with` block, or `close()`, ends the iterations that are left.

    Without `snapshot` an iteration reads page by page and holds nothing between two pages; records
    that are changed or deleted meanwhile may be seen as they are then.
    """

    def __init__(
        self,
        store: Store,
        table: Table[M],
        where: Where,
        order: tuple[Order, ...],
        *,
        snapshot: bool = True,
    ) -> None:
        self._store = store
        self._snapshot = snapshot
        self._table = table
        self._where = where
        self._order = order
        self._passes: WeakSet[Any] = WeakSet()
        self._closed = False

    def __iter__(self) -> Iterator[M]:
        return chain.from_iterable(map(self._table.decode, self._chunks()))

    def batches(self) -> Generator[list[M], None, None]:
        """Yield the records in lists of some hundred; `close()` of the generator ends it."""
        for columns in self._chunks():
            yield self._table.decode(columns)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return each record's `to_dict()`, all in memory."""
        return [each for columns in self._chunks() for each in _dicts(self._table, columns)]

    def to_pandas(self, *, expand: str | Iterable[str] = ()) -> Any:
        """Return all records as a `pandas.DataFrame`; see `Records.to_pandas`."""
        return data_frame(self._table, self._chunks(_ROWS_OF_A_FRAME), expand)

    def to_arrow(self) -> Any:
        """Return all records as a `pyarrow.Table`; see `Records.to_arrow`."""
        return self._reader().read_all()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Export by the Arrow PyCapsule protocol, batch by batch in constant memory."""
        return self._reader().__arrow_c_stream__(requested_schema)

    def _reader(self) -> Any:
        batches = (batch for table in self._arrow_tables() for batch in table.to_batches())
        return pyarrow().RecordBatchReader.from_batches(arrow_schema(self._table), batches)

    def _arrow_tables(self) -> Iterator[Any]:
        if not self._snapshot:
            return (arrow_table(self._table, each) for each in self._chunks(_ROWS_OF_A_FRAME))
        texts = stream_csv(self._store, query_of(self._table, self._where, self._order))
        return arrow_tables_of_csv(self._table, self._order, self._pass(texts))

    def _chunks(self, size: int = STREAM_ROWS) -> Iterator[Columns]:
        chunks = self._store.stream(
            self._table, self._where, order=self._order, size=size, snapshot=self._snapshot
        )
        return self._pass(chunks)

    def _pass(self, chunks: Iterator[T]) -> Iterator[T]:
        """Yield the chunks; raise ClosedError if the stream is closed meanwhile."""
        self._check_open()
        self._passes.add(chunks)
        for chunk in chunks:
            self._check_open()
            check_reading_time()
            yield chunk
        self._check_open()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("This stream was closed. Ask for a new one.")

    def close(self) -> None:
        """End all iterations and give their connections back."""
        self._closed = True
        for chunks in list(self._passes):
            with suppress(ValueError):  # Another thread is iterating it and ends it.
                chunks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Stream: {self._table.name} of {self._store!r}>"


class ComputedStream(Stream[M]):
    """All of a query's records, read page by page, with more columns that are computed."""

    def __init__(self, stored: Stream[Any], table: Table[M], add: AddColumns) -> None:
        super().__init__(stored._store, stored._table, stored._where, stored._order, snapshot=False)
        self._stored, self._table, self._add = stored._table, table, add

    def _chunks(self, size: int = STREAM_ROWS) -> Iterator[Columns]:
        stored = self._store.stream(
            self._stored, self._where, order=self._order, size=size, snapshot=False
        )
        return self._pass(self._add(columns) for columns in stored)


def computed_page(stored: Page[Any], table: Table[M], add: AddColumns) -> Page[M]:
    """Return a page of records with more columns, which are computed."""
    return Page(table, add(stored._columns), stored.next_cursor)


def read_page(
    store: Store,
    table: Table[M],
    where: Where,
    *,
    order: Direction,
    limit: int | None,
    cursor: str | None,
    without: tuple[str, ...] = (),
) -> Page[M]:
    """Return the records after a cursor, or the first page; `limit=None` returns all.

    Columns that it is to be `without` are not read, and None in its records.
    """
    ordered = _in_order(table, order)
    cursors = Cursors(store, table.name, where, ordered)
    after = None if cursor is None else cursors.read(cursor)
    count = _MOST if limit is None else checked_count("limit", limit)
    # One more row tells whether there is another page.
    most = count + 1 if count < _MOST else None
    # What is filtered by is read: archived rows are compared after that.
    part = _part(table, tuple(sorted({*without} - _asked(where)))) if without else table
    columns = store.select(part, where, order=ordered, after=after, limit=most)
    columns = _widened(table, part, columns, without) if without else columns
    if len(columns[0]) <= count:
        return Page(table, columns, None)
    columns = [column[:count] for column in columns]
    position = position_of_last(table, ordered, columns) if count else None
    return Page(table, columns, cursors.write(position) if position else None)


@lru_cache
def _part(table: Table[Any], without: tuple[str, ...]) -> Table[Any]:
    return table.part(*(name for name in table.names if name not in without))


def _asked(where: Where) -> set[str]:
    """Return the columns that filters ask."""
    return {
        name
        for each in where
        for name in (set().union(*map(_asked, each.value)) if each.op == "any" else {each.column})
    }


def _widened(
    table: Table[Any], part: Table[Any], columns: Columns, without: tuple[str, ...]
) -> Columns:
    """Return the columns of a table, of which only a part was read."""
    read = dict(zip(part.names, columns, strict=True))
    nothing = (None,) * len(columns[0])
    return [nothing if name in without else read[name] for name in table.names]


def open_stream(
    store: Store, table: Table[M], where: Where, *, order: Direction, snapshot: bool
) -> Stream[M]:
    """Return a stream of all records."""
    return Stream(store, table, where, _in_order(table, order), snapshot=snapshot)


def is_descending(direction: Direction) -> bool:
    """Return whether the newest come first; raise InvalidValueError for another word."""
    if direction not in _DIRECTIONS:
        raise InvalidValueError(f'order is "newest" or "oldest", not {direction!r}.', field="order")
    return direction == "newest"


def _in_order(table: Table[Any], direction: Direction) -> tuple[Order, ...]:
    return _ordered(table, newest_first=is_descending(direction))


@lru_cache
def _ordered(table: Table[Any], *, newest_first: bool) -> tuple[Order, ...]:
    return tuple(Order(column, newest_first) for column, _ in table.order)


def _dicts(table: Table[Any], columns: Columns) -> list[dict[str, Any]]:
    with table.naming_damage(columns):
        read = [
            _TO_PLAIN[kind](column) if kind in _TO_PLAIN else column
            for kind, column in zip(
                table.kinds.values(), table.decode_columns(columns), strict=True
            )
        ]
        return [dict(zip(table.names, row, strict=True)) for row in zip(*read, strict=True)]


_TO_PLAIN: dict[Kind, Callable[[Iterable[Any]], Iterable[Any]]] = {
    "time": lambda column: [None if time is None else time.isoformat() for time in column],
    "money": lambda column: [None if cost is None else str(cost) for cost in column],
}
