"""Streams, snapshots and CSV: reads that hold a connection of their own until they end."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from curio_persistence.backends.sql.statements import columns_of, shape_of
from curio_persistence.backends.sqlite.connections import SQLiteConnections
from curio_persistence.backends.sqlite.driver import Connection
from curio_persistence.backends.sqlite.file import DRIVER_ERRORS
from curio_persistence.backends.sqlite.readers import Reader
from curio_persistence.errors import ClosedError
from curio_persistence.results.csv import csv_columns, csv_in_pieces, csv_of_rows, is_quoted
from curio_persistence.store.filters import Filter, Where
from curio_persistence.store.query import Query, ReadRows
from curio_persistence.store.table import Columns, Table

_LONGEST = 64 << 20
"""The bytes of one chunk of CSV, unless it is a single row."""
_ANY_LENGTH = 2**31 - 1


class SQLiteStreams(SQLiteConnections):
    """The part of a SQLite store that reads more than fits into memory."""

    def stream_query(self, query: Query, size: int) -> Iterator[Columns]:
        if self._is_inside() or self._in_memory:
            yield from super().stream_query(query, size)
            return
        process = os.getpid()
        what = f"a stream of {query.table.name}"
        with self._own_reader() as reader:
            there_already = self._fix_state(reader, what, query.table)
            while True:
                try:
                    for columns in self._read_stream(reader, query, size):
                        yield columns
                        query = query.behind(query.last_of(columns))
                    return
                except ClosedError:
                    # A fork closed the connection: continue behind the last row, in the parent.
                    if self._closed or os.getpid() != process:
                        raise
                query = query._replace(where=query.where + there_already)
                self._fix_state(reader, what, query.table)

    def _fix_state(self, reader: Reader, what: str, table: Table[Any] | None = None) -> Where:
        """Begin to read: until it is closed, the connection does not see writes of others.

        Return the condition for the rows of a table that are stored now.
        """
        with reader.lock, self._translating():
            connection = self._connect_reader(reader)
            connection.execute("BEGIN")
            name = "sqlite_master" if table is None else self._table(table)
            [(last,)] = connection.execute(f"SELECT max(rowid) FROM {name}")
            reader.hold(what)
        return (Filter("id", "<", last + 1),) if last and last < 2**63 - 1 else ()

    @contextmanager
    def snapshot(self) -> Iterator[ReadRows]:
        if self._is_inside() or self._in_memory:
            with super().snapshot() as read:
                yield read
            return
        with self._own_reader() as reader:
            self._fix_state(reader, "a snapshot of all tables, as of an export or a copy,")
            yield partial(self._read_stream, reader)

    def _read_stream(self, reader: Reader, query: Query, size: int) -> Iterator[Columns]:
        """Yield the rows of `stream`, from one statement."""
        sql, params = self._text(self._select_text, shape_of(query)), self._params(query)
        cursor: sqlite3.Cursor | None = None
        while True:
            with reader.lock, self._translating():
                if cursor is None:
                    cursor = self._connection(reader).lasting_cursor().execute(sql, params)
                rows = cursor.fetchmany(size)
            if not rows:
                return
            yield columns_of(query, rows) or []

    def stream_csv(self, query: Query) -> Iterator[bytes]:
        if self._is_inside() or self._in_memory:
            yield from csv_of_rows(self, query)
            return
        with self._own_reader() as reader:
            self._fix_state(reader, f"a stream of {query.table.name}")
            yield from csv_in_pieces(partial(self._read_csv, reader), query)

    def _read_csv(self, reader: Reader, query: Query, count: int) -> tuple[bytes, int]:
        """Return the first rows of a query, at most so many, and their number."""
        sql = self._text(self._csv_text, shape_of(query))
        with reader.lock, self._translating():
            connection = self._connection(reader)
            connection.text_factory = bytes
            # Many long rows would be a long chunk; SQLite refuses it when it is about to be one.
            longest = _LONGEST if count > 1 else _ANY_LENGTH
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest)
            params = (*self._params(query), count)
            text, rows = connection.execute(sql, params).fetchone()
        return text or b"", rows

    def _csv_text(self, query: Query) -> str:
        """Return a statement that answers with one row: with more, threads would take turns."""
        columns = csv_columns(query.table, query.order)
        # %Q writes text between quotes, and NULL for what is NULL; %s nothing for it.
        line = ",".join("%Q" if is_quoted(query.table, name) else "%s" for name in columns)
        values = ", ".join(_exactly(query.table, name) for name in columns)
        what = f"printf('{line}', {values}) AS line"
        return (
            "SELECT group_concat(line, '\n'), count(*) "
            f"FROM ({self._ordered_text(what, query)} LIMIT ?)"
        )

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError as error:
            raise self._lost_stream() from error
        except DRIVER_ERRORS as error:
            raise self._translate(error) from error

    def _connection(self, reader: Reader) -> Connection:
        """Return a stream's connection; ClosedError if a fork or a close has closed it."""
        if reader.connection is None:
            raise self._lost_stream()
        return reader.connection

    def _lost_stream(self) -> ClosedError:
        if self._closed:
            return self._closed_error()
        return ClosedError(
            f"{self.location} closed this stream's connection when the process was forked. "
            "Begin again."
        )


def _exactly(table: Table[Any], column: str) -> str:
    """Return the expression of a value that %s writes with all its digits: 15 of a real number."""
    if table.kinds[column] != "real":
        return column
    return f"CASE WHEN {column} IS NOT NULL THEN printf('%!.20g', {column}) END"
