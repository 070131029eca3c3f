"""A record with an `event_id` is stored once, however often it is sent."""

from __future__ import annotations

import random
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
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
    ConflictError,
    InvalidValueError,
    Persistence,
)
from tests.support.batches import Kind, record, stored, write_all
from tests.support.hands import Hands
from tests.support.records import everything, write
from tests.support.threads import all_at_once

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)

KINDS: tuple[Kind, ...] = (AgentRunEvent, AgentLLMUsage)
"""Events and model calls, each tested separately."""


class Stop(Exception):
    pass


def named(kind: Kind, number: int, **fields: Any) -> Any:
    return record(kind, number, **{"event_id": f"event {number}", **fields})


def batch_of(kind: Kind, count: int, **fields: Any) -> list[Any]:
    return [named(kind, number, **fields) for number in range(count)]


def resend(persistence: Persistence, records: list[Any]) -> int | None:
    """Send a batch whose records must equal the stored ones."""
    return write_all(persistence, type(records[0]), records, on_conflict="error")


# --- alone ------------------------------------------------------------------------------------


def test_a_record_sent_again_is_not_stored_again(persistence: Persistence) -> None:
    for kind in KINDS:
        first, again = named(kind, 1), named(kind, 1)
        write(persistence, first)
        write(persistence, again)
        assert stored(persistence, kind) == [first]
        assert again == first


def test_an_event_id_is_returned(persistence: Persistence) -> None:
    for kind in KINDS:
        given = named(kind, 1)
        write(persistence, given)
        [found] = stored(persistence, kind)
        assert found.event_id == "event 1"
        assert kind.from_dict(found.to_dict()) == found


def test_a_record_without_event_id_is_stored_each_time(persistence: Persistence) -> None:
    """No event_id is generated: it would mean nothing to the sender."""
    for kind in KINDS:
        for nothing in (None, ""):
            for _ in range(2):
                write(persistence, named(kind, 1, event_id=nothing))
            write_all(persistence, kind, [named(kind, 1, event_id=nothing) for _ in range(2)])
        assert [found.event_id for found in stored(persistence, kind)] == [None] * 8


def test_events_and_model_calls_may_have_the_same_event_ids(persistence: Persistence) -> None:
    for kind in (AgentRunEvent, AgentLLMUsage, AgentRunEvent, AgentLLMUsage):
        write(persistence, named(kind, 1))
        write_all(persistence, kind, batch_of(kind, 3))
    assert len(stored(persistence, AgentRunEvent)) == 3
    assert len(stored(persistence, AgentLLMUsage)) == 3


ODD = [
    *("a", "A", " a", "a ", "é", "e\u0301", "🙂", "0", "00", "null", "NULL", "{}", "{a,b}", "[1]"),
    *("'", '"', "\\", "\\N", "\\.", "\t", "\n", "\r\n", "%s", "$1", "?", ",", "\x7f", "x" * 255),
]


def test_event_ids_are_compared_letter_by_letter(persistence: Persistence) -> None:
    for kind in KINDS:
        for _ in range(2):
            for number, name in enumerate(ODD[::2]):
                write(persistence, named(kind, number, event_id=name))
            write_all(persistence, kind, [named(kind, 0, event_id=name) for name in ODD])
        assert sorted(found.event_id for found in stored(persistence, kind)) == sorted(ODD)


def test_an_event_id_is_a_name(persistence: Persistence) -> None:
    for kind in KINDS:
        for wrong in ("a\0b", "\ud800", "x" * 256, 5, b"bytes"):
            with pytest.raises(InvalidValueError) as caught:
                write(persistence, named(kind, 1, event_id=wrong))
            assert caught.value.field == f"{kind.__name__}.event_id"
            with pytest.raises(InvalidValueError, match="Record 1 of the batch") as caught:
                write_all(persistence, kind, [named(kind, 0), named(kind, 1, event_id=wrong)])
            assert caught.value.field == f"{kind.__name__}.event_id"
        assert everything(persistence) == []


# --- in batches -------------------------------------------------------------------------------


def test_a_batch_sent_again_changes_nothing(persistence: Persistence) -> None:
    """Sends it completely, in part, in another order, one by one, and among others."""
    for kind in KINDS:
        shuffled = random.Random(5)
        assert write_all(persistence, kind, batch_of(kind, 60)) == 60
        before = everything(persistence), persistence.get_agent_run_stats()
        for size in (60, 1, 20):
            again = shuffled.sample(batch_of(kind, 60), size)
            assert write_all(persistence, kind, again) == 0
        for each in batch_of(kind, 3):
            write(persistence, each)
        assert (everything(persistence), persistence.get_agent_run_stats()) == before
        assert write_all(persistence, kind, reversed(batch_of(kind, 70))) == 10
        assert len(stored(persistence, kind)) == 70


def test_tokens_and_costs_count_once(persistence: Persistence) -> None:
    calls = [
        AgentLLMUsage(
            "agent",
            "run",
            input_tokens=number,
            output_tokens=2 * number,
            cost_usd=Decimal(number) / 10**12,
            event_id=str(number),
        )
        for number in range(30)
    ]
    for _ in range(3):
        persistence.log_llm_usages(calls)
        persistence.log_llm_usage(calls[7])
    stats = persistence.get_agent_run_stats()
    assert stats["total_llm_calls"] == 30
    assert (stats["total_input_tokens"], stats["total_output_tokens"]) == (435, 870)
    assert stats["total_cost_usd"] == Decimal("435e-12")


def test_a_record_twice_in_one_batch_is_stored_once(persistence: Persistence) -> None:
    for kind in KINDS:
        batch = [named(kind, number) for number in (1, 2, 1, 3, 2, 1)]
        assert write_all(persistence, kind, batch) == 3
        one, two, *_, three = stored(persistence, kind)
        assert batch == [one, two, one, three, two, one]


def test_a_record_sent_twice_is_stored_once_at_any_distance(persistence: Persistence) -> None:
    for kind in KINDS:
        batch = [named(kind, number % 1_200) for number in range(2_300)]
        assert write_all(persistence, kind, batch) == 1_200
        assert stored(persistence, kind) == batch[:1_200]
        assert batch[1_200:] == batch[:1_100]


def test_only_some_of_a_batch_need_event_ids(persistence: Persistence) -> None:
    for kind in KINDS:
        batch = [
            named(kind, number, event_id=str(number) if number % 2 else None) for number in range(6)
        ]
        assert write_all(persistence, kind, batch) == 6
        assert write_all(persistence, kind, batch) == 3
        ids = [found.event_id for found in stored(persistence, kind)]
        assert ids == [None, "1", None, "3", None, "5", None, None, None]


def test_ids_follow_the_order_of_the_batch_not_of_the_names(persistence: Persistence) -> None:
    for kind in KINDS:
        batch = [named(kind, number, event_id=f"{number * 7 % 10}") for number in range(10)]
        write_all(persistence, kind, batch)
        ids = [each.id for each in batch]
        assert ids == sorted(ids)
        assert stored(persistence, kind) == batch


def test_a_known_record_gets_its_stored_id_and_times(
    persistence: Persistence, clock: Hands
) -> None:
    for kind in KINDS:
        clock.put(NOON)
        first = named(kind, 1)
        write(persistence, first)
        clock.move(hours=1)
        alone, known, unknown = named(kind, 1), named(kind, 1), named(kind, 2)
        write(persistence, alone)
        write_all(persistence, kind, [known, unknown])
        assert alone == known == first
        assert unknown.created_at > NOON + 60 * 59 * SECOND


def test_a_known_record_keeps_the_times_its_sender_gave(
    persistence: Persistence, clock: Hands
) -> None:
    for kind in KINDS:
        clock.put(NOON)
        first, again = named(kind, 1), named(kind, 1, created_at=NOON - SECOND)
        write(persistence, first)
        write_all(persistence, kind, [again])
        assert again == replace(first, created_at=NOON - SECOND)
        assert stored(persistence, kind) == [first]


def test_a_known_record_creates_no_stub(persistence: Persistence) -> None:
    write(persistence, named(AgentRunEvent, 1))
    for again in (named(AgentRunEvent, 1), named(AgentRunEvent, 1)):
        again.run_id = "another"
        write(persistence, again)
        persistence.log_agent_run_events([again, named(AgentRunEvent, 1)])
    assert [run.run_id for run in persistence.get_agent_runs()] == ["run"]


# --- with other content -----------------------------------------------------------------------

OTHER: dict[Kind, dict[str, Any]] = {
    AgentRunEvent: {
        "agent_id": "other",
        "run_id": "other",
        "agent_name": "other",
        "timestamp": NOON + SECOND,
        "event_type": "other",
        "data": {"other": 1},
        "created_at": NOON + SECOND,
        "session_id": "other",
        "level": "other",
        "message": "",
        "trace_id": "other",
        "span_id": "other",
        "parent_span_id": "other",
        "contract_id": "other",
        "contract_version": "other",
        "artifact_uri": "other",
        "metadata": {"other": 1},
        "chain_position": 1,
        "content_hash": "other",
        "prev_hash": "other",
        "hash": "other",
        "seq": 1,
    },
    AgentLLMUsage: {
        "agent_id": "other",
        "run_id": "other",
        "provider": "other",
        "model": "other",
        "prompt": "other",
        "prompt_length": 1,
        "input_params": "other",
        "input_tokens": 1,
        "output_tokens": 1,
        "response_content": "",
        "response_length": 0,
        "usage_metrics": "",
        "status": "other",
        "error_message": "",
        "latency_ms": 0,
        "created_at": NOON + SECOND,
        "span_id": "other",
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "reasoning_tokens": 0,
        "cost_usd": Decimal("1e-12"),
        "trace_id": "other",
        "parent_span_id": "other",
        "price_version": "other",
    },
}
"""For each field, another value than in the record created by `dated`."""

CONTENT = {
    kind: {name: value for name, value in fields.items() if name != "price_version"}
    for kind, fields in OTHER.items()
}
"""The fields that callers give. A call that comes again may be priced by other prices."""


def dated(kind: Kind, number: int = 1) -> Any:
    at = {"timestamp": NOON} if kind is AgentRunEvent else {}
    return named(kind, number, created_at=NOON, **at)


def test_every_field_is_tried() -> None:
    for kind, fields in OTHER.items():
        assert set(fields) == set(dated(kind).to_dict()) - {"id", "event_id"}


def test_other_content_does_not_change_the_stored_record(persistence: Persistence) -> None:
    for kind in KINDS:
        write(persistence, dated(kind))
        before = everything(persistence)
        for name, value in OTHER[kind].items():
            again = replace(dated(kind), **{name: value})
            write(persistence, again)
            assert write_all(persistence, kind, [again]) == 0
        assert everything(persistence) == before


def test_other_content_is_a_conflict_if_requested(persistence: Persistence) -> None:
    for kind in KINDS:
        write(persistence, dated(kind))
        before = everything(persistence)
        for name, value in CONTENT[kind].items():
            again = replace(dated(kind), **{name: value})
            for batch in ([again], [dated(kind, 2), again, dated(kind, 3)]):
                with pytest.raises(ConflictError, match=f"'event 1' already, with another {name}"):
                    resend(persistence, batch)
        assert everything(persistence) == before


def test_other_content_in_the_same_batch_is_a_conflict_if_requested(
    persistence: Persistence,
) -> None:
    for kind in KINDS:
        for name, value in CONTENT[kind].items():
            batch = [dated(kind), dated(kind, 2), replace(dated(kind), **{name: value})]
            with pytest.raises(ConflictError, match=f"with another {name}"):
                resend(persistence, batch)
            far = [*batch[:1], *(dated(kind, number) for number in range(2, 1_100)), *batch[2:]]
            if name == "agent_id":
                with pytest.raises(ConflictError, match=f"with another {name}"):
                    resend(persistence, far)
        assert everything(persistence) == []


def test_the_same_content_in_another_spelling_is_not_a_conflict(persistence: Persistence) -> None:
    for kind in KINDS:
        said = {"a": [1, "é"]}
        tokyo = timezone(timedelta(hours=9))
        at, later = {"created_at": NOON}, {"created_at": NOON.astimezone(tokyo)}
        if kind is AgentRunEvent:
            first = named(kind, 1, timestamp=NOON, **at)
            again = named(kind, 1, timestamp=NOON.astimezone(tokyo), **later)
            first.data, again.data = said, '{"a": [1, "é"]}'
        else:
            first = named(kind, 1, latency_ms=2, usage_metrics={"cost_usd": 0.5}, **at)
            again = named(kind, 1, latency_ms=np.float64(1.6), **later)
            again.usage_metrics, again.cost_usd = '{"cost_usd": 0.5}', Decimal("0.50")
        assert resend(persistence, [first]) == 1
        assert resend(persistence, [again, deepcopy(first)]) == 0
        assert len(stored(persistence, kind)) == 1


def test_generated_times_are_not_a_difference(persistence: Persistence, clock: Hands) -> None:
    for kind in KINDS:
        clock.put(NOON)
        sent = named(kind, 1)
        resend(persistence, [sent])
        for _ in range(2):
            clock.move(hours=1)
            assert resend(persistence, [named(kind, 1), sent, named(kind, 1)]) == 0


def test_a_given_time_is_a_difference_even_if_it_equals_that_of_storing(
    persistence: Persistence,
) -> None:
    """Importers give both times, and give them equal."""
    first = dated(AgentRunEvent)
    resend(persistence, [first])
    with pytest.raises(ConflictError, match="another timestamp"):
        resend(persistence, [replace(first, timestamp=NOON + SECOND, created_at=NOON + SECOND)])


def test_on_conflict_is_one_of_two_words(persistence: Persistence) -> None:
    for wrong in ("ignore", "", None, True):
        for kind in (AgentRunEvent, AgentLLMUsage):
            with pytest.raises(InvalidValueError) as caught:
                write_all(persistence, kind, batch_of(kind, 2), on_conflict=wrong)  # type: ignore[arg-type]
            assert caught.value.field == "on_conflict"
    assert everything(persistence) == []


# --- rolled back, deleted ---------------------------------------------------------------------


def test_a_rolled_back_record_may_be_sent_again(persistence: Persistence) -> None:
    for kind in KINDS:
        with suppress(Stop), persistence.transaction():
            write(persistence, named(kind, 0))
            write_all(persistence, kind, batch_of(kind, 5))
            assert len(stored(persistence, kind)) == 5
            raise Stop
        assert write_all(persistence, kind, batch_of(kind, 5)) == 5


def test_a_known_record_does_not_affect_its_transaction(persistence: Persistence) -> None:
    for kind in KINDS:
        write(persistence, named(kind, 1))
        with persistence.transaction():
            write(persistence, named(kind, 1))
            write(persistence, named(kind, 2))
            assert write_all(persistence, kind, batch_of(kind, 4)) == 2
            with pytest.raises(ConflictError):
                resend(persistence, [named(kind, 8), named(kind, 1, agent_id="other")])
            write(persistence, named(kind, 5))
        assert sorted(found.event_id for found in stored(persistence, kind)) == [
            f"event {number}" for number in (0, 1, 2, 3, 5)
        ]


def test_the_events_of_a_deleted_run_may_be_sent_again(persistence: Persistence) -> None:
    batch = batch_of(AgentRunEvent, 3)
    persistence.log_agent_run_events(batch)
    persistence.delete_agent_run("run")
    assert persistence.log_agent_run_events(batch_of(AgentRunEvent, 3)) == 3
    assert len(persistence.get_agent_run_events("run")) == 3


def test_the_model_calls_of_a_deleted_run_do_not_count_again(persistence: Persistence) -> None:
    """Their numbers remain stored, and their text is not stored again."""
    persistence.create_agent_run(AgentRun("agent", "run"))
    calls = batch_of(AgentLLMUsage, 3, input_tokens=5, cost_usd=Decimal("0.5"))
    persistence.log_llm_usages(calls)
    persistence.delete_agent_run("run")
    before = everything(persistence), persistence.get_agent_run_stats()
    assert persistence.log_llm_usages(deepcopy(calls)) == 0
    persistence.log_llm_usage(deepcopy(calls[0]))
    assert (everything(persistence), persistence.get_agent_run_stats()) == before
    assert {call.run_id for call in persistence.get_llm_usage()} == {None}


# --- threads ----------------------------------------------------------------------------------


def test_threads_that_send_the_same_record_at_once_store_it_once(persistence: Persistence) -> None:
    for kind in KINDS:
        shuffled = random.Random(5)
        for first in range(0, 300, 100):
            names = range(first, first + 100)
            alone = [named(kind, first) for _ in range(4)]
            batches = [[named(kind, n) for n in shuffled.sample(names, 80)] for _ in range(4)]
            all_at_once(
                *(partial(write, persistence, each) for each in alone),
                *(partial(write_all, persistence, kind, batch) for batch in batches),
            )
            found = stored(persistence, kind)
            by_name = {each.event_id: each for each in found}
            assert len(by_name) == len(found)
            for each in chain(alone, *batches):
                assert each == by_name[each.event_id]
