"""The contract of a backend. Everything else is built above it, once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar, Literal, NamedTuple

from curio_persistence.errors import ConflictError, MissingRunError, UnsupportedError
from curio_persistence.store.filters import COUNT, Filter, GroupKey, Measure, Order, Where
from curio_persistence.store.optional import OptionalParts
from curio_persistence.store.query import STREAM_ROWS, Position, Query, ReadRows, query_of
from curio_persistence.store.search_index import CandidateSource, SearchIndex
from curio_persistence.store.table import Columns, Row, StoredValue, Table

_OF_NUMBER, _OF_OTHERS = 8, 3
"""Bytes of a number, and of a character that is not ASCII."""
HealthLevel = Literal["ok", "warning", "error"]
Nearest = Callable[[Sequence[float], str | None, int], list[int]]
"""Returns the ids of the embeddings that are nearest to a vector: of texts of one kind or of all,
and at most so many."""


class HealthCheck(NamedTuple):
    """The result of one check: the state of one thing, and advice where it is not well."""

    name: str
    level: HealthLevel
    message: str
    advice: str = ""


class Replicated(NamedTuple):
    """A database whose rows a replica has."""

    name: str
    location: str
    behind: float | None
    """The seconds since all that was committed had been sent; None before the first time."""


class Upserted(NamedTuple):
    """The outcome of an upsert, by position."""

    ids: list[int]
    new: list[bool]
    """False where a row with this key was stored before."""


class Partition(NamedTuple):
    """The rows of a table whose time is in a span; both ends are stored times."""

    table: Table[Any]
    begin: str
    end: str

    @property
    def where(self) -> Where:
        name = self.table.ages_by
        return (Filter(name, ">=", self.begin), Filter(name, "<", self.end))


class Store(OptionalParts):
    """Rows in tables, stored by one backend.

    Any number of threads may share a store. Each writing call is committed when it returns, unless
    the calling thread is inside `transaction()`; when it raises, nothing of it is stored. Rows
    come and go in stored form (see `codecs`) and are never shared with the caller. Failures are
    `PersistenceError`s; no driver exception leaves a store.
    """

    insert_first: ClassVar[bool] = True
    """True if a refused insert costs less than a query for the conflict first."""
    writers_wait: ClassVar[bool] = True
    """True if a transaction that writes keeps all other writers waiting."""
    row_overhead: ClassVar[int] = 250
    """The bytes that a row takes besides its values, most of them in indexes; measured."""
    has_embeddings: ClassVar[bool] = True
    """False for a copy without the vectors of texts, which are not copied."""
    read_only: bool = False
    """True where every write is refused."""
    audit_key: bytes | None = None
    """The key that signs the heads of hash chains; kept here for all who share the store."""

    @property
    def identity(self) -> str:
        """An identifier of the database, the same in every process and under every address."""
        return self.location

    def active_transactions(self, table: Table[Any]) -> frozenset[str] | None:
        """Opaque ids of the other open transactions, in any session, that took ids of a table.

        None where rows become visible in the order of their ids.
        """
        return None

    def check_feed(self) -> None:  # By default, nothing.
        """Raise UnsupportedError where the open transactions of others cannot be known."""

    @property
    @abstractmethod
    def search_index(self) -> SearchIndex:
        """The full-text index of the records."""

    @property
    def candidates(self) -> CandidateSource | None:
        """The source that a search asks for records that may match: the index, or more.

        None where the rows themselves tell: the store has the filter `may have words`.
        """
        return self.search_index

    def check_writable(self) -> None:  # Most find out when they write.
        """Raise AccessDeniedError where a part of the store could be written, but must not be."""

    @property
    def indexed(self) -> Store:
        """The store whose new records the search index waits for: this one, or a part of it."""
        return self

    @property
    def for_reading(self) -> Store:
        """The store that answers pages and statistics: this one, or a replica of it.

        A replica is used while it is not far behind, and has all that this process has written.
        """
        return self

    def replicated(self) -> list[Replicated]:
        """Return the databases that this is a replica of; none if it is no replica."""
        return []

    def schema_version(self) -> int:
        """The newest migration step of the tables; 0 without tables."""
        return 0

    @abstractmethod
    def initialize(self) -> bool:
        """Create or migrate the tables; do nothing, without any lock, if they are current.

        Return True if tables of an older version were migrated.
        A store opened for reading only raises SchemaMismatchError if a step is missing.
        """

    @abstractmethod
    def insert(self, table: Table[Any], row: Row) -> int:
        """Add a row and return its id.

        Raises ConflictError if the table's unique value is taken, and MissingRunError if the
        referenced row does not exist.
        """

    def insert_many(self, table: Table[Any], rows: Sequence[Row]) -> Sequence[int]:
        """Add rows, all or none, and return their ids, in order; raises as `insert` does.

        If all rows have an `id`, these are used; see `reserve_ids`.
        """
        with self.transaction():
            return [self.insert(table, row) for row in rows]

    def upsert(
        self,
        table: Table[Any],
        rows: Sequence[Row],
        *,
        key: tuple[str, ...],
        update: tuple[str, ...] = (),
    ) -> Upserted:
        """Insert rows, all or none; where a row's unique key is taken, update these columns of it.

        Without `update` the stored row is left unchanged. Rows have no `id`. Raises as `insert`
        does.
        """
        # Sorted by key: with several orders, two transactions could deadlock.
        order = sorted(range(len(rows)), key=lambda at: str([rows[at].get(name) for name in key]))
        with self.transaction():
            done = {at: self._upsert_row(table, rows[at], key, update) for at in order}
        outcomes = [done[at] for at in range(len(rows))]
        return Upserted([ident for ident, _ in outcomes], [new for _, new in outcomes])

    def _upsert_row(
        self, table: Table[Any], row: Row, key: tuple[str, ...], update: tuple[str, ...]
    ) -> tuple[int, bool]:
        where = tuple(Filter(name, "=", row.get(name)) for name in key)
        found = [] if None in map(row.get, key) else self.select_columns(table, ("id",), where)
        if not found:
            return self.insert(table, row), True
        if update:
            changes = {name: row.get(name, table.filled.get(name)) for name in update}
            self.update(table, where, changes)
        return found[0][0], False

    def select(
        self,
        table: Table[Any],
        where: Where = (),
        *,
        order: tuple[Order, ...] | None = None,
        after: Position | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Columns:
        """Return the matching rows, column by column as in `table.names`; see `Table.decode`.

        Rows are in the given order, or else in the table's. With a position, only the rows behind
        it are returned. All columns of an order point in the same direction.
        """
        return self.select_query(query_of(table, where, order, after), limit, offset)

    @abstractmethod
    def select_query(self, query: Query, limit: int | None, offset: int) -> Columns:
        """Return the rows of `select`."""

    def stream(
        self,
        table: Table[Any],
        where: Where = (),
        *,
        order: tuple[Order, ...] | None = None,
        after: Position | None = None,
        size: int = STREAM_ROWS,
        snapshot: bool = True,
    ) -> Iterator[Columns]:
        """Yield the rows of `select`, at most `size` at a time, in constant memory.

        The stream shows the state at its first rows. Inside a transaction that includes the
        transaction's writes. Outside, a database holds a connection until the stream ends or is
        closed.

        Without `snapshot` short reads of `size` rows follow each other, between which nothing is
        held: rows inserted after the first one are left out, and rows that are changed or deleted
        meanwhile may be seen as they are then.
        """
        read = self.stream_query if snapshot else self.pages_query
        return read(query_of(table, where, order, after), size)

    def stream_query(self, query: Query, size: int) -> Iterator[Columns]:
        """Yield the rows of `stream` as of its first ones."""
        return self.pages_query(query, size)

    def pages_query(self, query: Query, size: int) -> Iterator[Columns]:
        """Yield the rows of `stream` without a snapshot."""
        query = query._replace(where=query.where + self._there_already(query.table))
        while True:
            columns = self.select_query(query, size, 0)
            if columns[0]:
                yield columns
            if len(columns[0]) < size:
                return
            query = query.behind(query.last_of(columns))

    def _there_already(self, table: Table[Any]) -> Where:
        """Return a filter that excludes rows inserted from now on.

        Otherwise a loop that inserts a row for each row it reads never ends.
        """
        newest = self.select(table, order=(Order("id", descending=True),), limit=1)
        after = next(iter(newest[table.names.index("id")]), 0) + 1
        return () if after == 2**63 else (Filter("id", "<", after),)

    @contextmanager
    def snapshot(self) -> Iterator[ReadRows]:
        """Read several tables as they are now, whatever other transactions store meanwhile.

        Yields a function that reads as `stream_query` does; one query may begin before another has
        ended. Inside a transaction, it sees its uncommitted writes. Outside, a database
        holds a connection until the end, and other connections may write.
        """
        with self.transaction():
            yield self.stream_query

    def reserve_ids(self, table: Table[Any], last: int) -> None:  # By default, nothing.
        """Assign ids above this one from now on, because rows with ids up to it are about to come.

        A store does nothing if a row without an `id` always gets one above all stored ids.
        """

    def count(self, table: Table[Any], where: Where = ()) -> int:
        """Return the number of rows that match."""
        [(count,)] = self.aggregate(table, (COUNT,), where)
        return int(count)

    def select_columns(
        self,
        table: Table[Any],
        columns: tuple[GroupKey, ...],
        where: Where = (),
        limit: int | None = None,
    ) -> list[tuple[Any, ...]]:
        """Return the stored values of some columns of the rows that match, or of any `limit`.

        They may be internal columns, which no record shows, and buckets of a column of times.
        """
        groups = self.aggregate(table, (COUNT,), where, group_by=columns)
        return [group[:-1] for group in groups for _ in range(group[-1])][:limit]

    @abstractmethod
    def update(
        self, table: Table[Any], where: Where, changes: Row, *, returning: tuple[str, ...] = ("id",)
    ) -> list[tuple[Any, ...]]:
        """Change all matching rows; return the `returning` columns of each, in any order."""

    def advance(
        self, table: Table[Any], key: StoredValue, counter: str, by: int, *, above: int = 0
    ) -> int | None:
        """Add to a counter of the row with this unique key, and return it; None without the row.

        It grows from `above` if it is less. Until the caller's transaction ends, other transactions
        that advance it wait.
        """
        where = (Filter(table.unique[0][0], "=", key),)
        with self.transaction():
            for (number,) in self.select_columns(table, (counter,), where):
                advanced = max(int(number), above) + by
                self.update(table, where, {counter: advanced})
                return advanced
        return None

    @abstractmethod
    def delete(self, table: Table[Any], where: Where, limit: int | None = None) -> int:
        """Remove the rows that match, or any `limit` of them, and those that refer to them.

        Return how many matching rows were removed.
        """

    @abstractmethod
    def aggregate(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        where: Where = (),
        *,
        group_by: tuple[GroupKey, ...] = (),
    ) -> list[tuple[Any, ...]]:
        """Return for each group its `group_by` values, then its measures, in stored form.

        Groups come in any order. The numbers are the same on every backend, to the last bit.
        """

    def sql(
        self, query: str, params: Sequence[Any], limit: int | None
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Return the column names and the rows, at most `limit`, of one reading SQL statement.

        `$1` in it stands for the first of `params`. Values are numbers, bools, None, bytes and
        stored texts; times are texts as they are stored. Raises InvalidValueError if the database
        refuses the statement, as it does if that would write, and UnsupportedError without SQL and
        inside a transaction.
        """
        raise UnsupportedError(
            f"{self.location} does not understand SQL. Copy it into a SQLite file or PostgreSQL."
        )

    def sizes(self, table: Table[Any], where: Where = ()) -> dict[str | None, tuple[int, int]]:
        """Return, by run, how many rows match, and about how many bytes their values take.

        The rows of a table without runs count as those of None.
        """
        found: dict[str | None, tuple[int, int]] = {}
        run = table.names.index("run_id") if "run_id" in table.names else None
        for row in self.select_columns(table, table.names, where):
            run_id = None if run is None else row[run]
            rows, octets = found.get(run_id, (0, 0))
            found[run_id] = (rows + 1, octets + sum(map(_octets, row)))
        return found

    @abstractmethod
    def compact(self) -> None:
        """Return free space to the system, and leave nothing of deleted rows.

        Not allowed inside a transaction. Raises BusyError while a reader still sees deleted rows.
        """

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """Group this thread's calls: all are committed at the end, or none if the block raises.

        Inside another transaction it is a savepoint. A failed call inside undoes only
        itself, and reads see the writes.
        """

    def before_commit(self, action: Callable[[], object]) -> None:
        """Call an action as the last step of the caller's transaction; now if none is open.

        It is not called if the transaction, or the block inside it that asks for it, is rolled
        back. If it raises, so does the commit.
        """
        action()

    @abstractmethod
    def _is_inside(self) -> bool:
        """Return whether this call belongs to a transaction of its thread.

        Raises UnsupportedError if another asyncio task has one open in this thread.
        """

    def check_outside(self, call: str) -> None:
        """Raise UnsupportedError, naming a call, if a transaction is open in this thread."""
        if self._is_inside():
            raise UnsupportedError(f"A transaction is open in this thread: end it before {call}.")

    def advisory_lock(self, purpose: str) -> None:  # By default, nothing.
        """Wait, inside a transaction, until no other one holds the lock for this purpose.

        The rows stored under it are visible from then on. A store does nothing if a transaction
        excludes all other writers anyway.
        """

    def lock_rows(
        self,
        table: Table[Any],
        ids: Collection[int],
        *,
        wait: bool = False,
        shared: bool = False,
    ) -> set[int]:
        """Lock rows, inside a transaction, against changes and new references; return their ids.

        Rows that another transaction has deleted are left out; those that it has locked are left
        out too, unless this call waits for them. A `shared` lock, which waits, only keeps others
        from deleting the rows and from locking them otherwise. A store does nothing if a
        transaction excludes all other writers anyway.
        """
        return set(ids)

    def try_advisory_lock(self, purpose: str) -> bool:
        """Acquire, inside a transaction, the lock for this purpose, or return False at once."""
        return True

    @abstractmethod
    def diagnose(self, *, deep: bool = False) -> list[HealthCheck]:
        """Return the checks of the backend's health, without changing anything.

        The time does not depend on the number of rows, except with `deep`.
        """

    @abstractmethod
    def close(self) -> None:
        """Release all connections; every later call raises ClosedError. Closing twice is fine."""


def conflict(table: Table[Any], row: Row) -> ConflictError:
    """Return the error for a row whose unique value, or id, is taken."""
    taken = (
        ", ".join(f"{name} {row[name]!r}" for name in key)
        for key in (*table.unique, ("id",))
        if all(map(row.get, key))
    )
    return ConflictError(f"{table.name} has {next(taken, 'one of these')} already.")


def missing_reference(table: Table[Any], row: Row) -> MissingRunError:
    """Return the error for a row whose referenced row does not exist."""
    reference = table.references
    column = reference.column if reference else ""
    return MissingRunError(
        f"{table.name} names {column} {row.get(column)!r}, which does not exist."
    )


def _octets(value: object) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else _OF_OTHERS * len(value)
    if isinstance(value, bytes):
        return len(value)
    return 0 if value is None else _OF_NUMBER
