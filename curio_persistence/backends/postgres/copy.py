"""Store many rows by COPY with ids reserved before, and read rows as CSV that the server writes.

Where psycopg2 waits by a callback, as gevent wants it, there is no COPY: INSERT takes its place,
and the CSV is written here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from io import BytesIO
from itertools import chain
from typing import Any

from curio_persistence.backends.postgres.errors import refusal
from curio_persistence.backends.postgres.pool import Connection, waits_by_callback
from curio_persistence.backends.postgres.statements import ONE_STATE, PostgresStatements
from curio_persistence.backends.sql.statements import shape_of
from curio_persistence.concurrency.fair_lock import Ticket
from curio_persistence.errors import AccessDeniedError, PersistenceError
from curio_persistence.results.csv import csv_columns, csv_in_pieces, csv_of_rows, is_quoted
from curio_persistence.store.codecs import PICODOLLARS
from curio_persistence.store.column import Kind
from curio_persistence.store.query import Query
from curio_persistence.store.table import Row, StoredValue, Table

SEQUENCE = "pg_get_serial_sequence(format('%%I.%%I', %s, %s), 'id')::regclass"
"""The sequence that numbers the rows of a table, by the names of its schema and itself."""
_TAKE_IDS = (
    f"SELECT nextval(name) FROM (SELECT {SEQUENCE} AS name OFFSET 0) AS s, generate_series(1, %s)"
)
_NULL = "\\N"
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


class PostgresCopy(PostgresStatements):
    """The part of a PostgreSQL store that moves many rows at a time."""

    def insert_many(self, table: Table[Any], rows: Sequence[Row]) -> Sequence[int]:
        if not rows:
            return ()
        self._check_writable()
        try:
            return self._insert_copied(table, rows)
        except AccessDeniedError:  # The role may insert, but not use the sequence that numbers.
            return super().insert_many(table, rows)

    def _insert_copied(self, table: Table[Any], rows: Sequence[Row]) -> Sequence[int]:
        if self._is_inside():
            with self.transaction():
                return self._copy(self._pinned(), table, rows)
        with self._pool.lent(Ticket()) as connection:
            try:
                # In a transaction, so that `active_transactions` shows it while ids are reserved
                # without rows. Its begin and end travel with the statements beside them.
                return self._copy(connection, table, rows, begin="BEGIN; ", commit="; COMMIT")
            finally:
                self._roll_back(connection)

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
            numbered = (self._schema_name, table.name, len(rows))
            ids = [ident for (ident,) in self._run(connection, begin + _TAKE_IDS, numbered)[0]]
            columns = ("id", *columns)
            lines = [(ident, *line) for ident, line in zip(ids, lines, strict=True)]
        for key in table.unique:
            if key[0] in columns:
                # One order for all, or two transactions could deadlock.
                at = columns.index(key[0])
                lines.sort(key=lambda line: line[at] or "")
        try:
            self._copy_in(connection, table, columns, lines, commit=commit)
        except PersistenceError as error:
            # PostgreSQL names the row only in the language of the server's locale.
            raise refusal(error, table, rows[0] if len(rows) == 1 else {}) from error.__cause__
        return ids

    def _copy_in(
        self,
        connection: Connection,
        table: Table[Any],
        columns: tuple[str, ...],
        lines: Iterable[tuple[StoredValue, ...]],
        *,
        commit: str = "",
    ) -> None:
        if waits_by_callback():
            rows = list(lines)
            sql = f"{self._insert_text(table, columns, len(rows))}{commit}"
            self._run(connection, sql, tuple(chain.from_iterable(rows)))
        else:
            sql = f"COPY {self._table(table)} ({', '.join(columns)}) FROM STDIN{commit}"
            self._run(connection, sql, (), BytesIO(_copy_text(table, columns, lines)))

    def reserve_ids(self, table: Table[Any], last: int) -> None:
        self._check_writable()
        with self.transaction():
            connection = self._pinned()
            self._run(
                connection,
                f"SELECT setval(name, {int(last)}) FROM (SELECT {SEQUENCE} AS name) AS s "
                "WHERE coalesce(pg_sequence_last_value(name), 0) < %s",
                (self._schema_name, table.name, last),
            )

    # --- CSV ----------------------------------------------------------------------------------

    def stream_csv(self, query: Query) -> Iterator[bytes]:
        if self._is_inside() or waits_by_callback():
            yield from csv_of_rows(self, query)
            return
        with self._reader(ONE_STATE) as connection:
            self._run(connection, "SET LOCAL TIME ZONE 'UTC'", ())
            yield from csv_in_pieces(partial(self._read_csv, connection), query)

    def _read_csv(self, connection: Connection, query: Query, count: int) -> tuple[bytes, int]:
        self._pool.refuse_if_closed()
        sql, params = self._text(self._csv_text, shape_of(query)), (*self._params(query), count)
        text = BytesIO()
        rows = self._run(connection, sql, params, text)[1]
        return text.getvalue(), rows

    def _csv_text(self, query: Query) -> str:
        columns, kinds = csv_columns(query.table, query.order), query.table.kinds
        what = ", ".join(
            f"({name} * {PICODOLLARS})::bigint AS {name}" if kinds[name] == "money" else name
            for name in columns
        )
        quoted = ", ".join(name for name in columns if is_quoted(query.table, name))
        return (
            f"COPY ({self._ordered_text(what, query)} LIMIT %s) "
            f"TO STDOUT (FORMAT csv, QUOTE '''', FORCE_QUOTE ({quoted}))"
        )


def _copy_text(
    table: Table[Any], columns: tuple[str, ...], lines: Iterable[tuple[StoredValue, ...]]
) -> bytes:
    """Return one line for each row of values, in the text format of COPY."""
    turned = zip(columns, zip(*lines, strict=True), strict=True)
    cells = [_cells(table.kind_of(name), values) for name, values in turned]
    return "".join([f"{line}\n" for line in map("\t".join, zip(*cells, strict=True))]).encode()


def _cells(kind: Kind, column: Iterable[Any]) -> list[str]:
    if kind == "money":  # In picodollars.
        return [_NULL if value is None else f"{value}e-12" for value in column]
    if kind == "bytes":
        return [_NULL if value is None else rf"\\x{value.hex()}" for value in column]
    if kind not in ("name", "text"):
        return [_NULL if value is None else str(value) for value in column]
    return [_NULL if text is None else _escaped(text) for text in column]


def _escaped(text: str) -> str:
    if "\\" in text or "\n" in text or "\t" in text or "\r" in text:
        return text.translate(_ESCAPES)
    return text
