"""A run knows its parent in threads, tasks, generators and with several databases."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

import pytest

from curio_persistence import (
    InMemoryPersistence,
    Persistence,
    RunRecorder,
    UnsupportedError,
    aio,
    current_run,
)
from curio_persistence.aio import AsyncPersistence
from tests.support.recorded import parents, stored, types

# --- entered once -----------------------------------------------------------------------------


@pytest.mark.parametrize("on_error", ["log", "raise"])
def test_a_recorder_records_one_run(persistence: Persistence, on_error: Any) -> None:
    nested = persistence.record_run(agent_id="agent", run_id="nested", on_error=on_error)
    with nested:
        with pytest.raises(UnsupportedError, match=r"run nested .* was entered before"), nested:
            raise AssertionError("the block was entered")
        assert current_run() is nested
    with pytest.raises(UnsupportedError), nested:
        raise AssertionError("the block was entered")
    with persistence.record_run(agent_id="agent", run_id="next"):
        pass
    assert parents(persistence) == {"nested": None, "next": None}
    assert stored(persistence, "nested").status == "completed"
    assert types(persistence, "nested") == ["run_started", "run_completed"]


def test_an_awaited_recorder_records_one_run_too(persistence: Persistence) -> None:
    async def agent() -> None:
        nested = AsyncPersistence(persistence).record_run(agent_id="agent", run_id="nested")
        async with nested:
            with pytest.raises(UnsupportedError):
                await nested.__aenter__()
        with pytest.raises(UnsupportedError):
            await nested.__aenter__()

    asyncio.run(asyncio.wait_for(agent(), 20))
    assert types(persistence, "nested") == ["run_started", "run_completed"]


def test_one_of_two_threads_that_enter_a_recorder_is_refused(persistence: Persistence) -> None:
    for _ in range(20):
        run = persistence.record_run(agent_id="agent")
        together = threading.Barrier(2)

        def enter(run: RunRecorder = run, together: threading.Barrier = together) -> bool:
            together.wait()
            try:
                with run:
                    return True
            except UnsupportedError:
                return False

        with ThreadPoolExecutor(2) as threads:
            entered = [each.result() for each in [threads.submit(enter) for _ in range(2)]]
        assert sorted(entered) == [False, True]
        assert stored(persistence, run).status == "completed"


def test_a_tool_call_is_one_call(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="agent") as run:
        call = run.tool("search")
        with call:
            pass
        with pytest.raises(UnsupportedError), call:
            pass
    assert types(persistence, run).count("tool_call") == 1


# --- which run is the current one -------------------------------------------------------------


def test_the_current_run_is_the_innermost_one(persistence: Persistence) -> None:
    assert current_run() is None
    with persistence.record_run(agent_id="agent") as outer:
        assert current_run() is outer
        with persistence.record_run(agent_id="agent") as inner, inner.tool("search"):
            assert current_run() is inner
        assert current_run() is outer
        outer.finish()
        assert current_run() is None
    assert current_run() is None


def test_each_persistence_has_a_current_run_of_its_own(persistence: Persistence) -> None:
    other = InMemoryPersistence()
    with persistence.record_run(agent_id="agent", run_id="outer") as outer:
        with other.record_run(agent_id="agent", run_id="elsewhere") as elsewhere:
            assert current_run() is elsewhere
            assert current_run(persistence) is outer
            assert current_run(AsyncPersistence(persistence)) is outer
            with persistence.record_run(agent_id="agent", run_id="inner"):
                pass
        assert current_run(other) is None
    assert parents(other) == {"elsewhere": None}
    assert parents(persistence) == {"outer": None, "inner": "outer"}


def test_a_run_behind_a_buffer_is_a_parent_too(persistence: Persistence) -> None:
    buffered = persistence.buffered()
    with (
        buffered.record_run(agent_id="agent", run_id="outer"),
        persistence.record_run(agent_id="agent", run_id="inner"),
    ):
        buffered.flush()
    assert stored(persistence, "inner").parent_run_id == "outer"


def test_parent_none_starts_a_run_without_a_parent(persistence: Persistence) -> None:
    with (
        persistence.record_run(agent_id="agent", run_id="outer", session_id="talk"),
        persistence.record_run(agent_id="agent", run_id="alone", parent=None),
    ):
        pass
    assert parents(persistence) == {"outer": None, "alone": None}
    assert stored(persistence, "alone").session_id is None


def test_a_nested_run_belongs_to_the_session_of_its_parent(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="agent", session_id="talk") as outer:
        with persistence.record_run(agent_id="agent") as inner:
            inner.llm_call(model="m")
            with persistence.record_run(agent_id="agent", session_id="other") as other:
                pass
        named = persistence.record_run(agent_id="agent", parent=outer)
        thread = threading.Thread(target=lambda: named.__enter__().__exit__(None, None, None))
        thread.start()
        thread.join()
    assert [stored(persistence, run).session_id for run in (inner, other, named)] == [
        "talk",
        "other",
        "talk",
    ]
    assert len(persistence.query_llm_usage(session_id="talk")) == 1


# --- generators -------------------------------------------------------------------------------


def test_a_consumers_run_is_not_the_child_of_a_paused_generator(persistence: Persistence) -> None:
    def stream(name: str) -> Iterator[int]:
        with persistence.record_run(agent_id="writer", run_id=name):
            assert current_run().run_id == name  # type: ignore[union-attr]
            yield 1
            assert current_run().run_id == name  # type: ignore[union-attr]
            with persistence.record_run(agent_id="writer", run_id=f"below {name}"):
                yield 2

    first, second = stream("first"), stream("second")
    next(first)
    next(second)
    assert current_run() is None
    with persistence.record_run(agent_id="other", run_id="unrelated"):
        next(first)
        next(second)
        with persistence.record_run(agent_id="other", run_id="its child"):
            assert list(first) == []
    assert list(second) == []
    assert current_run() is None
    assert parents(persistence) == {
        "first": None,
        "second": None,
        "below first": "first",
        "below second": "second",
        "unrelated": None,
        "its child": "unrelated",
    }


def test_runs_of_a_generators_own_helpers_are_its_children(persistence: Persistence) -> None:
    def helper(name: str) -> Iterator[str]:
        with persistence.record_run(agent_id="agent", run_id=name):
            yield name

    def stream() -> Iterator[str]:
        with ExitStack() as stack:
            stack.enter_context(persistence.record_run(agent_id="agent", run_id="top"))
            for name in ("a", "b"):
                yield from helper(name)
                yield name

    for name in stream():
        with persistence.record_run(agent_id="consumer", session_id=name):
            pass
    found = parents(persistence)
    assert (found["a"], found["b"]) == ("top", "top")
    consumers = persistence.get_agent_runs("consumer", limit=None)
    assert [run.parent_run_id for run in consumers] == [None] * 4


def test_an_async_consumers_run_is_not_the_child_of_a_paused_generator(
    persistence: Persistence,
) -> None:
    async def record(name: str) -> None:
        with persistence.record_run(agent_id="agent", run_id=name):
            await asyncio.sleep(0)

    async def stream() -> AsyncIterator[int]:
        with persistence.record_run(agent_id="writer", run_id="stream"):
            yield 1
            await asyncio.gather(record("task a"), asyncio.create_task(record("task b")))
            await record("awaited")
            yield 2

    async def main() -> None:
        async for number in stream():
            await record(f"consumer {number}")
            await asyncio.create_task(record(f"task of consumer {number}"))

    asyncio.run(main())
    assert parents(persistence) == {
        "stream": None,
        "task a": "stream",
        "task b": "stream",
        "awaited": "stream",
        **{f"consumer {number}": None for number in (1, 2)},
        **{f"task of consumer {number}": None for number in (1, 2)},
    }


def test_an_awaited_run_in_a_paused_generator_becomes_no_parent(
    persistence: Persistence,
) -> None:
    awaited = AsyncPersistence(persistence)

    async def stream() -> AsyncIterator[int]:
        async with awaited.record_run(agent_id="writer", run_id="stream") as run:
            await run.log("thought")
            async with awaited.record_run(agent_id="writer", run_id="below"):
                pass
            yield 1

    async def main() -> None:
        async for _ in stream():
            async with awaited.record_run(agent_id="agent", run_id="consumer"):
                pass

    asyncio.run(main())
    assert parents(persistence) == {"stream": None, "below": "stream", "consumer": None}


def test_a_run_in_a_context_manager_is_the_parent_of_records_in_its_block(
    persistence: Persistence,
) -> None:
    @contextmanager
    def recorded(name: str) -> Iterator[None]:
        with persistence.record_run(agent_id="agent", run_id=name):
            yield

    @asynccontextmanager
    async def recorded_too(name: str) -> AsyncIterator[None]:
        with persistence.record_run(agent_id="agent", run_id=name):
            yield

    async def main() -> None:
        async with recorded_too("async"):
            with persistence.record_run(agent_id="agent", run_id="below async"):
                pass

    with recorded("sync"), persistence.record_run(agent_id="agent", run_id="below sync"):
        pass
    asyncio.run(main())
    found = parents(persistence)
    assert (found["below sync"], found["below async"]) == ("sync", "async")


def test_a_context_manager_in_a_paused_generator_becomes_no_parent(
    persistence: Persistence,
) -> None:
    @contextmanager
    def recorded(name: str) -> Iterator[None]:
        with persistence.record_run(agent_id="agent", run_id=name):
            yield

    def stream() -> Iterator[int]:
        with recorded("stream"):
            yield 1

    for _ in stream():
        with persistence.record_run(agent_id="agent", run_id="consumer"):
            pass
    assert parents(persistence) == {"stream": None, "consumer": None}


def test_a_garbage_collected_generator_ends_its_run(persistence: Persistence) -> None:
    def stream() -> Iterator[int]:
        with persistence.record_run(agent_id="agent", run_id="run"):
            yield 1

    next(stream())
    assert stored(persistence, "run").status == "cancelled"


# --- processes --------------------------------------------------------------------------------


@pytest.mark.usefixtures("lasting")
def test_a_forked_child_is_in_the_run_but_does_not_end_it(persistence: Persistence) -> None:
    with persistence.record_run(agent_id="agent", run_id="run") as run:
        child = os.fork()
        if child == 0:
            failed = True
            try:
                with run:  # A second entry is refused, so the run is read in another way.
                    pass
            except UnsupportedError:
                failed = current_run() is not run
            finally:
                try:
                    run.__exit__(ValueError, ValueError("no"), None)
                finally:
                    os._exit(failed)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert stored(persistence, run).status == "running"
    assert types(persistence, run) == ["run_started", "run_completed"]


@pytest.mark.usefixtures("lasting")
def test_a_forked_child_ends_the_blocks_that_it_entered_and_no_others(
    persistence: Persistence,
) -> None:
    with persistence.record_run(agent_id="agent", run_id="run") as run, run.tool("outer") as outer:
        child = os.fork()
        if child == 0:
            try:
                with run.tool("inner"):
                    pass
                outer.__exit__(ValueError, ValueError("no"), None)
            finally:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    calls = persistence.get_agent_run_stats()["tool_metrics"]
    assert {name: (c["call_count"], c["error_count"]) for name, c in calls.items()} == {
        "inner": (1, 0),
        "outer": (1, 0),
    }


def test_a_context_copied_into_a_thread_contains_the_run(persistence: Persistence) -> None:
    found: list[RunRecorder | None] = []
    with persistence.record_run(agent_id="agent") as run:
        context = contextvars.copy_context()
        for run_it in (lambda see: see(), context.run):
            thread = threading.Thread(target=run_it, args=(lambda: found.append(current_run()),))
            thread.start()
            thread.join()
    assert found == [None, run]


def test_tasks_see_the_run_that_they_were_started_in(persistence: Persistence) -> None:
    async def see() -> RunRecorder | None:
        await asyncio.sleep(0)
        return current_run()

    async def main() -> list[RunRecorder | None]:
        with persistence.record_run(agent_id="agent"):
            tasks: list[Awaitable[RunRecorder | None]] = [asyncio.create_task(see()), see()]
            return list(await asyncio.gather(*tasks))

    seen = asyncio.run(main())
    assert [None if run is None else run.agent_run.agent_id for run in seen] == ["agent", "agent"]


def test_the_current_run_of_awaited_code_is_awaited(persistence: Persistence) -> None:
    awaited = AsyncPersistence(persistence)

    async def helper() -> None:
        run = aio.current_run()
        assert run is not None
        await run.log("from far below")

    async def main() -> None:
        assert aio.current_run() is None
        async with awaited.record_run(agent_id="agent", run_id="run") as run:
            assert aio.current_run(awaited) is run
            await asyncio.create_task(helper())
        with persistence.record_run(agent_id="agent"):
            assert aio.current_run() is None

    asyncio.run(main())
    assert "from far below" in types(persistence, "run")
