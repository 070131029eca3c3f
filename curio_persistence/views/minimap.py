"""A whole run in a few hundred buckets of time: where models, tools and child runs were at work.

The numbers are read from indexes, as times in their order: where an edge of a bucket falls among
them tells how many are before it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from curio_persistence.errors import InvalidValueError
from curio_persistence.models import FAILED_STATUSES, AgentRun
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import COUNT, Filter, Measure, checked_count
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, USAGE
from curio_persistence.views.brief import RUN_LINES, RunRow
from curio_persistence.views.runs import DEEPEST
from curio_persistence.views.steps import ENDS_OF_RUNS, begin_of
from curio_persistence.views.telling import BEGINS, ENDS

_MOST = 2_000
_MOMENT = timedelta(microseconds=1)
_NEVER = encode_time(datetime.min.replace(tzinfo=UTC))
_TOOLS, _FAILED_TOOLS = Filter("tool_error", "is not null"), Filter("tool_error", "=", 1)
_FAILED_CALLS = Filter("status", "<>", "success")


@dataclass(frozen=True, slots=True)
class Lane:
    """The steps of one kind: `model`, `tool` or `child`.

    `buckets` are those in which anything happened: the number of each, how many, and how many of
    them failed. Calls are in the bucket in which they ended, child runs in all from their begin to
    their end.
    """

    count: int
    failed: int
    buckets: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class RunOutline:
    """A run with its child runs, from its begin to its end, in equal buckets of time.

    `steps` is how many steps there are, where each call that began has an end; `failed` counts the
    calls and child runs that failed.
    """

    begin: datetime
    end: datetime
    buckets: int
    steps: int
    failed: int
    lanes: dict[str, Lane]


def outline_in_buckets(store: Store, run: AgentRun, buckets: int) -> RunOutline:
    """Return the outline of a run; see `RunViews.outline_buckets`."""
    count = checked_count("buckets", buckets)
    if not 0 < count <= _MOST:
        raise InvalidValueError(f"buckets are 1 to {_MOST:,}, not {count}.", field="buckets")
    children = _runs_below(store, run.run_id)
    of_runs = Filter("run_id", "in", (run.run_id, *(child.run_id for child in children)))
    calls = _Times.of(store, USAGE, of_runs, failed=_FAILED_CALLS)
    tools = _Times.of(store, EVENTS, of_runs, _TOOLS, failed=_FAILED_TOOLS)
    events = _Events.of(store, of_runs)
    begin, end = _ends(run, children, (calls.last, events.last))
    edges = [begin + (end - begin) * number / count for number in range(count + 1)]
    texts = [*map(encode_time, edges)]
    lanes = {
        "model": calls.lane(texts),
        "tool": tools.lane(texts),
        "child": _lane_of_children(children, texts),
    }
    steps = len(calls.all) + len(children) + events.steps
    failed = sum(lane.failed for lane in lanes.values())
    return RunOutline(begin, end, count, steps, failed, lanes)


@dataclass(frozen=True, slots=True)
class _Times:
    """The times at which calls ended, and those at which calls failed, in order."""

    all: Sequence[str]
    failed: Sequence[str]

    @classmethod
    def of(cls, store: Store, table: Table[Any], *where: Filter, failed: Filter) -> _Times:
        columns = (table.ages_by,)
        return cls(
            *(
                sorted([time for (time,) in store.select_columns(table, columns, each)])
                for each in (where, (*where, failed))
            )
        )

    @property
    def last(self) -> str:
        return self.all[-1] if self.all else _NEVER

    def lane(self, edges: Sequence[str]) -> Lane:
        counts, failed = (_between(edges, times) for times in (self.all, self.failed))
        return _lane(len(self.all), len(self.failed), counts, failed)


def _between(edges: Sequence[str], times: Sequence[str]) -> Counter[int]:
    """Return how many times are in each bucket; those beyond the ends are in the outer ones."""
    inner = [bisect_left(times, edge) for edge in edges[1:-1]]
    places = pairwise([0, *inner, len(times)])
    return Counter({number: last - first for number, (first, last) in enumerate(places)})


def _lane(count: int, failed: int, counts: Counter[int], failures: Counter[int]) -> Lane:
    filled = ((number, counts[number], failures[number]) for number in sorted(counts))
    return Lane(count, failed, tuple(each for each in filled if each[1]))


def _lane_of_children(children: Sequence[RunRow], edges: Sequence[str]) -> Lane:
    counts, failures = Counter[int](), Counter[int]()
    failed = [child for child in children if child.status in FAILED_STATUSES]
    for some, counted in ((children, counts), (failed, failures)):
        for child in some:
            counted.update(_touched(child, edges))
    return _lane(len(children), len(failed), counts, failures)


def _touched(child: RunRow, edges: Sequence[str]) -> Iterable[int]:
    """Return the buckets in which a child run was at work; one without an end is until the last."""
    last = len(edges) - 2
    first, end = (
        min(max(bisect_right(edges, time) - 1, 0), last)
        for time in (child.begin, child.finished_at or edges[-1])
    )
    return range(first, max(first, end) + 1)


def _runs_below(store: Store, run_id: str) -> list[RunRow]:
    """Return the child runs, and theirs; parents may go in circles."""
    found: dict[str, RunRow] = {}
    above = [run_id]
    for _ in range(DEEPEST):
        where = (Filter("parent_run_id", "in", tuple(above)),)
        rows = map(RunRow._make, zip(*store.select(RUN_LINES, where), strict=True))
        new = {row.run_id: row for row in rows if row.run_id not in found}
        found |= new
        above = [each for each in new if each != run_id]
        if not above:
            break
    return list(found.values())


def _ends(
    run: AgentRun, children: Sequence[RunRow], last: Iterable[str]
) -> tuple[datetime, datetime]:
    """Return when a run began, and when it ended, or the last of what is recorded of it."""
    begin = begin_of(run)
    moments = [*last, *(child.finished_at or child.begin for child in children)]
    end = run.finished_at or datetime.fromisoformat(max(moments))
    return begin, max(end, begin + _MOMENT)


class _Events(NamedTuple):
    """The number of steps that the events of some runs are, and the time of the last one."""

    steps: int
    last: str

    @classmethod
    def of(cls, store: Store, of_runs: Filter) -> _Events:
        """Count events: a begin and its end are one step, and what a run says itself is none."""
        measures = (COUNT, Measure("max", "timestamp"))
        rows = store.aggregate(EVENTS, measures, (of_runs,), group_by=("event_type",))
        counts = {kind: count for kind, count, _ in rows}
        pairs = (min(counts.get(b, 0), counts.get(e, 0)) for b, e in zip(BEGINS, ENDS, strict=True))
        said = (counts.get(kind, 0) for kind in ENDS_OF_RUNS)
        steps = sum(counts.values()) - sum(pairs) - sum(said)
        return cls(steps, max((last for *_, last in rows), default=_NEVER))
