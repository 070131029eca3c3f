"""Sessions, and what a person reads of one: all that happened in order, and what was said."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice, pairwise
from typing import Any

from curio_persistence.capabilities.arguments import checked_id
from curio_persistence.capabilities.sessions import Sessions
from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent, Record
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.cursors import Cursors
from curio_persistence.store.filters import COUNT, Filter, Order, Where, checked_count, total
from curio_persistence.store.query import Position
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, SESSIONS, USAGE
from curio_persistence.views.histories import History
from curio_persistence.views.steps import Step, begin_of, step_of, step_of_run, time_of
from curio_persistence.views.values import milliseconds

_ORDER = (Order("at"), Order("kind"), Order("id"))
_RUN, _EVENT, _CALL = range(3)
"""The kinds of entries, in the order in which those of one moment stand."""
_LAST_ID = 2**63 - 1
_MILLISECOND = timedelta(milliseconds=1)


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
class Exchange(Record):
    """One run of a conversation: what was asked, what was done in one line, what was answered.

    `asked` is the run's objective, or else its first prompt; `answered` is its output, or else the
    last response of a model. None is unknown. The runs that it started in the same session belong
    to what was done.
    """

    run_id: str
    agent_id: str
    status: str
    at: datetime
    duration_ms: float | None
    asked: str | None
    done: str
    answered: str | None
    error: str | None


class SessionViews(Sessions):
    """Create, change, list and delete sessions; read what happened in one."""

    def timeline(
        self, session_id: str, *, limit: int | None = 100, cursor: str | None = None
    ) -> TimelinePage:
        """Return one page of the runs, events and model calls of a session, the oldest first.

        Raise NotFoundError if the session is not stored.
        """
        where = self._existing(session_id)
        cursors = Cursors(self._store, "timeline", where, _ORDER)
        after = None if cursor is None else cursors.read(cursor)
        most = None if limit is None else checked_count("limit", limit) + 1
        found = sorted(self._found(where, after, most), key=_position)
        page = found if most is None else found[: most - 1]
        more = page and len(page) < len(found)
        next_cursor = cursors.write(_position(page[-1])) if more else None
        return TimelinePage(tuple(_entries(page, after)), next_cursor)

    def conversation(self, session_id: str, *, limit: int | None = None) -> list[Exchange]:
        """Return what was asked, done and answered in each run of a session, the oldest first.

        `limit` admits the last so many. A run that was started by another one of the session
        belongs to that. Raise NotFoundError if the session is not stored.
        """
        where = self._existing(session_id)
        runs = RUNS.decode(self._store.select(RUNS, where))
        runs.sort(key=lambda run: (begin_of(run), run.id))
        roots = _roots_of(runs)
        first = [run for run in runs if roots[run.run_id] == run.run_id]
        most = len(first) if limit is None else checked_count("limit", limit)
        asked = first[max(len(first) - most, 0) :]
        done = self._done(runs, roots)
        return [self._exchange(run, done[run.run_id]) for run in asked]

    # --- the timeline -------------------------------------------------------------------------

    def _existing(self, session_id: str) -> Where:
        """Return the filter for the runs of a session, which must be stored."""
        where = SESSIONS.where(session_id=checked_id("session_id", session_id))
        if not self._store.select_columns(SESSIONS, ("id",), where):
            self._stored(session_id)  # Raises the error.
        return where

    def _found(self, where: Where, after: Position | None, most: int | None) -> Iterator[_Found]:
        """Yield the first records of each kind behind a position; `most` of them, or all."""
        begins = {
            run_id: (ident, str(started or created))
            for run_id, ident, started, created in self._store.select_columns(
                RUNS, ("run_id", "id", "started_at", "created_at"), where
            )
        }
        positions = sorted((begin, _RUN, ident) for ident, begin in begins.values())
        behind = (each for each in positions if after is None or each > after)
        ids = tuple(ident for _, _, ident in islice(behind, most))
        runs = RUNS.decode(self._store.select(RUNS, (Filter("id", "in", ids),)))
        yield from (_Found(begin_of(run), _RUN, run) for run in runs)
        of_runs: Where = (Filter("run_id", "in", tuple(begins)),)
        for kind, table in ((_EVENT, EVENTS), (_CALL, USAGE)):
            for record in self._first(table, of_runs, _behind(after, kind), most):
                yield _Found(time_of(record), kind, record)

    def _first(
        self, table: Table[Any], where: Where, after: Position | None, most: int | None
    ) -> list[Any]:
        order = (Order(table.ages_by), Order("id"))
        return table.decode(self._store.select(table, where, order=order, after=after, limit=most))

    # --- the conversation ---------------------------------------------------------------------

    def _exchange(self, run: AgentRun, done: _Done) -> Exchange:
        return Exchange(
            run.run_id,
            run.agent_id,
            run.status,
            begin_of(run),
            milliseconds(run.started_at, run.finished_at),
            run.objective or self._said(run, "prompt", newest=False),
            done.in_one_line(),
            run.final_synthesis_output or self._said(run, "response_content", newest=True),
            run.error_message,
        )

    def _said(self, run: AgentRun, name: str, *, newest: bool) -> str | None:
        """Return the text of the first or the last model call of a run."""
        order = (Order("created_at", newest), Order("id", newest))
        where = USAGE.where(run_id=run.run_id)
        calls = USAGE.decode(self._store.select(USAGE, where, order=order, limit=1))
        return next((getattr(call, name) or None for call in calls), None)

    def _done(self, runs: Sequence[AgentRun], roots: Mapping[str, str]) -> Mapping[str, _Done]:
        """Return what was done in each run, with the runs that it started."""
        done: defaultdict[str, _Done] = defaultdict(_Done)
        for run in runs:
            done[roots[run.run_id]].runs += 1
        of_runs = (Filter("run_id", "in", tuple(roots)),)
        tools = (*of_runs, Filter("tool_name", "is not null"))
        measures = (COUNT, total("tool_error"))
        for run_id, tool, calls, failed in self._store.aggregate(
            EVENTS, measures, tools, group_by=("run_id", "tool_name")
        ):
            done[roots[run_id]].add(done[roots[run_id]].tools, tool, calls, failed or 0)
        by_status = ("run_id", "model", "status")
        for run_id, model, status, calls in self._store.aggregate(
            USAGE, (COUNT,), of_runs, group_by=by_status
        ):
            failed = 0 if status == "success" else calls
            done[roots[run_id]].add(done[roots[run_id]].models, model or "a model", calls, failed)
        return done


class _Done:
    """The tools and models that a run called, and the runs that it started."""

    def __init__(self) -> None:
        self.runs = self.failed = 0
        self.tools: defaultdict[str, int] = defaultdict(int)
        self.models: defaultdict[str, int] = defaultdict(int)

    def add(self, called: defaultdict[str, int], name: str, calls: int, failed: int) -> None:
        called[name] += calls
        self.failed += failed

    def in_one_line(self) -> str:
        """Return, such as `search ×3, calculator · acme-1 ×2 · 1 failed · 1 child run`."""
        children = self.runs - 1
        parts = (
            _times(self.tools),
            _times(self.models),
            f"{self.failed:,} failed" if self.failed else "",
            f"{children:,} child run{'s' * (children > 1)}" if children else "",
        )
        return " · ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class _Found:
    """A record with its moment and its kind."""

    at: datetime
    kind: int
    record: Any


def _position(found: _Found) -> Position:
    return encode_time(found.at), found.kind, found.record.id


def _behind(after: Position | None, kind: int) -> Position | None:
    """Return the position behind which the records of a kind follow."""
    if after is None:
        return None
    at, last, ident = after
    return at, (ident if kind == last else _LAST_ID if kind < int(str(last)) else 0)


def _entries(page: Sequence[_Found], after: Position | None) -> Iterator[TimelineEntry]:
    before = None if after is None else datetime.fromisoformat(str(after[0]))
    moments = [before, *(found.at for found in page)]
    for found, (earlier, at) in zip(page, pairwise(moments), strict=True):
        gap = None if earlier is None or at is None else (at - earlier) / _MILLISECOND
        yield _entry(found, gap)


def _entry(found: _Found, gap_ms: float | None) -> TimelineEntry:
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


def _step(found: _Found) -> Step:
    if found.kind == _RUN:
        return step_of_run(History(found.record))
    # The end of a call that began is an entry of its own, perhaps of a later page.
    return replace(step_of(found.record), is_open=False)


def _roots_of(runs: Iterable[AgentRun]) -> dict[str, str]:
    """Return for each run the first of those, in the session, that led to it.

    Of runs that are parents of each other in a circle, each is its own.
    """
    parents = {run.run_id: run.parent_run_id for run in runs}
    roots: dict[str, str] = {}
    for run_id in parents:
        root, seen = run_id, {run_id}
        while (above := parents[root]) in parents:
            root = run_id if above in seen else str(above)
            if above in seen:
                break
            seen.add(root)
        roots[run_id] = root
    return roots


def _times(called: Mapping[str, int]) -> str:
    """Return names, those that were called most first, with how often if more than once."""
    most_first = sorted(called.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(name if calls == 1 else f"{name} ×{calls:,}" for name, calls in most_first)
