"""SQLite: one writer behind a fair lock, one reader for each thread, in WAL mode.

Writers wait their turn in Python, in order, instead of racing for the file lock; readers wait for
nobody. A `:memory:` database is one connection that all share.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shlex
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from threading import RLock
from typing import Any, Literal, TypeVar
from weakref import WeakSet

from curio_persistence.backends.sql import health, migrations
from curio_persistence.backends.sql.store import (
    Params,
    Result,
    SQLSnapshot,
    SQLStore,
    columns_of,
)
from curio_persistence.backends.sqlite import payloads, wal
from curio_persistence.backends.sqlite.errors import SQLiteErrors
from curio_persistence.backends.sqlite.free_space import Room
from curio_persistence.backends.sqlite.group_commit import PendingInsert
from curio_persistence.backends.sqlite.search import SQLiteSearchIndex
from curio_persistence.backends.sqlite.side_by_side import side_by_side
from curio_persistence.concurrency import forking
from curio_persistence.concurrency.fair_lock import FairLock, Ticket
from curio_persistence.concurrency.timeouts import checked_seconds
from curio_persistence.errors import (
    AccessDeniedError,
    BusyError,
    ClosedError,
    ConfigurationError,
    PersistenceError,
    StorageFullError,
    UnavailableError,
    UnsupportedError,
)
from curio_persistence.results.csv import csv_columns, csv_in_pieces, csv_of_rows, is_quoted
from curio_persistence.store.base import (
    STREAM_ROWS,
    Finding,
    Position,
    Snapshot,
    conflict,
    missing_reference,
)
from curio_persistence.store.filters import Bucket, Filter, GroupKey, Order, Where, beyond
from curio_persistence.store.table import Columns, Kept, Row, Table
from curio_persistence.store.transaction import ThreadTransaction, Transaction, left_elsewhere

T = TypeVar("T")
Durability = Literal["normal", "full"]

_OLDEST_ENGINE = (3, 37, 0)
_STATEMENTS = 256
_MOST_VALUES = 8_192
"""How many values one statement binds: 512 rows of events. Any SQLite takes 32,766."""
_TAKEN = (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
_LONGEST = 64 << 20
"""How many bytes one piece of CSV may have, unless it is a single row."""
_ANY_LENGTH = 2**31 - 1
_LARGE = 100_000
_URL = re.compile("[A-Za-z][A-Za-z0-9+.-]+:/")  # Two letters at least: C:/ is a drive.


class _Reader:
    """The connection of one thread or stream. Only a fork or a close contends for its `lock`."""

    connection: sqlite3.Connection | None = None
    for_one_read = False

    def __init__(self, retired: deque[sqlite3.Connection]) -> None:
        self._retired = retired
        self.lock = RLock()

    def close(self) -> None:
        """Close the connection; the caller holds `lock`."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def retire(self) -> None:
        """Leave the connection to the next thread that opens or closes one.

        A garbage collection may call this anywhere, so it must not wait for a lock.
        """
        if self.connection is not None:
            self._retired.append(self.connection)
            self.connection = None

    __del__ = retire


class _Thread(ThreadTransaction):
    reader: _Reader | None = None


class _Refused(Exception):
    """Some row of a batch cannot be stored; SQLite does not say which."""


class SQLiteStore(SQLStore):
    """Rows in a SQLite file, or in memory with the path `:memory:`.

    `durability="normal"` survives a crash of the process, `"full"` a power cut too. `lock_timeout`
    is how many seconds a call waits for another writer before it raises BusyError.
    """

    dialect = "sqlite"
    placeholder = "?"
    _mine: _Thread
    _begin = "BEGIN IMMEDIATE"
    _no_limit = " LIMIT -1"
    _differs_from = "IS NOT"
    _any_of = "IN (SELECT value FROM json_each(?))"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "normal",
        read_only: bool = False,
        lock_timeout: float = 30.0,
    ) -> None:
        super().__init__(_Thread(), read_only=read_only)
        if sqlite3.sqlite_version_info < _OLDEST_ENGINE:
            raise ConfigurationError(
                f"This Python is linked with SQLite {sqlite3.sqlite_version}; "
                f"{'.'.join(map(str, _OLDEST_ENGINE))} or newer is needed. Use a newer Python."
            )
        if durability not in ("normal", "full"):
            raise ConfigurationError(f"durability is 'normal' or 'full', not {durability!r}.")
        self._in_memory = path == ":memory:"
        if self._in_memory and read_only:
            raise ConfigurationError("A :memory: database cannot be opened read-only: it is empty.")
        self._path = _path(path)
        # Absolute, because the process may change its folder before the next thread reads.
        self._file = self._path.absolute()
        self._log = wal.WriteAheadLog(self._file)
        self._synchronous = durability.upper()
        self._lock_timeout = checked_seconds("lock_timeout", lock_timeout)
        self._errors = SQLiteErrors(
            self._path, lock_timeout=self._lock_timeout, init_command=self._init_command
        )
        self._search_index = SQLiteSearchIndex(self._read, self._write)
        self._lock = FairLock()
        self._writer: sqlite3.Connection | None = None
        self._readers: WeakSet[_Reader] = WeakSet()
        self._readers_lock = RLock()
        self._retired: deque[sqlite3.Connection] = deque()
        self._closed = ""
        self._settled = False
        self._fork = Ticket()
        self._frozen: list[RLock] = []
        forking.follow(self)

    def __repr__(self) -> str:
        return f"SQLiteStore({str(self._path)!r})"

    # --- the tables ---------------------------------------------------------------------------

    def initialize(self) -> None:
        if self._read_only or self._file_exists():
            super().initialize()
        else:
            self._migrate()

    def _migrate(self) -> None:
        self._prepare_file()
        super()._migrate()

    def _run_script(self, sql: str) -> None:
        for statement in _statements(sql):
            self._write(statement, ())

    def _our_columns(self) -> list[tuple[Any, ...]]:
        names = ", ".join("?" * len(migrations.OUR_TABLES))
        return self._read(
            "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c "
            f"WHERE m.type IN ('table', 'view') AND lower(m.name) IN ({names})",
            migrations.OUR_TABLES,
        )

    def _qualified(self, name: str) -> str:
        return name

    def _prepare_file(self) -> None:
        """Settings that live in the file. auto_vacuum can only be chosen while it is empty."""
        deadline = time.monotonic() + self._lock_timeout
        lock, ticket = self._lock, Ticket()
        try:
            self._acquire(ticket)
            connection = self._writer or self._open_writer(create=True)
            while True:
                try:
                    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                    connection.execute("PRAGMA journal_mode = WAL").fetchall()
                    return
                except sqlite3.OperationalError as error:
                    # Of several processes that create a file at once, SQLite lets one switch the
                    # mode and answers the others at once, whatever the timeout.
                    busy = (error.sqlite_errorcode & 0xFF) == sqlite3.SQLITE_BUSY
                    if not busy or time.monotonic() > deadline:
                        raise self._translate(error) from error
                    time.sleep(0.01)
                except sqlite3.Error as error:
                    raise self._translate(error) from error
        finally:
            lock.release(ticket)
            lock.wake()

    @property
    def place(self) -> str:
        return f"The database {self._path}"

    @property
    def search_index(self) -> SQLiteSearchIndex:
        return self._search_index

    def compact(self) -> None:
        if self._is_inside():
            raise UnsupportedError("A transaction is open in this thread: end it before compact().")
        with self.transaction():
            self._search_index.optimize()
        self._write("VACUUM", ())
        [(busy, *_)] = self._write("PRAGMA wal_checkpoint(TRUNCATE)", ())[0]
        if busy:
            raise BusyError(
                f"{self.place} was compacted, but somebody still reads what it was before: its log "
                "keeps that for as long. Run it again when they have ended."
            )

    def _command(self, name: str) -> str:
        return f"curio-persistence {name} --db-path {shlex.quote(str(self._path))}"

    def _file_exists(self) -> bool:
        return self._in_memory or os.path.exists(self._file)  # it never raises  # noqa: PTH110

    # --- statements ---------------------------------------------------------------------------

    def _newness(self, table: Table[Any]) -> tuple[str, Params]:
        rows = self._read("SELECT seq FROM sqlite_sequence WHERE name = ?", (table.name,))
        return "id > ?", rows[0] if rows else (0,)

    def insert(self, table: Table[Any], row: Row) -> int:
        columns = tuple(row)
        sql = self._texts.get((table, columns)) or self._text(
            (table, columns), lambda: self._insert_text(table, columns)
        )
        if not self._tables_are_ours:
            self._refuse_foreign_tables()
        # The hottest path: what `_write` does, without the function calls.
        transaction, lock, ticket = self._mine.current(), self._lock, Ticket()
        try:
            if transaction is not None:
                with transaction.lock:
                    cursor = self._connection_of(transaction).execute(sql, tuple(row.values()))
            elif lock.acquire_at_once(ticket):
                cursor = self._execute(sql, tuple(row.values()))
            else:
                return self._insert_in_turn(PendingInsert(table, row), sql)
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
                raise missing_reference(table, row) from error
            if error.sqlite_errorcode in _TAKEN:
                raise conflict(table, row) from error
            raise self._translate(error) from error
        except sqlite3.Error as error:
            raise self._translate(error) from error
        finally:
            if transaction is None:
                lock.release(ticket)
                lock.wake()
        return cursor.lastrowid or 0

    def _execute(self, sql: str, params: Params) -> sqlite3.Cursor:
        """Run a statement that is a transaction of its own; the caller holds the lock."""
        connection = self._writer or self._open_writer()
        cursor = connection.execute(sql, params)
        if connection.total_changes >= self._log.next_look:
            self._log.look_after(connection)
        return cursor

    def _insert_in_turn(self, mine: PendingInsert, sql: str) -> int:
        """Wait for the writer, and lead a group; or follow the thread that has it before."""
        deadline = time.monotonic() + self._lock_timeout
        lock, followers = self._lock, list[PendingInsert]()
        try:
            while mine.ident is None and not lock.acquire(mine, deadline - time.monotonic()):
                if mine.leader is None:
                    raise self._held_too_long()
                mine.follow(lock)
                if mine.ident is None and time.monotonic() >= deadline:
                    raise self._held_too_long()
            if mine.ident is None and not mine.alone:
                mine.lead(lock, followers)
                self._insert_together([mine, *followers])
            if mine.ident is None:
                return self._execute(sql, tuple(mine.row.values())).lastrowid or 0
        except BusyError:
            if mine.ident is None:
                raise
        finally:
            lock.release(mine)
            # The next thread first, so that the disk is at work while those of this group wake up.
            lock.wake()
            for follower in followers:
                follower.ring()
        return mine.ident or 0

    def _insert_together(self, members: list[PendingInsert]) -> None:
        """Store rows by one statement; if SQLite refuses one of them, each half by one.

        Down to single ones, which are left to their threads: there they are stored, or raise.
        """
        if len(members) < 2:
            return
        table = members[0].table
        columns, lines = table.align([member.row for member in members])
        connection = self._writer or self._open_writer()
        try:
            cursor = connection.cursor()
            for behind, member in enumerate(reversed(members)):
                member.be_stored_by(cursor, behind=behind)
            sql = self._lines_text(table, columns, len(lines))
            cursor.execute(sql, tuple(chain.from_iterable(lines)))
            if connection.total_changes >= self._log.next_look:
                self._log.look_after(connection)
        except sqlite3.IntegrityError:
            half = len(members) // 2
            self._insert_together(members[:half])
            self._insert_together(members[half:])
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise self._translate(error) from error
        except Exception:  # Not raised here: the row's own thread tries it alone, and gets it.
            return

    def insert_many(self, table: Table[Any], rows: Sequence[Row]) -> Sequence[int]:
        if not rows:
            return ()
        if not self._tables_are_ours:
            self._refuse_foreign_tables()
        columns, lines = table.align(rows)
        try:
            with self.transaction():
                last = self._insert_lines(table, columns, lines)
        except _Refused:
            return super().insert_many(table, rows)  # One by one, to name the row.
        if "id" in columns:
            return [int(row["id"] or 0) for row in rows]
        return range(last - len(rows) + 1, last + 1)

    def _largest_id(self, table: Table[Any]) -> str:
        return self._text(
            (table, "largest id"), lambda: f"SELECT max(id) FROM {self._table(table)}"
        )

    def _insert_lines(
        self, table: Table[Any], columns: tuple[str, ...], lines: list[tuple[Kept, ...]]
    ) -> int:
        """Insert rows inside a transaction, where their ids are consecutive; return the last id."""
        transaction = self._mine.required()
        try:
            with transaction.lock:
                connection = self._connection_of(transaction)
                self._insert_on(connection, table, columns, lines)
                [(last,)] = connection.execute("SELECT last_insert_rowid()")
        except sqlite3.IntegrityError as error:
            raise _Refused from error
        except sqlite3.Error as error:
            raise self._translate(error) from error
        return int(last)

    def _insert_on(
        self,
        connection: sqlite3.Connection,
        table: Table[Any],
        columns: tuple[str, ...],
        lines: list[tuple[Kept, ...]],
    ) -> None:
        if threading.active_count() == 1:
            connection.executemany(self._lines_text(table, columns, 1), lines)
            return
        # `executemany` gives the interpreter away at every row, and beside a thread that computes
        # gets it back 5 ms later: 700 rows/s. Long statements make that 60,000.
        for part in _powers_of_two(lines, _MOST_VALUES // len(columns)):
            sql = self._lines_text(table, columns, len(part))
            connection.execute(sql, tuple(chain.from_iterable(part)))

    def _lines_text(self, table: Table[Any], columns: tuple[str, ...], count: int) -> str:
        return self._text((table, columns, count), lambda: self._insert_text(table, columns, count))

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
        order = table.order if order is None else order
        # Of a window's end and a position SQLite takes one to begin at, and it takes the window's:
        # a far page would pass by all the rows before it.
        where = beyond(where, order, after)
        return super().select(table, where, order=order, after=after, limit=limit, offset=offset)

    def stream(
        self,
        table: Table[Any],
        where: Where = (),
        *,
        order: tuple[Order, ...] | None = None,
        after: Position | None = None,
        size: int = STREAM_ROWS,
    ) -> Iterator[Columns]:
        if self._is_inside() or self._in_memory:
            yield from super().stream(table, where, order=order, after=after, size=size)
            return
        order = table.order if order is None else order
        with self._own_reader() as reader:
            with reader.lock, self._translating():
                connection = self._open_reader(reader)
            yield from self._read_stream(reader, connection, table, where, order, after, size)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        if self._is_inside() or self._in_memory:
            with super().snapshot() as snapshot:
                yield snapshot
            return
        with self._own_reader() as reader:
            with reader.lock, self._translating():
                connection = self._open_reader(reader)
                connection.execute("BEGIN")
                _version(connection)  # Which reads, and so fixes the state that it sees.
            yield SQLSnapshot(partial(self._read_stream, reader, connection))

    def _read_stream(
        self,
        reader: _Reader,
        connection: sqlite3.Connection,
        table: Table[Any],
        where: Where,
        order: tuple[Order, ...],
        after: Position | None,
        size: int,
    ) -> Iterator[Columns]:
        """What `stream` answers, from one statement: one state of the file."""
        sql = self._selecting(table, where, order, after, unlimited=True, from_start=True)
        params = self._values(where) + (after or ())
        for rows in self._chunks(reader, connection, sql, params, size):
            yield columns_of(table, where, rows) or []

    def _chunks(
        self,
        reader: _Reader,
        connection: sqlite3.Connection,
        sql: str,
        params: Params,
        size: int,
    ) -> Iterator[list[tuple[Any, ...]]]:
        """What a statement answers, so many rows at a time."""
        cursor: sqlite3.Cursor | None = None
        while True:
            with reader.lock, self._translating():
                if cursor is None:
                    cursor = connection.execute(sql, params)
                rows = cursor.fetchmany(size)
            if not rows:
                return
            yield rows

    def stream_csv(
        self, table: Table[Any], where: Where = (), *, order: tuple[Order, ...] | None = None
    ) -> Iterator[bytes]:
        order = table.order if order is None else order
        if self._is_inside() or self._in_memory:
            yield from csv_of_rows(self, table, where, order=order)
            return
        with ExitStack() as stack:
            readers = [
                stack.enter_context(self._own_reader())
                for _ in range(2 if self._is_large(table) else 1)
            ]
            read = partial(self._read_csv, self._seeing_the_same(readers), table, where, order)
            yield from csv_in_pieces(read, order)

    def _seeing_the_same(self, readers: list[_Reader]) -> list[_Reader]:
        """Those that see one state of the file: all, if nobody wrote while they began to read."""
        with self._translating():
            last = self._open_reader(readers[-1])
            before = _version(last)
            for reader in readers:
                connection = reader.connection or self._open_reader(reader)
                connection.text_factory = bytes
                connection.execute("BEGIN")
                after = _version(connection)  # Which reads, and so fixes the state that it sees.
        return readers if after == before else readers[:1]

    def _read_csv(
        self,
        readers: Sequence[_Reader],
        table: Table[Any],
        where: Where,
        order: tuple[Order, ...],
        after: Position | None,
        count: int,
    ) -> tuple[bytes, int]:
        """So many rows, each reader's share of them at the same time."""
        where = beyond(where, order, after)
        sql = self._reading_csv(table, where, order, after)
        params = (*self._values(where), *(after or ()))
        share = -(-count // len(readers))
        calls = [
            partial(self._read_share, reader, sql, (*params, share, share * number))
            for number, reader in enumerate(readers)
        ]
        read = side_by_side(calls) if len(calls) > 1 else [calls[0]()]
        return b"\n".join(text for text, _ in read if text), sum(rows for _, rows in read)

    def _read_share(self, reader: _Reader, sql: str, params: Params) -> tuple[bytes | None, int]:
        with reader.lock, self._translating():
            if reader.connection is None:
                raise self._lost_stream()
            # Many long rows would be a long piece; SQLite refuses it when it is about to be one.
            longest = _LONGEST if params[-2] > 1 else _ANY_LENGTH
            reader.connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest)
            read: tuple[bytes | None, int] = reader.connection.execute(sql, params).fetchone()
        return read

    def _csv_statement(
        self, table: Table[Any], where: Where, order: tuple[Order, ...], after: Position | None
    ) -> str:
        """As one row: at each row the interpreter would be given away, and taken back."""
        columns = csv_columns(table, order)
        # %Q writes text between quotes, and NULL for what is NULL; %s nothing for it.
        line = ",".join("%Q" if is_quoted(table, name) else "%s" for name in columns)
        what = f"printf('{line}', {', '.join(columns)}) AS line"
        return (
            "SELECT group_concat(line, '\n'), count(*) "
            f"FROM ({self._ordered_text(what, table, where, order, after)} LIMIT ? OFFSET ?)"
        )

    @contextmanager
    def _own_reader(self) -> Iterator[_Reader]:
        """Open a reader for one stream, which may go from thread to thread."""
        reader = self._add_reader()
        try:
            yield reader
        finally:
            reader.retire()
            self._close_retired()

    def _add_reader(self) -> _Reader:
        self._close_retired()
        with self._readers_lock:
            reader = _Reader(self._retired)
            self._readers.add(reader)
        return reader

    def _close_retired(self) -> None:
        """Close retired connections, unless another thread holds the readers: it will."""
        if self._readers_lock.acquire(blocking=False):
            try:
                while self._retired:
                    self._retired.popleft().close()
            finally:
                self._readers_lock.release()

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError as error:
            raise self._lost_stream() from error
        except sqlite3.Error as error:
            raise self._translate(error) from error

    def _lost_stream(self) -> ClosedError:
        if self._closed:
            return self._closed_error()
        return ClosedError(
            f"{self.place} closed this stream's connection when the process was forked. "
            "Begin again."
        )

    def _is_large(self, table: Table[Any]) -> bool:
        [(last,)] = self._read(self._largest_id(table), ())
        return (last or 0) >= _LARGE

    def _telling_apart(self, where: Where, group_by: tuple[GroupKey, ...]) -> Sequence[int]:
        # A column that a filter fixes tells no group from another, but SQLite would compare it for
        # each row: an eighth of the time.
        fixed = {f.column for f in where if f.op == "="}
        positions = range(len(group_by))
        return [at for at in positions if group_by[at] not in fixed] or positions

    def _bucket(self, bucket: Bucket) -> str:
        # Without its fraction, which SQLite would round to milliseconds, a time is a number of days
        # to which half a second can be added: it is exact to 50 microseconds.
        days = f"(julianday(substr({bucket.column}, 1, 19)) - 1721425.5)"
        return f"(CAST({days} * 86400 + 0.5 AS INTEGER) + {bucket.shift:d}) / {bucket.seconds:d}"

    def _bucket_start(self, bucket: Bucket, value: int) -> str:
        return bucket.start(value)

    def _position(self, order: tuple[Order, ...]) -> str:
        # Without a collation SQLite does not see that its indexes end with the id: it would find
        # the time in them and then pass by every row that has the same.
        return f"{super()._position(order)} COLLATE BINARY"

    def _has(self, column: str) -> str:
        return f"EXISTS (SELECT 1 FROM json_each({column}) WHERE value = ?)"

    def _has_any(self, column: str) -> str:
        return f"EXISTS (SELECT 1 FROM json_each({column}) WHERE value {self._any_of})"

    def _where_text(self, where: Where, after: tuple[Order, ...] = ()) -> str:
        return super()._where_text(payloads.in_two_steps(where), after)

    def _values(self, where: Where) -> Params:
        return super()._values(payloads.in_two_steps(where))

    def _condition(self, f: Filter) -> str:
        return payloads.may_hold(f.column) if f.op == "may hold" else super()._condition(f)

    def _bound(self, f: Filter) -> Params:
        return payloads.bound(f.value) if f.op == "may hold" else super()._bound(f)

    def _holds(self, column: str) -> str:
        return f"{payloads.FUNCTION}({column}, ?)"

    def _several(self, values: tuple[Any, ...]) -> str:
        return json.dumps(values, ensure_ascii=False)

    def _listing(self, column: str) -> str:
        return f"group_concat({column})"

    def _listed(self, gathered: str | None) -> list[int]:
        return json.loads(f"[{gathered or ''}]")  # type: ignore[no-any-return]

    def _read(self, sql: str, params: Params) -> list[tuple[Any, ...]]:
        mine = self._mine
        if self._is_inside() or self._in_memory:
            return self._write(sql, params)[0]
        reader = mine.reader or self._new_reader()
        with reader.lock:
            connection = reader.connection or self._open_reader(reader)
            try:
                return connection.execute(sql, params).fetchall()
            except sqlite3.Error as error:
                raise self._translate(error) from error
            finally:
                if reader.for_one_read:
                    reader.close()

    def _write(self, sql: str, params: Params) -> Result:
        if not self._tables_are_ours:
            self._refuse_foreign_tables()
        transaction, lock, ticket = self._mine.current(), self._lock, Ticket()
        try:
            if transaction is not None:
                with transaction.lock:
                    cursor = self._connection_of(transaction).execute(sql, params)
                    return cursor.fetchall(), cursor.rowcount
            self._acquire(ticket)
            cursor = self._execute(sql, params)
            return cursor.fetchall(), cursor.rowcount
        except sqlite3.Error as error:
            raise self._translate(error) from error
        finally:
            lock.release(ticket)
            lock.wake()

    # --- transactions -------------------------------------------------------------------------

    def _enter(self, transaction: Transaction) -> None:
        self._acquire(transaction)
        transaction.connection = self._writer or self._open_writer()
        try:
            transaction.connection.execute(self._begin)
        except sqlite3.Error as error:
            raise self._translate(error) from error

    def _finish(self, transaction: Transaction) -> None:
        with transaction.lock:
            connection = transaction.connection
            if connection is not None and self._lock.is_held_by(transaction):
                self._roll_back(connection)
                self._log.look_after_changes(connection)
        self._lock.release(transaction)
        self._lock.wake()

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        """End a transaction that was not committed."""
        try:
            connection.rollback()
        except sqlite3.Error:
            self._writer = None  # Nobody refers to it any more: that closes it.

    def _control(self, transaction: Transaction, sql: str) -> None:
        try:
            with transaction.lock:
                self._connection_of(transaction).execute(sql)
        except sqlite3.Error as error:
            raise self._translate(error) from error

    def _connection_of(self, transaction: Transaction) -> sqlite3.Connection:
        """Return the connection of an open transaction.

        When the disk is full SQLite ends a transaction itself: what follows must not commit.
        Neither must a savepoint, which outside of a transaction begins one of its own.
        """
        connection: sqlite3.Connection | None = transaction.connection
        if transaction.ended:
            raise left_elsewhere()
        if connection is None:
            raise self._closed_error()
        if not connection.in_transaction:
            raise UnavailableError(
                f"{self.place} rolled this transaction back after an earlier error in it; "
                "nothing of it is stored."
            )
        return connection

    # --- connections --------------------------------------------------------------------------

    def _acquire(self, ticket: Ticket) -> None:
        """Wait for the writer. Whatever is raised, the caller releases the ticket."""
        if not self._lock.acquire(ticket, self._lock_timeout):
            raise self._held_too_long()

    def _held_too_long(self) -> BusyError:
        return BusyError(
            f"{self.place} could not be written to within {self._lock_timeout:g} s: its lock is "
            f"held by {self._lock.holders()}. Shorten that transaction, or raise lock_timeout."
        )

    def _open_writer(self, *, create: bool = False) -> sqlite3.Connection:
        """Open the writer's connection; the caller holds the lock."""
        if self._read_only:
            raise AccessDeniedError(f"{self.place} was opened read-only.")
        self._writer = self._connect("mode=rwc" if create else "mode=rw")
        self._log.next_look = 0
        return self._writer

    def _new_reader(self) -> _Reader:
        reader = self._mine.reader = self._add_reader()
        return reader

    def _close_reader(self) -> None:
        """Close this thread's own connection; the next reading opens another."""
        if reader := self._mine.reader:
            with reader.lock:
                reader.close()

    def _open_reader(self, reader: _Reader) -> sqlite3.Connection:
        connection = reader.connection = self._connect_reader(reader)
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _connect_reader(self, reader: _Reader) -> sqlite3.Connection:
        if not self._read_only:
            return self._connect("mode=rw")
        reader.for_one_read = False
        try:
            # Not `mode=ro`, which leaves -wal and -shm files behind; `query_only` forbids writes.
            return self._connect("mode=rw")
        except (AccessDeniedError, StorageFullError):
            # A WAL database in a folder that cannot be written to, or on a full disk, has no place
            # for its -shm file. Without a log beside it nobody is writing, and it can be read as it
            # stands; but once, because SQLite would not notice that somebody begins to.
            if self._has_log():
                raise
            reader.for_one_read = True
            return self._connect("immutable=1")

    def _connect(self, options: str) -> sqlite3.Connection:
        if self._closed:
            raise self._closed_error()
        if self._file_exists() and not self._in_memory and not self._file.is_file():
            raise self._errors.cannot_open()  # SQLite would wait for ever at the end of a pipe.
        try:
            return self._configure(self._driver_connect(options))
        except sqlite3.Error as error:
            raise self._translate(error) from error

    def _driver_connect(self, options: str) -> sqlite3.Connection:
        memory = self._in_memory
        return sqlite3.connect(
            ":memory:" if memory else f"{self._file.as_uri()}?{options}",
            uri=not memory,
            timeout=self._lock_timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENTS,
        )

    def _configure(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            # Of what a batch changes nothing is written twice: with random event_ids that is a page
            # for each row, and SQLite's own 2 MB hold 500.
            connection.execute("PRAGMA cache_size = -16000")
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            wal.configure(connection)
            payloads.configure(connection)
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()  # Reads the first page.
        except BaseException:
            connection.close()
            raise
        return connection

    # --- end of life, and forks ---------------------------------------------------------------

    def close(self) -> None:
        if self._closed:
            return
        if self._is_inside():
            raise UnsupportedError("A transaction is open in this thread: end it before close().")
        lock, ticket = self._lock, Ticket()
        try:
            self._acquire(ticket)
            self._closed = "it was closed"
            # Readers first, so that the writer, the last one out, folds the WAL into the file.
            try:
                self._freeze_readers()
            finally:
                self._thaw_readers()
            self._close_writer()
        finally:
            lock.release(ticket)
            lock.wake()

    def _freeze_readers(self) -> None:
        """Close the readers' connections, and let no thread open another before `_thaw_readers`."""
        self._freeze(self._readers_lock)
        self._close_retired()
        for reader in list(self._readers):
            self._freeze(reader.lock)
            reader.close()

    def _freeze(self, lock: RLock) -> None:
        self._frozen.append(lock)  # First: an interrupt must not lose a lock that was acquired.
        lock.acquire()

    def _thaw_readers(self) -> None:
        """Release what `_freeze_readers` acquired; it can be called again."""
        while self._frozen:
            if self._frozen[-1]._is_owned():  # type: ignore[attr-defined]  # as a Condition asks it
                self._frozen[-1].release()
            self._frozen.pop()

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _closed_error(self) -> ClosedError:
        reason = self._closed or "its connection was lost inside a transaction"
        return ClosedError(f"{self.place} cannot be used: {reason}. Open a new persistence.")

    def before_fork(self) -> None:
        """Close what is open, and let no thread into SQLite until the fork is over.

        Not even to read: a mutex inside SQLite that some thread holds at that moment stays locked
        in the child for ever.
        """
        if self._closed:
            return
        self._fork = Ticket()
        inside = any(ticket.thread == self._fork.thread for ticket in self._lock.held())
        self._settled = not inside and self._lock.acquire(self._fork, self._lock_timeout)
        self._freeze_readers()
        if self._settled and not self._in_memory:
            self._close_writer()

    def after_fork(self, *, in_child: bool) -> None:
        self._thaw_readers()
        if in_child and not self._closed:
            self._start_again_in_child()
        self._lock.release(self._fork)
        self._lock.wake()
        self._settled = False

    def _start_again_in_child(self) -> None:
        if self._in_memory:
            self._closed = "a :memory: database does not survive a fork"
        elif not self._settled:
            self._closed = "the process was forked inside a transaction"
        if self._writer is not None:
            # Closing an inherited connection could undo what the parent is doing in the file, and
            # so could its destructor: it has to stay for as long as the process.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._writer))
            self._writer = None
        for ticket in self._lock.held():
            if isinstance(ticket, Transaction):
                ticket.connection = None
        self._lock.start_again()

    # --- health -------------------------------------------------------------------------------

    def diagnose(self, *, deep: bool = False) -> list[Finding]:
        room = self._room()
        findings = [
            _engine_finding(sqlite3.sqlite_version_info),
            migrations.finding(self._catalog(), self.dialect),
            self._journal_finding(),
            room.finding(self._path),
            self._indexes_finding(),
        ]
        if room.size > health.SMALL and not deep:
            return [*findings, *(health.unread(c, room.size) for c in ("integrity", "orphans"))]
        integrity = self._integrity_finding()
        if integrity.level == "ok":
            return [*findings, integrity, self._orphans_finding()]
        return [*findings, integrity]

    def _journal_finding(self) -> Finding:
        [(mode,)] = self._read("PRAGMA journal_mode", ())
        match mode:
            case "wal":
                return self._log.finding()
            case "memory":
                return Finding("journal", "ok", "none: it ends with the process")
        return Finding(
            "journal",
            "warning",
            f"journal mode is {mode!r}: readers and writers block each other",
            "Keep the file on a local file system and open it once for writing.",
        )

    def _room(self) -> Room:
        return Room(
            *(
                self._read(f"PRAGMA {name}", ())[0][0]
                for name in ("page_size", "page_count", "freelist_count", "auto_vacuum")
            )
        )

    def _indexes_finding(self) -> Finding:
        names = self._read("SELECT name FROM sqlite_master WHERE type = 'index'", ())
        return health.indexes({name for (name,) in names}, self.dialect)

    def _integrity_finding(self) -> Finding:
        faults = [row[0] for row in self._read("PRAGMA quick_check(5)", ())]
        if faults == ["ok"]:
            return Finding("integrity", "ok", "quick_check found no damage")
        return Finding(
            "integrity",
            "error",
            "; ".join(faults),
            "Stop writing, keep a copy of the file, and restore a backup or run `.recover`.",
        )

    def _has_log(self) -> bool:
        """Whether there is anything beside the file that belongs into it, or out of it."""
        file = self._file.resolve()
        return any(_size(file.with_name(file.name + end)) for end in ("-wal", "-journal"))

    def _translate(self, error: sqlite3.Error) -> PersistenceError:
        if "no such table" in str(error) or "no such column" in str(error):
            return self._lacks_tables(error)
        return self._errors.translate(error)


def _powers_of_two(lines: list[T], most: int) -> Iterator[list[T]]:
    """Slices of 1, 2, 4, … lines, so that few statements do for batches of all sizes."""
    begin = 0
    while rest := min(len(lines) - begin, most):
        end = begin + (1 << rest.bit_length() - 1)
        yield lines[begin:end]
        begin = end


def _version(connection: sqlite3.Connection) -> Any:
    """What differs for one connection when another one has committed anything."""
    return connection.execute("PRAGMA data_version").fetchone()


def _path(given: str | os.PathLike[str]) -> Path:
    """The file that a caller named; raises ConfigurationError where that cannot be one."""
    if _URL.match(str(given)):
        # Not repeated: a URL may hold a password.
        raise ConfigurationError("db_path is a URL. Say connect(url), or name a file.")
    try:
        path = Path(given).expanduser()
        path.absolute()
    except (TypeError, RuntimeError, OSError) as error:
        # No text; ~somebody who has no home; a path from a folder that is gone.
        said = str(error).rstrip(".")
        raise ConfigurationError(f"db_path {given!r} names no file: {said}.") from error
    if "\0" in str(path):
        raise ConfigurationError(f"db_path {given!r} names no file: it contains NUL.")
    return path


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _statements(sql: str) -> Iterator[str]:
    """The single statements of a script; sqlite3's own executescript would commit before them."""
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _engine_finding(version: tuple[int, int, int]) -> Finding:
    """Whether the engine has the WAL-reset fault (fixed in 3.51.3, 3.50.7 and 3.44.6)."""
    text = ".".join(map(str, version))
    fixed = (
        version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
    )
    if fixed:
        return Finding("engine", "ok", f"SQLite {text}")
    return Finding(
        "engine",
        "warning",
        f"SQLite {text} can, rarely, damage a WAL database when two connections checkpoint in the "
        "same instant (all versions before 3.51.3, except 3.50.7 and 3.44.6)",
        "Use a Python linked with SQLite 3.51.3 or newer, keep backups, and let one process write.",
    )
