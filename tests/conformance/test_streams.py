"""A stream reads all records, a few at a time, beside other calls."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pyarrow
import pytest

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, ClosedError, Persistence
from curio_persistence.store.query import STREAM_ROWS
from tests.support.batches import Kind
from tests.support.listings import ORDERS, in_order, iterate, number_of, numbers, query, write
from tests.support.records import MODELS

Open = Callable[[], Persistence]

MANY = 2_001
"""More records than are read at a time, into records or tables."""

of_each_kind = pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)
in_each_order = pytest.mark.parametrize("order", ORDERS)


class Undone(Exception):
    pass


@of_each_kind
@in_each_order
def test_a_stream_has_every_record_in_order(
    persistence: Persistence, kind: Kind, order: str
) -> None:
    write(persistence, kind, range(50), moments=4)
    read = list(iterate(persistence, kind, order=order))
    assert numbers(read) == in_order(range(50), order, moments=4)
    assert read == list(query(persistence, kind, order=order, limit=None))


@of_each_kind
def test_a_stream_without_matches_is_empty(persistence: Persistence, kind: Kind) -> None:
    assert list(iterate(persistence, kind)) == []


@of_each_kind
def test_streams_are_newest_first_unless_oldest_first_is_requested(
    persistence: Persistence, kind: Kind
) -> None:
    write(persistence, kind, range(3), moments=3)
    for read in query, iterate:
        assert numbers(read(persistence, kind)) == [2, 1, 0]
        assert numbers(read(persistence, kind, order="oldest")) == [0, 1, 2]


def test_get_agent_run_events_is_oldest_first(persistence: Persistence) -> None:
    """Curio published it that way, whatever the order of other calls."""
    write(persistence, AgentRunEvent, range(3), moments=3)
    [run_id] = {event.run_id for event in persistence.iter_agent_run_events()}
    assert numbers(persistence.get_agent_run_events(run_id)) == [0, 1, 2]


@in_each_order
def test_more_records_than_are_read_at_a_time(persistence: Persistence, order: str) -> None:
    write(persistence, AgentRunEvent, range(MANY), moments=7)
    write(persistence, AgentRunEvent, range(MANY, MANY + 5), agent_id="other")
    read = numbers(iterate(persistence, AgentRunEvent, agent_id="agent", order=order))
    assert read == in_order(range(MANY), order, moments=7)


def test_each_pass_starts_from_the_beginning(persistence: Persistence) -> None:
    write(persistence, AgentRun, range(2))
    runs = persistence.iter_agent_runs()
    assert numbers(runs) == [1, 0]
    write(persistence, AgentRun, range(2, 4))
    assert numbers(runs) == [3, 2, 1, 0]


def test_two_passes_at_once_do_not_disturb_each_other(persistence: Persistence) -> None:
    write(persistence, AgentRunEvent, range(MANY))
    events = persistence.iter_agent_run_events()
    for one, other in zip(events, events, strict=True):
        assert one == other
        assert one is not other


def test_a_stream_sees_the_writes_of_its_transaction(persistence: Persistence) -> None:
    with suppress(Undone), persistence.transaction():
        write(persistence, AgentRunEvent, range(MANY))
        assert numbers(persistence.iter_agent_run_events(order="oldest")) == list(range(MANY))
        raise Undone
    assert list(persistence.iter_agent_run_events()) == []


@of_each_kind
@in_each_order
def test_a_stream_without_a_snapshot_has_every_record_in_order(
    persistence: Persistence, kind: Kind, order: str
) -> None:
    write(persistence, kind, range(2 * STREAM_ROWS + 1), moments=7)
    stream = iterate(persistence, kind, order=order, snapshot=False)
    assert numbers(stream) == in_order(range(2 * STREAM_ROWS + 1), order, moments=7)
    assert stream.to_arrow() == iterate(persistence, kind, order=order).to_arrow()


def test_a_stream_without_a_snapshot_reads_the_current_state_of_each_page(
    persistence: Persistence,
) -> None:
    write(persistence, AgentRun, range(STREAM_ROWS + 2))
    runs = iter(persistence.iter_agent_runs(order="oldest", snapshot=False))
    read = [next(runs)]
    persistence.delete_agent_run(f"run {STREAM_ROWS}")
    write(persistence, AgentRun, [STREAM_ROWS + 2])
    assert numbers([*read, *runs]) == [*range(STREAM_ROWS), STREAM_ROWS + 1]


@pytest.mark.parametrize("count", [5, STREAM_ROWS, MANY])
def test_storing_a_record_for_each_one_read_does_not_prolong_the_stream(
    persistence: Persistence, count: int
) -> None:
    write(persistence, AgentRunEvent, range(count))
    seen = 0
    for number, event in enumerate(persistence.iter_agent_run_events(order="oldest")):
        assert number_of(event) == number
        if number % 500 == 0:
            write(persistence, AgentRunEvent, range(count, count + 300), moments=1)
        seen += 1
    assert seen == count


def test_storing_in_a_transaction_does_not_prolong_its_stream(
    persistence: Persistence,
) -> None:
    write(persistence, AgentRunEvent, range(STREAM_ROWS))
    seen = 0
    with persistence.transaction():
        for _ in persistence.iter_agent_run_events(order="oldest"):
            if seen % 500 == 0:
                write(persistence, AgentRunEvent, range(300))
            seen += 1
    assert seen == STREAM_ROWS


def test_a_stream_shows_the_state_at_its_start(open_again: Open, lasting: None) -> None:
    persistence, other = open_again(), open_again()
    write(persistence, AgentRun, range(MANY))
    read = iter(persistence.iter_agent_runs(order="oldest"))
    seen = [next(read)]
    write(other, AgentRun, range(MANY, MANY + 3))
    for number in 1, MANY - 1:
        other.delete_agent_run(f"run {number}")
    seen += read
    assert numbers(seen) == list(range(MANY))


def test_a_table_shows_the_state_at_its_start(open_again: Open, lasting: None) -> None:
    persistence, other = open_again(), open_again()
    write(persistence, AgentRun, range(MANY))
    runs = pyarrow.RecordBatchReader.from_stream(persistence.iter_agent_runs(order="oldest"))
    seen = [runs.read_next_batch()]
    write(other, AgentRun, range(MANY, MANY + 3))
    for number in 1, MANY - 1:
        other.delete_agent_run(f"run {number}")
    seen += runs
    read = [int(text) for batch in seen for text in batch["objective"].to_pylist()]
    assert len(seen) > 1
    assert read == list(range(MANY))


def test_a_record_may_be_written_while_its_stream_is_read(persistence: Persistence) -> None:
    write(persistence, AgentRun, range(MANY))
    for number, run in enumerate(persistence.iter_agent_runs()):
        if number % 400 == 0:
            run.status = "completed"
            persistence.update_agent_run(run.run_id, run)
    assert len(persistence.query_agent_runs(status="completed")) == MANY // 400 + 1


def test_another_thread_may_finish_a_stream(persistence: Persistence) -> None:
    write(persistence, AgentRunEvent, range(MANY))
    read = iter(persistence.iter_agent_run_events(order="oldest"))
    begun = list(islice(read, 3))
    with ThreadPoolExecutor(1) as pool:
        finished = pool.submit(list, read).result()
    assert numbers(begun + finished) == list(range(MANY))


def test_streams_do_not_block_other_calls(
    persistence: Persistence,
) -> None:
    """Holds as long as the pool, by default of 10 connections, has a free one."""
    write(persistence, AgentRun, range(3))
    begun = [iter(persistence.iter_agent_runs()) for _ in range(9)]
    assert [number_of(next(each)) for each in begun] == [2] * 9
    assert persistence.health_check()
    write(persistence, AgentRun, range(3, 5))
    assert [numbers(each) for each in begun] == [[1, 0]] * 9


# --- the end --------------------------------------------------------------------------------------


def assert_leaves_nothing_open(action: Callable[[], object]) -> None:
    """Assert it for many repetitions. (SQLite holds some files open for the next connection.)"""
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("only Linux lists the open files of a process there")
    action()
    before = len(list(descriptors.iterdir()))
    for _ in range(3):
        action()
    assert len(list(descriptors.iterdir())) <= before


def test_a_stream_left_early_leaves_nothing_open(persistence: Persistence) -> None:
    write(persistence, AgentRunEvent, range(MANY))

    def leave_early() -> None:
        for event in persistence.iter_agent_run_events(order="oldest"):
            assert number_of(event) == 0
            break

    assert_leaves_nothing_open(leave_early)


def test_a_table_left_early_leaves_nothing_open(persistence: Persistence) -> None:
    write(persistence, AgentRunEvent, range(MANY))

    def leave_early() -> None:
        stream = persistence.iter_agent_run_events()
        pyarrow.RecordBatchReader.from_stream(stream).read_next_batch()

    assert_leaves_nothing_open(leave_early)


def test_a_stream_that_ends_in_an_error_leaves_nothing_open(persistence: Persistence) -> None:
    write(persistence, AgentRunEvent, range(MANY))

    def fail_in_the_middle() -> None:
        with suppress(Undone), persistence.iter_agent_run_events() as events:
            for _ in events:
                raise Undone

    assert_leaves_nothing_open(fail_in_the_middle)


def test_closing_a_stream_leaves_nothing_open(persistence: Persistence) -> None:
    """Holds even if the caller still has the iterator."""
    write(persistence, AgentRunEvent, range(MANY))
    kept = []

    def close_in_the_middle() -> None:
        events = persistence.iter_agent_run_events()
        for each in iter(events), iter(events):
            next(each)
            kept.append(each)
        events.close()

    assert_leaves_nothing_open(close_in_the_middle)


def test_closing_a_stream_ends_its_passes(persistence: Persistence) -> None:
    """They end with an error, because there are more records."""
    write(persistence, AgentRunEvent, range(MANY))
    events = persistence.iter_agent_run_events()
    passes = [iter(events), iter(events)]
    for each in passes:
        next(each)
    events.close()
    for each in passes:
        with pytest.raises(ClosedError, match="stream"):
            list(each)
    with pytest.raises(ClosedError, match="stream"):
        next(iter(events))
    for read in events.to_dicts, events.to_arrow, events.to_pandas:
        with pytest.raises(ClosedError, match="stream"):
            read()
    events.close()


def test_a_block_closes_its_stream(persistence: Persistence) -> None:
    write(persistence, AgentRun, range(3))
    with persistence.iter_agent_runs() as runs:
        assert numbers(runs) == [2, 1, 0]
    with pytest.raises(ClosedError):
        list(runs)


def test_records_read_before_the_end_stay_usable(persistence: Persistence) -> None:
    write(persistence, AgentLLMUsage, range(3))
    with persistence.iter_llm_usage() as calls:
        read = list(calls)
    assert numbers(read) == [2, 1, 0]


def test_a_stream_of_a_closed_persistence_raises_instead_of_ending(
    persistence: Persistence,
) -> None:
    write(persistence, AgentRunEvent, range(MANY))
    events = persistence.iter_agent_run_events()
    read = iter(events)
    next(read)
    persistence.close()
    with pytest.raises(ClosedError):
        list(read)
    with pytest.raises(ClosedError):
        list(events)


def test_the_repr_of_a_stream_says_what_it_is(persistence: Persistence) -> None:
    assert repr(persistence.iter_agent_runs()).startswith("<Stream: agent_runs of ")
