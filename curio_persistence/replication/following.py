"""Find what has changed in a source since it was sent: updates, deletions, and words that went."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from curio_persistence.backends.clickhouse.sink import Noted, Sink
from curio_persistence.clock import utc_now
from curio_persistence.replication.changing import Changing
from curio_persistence.replication.feeds import Feed
from curio_persistence.replication.lines import Lines
from curio_persistence.replication.rows import BY_NAME, ids_with, parts, rows_with
from curio_persistence.store.base import Store
from curio_persistence.store.change_feed import Watermark
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Measure
from curio_persistence.store.table import Columns, Table
from curio_persistence.tables import (
    AGENTS,
    APPROVALS,
    CHANGES,
    EVENTS,
    OF_SPAN,
    RUNS,
    SCORES,
    SESSIONS,
    SNAPSHOTS,
    SOURCES,
    SPANS,
    USAGE,
)

_UPDATES = "updates"
BEGUN = "begun"
"""The name under which the time of the first replication is noted."""
_WITH_LINES: tuple[Table[Any], ...] = (RUNS, SPANS)
"""The tables of which `agent_changes` has a line for each update."""
_WITHOUT_LINES: tuple[Table[Any], ...] = (SCORES, APPROVALS, SNAPSHOTS, SOURCES, SESSIONS, AGENTS)
_LONG_AGO = "1970-01-01T00:00:00.000000+00:00"
_LOOKED_BACK = timedelta(minutes=10)
"""A transaction that is open for longer may have set an `updated_at` that is looked for no more."""
_TRACES = 100
_PLACES: Mapping[Table[Any], tuple[str, ...]] = {
    USAGE: ("run_id", "agent_id"),
    EVENTS: ("run_id", "agent_id", "session_id"),
}
"""The tables derived from spans, and the columns that change when a row moves to another run."""
_MADE_BY_RUNS: Mapping[str, Table[Any]] = {"session_id": SESSIONS, "agent_id": AGENTS}


class Following:
    """Sends what changes in rows that were sent before."""

    def __init__(
        self, store: Store, sink: Sink, feeds: Mapping[str, Feed], changing: Changing
    ) -> None:
        self._store = store
        self._sink = sink
        self._feeds = feeds
        self._changing = changing
        self._changes = Lines(store, sink, CHANGES)
        self._latest: dict[str, str] = json.loads(sink.noted(_UPDATES).mark or "{}")
        self._begun = sink.noted(BEGUN).mark
        self._sent: dict[str, dict[int, str]] = defaultdict(dict)

    def begin(self) -> dict[str, Noted]:
        """Return the positions to be noted before the first row is sent."""
        if self._latest:
            return {}
        self._latest = {table.name: self._newest(table) for table in _WITHOUT_LINES}
        self._begun = encode_time(utc_now())
        updates = Noted(json.dumps(self._latest))
        return {**self._changes.begin(), _UPDATES: updates, BEGUN: Noted(self._begun)}

    def _newest(self, table: Table[Any]) -> str:
        [(newest,)] = self._store.aggregate(table, (Measure("max", "updated_at"),))
        return newest or _LONG_AGO

    def follow(self, table: Table[Any], columns: Columns) -> None:
        """Look at rows that were sent for others that have changed with them."""
        if table.name == RUNS.name:
            self._follow_runs(table, columns)
        elif table.name == SPANS.name:
            self._follow_spans(table, columns)

    def _follow_runs(self, table: Table[Any], columns: Columns) -> None:
        """Send the sessions and agents of runs again: what changes these rows is runs."""
        for name, made in _MADE_BY_RUNS.items():
            if (passed := self._feeds[made.name].mark).upto:
                values = sorted({*columns[table.names.index(name)]} - {None})
                found = ids_with(self._store, made, name, values)
                self._refresh(made.name, found, passed)

    def _follow_spans(self, table: Table[Any], columns: Columns) -> None:
        """Send again what was derived from received spans, which others move to another run."""
        since = encode_time(datetime.fromisoformat(self._begun) - _LOOKED_BACK)
        at = map(table.names.index, ("trace_id", "source_id", "updated_at"))
        traces = {
            trace_id
            for trace_id, source_id, updated_at in zip(*(columns[i] for i in at), strict=True)
            if source_id is not None and updated_at >= since
        }
        for some in parts(sorted(traces), _TRACES):
            spans = (Filter("trace_id", "in", tuple(some)),)
            keys = self._store.select_columns(SPANS, ("trace_id", "span_id"), spans)
            names = [f"{OF_SPAN}{trace_id}:{span_id}" for trace_id, span_id in keys]
            for derived, place in _PLACES.items():
                self._compare_derived(BY_NAME[derived.name], names, ("id", *place))

    def _compare_derived(
        self, table: Table[Any], names: list[str], columns: tuple[str, ...]
    ) -> None:
        here = self._sink.rows_with(table, columns, "event_id", names)
        there = rows_with(self._store, table, columns, "event_id", names)
        passed = self._feeds[table.name].mark
        differing = {row[0] for row in {*here} ^ {*there}}
        self._changing.replace(table, [*filter(passed.has_passed, differing)])

    def send(self) -> None:
        """Send the rows again that were updated."""
        if self._changes.are_lost():
            self._send_all_again()
        else:
            for lines in self._changes.read():
                self._send_changed(lines)
        before = dict(self._latest)
        for table in _WITHOUT_LINES:
            self._send_updated(table)
        if self._latest != before:
            self._sink.note({_UPDATES: Noted(json.dumps(self._latest))})

    def _send_all_again(self) -> None:
        """Let the feeds begin again; their marks are noted before that of the lost lines."""
        self._changes.skip()
        for table in _WITH_LINES:
            self._feeds[table.name].start_again()

    def _send_changed(self, lines: list[dict[str, Any]]) -> None:
        ids = defaultdict[str, set[int]](set)
        for line in lines:
            ids[line["table_name"]].add(line["row_id"])
        for name, changed in ids.items():
            self._refresh(name, changed, self._feeds[name].mark)

    def _refresh(self, name: str, ids: Iterable[int], passed: Watermark) -> None:
        """Send those of some rows again that were sent; the others come as new ones."""
        table = BY_NAME[name]
        for columns in self._changing.refresh(table, [*filter(passed.has_passed, ids)]):
            self.follow(table, columns)

    def _send_updated(self, table: Table[Any]) -> None:
        """Send the rows with a late `updated_at` that a replica has with another one."""
        latest = self._latest[table.name]
        since = encode_time(datetime.fromisoformat(latest) - _LOOKED_BACK)
        where = (Filter("updated_at", ">=", since),)
        found = dict(self._store.select_columns(table, ("id", "updated_at"), where))
        sent, self._sent[table.name] = self._sent[table.name], found
        new = {ident: at for ident, at in found.items() if sent.get(ident) != at}
        here = self._sink.rows_with(table, ("id", "updated_at"), "id", new)
        late = new.items() - {(ident, encode_time(at)) for ident, at in here if at is not None}
        self._refresh(table.name, (ident for ident, _ in late), self._feeds[table.name].mark)
        self._latest[table.name] = max((latest, *found.values()))
