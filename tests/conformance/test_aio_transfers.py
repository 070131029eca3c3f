"""Exports, imports and copies can be awaited, and end when they are cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import pytest

from curio_persistence import AgentRunEvent, InMemoryPersistence, Persistence
from curio_persistence.aio import (
    AsyncPersistence,
    copy_records,
    export_records,
    import_agdd,
    import_costs,
    import_records,
)
from curio_persistence.backends.memory.store import MemoryStore
from curio_persistence.store.filters import Where
from curio_persistence.store.table import Table
from tests.conformance.test_import_costs import CALL, write_lines
from tests.support import awkward
from tests.support.awkward import hashes
from tests.support.listings import numbers, write
from tests.support.loops import HeldProgress
from tests.support.run_folders import write_examples

T = TypeVar("T")
Work = Callable[[AsyncPersistence], Coroutine[Any, Any, T]]

pytestmark = pytest.mark.slow

MANY = 6_001


@pytest.fixture
def other() -> Iterator[Persistence]:
    with InMemoryPersistence() as persistence:
        yield persistence


@pytest.fixture
def exported(other: Persistence, tmp_path: Path) -> Path:
    """A file of many events."""
    write(other, AgentRunEvent, range(MANY))
    path = tmp_path / "many.jsonl"
    awaiting(other, lambda awaited: export_records(awaited, path))
    return path


def awaiting(persistence: Persistence, work: Work[T], *, threads: int = 4) -> T:
    async def main() -> T:
        return await work(AsyncPersistence(persistence, threads=threads))

    return asyncio.run(main())


def test_an_export_and_import_preserves_all_records(
    persistence: Persistence, other: Persistence, tmp_path: Path
) -> None:
    awkward.write(other)
    path = tmp_path / "export.jsonl"
    report = awaiting(other, lambda awaited: export_records(awaited, path))
    assert (report.runs, report.path) == (2, str(path))

    async def work(awaited: AsyncPersistence) -> None:
        dry = await import_records(path, None)
        assert (dry.dry_run, dry.runs) == (True, 2)
        assert (await import_records(path, awaited)).ok
        assert set(await awaited.runs.hashes()) == set(other.runs.hashes())
        assert await awaited.runs.hash("full") == other.runs.hash("full")

    awaiting(persistence, work)


def test_a_copy_preserves_all_records(persistence: Persistence, other: Persistence) -> None:
    awkward.write(persistence)
    report = awaiting(persistence, lambda awaited: copy_records(awaited, AsyncPersistence(other)))
    assert (report.ok, report.new_runs) == (True, 2)
    assert hashes(other) == hashes(persistence)


def test_run_folders_and_ledgers_are_imported(persistence: Persistence, tmp_path: Path) -> None:
    write_examples(tmp_path)
    costs = write_lines(tmp_path / "costs.jsonl", [CALL])

    async def work(awaited: AsyncPersistence) -> None:
        assert (await import_agdd(tmp_path, awaited)).runs == 3
        assert (await import_costs(costs, awaited)).usage == 1

    awaiting(persistence, work)


def test_an_export_takes_filters_and_reports_progress(persistence: Persistence) -> None:
    write(persistence, AgentRunEvent, range(MANY))
    write(persistence, AgentRunEvent, range(9), agent_id="other")
    file = BytesIO()
    told: list[tuple[int, int | None]] = []

    async def work(awaited: AsyncPersistence) -> int:
        report = await export_records(
            awaited,
            file,
            format="csv",
            tables="events",
            progress=lambda done, total: told.append((done, total)),
            agent_id="other",
        )
        return report.events

    assert awaiting(persistence, work) == 9
    assert len(file.getvalue().splitlines()) == 10
    assert told == [(9, 9)]


def test_progress_that_raises_ends_the_work(persistence: Persistence, exported: Path) -> None:
    def refuse(done: int, total: int | None) -> None:
        raise KeyError(done)

    with pytest.raises(KeyError):
        awaiting(persistence, lambda awaited: import_records(exported, awaited, progress=refuse))


def test_it_belongs_to_the_transaction_in_which_it_is_awaited(
    persistence: Persistence, exported: Path, tmp_path: Path
) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        with suppress(ZeroDivisionError):
            async with awaited.transaction():
                await import_records(exported, awaited)
                assert (await export_records(awaited, tmp_path / "x.jsonl")).events == MANY
                raise ZeroDivisionError
        assert await awaited.count_events() == 0

    awaiting(persistence, work)


def test_other_calls_do_not_wait_for_it(persistence: Persistence, exported: Path) -> None:
    held = HeldProgress()

    async def work(awaited: AsyncPersistence) -> None:
        task = asyncio.create_task(import_records(exported, awaited, progress=held))
        await held.begun()
        assert await awaited.count_events() < MANY
        held.let_go()
        assert (await task).events == MANY

    awaiting(persistence, work, threads=1)


# --- cancellation --------------------------------------------------------------------------------


def test_a_cancelled_export_leaves_no_file(persistence: Persistence, tmp_path: Path) -> None:
    write(persistence, AgentRunEvent, range(MANY))
    held = HeldProgress()

    async def work(awaited: AsyncPersistence) -> None:
        await held.cancel(export_records(awaited, tmp_path / "x.jsonl", progress=held))
        assert await awaited.count_events() == MANY

    awaiting(persistence, work, threads=1)
    assert len(held.told) == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("x")] == []


def test_a_cancelled_import_ends_and_can_be_finished(
    persistence: Persistence, exported: Path
) -> None:
    held = HeldProgress()

    async def work(awaited: AsyncPersistence) -> None:
        await held.cancel(import_records(exported, awaited, progress=held))
        assert len(await awaited.get_agent_runs()) == 1
        assert await awaited.count_events() < MANY
        assert (await import_records(exported, awaited)).ok

    awaiting(persistence, work, threads=1)
    assert numbers(persistence.iter_agent_run_events(order="oldest")) == list(range(MANY))


def test_a_cancelled_copy_ends_and_can_be_finished(
    persistence: Persistence, other: Persistence
) -> None:
    write(other, AgentRunEvent, range(MANY))
    held = HeldProgress()

    async def work(awaited: AsyncPersistence) -> None:
        source = AsyncPersistence(other)
        await held.cancel(copy_records(source, awaited, progress=held))
        assert await awaited.count_events() < MANY
        assert (await copy_records(source, awaited)).ok

    awaiting(persistence, work, threads=1)
    assert numbers(persistence.iter_agent_run_events(order="oldest")) == list(range(MANY))


class CountingStore(MemoryStore):
    """Counts how often its rows were counted."""

    counts = 0

    def count(self, table: Table[Any], where: Where = ()) -> int:
        self.counts += 1
        return super().count(table, where)


@pytest.mark.parametrize("is_told", [False, True])
def test_rows_are_not_counted_without_a_progress_callback(tmp_path: Path, is_told: bool) -> None:
    store = CountingStore()
    source = Persistence(store)
    write(source, AgentRunEvent, range(10))
    progress = (lambda done, total: None) if is_told else None

    async def work(awaited: AsyncPersistence) -> list[int]:
        counts = []
        for step in (
            lambda: export_records(awaited, tmp_path / "all.jsonl", progress=progress),
            lambda: copy_records(awaited, AsyncPersistence(other), progress=progress),
        ):
            store.counts = 0
            await step()
            counts.append(store.counts)
        return counts

    with InMemoryPersistence() as other:
        counts = awaiting(source, work)
    assert [count > 0 for count in counts] == [is_told] * 2
