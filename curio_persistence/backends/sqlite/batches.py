"""Insert many rows in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, TypeVar

from curio_persistence.backends.sqlite.file import DRIVER_ERRORS
from curio_persistence.backends.sqlite.group_commit import SQLiteInserts
from curio_persistence.concurrency.fair_lock import Ticket
from curio_persistence.store.table import Row, StoredValue, Table

T = TypeVar("T")

_MOST_VALUES = 16_384
"""The values that one statement binds: 1,000 rows of events. Any SQLite accepts 32,766."""

_MOST_SIZES = 16
"""The sizes of batches that have a statement of their own: one takes up to a megabyte."""


class _Refused(Exception):
    """One row of a batch cannot be stored; SQLite does not say which."""


class SQLiteBatches(SQLiteInserts):
    """The part of a SQLite store that inserts batches."""

    _last_size = 0
    _usual_sizes: frozenset[int] = frozenset()

    def insert_many(self, table: Table[Any], rows: Sequence[Row]) -> Sequence[int]:
        if not rows:
            return ()
        if not self._tables_are_ours:
            self._refuse_foreign_tables()
        columns, lines = table.align(rows)
        fits = len(lines) * len(columns) <= _MOST_VALUES
        try:
            if fits and not self._is_inside() and self._is_usual(len(lines)):
                last = self._insert_at_once(table, columns, lines)
            elif len(lines) == 1 and self._is_inside():
                # One statement is all or nothing without a savepoint, which takes as long as it.
                last = self._insert_lines(table, columns, lines)
            else:
                with self.transaction():
                    last = self._insert_lines(table, columns, lines)
        except _Refused:
            return super().insert_many(table, rows)  # One by one, to name the row.
        if "id" in columns:
            return [int(row["id"] or 0) for row in rows]
        return range(last - len(rows) + 1, last + 1)

    def _is_usual(self, size: int) -> bool:
        """Return whether batches of this size have a statement of their own, which takes memory.

        The first sizes get one that came twice in a row.
        """
        if size == self._last_size and len(self._usual_sizes) < _MOST_SIZES:
            self._usual_sizes |= {size}
        self._last_size = size
        return size in self._usual_sizes

    def _insert_at_once(
        self, table: Table[Any], columns: tuple[str, ...], lines: list[tuple[StoredValue, ...]]
    ) -> int:
        """Insert rows by one statement that is a transaction of its own; return the last id.

        Inside a transaction SQLite would copy each page that the statement changes, to undo it
        alone: that takes as long again.
        """
        sql, lock, ticket = self._insert_text(table, columns, len(lines)), self._lock, Ticket()
        try:
            values = tuple(chain.from_iterable(lines))
            return self._execute(sql, values, self._acquire(ticket)).lastrowid or 0
        except sqlite3.IntegrityError as error:
            raise _Refused from error
        except DRIVER_ERRORS as error:
            raise self._translate(error) from error
        finally:
            lock.release(ticket)
            lock.wake()

    def _insert_lines(
        self, table: Table[Any], columns: tuple[str, ...], lines: list[tuple[StoredValue, ...]]
    ) -> int:
        """Insert rows inside a transaction, where their ids are consecutive; return the last id."""
        transaction = self._mine.required()
        try:
            with transaction.lock:
                cursor = self._connection_of(transaction).lasting_cursor()
                # Not `executemany`: it takes a quarter longer, and releases the GIL at every row.
                # Beside a thread that computes that makes 700 rows/s of 60,000.
                for part in _powers_of_two(lines, _MOST_VALUES // len(columns)):
                    sql = self._lines_text(table, columns, len(part))
                    cursor.execute(sql, tuple(chain.from_iterable(part)))
        except sqlite3.IntegrityError as error:
            raise _Refused from error
        except DRIVER_ERRORS as error:
            raise self._translate(error) from error
        return cursor.lastrowid or 0


def _powers_of_two(lines: list[T], most: int) -> Iterator[list[T]]:
    """Yield slices of 1, 2, 4, … lines, so that few statements serve batches of all sizes."""
    begin = 0
    while rest := min(len(lines) - begin, most):
        end = begin + (1 << rest.bit_length() - 1)
        yield lines[begin:end]
        begin = end
