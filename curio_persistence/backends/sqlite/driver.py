"""The driver's connection, which lets go of its files when it is closed."""

from __future__ import annotations

import sqlite3
from typing import Any
from weakref import WeakSet


class Connection(sqlite3.Connection):
    """A connection that ends its cursors when it is closed, so that no child of a fork has it.

    SQLite keeps the files of a closed connection open until its last statement has ended. A cursor
    keeps its statement while rows are left and, on Python 3.11, after an error.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lasting: WeakSet[sqlite3.Cursor] = WeakSet()

    def lasting_cursor(self) -> sqlite3.Cursor:
        """Return a cursor that outlives the call that made it: in a generator, or in a traceback.

        `execute` needs none: its cursor is gone after an error, and without rows it has no
        statement.
        """
        cursor = self.cursor()
        self._lasting.add(cursor)
        return cursor

    def close(self) -> None:
        for cursor in list(self._lasting):
            cursor.close()
        self._lasting.clear()
        super().close()
