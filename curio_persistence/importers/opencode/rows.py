"""The database of OpenCode: sessions, messages and parts, whose content is JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from curio_persistence.importers.common.sqlite_tables import Database
from curio_persistence.importers.opencode.library import Item, Session, Shelf
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import SessionFile
from curio_persistence.importers.sessions.places import Place

_MESSAGES = "SELECT CAST(time_created AS INTEGER), id FROM message WHERE session_id = ?"
_PARTS = "SELECT id FROM part WHERE message_id = ? ORDER BY id"
_STATES = """
SELECT session_id, count(*), max(CAST(time_updated AS INTEGER)) FROM {} GROUP BY session_id
"""


def session_in(row: Mapping[str, Any], file: SessionFile, count: int, updated: int) -> Session:
    """Return the session of a row, with so many messages and parts."""
    changed = max(updated, _milliseconds(row, "time_updated")) / 1000
    name = f"{file.name} session {row['id']}"
    return Session(
        row["id"],
        _text(row, "parent_id"),
        _milliseconds(row, "time_created"),
        _text(row, "title"),
        _text(row, "directory"),
        _text(row, "version"),
        SessionFile(Path(f"{file.path}/{row['id']}"), name, count, changed),
    )


def _milliseconds(row: Mapping[str, Any], name: str) -> int:
    found = row.get(name)
    return found if isinstance(found, int) else 0


def _text(row: Mapping[str, Any], name: str) -> str | None:
    found = row.get(name)
    return found if isinstance(found, str) else None


class Rows(Shelf):
    """One database."""

    def __init__(self, database: Database, file: SessionFile, context: SessionContext) -> None:
        self._database, self._file, self._context = database, file, context

    @staticmethod
    def are_in(database: Database) -> bool:
        """Return whether a database has these tables."""
        tables = (database.tables.get(name, set()) for name in ("session", "message", "part"))
        return all({"id", "time_created"} <= columns for columns in tables)

    def sessions(self) -> Iterator[Session]:
        states = self._states()
        for (ident,) in self._database.rows("SELECT id FROM session"):
            row = self._database.row("session", "id", ident) or {}
            yield session_in({**row, "id": ident}, self._file, *states.get(ident, (0, 0)))

    def _states(self) -> Mapping[str, tuple[int, int]]:
        """Return how many rows each session has, and when the last of them was changed."""
        states: dict[str, tuple[int, int]] = {}
        for table in ("message", "part"):
            for session, count, updated in self._database.rows(_STATES.format(table)):
                many, last = states.get(session, (0, 0))
                states[session] = (many + count, max(last, updated or 0))
        return states

    def messages(self, session: str) -> Iterable[tuple[int, str]]:
        return [(at or 0, ident) for at, ident in self._database.rows(_MESSAGES, session)]

    def message(self, session: str, ident: str) -> Item | None:
        return self._item("message", ident)

    def parts(self, message: str, besides: set[str]) -> Iterator[Item]:
        for (ident,) in self._database.rows(_PARTS, message):
            item = None if ident in besides else self._item("part", ident)
            if item is not None:
                yield item

    def _item(self, table: str, ident: str) -> Item | None:
        row = self._database.row(table, "id", ident)
        place = Place(self._context, self._file.name, what=f"{table} {ident}")
        value: Any = None if row is None else place.json(row["data"])
        return Item(ident, value, place) if isinstance(value, dict) else None
