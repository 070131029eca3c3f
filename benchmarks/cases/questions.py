"""The indexed queries: each returns its newest hundred records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import cycle
from typing import Any, NamedTuple

from benchmarks.cases.sides import Case, apart
from benchmarks.support import rows
from benchmarks.support.report import Goal, Line
from benchmarks.support.timing import Timing, each, quantile, sample, timed
from benchmarks.support.workspace import Workspace
from curio_persistence import Persistence, PostgresPersistence, SQLitePersistence

_GOAL = Goal(20e6, 5e6, "alone")
_PAGE = 100
_ASKED_IN_A_REPETITION = 100
_WINDOWS = 50

Filters = dict[str, Any]


class Question(NamedTuple):
    """A listing, its description, and the filters with which it is queried in turn."""

    of_what: str
    query: Callable[..., Sequence[Any]]
    filters: Sequence[Filters]


def sqlite_questions(work: Workspace) -> list[Line]:
    with SQLitePersistence(work.sqlite_everything) as ours:
        return [_line("SQLite", work, question) for question in _questions(work, ours)]


def postgres_questions(work: Workspace) -> list[Line]:
    schema = work.postgres_everything
    with PostgresPersistence(dsn=work.dsn, schema=schema) as ours, apart(work):
        return [_line("PostgreSQL", work, question) for question in _questions(work, ours)]


CASES: dict[str, Case] = {
    "sqlite-questions": sqlite_questions,
    "postgres-questions": postgres_questions,
}


def _questions(work: Workspace, ours: Persistence) -> Iterator[Question]:
    agents = [{"agent_id": agent} for agent in rows.AGENTS]
    types = [agent | {"event_type": kind} for agent in agents for kind in rows.TYPES[:2]]
    runs = [{"run_id": rows.run_id(number)} for number in range(work.sizes.history_runs)]
    sessions = [{"session_id": rows.session_of(n)} for n in range(0, work.sizes.history_runs, 10)]
    errors = {"min_level": "error"}
    for of_what, filters in {
        "": [{}],
        " of an agent": agents,
        " by status": [{"status": status} for status in ("running", "error", "completed")],
        " of a session": sessions,
        " of a parent": [{"parent_run_id": run["run_id"]} for run in runs[::5]],
        " in a window": _windows(ours.query_agent_runs, "created_at"),
    }.items():
        yield Question(f"runs{of_what}", ours.query_agent_runs, filters)
    windows = _windows(ours.query_events, "timestamp")
    for of_what, filters in {
        "": [{}],
        " of a run": runs,
        " of an agent": agents,
        " of an agent by type": types,
        " of a session": sessions,
        " from `error` up": [errors],
        " of an agent from `error` up": [agent | errors for agent in agents],
        " in a window": windows,
        " of an agent in a window": _combined(agents, windows),
    }.items():
        yield Question(f"events{of_what}", ours.query_events, filters)
    for of_what, filters in {
        "": [{}],
        " of an agent": agents,
        " of a run": runs,
        " in a window": _windows(ours.query_llm_usage, "created_at"),
    }.items():
        yield Question(f"model calls{of_what}", ours.query_llm_usage, filters)


def _windows(query: Callable[..., Sequence[Any]], when: str) -> list[Filters]:
    """Return fiftieths of the time span of the records."""
    first, last = (_time(query(order=order, limit=1)[0], when) for order in ("oldest", "newest"))
    width = (last - first) / _WINDOWS
    return [{"since": first + n * width, "until": first + (n + 1) * width} for n in range(_WINDOWS)]


def _time(record: Any, when: str) -> datetime:
    time: datetime = getattr(record, when)
    return time


def _combined(some: Sequence[Filters], others: Sequence[Filters]) -> list[Filters]:
    return [one | other for one, other in zip(some, cycle(others), strict=False)]


def _line(name: str, work: Workspace, question: Question) -> Line:
    if not any(question.query(limit=_PAGE, **filters) for filters in question.filters[:10]):
        raise RuntimeError(f"There are no {question.of_what}.")
    following = cycle(question.filters)

    def chunk() -> int:
        return timed(lambda filters: question.query(limit=_PAGE, **filters), [next(following)])

    [samples] = sample(
        chunk,
        chunks=work.rounds(_ASKED_IN_A_REPETITION),
        repetitions=work.sizes.slow_repetitions,
    )
    count = work.sizes.history_runs * rows.EVENTS_OF_A_RUN
    return Line(
        f"{name}, newest {_PAGE} {question.of_what}, {count:,} events; p95, against the median",
        _GOAL,
        Timing(each(samples, quantile(0.5)), each(samples, quantile(0.95))),
    )
