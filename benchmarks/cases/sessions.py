"""A page of sessions with what they count, against plain SQL for the same numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.cases.sides import Case, Raw, check, postgres, sqlite
from benchmarks.support.report import Goal, Line
from benchmarks.support.timing import interleave, timed
from benchmarks.support.workspace import Workspace
from curio_persistence import Persistence

_PAGE = 50
_PAGES = 5
"""How often the page is read in one repetition."""
_IDS = "SELECT session_id FROM {schema}agent_sessions ORDER BY started_at DESC, id DESC LIMIT 50"
_COUNTED = (
    "SELECT r.session_id, count(*), count(x.tool_error), sum(x.tool_error) "
    "FROM {schema}agent_runs r JOIN {schema}agent_run_events x ON x.run_id = r.run_id "
    "WHERE r.session_id IN ({page}) GROUP BY 1",
    "SELECT r.session_id, count(*), sum(u.input_tokens), sum(u.output_tokens), sum(u.cost_usd), "
    "count(u.cost_usd) FROM {schema}agent_runs r JOIN {schema}agent_llm_usage u "
    "ON u.run_id = r.run_id WHERE r.session_id IN ({page}) GROUP BY 1",
)


def sqlite_sessions(work: Workspace) -> list[Line]:
    with sqlite(work.sqlite_year) as (raw, ours):
        return [_line("SQLite", work, raw, ours, "")]


def postgres_sessions(work: Workspace) -> list[Line]:
    with postgres(work, work.postgres_year) as (raw, ours):
        return [_line("PostgreSQL", work, raw, ours, f"{work.postgres_year}.")]


CASES: dict[str, Case] = {
    "sqlite-sessions": sqlite_sessions,
    "postgres-sessions": postgres_sessions,
}


def _line(name: str, work: Workspace, raw: Raw, ours: Persistence, schema: str) -> Line:
    page = f"SELECT * FROM ({_IDS.format(schema=schema)}) AS page"
    statements = [text.format(schema=schema, page=page) for text in _COUNTED]

    def theirs(_: object) -> Iterable[Any]:
        return [raw.fetch(text) for text in statements]

    def mine(_: object) -> Iterable[Any]:
        return ours.sessions.query(limit=_PAGE)

    [events, _] = theirs(None)
    check(sum(row[1] for row in events), sum(each.events for each in ours.sessions.query(limit=50)))
    timing = interleave(
        lambda: timed(theirs, [None] * _PAGES) // _PAGES,
        lambda: timed(mine, [None] * _PAGES) // _PAGES,
        chunks=1,
        repetitions=work.sizes.repetitions,
    )
    return Line(
        f"{name}, a page of {_PAGE} sessions with counters, of {ours.count_events():,} events",
        Goal(30e6, 20e6, "alone"),
        timing,
    )
