"""A page of traces, against plain SQL for the same numbers, and spans saved into a large trace."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any

from benchmarks.cases.sides import Case, Raw, check, postgres, sqlite
from benchmarks.support.report import Goal, Line
from benchmarks.support.timing import WRITES_IN_A_ROW, Chunk, interleave, timed
from benchmarks.support.workspace import Workspace
from curio_persistence import AgentSpan, Persistence, PostgresPersistence, SQLitePersistence

_PAGE = 50
_PAGES = 5
"""How often the page is read in one repetition."""
_ROOTS = (
    "SELECT run_id FROM {schema}agent_runs WHERE parent_run_id IS NULL "
    "ORDER BY created_at DESC, id DESC LIMIT 50"
)
_COUNTED = (
    "SELECT run_id, count(*) FROM {schema}agent_run_events WHERE event_type = 'tool_call' "
    "AND run_id IN ({page}) GROUP BY 1",
    "SELECT run_id, count(*), sum(input_tokens), sum(output_tokens), sum(cost_usd) "
    "FROM {schema}agent_llm_usage WHERE run_id IN ({page}) GROUP BY 1",
)
_LARGE, _SMALL = 20_000, 10


def sqlite_traces(work: Workspace) -> list[Line]:
    with sqlite(work.sqlite_year) as (raw, ours):
        page = _page("SQLite", work, raw, ours, "")
    with work.sqlite_copies(1) as (path,), SQLitePersistence(path) as ours:
        return [page, _saved("SQLite", work, ours)]


def postgres_traces(work: Workspace) -> list[Line]:
    with postgres(work, work.postgres_year) as (raw, ours):
        page = _page("PostgreSQL", work, raw, ours, f"{work.postgres_year}.")
    with (
        work.postgres_copies(1) as (schema,),
        PostgresPersistence(dsn=work.dsn, schema=schema) as ours,
    ):
        return [page, _saved("PostgreSQL", work, ours)]


CASES: dict[str, Case] = {"sqlite-traces": sqlite_traces, "postgres-traces": postgres_traces}


def _page(name: str, work: Workspace, raw: Raw, ours: Persistence, schema: str) -> Line:
    page = f"SELECT * FROM ({_ROOTS.format(schema=schema)}) AS page"
    statements = [text.format(schema=schema, page=page) for text in _COUNTED]

    def theirs(_: object) -> Iterable[Any]:
        return [raw.fetch(text) for text in statements]

    def mine(_: object) -> Iterable[Any]:
        return ours.traces.query(limit=_PAGE)

    [_, calls] = theirs(None)
    check(sum(row[1] for row in calls), sum(t.model_calls for t in ours.traces.query(limit=_PAGE)))
    timing = interleave(
        lambda: timed(theirs, [None] * _PAGES) // _PAGES,
        lambda: timed(mine, [None] * _PAGES) // _PAGES,
        chunks=1,
        repetitions=work.sizes.repetitions,
    )
    return Line(
        f"{name}, a page of {_PAGE} traces with totals, of {ours.count_events():,} events",
        Goal(None, None),
        timing,
        remark="raw are counts and sums; ours makes every span",
    )


def _saved(name: str, work: Workspace, ours: Persistence) -> Line:
    """Compare a span that is saved into a large trace with one that is saved into a small one."""
    numbers = count()

    def span(trace_id: str) -> AgentSpan:
        return AgentSpan(trace_id, f"{next(numbers):016x}", "step", status="ok")

    for trace_id, size in (("large", _LARGE), ("small", _SMALL)):
        ours.traces.save_spans(span(trace_id) for _ in range(size))

    def into(trace_id: str) -> Chunk:
        def write() -> int:
            return timed(ours.traces.save_span, [span(trace_id) for _ in range(WRITES_IN_A_ROW)])

        return write

    timing = interleave(
        into("small"),
        into("large"),
        calls=WRITES_IN_A_ROW,
        chunks=max(work.sizes.writes // WRITES_IN_A_ROW, 1),
        repetitions=work.sizes.repetitions,
    )
    return Line(
        f"{name}, a span into a trace of {_LARGE:,}, against one into a trace of {_SMALL}",
        Goal(None, None, "time"),
        timing,
    )
