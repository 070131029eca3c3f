"""Several processes import the same records into one database at once; each is stored once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    ConflictError,
    InMemoryPersistence,
    Persistence,
    SQLitePersistence,
    copy_records,
    export_records,
    import_agdd,
    import_records,
)
from curio_persistence.tables import EVENTS
from tests.conformance.conftest import Open
from tests.support.awkward import BEGIN, hashes
from tests.support.children import Fork
from tests.support.run_folders import RunFolder

pytestmark = pytest.mark.slow

RUNS, EVENTS_OF_ALL, CALLS = 300, 6_000, 1_500


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of records without event_ids, many of them equal; read-only."""
    path = tmp_path_factory.mktemp("source") / "source.db"
    with SQLitePersistence(path) as persistence:
        persistence.create_agent_runs(AgentRun("agent", f"run-{n}") for n in range(RUNS))
        persistence.log_agent_run_events(
            AgentRunEvent(
                "agent",
                f"run-{number % RUNS}",
                timestamp=BEGIN + timedelta(seconds=number // 700),
                created_at=BEGIN,
                data=str(number % 3),
            )
            for number in range(EVENTS_OF_ALL)
        )
        persistence.log_llm_usages(
            AgentLLMUsage("agent", f"run-{number % 7}", created_at=BEGIN) for number in range(CALLS)
        )
    return path


def at_once(open_again: Open, bring: Callable[[Persistence], Any]) -> list[Any]:
    """Return the report of each of three processes that do the same work."""
    start = multiprocessing.get_context("fork").Barrier(3)

    def work() -> Any:
        with open_again() as persistence:
            start.wait(20)
            return bring(persistence)

    return [fork.result() for fork in [Fork(work) for _ in range(3)]]


def assert_came_once(persistence: Persistence, source: Path) -> None:
    with SQLitePersistence(source, read_only=True) as original:
        assert hashes(persistence) == hashes(original)


def test_imports_of_one_file_store_each_record_once(
    open_again: Open, lasting: None, source: Path, tmp_path: Path
) -> None:
    path = tmp_path / "export.jsonl"
    with SQLitePersistence(source) as original:
        export_records(original, path)
    with open_again() as persistence:
        reports = at_once(open_again, lambda there: import_records(path, there))
        assert all(report.ok for report in reports)
        assert sum(report.runs for report in reports) == RUNS
        assert sum(report.events for report in reports) == EVENTS_OF_ALL
        assert sum(report.usage for report in reports) == CALLS
        assert_came_once(persistence, source)


def test_copies_of_one_database_store_each_record_once(
    open_again: Open, lasting: None, source: Path
) -> None:
    def copy(there: Persistence) -> Any:
        with SQLitePersistence(source, read_only=True) as original:
            return copy_records(original, there)

    with open_again() as persistence:
        reports = at_once(open_again, copy)
        assert all(report.ok for report in reports)
        assert sum(report.new_events for report in reports) == EVENTS_OF_ALL
        assert sum(report.new_usage for report in reports) == CALLS
        assert_came_once(persistence, source)


def test_imports_of_the_same_run_folders_store_each_record_once(
    open_again: Open, lasting: None, tmp_path: Path
) -> None:
    for number in range(20):
        folder = RunFolder(tmp_path / "runs", f"run-{number}")
        folder.start()
        for step in range(100):
            folder.log("step", {"step": step})
        folder.summary()
    with open_again() as persistence:
        reports = at_once(open_again, lambda there: import_agdd(tmp_path / "runs", there))
        assert all(report.ok for report in reports)
        assert sum(report.events for report in reports) == 20 * 101
        assert persistence.count_events() == 20 * 101
        assert len(persistence.get_agent_runs(limit=None)) == 20


@pytest.mark.usefixtures("small_copies")
def test_a_copy_continues_if_another_program_takes_an_id(persistence: Persistence) -> None:
    """The copied records then get other ids."""
    with InMemoryPersistence() as source:
        source.log_agent_run_events(
            AgentRunEvent("agent", "run", data=str(number)) for number in range(2_500)
        )
        at = {"first": True}

        def write_too(done: int, total: int | None) -> None:
            if done > 1_000 and at.pop("first", None):
                persistence._transfers.append(EVENTS, [[_row(1_500)]], 1_500)

        report = copy_records(source, persistence, progress=write_too)
        assert (report.new_events, report.kept_ids) == (2_500, False)
        assert report.differing == ("run",)  # Which has one more event there.
        assert persistence.count_events() == 2_501
        again = copy_records(source, persistence)
        assert (again.new_events, persistence.count_events()) == (0, 2_501)


def _row(ident: int) -> dict[str, Any]:
    event = AgentRunEvent("agent", "run", timestamp=BEGIN, created_at=BEGIN)
    return {**EVENTS.encode(event), "id": ident}


def test_an_id_is_assigned_once(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("agent", "run"))
    persistence._transfers.append(EVENTS, [[_row(7)]], 7)
    with pytest.raises(ConflictError, match="agent_run_events has rows with ids from 6 on"):
        persistence._transfers.append(EVENTS, [[_row(6)], [_row(8)]], 8)
    with pytest.raises(ConflictError):
        persistence._store.insert_many(EVENTS, [_row(6), _row(7)])
    assert persistence.count_events() == 1
