"""Any batch is stored as its records would be one by one, on every backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    Persistence,
    PersistenceError,
)
from curio_persistence.backends.memory.store import MemoryStore
from curio_persistence.backends.sqlite.store import SQLiteStore
from curio_persistence.capabilities import batches
from curio_persistence.capabilities.appends import OnConflict
from curio_persistence.clock import Clock
from curio_persistence.store.base import Store
from tests.properties.strategies import (
    a_cost,
    a_count,
    a_name,
    a_time,
    an_id,
    any_text,
    bad_events,
    bad_runs,
    bad_usage,
    maybe,
    new_events,
    new_runs,
    new_usage,
    stored_events,
    stored_runs,
    stored_usage,
)
from tests.support import soak
from tests.support.batches import Kind, stored, write_all
from tests.support.hands import Hands
from tests.support.records import everything, write

NOW = datetime.fromisoformat("9000-01-01T00:00:00+00:00")
"""So late that no other time is mistaken for an assigned one."""


class Undone(Exception):
    pass


@dataclass(frozen=True)
class Batch:
    """Records of one kind, and whether their transaction is rolled back."""

    kind: Kind
    records: tuple[Any, ...]
    on_conflict: OnConflict
    undone: bool


# --- batches ----------------------------------------------------------------------------------

# Every letter with a special meaning in COPY's text format.
delimiters = st.text("\\N.\t\n\rtnr", max_size=6)
hostile_usage = st.builds(
    AgentLLMUsage,
    agent_id=an_id,
    run_id=maybe(delimiters.filter(bool)),
    model=delimiters | a_name,
    prompt=delimiters | any_text,
    response_content=maybe(delimiters | any_text),
    input_tokens=maybe(a_count),
    latency_ms=maybe(a_count),
    created_at=a_time,
    span_id=maybe(delimiters.filter(bool)),
    cache_read_tokens=maybe(a_count),
    cost_usd=maybe(a_cost),
)
event_ids = maybe(st.sampled_from(["", "a", "b", "c"]) | delimiters | an_id)


def named(records: SearchStrategy[Any]) -> SearchStrategy[Any]:
    return st.builds(lambda record, name: replace(record, event_id=name), records, event_ids)


runs = new_runs | stored_runs
events = named(new_events | stored_events)
usage = named(new_usage | stored_usage | hostile_usage)
contents = st.one_of(
    st.tuples(st.just(AgentRun), st.lists(runs, unique_by=lambda run: run.run_id, max_size=7)),
    st.tuples(st.just(AgentRunEvent), st.lists(events, max_size=7)),
    st.tuples(st.just(AgentLLMUsage), st.lists(usage, max_size=7)),
)
bad_contents = st.one_of(
    st.tuples(st.just(AgentRun), st.lists(runs | bad_runs, max_size=7)),
    st.tuples(st.just(AgentRunEvent), st.lists(events | bad_events, max_size=7)),
    st.tuples(st.just(AgentLLMUsage), st.lists(usage | bad_usage, max_size=7)),
)


def several(
    contents: SearchStrategy[Any], on_conflict: SearchStrategy[str]
) -> SearchStrategy[list[Batch]]:
    batch = st.builds(
        lambda content, *rest: Batch(content[0], tuple(content[1]), *rest),
        contents,
        on_conflict,
        st.sampled_from([False, False, False, True]),
    )
    return st.integers(1, 4).flatmap(lambda count: st.lists(batch, min_size=count, max_size=count))


sent = several(contents | contents | bad_contents, st.just("keep"))
sent_anyhow = several(contents | contents | bad_contents, st.sampled_from(["keep", "error"]))
sizes = st.integers(1, 4) | st.just(1_000)
"""The number of records that are read at a time."""


# --- results ----------------------------------------------------------------------------------

Send = Callable[[Persistence, Batch, list[Any]], object]


def together(persistence: Persistence, batch: Batch, records: list[Any]) -> object:
    return write_all(persistence, batch.kind, iter(records), on_conflict=batch.on_conflict)


def one_by_one(persistence: Persistence, batch: Batch, records: list[Any]) -> object:
    before = len(stored(persistence, batch.kind))
    with persistence.transaction():
        for record in records:
            write(persistence, record)
    return None if batch.kind is AgentRun else len(stored(persistence, batch.kind)) - before


def outcome(store: Store, history: Sequence[Batch], send: Send, *, exactly: bool = True) -> Any:
    """Return what each batch returned and filled in, or raised, and all stored records.

    If a batch has two errors, it may raise either; without `exactly` both count as equal.
    """
    clock = Hands()
    clock.put(NOW)
    persistence = Persistence(store, initialize=False, clock=Clock(clock))
    told: list[Any] = []
    for batch in history:
        records = deepcopy(list(batch.records))
        try:
            with suppress(Undone), persistence.transaction():
                told.append((send(persistence, batch, records), anonymous(records)))
                if batch.undone:
                    raise Undone
        except PersistenceError as error:
            told.append((type(error), getattr(error, "field", "")) if exactly else (None, ""))
    runs = sorted(persistence.get_agent_runs(limit=None), key=lambda run: run.run_id)
    others = [stored(persistence, kind) for kind in (AgentRunEvent, AgentLLMUsage)]
    return told, [anonymous(records) for records in (runs, *others)]


def anonymous(records: list[Any]) -> list[Any]:
    """Return the record without ids and assigned times, which differ between backends and calls."""
    return [
        replace(
            record,
            id=record.id is not None,
            **{
                name: "assigned"
                for name in ("timestamp", "created_at", "updated_at", "started_at")
                if (at := getattr(record, name, None)) and NOW <= at < NOW + timedelta(seconds=1)
            },
        )
        for record in records
    ]


def on_sqlite(history: Sequence[Batch], send: Send) -> Any:
    store = SQLiteStore(":memory:")
    store.initialize()
    try:
        return outcome(store, history, send)
    finally:
        store.close()


def read_in_pieces_of(size: int) -> Any:
    return patch.object(batches, "_CHUNK", size)


# --- the properties ---------------------------------------------------------------------------


@given(sent, sizes)
@settings(max_examples=60 * soak.FACTOR)
def test_a_batch_stores_the_same_as_single_calls(history: list[Batch], size: int) -> None:
    with read_in_pieces_of(size):
        batch = outcome(MemoryStore(), history, together, exactly=False)
    assert batch == outcome(MemoryStore(), history, one_by_one, exactly=False)


@given(sent_anyhow, sizes)
@settings(max_examples=60 * soak.FACTOR)
def test_sqlite_stores_the_same_batches_as_memory(history: list[Batch], size: int) -> None:
    with read_in_pieces_of(size):
        assert on_sqlite(history, together) == outcome(MemoryStore(), history, together)


@given(history=sent_anyhow, size=sizes)
@settings(max_examples=40 * soak.FACTOR)
def test_postgres_stores_the_same_batches_as_memory(
    postgres: tuple[Store, Callable[[], None]], history: list[Batch], size: int
) -> None:
    store, empty = postgres
    empty()
    with read_in_pieces_of(size):
        assert outcome(store, history, together) == outcome(MemoryStore(), history, together)


@given(st.lists(hostile_usage, min_size=1, max_size=30))
@settings(max_examples=30 * soak.FACTOR)
def test_postgres_copies_every_value_unchanged(
    postgres: tuple[Store, Callable[[], None]], calls: list[AgentLLMUsage]
) -> None:
    store, empty = postgres
    empty()
    persistence = Persistence(store, initialize=False)
    persistence.log_llm_usages(calls)
    assert sorted(everything(persistence), key=lambda call: call.id or 0) == calls
