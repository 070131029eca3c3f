"""After any operations, a database returns the same results as the memory backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import timedelta
from operator import attrgetter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from curio_persistence import Persistence, PersistenceError
from curio_persistence.backends.memory.store import MemoryStore
from curio_persistence.backends.sqlite.store import SQLiteStore
from curio_persistence.clock import Clock
from curio_persistence.store.base import Store
from tests.properties.strategies import (
    NOON,
    bad_events,
    bad_runs,
    bad_usage,
    few_agents,
    few_runs,
    few_types,
    maybe,
    new_events,
    new_runs,
    new_usage,
    no_id,
)
from tests.support import soak
from tests.support.hands import Hands
from tests.support.records import MODELS


@dataclass(frozen=True)
class Call:
    """One call, by its dotted name."""

    name: str
    args: tuple[Any, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()

    def on(self, persistence: Persistence, clock: Hands) -> Any:
        """Make the call; return its result or exception, and the fields it filled in."""
        args = deepcopy(self.args)
        try:
            answer = attrgetter(self.name)(persistence)(*args, **dict(self.options))
        except PersistenceError as error:
            return type(error), getattr(error, "field", None), comparable(list(args))
        return comparable(answer), comparable(list(args))


@dataclass(frozen=True)
class Move:
    """Moves the clock, possibly backwards."""

    seconds: int

    def on(self, persistence: Persistence, clock: Hands) -> Any:
        clock.move(seconds=self.seconds)


@dataclass(frozen=True)
class Transaction:
    """Several operations, which may be rolled back."""

    operations: tuple[Operation, ...]
    undone: bool

    def on(self, persistence: Persistence, clock: Hands) -> Any:
        answers = []
        with suppress(Undone), persistence.transaction():
            answers += [operation.on(persistence, clock) for operation in self.operations]
            if self.undone:
                raise Undone
        return answers


class Undone(Exception):
    pass


Operation = Call | Move | Transaction


def comparable(value: Any) -> Any:
    """Replace ids, which differ between backends, by whether there is one."""
    if isinstance(value, list):
        return [comparable(item) for item in value]
    return replace(value, id=value.id is not None) if isinstance(value, MODELS) else value


# --- the operations ---------------------------------------------------------------------------


def calls(
    name: str, *args: SearchStrategy[Any], **options: SearchStrategy[Any]
) -> SearchStrategy[Call]:
    named = st.fixed_dictionaries(options).map(lambda chosen: tuple(chosen.items()))
    return st.builds(Call, st.just(name), st.tuples(*args), named)


ages = st.timedeltas(timedelta(0), timedelta(hours=2))
limits = maybe(st.integers(0, 4)) | st.sampled_from([-1, 2**63 - 1, 2**63])
offsets = st.integers(0, 4)
any_filter = maybe(few_agents | no_id)

writes = (
    calls("create_agent_run", new_runs)
    | calls("update_agent_run", few_runs, new_runs)
    | calls("delete_agent_run", few_runs)
    | calls("log_agent_run_event", new_events)
    | calls("log_llm_usage", new_usage)
    | calls("runs.abandon", older_than=ages)
)
refused_writes = (
    calls("create_agent_run", bad_runs)
    | calls("update_agent_run", no_id, new_runs)
    | calls("delete_agent_run", no_id)
    | calls("log_agent_run_event", bad_events)
    | calls("log_llm_usage", bad_usage)
)
reads = (
    calls("get_agent_run", few_runs)
    | calls("get_agent_runs", any_filter, limits, offsets)
    | calls("get_agent_run_events", few_runs, maybe(few_types))
    | calls("get_llm_usage", any_filter, maybe(few_runs), limits)
    | calls("get_agent_run_stats", any_filter)
    | calls("runs.stale", older_than=ages)
)
moves = st.builds(Move, st.integers(-10, 4000))


def one_of(*weighted: tuple[int, SearchStrategy[Any]]) -> SearchStrategy[Any]:
    return st.sampled_from([s for weight, s in weighted for _ in range(weight)]).flatmap(
        lambda chosen: chosen
    )


def transactions(inside: SearchStrategy[Operation]) -> SearchStrategy[Operation]:
    return st.builds(Transaction, st.lists(inside, max_size=5).map(tuple), st.booleans())


single_operations = one_of((6, writes), (1, refused_writes), (3, reads), (1, moves))
inner_operations = one_of((4, single_operations), (1, transactions(single_operations)))
operations = one_of((4, single_operations), (1, transactions(inner_operations)))
histories = st.integers(0, 20).flatmap(
    lambda length: st.lists(operations, min_size=length, max_size=length)
)

EVERYTHING = [
    Call("get_agent_runs", (None, None, 0)),
    *(Call("get_agent_run_events", (run_id,)) for run_id in "rst"),
    Call("get_llm_usage", (None, None, None)),
    *(Call("get_agent_run_stats", (agent,)) for agent in (None, "a", "b")),
    Call("runs.stale", options=(("older_than", timedelta(0)),)),
]


def answers(store: Store, history: Sequence[Operation]) -> list[Any]:
    clock = Hands()
    clock.put(NOON)
    persistence = Persistence(store, initialize=False, clock=Clock(clock))
    return [operation.on(persistence, clock) for operation in [*history, *EVERYTHING]]


def in_memory(history: Sequence[Operation]) -> list[Any]:
    return answers(MemoryStore(), history)


# --- the databases ----------------------------------------------------------------------------


@given(histories)
@settings(max_examples=100 * soak.FACTOR)
def test_sqlite_returns_the_same_as_memory(history: list[Operation]) -> None:
    store = SQLiteStore(":memory:")
    store.initialize()
    try:
        assert answers(store, history) == in_memory(history)
    finally:
        store.close()


@given(history=histories)
@settings(max_examples=25 * soak.FACTOR)
def test_postgres_returns_the_same_as_memory(
    postgres: tuple[Store, Callable[[], None]], history: list[Operation]
) -> None:
    store, empty = postgres
    empty()
    assert answers(store, history) == in_memory(history)
