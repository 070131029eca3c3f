"""The awaited persistence does the same as the blocking one, without blocking the event loop."""

from __future__ import annotations

import asyncio
import copy
import random
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Self, TypeVar

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    ClosedError,
    ConflictError,
    InMemoryPersistence,
    InvalidValueError,
    Persistence,
    PersistenceError,
    UnsupportedError,
)
from curio_persistence.aio import AsyncPersistence, ConnectContext, export_records
from curio_persistence.store.query import STREAM_ROWS
from tests.support import soak
from tests.support.listings import numbers, write
from tests.support.loops import turns_while

T = TypeVar("T")
Open = Callable[[], Persistence]
MANY = 4_001


class Undone(Exception):
    pass


def awaiting(
    persistence: Persistence,
    work: Callable[[AsyncPersistence], Coroutine[Any, Any, T]],
    *,
    threads: int = 4,
) -> T:
    """Return the result of `work` on this persistence, in an event loop of its own."""

    async def main() -> T:
        return await work(AsyncPersistence(persistence, threads=threads))

    return asyncio.run(main())


async def append(awaited: AsyncPersistence, *data: int, run_id: str = "run") -> None:
    for number in data:
        await awaited.append_event(run_id, "agent", "log", payload=number)


def stored(persistence: Persistence, run_id: str = "run") -> list[int]:
    return [int(event.data) for event in persistence.get_agent_run_events(run_id)]


class Held:
    """A write of another thread, which stays in its transaction until it is released."""

    def __init__(self, persistence: Persistence) -> None:
        self._persistence = persistence
        self._begun, self._may_end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        # On PostgreSQL `close()` does not wait for the threads that use the persistence.
        with suppress(PersistenceError), self._persistence.transaction():
            self._persistence.append_event("held", "agent", "log")
            self._begun.set()
            self._may_end.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        self._begun.wait()
        return self

    def let_go(self) -> None:
        self._may_end.set()

    def __exit__(self, *_: object) -> None:
        self.let_go()
        self._thread.join()


async def cancelled(task: asyncio.Task[Any]) -> bool:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return task.cancelled()


# --- calls ----------------------------------------------------------------------------------------


def test_an_awaited_call_returns_what_the_blocking_one_does(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        run = AgentRun("agent", "run", objective="o")
        await awaited.create_agent_run(run)
        assert run.id is not None
        assert await awaited.get_agent_run("run") == run
        event = await awaited.append_event("run", "agent", "log", payload="text")
        assert await awaited.get_agent_run_events("run") == [event]
        await awaited.log_llm_usage(AgentLLMUsage("agent", "run", model="m", input_tokens=7))
        assert (await awaited.get_agent_run_stats())["total_input_tokens"] == 7
        assert await awaited.delete_agent_run("run") is True
        assert await awaited.get_agent_run("run") is None

    awaiting(persistence, work)


def test_an_error_is_raised_by_the_await(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        await awaited.create_agent_run(AgentRun("agent", "run"))
        with pytest.raises(ConflictError):
            await awaited.create_agent_run(AgentRun("agent", "run"))
        with pytest.raises(InvalidValueError):
            await awaited.query_events(since="yesterday")
        with pytest.raises(InvalidValueError):
            awaited.iter_agent_run_events(order="sideways")  # type: ignore[arg-type]

    awaiting(persistence, work)


def test_capabilities_are_awaited_too(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        await awaited.append_event("run", "agent", "metric", payload={"name": "n", "value": 2})
        assert await awaited.metrics.names() == {"n": 1}
        assert [point.value for point in await awaited.query_metrics("n")] == [2]
        assert [run.run_id for run in await awaited.runs.list(status="running")] == ["run"]
        assert (await awaited.stats.summary())["total_runs"] == 1
        assert [usage async for usage in awaited.usage.iterate()] == []

    awaiting(persistence, work)


def test_a_copied_agent_shares_it(persistence: Persistence) -> None:
    awaited = AsyncPersistence(persistence)
    assert copy.deepcopy({"agent": awaited})["agent"] is copy.copy(awaited) is awaited


def test_search_finds_words(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        await awaited.append_event("run", "agent", "log", message="The rate limit is reached")
        [hit] = await awaited.search_text("limit")
        assert hit.snippet == "The rate limit is reached"
        assert await awaited.search.enabled()
        assert await awaited.search.pending() == 0

    awaiting(persistence, work)


def test_many_tasks_may_share_it(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        await asyncio.gather(*(append(awaited, n, n + 100) for n in range(50)))

    awaiting(persistence, work)
    assert sorted(stored(persistence)) == [*range(50), *range(100, 150)]


def test_one_loop_after_another_may_use_it(persistence: Persistence) -> None:
    awaited = AsyncPersistence(persistence)
    asyncio.run(append(awaited, 1))
    asyncio.run(append(awaited, 2))
    assert stored(persistence) == [1, 2]


@pytest.mark.parametrize(
    "work",
    [
        lambda awaited: append(awaited, 1),
        lambda awaited: awaited.transaction().__aenter__(),
        lambda awaited: awaited.record_run(agent_id="agent").__aenter__(),
        lambda awaited: anext(aiter(awaited.iter_agent_run_events())),
        lambda awaited: anext(awaited.events.follow()),
        lambda awaited: export_records(awaited, "never.jsonl"),
        lambda awaited: awaited.close(),
        lambda awaited: ConnectContext(awaited.blocking.close, threads=1)._open(),  # type: ignore[arg-type]
    ],
)
def test_another_event_loop_than_asyncios_is_refused(
    persistence: Persistence, work: Callable[[AsyncPersistence], Coroutine[Any, Any, Any]]
) -> None:
    with pytest.raises(UnsupportedError, match=r"by asyncio\.run.*in a thread"):
        work(AsyncPersistence(persistence)).send(None)
    assert persistence.get_agent_runs() == []


# --- transactions ---------------------------------------------------------------------------------


def test_calls_in_a_transaction_are_committed_together(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        async with awaited.transaction():
            await append(awaited, 1, 2)
            assert await awaited.count_events() == 2

    awaiting(persistence, work)
    assert stored(persistence) == [1, 2]


def test_a_transaction_that_raises_stores_nothing(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        async def write() -> None:
            async with awaited.transaction():
                await append(awaited, 1)
                raise Undone

        with pytest.raises(Undone):
            await write()
        await append(awaited, 2)

    awaiting(persistence, work)
    assert stored(persistence) == [2]


def test_a_nested_transaction_is_rolled_back_alone(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        async with awaited.transaction():
            await append(awaited, 1)
            with suppress(Undone):
                async with awaited.transaction():
                    await append(awaited, 2)
                    raise Undone
            await append(awaited, 3)

    awaiting(persistence, work)
    assert stored(persistence) == [1, 3]


def test_tasks_started_in_a_transaction_belong_to_it(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        with suppress(Undone):
            async with awaited.transaction():
                await asyncio.gather(*(append(awaited, n) for n in range(5)))
                await asyncio.wait_for(append(awaited, 5), 60)
                raise Undone

    awaiting(persistence, work)
    assert stored(persistence) == []


@pytest.mark.slow
def test_very_many_transactions_take_few_threads(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> int:
        async def write(number: int) -> int:
            async with awaited.transaction():
                await append(awaited, number)
                return threading.active_count()

        return max(await asyncio.gather(*map(write, range(200))))

    before = threading.active_count()
    assert awaiting(persistence, work, threads=2) <= before + 50
    assert sorted(stored(persistence)) == list(range(200))


def test_tasks_may_each_have_a_nested_transaction(persistence: Persistence) -> None:
    async def write(awaited: AsyncPersistence, number: int) -> None:
        with suppress(Undone):
            async with awaited.transaction():
                await append(awaited, number)
                await asyncio.sleep(0)
                await append(awaited, number)
                if number % 2:
                    raise Undone

    async def work(awaited: AsyncPersistence) -> None:
        async with awaited.transaction():
            await asyncio.gather(
                *(write(awaited, number) for number in range(6)),
                *(append(awaited, number) for number in range(10, 16)),
            )

    awaiting(persistence, work)
    assert sorted(stored(persistence)) == [0, 0, 2, 2, 4, 4, *range(10, 16)]


def test_other_tasks_do_not_belong_to_a_transaction(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        inside = asyncio.Event()

        async def other() -> None:
            await inside.wait()
            await append(awaited, 2)

        task = asyncio.create_task(other())
        with suppress(Undone):
            async with awaited.transaction():
                await append(awaited, 1)
                inside.set()
                await asyncio.sleep(0)
                raise Undone
        await task

    awaiting(persistence, work, threads=1)
    assert stored(persistence) == [2]


def test_a_task_that_outlives_its_transaction_continues_without_it(
    persistence: Persistence,
) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        after = asyncio.Event()

        async def outlive() -> None:
            await after.wait()
            await append(awaited, 2)

        async with awaited.transaction():
            task = asyncio.create_task(outlive())
            await append(awaited, 1)
        after.set()
        await task

    awaiting(persistence, work)
    assert stored(persistence) == [1, 2]


def test_each_persistence_has_its_own_transaction(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        other = AsyncPersistence(InMemoryPersistence())
        with suppress(Undone):
            async with other.transaction(), awaited.transaction():
                await append(awaited, 1)
                await append(other, 2)
                raise Undone
        assert await other.count_events() == 0

    awaiting(persistence, work)
    assert stored(persistence) == []


def test_a_stream_sees_the_writes_of_its_transaction(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        async with awaited.transaction():
            await append(awaited, 1)
            assert [event.data async for event in awaited.iter_agent_run_events()] == ["1"]

    awaiting(persistence, work)


def test_a_transaction_leaves_no_thread_behind(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        await append(awaited, 1)
        before = set(threading.enumerate())
        for _ in range(3):
            async with awaited.transaction():
                await append(awaited, 2)
        for thread in set(threading.enumerate()) - before:
            await asyncio.to_thread(thread.join)

    awaiting(persistence, work, threads=1)
    assert not [each for each in threading.enumerate() if each.name.startswith("curio-trans")]


# --- cancellation --------------------------------------------------------------------------------


def test_a_cancelled_write_is_stored_or_not_and_frees_its_thread(
    persistence: Persistence,
) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        with Held(persistence):
            waiting = [asyncio.create_task(append(awaited, n)) for n in range(3)]
            await asyncio.sleep(0.01)
            for task in waiting:
                await cancelled(task)
        await append(awaited, 9)  # In the only thread.

    awaiting(persistence, work, threads=1)
    *maybe, last = stored(persistence)
    assert set(maybe) <= {0, 1, 2}
    assert last == 9


def test_a_cancelled_call_that_no_thread_has_started_is_not_made(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        busy, go_on = threading.Event(), threading.Event()

        def block() -> list[AgentRunEvent]:
            busy.set()
            go_on.wait()
            return []

        events = (event for each in [block] for event in each())
        blocking = asyncio.create_task(awaited.log_agent_run_events(events))
        await asyncio.to_thread(busy.wait)
        second = asyncio.create_task(append(awaited, 1))
        await asyncio.sleep(0)
        assert await cancelled(second)
        go_on.set()
        await blocking

    awaiting(persistence, work, threads=1)
    assert stored(persistence) == []


def test_a_cancelled_transaction_stores_nothing(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        async def write() -> None:
            async with awaited.transaction():
                await append(awaited, 1)
                written.set()
                await asyncio.Event().wait()

        written = asyncio.Event()
        task = asyncio.create_task(write())
        await written.wait()
        assert await cancelled(task)
        await append(awaited, 2)

    awaiting(persistence, work)
    assert stored(persistence) == [2]


def test_a_transaction_cancelled_while_it_begins_blocks_no_other_task(
    persistence: Persistence,
) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        async def write() -> None:
            async with awaited.transaction():
                await append(awaited, 1)
                await asyncio.Event().wait()

        with Held(persistence):
            task = asyncio.create_task(write())
            await asyncio.sleep(0.01)
            assert await cancelled(task)
        await append(awaited, 2)

    awaiting(persistence, work)
    assert stored(persistence) == [2]


def test_transactions_cancelled_at_any_point_are_stored_completely_or_not_at_all(
    persistence: Persistence,
) -> None:
    chance = random.Random(7)

    async def write(awaited: AsyncPersistence, run_id: str) -> None:
        async with awaited.transaction():
            await append(awaited, 1, run_id=run_id)
            async with awaited.transaction():
                await append(awaited, 2, 3, run_id=run_id)

    async def work(awaited: AsyncPersistence) -> None:
        for number in soak.times(30):
            task = asyncio.create_task(write(awaited, f"run {number}"))
            await asyncio.sleep(chance.random() / 200)
            await cancelled(task)
        await write(awaited, "run")

    awaiting(persistence, work, threads=1)
    assert stored(persistence) == [1, 2, 3]
    for run in persistence.get_agent_runs(limit=None):
        assert stored(persistence, run.run_id) == [1, 2, 3]


# --- streams --------------------------------------------------------------------------------------


def test_a_stream_has_every_record_in_order(persistence: Persistence) -> None:
    write(persistence, AgentRunEvent, range(MANY))

    async def work(awaited: AsyncPersistence) -> None:
        stream = awaited.iter_agent_run_events(order="oldest")
        for _ in range(2):  # Each pass starts from the beginning.
            assert numbers([event async for event in stream]) == list(range(MANY))

    awaiting(persistence, work)


def test_a_stream_is_not_read_ahead_of_its_consumer(persistence: Persistence) -> None:
    write(persistence, AgentRunEvent, range(MANY))

    async def work(awaited: AsyncPersistence) -> None:
        stream = awaited.iter_agent_run_events()
        reading = aiter(stream)
        await anext(reading)
        await stream.close()
        for _ in range(STREAM_ROWS - 1):
            await anext(reading)
        with pytest.raises(ClosedError):
            await anext(reading)

    awaiting(persistence, work)


def test_a_stream_may_be_left_before_its_end(persistence: Persistence) -> None:
    write(persistence, AgentRunEvent, range(MANY))

    async def work(awaited: AsyncPersistence) -> None:
        for _ in range(30):
            async with awaited.iter_agent_run_events(order="oldest") as stream:
                async for event in stream:
                    assert event.data == "0"
                    break
        await awaited.close()

    awaiting(persistence, work, threads=1)


def test_a_stream_returns_its_connection_when_its_reader_is_cancelled(
    persistence: Persistence,
) -> None:
    write(persistence, AgentRunEvent, range(MANY))

    async def work(awaited: AsyncPersistence) -> None:
        async def read() -> None:
            async for _ in awaited.iter_agent_run_events():
                await asyncio.sleep(0)

        for _ in range(10):
            task = asyncio.create_task(read())
            await asyncio.sleep(0.001)
            assert await cancelled(task)
        assert await awaited.count_events() == MANY

    awaiting(persistence, work, threads=1)


def test_a_stream_becomes_a_table_or_dictionaries(persistence: Persistence) -> None:
    write(persistence, AgentRunEvent, range(3), metadata={"a": 1})

    async def work(awaited: AsyncPersistence) -> None:
        stream = awaited.iter_agent_run_events(order="oldest")
        assert [each["data"] for each in await stream.to_dicts()] == ["0", "1", "2"]
        assert (await stream.to_arrow()).num_rows == 3
        frame = await stream.to_pandas(expand="metadata")
        assert frame["metadata.a"].tolist() == [1, 1, 1]

    awaiting(persistence, work)


def test_a_follower_gets_each_event_once(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> list[int]:
        await append(awaited, 0, 1)
        following = awaited.events.follow(last=1, interval=0)
        seen = [int(event.data) for event in await anext(following)]
        writing = asyncio.create_task(append(awaited, *range(2, 30)))
        async for events in following:
            seen += [int(event.data) for event in events]
            if 29 in seen:
                break
        await writing
        return seen

    assert awaiting(persistence, work) == list(range(1, 30))


def test_a_follower_that_times_out_misses_nothing(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> list[int]:
        following = awaited.events.follow(interval=0)
        assert await anext(following) == []
        seen: list[int] = []
        for number in range(20):
            await append(awaited, number)
            with suppress(TimeoutError):
                async with asyncio.timeout(number / 10_000):
                    seen += [int(event.data) for event in await anext(following)]
        while len(seen) < 20:
            seen += [int(event.data) for event in await anext(following)]
        return seen

    assert awaiting(persistence, work) == list(range(20))


# --- the recorder ---------------------------------------------------------------------------------


def test_a_run_is_recorded_with_the_spans_started_in_it(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> tuple[str, list[str]]:
        async def child(name: str) -> str:
            async with awaited.record_run(agent_id=name) as run:
                return run.run_id

        async with awaited.record_run(agent_id="parent", objective="o", tags=["t"]) as run:
            await run.log("hello", {"a": 1})
            await run.metric("score", 1)
            assert await run.iteration() == 1
            await run.llm_call(model="m", prompt="p", input_tokens=3)
            async with run.tool("search", {"q": "x"}) as call:
                call.result = "found"
            children = await asyncio.gather(*(child(f"child {n}") for n in range(3)))
            await run.finish("done")
        assert run.dropped == 0
        return run.run_id, children

    run_id, children = awaiting(persistence, work)
    run = persistence.get_agent_run(run_id)
    assert run is not None
    assert (run.status, run.final_synthesis_output, run.tags) == ("completed", "done", ["t"])
    found = persistence.query_agent_runs(parent_run_id=run_id)
    assert {each.run_id for each in found} == set(children)
    [call] = persistence.get_agent_run_events(run_id, "tool_call")
    assert call.get_data_dict()["result"] == "found"
    assert call.get_data_dict()["latency_ms"] >= 0


def test_a_run_beside_another_is_not_its_child(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> str:
        async with awaited.record_run(agent_id="first"):
            pass
        async with awaited.record_run(agent_id="second") as run:
            return run.run_id

    run = persistence.get_agent_run(awaiting(persistence, work))
    assert run is not None
    assert run.parent_run_id is None


def test_a_run_may_be_named_the_child_of_another(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> tuple[str, str]:
        async with awaited.record_run(agent_id="first") as first:
            pass
        async with awaited.record_run(agent_id="second", parent=first) as second:
            return first.run_id, second.run_id

    first, second = awaiting(persistence, work)
    run = persistence.get_agent_run(second)
    assert run is not None
    assert run.parent_run_id == first


def test_a_run_recorded_in_a_thread_is_a_child_as_well(persistence: Persistence) -> None:
    def record() -> str:
        with persistence.record_run(agent_id="child") as run:
            return run.run_id

    async def work(awaited: AsyncPersistence) -> tuple[str, str]:
        async with awaited.record_run(agent_id="parent") as run:
            return run.run_id, await asyncio.to_thread(record)

    parent, child = awaiting(persistence, work)
    run = persistence.get_agent_run(child)
    assert run is not None
    assert run.parent_run_id == parent


@pytest.mark.parametrize("status", ["error", "cancelled"])
def test_the_end_of_an_unfinished_run_is_recorded(persistence: Persistence, status: str) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        begun = asyncio.Event()

        async def agent() -> None:
            async with awaited.record_run(agent_id="agent", run_id="run") as run:
                with suppress(Undone):
                    async with run.tool("broken"):
                        raise Undone
                begun.set()
                if status == "error":
                    raise Undone("it went wrong")
                await asyncio.Event().wait()

        task = asyncio.create_task(agent())
        await begun.wait()
        if status == "cancelled":
            task.cancel()
        with suppress(Undone, asyncio.CancelledError):
            await task

    awaiting(persistence, work)
    run = persistence.get_agent_run("run")
    assert run is not None
    assert run.status == status
    assert run.finished_at is not None
    [call] = persistence.get_agent_run_events("run", "tool_call")
    assert "Undone" in call.get_data_dict()["error"]


def test_a_run_cancelled_while_it_begins_ends_as_cancelled(
    persistence: Persistence,
) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        async def agent() -> None:
            async with awaited.record_run(agent_id="agent", run_id="run"):
                await asyncio.Event().wait()

        with Held(persistence):
            task = asyncio.create_task(agent())
            await asyncio.sleep(0.01)
            assert await cancelled(task)
        while (run := await awaited.get_agent_run("run")) is None or run.finished_at is None:
            await asyncio.sleep(0.001)
        assert run.status == "cancelled"

    awaiting(persistence, work)


# --- the end --------------------------------------------------------------------------------------


def test_after_the_end_every_call_is_refused(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        async with awaited:
            await append(awaited, 1)
        await awaited.close()
        with pytest.raises(ClosedError):
            await append(awaited, 2)
        with pytest.raises(ClosedError):
            async with awaited.transaction():
                pytest.fail("it began")
        assert not await awaited.health_check()

    awaiting(persistence, work)


def test_it_cannot_be_closed_within_a_transaction(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        async with awaited.transaction():
            with pytest.raises(UnsupportedError):
                await awaited.close()
            await append(awaited, 1)

    awaiting(persistence, work)
    assert stored(persistence) == [1]


def test_it_closes_although_all_its_threads_wait(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        go_on = threading.Event()

        def block() -> list[AgentRunEvent]:
            go_on.wait()
            return []

        reading = asyncio.create_task(asyncio.to_thread(go_on.wait))
        waiting = [
            asyncio.create_task(awaited._threads.call(block)) for _ in range(awaited._threads.most)
        ]
        await asyncio.sleep(0)
        await awaited.close()
        go_on.set()
        await asyncio.gather(reading, *waiting)

    awaiting(persistence, work, threads=2)


def test_behind_a_queue_it_is_awaited_as_well(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        async with awaited.buffered(max_seconds=60) as buffered:
            await append(buffered, 1)
            await buffered.flush()
            assert buffered.pending == 0
            assert buffered.dropped == {}
            assert await buffered.count_events() == 1
            await append(buffered, 2)

    awaiting(persistence, work)


# --- the loop is not blocked ----------------------------------------------------------------------


def test_the_loop_runs_while_a_write_waits(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        with Held(persistence) as held:
            await turns_while(append(awaited, 1), held.let_go)

    awaiting(persistence, work)
    assert stored(persistence) == [1]


def test_the_loop_runs_while_a_transaction_and_close_wait(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        async def write() -> None:
            async with awaited.transaction():
                await append(awaited, 1)

        with Held(persistence) as held:
            await turns_while(write(), held.let_go)
        assert await awaited.count_events(run_id="run") == 1
        with Held(persistence) as held:
            await turns_while(awaited.close(), held.let_go)

    awaiting(persistence, work)


def test_many_wait_for_approval_with_one_thread(persistence: Persistence) -> None:
    async def work(awaited: AsyncPersistence) -> None:
        await awaited.create_agent_run(AgentRun("agent", "run"))
        approvals = awaited.approvals
        asked = [await approvals.request("run", "pay", number) for number in range(10)]
        ids = [ticket.ticket_id for ticket in asked]
        waits = [asyncio.create_task(approvals.wait(each, 30, interval=0.01)) for each in ids]
        assert (await approvals.wait(ids[0], 0)).status == "pending"
        for ticket_id in ids:
            await approvals.resolve(ticket_id, "approved", by="ada")
        assert {ticket.status for ticket in await asyncio.gather(*waits)} == {"approved"}
        assert await approvals.check(ids[3], 3)
        async with awaited.transaction():
            with pytest.raises(UnsupportedError, match=r"before wait\(\)"):
                await approvals.wait(ids[0])

    awaiting(persistence, work, threads=1)
