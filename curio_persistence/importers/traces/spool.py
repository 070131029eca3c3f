"""Bring rows of a file together by trace, in whatever order they come, in bounded memory."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from typing import Any

from curio_persistence.importers.common.writer import SourceLocation
from curio_persistence.importers.traces.rows import Placed, Row

_TABLE = "CREATE TABLE rows (trace TEXT, row TEXT, location TEXT)"
_INDEX = "CREATE INDEX by_trace ON rows (trace)"
_PUT = "INSERT INTO rows VALUES (?, ?, ?)"
_GET = "SELECT trace, row, location FROM rows ORDER BY trace, rowid"


def by_trace(rows: Iterable[tuple[str, Row, SourceLocation]]) -> Iterator[tuple[str, list[Placed]]]:
    """Yield each trace with its rows in the order they came.

    They wait in a temporary database, which SQLite keeps in memory until it is large, then in a
    file without a name.
    """
    with closing(sqlite3.connect("", isolation_level=None)) as spool:
        spool.execute("PRAGMA journal_mode = OFF").close()
        spool.execute(_TABLE)
        spool.execute("BEGIN")
        spool.executemany(_PUT, (tuple(map(_dump, each)) for each in rows))
        spool.execute(_INDEX)
        for trace, stored in groupby(spool.execute(_GET), itemgetter(0)):
            yield json.loads(trace), [_placed(*each) for _, *each in stored]


def _placed(row: str, location: str) -> Placed:
    return json.loads(row), SourceLocation(*json.loads(location))


def _dump(value: Any) -> str:
    """Return a value as text that SQLite takes: in JSON, lone surrogates are escapes."""
    return json.dumps(value, default=str)
