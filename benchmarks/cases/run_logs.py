"""Run logs: entries appended one by one and in batches, and a page of steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import count, islice

from benchmarks.cases.sides import Case, apart, check
from benchmarks.raw.run_log import RawRunLog, postgres_log, sqlite_log
from benchmarks.support import fill, rows
from benchmarks.support.report import Goal, Line
from benchmarks.support.timing import WRITES_IN_A_ROW, Chunk, interleave, timed
from benchmarks.support.workspace import Workspace
from curio_persistence import Persistence, PostgresPersistence, SQLitePersistence
from curio_persistence.runlog.entries import (
    AssistantStepCommitted,
    ContextAssembled,
    LLMCallStarted,
    RunLogEntry,
    ToolStepCommitted,
)
from curio_persistence.runlog.values import MessageRole

Append = Callable[[Sequence[RunLogEntry]], object]

_BATCH = 1_000
_SESSION = "chat"
_PAGES = 20
"""How often a page is read in one repetition."""
_ONE_BY_ONE = Goal(200_000, 150_000, "alone")
_IN_BATCHES = Goal(25_000, 20_000, "alone")
_PAGE = Goal(30e6, 15e6, "alone")
_TEXT = "What an agent is told, and what it answers, in some lines of text. " * 4


def sqlite_run_logs(work: Workspace) -> list[Line]:
    with (
        work.sqlite_copies(2) as (theirs, mine),
        closing(sqlite_log(theirs)) as raw,
        SQLitePersistence(mine) as ours,
    ):
        return _lines("SQLite", work, raw, ours, lambda: None)


def postgres_run_logs(work: Workspace) -> list[Line]:
    with (
        work.postgres_copies(2) as (theirs, mine),
        closing(postgres_log(work.dsn, theirs)) as raw,
        PostgresPersistence(dsn=work.dsn, schema=mine) as ours,
        apart(work),
    ):

        def analyze() -> None:
            for schema in (theirs, mine):
                fill.analyze(work.dsn, schema)

        return _lines("PostgreSQL", work, raw, ours, analyze)


CASES: dict[str, Case] = {"sqlite-runlog": sqlite_run_logs, "postgres-runlog": postgres_run_logs}


def _lines(
    name: str, work: Workspace, raw: RawRunLog, ours: Persistence, analyze: Callable[[], None]
) -> list[Line]:
    raw.begin(_SESSION)
    is_sqlite = name == "SQLite"  # The floors are those of SQLite.
    informative = Goal(None, None)

    def written_by(append: Append, size: int) -> Chunk:
        entries = _entries(rows.run_id(work.written_runs[0]))

        def write() -> int:
            writes = max(WRITES_IN_A_ROW // size, 1)
            return timed(append, [[*islice(entries, size)] for _ in range(writes)])

        return write

    def theirs(entries: Sequence[RunLogEntry]) -> None:
        raw.append(_SESSION, entries)

    def mine(entries: Sequence[RunLogEntry]) -> None:
        ours.runlog.append(_SESSION, entries)

    singles = interleave(
        written_by(theirs, 1),
        written_by(mine, 1),
        calls=WRITES_IN_A_ROW,
        chunks=max(work.sizes.writes // WRITES_IN_A_ROW, 1),
        repetitions=work.sizes.repetitions,
    )
    batches = interleave(
        written_by(theirs, _BATCH),
        written_by(mine, _BATCH),
        calls=_BATCH,
        chunks=max(work.sizes.batched // _BATCH, 1),
        repetitions=work.sizes.repetitions,
    )
    analyze()  # Without statistics of the session, the server reads all of its entries.
    middle = ours.runlog.max_sequence(_SESSION) // 2
    found = ours.runlog.step_views(_SESSION, start=middle, limit=100)
    check([view.sequence for view in found], [row[7] for row in raw.page(_SESSION, middle)])
    pages = interleave(
        lambda: timed(lambda at: raw.page(_SESSION, at), [middle] * _PAGES) // _PAGES,
        lambda: (
            timed(
                lambda at: ours.runlog.step_views(_SESSION, start=at, limit=100), [middle] * _PAGES
            )
            // _PAGES
        ),
        chunks=1,
        repetitions=work.sizes.repetitions,
    )
    return [
        Line(
            f"{name}, one entry of a run log per call, committed",
            _ONE_BY_ONE if is_sqlite else informative,
            singles,
        ),
        Line(
            f"{name}, entries of a run log in batches of {_BATCH:,}",
            _IN_BATCHES if is_sqlite else informative,
            batches,
        ),
        Line(
            f"{name}, a page of 100 steps of a session with many",
            _PAGE,
            pages,
            remark="raw are bare tuples, without rollbacks",
        ),
    ]


def _entries(run_id: str) -> Iterator[RunLogEntry]:
    """Yield what a turn logs, again and again: a context, a call, its answer and a tool."""
    ids = {"run_id": run_id, "agent_id": rows.AGENTS[0]}
    messages = [{"role": "user", "content": _TEXT}]
    for n in count():
        yield ContextAssembled(**ids, messages=messages)
        yield LLMCallStarted(**ids, messages=messages)
        yield AssistantStepCommitted(
            **ids, step_id=f"answer {n}", role=MessageRole.ASSISTANT, content=_TEXT
        )
        yield ToolStepCommitted(
            **ids,
            step_id=f"tool {n}",
            role=MessageRole.TOOL,
            content=_TEXT,
            tool_call_id=f"call {n}",
            name="search",
        )
