"""Analytics of a year and of its last month by day, against the plainest SQL for most of it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from benchmarks.cases.sides import Case, Raw, postgres, sqlite
from benchmarks.support.report import Goal, Line
from benchmarks.support.timing import interleave, timed
from benchmarks.support.workspace import Workspace
from curio_persistence import Persistence

_STATEMENTS = (
    "SELECT {created_at}, count(*), count(DISTINCT agent_id), count(DISTINCT session_id), "
    "count(DISTINCT user_id), sum(CASE WHEN status IN ('error', 'timeout') THEN 1 END) "
    "FROM {schema}agent_runs WHERE created_at >= {since} GROUP BY 1",
    "SELECT {timestamp}, count(*), count(tool_error), sum(tool_error) "
    "FROM {schema}agent_run_events WHERE timestamp >= {since} GROUP BY 1",
    "SELECT {created_at}, count(*), sum(CASE WHEN status <> 'success' THEN 1 END), sum(cost_usd), "
    "sum(input_tokens), sum(output_tokens), avg(latency_ms) "
    "FROM {schema}agent_llm_usage WHERE created_at >= {since} GROUP BY 1",
)
_MONTH = timedelta(days=30)


def sqlite_analytics(work: Workspace) -> list[Line]:
    with sqlite(work.sqlite_year) as (raw, ours):
        return _lines("SQLite", work, raw, ours, "substr({}, 1, 10)", "?", "")


def postgres_analytics(work: Workspace) -> list[Line]:
    with postgres(work, work.postgres_year) as (raw, ours):
        day = "date_trunc('day', {}, 'UTC')"
        return _lines("PostgreSQL", work, raw, ours, day, "%s", f"{work.postgres_year}.")


CASES: dict[str, Case] = {
    "sqlite-analytics": sqlite_analytics,
    "postgres-analytics": postgres_analytics,
}


def _lines(
    name: str, work: Workspace, raw: Raw, ours: Persistence, day: str, mark: str, schema: str
) -> list[Line]:
    days = {column: day.format(column) for column in ("created_at", "timestamp")}
    statements = [text.format(**days, since=mark, schema=schema) for text in _STATEMENTS]
    first, *_, last = ours.analytics(timezone="UTC")
    events = ours.count_events()

    def line(what: str, goal: Goal, since: datetime) -> Line:
        def theirs(_: object) -> Iterable[Any]:
            return [
                raw.fetch(text, since.isoformat(timespec="microseconds")) for text in statements
            ]

        def mine(_: object) -> Iterable[Any]:
            return ours.analytics(since, timezone="UTC")

        timing = interleave(
            lambda: timed(theirs, [None]),
            lambda: timed(mine, [None]),
            chunks=1,
            repetitions=work.sizes.slow_repetitions,
        )
        return Line(f"{name}, {what}, of {events:,} events by day", goal, timing)

    assert first.begin is not None
    assert last.begin is not None
    return [
        line("analytics of a year", Goal(300e6, 200e6, "alone"), first.begin),
        line("analytics of 30 days", Goal(50e6, 30e6, "alone"), last.begin - _MONTH),
    ]
