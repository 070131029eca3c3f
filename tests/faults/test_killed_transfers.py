"""Killed exports, imports and copies are completed by running them again."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    InvalidValueError,
    SQLitePersistence,
    copy_records,
    export_records,
    import_records,
)
from tests.support import awkward
from tests.support.awkward import BEGIN, hashes
from tests.support.children import Child

pytestmark = pytest.mark.slow

EVENTS = 12_000

TELL = """
source, target = sys.argv[1:]
tell = lambda done, total: (print(done, flush=True), input())
"""
EXPORT = TELL + "export_records(SQLitePersistence(source), target, progress=tell)"
WAITING_EXPORT = """
source, target = sys.argv[1:]
waits = iter([lambda: (print("begun", flush=True), input())])
tell = lambda done, total: next(waits, lambda: None)()
export_records(SQLitePersistence(source), target, overwrite=True, progress=tell)
print("done")
"""
IMPORT = TELL + "import_records(source, SQLitePersistence(target), progress=tell)"
COPY = TELL + "copy_records(SQLitePersistence(source), SQLitePersistence(target), progress=tell)"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events without event_ids, many of them equal, some at the same time."""
    path = tmp_path_factory.mktemp("filled") / "source.db"
    with SQLitePersistence(path) as persistence:
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
    return path


@pytest.fixture
def source(filled: Path, tmp_path: Path) -> Iterator[SQLitePersistence]:
    with SQLitePersistence(shutil.copy(filled, tmp_path / "source.db")) as persistence:
        yield persistence


def kill_after(code: str, steps: int, *arguments: Path) -> None:
    """Kill the process after it has reported this number of batches."""
    with Child(code, *arguments) as child:
        for step in range(steps):
            child.read()
            if step + 1 < steps:
                child.write("on")
        child.kill()


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_a_killed_export_leaves_no_file_that_looks_complete(
    source: SQLitePersistence, tmp_path: Path, ending: str
) -> None:
    target = tmp_path / f"export.{ending}"
    for steps in (1, 4):
        kill_after(EXPORT, steps, tmp_path / "source.db", target)
        assert not target.exists()
    assert [each.name for each in left_in(tmp_path)] != []
    let_a_day_pass(tmp_path)
    export_records(source, target)
    assert left_in(tmp_path) == []
    with SQLitePersistence(":memory:") as other:
        assert import_records(target, other).ok
        assert hashes(other) == hashes(source)


def left_in(folder: Path) -> list[Path]:
    """Return the files that exports have not yet given their final names."""
    return list(folder.glob(".*"))


def let_a_day_pass(folder: Path) -> None:
    """Make the unfinished files in a folder a day and a minute older."""
    a_day_ago = time.time() - 86_460
    for left in left_in(folder):
        for path in (left, *left.glob("*")):
            os.utime(path, (a_day_ago, a_day_ago))


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_a_running_export_is_not_taken_for_a_killed_one(
    source: SQLitePersistence, tmp_path: Path, ending: str
) -> None:
    target = tmp_path / f"export.{ending}"
    with Child(WAITING_EXPORT, tmp_path / "source.db", target) as child:
        child.read()
        export_records(source, target, agent_id="nobody", overwrite=True)
        assert len(left_in(tmp_path)) == 1
        child.write("go on")
        assert child.finish() == "done\n"
    assert left_in(tmp_path) == []
    with SQLitePersistence(":memory:") as other:
        assert import_records(target, other).ok
        assert hashes(other) == hashes(source)


def test_one_of_two_exports_to_the_same_path_is_refused(
    source: SQLitePersistence, tmp_path: Path
) -> None:
    """The export that began first finds the other's file, and leaves it."""
    target = tmp_path / "export.jsonl"
    told = []

    def export_too(done: int, total: int | None) -> None:
        if not told:
            told.append(done)
            export_records(source, target, agent_id="nobody")

    with pytest.raises(InvalidValueError, match="is there already"):
        export_records(source, target, progress=export_too)
    with SQLitePersistence(":memory:") as other:
        assert import_records(target, other).runs == 0
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_a_killed_import_is_completed_by_the_next(
    source: SQLitePersistence, tmp_path: Path, ending: str
) -> None:
    path, target = tmp_path / f"export.{ending}", tmp_path / "target.db"
    export_records(source, path)
    for steps in (1, 2, 4):
        kill_after(IMPORT, steps, path, target)
    with SQLitePersistence(target) as other:
        before = other.count_events()
        assert 0 < before < source.count_events()
        assert import_records(path, other).events == source.count_events() - before
        assert hashes(other) == hashes(source)


def test_a_killed_copy_is_completed_by_the_next(source: SQLitePersistence, tmp_path: Path) -> None:
    target = tmp_path / "target.db"
    for steps in (4, 2, 1):
        kill_after(COPY, steps, tmp_path / "source.db", target)
    with SQLitePersistence(target) as other:
        before = other.count_events()
        assert 0 < before < source.count_events()
        report = copy_records(source, other)
        assert (report.ok, report.kept_ids) == (True, True)
        assert report.new_events == source.count_events() - before
        assert list(other.iter_agent_run_events()) == list(source.iter_agent_run_events())
