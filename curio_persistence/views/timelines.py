"""The timeline of a session: its runs, events and model calls in one order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import islice, pairwise
from typing import Any

from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent, EventType
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.cursors import Cursors
from curio_persistence.store.filters import Filter, Order, Where
from curio_persistence.store.query import Position
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, USAGE
from curio_persistence.views.histories import History
from curio_persistence.views.steps import (
    RecordRef,
    Step,
    begin_of,
    step_of,
    step_of_run,
    time_of,
)
from curio_persistence.views.telling import SPAN, TOOL

_ORDER = (Order("at"), Order("kind"), Order("id"))
RUN, EVENT, CALL = range(3)
"""The kinds of entries, in the order in which those of one moment stand."""
KINDS = {"run": RUN, "event": EVENT, "usage": CALL}
TABLES: dict[int, Table[Any]] = {EVENT: EVENTS, CALL: USAGE}
PLACES = {kind: table.part("id", "run_id", table.ages_by) for kind, table in TABLES.items()}
"""The tables with the places of records, and the runs by which they are found, only."""
BEGINS = {
    EventType.TOOL_CALL_STARTED.value: EventType.TOOL_CALL.value,
    EventType.SPAN_STARTED.value: EventType.SPAN.value,
}
"""The events with which calls begin, and those with which they end."""
_NAMES = {kind: name for name, kind in KINDS.items()}
_LAST_ID = 2**63 - 1
_MILLISECOND, _MICROSECOND = timedelta(milliseconds=1), timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """A run, an event or a model call of a session.

    `kind` and `name` say what it is, as those of a step of a run do. A run stands where it began,
    an event where it happened, a model call where it had answered. `duration_ms` is how long it
    took, where that is known, and `gap_ms` the time since the entry before.
    """

    at: datetime
    kind: str
    name: str
    run_id: str
    agent_id: str | None
    level: str
    error: str | None
    duration_ms: float | None
    gap_ms: float | None
    record: AgentRun | AgentRunEvent | AgentLLMUsage
    step: Step
    """The entry in the words of a step."""

    def to_dict(self) -> dict[str, Any]:
        """Return every field but `step` by name, ready for JSON."""
        names = [name for name in self.__slots__ if name not in ("at", "record", "step")]
        values = {name: getattr(self, name) for name in names}
        return {"at": self.at.isoformat(), **values, "record": self.record.to_dict()}


@dataclass(frozen=True, slots=True)
class TimelinePage:
    """One page of a timeline; `next_cursor` leads to the next one, None after the last."""

    entries: tuple[TimelineEntry, ...]
    next_cursor: str | None = None

    def __iter__(self) -> Iterator[TimelineEntry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> TimelineEntry:
        return self.entries[index]


@dataclass(frozen=True, slots=True)
class Found:
    """A record with its moment and its kind."""

    at: datetime
    kind: int
    record: Any

    @property
    def position(self) -> Position:
        return encode_time(self.at), self.kind, self.record.id


class Timeline:
    """Reads the records of the runs of one session, by their positions."""

    def __init__(self, store: Store, where: Where) -> None:
        self._store = store
        self._where = where

    def page(self, most: int | None, cursor: str | None) -> TimelinePage:
        """Return the first entries behind a cursor, or all."""
        cursors = Cursors(self._store, "timeline", self._where, _ORDER)
        after = None if cursor is None else cursors.read(cursor)
        found = self.behind(after, None if most is None else most + 1)
        page = found if most is None else found[:most]
        more = page and len(page) < len(found)
        return TimelinePage(
            entries_of(page, after), cursors.write(page[-1].position) if more else None
        )

    @cached_property
    def runs(self) -> list[tuple[Position, str]]:
        """The position and the run_id of each run, the oldest first."""
        columns = ("run_id", "id", "started_at", "created_at")
        rows = self._store.select_columns(RUNS, columns, self._where)
        return sorted(
            ((str(started or created), RUN, ident), run_id)
            for run_id, ident, started, created in rows
        )

    @cached_property
    def of_runs(self) -> Where:
        """The filter for the records of the runs."""
        return (Filter("run_id", "in", tuple(run_id for _, run_id in self.runs)),)

    def behind(self, after: Position | None, most: int | None) -> list[Found]:
        """Return the first records behind a position: `most` of them, or more, or all."""
        places = (place for place, _ in self.runs if after is None or place > after)
        found = [*self._runs_at(islice(places, most))]
        for kind in TABLES:
            start = None if after is None else _behind(after, kind)
            found += self._in_order(kind, self.of_runs, most, after=start)
        return sorted(found, key=_position)

    def before(self, position: Position, most: int) -> list[Found]:
        """Return the last records before a position, the oldest first."""
        places = [place for place, _ in self.runs if place < position]
        found = [*self._runs_at(places[-most:] if most else ())]
        for kind in TABLES:
            where = (*self.of_runs, *self.up_to(position, kind, included=False))
            found += self._in_order(kind, where, most, newest=True)
        return sorted(found, key=_position)[-most:] if most else []

    def at(self, ref: RecordRef) -> Found | None:
        """Return the record of a name, if it is one of this session."""
        kind = KINDS.get(ref.kind)
        if kind == RUN:
            return next(self._runs_at(p for p, _ in self.runs if p[2] == ref.id), None)
        table = TABLES.get(-1 if kind is None else kind)
        if kind is None or table is None:
            return None
        where = (*self.of_runs, Filter("id", "=", ref.id))
        found = table.decode(self._store.select(table, where, limit=1))
        return next((Found(time_of(each), kind, each) for each in found), None)

    def count_to(self, position: Position | None) -> int:
        """Return how many records there are up to a position, which is included, or in all."""
        runs = sum(position is None or place <= position for place, _ in self.runs)
        return runs + sum(
            self._store.count(
                table,
                (*self.of_runs, *(() if position is None else self.up_to(position, kind))),
            )
            for kind, table in TABLES.items()
        )

    def up_to(self, position: Position, kind: int, *, included: bool = True) -> Where:
        """Return the filters for the records of a kind that stand up to a position.

        The few that stand behind it at the same moment are left out by their ids: a comparison of
        time and id together makes databases read all that is older, of whatever session.
        """
        table, (at, last, ident) = TABLES[kind], position
        end = (
            int(str(ident)) + included if kind == last else _LAST_ID if kind < int(str(last)) else 0
        )
        at_once = (*self.of_runs, Filter(table.ages_by, "=", at))
        ids = (each for (each,) in self._store.select_columns(table, ("id",), at_once))
        behind = tuple(each for each in ids if each >= end)
        until = Filter(table.ages_by, "<", _after(str(at)))
        return (until, Filter("id", "not in", behind)) if behind else (until,)

    def _in_order(
        self,
        kind: int,
        where: Where,
        most: int | None,
        *,
        after: Position | None = None,
        newest: bool = False,
    ) -> Iterator[Found]:
        """Return the first records of a kind by time, in any order.

        Their ids are read first: a database that sorts whole records copies their texts.
        """
        table = TABLES[kind]
        order = (Order(table.ages_by, newest), Order("id", newest))
        ids, *_ = self._store.select(PLACES[kind], where, order=order, after=after, limit=most)
        rows = self._store.select(table, (Filter("id", "in", tuple(ids)),)) if ids else []
        return (Found(time_of(each), kind, each) for each in (table.decode(rows) if ids else ()))

    def _runs_at(self, places: Iterable[Position]) -> Iterator[Found]:
        ids = tuple(place[2] for place in places)
        runs = RUNS.decode(self._store.select(RUNS, (Filter("id", "in", ids),))) if ids else []
        return (Found(begin_of(run), RUN, run) for run in runs)


def _after(at: str) -> str:
    """Return the moment after a stored time; the time itself at the end of the calendar."""
    with suppress(OverflowError):
        return str(encode_time(datetime.fromisoformat(at) + _MICROSECOND))
    return at


def entry_of(found: Found, gap_ms: float | None = None) -> TimelineEntry:
    """Return a record as an entry."""
    step, record = _step(found), found.record
    return TimelineEntry(
        found.at,
        step.kind,
        step.name,
        record.run_id,
        record.agent_id,
        step.level,
        step.error,
        step.took_ms,
        gap_ms,
        record,
        step,
    )


def entries_of(found: Sequence[Found], after: Position | None = None) -> tuple[TimelineEntry, ...]:
    """Return records as entries, each with the time since the one before."""
    before = None if after is None else datetime.fromisoformat(str(after[0]))
    moments = [before, *(each.at for each in found)]
    return tuple(
        entry_of(each, None if earlier is None or at is None else (at - earlier) / _MILLISECOND)
        for each, (earlier, at) in zip(found, pairwise(moments), strict=True)
    )


def folded(entries: Iterable[TimelineEntry]) -> list[TimelineEntry]:
    """Return entries in which a tool call or span is one, where both its ends are among them.

    Its end stands where it began. What ends is the one with the same span_id; without one, the last
    that began of the same name.
    """
    shown: list[TimelineEntry] = []
    waiting: dict[tuple[str, str], list[int]] = {}
    for entry in entries:
        begun = waiting.setdefault((entry.run_id, entry.step.span_id or entry.name), [])
        if getattr(entry.record, "event_type", None) in BEGINS:
            begun.append(len(shown))
        elif entry.kind in (TOOL, SPAN) and begun:
            place = begun.pop()
            shown[place] = replace(entry, at=shown[place].at, gap_ms=shown[place].gap_ms)
            continue
        shown.append(entry)
    return shown


def ref_at(found: Found) -> RecordRef:
    """Return the name of a record."""
    return RecordRef(_NAMES[found.kind], found.record.id)


def _position(found: Found) -> Position:
    return found.position


def _behind(after: Position, kind: int) -> Position:
    """Return the position behind which the records of a kind follow."""
    at, last, ident = after
    return at, (ident if kind == last else _LAST_ID if kind < int(str(last)) else 0)


def _step(found: Found) -> Step:
    if found.kind == RUN:
        return step_of_run(History(found.record))
    # The end of a call that began is an entry of its own, perhaps of a later page.
    return replace(step_of(found.record), is_open=False)
