"""The `timed` layout of PostgreSQL against the plain one, on a year of events in each.

Questions are measured by the time of processors, here and in the server's sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from itertools import cycle
from typing import Any

from benchmarks.cases.sides import Case, apart, check
from benchmarks.support import fill, rows
from benchmarks.support.report import Goal, Line, rows_per_second
from benchmarks.support.timing import Chunk, Timing, interleave, timed, worked
from benchmarks.support.workspace import Workspace
from curio_persistence import Persistence, PostgresPersistence

_WRITING, _READING = Goal(0.75, 0.9, "speed"), Goal(2, 1.3, "time")
_RUNS = range(20)
"""The runs that are written to."""
_ASKED = 50

Ask = Callable[[Persistence, Any], object]


def postgres_timed(work: Workspace) -> list[Line]:
    with (
        work.postgres_layouts() as (first, second),
        PostgresPersistence(dsn=work.dsn, schema=first) as plain,
        PostgresPersistence(dsn=work.dsn, schema=second) as parted,
        apart(work),
    ):
        lines = [*_reading(work, plain, parted), *_writing(work, plain, parted)]
        check(parted.count_events(), plain.count_events())
        return lines


CASES: dict[str, Case] = {"postgres-timed": postgres_timed}


def _reading(work: Workspace, plain: Persistence, parted: Persistence) -> Iterator[Line]:
    runs = max(work.sizes.usage_rows // rows.Year.EVENTS, 1)
    some = range(0, runs, max(runs // _ASKED, 1))
    day = timedelta(days=1)
    questions: dict[str, tuple[Ask, Sequence[Any]]] = {
        "the newest hundred events": (_page, [{}]),
        "of an agent": (_page, [{"agent_id": agent} for agent in rows.AGENTS[:_ASKED]]),
        "of a run": (_page, [{"run_id": rows.run_id(run)} for run in some]),
        "tool calls of a day": (
            _page,
            [
                {"event_type": "tool_call", "since": begin, "until": begin + day}
                for begin in (rows.BEGIN + number * day for number in range(0, 350, 7))
            ],
        ),
        "statistics of an agent": (
            lambda persistence, agent: persistence.get_agent_run_stats(agent),
            rows.AGENTS[:10],
        ),
    }
    for title, (ask, arguments) in questions.items():
        for argument in arguments:
            check(ask(parted, argument), ask(plain, argument))
        timing = interleave(
            *(_working(work, partial(ask, side), arguments) for side in (plain, parted)),
            chunks=work.rounds(_ASKED),
            repetitions=work.sizes.repetitions,
        )
        goal = Goal(None, None, "time") if title.startswith("statistics") else _READING
        yield Line(f"PostgreSQL, timed against plain, processor time: {title}", goal, timing)


def _working(
    work: Workspace, ask: Callable[[Any], object], arguments: Sequence[Any]
) -> Callable[[], int]:
    following, sessions = cycle(arguments), fill.sessions(work.dsn)
    return lambda: worked(ask, [next(following)], sessions)


def _page(persistence: Persistence, filters: dict[str, Any]) -> object:
    return list(persistence.query_events(limit=100, **filters))


def _writing(work: Workspace, plain: Persistence, parted: Persistence) -> Iterator[Line]:
    for size, names in ((1_000, None), (1_000, "growing"), (1_000, "random"), (1, None)):
        rounds = max(work.sizes.batched // size, 1) if size > 1 else work.sizes.writes
        chunks = [_batches(side, size, names) for side in (plain, parted)]
        timing = interleave(*chunks, chunks=rounds, repetitions=work.sizes.repetitions, calls=size)
        what = f"batches of {size:,}" if size > 1 else "single events"
        named = f" with {names} event ids" if names else ""
        yield Line(
            f"PostgreSQL, timed against plain: {what}{named}",
            _WRITING,
            Timing(timing.raw, timing.ours),
            unit=rows_per_second,
        )


def _batches(side: Persistence, size: int, names: Any) -> Chunk:
    moments = iter(range(1, 10**9))
    begin = rows.BEGIN + timedelta(days=366)
    events = rows.EventStream(
        _RUNS, now=lambda: begin + timedelta(milliseconds=next(moments)), named=names
    )
    return lambda: timed(side.log_agent_run_events, [events.take(size)])
