"""Send the new rows of a table, each once."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, NamedTuple

from curio_persistence.backends.clickhouse.sink import APPENDED, Noted, Sink
from curio_persistence.replication.rows import ids_of, ranges_of, rows_in
from curio_persistence.store.base import Store
from curio_persistence.store.change_feed import (
    Range,
    Watermark,
    packed,
    read_changes,
    unpacked,
)
from curio_persistence.store.table import Columns, Table

START = Watermark().text()
"""The mark before the first row."""
_ROWS = 50_000
_BYTES = 64 << 20


class Intent(NamedTuple):
    """Rows that are about to be inserted, and the mark behind them."""

    token: str
    mark: str
    ranges: tuple[Range, ...]

    @classmethod
    def parse(cls, text: str) -> Intent:
        """Return the intent that `text()` wrote."""
        token, mark, lengths = json.loads(text)
        return cls(token, mark, unpacked(lengths))

    def text(self) -> str:
        """Return the intent as text: some bytes for each range of ids."""
        return json.dumps((self.token, self.mark, packed(self.ranges)), separators=(",", ":"))


class Sent(NamedTuple):
    """The rows that were sent, and whether there are more."""

    columns: Columns
    more: bool


class Feed:
    """Sends what is new in one table.

    Of rows that are inserted once, the ids are noted before. Others may be inserted again.
    """

    def __init__(self, store: Store, sink: Sink, table: Table[Any]) -> None:
        self._store = store
        self._sink = sink
        self.table = table
        noted = sink.noted(table.name)
        self._mark = self._written = noted.mark or START
        if noted.intent:
            self._finish(Intent.parse(noted.intent))

    @property
    def mark(self) -> Watermark:
        """The position up to which rows were sent."""
        return Watermark.parse(self._mark)

    def send(self) -> Sent:
        """Send the next rows."""
        changes = read_changes(
            self._store, self.table, since=self.mark, limit=_ROWS, max_bytes=_BYTES
        )
        mark = changes.watermark.text()
        token = None
        if len(changes) and self.table.name in APPENDED:
            token = self._note(mark, ids_of(self.table, changes.columns))
        self._sink.insert(self.table, changes.columns, token=token)
        self._mark = mark
        return Sent(changes.columns, changes.more)

    def unnoted(self) -> dict[str, Noted]:
        """Return the position, if it is to be noted."""
        return {} if self._mark == self._written else {self.table.name: Noted(self._mark)}

    def was_noted(self) -> None:
        """Take note that the position was noted."""
        self._written = self._mark

    def start_again(self) -> None:
        """Send all rows once more: those of a table whose rows have versions."""
        self._mark = START

    def _note(self, mark: str, ids: Collection[int]) -> str:
        token = self._sink.token(self.table)
        intent = Intent(token, mark, ranges_of(ids))
        self._sink.note({self.table.name: Noted(self._mark, intent.text())})
        self._written = ""
        return token

    def _finish(self, intent: Intent) -> None:
        """Insert those rows of an intent that are missing: the process was killed meanwhile."""
        self._sink.wait_for(intent.token)
        first, end = intent.ranges[0][0], intent.ranges[-1][1]
        here = self._sink.ids_between(self.table, first, end)
        missing = {each for first, end in intent.ranges for each in range(first, end)} - here
        rows = rows_in(self._store, self.table, ranges_of(missing))
        self._sink.insert(self.table, rows, token=None if here else intent.token)
        self._mark, self._written = intent.mark, ""
