"""Statistics over all records."""

from __future__ import annotations

from benchmarks.cases.sides import Case, Raw, asking, check, postgres, sqlite
from benchmarks.support import rows
from benchmarks.support.report import Goal, Line
from benchmarks.support.workspace import Workspace
from curio_persistence import Persistence

_GOAL = Goal(1.5, 1.1)
_AT_MOST_FOR_ONE = 6e6
_AT_MOST_FOR_ALL = 150e6
_QUESTIONS_IN_A_REPETITION = 20


def sqlite_stats_of_one(work: Workspace) -> list[Line]:
    with sqlite(work.sqlite_usage) as (raw, ours):
        return [_of_one("SQLite", work, raw, ours, at_most=_AT_MOST_FOR_ONE)]


def sqlite_stats_of_all(work: Workspace) -> list[Line]:
    with sqlite(work.sqlite_usage) as (raw, ours):
        return [_of_all("SQLite", work, raw, ours, at_most=_AT_MOST_FOR_ALL)]


def postgres_stats_of_one(work: Workspace) -> list[Line]:
    with postgres(work, work.postgres_usage) as (raw, ours):
        return [_of_one("PostgreSQL", work, raw, ours)]


def postgres_stats_of_all(work: Workspace) -> list[Line]:
    with postgres(work, work.postgres_usage) as (raw, ours):
        return [_of_all("PostgreSQL", work, raw, ours)]


CASES: dict[str, Case] = {
    "sqlite-stats-of-one": sqlite_stats_of_one,
    "sqlite-stats-of-all": sqlite_stats_of_all,
    "postgres-stats-of-one": postgres_stats_of_one,
    "postgres-stats-of-all": postgres_stats_of_all,
}


def _of_one(
    name: str, work: Workspace, raw: Raw, ours: Persistence, *, at_most: float | None = None
) -> Line:
    ask = ours.get_agent_run_stats
    for agent_id in rows.AGENTS[:3]:
        check(ask(agent_id), raw.stats_of_one(agent_id))
    return Line(
        f"{name}, statistics of one agent, {work.sizes.usage_rows:,} usage rows in all",
        _GOAL,
        asking(work, raw.stats_of_one, ask, rows.AGENTS, _QUESTIONS_IN_A_REPETITION),
        at_most=at_most,
    )


def _of_all(
    name: str, work: Workspace, raw: Raw, ours: Persistence, *, at_most: float | None = None
) -> Line:
    check(ours.get_agent_run_stats(), raw.stats_of_all())
    return Line(
        f"{name}, statistics of all {len(rows.AGENTS)} agents",
        _GOAL,
        asking(work, lambda _: raw.stats_of_all(), lambda _: ours.get_agent_run_stats(), [None], 1),
        at_most=at_most,
    )
