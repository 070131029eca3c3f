"""The runs of received spans, among those that were recorded here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from curio_persistence.capabilities.search.indexing import Indexing
from curio_persistence.interop.otel.borrowed import (
    WORDS,
    borrow,
    with_borrowed,
    without_words_of_their_own,
)
from curio_persistence.interop.otel.derived import PLACES, content, place_in
from curio_persistence.interop.otel.meanings import UNKNOWN, services
from curio_persistence.interop.otel.neighbours import Key, Neighbourhood
from curio_persistence.interop.otel.placing import Placement
from curio_persistence.interop.otel.records import moment_of
from curio_persistence.interop.otel.spans import MeaningKind
from curio_persistence.models import AgentRun, AgentRunStatus
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Measure
from curio_persistence.store.table import Row, StoredValue
from curio_persistence.tables import AGENTS, RUNS, SESSIONS, SPANS, TABLES_OF_RUNS

_PLACE = PLACES[RUNS]
_DERIVED = (Filter("stub", "=", 1),)


class _Known(NamedTuple):
    """A stored run; it is derived if no caller has created it."""

    id: int
    is_derived: bool
    started_at: str | None
    place: tuple[StoredValue, ...]

    def value(self, column: str) -> StoredValue:
        """Return a value of its place."""
        return self.place[_PLACE.index(column)]


class DerivedRuns:
    """The runs that follow from the spans of a neighbourhood, and those that are stored.

    They are stubs until a caller creates them, as runs are that are known from events only. What
    is in no run yet, because the spans above it have not come, is in the run with the id of its
    trace.
    """

    def __init__(
        self,
        store: Store,
        around: Neighbourhood,
        placed: Placement,
        encode: Callable[[AgentRun], Row],
        now: str,
    ) -> None:
        self._store = store
        self._placed = placed
        self._around = around
        self._encode = encode
        self._now = now
        self.known = self._stored()
        named = {node.meaning.run_id for node in around.nodes.values()}
        self.recorded = {
            r for r, known in self.known.items() if r in named and not known.is_derived
        }
        """The runs that were recorded here, which are left as they are, with what is in them."""
        placed.leave_out(self.recorded)
        self._expected = {str(placed.runs[key].run_id): key for key in sorted(placed.runs)[::-1]}
        """The spans of runs; of several with one run_id, the first one."""
        self.changed: set[str] = set()
        """The run_ids of the runs that were added, changed or deleted."""
        self._left: dict[str, set[StoredValue]] = {"session_id": set(), "agent_id": set()}

    def _stored(self) -> dict[str, _Known]:
        """Return the runs that the decided spans are or were, and those of their traces."""
        nodes = map(self._around.nodes.__getitem__, self._around.decided)
        ids = {key[0] for key in self._around.decided}
        ids.update(
            node.own_run_id
            for node in nodes
            if node.meaning.kind is MeaningKind.AGENT
            or node.key in self._placed.runs
            or node.run_id == node.own_run_id
        )
        columns = ("run_id", "id", "stub", "started_at", *_PLACE)
        rows = self._store.select_columns(RUNS, columns, (Filter("run_id", "in", tuple(ids)),))
        return {
            run_id: _Known(ident, bool(stub), started_at, tuple(place))
            for run_id, ident, stub, started_at, *place in rows
        }

    # --- storing ------------------------------------------------------------------------------

    def store(self, rows: Mapping[Key, Row]) -> None:
        """Store the runs of spans, of which those that may say something new have a row."""
        self._store_waiting()
        new: list[Row] = []
        rewritten: dict[str, Row] = {}
        for run_id, key in self._expected.items():
            known, place = self.known.get(run_id), place_in(RUNS, self._placed.runs[key])
            if known is None:
                new.append(rows[key])
            elif key in rows:
                rewritten[run_id] = rows[key]
            elif known.place != place:
                self._update(run_id, dict(zip(_PLACE, place, strict=True)))
        self._insert(new)
        self._rewrite(rewritten)

    def _rewrite(self, rows: Mapping[str, Row]) -> None:
        """Change the stored runs that say something else."""
        if not rows:
            return
        stored = self._store.select(RUNS, (Filter("run_id", "in", tuple(rows)),))
        for before in RUNS.rows(stored):
            after = with_borrowed(rows[str(before["run_id"])], before)
            if content(before) != content(after):
                names = (name for name in RUNS.names if name not in ("id", "run_id"))
                changes = {name: after.get(name, RUNS.filled.get(name)) for name in names}
                self._update(str(before["run_id"]), changes)

    def _insert(self, rows: list[Row]) -> None:
        self._store.insert_many(RUNS, rows)
        self.changed.update(str(row["run_id"]) for row in rows)

    def _update(self, run_id: str, changes: Row) -> None:
        known = self.known[run_id]
        for column, left in self._left.items():
            before = known.value(column)
            if before is not None and changes.get(column, before) != before:
                left.add(before)
        self._set(run_id, changes)

    def _set(self, run_id: str, changes: Row) -> None:
        self.changed.add(run_id)
        where = (Filter("run_id", "=", run_id), *_DERIVED)
        self._store.update(RUNS, where, {**changes, "updated_at": self._now})

    def borrow_words(self, run_ids: Collection[str]) -> None:
        """Give those of some runs that have no words of their own the words of their calls."""
        waiting = {trace_id for trace_id, _ in self._around.decided}
        for run in without_words_of_their_own(self._store, {*run_ids} - waiting):
            if borrow(self._store, run):
                row = self._encode(run)
                self._set(run.run_id, {name: row.get(name) for name in (*WORDS, "metadata")})

    # --- what waits for its run ---------------------------------------------------------------

    def _store_waiting(self) -> None:
        """Store the runs of what is in no run yet: they began with the first of it."""
        new = []
        for trace_id, (start_ns, service) in self._waiting().items():
            known, started_at = self.known.get(trace_id), encode_time(moment_of(start_ns)[0])
            if known is None:
                new.append(self._waiting_row(trace_id, service, started_at))
            else:
                first = min(started_at, known.started_at or started_at)
                self._describe(trace_id, min(service, str(known.value("agent_id"))), first)
        self._insert(new)

    def _waiting(self) -> dict[str, tuple[int, str]]:
        """Return the begin and the service of what waits, by traces."""
        waiting: dict[str, tuple[int, str]] = {}
        for key, place in (*self._placed.calls.items(), *self._placed.tools.items()):
            if place.run_id == key[0]:
                told = self._around.nodes[key].start_ns, place.agent_name
                known = waiting.get(key[0], told)
                waiting[key[0]] = min(known[0], told[0]), min(known[1], told[1])
        return waiting

    def _waiting_row(self, trace_id: str, service: str, started_at: str) -> Row:
        row = self._encode(AgentRun(service, trace_id, service, status=AgentRunStatus.RUNNING))
        times = dict.fromkeys(("started_at", "created_at"), started_at)
        return {**row, **times, "updated_at": self._now, "stub": 1}

    def _describe(self, trace_id: str, service: str, started_at: str) -> None:
        """Store the begin and the service of a run that waits, if they are others now."""
        known = self.known[trace_id]
        if (known.started_at, known.value("agent_id")) != (started_at, service):
            times = dict.fromkeys(("started_at", "created_at"), started_at)
            self._update(trace_id, {**times, "agent_id": service, "agent_name": service})

    # --- runs that are none any more ----------------------------------------------------------

    def remove_empty(self) -> None:
        """Delete the runs that are none any more, and sessions and agents that only they had."""
        nodes, run_ids = self._around.nodes, self._placed.run_ids
        less = {key[0] for key, run_id in run_ids.items() if nodes[key].run_id == key[0] != run_id}
        less |= {node.trace_id for node in self._around.former if node.run_id == node.trace_id}
        gone = {run_id for run_id, known in self.known.items() if known.is_derived}
        for run_id in sorted((gone - self._expected.keys()) - self._waiting().keys() | less):
            if run_id not in self.known:
                continue
            if self._is_empty(run_id):
                self._remove(run_id)
            elif run_id in less:
                self._describe_again(run_id)
        self._remove_made()

    def _is_empty(self, run_id: str) -> bool:
        where = (Filter("run_id", "=", run_id),)
        tables = (table for table in TABLES_OF_RUNS if table is not RUNS)
        return not any(self._store.select_columns(each, ("run_id",), where, 1) for each in tables)

    def _remove(self, run_id: str) -> None:
        known = self.known[run_id]
        self.changed.add(run_id)
        Indexing(self._store).forget(RUNS, [known.id])
        self._store.delete(RUNS, (Filter("run_id", "=", run_id), *_DERIVED))
        for column, left in self._left.items():
            left.update({known.value(column)} - {None})

    def _describe_again(self, trace_id: str) -> None:
        """Find the begin and the service of what still waits."""
        where = (Filter("run_id", "=", trace_id),)
        first = Measure("min", "started_at")
        rows = self._store.aggregate(SPANS, (first,), where, group_by=("source_id",))
        if rows:
            named = services(self._store, [source_id for source_id, _ in rows])
            service = min(named.get(source_id, UNKNOWN) for source_id, _ in rows)
            self._describe(trace_id, service, min(started_at for _, started_at in rows))

    def _remove_made(self) -> None:
        """Delete the sessions and agents without a run that no caller has described."""
        for column, table in (("session_id", SESSIONS), ("agent_id", AGENTS)):
            for value in self._left[column]:
                where = (Filter(column, "=", value),)
                if not self._store.select_columns(RUNS, (column,), where, 1):
                    self._store.delete(table, (*where, Filter("updated_at", "is null")))
