"""Samples as they were while they grew: step by step, and as if that were happening now."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.session_samples import FOLDER

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_AGO = timedelta(seconds=30)


def growing_lines(sample: str, folder: Path) -> Iterator[Path]:
    """Yield a file of lines after each line that came, with its last entry half a minute ago."""
    lines = _moved((FOLDER / sample).read_text(encoding="utf-8")).splitlines(keepends=True)
    path = folder / sample
    path.parent.mkdir(parents=True, exist_ok=True)
    for count in range(1, len(lines) + 1):
        path.write_text("".join(lines[:count]), encoding="utf-8")
        yield path


def _moved(text: str) -> str:
    times = [datetime.fromisoformat(found) for found in _TIME.findall(text)]
    by = datetime.now(UTC) - _AGO - max(times)

    def moved(found: re.Match[str]) -> str:
        at = datetime.fromisoformat(found[0]) + by
        return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"

    return _TIME.sub(moved, text)


def growing_rows(sample: str, folder: Path) -> Iterator[Path]:
    """Yield a database of the OpenAI Agents SDK after each message that came."""
    path = folder / Path(sample).name
    with closing(sqlite3.connect(FOLDER / sample)) as whole:
        messages = whole.execute("SELECT * FROM agent_messages ORDER BY id").fetchall()
        usage = whole.execute("SELECT * FROM turn_usage").fetchall()
    shutil.copy(FOLDER / sample, path)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = wal")
        database.execute("DELETE FROM agent_messages")
        database.execute("DELETE FROM turn_usage")
        start = datetime.now(UTC) - timedelta(minutes=1)
        for number, (*values, _) in enumerate(messages):
            at = f"{start + timedelta(seconds=number):%Y-%m-%d %H:%M:%S}"
            database.execute("INSERT INTO agent_messages VALUES (?, ?, ?, ?)", (*values, at))
            for row in usage if number + 1 == len(messages) else ():
                marks = ", ".join("?" * len(row))
                database.execute(f"INSERT INTO turn_usage VALUES ({marks})", row)
            yield path


def growing_messages(folder: Path) -> Iterator[Path]:
    """Yield OpenCode's database while answers come: first without their end, then with it."""
    path = folder / "opencode.db"
    shutil.copy(FOLDER / "opencode" / "opencode.db", path)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = wal")
        _move_rows(database)
        rows = {
            table: database.execute(f"SELECT * FROM {table} ORDER BY time_created, id").fetchall()
            for table in ("message", "part")
        }
        for table in rows:
            database.execute(f"DELETE FROM {table}")
        for message in rows["message"]:
            *values, data = message
            mark = ", ".join("?" * len(message))
            begun = re.sub(r', "completed": \d+', "", data)
            database.execute(f"INSERT INTO message VALUES ({mark})", (*values, begun))
            yield path
            for part in rows["part"]:
                if part[1] == message[0]:
                    database.execute(
                        f"INSERT INTO part VALUES ({', '.join('?' * len(part))})", part
                    )
            yield path
            database.execute("UPDATE message SET data = ? WHERE id = ?", (data, message[0]))
            yield path


def _move_rows(database: sqlite3.Connection) -> None:
    """Make the database as if all of it were of the last minutes."""
    (last,) = database.execute("SELECT max(time_updated) FROM message").fetchone()
    by = round((datetime.now(UTC) - _AGO).timestamp() * 1000) - last
    for table in ("session", "message", "part"):
        database.execute(
            f"UPDATE {table} SET time_created = time_created + ?, time_updated = time_updated + ?",
            (by, by),
        )
    for table in ("message", "part"):
        for ident, data in database.execute(f"SELECT id, data FROM {table}").fetchall():
            moved = re.sub(r"\b17\d{11}\b", lambda found: str(int(found[0]) + by), data)
            database.execute(f"UPDATE {table} SET data = ? WHERE id = ?", (moved, ident))
