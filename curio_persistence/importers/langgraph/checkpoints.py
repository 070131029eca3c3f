"""The newest checkpoint of a graph in a thread: its messages, their times, and its error."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from curio_persistence.errors import InvalidValueError
from curio_persistence.importers.common.sqlite_tables import Database
from curio_persistence.importers.langgraph.decoding import decode
from curio_persistence.importers.langgraph.messages import Message, messages_in
from curio_persistence.importers.sessions.places import Place, member

_GRAPHS = """
SELECT checkpoint_ns, max(checkpoint_id) FROM checkpoints WHERE thread_id = ?
GROUP BY checkpoint_ns ORDER BY checkpoint_ns
"""
_CHECKPOINT = """
SELECT rowid FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?
"""
_WRITES = """
SELECT rowid, checkpoint_id FROM writes WHERE thread_id = ? AND checkpoint_ns = ? AND channel = ?
ORDER BY checkpoint_id, idx
"""
_MESSAGES, _ERROR, _INTERRUPT = "messages", "__error__", "__interrupt__"
_GREGORIAN = datetime(1582, 10, 15, tzinfo=UTC)


class Graph(NamedTuple):
    """A graph, or a subgraph by its namespace, with its newest checkpoint."""

    database: Database
    thread: str
    namespace: str
    newest: str

    def messages(self, place: Place) -> list[Message]:
        """Return the messages; if the checkpoint has none itself, those that were written."""
        written = self._written(place)
        times = {message.key: message.at for message in written}
        last = time_of(self.newest)
        found = [
            Message(*message, at=times.get(message[0], last))
            for message in messages_in(self._channel(place))
        ]
        return found or list({message.key: message for message in written}.values())

    def error(self, place: Place) -> str | None:
        """Return the error with which the newest checkpoint was left."""
        for _, checkpoint, value in self._writes(_ERROR, place):
            if checkpoint == self.newest:
                return str(value)
        return None

    def is_waiting(self) -> bool:
        """Return whether the newest checkpoint waits for a person, who may take any time."""
        rows = self.database.rows(_WRITES, self.thread, self.namespace, _INTERRUPT)
        return any(checkpoint == self.newest for _, checkpoint in rows)

    def _channel(self, place: Place) -> Any:
        rows = self.database.rows(_CHECKPOINT, self.thread, self.namespace, self.newest)
        row = self.database.row("checkpoints", "rowid", rows[0][0]) if rows else None
        if row is None:
            return None
        checkpoint = _decoded(row.get("type"), row.get("checkpoint"), place)
        return member(checkpoint, "channel_values", _MESSAGES)

    def _written(self, place: Place) -> list[Message]:
        return [
            Message(*message, at=time_of(checkpoint))
            for _, checkpoint, value in self._writes(_MESSAGES, place)
            for message in messages_in(value)
        ]

    def _writes(self, channel: str, place: Place) -> Iterator[tuple[int, str, Any]]:
        rows = self.database.rows(_WRITES, self.thread, self.namespace, channel)
        for rowid, checkpoint in rows:
            row = self.database.row("writes", "rowid", rowid) or {}
            yield rowid, checkpoint, _decoded(row.get("type"), row.get("value"), place)


def graphs_of(database: Database, thread: str) -> Iterator[Graph]:
    """Yield the graph of a thread, and then its subgraphs."""
    for namespace, newest in database.rows(_GRAPHS, thread):
        yield Graph(database, thread, namespace, newest)


def time_of(checkpoint: Any) -> datetime | None:
    """Return the time in a checkpoint's id, a UUID of version 6: ids are in the order of time."""
    try:
        ident = UUID(str(checkpoint))
    except ValueError:
        return None
    if ident.version != 6:
        return None
    ticks = (ident.int >> 80) << 12 | (ident.int >> 64) & 0xFFF
    return _GREGORIAN + timedelta(microseconds=ticks // 10)


def _decoded(kind: Any, stored: Any, place: Place) -> Any:
    try:
        return decode(kind, stored)
    except InvalidValueError as error:
        place.problem(error)
        return None
