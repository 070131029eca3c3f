"""Store many rows by COPY with ids reserved before, and read rows as CSV that the server writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

from curio_persistence.backends.postgres.copy_text import CopySource, copy_text
from curio_persistence.backends.postgres.errors import refusal
from curio_persistence.backends.postgres.pool import Connection
from curio_persistence.backends.postgres.statements import ONE_STATE, PostgresStatements
from curio_persistence.concurrency.fair_lock import Ticket
from curio_persistence.errors import AccessDeniedError, PersistenceError
from curio_persistence.results.csv import csv_columns, csv_in_pieces, csv_of_rows, is_quoted
from curio_persistence.store.base import Position
from curio_persistence.store.codecs import PICODOLLARS, encode_money
from curio_persistence.store.filters import Order, Where
from curio_persistence.store.table import Row, Table
from curio_persistence.tables import TABLES

_INTERRUPTED = "error in .read() call: KeyboardInterrupt"
_MONEY = {name for table in TABLES for name in table.encoded_by(encode_money)}


class _NoIdsToReserve(Exception):
    """This role may insert, but not read the sequence that numbers the rows."""


class PostgresCopy(PostgresStatements):
    """The part of a PostgreSQL store that moves many rows at a time."""

    def insert_many(self, table: Table[Any], rows: Sequence[Row]) -> Sequence[int]:
        if not rows:
            return ()
        self._check_writable()
        try:
            return self._insert_copied(table, rows)
        except _NoIdsToReserve:
            return super().insert_many(table, rows)

    def _insert_copied(self, table: Table[Any], rows: Sequence[Row]) -> Sequence[int]:
        if self._is_inside():
            with self.transaction():
                return self._copy(self._pinned(), table, rows)
        ticket, connection = Ticket(), None
        try:
            connection = self._pool.getconn(ticket)
            # In a transaction, so that `running` shows it while ids are reserved without rows. Its
            # begin and end travel with the statements beside them: each round trip takes long.
            return self._copy(connection, table, rows, begin="BEGIN; ", commit="; COMMIT")
        finally:
            try:
                if connection is not None:
                    self._roll_back(connection)
                self._pool.putconn(connection, ticket)
            finally:
                self._pool.release(ticket)

    def _copy(
        self,
        connection: Connection,
        table: Table[Any],
        rows: Sequence[Row],
        *,
        begin: str = "",
        commit: str = "",
    ) -> Sequence[int]:
        """Reserve ids, and COPY the rows with them: one statement, which stores all or none."""
        columns, lines = table.align(rows)
        if "id" in columns:
            ids: Sequence[int] = [int(row["id"] or 0) for row in rows]
            if begin:
                self._run(connection, begin, ())
        else:
            ids = self._reserve(connection, table, len(rows), begin)
            columns = ("id", *columns)
            lines = [(ident, *line) for ident, line in zip(ids, lines, strict=True)]
        for key in table.unique:
            if key[0] in columns:
                # One order for all, or two transactions could deadlock.
                at = columns.index(key[0])
                lines.sort(key=lambda line: line[at] or "")
        try:
            self._copy_in(connection, table, columns, copy_text(columns, lines), commit)
        except PersistenceError as error:
            # PostgreSQL names the row only in the language of the server's locale.
            raise refusal(error, table, rows[0] if len(rows) == 1 else {}) from error.__cause__
        return ids

    def insert_stream(self, table: Table[Any], pieces: Iterable[Sequence[Row]]) -> int:
        self._check_writable()
        stored = 0
        try:
            with self.transaction(), self._unhurried_server():
                aligned = map(table.align, filter(None, pieces))
                for columns, alike in groupby(aligned, itemgetter(0)):
                    texts = (copy_text(columns, lines) for _, lines in alike)
                    stored += self._copy_in(
                        self._pinned(), table, columns, chain.from_iterable(texts)
                    )
        except PersistenceError as error:
            raise refusal(error, table, {}) from error.__cause__
        return stored

    @contextmanager
    def _unhurried_server(self) -> Iterator[None]:
        """Switch the server's own timeout off: it would count the time that the caller takes."""
        if not self._has_timeout:
            yield
            return
        self._control(self._mine.required(), "SET LOCAL statement_timeout = 0")
        yield
        self._control(self._mine.required(), "SET LOCAL statement_timeout TO DEFAULT")

    def _copy_in(
        self,
        connection: Connection,
        table: Table[Any],
        columns: tuple[str, ...],
        text: Iterator[bytes],
        ending: str = "",
    ) -> int:
        """COPY rows whose text may be made while the server stores those before."""
        source = CopySource(text, connection)
        sql = f"COPY {self._table(table)} ({', '.join(columns)}) FROM STDIN{ending}"
        try:
            return self._run(connection, sql, (), source)[1]
        except PersistenceError as error:
            if source.failure is not None:
                raise source.failure from None
            if _INTERRUPTED in str(error.__cause__):  # Before `read` had begun.
                raise KeyboardInterrupt from None
            raise

    def _reserve(
        self, connection: Connection, table: Table[Any], count: int, begin: str
    ) -> Sequence[int]:
        try:
            sql = self._reserving(connection, table)
            reserved, _ = self._run(connection, f"{begin}{sql}", (count,))
        except AccessDeniedError as error:
            raise _NoIdsToReserve from error
        return [ident for (ident,) in reserved]

    def _reserving(self, connection: Connection, table: Table[Any]) -> str:
        """Return the statement that takes ids from the sequence that the server names."""
        text = self._texts.get((table, "ids"))
        if text is None:
            sql = "SELECT quote_literal(pg_get_serial_sequence(format('%%I.%%I', %s, %s), 'id'))"
            [(name,)], _ = self._run(connection, sql, (self._schema_name, table.name))
            text = f"SELECT nextval({name.replace('%', '%%')}) FROM generate_series(1, %s)"
            self._texts[table, "ids"] = text
        return text

    def reserve_ids(self, table: Table[Any], last: int) -> None:
        self._check_writable()
        with self.transaction():
            connection = self._pinned()
            self._run(
                connection,
                f"SELECT setval(s.name, {int(last)}) FROM "
                "(SELECT pg_get_serial_sequence(format('%%I.%%I', %s, %s), 'id')::regclass) "
                "AS s (name) WHERE coalesce(pg_sequence_last_value(s.name), 0) < %s",
                (self._schema_name, table.name, last),
            )

    # --- CSV ----------------------------------------------------------------------------------

    def stream_csv(
        self, table: Table[Any], where: Where = (), *, order: tuple[Order, ...] | None = None
    ) -> Iterator[bytes]:
        order = table.order if order is None else order
        if self._is_inside():
            yield from csv_of_rows(self, table, where, order=order)
            return
        with self._reader(ONE_STATE) as connection:
            self._run(connection, "SET LOCAL TIME ZONE 'UTC'", ())
            read = partial(self._read_csv, connection, table, where, order)
            yield from csv_in_pieces(read, order)

    def _read_csv(
        self,
        connection: Connection,
        table: Table[Any],
        where: Where,
        order: tuple[Order, ...],
        after: Position | None,
        count: int,
    ) -> tuple[bytes, int]:
        self._pool.refuse_if_closed()
        sql = self._reading_csv(table, where, order, after)
        params = (*self._values(where), *(after or ()), count)
        text = BytesIO()
        rows = self._run(connection, sql, params, text)[1]
        return text.getvalue(), rows

    def _csv_statement(
        self, table: Table[Any], where: Where, order: tuple[Order, ...], after: Position | None
    ) -> str:
        columns = csv_columns(table, order)
        what = ", ".join(
            f"({name} * {PICODOLLARS})::bigint AS {name}" if name in _MONEY else name
            for name in columns
        )
        quoted = ", ".join(name for name in columns if is_quoted(table, name))
        return (
            f"COPY ({self._ordered_text(what, table, where, order, after)} LIMIT %s) "
            f"TO STDOUT (FORMAT csv, QUOTE '''', FORCE_QUOTE ({quoted}))"
        )
