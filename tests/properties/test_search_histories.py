"""After any history of PostgreSQL's search index, a search finds the same as in memory.

Batches are so small here that their ends are often crossed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, Persistence
from curio_persistence.backends.memory.store import MemoryStore
from curio_persistence.capabilities.search import finding, indexing
from curio_persistence.clock import Clock
from curio_persistence.store.base import Store
from tests.properties.strategies import NOON, few_agents, few_runs
from tests.support import soak
from tests.support.hands import Hands

SMALL = {
    (indexing, "BATCH"): 7,
    (indexing, "_READ"): 3,
    (finding, "_FIRST_LOOK"): 2,
    (finding, "_LONGEST_LOOK"): 5,
    (finding, "_MOST_VALUES"): 2,
}


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for (owner, name), value in SMALL.items():
            patch.setattr(owner, name, value)
        yield


@dataclass(frozen=True)
class Say:
    """Stores events, `at` milliseconds from noon."""

    run: str
    agent: str
    texts: tuple[str, ...]
    at: int

    def on(self, persistence: Persistence) -> None:
        moment = NOON + timedelta(milliseconds=self.at)
        persistence.log_agent_run_events(
            AgentRunEvent(self.agent, self.run, timestamp=moment, event_type="log", message=text)
            for text in self.texts
        )


@dataclass(frozen=True)
class Call:
    """Stores a model call."""

    run: str
    agent: str
    text: str
    at: int

    def on(self, persistence: Persistence) -> None:
        moment = NOON + timedelta(milliseconds=self.at)
        usage = AgentLLMUsage(self.agent, self.run, "p", "m", prompt=self.text, created_at=moment)
        persistence.log_llm_usage(usage)


@dataclass(frozen=True)
class Aim:
    """Creates or changes a run."""

    run: str
    agent: str
    text: str
    at: int

    def on(self, persistence: Persistence) -> None:
        moment = NOON + timedelta(milliseconds=self.at)
        run = AgentRun(self.agent, self.run, objective=self.text, created_at=moment)
        if persistence.get_agent_run(self.run):
            persistence.update_agent_run(self.run, run)
        else:
            persistence.create_agent_run(run)


@dataclass(frozen=True)
class Delete:
    """Deletes a run with its events."""

    run: str

    def on(self, persistence: Persistence) -> bool:
        return persistence.delete_agent_run(self.run)


@dataclass(frozen=True)
class Index:
    """Indexes some of the pending records."""

    limit: int | None

    def on(self, persistence: Persistence) -> int:
        return persistence.search.index_pending(limit=self.limit)


@dataclass(frozen=True)
class Rebuild:
    """Rebuilds the index."""

    def on(self, persistence: Persistence) -> int:
        return persistence.search.rebuild()


@dataclass(frozen=True)
class Search:
    """Searches page by page."""

    query: str
    order: str
    size: int | None
    narrowing: tuple[tuple[str, Any], ...]

    def on(self, persistence: Persistence) -> list[Any]:
        hits: list[Any] = []
        cursor = None
        while True:
            page = persistence.search_text(
                self.query,
                order=self.order,  # type: ignore[arg-type]
                limit=self.size,
                cursor=cursor,
                **dict(self.narrowing),
            )
            hits += [(hit.kind, hit.run_id, hit.snippet, hit.timestamp) for hit in page]
            cursor = page.next_cursor
            if cursor is None:
                return sorted(hits, key=str)  # At the same time, their ids decide.


@dataclass(frozen=True)
class Transaction:
    """Several steps, which may be rolled back."""

    steps: tuple[Any, ...]
    undone: bool

    def on(self, persistence: Persistence) -> list[Any]:
        answers: list[Any] = []
        with suppress(Undone), persistence.transaction():
            answers += [step.on(persistence) for step in self.steps]
            if self.undone:
                raise Undone
        return answers


class Undone(Exception):
    pass


words = st.sampled_from(["a", "ab", "abc", "b", "ba", "bab", "é", "天気", "x" * 64])
texts = st.lists(words, min_size=1, max_size=4).map(" ".join)
moments = st.integers(0, 60)
says = st.builds(Say, few_runs, few_agents, st.lists(texts, max_size=20).map(tuple), moments)
terms = st.tuples(st.sampled_from(["", "", "-"]), words, st.sampled_from(["", "", "*"]))
queries = st.lists(terms.map("".join), min_size=1, max_size=3).map(" ".join)
windows = moments.map(lambda at: NOON + timedelta(milliseconds=at))
narrowings = st.fixed_dictionaries(
    {},
    optional={
        "agent_id": few_agents,
        "run_id": few_runs,
        "event_type": st.just("log"),
        "since": windows,
        "until": windows,
    },
).map(lambda chosen: tuple(chosen.items()))
searches = st.builds(
    Search,
    queries,
    st.sampled_from(["newest", "newest", "rank"]),
    st.none() | st.integers(1, 7),
    narrowings,
)
single = st.one_of(
    says,
    says,
    says,
    st.builds(Call, few_runs, few_agents, texts, moments),
    st.builds(Aim, few_runs, few_agents, texts, moments),
    st.builds(Delete, few_runs),
    st.builds(Index, st.none() | st.integers(1, 9)),
    st.just(Rebuild()),
    searches,
    searches,
)
transactions = st.builds(Transaction, st.lists(single, max_size=4).map(tuple), st.booleans())
steps = st.one_of(*[single] * 6, transactions)
histories = st.integers(5, 25).flatmap(
    lambda length: st.lists(steps, min_size=length, max_size=length)
)


def answers(store: Store, history: Sequence[Any]) -> list[Any]:
    clock = Hands()
    clock.put(NOON)
    persistence = Persistence(store, initialize=False, clock=Clock(clock))
    asked = [Search(query, "newest", 5, ()) for query in ("a", "b*", "-a", "é -b*", "天気")]
    answers = [step.on(persistence) for step in [*history, *asked]]
    assert {finding.level for finding in persistence.search.check(deep=True)} == {"ok"}
    return answers


@given(history=histories)
@settings(max_examples=20 * soak.FACTOR)
def test_postgres_finds_the_same_as_memory(
    postgres: tuple[Store, Callable[[], None]], history: list[Any]
) -> None:
    store, empty = postgres
    empty()
    assert answers(store, history) == answers(MemoryStore(), history)
