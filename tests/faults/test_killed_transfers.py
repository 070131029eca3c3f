"""Exports, imports and copies that are killed: run again, they finish."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    SQLitePersistence,
    copy_records,
    export_records,
    import_records,
)
from tests.support import awkward
from tests.support.awkward import BEGIN, hashes
from tests.support.children import Child

pytestmark = pytest.mark.slow

EVENTS = 6_000

TELL = """
source, target = sys.argv[1:]
tell = lambda done, total: (print(done, flush=True), input())
"""
EXPORT = TELL + "export_records(SQLitePersistence(source), target, progress=tell)"
IMPORT = TELL + "import_records(source, SQLitePersistence(target), progress=tell)"
COPY = TELL + "copy_records(SQLitePersistence(source), SQLitePersistence(target), progress=tell)"


@pytest.fixture
def source(tmp_path: Path) -> Iterator[SQLitePersistence]:
    """Events without names, many of which are twins, some at the same time."""
    with SQLitePersistence(tmp_path / "source.db") as persistence:
        awkward.write(persistence)
        persistence.create_agent_runs(AgentRun("agent", f"run-{number}") for number in range(50))
        persistence.log_agent_run_events(
            AgentRunEvent(
                "agent",
                f"run-{number % 50}",
                timestamp=BEGIN + timedelta(seconds=number // 700),
                created_at=BEGIN,
                data=str(number % 3),
            )
            for number in range(EVENTS)
        )
        persistence.log_llm_usages(AgentLLMUsage("agent", f"run-{n % 50}") for n in range(500))
        yield persistence


def kill_after(code: str, steps: int, *arguments: Path) -> None:
    """Kill it when it has told of so many batches."""
    with Child(code, *arguments) as child:
        for step in range(steps):
            child.read()
            if step + 1 < steps:
                child.write("on")
        child.kill()


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_a_killed_export_leaves_nothing_that_looks_whole(
    source: SQLitePersistence, tmp_path: Path, ending: str
) -> None:
    target = tmp_path / f"export.{ending}"
    for steps in (1, 5):
        kill_after(EXPORT, steps, tmp_path / "source.db", target)
        assert not target.exists()
    export_records(source, target)
    with SQLitePersistence(":memory:") as other:
        assert import_records(target, other).ok
        assert hashes(other) == hashes(source)


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_a_killed_import_is_finished_by_the_next(
    source: SQLitePersistence, tmp_path: Path, ending: str
) -> None:
    path, target = tmp_path / f"export.{ending}", tmp_path / "target.db"
    export_records(source, path)
    for steps in (1, 2, 4, 6):
        kill_after(IMPORT, steps, path, target)
    with SQLitePersistence(target) as other:
        before = other.count_events()
        assert 0 < before < source.count_events()
        assert import_records(path, other).events == source.count_events() - before
        assert hashes(other) == hashes(source)


def test_a_killed_copy_is_finished_by_the_next(source: SQLitePersistence, tmp_path: Path) -> None:
    target = tmp_path / "target.db"
    for steps in (1, 2, 4, 3):
        kill_after(COPY, steps, tmp_path / "source.db", target)
    with SQLitePersistence(target) as other:
        before = other.count_events()
        assert 0 < before < source.count_events()
        report = copy_records(source, other)
        assert (report.ok, report.kept_ids) == (True, True)
        assert report.new_events == source.count_events() - before
        assert list(other.iter_agent_run_events()) == list(source.iter_agent_run_events())
