"""Imports of run folders."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from benchmarks.cases.sides import Case, apart, check, check_written, events_to_write
from benchmarks.raw import RawPostgres, RawSQLite
from benchmarks.support.report import Goal, Line, rows_per_second
from benchmarks.support.rows import run_id
from benchmarks.support.timing import Timing, each, mean, sample, timed
from benchmarks.support.workspace import Workspace
from curio_persistence import (
    AgentRunEvent,
    Persistence,
    PostgresPersistence,
    SQLitePersistence,
    import_agdd,
)

_BATCH = 1_000
_GOAL = Goal(0.35, 0.5, "speed")
"""Ours also checks every value, and names every event by its position."""

Write = Callable[[list[AgentRunEvent]], object]


def sqlite_run_folders(work: Workspace) -> list[Line]:
    with (
        work.sqlite_copies(2) as (first, second),
        closing(RawSQLite(first)) as raw,
        SQLitePersistence(second) as ours,
    ):
        lines = _lines("SQLite", work, raw.log_named_events, ours)
        check_written(work, ours, raw)
        return lines


def postgres_run_folders(work: Workspace) -> list[Line]:
    with (
        work.postgres_copies(2) as (first, second),
        closing(RawPostgres(work.dsn, first)) as raw,
        PostgresPersistence(dsn=work.dsn, schema=second) as ours,
        apart(work),
    ):
        lines = _lines("PostgreSQL", work, raw.log_events, ours)
        check_written(work, ours, raw)
        return lines


CASES: dict[str, Case] = {
    "sqlite-run-folders": sqlite_run_folders,
    "postgres-run-folders": postgres_run_folders,
}


class _Source(NamedTuple):
    """A folder of run folders, and the number of its events."""

    path: Path
    events: int


def _lines(name: str, work: Workspace, write: Write, ours: Persistence) -> list[Line]:
    """Yield the lines; each repetition has its own folder, since stored events take less time."""
    with tempfile.TemporaryDirectory(dir=work.directory) as folder:
        theirs, mine = _sources(work, Path(folder)), _sources(work, Path(folder))

        def load(source: _Source) -> None:
            [log] = source.path.glob("*/logs.jsonl")
            check(sum(map(len, _batches(log, write))), source.events)

        def import_it(source: _Source) -> None:
            check(import_agdd(source.path, ours).events, source.events)

        raw, our = sample(
            lambda: timed(load, [next(theirs)]),
            lambda: timed(import_it, [next(mine)]),
            chunks=1,
            repetitions=work.sizes.repetitions,
        )
    size = work.sizes.batched
    return [
        Line(
            f"{name}, a run folder of {size:,} events",
            _GOAL,
            Timing(each(raw, mean, size), each(our, mean, size)),
            unit=rows_per_second,
            remark="raw by `json.loads` and batches of 1,000, without a check",
        )
    ]


def _batches(log: Path, write: Write) -> Iterator[list[AgentRunEvent]]:
    """Read the lines of a log as events, and write each batch by hand."""
    with log.open(encoding="utf-8") as lines:
        numbered = enumerate(lines, start=1)
        while batch := [
            _event(number, json.loads(line)) for number, line in islice(numbered, _BATCH)
        ]:
            write(batch)
            yield batch


def _event(number: int, entry: dict[str, object]) -> AgentRunEvent:
    return AgentRunEvent(
        "importer",
        str(entry["run_id"]),
        timestamp=datetime.fromtimestamp(float(str(entry["timestamp"])), UTC),
        event_type=str(entry["event"]),
        data=json.dumps(entry["data"], ensure_ascii=False),
        event_id=f"{entry['run_id']}:{number}",
    )


def _sources(work: Workspace, folder: Path) -> Iterator[_Source]:
    """Yield run folders of runs that are stored already."""
    events = events_to_write(work)
    for run in work.written_runs:
        source = folder / str(run)
        if not source.exists():
            (source / run_id(run)).mkdir(parents=True)
            _write(source / run_id(run), events.take(work.sizes.batched))
        yield _Source(source, work.sizes.batched)


def _write(folder: Path, events: Sequence[AgentRunEvent]) -> None:
    with (folder / "logs.jsonl").open("w", encoding="utf-8") as log:
        for event in events:
            assert event.timestamp is not None
            entry = {
                "run_id": folder.name,
                "event": event.event_type,
                "timestamp": event.timestamp.timestamp(),
                "data": json.loads(event.data),
            }
            log.write(json.dumps(entry, ensure_ascii=False) + "\n")
    (folder / "summary.json").write_text(json.dumps({"slug": "importer"}), encoding="utf-8")
