"""Counts what happened in a window of time, and adds it up by period and group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from curio_persistence.capabilities.analytics.records import PeriodTotals
from curio_persistence.capabilities.analytics.window import Window
from curio_persistence.capabilities.expired import expired_groups
from curio_persistence.capabilities.grouping import Grouping, Key
from curio_persistence.capabilities.totals import (
    CALL_LATENCIES,
    CALL_SUMS,
    KNOWN_OF_RUNS,
    SUCCESS,
    Calls,
    expired_calls,
    known_of_runs,
)
from curio_persistence.models import FAILED_STATUSES
from curio_persistence.store.base import Store
from curio_persistence.store.filters import COUNT, Filter, GroupKey, Measure, Spans, Where, total
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, USAGE

_TOOLS = Filter("tool_name", "is not null")
_FAILED_RUNS = Filter("status", "in", FAILED_STATUSES)
_FAILED_CALLS = Filter("status", "<>", SUCCESS)

Counted = tuple[dict[str, Any], Sequence[Any]]
"""The values that a group of rows shares, and its numbers."""
_MEMBERS = ("agent_id", "session_id", "user_id")
_DIFFERENT = tuple(Measure("distinct", name) for name in _MEMBERS)
_KNOWN = {"agent_id": "agent_id"}
"""The fields to group by that all records know, also expired ones, with their columns."""
_OF_RUNS = {**_KNOWN, "session_id": "session_id", "user_id": "user_id", "tag": "tags"}
"""The same of runs."""
Groups = defaultdict[Key, "Activity"]


class Activity:
    """The sums of one group."""

    def __init__(self) -> None:
        self._runs = self._failed_runs = self._events = self._tools = self._tool_errors = 0
        self._calls = Calls()
        self._failed_calls = 0
        self._different = [0] * len(_MEMBERS)
        self._members: tuple[set[str], ...] = tuple(set() for _ in _MEMBERS)
        self.begin: str | None = None

    def add_runs(self, count: int, *different: int) -> None:
        self._runs += count
        self._different = list(different) or self._different

    def add_members(self, count: int, *members: str | None) -> None:
        """Add runs of one agent, session and user."""
        self._runs += count
        for known, member in zip(self._members, members, strict=True):
            known |= set() if member is None else {member}

    def add_failed_runs(self, count: int) -> None:
        self._failed_runs += count

    def add_events(self, count: int) -> None:
        self._events += count

    def add_tools(self, count: int, errors: int | None = 0) -> None:
        self._tools += count
        self._tool_errors += errors or 0

    def add_tool_errors(self, count: int) -> None:
        self._tool_errors += count

    def add_calls(self, *numbers: Any) -> None:
        self._calls.add(SUCCESS, *numbers)

    def add_failed_calls(self, count: int) -> None:
        self._failed_calls += count

    def numbers(self) -> dict[str, Any]:
        """Return the numbers by the fields of `PeriodTotals`, in stored form."""
        agents, sessions, users = (
            count or len(members)
            for count, members in zip(self._different, self._members, strict=True)
        )
        return {
            **self._calls.numbers(),
            "begin": self.begin,
            "runs": self._runs,
            "errors": self._failed_runs,
            "error_rate": round(self._failed_runs / self._runs, 4) if self._runs else None,
            "events": self._events,
            "tool_calls": self._tools,
            "tool_errors": self._tool_errors,
            "call_errors": self._failed_calls,
            "agents": agents,
            "sessions": sessions,
            "users": users,
        }


class Counting:
    """One question: what is counted, and the groups into which it is added."""

    def __init__(
        self,
        store: Store,
        where: Mapping[Table[Any], Where],
        grouping: Grouping[PeriodTotals],
        window: Window,
        begins: list[str],
    ) -> None:
        self._store = store
        self._where = where
        self._grouping = grouping
        self._window = window
        self._edges: tuple[str, ...] = ()
        if begins and window.since is not None and window.until is not None:
            self._edges = (max(begins[0], window.since), *begins[1:], window.until)
        self._groups: Groups = grouping.groups(Activity)

    def groups(self, *, percentiles: bool) -> Groups:
        """Return the groups, with all that was counted."""
        if self._edges or self._grouping.periods is None:
            self._count_runs()
            self._count_events()
            self._count_calls(percentiles)
            self._count_expired()
        return self._groups

    def _count_runs(self) -> None:
        if "tag" in self._grouping.fields:  # A run has several: different values do not add up.
            for known, (count,) in self._stored(RUNS, (COUNT,), also=_MEMBERS):
                for group in self._groups_of(known):
                    group.add_members(count, *map(known.get, _MEMBERS))
        else:
            self._add(Activity.add_runs, self._stored(RUNS, (COUNT, *_DIFFERENT)))
        self._add(Activity.add_failed_runs, self._stored(RUNS, (COUNT,), _FAILED_RUNS))

    def _count_events(self) -> None:
        self._add(Activity.add_events, self._stored(EVENTS, (COUNT,)))
        measures = (COUNT, total("tool_error"))
        self._add(Activity.add_tools, self._stored(EVENTS, measures, _TOOLS))

    def _count_calls(self, percentiles: bool) -> None:
        measures = (*CALL_SUMS, *((CALL_LATENCIES,) if percentiles else ()))
        self._add(Activity.add_calls, self._stored(USAGE, measures))
        self._add(Activity.add_failed_calls, self._stored(USAGE, (COUNT,), _FAILED_CALLS))

    def _count_expired(self) -> None:
        for add, kind, table, more in _EXPIRED:
            keys = self._keys(table, _KNOWN)
            where = self._of_expired(table, *more)
            rows = expired_groups(self._store, kind, ("count",), where, keys)
            self._add(add, self._known(keys, rows))
        keys = self._keys(USAGE, _KNOWN)
        calls = expired_calls(self._store, self._of_expired(USAGE), keys)
        self._add(Activity.add_calls, self._known(keys, calls))

    # --- rows ---------------------------------------------------------------------------------

    def _stored(
        self,
        table: Table[Any],
        measures: tuple[Measure, ...],
        *more: Filter,
        also: tuple[str, ...] = (),
    ) -> Iterator[Counted]:
        """Yield what is known of each group of stored rows, and its measures."""
        of_run = table is not RUNS and self._grouping.fields & KNOWN_OF_RUNS
        own = self._keys(table, _OF_RUNS if table is RUNS else _KNOWN)
        keys = (*own, *(("run_id",) if of_run else also))
        bounds = self._window.of(table.ages_by)
        where = (*self._where[table], *more)
        # The spans have the bounds of the window.
        within = where if self._edges else where + bounds
        rows = self._store.aggregate(table, measures, within, group_by=keys)
        if not of_run:
            yield from self._known(keys, rows)
            return
        runs = known_of_runs(self._store, table, where + bounds)
        for known, numbers in self._known(keys, rows):
            yield {**known, **runs.get(known["run_id"], {})}, numbers

    def _keys(self, table: Table[Any], columns: Mapping[str, str]) -> tuple[GroupKey, ...]:
        """Return the spans, and the columns that have fields to group by."""
        spans = (Spans(table.ages_by, self._edges),) if self._edges else ()
        return (*spans, *(columns[name] for name in columns if name in self._grouping.fields))

    def _of_expired(self, table: Table[Any], *more: Filter) -> Where:
        return (*self._where[table], *more, *self._window.of(table.ages_by))

    def _known(
        self, keys: tuple[GroupKey, ...], rows: Iterable[Sequence[Any]]
    ) -> Iterator[Counted]:
        names = ["created_at" if isinstance(key, Spans) else str(key) for key in keys]
        for row in rows:
            yield dict(zip(names, row, strict=False)), row[len(keys) :]

    def _add(self, add: Callable[..., None], rows: Iterable[Counted]) -> None:
        for known, numbers in rows:
            for group in self._groups_of(known):
                add(group, *numbers)

    def _groups_of(self, known: Mapping[str, Any]) -> Iterator[Activity]:
        return map(self._groups.__getitem__, self._grouping.keys(known))


_EXPIRED: tuple[tuple[Callable[..., None], str, Table[Any], Where], ...] = (
    (Activity.add_runs, "run", RUNS, ()),
    (Activity.add_failed_runs, "run", RUNS, (_FAILED_RUNS,)),
    (Activity.add_events, "event", EVENTS, ()),
    (Activity.add_tools, "tool", EVENTS, ()),
    (Activity.add_tool_errors, "tool", EVENTS, (Filter("status", "=", "error"),)),
    (Activity.add_failed_calls, "call", USAGE, (_FAILED_CALLS,)),
)
