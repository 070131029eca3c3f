"""Appends return at once and are stored a moment later; every other call finds them stored."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    BasePersistence,
    BufferedPersistence,
    ClosedError,
    ConfigurationError,
    ConflictError,
    InvalidValueError,
    Persistence,
    UnsupportedError,
)
from curio_persistence.testing import PublishedContract
from tests.backends.conftest import wait_until
from tests.support.hands import Hands
from tests.support.threads import transaction_elsewhere

Open = Callable[[], Persistence]

NEVER = 3600.0
WRITER = "curio-write-behind"


@pytest.fixture
def buffered(persistence: Persistence) -> Iterator[BufferedPersistence]:
    """Stores only if the queue is full or a call needs it."""
    persistence.create_agent_run(AgentRun("agent", "run"))
    with persistence.buffered(max_seconds=NEVER) as buffered:
        yield buffered


def log(persistence: Persistence, data: object = None, run_id: str = "run") -> AgentRunEvent:
    event = AgentRunEvent("agent", run_id, event_type="custom", data=data)
    persistence.log_agent_run_event(event)
    return event


def logged(persistence: Persistence, run_id: str = "run") -> list[str]:
    return [event.data for event in persistence.get_agent_run_events(run_id)]


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


# --- appending ------------------------------------------------------------------------------------


def test_an_append_is_queued_and_stored_by_flush(
    persistence: Persistence, buffered: BufferedPersistence
) -> None:
    event, usage = log(buffered), AgentLLMUsage("agent", "run")
    buffered.log_llm_usage(usage)
    assert (event.id, usage.id, buffered.pending) == (None, None, 2)
    assert (logged(persistence), persistence.get_llm_usage()) == ([], [])
    buffered.flush()
    assert buffered.pending == 0
    [stored], [stored_usage] = persistence.get_agent_run_events("run"), persistence.get_llm_usage()
    assert (stored, stored_usage) == (with_id(event, stored), with_id(usage, stored_usage))


def with_id(record: Any, stored: Any) -> Any:
    """The record with an id, the only field that a queued one lacks."""
    record.id = stored.id
    return record


def test_times_and_costs_are_those_of_the_call(
    persistence: Persistence, buffered: BufferedPersistence, clock: Hands
) -> None:
    noon = datetime(2100, 11, 20, 12, tzinfo=UTC)
    clock.put(noon)
    event = log(buffered)
    usage = AgentLLMUsage("agent", None, usage_metrics={"cost_usd": 0.5})
    buffered.log_llm_usage(usage)
    assert (event.timestamp, event.created_at) == (noon, noon)
    assert (usage.created_at, usage.cost_usd) == (noon, Decimal("0.5"))
    clock.move(hours=1)
    buffered.flush()
    [stored] = persistence.get_agent_run_events("run")
    assert (stored.timestamp, stored.created_at) == (noon, noon)


def test_changing_a_record_after_it_was_appended_changes_nothing_stored(
    persistence: Persistence, buffered: BufferedPersistence
) -> None:
    data = {"step": 1}
    event = log(buffered, data)
    data["step"] = 2
    event.run_id = "another"
    buffered.flush()
    assert logged(persistence) == ['{"step": 1}']


@pytest.mark.before_io
@pytest.mark.parametrize(
    "append",
    [
        lambda p: p.log_agent_run_event(AgentRunEvent("agent", "")),
        lambda p: p.log_llm_usage(AgentLLMUsage("agent", "run", status="")),
        lambda p: p.log_agent_run_events([AgentRunEvent("agent", "run"), AgentRunEvent("", "run")]),
        lambda p: p.log_llm_usages([AgentLLMUsage("agent", "run", input_tokens=2**63)]),
    ],
)
def test_an_invalid_record_is_refused_by_the_call(
    buffered: BufferedPersistence, append: Callable[[Persistence], object]
) -> None:
    with pytest.raises(InvalidValueError):
        append(buffered)
    assert (buffered.pending, buffered.dropped) == (0, {})


def test_records_are_stored_in_the_order_of_their_appends(
    persistence: Persistence, buffered: BufferedPersistence
) -> None:
    """All events have the same time, so that only the order of storing distinguishes them."""
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    for number in range(100):
        buffered.log_agent_run_event(AgentRunEvent("agent", "run", "", noon, data=str(number)))
        usage = AgentLLMUsage("agent", "run", prompt=str(number), created_at=noon)
        buffered.log_llm_usage(usage)
    buffered.flush()
    assert logged(persistence) == numbers(100)
    calls = persistence.get_llm_usage(limit=None)
    assert [call.prompt for call in reversed(calls)] == numbers(100)


def test_an_unknown_run_gets_its_stub(
    persistence: Persistence, buffered: BufferedPersistence
) -> None:
    log(buffered, run_id="unknown")
    assert persistence.get_agent_run("unknown") is None
    buffered.create_agent_run(AgentRun("agent", "unknown", objective="filled in"))
    run = persistence.get_agent_run("unknown")
    assert run is not None
    assert run.objective == "filled in"
    assert len(persistence.get_agent_run_events("unknown")) == 1


# --- batches --------------------------------------------------------------------------------------


def events(count: int, **fields: Any) -> list[AgentRunEvent]:
    return [AgentRunEvent("agent", "run", data=str(n), **fields) for n in range(count)]


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_a_batch_is_queued_too(
    persistence: Persistence, buffered: BufferedPersistence, count: int
) -> None:
    batch = events(count)
    with transaction_elsewhere(persistence):
        log(buffered, run_id="held")
        assert buffered.log_agent_run_events(batch) == count
        assert [event.id for event in batch] == [None] * count
        assert None not in [event.timestamp for event in batch]
        assert buffered.pending == count + 1
    buffered.flush()
    assert logged(persistence) == numbers(count)


def test_a_batch_of_more_than_a_thousand_is_stored_at_once(
    persistence: Persistence, buffered: BufferedPersistence
) -> None:
    log(buffered, "before")
    batch = events(1001)
    assert buffered.log_agent_run_events(batch) == 1001
    assert logged(persistence) == ["before", *numbers(1001)]
    assert None not in [event.id for event in batch]


def test_a_batch_of_more_than_the_queue_takes_is_stored_at_once(persistence: Persistence) -> None:
    with persistence.buffered(max_items=3, max_seconds=NEVER) as buffered:
        log(buffered, "before")
        buffered.log_agent_run_events(events(4))
        assert logged(persistence) == ["before", *numbers(4)]


def test_an_empty_batch_is_nothing(buffered: BufferedPersistence) -> None:
    assert buffered.log_agent_run_events([]) == 0
    assert buffered.pending == 0


def test_a_record_sent_twice_is_stored_once(
    persistence: Persistence, buffered: BufferedPersistence
) -> None:
    for _ in range(2):
        buffered.log_agent_run_events(
            [AgentRunEvent("agent", "run", event_id=name) for name in "ab"]
        )
        buffered.log_agent_run_event(AgentRunEvent("agent", "run", event_id="c"))
    assert buffered.pending == 6
    buffered.flush()
    stored = persistence.get_agent_run_events("run")
    assert [event.event_id for event in stored] == ["a", "b", "c"]
    assert buffered.dropped == {}


def test_a_conflict_error_is_raised_by_the_call(
    persistence: Persistence, buffered: BufferedPersistence
) -> None:
    buffered.log_agent_run_event(AgentRunEvent("agent", "run", data="this", event_id="a"))
    with pytest.raises(ConflictError):
        buffered.log_agent_run_events(
            [AgentRunEvent("agent", "run", data="that", event_id="a")], on_conflict="error"
        )
    new = [AgentRunEvent("agent", "run", data="more", event_id="b")]
    buffered.log_agent_run_events(new, on_conflict="error")
    assert logged(persistence) == ["this", "more"]
    assert new[0].id is not None


# --- other calls ----------------------------------------------------------------------------------

CALLS: dict[str, Callable[[Persistence], object]] = {
    "create_agent_run": lambda p: p.create_agent_run(AgentRun("agent", "new")),
    "create_agent_runs": lambda p: p.create_agent_runs([AgentRun("agent", "new")]),
    "update_agent_run": lambda p: p.update_agent_run("run", AgentRun("agent", "run")),
    "get_agent_run": lambda p: p.get_agent_run("run"),
    "get_agent_runs": lambda p: p.get_agent_runs(),
    "get_agent_run_events": lambda p: p.get_agent_run_events("run"),
    "get_llm_usage": lambda p: p.get_llm_usage(),
    "get_agent_run_stats": lambda p: p.get_agent_run_stats(),
    "health_check": lambda p: p.health_check(),
    "diagnose": lambda p: p.diagnose(),
    "transaction": lambda p: p.transaction().__enter__(),
    "runs.abandon": lambda p: p.runs.abandon(older_than=timedelta(0)),
}


@pytest.mark.parametrize("name", CALLS)
def test_any_other_call_first_stores_the_queue(
    persistence: Persistence, buffered: BufferedPersistence, name: str
) -> None:
    log(buffered, "before")
    kept: Any = CALLS[name](buffered)  # A transaction ends when it is garbage-collected.
    assert buffered.pending == 0
    del kept
    assert logged(persistence) == ["before"]


def test_deleting_a_run_deletes_its_queued_records(
    persistence: Persistence, buffered: BufferedPersistence
) -> None:
    log(buffered)
    assert buffered.delete_agent_run("run") is True
    buffered.flush()
    assert (persistence.get_agent_runs(), logged(persistence)) == ([], [])


def test_reading_without_a_queue_starts_no_thread(
    persistence: Persistence, buffered: BufferedPersistence
) -> None:
    buffered.get_agent_runs()
    buffered.flush()
    assert not writers()


def writers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == WRITER]


class Stop(Exception):
    pass


def test_in_a_transaction_appends_are_part_of_it(
    persistence: Persistence, buffered: BufferedPersistence
) -> None:
    log(buffered, "before")
    with suppress(Stop), buffered.transaction():
        event = log(buffered, "undone")
        buffered.log_agent_run_events(events(2))
        assert event.id is not None
        assert logged(buffered) == ["before", "undone", "0", "1"]
        raise Stop
    with buffered.transaction():
        log(buffered, "inside")
        with suppress(Stop), buffered.transaction():
            log(buffered, "undone, too")
            raise Stop
        log(buffered, "of a stub", run_id="unknown")
    assert buffered.pending == 0
    assert logged(persistence) == ["before", "inside"]
    assert logged(persistence, "unknown") == ["of a stub"]


def test_appends_of_other_threads_are_not_part_of_a_transaction(
    persistence: Persistence, buffered: BufferedPersistence
) -> None:
    other = threading.Thread(target=log, args=(buffered, "other's"))
    with suppress(Stop), buffered.transaction():
        log(buffered, "undone")
        other.start()
        other.join()
        assert logged(buffered) == ["undone"]
        raise Stop
    assert buffered.pending == 1
    assert logged(buffered) == ["other's"]


@pytest.mark.parametrize("name", ["flush", "close"])
def test_a_transaction_cannot_wait_for_the_queue(buffered: BufferedPersistence, name: str) -> None:
    with buffered.transaction():
        log(buffered, "inside")
        with pytest.raises(UnsupportedError, match="end it before"):
            getattr(buffered, name)()
    assert logged(buffered) == ["inside"]


def test_another_task_cannot_write_into_a_transaction(buffered: BufferedPersistence) -> None:
    async def begin() -> None:
        with buffered.transaction():
            await asyncio.sleep(0)

    async def both() -> list[Any]:
        append = asyncio.to_thread(log, buffered, "of another thread")
        return await asyncio.gather(begin(), slip_in(), append, return_exceptions=True)

    async def slip_in() -> None:
        log(buffered, "slipped in")

    _, refused, _ = asyncio.run(both())
    assert isinstance(refused, UnsupportedError)
    assert logged(buffered) == ["of another thread"]


# --- when it is stored ----------------------------------------------------------------------------


def test_a_record_waits_no_longer_than_max_seconds(persistence: Persistence) -> None:
    with persistence.buffered(max_seconds=0.05) as buffered:
        for number in range(3):
            log(buffered, number)
            wait_until(lambda: not buffered.pending)
            assert logged(persistence) == numbers(number + 1)


def test_a_queue_that_is_half_full_is_stored_at_once(persistence: Persistence) -> None:
    with persistence.buffered(max_items=10, max_seconds=NEVER) as buffered:
        for number in range(6):
            log(buffered, number)
        wait_until(lambda: len(logged(persistence)) >= 5)


def test_a_call_waits_for_space_in_a_full_queue(persistence: Persistence) -> None:
    done: list[int] = []

    def work() -> None:
        for number in range(30):
            log(buffered, number, "held")
            done.append(number)

    with persistence.buffered(max_items=10, max_seconds=NEVER) as buffered:
        worker = threading.Thread(target=work)
        with transaction_elsewhere(persistence):
            worker.start()
            wait_until(lambda: buffered._queue._waiters)
            assert (len(done), buffered.pending) == (10, 10)
        worker.join()
        assert logged(buffered, "held") == numbers(30)
        assert buffered.dropped == {}


def test_a_call_waits_for_space_in_a_queue_of_many_bytes(persistence: Persistence) -> None:
    big, done = "x" * 100_000, []

    def work() -> None:
        for number in range(20):
            log(buffered, f"{number} {big}", "held")
            done.append(number)

    with persistence.buffered(max_bytes=1_000_000, max_seconds=NEVER) as buffered:
        worker = threading.Thread(target=work)
        with transaction_elsewhere(persistence):
            worker.start()
            wait_until(lambda: buffered._queue._waiters)
            assert (len(done), buffered.pending) == (9, 9)
        worker.join()
        assert [data.split()[0] for data in logged(buffered, "held")] == numbers(20)
        assert buffered.dropped == {}


def test_a_record_of_more_bytes_than_the_queue_takes_is_stored_at_once(
    persistence: Persistence,
) -> None:
    with persistence.buffered(max_bytes=100_000, max_seconds=NEVER) as buffered:
        log(buffered, "before")
        log(buffered, "x" * 100_000)
        assert [len(data) for data in logged(persistence)] == [6, 100_000]


def test_an_append_in_a_transaction_of_the_persistence_underneath_is_part_of_it(
    persistence: Persistence, buffered: BufferedPersistence
) -> None:
    with suppress(Stop), persistence.transaction():
        log(buffered, "undone")
        assert logged(buffered) == ["undone"]
        raise Stop
    assert (buffered.pending, logged(buffered)) == (0, [])


def test_a_transaction_ended_by_another_thread_leaves_its_thread_queueing(
    persistence: Persistence, buffered: BufferedPersistence
) -> None:
    transaction = buffered.transaction()
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        first.submit(transaction.__enter__).result()
        with pytest.raises(UnsupportedError, match="another thread"):
            second.submit(transaction.__exit__, None, None, None).result()
        event = first.submit(log, buffered, "later").result()
        assert (event.id, buffered.pending) == (None, 1)
        first.submit(buffered.flush).result()
    assert logged(persistence) == ["later"]


def test_a_batch_waits_for_space_as_a_whole(persistence: Persistence) -> None:
    batch = [AgentRunEvent("agent", "held", data=str(number)) for number in range(5)]
    with persistence.buffered(max_items=10, max_seconds=NEVER) as buffered:
        worker = threading.Thread(target=buffered.log_agent_run_events, args=(batch,))
        with transaction_elsewhere(persistence):
            for number in range(6):
                log(buffered, number, "held")
            worker.start()
            wait_until(lambda: buffered._queue._waiters)
            assert buffered.pending == 6
        worker.join()
        assert logged(buffered, "held") == [*numbers(6), *numbers(5)]


def test_a_record_that_does_not_fit_is_dropped_counted_and_logged_once(
    persistence: Persistence, caplog: pytest.LogCaptureFixture
) -> None:
    with persistence.buffered(max_items=10, max_seconds=NEVER, overflow="drop") as buffered:
        with transaction_elsewhere(persistence):
            for number in range(8):
                log(buffered, number, "held")
            buffered.log_agent_run_events(events(3))  # All or none.
            for number in range(8, 12):
                log(buffered, number, "held")
            assert buffered.dropped == {"overflow": 5}
        assert logged(buffered, "held") == numbers(10)
        assert logged(buffered) == []
        [check] = (each for each in buffered.diagnose() if each.name == "buffer")
    assert (check.name, check.level) == ("buffer", "warning")
    assert "5 by overflow" in check.message
    [record] = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert (record.name, "overflow" in record.getMessage()) == ("curio_persistence", True)


def test_records_of_many_threads_are_stored_once_and_in_order_for_each_thread(
    persistence: Persistence,
) -> None:
    threads, each = 8, 400

    def work(name: int) -> None:
        for number in range(each):
            log(buffered, f"{name} {number}")

    with persistence.buffered(max_items=100) as buffered:
        workers = [threading.Thread(target=work, args=(name,)) for name in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        stored = [data.split() for data in logged(buffered)]
        assert buffered.dropped == {}
    for name in range(threads):
        assert [int(number) for who, number in stored if who == str(name)] == list(range(each))


def test_records_dropped_by_many_threads_are_counted_exactly(persistence: Persistence) -> None:
    threads, each = 8, 500

    def work() -> None:
        for number in range(each):
            log(buffered, number)

    with persistence.buffered(max_items=50, max_seconds=0, overflow="drop") as buffered:
        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        stored = len(logged(buffered))
        assert stored + buffered.dropped.get("overflow", 0) == threads * each


# --- the end --------------------------------------------------------------------------------------


def test_close_stores_the_queue_and_closes_both(
    open_again: Open, persistence: Persistence, buffered: BufferedPersistence
) -> None:
    log(buffered, "last")
    buffered.close()
    buffered.close()
    assert not writers()
    for closed in (persistence, buffered):
        assert closed.health_check() is False
        with pytest.raises(ClosedError):
            log(closed)
        with pytest.raises(ClosedError):
            closed.log_agent_run_events(events(3))
    assert buffered.dropped == {}


@pytest.mark.usefixtures("lasting")
def test_records_stored_by_close_are_there_after_reopening(
    open_again: Open, buffered: BufferedPersistence
) -> None:
    log(buffered, "last")
    buffered.close()
    assert logged(open_again()) == ["last"]


def test_closing_an_unused_persistence_starts_no_thread(persistence: Persistence) -> None:
    buffered = persistence.buffered()
    buffered.close()
    assert persistence.health_check() is False


@pytest.mark.usefixtures("lasting")
def test_an_append_that_returned_during_close_is_stored(open_again: Open) -> None:
    returned: list[str] = []

    def work(name: int) -> None:
        with suppress(ClosedError):
            for number in range(1_000_000):
                log(buffered, f"{name} {number}")
                returned.append(f"{name} {number}")

    buffered = open_again().buffered(max_seconds=0)
    workers = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for worker in workers:
        worker.start()
    wait_until(lambda: len(returned) > 200)
    buffered.close()
    for worker in workers:
        worker.join()
    stored = logged(open_again())
    assert buffered.dropped == {}
    assert set(returned) <= set(stored)
    assert len(set(stored)) == len(stored) <= len(returned) + len(workers), "each one's last"


@pytest.mark.slow
def test_a_garbage_collected_one_stores_its_queue_and_leaves_no_thread(
    persistence: Persistence,
) -> None:
    buffered = persistence.buffered(max_seconds=NEVER)
    log(buffered, "last")
    queue = weakref.ref(buffered._queue)
    del buffered
    gc.collect()
    wait_until(lambda: not writers())
    assert logged(persistence) == ["last"]
    gc.collect()
    assert queue() is None


def test_its_capabilities_outlive_it(persistence: Persistence) -> None:
    events = persistence.buffered(max_seconds=NEVER).events
    gc.collect()
    events.log(AgentRunEvent("agent", "run", data="through a capability"))
    assert logged(persistence) == []
    assert [event.data for event in events.list("run")] == ["through a capability"]


# --- being a persistence --------------------------------------------------------------------------


def test_its_repr_says_what_and_where_it_is(
    persistence: Persistence, buffered: BufferedPersistence
) -> None:
    assert repr(buffered) == f"BufferedPersistence(BufferedStore({persistence._store!r}))"
    assert buffered.location == persistence.location
    assert buffered.schema_version() == persistence.schema_version()
    assert buffered._store.dialect == persistence._store.dialect
    assert ("buffer", "ok") in [check[:2] for check in buffered.diagnose()]
    buffered.initialize_schema()


def test_its_store_forwards_every_call_that_a_backend_may_override(
    persistence: Persistence, buffered: BufferedPersistence
) -> None:
    """A call not forwarded would work, but more slowly, through the other calls."""
    backend, buffer = type(persistence._store), type(buffered._store)
    base = buffer.__base__
    assert base is not None
    methods = {name for name in dir(base) if not name.startswith("_")}
    own = {name for name in methods if getattr(backend, name) is not getattr(base, name)}
    assert own <= vars(buffer).keys()


def test_one_queue_is_enough(buffered: BufferedPersistence) -> None:
    with pytest.raises(UnsupportedError, match="buffered already"):
        buffered.buffered()


@pytest.mark.before_io
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("max_items", 0),
        ("max_items", 1.5),
        ("max_items", True),
        ("max_bytes", 0),
        ("max_seconds", -1),
        ("max_seconds", "1"),
        ("max_seconds", float("nan")),
        ("overflow", "raise"),
    ],
)
def test_invalid_settings_are_refused(persistence: Persistence, setting: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=setting):
        persistence.buffered(**{setting: value})
    assert persistence.health_check()


def test_an_agent_is_recorded_through_it(persistence: Persistence) -> None:
    with persistence.buffered(max_seconds=NEVER) as buffered:
        with buffered.record_run(agent_id="agent", run_id="recorded") as run:
            with run.tool("search", {"q": "?"}) as call:
                call.result = "found"
            run.llm_call(model="m", prompt="?", response="!", input_tokens=1, output_tokens=2)
            assert buffered.pending == 5
            run.finish("done")
        assert run.dropped == 0
        found = buffered.get_agent_run("recorded")
        assert found is not None
        assert (found.status, found.final_synthesis_output) == ("completed", "done")
        assert buffered.get_agent_run_stats("agent")["tool_metrics"]["search"]["call_count"] == 1


# --- recorded runs --------------------------------------------------------------------------------


def test_a_recorded_run_is_queued_from_its_begin_to_its_end(
    persistence: Persistence, buffered: BufferedPersistence
) -> None:
    with buffered.record_run(agent_id="agent", run_id="recorded", objective="sum") as run:
        run.log("custom", 1)
        run.finish("42")
    assert buffered.pending == 5  # The run's begin and end, and three events.
    assert persistence.get_agent_run("recorded") is None
    buffered.flush()
    stored = persistence.get_agent_run("recorded")
    assert stored is not None
    assert (stored.status, stored.objective) == ("completed", "sum")
    assert stored.final_synthesis_output == "42"
    assert stored.created_at == run.agent_run.created_at
    events = [event.event_type for event in persistence.get_agent_run_events("recorded")]
    assert events == ["run_started", "custom", "run_completed"]
    assert buffered.dropped == {}


def test_a_run_that_is_read_while_it_is_recorded_is_there(buffered: BufferedPersistence) -> None:
    with buffered.record_run(agent_id="agent", run_id="recorded"):
        stored = buffered.get_agent_run("recorded")
        assert stored is not None
        assert stored.status == "running"
    ended = buffered.get_agent_run("recorded")
    assert ended is not None
    assert ended.status == "completed"


def test_a_queued_run_never_replaces_one_of_the_same_id(
    persistence: Persistence, buffered: BufferedPersistence
) -> None:
    with buffered.record_run(agent_id="agent", run_id="run", objective="another"):
        pass
    buffered.flush()
    [kept] = persistence.get_agent_runs(limit=None)
    assert (kept.objective, kept.status) == ("", "pending")
    assert buffered.dropped == {"ConflictError": 2}


def test_a_queued_run_fills_its_stub_in(
    persistence: Persistence, buffered: BufferedPersistence
) -> None:
    persistence.append_event("early", "agent", "custom")
    with buffered.record_run(agent_id="agent", run_id="early", objective="sum"):
        pass
    stored = buffered.get_agent_run("early")
    assert stored is not None
    assert (stored.objective, stored.status) == ("sum", "completed")


def test_the_end_of_a_run_stores_it_if_its_begin_failed(persistence: Persistence) -> None:
    with persistence.buffered(max_items=2, max_seconds=NEVER, overflow="drop") as buffered:
        recorder = buffered.record_run(agent_id="agent", run_id="recorded", objective="sum")
        with transaction_elsewhere(persistence):
            log(buffered, 0, "held"), log(buffered, 1, "held")
            recorder.__enter__()
            assert buffered.dropped == {"overflow": 2}
        buffered.flush()
        recorder.__exit__(None, None, None)
        stored = buffered.get_agent_run("recorded")
        assert stored is not None
        assert (stored.objective, stored.status) == ("sum", "completed")


class TestPublishedContract(PublishedContract):
    """The published contract, except the ids of appended records."""

    @pytest.fixture
    def persistence(self, persistence: Persistence) -> Iterator[BasePersistence]:
        with persistence.buffered() as buffered:
            yield buffered

    test_an_event_comes_back_as_it_was_logged = None
    test_an_event_without_a_timestamp_is_given_one = None
    test_an_event_whose_run_nobody_created_makes_a_minimal_one = None
    test_a_model_call_comes_back_as_it_was_logged = None
