"""Bring the tables in line with what the spans around new ones say now."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from functools import cache, partial
from typing import Any, NamedTuple, cast

from curio_persistence.capabilities.search.indexing import Indexing
from curio_persistence.interop.otel.derived import (
    PLACES,
    Place,
    call_of,
    content,
    event_id,
    place_in,
    run_of,
    tool_call_of,
)
from curio_persistence.interop.otel.derived_runs import DerivedRuns
from curio_persistence.interop.otel.meanings import meanings_of, services
from curio_persistence.interop.otel.neighbours import CALLS, Key, Neighbourhood, Node, node_of
from curio_persistence.interop.otel.placing import Placement
from curio_persistence.interop.otel.spans import Meaning
from curio_persistence.persistence import Persistence
from curio_persistence.store.filters import Filter, Where
from curio_persistence.store.table import Row, StoredValue, Table
from curio_persistence.tables import EVENTS, RUNS, SPANS, USAGE

_KEY = SPANS.unique[0]


class Arrival(NamedTuple):
    """A span that is to be stored: its row, and its meaning with its words."""

    row: Row
    node: Node
    meaning: Meaning
    before: Row | None
    """The version that it replaces."""


class _Known(NamedTuple):
    """A stored record: its row's id, and where it belongs."""

    id: int
    place: tuple[StoredValue, ...]


class Settling:
    """One transaction's changes: spans, and the records that follow from them."""

    def __init__(self, persistence: Persistence, arrivals: Mapping[Key, Arrival], now: str) -> None:
        self._store = persistence._store
        self._encoder = persistence.redaction.encoder
        self._indexing = Indexing(self._store)
        self._arrivals = arrivals
        self._now = now
        former = [arrival.before for arrival in arrivals.values() if arrival.before is not None]
        self._around = Neighbourhood(
            self._store,
            [arrival.node for arrival in arrivals.values()],
            [*map(node_of, former)],
        )
        sources = {node.source_id for node in self._around.nodes.values()}
        # Only what waits for its run needs them.
        named = cache(partial(services, self._store, sources))
        self._placement = Placement(self._around, named)
        self._changes: Counter[Table[Any]] = Counter()
        self._meanings = {key: arrival.meaning for key, arrival in arrivals.items()}

    def settle(self) -> None:
        """Store the spans, and change the records that are not as they should be."""
        placed = self._placement
        runs = DerivedRuns(self._store, self._around, placed, self._encoder(RUNS), self._now)
        calls, tools = self._known(USAGE, _is_call), self._known(EVENTS, _is_tool)
        self._load_meanings(
            {key for key, place in placed.runs.items() if place.run_id not in runs.known}
            | {key for key in placed.calls if event_id(key) not in calls}
            | {key for key in placed.tools if event_id(key) not in tools}
            | placed.told_by_several()
            | {helper for helpers in placed.helpers.values() for helper in helpers}
        )
        runs.store({key: self._run_row(key) for key in placed.runs if key in self._meanings})
        self._change(USAGE, calls, placed.calls, self._call_row)
        self._change(EVENTS, tools, placed.tools, self._tool_row)
        runs.borrow_words(self._runs_of_calls(calls))
        self._store_spans()
        runs.remove_empty()
        self._changes[RUNS] = len(runs.changed)

    def _runs_of_calls(self, before: Mapping[str, _Known]) -> set[str]:
        """Return the runs, now and before, of the decided calls."""
        placed = self._placement
        places = (*placed.runs.values(), *placed.calls.values())
        run_ids = {place.run_id for place in places}
        run_ids.update(cast("str | None", known.place[0]) for known in before.values())
        return {run_id for run_id in run_ids if run_id is not None}

    @property
    def changes(self) -> tuple[int, int, int]:
        """Return how many runs, calls and events were added, changed or deleted."""
        return self._changes[RUNS], self._changes[USAGE], self._changes[EVENTS]

    # --- rows ---------------------------------------------------------------------------------

    def _load_meanings(self, keys: Collection[Key]) -> None:
        """Read the words of stored spans whose records are made anew."""
        self._meanings |= meanings_of(self._store, {*keys} - self._meanings.keys())

    def _run_row(self, key: Key) -> Row:
        node, meaning = self._around.nodes[key], self._meanings[key]
        others = [self._meanings[each] for each in self._placement.helpers[key]]
        row = self._encoder(RUNS)(run_of(node, meaning, others, self._placement.runs[key]))
        return {**row, "updated_at": self._now, "stub": 1}

    def _call_row(self, key: Key) -> Row:
        placed, node = self._placement, self._around.nodes[key]
        others = [self._meanings[each] for each in placed.helpers[key]]
        return self._encoder(USAGE)(call_of(node, self._meanings[key], others, placed.calls[key]))

    def _tool_row(self, key: Key) -> Row:
        node, place = self._around.nodes[key], self._placement.tools[key]
        return self._encoder(EVENTS)(tool_call_of(node, self._meanings[key], place))

    # --- calls and events ---------------------------------------------------------------------

    def _known(self, table: Table[Any], may_have: Callable[[Node], bool]) -> dict[str, _Known]:
        """Return by event_id the stored records of decided spans."""
        around = self._around
        nodes = (*map(around.nodes.__getitem__, around.decided), *around.former)
        ids = tuple({event_id(node.key) for node in nodes if may_have(node)})
        if not ids:
            return {}
        columns = ("event_id", "id", *PLACES[table])
        rows = self._store.select_columns(table, columns, (Filter("event_id", "in", ids),))
        return {name: _Known(ident, tuple(place)) for name, ident, *place in rows}

    def _change(
        self,
        table: Table[Any],
        known: Mapping[str, _Known],
        expected: Mapping[Key, Place],
        row_of: Callable[[Key], Row],
    ) -> None:
        """Make the records of a table those that are expected."""
        named = {event_id(key): key for key in expected}
        gone = [each.id for name, each in known.items() if name not in named]
        new: list[Row] = []
        moved: defaultdict[tuple[StoredValue, ...], list[int]] = defaultdict(list)
        rewritten: dict[int, Row] = {}
        for name, key in named.items():
            if (stored := known.get(name)) is None:
                new.append(row_of(key))
            elif key in self._meanings:
                rewritten[stored.id] = row_of(key)
            elif stored.place != place_in(table, expected[key]):
                moved[place_in(table, expected[key])].append(stored.id)
        for place, ids in moved.items():
            self._store.update(table, _with_ids(ids), dict(zip(PLACES[table], place, strict=True)))
        # A record that says something else is a new one, for search and for change feeds.
        differing = self._differing(table, rewritten)
        self._changes[table] += len(gone) + len(new) + len(differing)
        self._changes[table] += sum(map(len, moved.values()))
        self._delete(table, [*gone, *differing])
        self._store.insert_many(table, [*new, *differing.values()])

    def _differing(self, table: Table[Any], rows: Mapping[int, Row]) -> dict[int, Row]:
        """Return those of some rows, by the ids of the stored ones, that say something else."""
        if not rows:
            return {}
        stored = table.rows(self._store.select(table, _with_ids(rows)))
        same = {row["id"] for row in stored if content(row) == content(rows[int(row["id"] or 0)])}
        return {ident: row for ident, row in rows.items() if ident not in same}

    def _delete(self, table: Table[Any], ids: Collection[int]) -> None:
        if ids:
            self._indexing.forget(table, [*ids])
            self._store.delete(table, _with_ids(ids))

    # --- spans --------------------------------------------------------------------------------

    def _store_spans(self) -> None:
        new: list[Row] = []
        for key, (row, _, _, before) in self._arrivals.items():
            row |= {"run_id": self._placement.run_ids[key], "updated_at": self._now}
            if before is None:
                new.append({**row, "created_at": self._now})
            elif content(before) != content(row):
                names = (name for name in SPANS.names if name not in (*_KEY, "id", "created_at"))
                changes: Row = {name: row.get(name, SPANS.filled.get(name)) for name in names}
                self._store.update(SPANS, _of_span(key), changes)
        self._store.insert_many(SPANS, new)
        self._move_spans()

    def _move_spans(self) -> None:
        """Store of other spans in which runs they are now."""
        moved: defaultdict[tuple[str, str | None], list[str]] = defaultdict(list)
        for (trace_id, span_id), run_id in self._placement.run_ids.items():
            key = (trace_id, span_id)
            if key not in self._arrivals and self._around.nodes[key].run_id != run_id:
                moved[trace_id, run_id].append(span_id)
        for (trace_id, run_id), span_ids in moved.items():
            where = (Filter("trace_id", "=", trace_id), Filter("span_id", "in", tuple(span_ids)))
            self._store.update(SPANS, where, {"run_id": run_id, "updated_at": self._now})


def _is_call(node: Node) -> bool:
    return node.meaning.kind in CALLS


def _is_tool(node: Node) -> bool:
    return node.meaning.tool is not None


def _with_ids(ids: Collection[int]) -> Where:
    return (Filter("id", "in", tuple(ids)),)


def _of_span(key: Key) -> Where:
    return tuple(Filter(name, "=", value) for name, value in zip(_KEY, key, strict=True))
