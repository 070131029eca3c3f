"""The change feed returns each committed row once, and consumers continue where they stopped."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from curio_persistence import AgentRunEvent, InvalidValueError, Persistence
from curio_persistence.capabilities.consumers import Consumer
from curio_persistence.store.base import Store
from curio_persistence.store.change_feed import (
    START,
    Changes,
    Watermark,
    read_changes,
    watermark_now,
)
from curio_persistence.tables import EVENTS, RUNS

Open = Callable[[], Persistence]


def append(persistence: Persistence, *data: int) -> None:
    for number in data:
        persistence.append_event("run", "agent", "log", payload=number)


def read(store: Store, since: Watermark = START, limit: int = 1_000) -> Changes:
    return read_changes(store, EVENTS, since=since, limit=limit)


def data_of(changes: Changes) -> list[int]:
    return [int(event.data) for event in EVENTS.decode(changes.columns)]


def test_each_row_is_returned_once_in_batches(persistence: Persistence) -> None:
    append(persistence, *range(7))
    store, watermark, found = persistence._store, START, []
    while changes := read(store, watermark, limit=3):
        assert len(changes) <= 3
        assert changes.since == watermark
        found += data_of(changes)
        watermark = Watermark.parse(changes.watermark.text())
    assert found == list(range(7))
    append(persistence, 7)
    assert data_of(read(store, watermark)) == [7]


def test_an_empty_table_has_no_changes(store: Store) -> None:
    changes = read(store)
    assert (len(changes), changes.watermark, changes.more) == (0, START, False)
    assert watermark_now(store, EVENTS) == START


def test_the_watermark_of_now_skips_existing_rows(persistence: Persistence) -> None:
    append(persistence, 1, 2)
    now = watermark_now(persistence._store, EVENTS)
    append(persistence, 3)
    assert data_of(read(persistence._store, now)) == [3]


def test_a_batch_ends_after_so_many_bytes(persistence: Persistence) -> None:
    persistence.log_agent_run_events(
        AgentRunEvent("agent", "run", event_type="log", data="x" * 10_000) for _ in range(500)
    )
    changes = read_changes(persistence._store, EVENTS, max_bytes=100_000)
    assert 10 <= len(changes) <= 200
    assert changes.more


def test_deleted_rows_are_not_returned_and_their_ids_not_reused(
    persistence: Persistence,
) -> None:
    append(persistence, 1, 2)
    watermark = read(persistence._store).watermark
    persistence.delete_agent_run("run")
    append(persistence, 3)
    assert data_of(read(persistence._store, watermark)) == [3]


@pytest.mark.parametrize("text", ["", "x", "5", "[]", '["x",[[],[1]]]', "[1,[[],[1]]]"])
def test_an_invalid_watermark_is_refused(text: str) -> None:
    with pytest.raises(InvalidValueError):
        Watermark.parse(text)


# --- consumers --------------------------------------------------------------------------------


def test_a_consumer_continues_from_its_stored_watermark(persistence: Persistence) -> None:
    append(persistence, 1, 2, 3)
    found: list[int] = []

    def apply(events: list[AgentRunEvent]) -> None:
        found.extend(int(event.data) for event in events)

    assert Consumer(persistence._store, "test", EVENTS).run(apply, limit=2) == 2
    assert Consumer(persistence._store, "test", EVENTS).run(apply, limit=2) == 1
    assert Consumer(persistence._store, "test", EVENTS).run(apply) == 0
    assert found == [1, 2, 3]
    assert Consumer(persistence._store, "another", EVENTS).run(apply) == 3
    assert Consumer(persistence._store, "test", RUNS).run(lambda runs: None) == 1


def test_rows_that_fail_to_apply_are_applied_again(persistence: Persistence) -> None:
    append(persistence, 1)
    consumer = Consumer(persistence._store, "test", EVENTS)

    def fail(events: list[AgentRunEvent]) -> None:
        append(persistence, 2)
        raise ZeroDivisionError

    with suppress(ZeroDivisionError):
        consumer.run(fail)
    found: list[AgentRunEvent] = []
    assert consumer.run(found.extend) == 1
    assert [event.data for event in found] == ["1"]


def test_a_consumer_can_start_now_or_from_the_beginning(persistence: Persistence) -> None:
    append(persistence, 1)
    consumer = Consumer(persistence._store, "test", EVENTS)
    consumer.skip_to(watermark_now(persistence._store, EVENTS))
    append(persistence, 2)
    found: list[AgentRunEvent] = []
    consumer.run(found.extend)
    assert [event.data for event in found] == ["2"]
    consumer.skip_to(START)
    assert consumer.run(found.extend) == 2


def test_two_that_run_one_consumer_apply_each_row_once(open_again: Open, lasting: None) -> None:
    persistence, other = open_again(), open_again()
    append(persistence, 1, 2)
    one = Consumer(persistence._store, "test", EVENTS)
    two = Consumer(other._store, "test", EVENTS)
    found: list[AgentRunEvent] = []

    def prepare(events: list[AgentRunEvent]) -> list[AgentRunEvent]:
        assert two.run(found.extend) == 2  # The other is faster.
        return events

    assert one.run_prepared(prepare, found.extend) == 0
    assert [event.data for event in found] == ["1", "2"]
    assert one.run(found.extend) == 0
