"""A batch is stored as its records would be one by one, completely or not at all."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    AgentRunStatus,
    ClosedError,
    ConflictError,
    EventType,
    InvalidValueError,
    Persistence,
)
from tests.support.batches import Kind, record, stored, write_all
from tests.support.hands import Hands
from tests.support.records import MODELS, everything
from tests.support.threads import all_at_once

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LATE = 2_100
"""A position that is read after others have been written: a batch is read in chunks."""


class Stop(Exception):
    pass


@contextmanager
def undone(persistence: Persistence) -> Iterator[None]:
    """A transaction that is rolled back."""
    with suppress(Stop), persistence.transaction():
        yield
        raise Stop


def records(kind: Kind, count: int) -> list[Any]:
    return [record(kind, number) for number in range(count)]


def events(count: int, run_id: str = "run", **fields: Any) -> list[AgentRunEvent]:
    return [AgentRunEvent("agent", run_id, data=str(number), **fields) for number in range(count)]


def logged(persistence: Persistence, run_id: str = "run") -> list[str]:
    return [event.data for event in persistence.get_agent_run_events(run_id)]


def run_ids(persistence: Persistence) -> set[str]:
    return {run.run_id for run in persistence.get_agent_runs(limit=None)}


# --- what is stored, and filled in ------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2500])
def test_the_events_of_a_batch_are_stored_and_filled_in_in_order(
    persistence: Persistence, count: int
) -> None:
    batch = events(count)
    assert persistence.log_agent_run_events(batch) == count
    assert persistence.get_agent_run_events("run") == batch
    ids = [event.id or 0 for event in batch]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("kind", [AgentRun, AgentLLMUsage])
@pytest.mark.parametrize("count", [0, 1, 1001])
def test_the_runs_and_model_calls_of_a_batch_are_stored_and_filled_in_in_order(
    persistence: Persistence, kind: Kind, count: int
) -> None:
    batch = records(kind, count)
    assert write_all(persistence, kind, batch) == (None if kind is AgentRun else count)
    assert stored(persistence, kind) == batch


def test_a_batch_takes_the_values_that_a_single_call_takes(
    persistence: Persistence, clock: Hands
) -> None:
    clock.put(NOON + SECOND)
    said = {"text": "é\n\t\\N", "list": [1, None]}
    text = '{"text": "é\\n\\t\\\\N", "list": [1, null]}'
    run = AgentRun("agent", "run", status=AgentRunStatus.TIMEOUT, metadata=said)
    event = AgentRunEvent("agent", "run", timestamp=NOON, event_type=EventType.CUSTOM, data=said)
    usage = AgentLLMUsage("agent", "", input_tokens=np.int64(7), latency_ms=1.6)  # type: ignore[arg-type]
    persistence.create_agent_runs([run, AgentRun("agent", "other", session_id="")])
    persistence.log_agent_run_events([event, AgentRunEvent("agent", "run")])
    persistence.log_llm_usages([usage, AgentLLMUsage(None, None, cost_usd=Decimal("1e-12"))])
    [other_run, kept_run] = persistence.get_agent_runs()
    [kept_event, _] = persistence.get_agent_run_events("run")
    [other_usage, kept_usage] = persistence.get_llm_usage()
    assert (kept_run.status, kept_run.metadata, other_run.session_id) == ("timeout", text, None)
    assert (kept_event.event_type, kept_event.data) == ("custom", text)
    assert (kept_usage.run_id, kept_usage.input_tokens, kept_usage.latency_ms) == (None, 7, 2)
    assert (other_usage.agent_id, other_usage.cost_usd) == (None, Decimal("1e-12"))


def test_costs_and_tools_of_a_batch_count_in_statistics(persistence: Persistence) -> None:
    tool = {"tool_name": "search", "latency_ms": 5, "error": "no"}
    persistence.log_agent_run_events(
        AgentRunEvent("agent", "run", event_type="tool_call", data=data)
        for data in (tool, None, tool)
    )
    calls = [AgentLLMUsage("agent", "run", usage_metrics={"cost_usd": 0.1}) for _ in range(3)]
    persistence.log_llm_usages(calls)
    stats = persistence.get_agent_run_stats("agent")
    assert stats["tool_metrics"]["search"]["call_count"] == 2
    assert stats["total_cost_usd"] == Decimal("0.3")
    assert [call.cost_usd for call in calls] == [Decimal("0.1")] * 3


FORMS: tuple[Callable[[list[Any]], Iterable[Any]], ...] = (
    tuple,
    iter,
    deque,
    lambda batch: (each for each in batch),
    lambda batch: dict(enumerate(batch)).values(),
    lambda batch: chain(batch[:1], batch[1:]),
    lambda batch: np.array(batch, dtype=object),
)


def test_a_batch_is_any_iterable(persistence: Persistence) -> None:
    for kind in MODELS:
        told = []
        for number, form in enumerate(FORMS):
            batch = [record(kind, 10 * number + offset) for offset in range(3)]
            write_all(persistence, kind, form(batch))
            told += batch
        assert stored(persistence, kind) == told


@pytest.mark.slow
def test_a_batch_may_be_read_from_the_database_it_is_written_to(persistence: Persistence) -> None:
    def copies() -> Iterator[AgentRunEvent]:
        for event in persistence.get_agent_run_events("run"):
            assert persistence.get_agent_run("run") is not None
            yield replace(event, run_id="copy", id=None)

    persistence.log_agent_run_events(events(LATE))
    assert persistence.log_agent_run_events(copies()) == LATE
    assert logged(persistence, "copy") == logged(persistence)


def test_one_object_twice_in_a_batch_is_two_rows(persistence: Persistence) -> None:
    event, usage = AgentRunEvent("agent", "run"), AgentLLMUsage("agent", "run")
    persistence.log_agent_run_events([event, event])
    persistence.log_llm_usages([usage, usage])
    assert [each.id for each in persistence.get_agent_run_events("run")][1:] == [event.id]
    assert [each.id for each in persistence.get_llm_usage()][:1] == [usage.id]


def test_changing_a_record_after_its_batch_changes_nothing_stored(persistence: Persistence) -> None:
    said = {"list": [1]}
    batch = [AgentRunEvent("agent", "run", data=said) for _ in range(2)]
    persistence.log_agent_run_events(batch)
    said["list"].append(2)
    batch[0].event_type = "changed"
    assert [event.data for event in persistence.get_agent_run_events("run")] == [
        '{"list": [1]}'
    ] * 2
    assert {event.event_type for event in persistence.get_agent_run_events("run")} == {""}


@dataclass(frozen=True)
class FrozenRun:
    run_id: str
    agent_id: str = "agent"
    agent_name: str = ""
    objective: str = "frozen"
    additional_context: None = None
    started_at: None = None
    finished_at: None = None
    total_iterations: int = 0
    final_synthesis_output: None = None
    execution_history: None = None
    status: str = "pending"
    error_message: None = None
    metadata: None = None
    created_at: None = None
    updated_at: None = None


@dataclass(frozen=True)
class FrozenEvent:
    """An event without the fields that were added later."""

    data: str
    agent_id: str = "agent"
    run_id: str = "run"
    agent_name: str = ""
    timestamp: None = None
    event_type: str = ""
    created_at: None = None


def test_records_that_cannot_be_filled_in_are_stored_and_others_are_filled_in(
    persistence: Persistence,
) -> None:
    first, last = AgentRunEvent("agent", "run", data="first"), AgentRunEvent("agent", "run")
    persistence.log_agent_run_events([first, FrozenEvent("frozen"), last])  # type: ignore[list-item]
    assert logged(persistence) == ["first", "frozen", None]
    assert persistence.get_agent_run_events("run")[::2] == [first, last]


@pytest.mark.parametrize("before", [[], ["stub"]])
def test_runs_that_cannot_be_filled_in_are_stored_and_others_are_filled_in(
    persistence: Persistence, before: list[str]
) -> None:
    """Covers the slow path of a batch with a stub, too."""
    for run_id in before:
        persistence.log_agent_run_event(AgentRunEvent("agent", run_id))
    last = AgentRun("agent", "last")
    persistence.create_agent_runs([FrozenRun("stub"), FrozenRun("new"), last])  # type: ignore[list-item]
    persistence.create_agent_run(FrozenRun("single"))  # type: ignore[arg-type]
    persistence.update_agent_run("single", FrozenRun("single", objective="thawed"))  # type: ignore[arg-type]
    objectives = {run.run_id: run.objective for run in persistence.get_agent_runs()}
    assert objectives == {"stub": "frozen", "new": "frozen", "last": "", "single": "thawed"}
    assert persistence.get_agent_run("last") == last


# --- all or nothing ---------------------------------------------------------------------------


@pytest.mark.slow
def test_a_refused_record_is_named_by_position_and_field_and_nothing_is_stored(
    persistence: Persistence,
) -> None:
    for kind in MODELS:
        for at in (0, 1, 999, 1000, LATE):
            bad = replace(record(kind, at), agent_id="\0")
            with pytest.raises(InvalidValueError, match=f"Record {at} of the batch") as caught:
                write_all(persistence, kind, chain(records(kind, at), [bad], records(kind, 1)))
            assert caught.value.field == f"{kind.__name__}.agent_id"
        assert everything(persistence) == []


def test_an_object_of_another_kind_is_refused_and_nothing_is_stored(
    persistence: Persistence,
) -> None:
    for kind, other in zip(MODELS, MODELS[1:] + MODELS[:1], strict=True):
        for wrong in (record(other, 1), None, 5, "text", {"agent_id": "agent"}, kind):
            with pytest.raises(InvalidValueError, match=f"Record 1 .*{kind.__name__}"):
                write_all(persistence, kind, [record(kind, 0), wrong])
    assert everything(persistence) == []


def test_a_single_record_is_not_a_batch(persistence: Persistence) -> None:
    for kind in MODELS:
        for single in (record(kind, 0), None, 5):
            with pytest.raises(InvalidValueError, match=f"not one {type(single).__name__}"):
                write_all(persistence, kind, single)  # type: ignore[arg-type]
    assert everything(persistence) == []


@pytest.mark.parametrize("at", [0, 1, 1000, LATE])
def test_an_exception_of_the_iterable_is_raised_and_nothing_is_stored(
    persistence: Persistence, at: int
) -> None:
    def broken(error: BaseException) -> Iterator[AgentRunEvent]:
        yield from events(at)
        raise error

    for error in (Stop(), KeyboardInterrupt(), TypeError("no"), AttributeError("no")):
        with pytest.raises(type(error)) as caught:
            persistence.log_agent_run_events(broken(error))
        assert caught.value is error
    assert everything(persistence) == []
    persistence.log_agent_run_events(events(2))
    assert logged(persistence) == ["0", "1"]


@pytest.mark.parametrize("at", [0, LATE])
def test_a_batch_with_an_existing_run_stores_nothing(persistence: Persistence, at: int) -> None:
    persistence.create_agent_run(AgentRun("agent", "taken", objective="before"))
    batch = records(AgentRun, at + 5)
    batch[at].run_id = "taken"
    with pytest.raises(ConflictError, match="'taken'"):
        persistence.create_agent_runs(batch)
    assert [run.objective for run in persistence.get_agent_runs()] == ["before"]


@pytest.mark.parametrize("at", [1, LATE])
def test_a_batch_with_the_same_run_twice_stores_nothing(persistence: Persistence, at: int) -> None:
    batch = records(AgentRun, at + 5)
    batch[at].run_id = "run 0"
    with pytest.raises(ConflictError, match="'run 0'"):
        persistence.create_agent_runs(batch)
    assert persistence.get_agent_runs() == []


def test_a_batch_that_was_refused_fills_nothing_in(persistence: Persistence) -> None:
    for kind in MODELS:
        batch = [*records(kind, 3), replace(record(kind, 3), agent_id="\0")]
        given = deepcopy(batch)
        with pytest.raises(InvalidValueError):
            write_all(persistence, kind, batch)
        assert batch == given


@pytest.mark.parametrize(("kind", "count"), [*zip(MODELS, (2, LATE, 2), strict=True)])
def test_a_batch_that_failed_can_be_sent_again(
    persistence: Persistence, kind: Kind, count: int
) -> None:
    batch = records(kind, count)
    with pytest.raises(InvalidValueError):
        write_all(persistence, kind, chain(batch, [None]))
    write_all(persistence, kind, batch)
    assert stored(persistence, kind) == batch


def test_a_closed_persistence_refuses_batches(persistence: Persistence) -> None:
    persistence.close()
    for kind in MODELS:
        for count in (1, 2, LATE):
            with pytest.raises(ClosedError):
                write_all(persistence, kind, records(kind, count))


# --- in transactions --------------------------------------------------------------------------


def test_a_transaction_sees_its_batches_and_rolls_them_back(persistence: Persistence) -> None:
    with undone(persistence):
        persistence.log_agent_run_events(events(LATE))
        assert logged(persistence) == list(map(str, range(LATE)))
        persistence.create_agent_runs(records(AgentRun, 3))
        persistence.log_llm_usages(records(AgentLLMUsage, 3))
        assert len(everything(persistence)) == 1 + LATE + 3 + 3
    assert everything(persistence) == []


@pytest.mark.parametrize("count", [2, LATE])
def test_a_failed_batch_does_not_affect_its_transaction(
    persistence: Persistence, count: int
) -> None:
    with persistence.transaction():
        persistence.create_agent_runs([AgentRun("agent", "before"), AgentRun("agent", "run 1")])
        for batch in (records(AgentRun, count), chain(records(AgentRun, count), [None])):
            with pytest.raises((ConflictError, InvalidValueError)):
                persistence.create_agent_runs(batch)
        with pytest.raises(InvalidValueError):
            persistence.log_agent_run_events(chain(events(count), [None]))  # type: ignore[list-item]
        persistence.log_agent_run_events(events(count, "before"))
    assert run_ids(persistence) == {"before", "run 1"}
    assert len(logged(persistence, "before")) == count


def test_a_batch_in_a_nested_transaction_is_rolled_back_alone(persistence: Persistence) -> None:
    with persistence.transaction():
        persistence.log_agent_run_events(events(3, "outer"))
        with undone(persistence):
            persistence.log_agent_run_events(events(LATE, "inner"))
        persistence.log_agent_run_events(events(3, "outer"))
    assert run_ids(persistence) == {"outer"}
    assert len(logged(persistence, "outer")) == 6


# --- times ------------------------------------------------------------------------------------


def test_events_without_a_time_have_the_order_of_their_batch(
    persistence: Persistence, clock: Hands
) -> None:
    """Holds even if the clock is set back meanwhile and single events come in between."""
    clock.put(NOON)
    persistence.log_agent_run_event(AgentRunEvent("agent", "run", data="before"))
    clock.put(NOON - SECOND)

    def from_a_clock_that_jumps() -> Iterator[AgentRunEvent]:
        for number, event in enumerate(events(LATE)):
            clock.move(seconds=-1 if number % 700 == 0 else 0.001)
            yield event

    persistence.log_agent_run_events(from_a_clock_that_jumps())
    clock.put(NOON - 2 * SECOND)
    persistence.log_agent_run_event(AgentRunEvent("agent", "run", data="after"))
    assert logged(persistence) == ["before", *map(str, range(LATE)), "after"]
    times = [event.timestamp for event in persistence.get_agent_run_events("run")]
    assert times == sorted(times)  # type: ignore[type-var]


def test_given_times_of_a_batch_are_stored_and_the_others_filled_in(
    persistence: Persistence, clock: Hands
) -> None:
    clock.put(NOON)
    batch = events(4)
    batch[1].timestamp, batch[2].created_at = NOON - SECOND, NOON - 2 * SECOND
    persistence.log_agent_run_events(batch)
    assert [(event.timestamp, event.created_at) for event in batch] == [
        (NOON, NOON),
        (NOON - SECOND, NOON),
        (NOON, NOON - 2 * SECOND),
        (NOON, NOON),
    ]
    assert logged(persistence) == ["1", "0", "2", "3"]
    runs = [AgentRun("agent", "a"), AgentRun("agent", "b", created_at=NOON - SECOND)]
    persistence.create_agent_runs(runs)
    assert [run.created_at for run in runs] == [NOON, NOON - SECOND]
    assert [run.updated_at for run in runs] == [NOON, NOON]
    calls = [AgentLLMUsage(None, None), AgentLLMUsage(None, None, created_at=NOON - SECOND)]
    persistence.log_llm_usages(calls)
    assert [call.created_at for call in calls] == [NOON, NOON - SECOND]


def test_each_run_has_times_of_its_own_in_a_batch(persistence: Persistence, clock: Hands) -> None:
    clock.put(NOON)
    persistence.log_agent_run_event(AgentRunEvent("agent", "ahead"))
    clock.put(NOON - SECOND)
    batch = [AgentRunEvent("agent", name) for name in ("ahead", "other", "ahead", "other")]
    persistence.log_agent_run_events(batch)
    ahead, other = batch[0].timestamp, batch[1].timestamp
    assert ahead is not None
    assert NOON < ahead < NOON + SECOND
    assert other == NOON - SECOND


# --- runs never created -----------------------------------------------------------------------


def test_a_batch_creates_one_stub_for_each_unknown_run(persistence: Persistence) -> None:
    persistence.create_agent_run(AgentRun("agent", "known", objective="known"))
    persistence.log_agent_run_events(
        AgentRunEvent(f"agent of {name}", name, "Agent", NOON + number * SECOND)
        for number, name in enumerate(("b", "known", "a", "b", "a", "known"))
    )
    a, b, known = (persistence.get_agent_run(name) for name in ("a", "b", "known"))
    assert a is not None
    assert b is not None
    assert known is not None
    assert (a.agent_id, a.agent_name, a.status) == ("agent of a", "Agent", "running")
    assert (a.started_at, b.started_at) == (NOON + 2 * SECOND, NOON)
    assert known.objective == "known"
    assert [len(logged(persistence, name)) for name in ("a", "b", "known")] == [2, 2, 2]


@pytest.mark.slow
def test_a_batch_of_many_unknown_runs_is_stored(persistence: Persistence) -> None:
    batch = [AgentRunEvent("agent", f"run {number}") for number in range(1_100)]
    persistence.log_agent_run_events(batch)
    assert len(persistence.get_agent_runs(limit=None)) == 1_100
    assert persistence.get_agent_run_events("run 1099") == batch[-1:]


@pytest.mark.parametrize("count", [2, LATE])
def test_a_batch_that_fails_leaves_no_stub(persistence: Persistence, count: int) -> None:
    with pytest.raises(InvalidValueError):
        persistence.log_agent_run_events(chain(events(count, "stub"), [None]))  # type: ignore[list-item]
    assert persistence.get_agent_run("stub") is None


def test_model_calls_of_a_batch_make_no_stubs(persistence: Persistence) -> None:
    persistence.log_llm_usages(records(AgentLLMUsage, 3))
    assert persistence.get_agent_runs() == []


def test_a_batch_of_runs_fills_the_stubs_among_them_in(
    persistence: Persistence, clock: Hands
) -> None:
    clock.put(NOON)
    persistence.log_agent_run_event(AgentRunEvent("agent", "stub", timestamp=NOON - SECOND))
    stub = persistence.get_agent_run("stub")
    assert stub is not None
    clock.move(seconds=1)
    batch = [AgentRun("agent", name, objective="find out") for name in ("a", "stub", "b")]
    persistence.create_agent_runs(batch)
    assert {run.objective for run in persistence.get_agent_runs()} == {"find out"}
    after = persistence.get_agent_run("stub")
    assert after is not None
    assert (after.id, after.created_at, after.started_at) == (stub.id, NOON, NOON - SECOND)
    assert [run.id for run in batch] == [
        run.id for name in ("a", "stub", "b") if (run := persistence.get_agent_run(name))
    ]
    with pytest.raises(ConflictError, match="'stub'"):
        persistence.create_agent_runs([AgentRun("agent", "c"), AgentRun("agent", "stub")])
    assert persistence.get_agent_run("c") is None


def test_a_batch_of_runs_that_fails_leaves_stubs_as_they_were(persistence: Persistence) -> None:
    persistence.log_agent_run_event(AgentRunEvent("agent", "stub"))
    persistence.create_agent_run(AgentRun("agent", "taken"))
    before = everything(persistence)
    with pytest.raises(ConflictError, match="'taken'"):
        persistence.create_agent_runs(
            AgentRun("other", name, objective="new") for name in ("a", "stub", "taken")
        )
    assert everything(persistence) == before
    persistence.create_agent_run(AgentRun("agent", "stub"))


# --- threads ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_batches_of_several_threads_get_their_own_ids(persistence: Persistence) -> None:
    for kind in MODELS:
        batches = [
            [record(kind, 1_000 * thread + number) for number in range(150)] for thread in range(6)
        ]
        single = [record(kind, -number - 1) for number in range(4)]
        all_at_once(
            *(partial(write_all, persistence, kind, batch) for batch in batches),
            *(partial(write_all, persistence, kind, [each]) for each in single),
        )
        for batch in batches:
            ids = [each.id or 0 for each in batch]
            assert ids == sorted(ids)
        told = {each.id: each for each in chain(single, *batches)}
        assert {each.id: each for each in stored(persistence, kind)} == told


def test_threads_whose_first_batches_name_the_same_runs_create_each_once(
    persistence: Persistence,
) -> None:
    def batch(names: str) -> Callable[[], object]:
        return lambda: persistence.log_agent_run_events(
            AgentRunEvent("agent", name) for name in names
        )

    for _ in range(3):
        all_at_once(batch("abcdef"), batch("fedcba"), batch("badcfe"), batch("cde"))
    assert run_ids(persistence) == set("abcdef")
    assert [len(logged(persistence, name)) for name in "abcdef"] == [9, 9, 12, 12, 12, 9]


def test_other_connections_see_no_part_of_an_incomplete_batch(persistence: Persistence) -> None:
    seen: list[int] = []

    def batch() -> Iterator[AgentRunEvent]:
        for number, event in enumerate(events(LATE)):
            if number % 700 == 699:
                looking.append(threads.submit(lambda: seen.append(len(logged(persistence)))))
            yield event

    looking: list[Any] = []
    with ThreadPoolExecutor(1) as threads:
        persistence.log_agent_run_events(batch())
        for look in looking:
            look.result()
        assert len(seen) == 3
    assert set(seen) <= {0, LATE}
