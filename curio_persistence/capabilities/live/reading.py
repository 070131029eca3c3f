"""Read what is new behind a position: runs, events, model calls and spans, and their changes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from itertools import groupby
from typing import Any, NamedTuple

from curio_persistence.capabilities.live.items import Change, Kind, LiveItem
from curio_persistence.capabilities.live.positions import FEEDS, Batch, Position, replaced, text_of
from curio_persistence.errors import UnsupportedError
from curio_persistence.models import AgentRunStatus
from curio_persistence.store.base import Store
from curio_persistence.store.change_feed import BATCH, MAX_BYTES, Changes, Watermark, read_changes
from curio_persistence.store.filters import Filter
from curio_persistence.store.table import Row, StoredValue, Table
from curio_persistence.tables import CHANGES, EVENTS, RUNS, SPANS, USAGE

KINDS: dict[str, Kind] = {
    RUNS.name: "run",
    EVENTS.name: "event",
    USAGE.name: "usage",
    SPANS.name: "span",
}
_CHANGED = {table.name: table for table in (RUNS, SPANS)}
_UNDER_WAY = (AgentRunStatus.PENDING.value, AgentRunStatus.RUNNING.value)


class Entry:
    """One row that is new or has changed, shared by all listeners."""

    def __init__(
        self, batch: Batch, index: int, table: Table[Any], change: Change, row: Row, session: Any
    ) -> None:
        self.kind = KINDS[table.name]
        self.agent_id = row.get("agent_id")
        self.run_id = row["run_id"]
        self.session_id = session
        self.row = row
        self.change = change
        self.table = table
        self._batch = batch
        self._index = index

    @property
    def position(self) -> Position:
        """The position behind this entry."""
        return self._batch.after(self._index)

    def is_before(self, position: Position) -> bool:
        """Return whether a stream at a position has told this entry."""
        return position[self._batch.feed].has_passed(self._batch.ids[self._index])

    @cached_property
    def id(self) -> str:
        """The text of the position behind this entry."""
        return text_of(self.position)

    @cached_property
    def text(self) -> str:
        """The item as JSON, made once for all listeners."""
        [item] = items_of([self])
        return json.dumps(item.to_dict())


def items_of(entries: Sequence[Entry]) -> list[LiveItem]:
    """Return items for one listener, with records of their own."""
    items: list[LiveItem] = []
    for table, group in groupby(entries, key=lambda entry: entry.table):
        some = list(group)
        records = table.decode(table.columns_of([entry.row for entry in some]))
        items += [
            LiveItem(entry.id, entry.kind, entry.change, record)
            for entry, record in zip(some, records, strict=True)
        ]
    return items


class News(NamedTuple):
    """The entries behind a position, and the position behind those."""

    entries: list[Entry]
    position: Position
    size: int
    """The length of the rows' texts."""
    more: bool
    """True where a limit ended the reading."""


def read_news(
    store: Store,
    since: Position,
    until: Position | None = None,
    *,
    limit: int = BATCH,
    max_bytes: int = MAX_BYTES,
) -> News:
    """Return the next entries behind a position.

    Rows that a transaction committed together, or one after the other, are told in the order of
    `FEEDS`, because those of later feeds are read first. `until` is a position that was reached
    before: rows that it has not passed are left out, if there is not more to read.
    """
    if store._is_inside():
        raise UnsupportedError(
            "A transaction is open in this thread, which sees rows that are not committed: "
            "end it before you follow a stream."
        )
    reads = [
        read_changes(store, table, since=watermark, limit=limit, max_bytes=max_bytes)
        for table, watermark in reversed([*zip(FEEDS, since, strict=True)])
    ]
    entries: list[Entry] = []
    position, size, more = since, 0, any(read.more for read in reads)
    for feed, read in enumerate(reversed(reads)):
        end = read.watermark if until is None or more else until[feed]
        entries += _entries_of(store, position, feed, read, end)
        position = replaced(position, feed, end)
        size += read.size
        if read.more:  # What follows may belong to rows that come first.
            break
    return News(entries, position, size, more)


def _entries_of(
    store: Store, position: Position, feed: int, read: Changes, until: Watermark
) -> list[Entry]:
    table = FEEDS[feed]
    rows = table.rows(read.columns)
    told = [row for row in rows if until.has_passed(_id_of(row))]
    batch = Batch(position, feed, until, [_id_of(row) for row in told])
    if table is CHANGES:
        later = [row for row in rows if not until.has_passed(_id_of(row))]
        return _changed(store, batch, told, later, read.watermark)
    return [
        Entry(batch, index, table, _word_for_new(table, row), row, session)
        for index, (row, session) in enumerate(_with_sessions(store, told))
    ]


def _id_of(row: Row) -> int:
    ident = row["id"]
    assert isinstance(ident, int)
    return ident


def _word_for_new(table: Table[Any], row: Row) -> Change:
    if table is RUNS:
        return "begun"
    if table is SPANS:
        return "begun" if row["ended_at"] is None else "ended"
    return "added"


def _changed(
    store: Store, batch: Batch, lines: list[Row], later: list[Row], behind: Watermark
) -> list[Entry]:
    """Return the changed rows as they are now, each once, where the last of its changes stands."""
    last: dict[Any, int] = {_changed_by(line): index for index, line in enumerate(lines)}
    if not last:
        return []
    wanted: dict[str, list[int]] = defaultdict(list)
    for name, ident in last:
        wanted[name].append(ident)
    found: dict[Any, tuple[Row, str | None]] = {
        (name, row["id"]): (row, session)
        for name, ids in wanted.items()
        for row, session in _rows_with(store, _CHANGED[name], ids)
    }
    # A row that has changed again meanwhile comes with that change: each state is told once.
    newest = CHANGES.rows(read_changes(store, CHANGES, since=behind).columns)
    for line in (*later, *newest):
        found.pop(_changed_by(line), None)
    return [
        Entry(batch, index, _CHANGED[key[0]], _word_for_changed(found[key][0]), *found[key])
        for key, index in sorted(last.items(), key=lambda each: each[1])
        if key in found
    ]


def _changed_by(line: Row) -> tuple[StoredValue, StoredValue]:
    return line["table_name"], line["row_id"]


def _rows_with(store: Store, table: Table[Any], ids: list[int]) -> list[tuple[Row, str | None]]:
    columns = store.select(table, (Filter("id", "in", tuple(sorted(ids))),))
    return _with_sessions(store, table.rows(columns))


def _word_for_changed(row: Row) -> Change:
    if "ended_at" in row:
        return "ended" if row["ended_at"] is not None else "changed"
    return "changed" if row["status"] in _UNDER_WAY else "ended"


def _with_sessions(store: Store, rows: list[Row]) -> list[tuple[Row, str | None]]:
    """Return the rows, each with its session, or else that of its run."""
    wanted = {row["run_id"] for row in rows if row.get("session_id") is None} - {None}
    sessions: dict[Any, str] = {}
    if wanted:
        where = (Filter("run_id", "in", tuple(wanted)), Filter("session_id", "is not null"))
        sessions = dict(store.select_columns(RUNS, ("run_id", "session_id"), where))
    return [(row, _text(row.get("session_id")) or sessions.get(row["run_id"])) for row in rows]


def _text(value: StoredValue) -> str | None:
    return None if value is None else str(value)
