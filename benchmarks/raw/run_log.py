"""A run log by hand: the counter of a session and its entries, in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import psycopg2

from curio_persistence.backends.sqlite import wal
from curio_persistence.runlog.codecs import encode
from curio_persistence.runlog.entries import RunLogEntry

_COLUMNS = "agent_id, run_id, timestamp, event_type, data, created_at, session_id, seq"
_STEPS = "'user_step_committed', 'assistant_step_committed', 'tool_step_committed'"


class RawRunLog:
    """One connection, whose statements have `mark` for a value and tables behind `prefix`."""

    def __init__(self, connection: Any, mark: str, prefix: str = "") -> None:
        self._cursor = connection.cursor()
        self._close = connection.close
        self._row = f"({', '.join([mark] * 8)})"
        self._insert = f"INSERT INTO {prefix}agent_run_events ({_COLUMNS}) VALUES "
        self._begin_log = (
            f"INSERT INTO {prefix}agent_run_logs (session_id, last_seq, created_at) "
            f"VALUES ({mark}, 0, '2026-11-20T12:00:00.000000+00:00')"
        )
        self._take = (
            f"UPDATE {prefix}agent_run_logs SET last_seq = last_seq + {mark} "
            f"WHERE session_id = {mark} RETURNING last_seq"
        )
        self._page = (
            f"SELECT {_COLUMNS} FROM {prefix}agent_run_events WHERE session_id = {mark} "
            f"AND event_type IN ({_STEPS}) AND seq >= {mark} ORDER BY seq LIMIT 100"
        )

    def begin(self, session_id: str) -> None:
        self._cursor.execute(self._begin_log, (session_id,))

    def append(self, session_id: str, entries: Sequence[RunLogEntry]) -> None:
        """Append entries by one INSERT."""
        self._cursor.execute("BEGIN")
        self._cursor.execute(self._take, (len(entries), session_id))
        [(last,)] = self._cursor.fetchall()
        values = [
            (
                entry.agent_id,
                entry.run_id,
                time := entry.created_at.isoformat(timespec="microseconds"),
                entry.kind,
                encode(entry),
                time,
                session_id,
                number,
            )
            for number, entry in enumerate(entries, last - len(entries) + 1)
        ]
        rows = ", ".join([self._row] * len(values))
        self._cursor.execute(self._insert + rows, tuple(chain.from_iterable(values)))
        self._cursor.execute("COMMIT")

    def page(self, session_id: str, start: int) -> list[tuple[Any, ...]]:
        """Return a hundred steps, none of them rolled back."""
        self._cursor.execute(self._page, (session_id, start))
        return list(self._cursor.fetchall())

    def close(self) -> None:
        self._close()


def sqlite_log(path: Path) -> RawRunLog:
    """Open a file with the package's own settings."""
    connection = sqlite3.connect(path, isolation_level=None)
    for setting in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {setting}").fetchall()
    connection.execute(f"PRAGMA wal_autocheckpoint = {wal.PAGES}").fetchall()
    return RawRunLog(connection, "?")


def postgres_log(dsn: str, schema: str) -> RawRunLog:
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    return RawRunLog(connection, "%s", f"{schema}.")
