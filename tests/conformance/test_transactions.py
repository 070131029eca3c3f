"""A write that returns is committed, one that raises stores nothing; a transaction groups them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    ConflictError,
    InvalidValueError,
    NotFoundError,
    Persistence,
    PersistenceError,
    UnsupportedError,
)
from tests.support.hands import Hands
from tests.support.records import everything

Open = Callable[[], Persistence]


class Stop(Exception):
    pass


@contextmanager
def undone(persistence: Persistence) -> Iterator[None]:
    """A transaction that is rolled back."""
    with suppress(Stop), persistence.transaction():
        yield
        raise Stop


def run_ids(persistence: Persistence) -> list[str]:
    return [run.run_id for run in reversed(persistence.get_agent_runs(limit=None))]


@pytest.mark.usefixtures("lasting")
def test_a_returned_write_is_visible_to_others_and_outlives_its_writer(open_again: Open) -> None:
    writer, reader = open_again(), open_again()
    writer.create_agent_run(AgentRun("agent", "a"))
    assert run_ids(reader) == ["a"]
    with writer.transaction():
        writer.create_agent_run(AgentRun("agent", "b"))
        assert run_ids(reader) == ["a"]
    assert run_ids(reader) == ["a", "b"]
    writer.close()
    assert run_ids(open_again()) == ["a", "b"]


def test_a_transaction_that_raises_rolls_back_every_kind_of_write(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("agent", "kept", objective="before"))
    persistence.create_agent_run(AgentRun("agent", "child", parent_run_id="kept"))
    persistence.log_agent_run_event(AgentRunEvent("agent", "kept", data="an event"))
    persistence.log_llm_usage(AgentLLMUsage("agent", "kept", prompt="a prompt"))
    before = everything(persistence), persistence.get_agent_run_stats()
    with undone(persistence):
        persistence.create_agent_run(AgentRun("agent", "new"))
        persistence.update_agent_run("kept", AgentRun("agent", "kept", objective="after"))
        persistence.log_agent_run_event(AgentRunEvent("agent", "stub"))
        persistence.log_llm_usage(AgentLLMUsage("agent", "new"))
        persistence.delete_agent_run("kept")
        persistence.runs.abandon(older_than=timedelta(0))
    assert (everything(persistence), persistence.get_agent_run_stats()) == before


def test_an_interrupt_rolls_back_the_transaction_and_propagates(persistence: Persistence) -> None:
    def interrupted() -> None:
        with persistence.transaction():
            persistence.create_agent_run(AgentRun("agent", "a"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert run_ids(persistence) == []


def test_reads_inside_a_transaction_see_its_writes(persistence: Persistence, clock: Hands) -> None:
    with persistence.transaction():
        persistence.create_agent_run(AgentRun("agent", "run", status="running"))
        persistence.log_agent_run_event(AgentRunEvent("agent", "run"))
        persistence.log_llm_usage(AgentLLMUsage("agent", "run", input_tokens=3))
        assert persistence.get_agent_run("run") == persistence.get_agent_runs()[0]
        assert len(persistence.get_agent_run_events("run")) == 1
        assert len(persistence.get_llm_usage(run_id="run")) == 1
        assert persistence.get_agent_run_stats()["total_input_tokens"] == 3
        clock.move(hours=1)
        [left] = persistence.runs.stale(older_than=timedelta(minutes=59))
        assert left.run_id == "run"
        assert persistence.delete_agent_run("run")
        assert persistence.get_agent_run("run") is None


def test_nested_transactions_are_rolled_back_alone_and_with_the_outer_one(
    persistence: Persistence,
) -> None:
    with persistence.transaction():
        persistence.create_agent_run(AgentRun("agent", "a"))
        with undone(persistence):
            persistence.create_agent_run(AgentRun("agent", "b"))
            with persistence.transaction():
                persistence.create_agent_run(AgentRun("agent", "c"))
        with persistence.transaction():
            persistence.create_agent_run(AgentRun("agent", "d"))
            with undone(persistence):
                persistence.create_agent_run(AgentRun("agent", "e"))
        assert run_ids(persistence) == ["a", "d"]
    assert run_ids(persistence) == ["a", "d"]


@pytest.mark.parametrize(
    ("error", "write"),
    [
        (ConflictError, lambda p: p.create_agent_run(AgentRun("agent", "a"))),
        (NotFoundError, lambda p: p.update_agent_run("x", AgentRun("agent", "x"))),
        (InvalidValueError, lambda p: p.log_agent_run_event(AgentRunEvent("agent", ""))),
        (InvalidValueError, lambda p: p.log_llm_usage(AgentLLMUsage("agent", None, status=""))),
    ],
    ids=["conflict", "not found", "an event refused", "usage refused"],
)
def test_a_failed_write_does_not_affect_the_others(
    persistence: Persistence, error: type[PersistenceError], write: Callable[[Persistence], None]
) -> None:
    with persistence.transaction():
        persistence.create_agent_run(AgentRun("agent", "a"))
        with pytest.raises(error):
            write(persistence)
        persistence.create_agent_run(AgentRun("agent", "b"))
        persistence.log_agent_run_event(AgentRunEvent("agent", "c"))
    assert run_ids(persistence) == ["a", "b", "c"]
    assert persistence.get_llm_usage() == []


def test_rolled_back_records_can_be_written_again(persistence: Persistence) -> None:
    run, event = AgentRun("agent", "a"), AgentRunEvent("agent", "b")
    with undone(persistence):
        persistence.create_agent_run(run)
        persistence.log_agent_run_event(event)
    persistence.create_agent_run(run)
    persistence.log_agent_run_event(event)
    assert run_ids(persistence) == ["a", "b"]
    assert persistence.get_agent_run("a") == run
    assert persistence.get_agent_run_events("b") == [event]


def test_other_threads_never_see_rolled_back_records(persistence: Persistence) -> None:
    inside, seen = threading.Event(), []

    def look() -> None:
        inside.wait()
        seen.extend(run_ids(persistence))

    with ThreadPoolExecutor(1) as threads:
        looking = threads.submit(look)
        with undone(persistence):
            persistence.create_agent_run(AgentRun("agent", "a"))
            inside.set()
        looking.result()
    assert seen == []


def test_writes_of_other_threads_are_not_part_of_a_transaction(persistence: Persistence) -> None:
    started = threading.Event()

    def write() -> None:
        started.set()
        persistence.create_agent_run(AgentRun("agent", "other"))

    with ThreadPoolExecutor(1) as threads:
        with undone(persistence):
            persistence.create_agent_run(AgentRun("agent", "mine"))
            written = threads.submit(write)
            started.wait()
        written.result()
    assert run_ids(persistence) == ["other"]


def test_it_cannot_be_closed_inside_a_transaction(persistence: Persistence) -> None:
    with persistence.transaction():
        persistence.create_agent_run(AgentRun("agent", "a"))
        with pytest.raises(UnsupportedError, match="transaction"):
            persistence.close()
    assert run_ids(persistence) == ["a"]


def test_another_task_of_the_thread_cannot_write_into_a_transaction(
    persistence: Persistence,
) -> None:
    """Its writes would return, and then be rolled back with a transaction of another task."""

    async def begin_and_give_up() -> None:
        with persistence.transaction():
            persistence.create_agent_run(AgentRun("agent", "undone"))
            await asyncio.sleep(0)
            raise Stop

    async def write() -> None:
        persistence.create_agent_run(AgentRun("agent", "other"))

    async def both() -> list[BaseException | None]:
        return await asyncio.gather(begin_and_give_up(), write(), return_exceptions=True)

    assert [type(result) for result in asyncio.run(both())] == [Stop, UnsupportedError]
    assert persistence.get_agent_runs() == []
    asyncio.run(write())
    assert [run.run_id for run in persistence.get_agent_runs()] == ["other"]


def test_transactions_that_end_out_of_order_are_rolled_back(
    persistence: Persistence,
) -> None:
    def transaction(run_id: str) -> Iterator[None]:
        with persistence.transaction():
            persistence.create_agent_run(AgentRun("agent", run_id))
            yield

    first, second = transaction("first"), transaction("second")
    next(first)
    next(second)
    for generator in (first, second):
        with pytest.raises(UnsupportedError):
            next(generator)
    persistence.create_agent_run(AgentRun("agent", "after"))
    with ThreadPoolExecutor(1) as thread:
        thread.submit(persistence.create_agent_run, AgentRun("agent", "elsewhere")).result()
    assert {run.run_id for run in persistence.get_agent_runs()} == {"after", "elsewhere"}


@contextmanager
def hands(*names: str) -> Iterator[list[ThreadPoolExecutor]]:
    """Threads that make the calls passed to them, like those of a web framework."""
    with ExitStack() as stack:
        yield [stack.enter_context(ThreadPoolExecutor(1, name)) for name in names]


def test_a_transaction_left_in_another_thread_is_rolled_back(
    persistence: Persistence,
) -> None:
    with hands("a", "b", "c") as (a, b, c):
        left = persistence.transaction()
        a.submit(left.__enter__).result()
        a.submit(persistence.create_agent_run, AgentRun("agent", "undone")).result()
        with pytest.raises(UnsupportedError, match="entered in another thread"):
            b.submit(left.__exit__, None, None, None).result()
        assert run_ids(persistence) == []
        a.submit(persistence.create_agent_run, AgentRun("agent", "later")).result()
        assert run_ids(persistence) == ["later"]
        c.submit(persistence.create_agent_run, AgentRun("agent", "elsewhere")).result()
        with persistence.transaction():
            persistence.create_agent_run(AgentRun("agent", "in another one"))
    assert run_ids(persistence) == ["later", "elsewhere", "in another one"]


def test_a_transaction_that_fails_in_another_thread_raises_its_own_error(
    persistence: Persistence,
) -> None:
    with hands("a", "b") as (a, b):
        left = persistence.transaction()
        a.submit(left.__enter__).result()
        a.submit(persistence.create_agent_run, AgentRun("agent", "undone")).result()
        assert not b.submit(left.__exit__, Stop, Stop(), None).result()
        a.submit(persistence.create_agent_run, AgentRun("agent", "later")).result()
    assert run_ids(persistence) == ["later"]


def test_a_nested_transaction_left_in_another_thread_is_rolled_back_alone(
    persistence: Persistence,
) -> None:
    with hands("a", "b") as (a, b):
        outer, inner = persistence.transaction(), persistence.transaction()
        a.submit(outer.__enter__).result()
        a.submit(persistence.create_agent_run, AgentRun("agent", "outer")).result()
        a.submit(inner.__enter__).result()
        a.submit(persistence.create_agent_run, AgentRun("agent", "inner")).result()
        with pytest.raises(UnsupportedError, match="entered in another thread"):
            b.submit(inner.__exit__, None, None, None).result()
        a.submit(persistence.create_agent_run, AgentRun("agent", "outer again")).result()
        a.submit(outer.__exit__, None, None, None).result()
    assert run_ids(persistence) == ["outer", "outer again"]


def test_a_nested_transaction_that_outlives_the_outer_one_raises(
    persistence: Persistence,
) -> None:
    with hands("a", "b") as (a, b):
        outer, inner = persistence.transaction(), persistence.transaction()
        a.submit(outer.__enter__).result()
        a.submit(inner.__enter__).result()
        with pytest.raises(UnsupportedError):
            b.submit(outer.__exit__, None, None, None).result()
        a.submit(persistence.create_agent_run, AgentRun("agent", "later")).result()
        with pytest.raises(UnsupportedError):
            a.submit(inner.__exit__, None, None, None).result()
    assert run_ids(persistence) == ["later"]
