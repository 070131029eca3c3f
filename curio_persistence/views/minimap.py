"""A whole run in a few hundred buckets of time: where models, tools and child runs were at work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from curio_persistence.errors import InvalidValueError
from curio_persistence.models import AgentRun
from curio_persistence.store.base import Store
from curio_persistence.store.filters import checked_count
from curio_persistence.views.step_pages import is_tool
from curio_persistence.views.steps import MODEL, RUN, Step, begin_of
from curio_persistence.views.walking import Walk

_MOST = 2_000
_LANES = ("model", "tool", "child")
_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Lane:
    """What happened of one kind: `model`, `tool` or `child`.

    `buckets` are those in which anything happened: the number of each, how many, and how many of
    them failed. A child run is in all buckets from its begin to its end.
    """

    count: int
    failed: int
    buckets: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class RunOutline:
    """A run from its begin to its end, in equal buckets of time.

    `steps` counts the steps of the run and of its child runs, and `failed` those with an error.
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
    steps = [placed.step for placed in Walk(store, run).after()]
    begin = begin_of(run)
    end = max((_end_of(step) for step in steps), default=begin)
    end = max(run.finished_at or end, begin + _MOMENT)
    lanes = {lane: [step for step in steps if _lane_of(step) == lane] for lane in _LANES}
    return RunOutline(
        begin,
        end,
        count,
        len(steps),
        sum(step.error is not None for step in steps),
        {lane: _lane(some, begin, end, count) for lane, some in lanes.items()},
    )


def _lane_of(step: Step) -> str | None:
    if step.kind == MODEL:
        return "model"
    if step.kind == RUN:
        return "child"
    return "tool" if is_tool(step.kind) else None


def _end_of(step: Step) -> datetime:
    if step.kind == RUN and step.child:
        return step.child.run.finished_at or step.at
    return step.at


def _lane(steps: Iterable[Step], begin: datetime, end: datetime, count: int) -> Lane:
    counted, failed = Counter[int](), Counter[int]()
    everything = list(steps)
    for step in everything:
        first, last = (
            min(max((at - begin) * count // (end - begin), 0), count - 1)
            for at in (step.at, _end_of(step))
        )
        touched = range(first, max(first, last) + 1)
        counted.update(touched)
        failed.update(touched if step.error is not None else ())
    return Lane(
        len(everything),
        sum(step.error is not None for step in everything),
        tuple((number, counted[number], failed[number]) for number in sorted(counted)),
    )
