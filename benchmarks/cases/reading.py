"""Short queries: a run, the newest records, a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from benchmarks.cases.sides import Case, Raw, asking, check, postgres, sqlite
from benchmarks.support import rows
from benchmarks.support.report import Goal, Line
from benchmarks.support.timing import Timing
from benchmarks.support.workspace import Workspace
from curio_persistence import Persistence

_READS_IN_A_REPETITION = 20
_PAGE = 100
_MANY = 10_000

_RUN = Goal(1.35, 1.2)
_LISTED = Goal(1.5, 1.2)
_NO_GOAL = Goal(None, None)


def sqlite_read(work: Workspace) -> list[Line]:
    with sqlite(work.sqlite_events) as (raw, ours):
        return _a_run("SQLite", work, raw, ours)


def postgres_read(work: Workspace) -> list[Line]:
    with postgres(work, work.postgres_events) as (raw, ours):
        return _a_run("PostgreSQL", work, raw, ours)


def sqlite_usage(work: Workspace) -> list[Line]:
    with sqlite(work.sqlite_usage) as (raw, ours):
        return [
            Line(
                f"SQLite, newest {_PAGE} of {work.sizes.usage_rows:,} usage rows of an agent",
                _LISTED,
                _reading(
                    work,
                    lambda agent_id: raw.newest_usage(agent_id, _PAGE),
                    lambda agent_id: ours.get_llm_usage(agent_id, limit=_PAGE),
                    rows.AGENTS,
                ),
            )
        ]


def sqlite_pages(work: Workspace) -> list[Line]:
    with sqlite(work.sqlite_history) as (raw, ours):
        return _pages("SQLite", work, raw, ours)


def postgres_pages(work: Workspace) -> list[Line]:
    with postgres(work, work.postgres_history) as (raw, ours):
        return _pages("PostgreSQL", work, raw, ours)


CASES: dict[str, Case] = {
    "sqlite-read": sqlite_read,
    "postgres-read": postgres_read,
    "sqlite-usage": sqlite_usage,
    "sqlite-pages": sqlite_pages,
    "postgres-pages": postgres_pages,
}


def _a_run(name: str, work: Workspace, raw: Raw, ours: Persistence) -> list[Line]:
    """Compare all columns with all, and with the eight of the published model."""
    title = f"{name}, a run's {rows.EVENTS_OF_A_RUN:,} events as dataclasses, against bare tuples"
    return [
        Line(
            f"{title} of {which}",
            goal,
            _reading(work, read, ours.get_agent_run_events, work.full_runs),
        )
        for which, goal, read in (
            ("all columns", _RUN, raw.events),
            ("eight columns", _NO_GOAL, raw.published_events),
        )
    ]


def _pages(name: str, work: Workspace, raw: Raw, ours: Persistence) -> list[Line]:
    """Measure the first page of an agent's events of a type, and the last page of all events."""
    count = work.sizes.history_runs * rows.EVENTS_OF_A_RUN
    number = count // _PAGE
    cursor, timestamp, ident = _before_page(ours, number)
    return [
        Line(
            f"{name}, newest {_PAGE} of {count:,} events by agent and type",
            _LISTED,
            _reading(
                work,
                lambda asked: raw.newest_events(asked[0], asked[1], _PAGE),
                lambda asked: list(
                    ours.query_events(agent_id=asked[0], event_type=asked[1], limit=_PAGE)
                ),
                [(agent, kind) for agent in rows.AGENTS for kind in rows.TYPES],
            ),
        ),
        Line(
            f"{name}, page {number:,} of {count:,} events, by its cursor",
            _LISTED,
            _reading(
                work,
                lambda _: raw.older_events(timestamp, ident, _PAGE),
                lambda _: list(ours.query_events(limit=_PAGE, cursor=cursor)),
                [None],
            ),
        ),
    ]


def _before_page(ours: Persistence, number: int) -> tuple[Any, ...]:
    """Return the cursor of a page, and time and id of the event before it."""
    left = (number - 1) * _PAGE
    cursor = None
    while left:
        page = ours.query_events(limit=min(left, _MANY), cursor=cursor)
        cursor = page.next_cursor
        left -= len(page)
    last: Any = page[-1]
    return cursor, last.timestamp.isoformat(timespec="microseconds"), last.id


def _reading(
    work: Workspace,
    raw: Callable[[Any], Sequence[tuple[Any, ...]]],
    ours: Callable[[Any], Sequence[Any]],
    arguments: Sequence[Any],
) -> Timing:
    """Measure both sides reading the same rows of the same tables."""
    records, tuples = ours(arguments[0]), raw(arguments[0])
    position = [field.name for field in fields(records[0])].index("id")
    check([record.id for record in records], [values[position] for values in tuples])
    return asking(work, raw, ours, arguments, _READS_IN_A_REPETITION)
