"""SQLite: tables, search and the differences of its SQL from PostgreSQL's."""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from curio_persistence.backends.sql import migrations
from curio_persistence.backends.sql.statements import Params
from curio_persistence.backends.sqlite import payloads, wal
from curio_persistence.backends.sqlite.backup import SQLiteBackup
from curio_persistence.backends.sqlite.batches import SQLiteBatches
from curio_persistence.backends.sqlite.file import Durability
from curio_persistence.backends.sqlite.health import INCREMENTAL, SQLiteHealth
from curio_persistence.backends.sqlite.queries import SQLiteQueries
from curio_persistence.backends.sqlite.search import SQLiteSearchIndex
from curio_persistence.content.store import SharedContent
from curio_persistence.errors import BusyError, PersistenceError
from curio_persistence.store.filters import Bucket, Filter, GroupKey, Order, Where
from curio_persistence.store.json_text import encoder
from curio_persistence.store.table import Table

__all__ = ["Durability", "SQLiteStore"]

_list_of = encoder()
_LENGTHS = {(3_600, 0): len("2026-11-20T10"), (86_400, 0): len("2026-11-20")}
"""The characters of a stored time that tell its bucket, of hours and days of UTC."""
_MIDNIGHT = "2026-11-20T00:00:00.000000+00:00"
_SHORT = 0.01
_PAGES = 50


class SQLiteStore(SharedContent, SQLiteBatches, SQLiteBackup, SQLiteQueries, SQLiteHealth):
    """Rows in a SQLite file, or in memory with the path `:memory:`.

    `durability="normal"` survives a crash of the process, `"full"` a power cut too. `lock_timeout`
    is how many seconds a call waits for other writers before it raises BusyError.
    """

    def __init__(self, path: str | os.PathLike[str], **options: Any) -> None:
        super().__init__(path, **options)
        self._checkpointed = 0
        """The changed rows of the writer at the last checkpoint of a long job."""
        self._search_index = SQLiteSearchIndex(self._read, self._write, self._qualified)

    def __repr__(self) -> str:
        return f"SQLiteStore({str(getattr(self, '_path', '?'))!r})"

    # --- the tables ---------------------------------------------------------------------------

    def initialize(self) -> bool:
        if self.read_only or self._file_exists():
            return super().initialize()
        self._migrate()
        return False

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

    @property
    def search_index(self) -> SQLiteSearchIndex:
        return self._search_index

    def checkpoint(self) -> None:
        if self._is_inside() or self._log.size() <= wal.SMALL:
            return
        changes = self._writer.total_changes if self._writer else 0
        # The size says no more: a log that was written back keeps it, and is written anew.
        if 0 <= changes - self._checkpointed < wal.CHANGES_OF_JOBS:
            return
        self._checkpointed = changes
        # By the writer: engines before 3.51.3 can damage a file if two connections do it. A
        # failure, as on a full disk, does not end the job: its transactions are committed.
        with suppress(PersistenceError):
            self._write("PRAGMA wal_checkpoint(PASSIVE)", ())

    def engine_numbers(self) -> dict[str, int]:
        return {"database_bytes": self._space().size, "wal_bytes": self._log.size()}

    def used_bytes(self) -> int:
        space = self._space()
        return space.size - space.page_size * space.free

    def release_space(self, leave: float = 0.02) -> int:
        space = self._space()
        # The next writes take empty pages before the file grows: some are left to them.
        if space.auto_vacuum != INCREMENTAL or space.free <= space.pages * leave:
            return 0
        until = time.monotonic() + _SHORT
        while time.monotonic() < until:
            # Python steps the statement once, which frees one page, however many are asked for.
            for _ in range(_PAGES):
                self._write("PRAGMA incremental_vacuum(1)", ())
        return (space.free - self._space().free) * space.page_size

    def advice_on_space(self) -> str:
        if self._space().auto_vacuum == INCREMENTAL:
            return ""
        return f"This file keeps its size until it is compacted: {self._command('compact')}"

    def compact(self) -> None:
        self.check_outside("compact()")
        with self.transaction():
            self._search_index.optimize()
        self._write("VACUUM", ())
        [(busy, *_)] = self._write("PRAGMA wal_checkpoint(TRUNCATE)", ())[0]
        if busy:
            raise BusyError(
                f"{self.location} was compacted, but a reader still needs what was there before: "
                "the log keeps it for as long. Run it again when the reader has ended."
            )

    def _command(self, name: str) -> str:
        return f"curio-persistence {name} --db-path {shlex.quote(str(self._path))}"

    # --- SQL ----------------------------------------------------------------------------------

    def _newness(self, table: Table[Any]) -> tuple[str, Params]:
        rows = self._read("SELECT seq FROM sqlite_sequence WHERE name = ?", (table.name,))
        return "id > ?", rows[0] if rows else (0,)

    def _telling_apart(self, where: Where, group_by: tuple[GroupKey, ...]) -> Sequence[int]:
        # A column that a filter fixes tells no group from another, but SQLite would compare it for
        # each row: an eighth of the time.
        fixed = {f.column for f in where if f.op == "="}
        positions = range(len(group_by))
        return [at for at in positions if group_by[at] not in fixed] or positions

    def _is_of_a_window(self, table: Table[Any], where: Where) -> bool:
        # SQLite would read the index in the order of the groups, and each row for its time: a
        # hundred times what a day has. The index of metrics has their times.
        if any(f.column == "metric_name" for f in where):
            return False
        return any(f.column == table.ages_by and f.op == ">=" for f in where)

    def _bucket(self, bucket: Bucket) -> str:
        if length := _LENGTHS.get((bucket.seconds, bucket.shift)):
            return f"substr({bucket.column}, 1, {length})"
        # Without its fraction, which SQLite would round to milliseconds, a time is a number of days
        # to which half a second can be added: it is exact to 50 microseconds.
        days = f"(julianday(substr({bucket.column}, 1, 19)) - 1721425.5)"
        return f"(CAST({days} * 86400 + 0.5 AS INTEGER) + {bucket.shift:d}) / {bucket.seconds:d}"

    def _bucket_start(self, bucket: Bucket, value: int | str) -> str:
        return bucket.start(value) if isinstance(value, int) else value + _MIDNIGHT[len(value) :]

    def _position(self, order: tuple[Order, ...]) -> str:
        # Without a collation SQLite does not see that its indexes end with the id: it would find
        # the time in them and then pass by every row that has the same.
        return f"{super()._position(order)} COLLATE BINARY"

    def _where_text(self, where: Where, after: tuple[Order, ...] = ()) -> str:
        return super()._where_text(_by_run(payloads.in_two_steps(where)), after)

    def _values(self, where: Where) -> Params:
        return super()._values(payloads.in_two_steps(where))

    def _bound(self, f: Filter) -> Params:
        return payloads.bound(f.value) if f.op == "may contain" else super()._bound(f)

    def _several(self, values: tuple[Any, ...]) -> str:
        return _list_of(values)

    def _listing(self, column: str) -> str:
        return f"group_concat({column})"

    def _listed(self, gathered: str | None) -> list[int]:
        return json.loads(f"[{gathered or ''}]")  # type: ignore[no-any-return]


def _by_run(where: Where) -> Where:
    """Return filters by which SQLite looks the rows of runs up, not those of an agent or a time.

    It holds all values for equally rare, and prefers the narrower index. A sign keeps it from one.
    """
    if not any(f.column == "run_id" and f.op in ("=", "in") for f in where):
        return where
    return tuple(map(_unindexed, where))


def _unindexed(f: Filter) -> Filter:
    """Return a filter for which SQLite does not read an index of agents, or one for each choice."""
    if f.op == "any":
        choices = (tuple(e._replace(column=f"+{e.column}") for e in each) for each in f.value)
        return f._replace(value=tuple(choices))
    return f._replace(column="+agent_id") if f.column == "agent_id" and f.op == "=" else f


def _statements(sql: str) -> Iterator[str]:
    """Return the statements of a script; sqlite3's own executescript would commit before them."""
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
