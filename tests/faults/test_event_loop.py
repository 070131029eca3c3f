"""The event loop runs while its persistence waits."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from psycopg2.extensions import make_dsn

from curio_persistence import AgentRunEvent, Persistence, PostgresPersistence, SQLitePersistence
from curio_persistence.aio import (
    AsyncPersistence,
    ConnectContext,
    connect,
    copy_records,
    export_records,
    import_records,
)
from tests.support import soak
from tests.support.blackhole import BlackHole
from tests.support.children import ROOT, Fork
from tests.support.listings import write
from tests.support.loops import stands_still, turns_while

Work = Callable[[AsyncPersistence], Awaitable[object]]

MANY = 40_000 * soak.FACTOR
SOME = MANY // 4
LONGEST = 0.05


async def append(awaited: AsyncPersistence) -> None:
    await awaited.append_event("run", "agent", "log")


async def read(awaited: AsyncPersistence) -> int:
    number = 0
    async for _ in awaited.iter_agent_run_events():
        number += 1
    return number


async def write_together(awaited: AsyncPersistence) -> None:
    async with awaited.transaction():
        await append(awaited)


# --- a silent network -----------------------------------------------------------------------------


@pytest.fixture
def through_network(
    blackhole: BlackHole, postgres18: str, schema_name: str
) -> Callable[[], Persistence]:
    """Open a persistence that waits for ever when the network is silent."""
    dsn = make_dsn(blackhole.dsn(postgres18), connect_timeout=60)
    return partial(PostgresPersistence, dsn=dsn, schema=schema_name)


@pytest.mark.parametrize("work", [append, read, write_together])
def test_the_loop_runs_while_the_server_is_silent(
    through_network: Callable[[], Persistence], blackhole: BlackHole, work: Work
) -> None:
    async def main() -> None:
        async with ConnectContext(through_network, threads=2) as awaited:
            await append(awaited)
            blackhole.swallow()
            several = asyncio.gather(*(work(awaited) for _ in range(3)))
            await turns_while(several, blackhole.forward)

    asyncio.run(main())


def test_the_loop_runs_while_a_server_is_silent_in_the_middle_of_a_stream(
    through_network: Callable[[], Persistence], blackhole: BlackHole
) -> None:
    with closing(through_network()) as persistence:
        write(persistence, AgentRunEvent, range(1_000))

    async def rest(reading: object) -> int:
        return len([event async for event in reading])  # type: ignore[attr-defined]

    async def main() -> None:
        async with ConnectContext(through_network, threads=2) as awaited:
            reading = aiter(awaited.iter_agent_run_events())
            await anext(reading)
            blackhole.swallow()
            assert await turns_while(rest(reading), blackhole.forward) == 999

    asyncio.run(main())


def test_the_loop_runs_while_a_persistence_is_opened_and_closed(
    through_network: Callable[[], Persistence], blackhole: BlackHole
) -> None:
    async def main() -> None:
        blackhole.swallow()
        awaited = await turns_while(ConnectContext(through_network, threads=2), blackhole.forward)
        await append(awaited)
        blackhole.swallow()
        waiting = asyncio.ensure_future(read(awaited))
        await asyncio.sleep(0.01)
        await turns_while(awaited.close(), blackhole.forward)
        with suppress(Exception):
            await waiting

    asyncio.run(main())


def test_a_task_that_waits_for_a_silent_server_can_be_cancelled(
    through_network: Callable[[], Persistence], blackhole: BlackHole
) -> None:
    async def main() -> None:
        async with ConnectContext(through_network, threads=1) as awaited:
            await append(awaited)
            blackhole.swallow()
            for work in (append, read, write_together):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(work(awaited), 0.01)
            blackhole.forward()
            await append(awaited)
            await write_together(awaited)

    asyncio.run(main())


# --- SQLite ---------------------------------------------------------------------------------------


def test_the_loop_runs_while_another_process_locks_the_file(tmp_path: Path) -> None:
    async def main() -> None:
        with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            opening = connect(f"sqlite:///{tmp_path}/a.db")
            async with await turns_while(opening, partial(other.execute, "ROLLBACK")) as awaited:
                other.execute("BEGIN IMMEDIATE")
                await turns_while(append(awaited), partial(other.execute, "ROLLBACK"))
                assert await read(awaited) == 1

    asyncio.run(main())


def test_a_persistence_opened_after_its_cancellation_is_closed(tmp_path: Path) -> None:
    async def main() -> None:
        with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            opened: list[Persistence] = []

            def open_it() -> Persistence:
                opened.append(SQLitePersistence(tmp_path / "a.db"))
                return opened[0]

            opening = ConnectContext(open_it, threads=1)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(opening, 0.01)
            other.execute("ROLLBACK")
            while not opened or opened[0].health_check():
                await asyncio.sleep(0.001)

    asyncio.run(main())


def test_a_forked_child_has_threads_of_its_own(tmp_path: Path) -> None:
    awaited = AsyncPersistence(SQLitePersistence(tmp_path / "a.db"))
    asyncio.run(append(awaited))
    Fork(lambda: asyncio.run(write_together(awaited))).result()
    asyncio.run(append(awaited))
    assert asyncio.run(read(awaited)) == 3
    asyncio.run(awaited.close())


IMPORTS = """
import asyncio, sys, threading
from curio_persistence import aio

class Watch:
    def find_spec(self, name, path=None, target=None):
        in_loop = threading.current_thread() is threading.main_thread()
        if in_loop and name.startswith(("curio_persistence", "pyarrow", "psycopg2", "sqlite3")):
            imported.append(name)

async def main(folder):
    sys.meta_path.insert(0, Watch())
    async with aio.connect(f"sqlite:///{folder}/a.db") as a, aio.connect("memory://") as b:
        async with a.record_run(agent_id="agent") as run, run.tool("t"), a.transaction():
            await run.log("hello")
        assert [event async for event in a.iter_agent_run_events()]
        await a.search_text("hello")
        await a.get_agent_run_stats()
        async with a.buffered() as buffered:
            await buffered.append_event("run", "agent", "log")
        async with aio.connect(f"sqlite:///{folder}/a.db") as a:
            await aio.export_records(a, f"{folder}/a.jsonl")
            await aio.import_records(f"{folder}/a.jsonl", b)
            await aio.import_agdd(folder, b)
            await aio.copy_records(a, b)
            await aio.import_curio(f"sqlite:///{folder}/a.db")

imported = []
asyncio.run(main(sys.argv[1]))
print(*imported)
"""


def test_the_loop_is_not_blocked_by_imports_of_modules(tmp_path: Path) -> None:
    command = (sys.executable, "-c", IMPORTS, tmp_path)
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (ran.stdout.split(), ran.stderr) == ([], "")


@pytest.mark.slow
def test_the_loop_is_not_blocked_by_reading_very_many_records(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with SQLitePersistence(path) as persistence:
        write(persistence, AgentRunEvent, range(MANY), moments=1_000)

    async def work() -> None:
        async with connect(f"sqlite:///{path}") as awaited:
            reading = asyncio.create_task(read(awaited))
            assert await awaited.count_events() == MANY
            page = await awaited.query_events(limit=10_000)
            assert len(page) == 10_000
            await awaited.get_agent_run_stats()
            assert await reading == MANY

    assert not stands_still(work, LONGEST)


@pytest.mark.slow
def test_the_loop_is_not_blocked_by_creating_and_freeing_very_many_records(tmp_path: Path) -> None:
    with SQLitePersistence(tmp_path / "a.db") as persistence:
        write(persistence, AgentRunEvent, range(SOME), moments=1_000)
    number = count()

    async def work() -> None:
        target = tmp_path / str(next(number))
        target.mkdir()
        async with (
            connect(f"sqlite:///{tmp_path}/a.db") as awaited,
            connect(f"sqlite:///{target}/copied.db") as copied,
            connect(f"sqlite:///{target}/imported.db") as imported,
        ):
            for format in ("csv", "parquet", "jsonl"):
                await export_records(awaited, target / f"all.{format}")
            assert (await import_records(target / "all.jsonl", imported)).events == SOME
            assert (await copy_records(awaited, copied)).ok

    assert not stands_still(work, LONGEST)
