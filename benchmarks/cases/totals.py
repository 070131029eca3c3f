"""Totals of model calls by model and day, against one statement that only sums."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta

from benchmarks.cases.sides import Case
from benchmarks.support.report import Goal, Line
from benchmarks.support.timing import interleave, timed
from benchmarks.support.workspace import Workspace
from curio_persistence import SQLitePersistence

_BY = ("model", "day")
_RAW = (
    "SELECT model, substr(created_at, 1, 10), count(*), sum(cost_usd), sum(input_tokens), "
    "sum(output_tokens) FROM agent_llm_usage WHERE created_at >= ? GROUP BY 1, 2"
)
_MONTH = timedelta(days=30)


def sqlite_totals(work: Workspace) -> list[Line]:
    path = work.sqlite_usage
    with closing(sqlite3.connect(path)) as raw, SQLitePersistence(path) as ours:
        [newest] = raw.execute("SELECT max(created_at) FROM agent_llm_usage").fetchone()
        month = datetime.fromisoformat(newest) - _MONTH

        def line(what: str, goal: Goal, since: datetime | None) -> Line:
            bound = since.isoformat(timespec="microseconds") if since else ""

            def theirs(_: object) -> object:
                return raw.execute(_RAW, (bound,)).fetchall()

            def mine(_: object) -> object:
                return ours.usage.totals(group_by=_BY, since=since, timezone="UTC")

            calls = sum(group.calls for group in ours.usage.totals(group_by=_BY, since=since))
            timing = interleave(
                lambda: timed(theirs, [None]),
                lambda: timed(mine, [None]),
                chunks=1,
                repetitions=work.sizes.slow_repetitions,
            )
            return Line(f"SQLite, {calls:,} model calls by model and day{what}", goal, timing)

        return [
            line("", Goal(150e6, 100e6, "alone"), None),
            line(", the last 30 days", Goal(25e6, 15e6, "alone"), month),
        ]


CASES: dict[str, Case] = {"sqlite-totals": sqlite_totals}
