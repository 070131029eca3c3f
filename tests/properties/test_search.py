"""For any records and queries, every backend finds the records with the words, and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, Persistence
from curio_persistence.backends.memory.store import MemoryStore
from curio_persistence.backends.sqlite.store import SQLiteStore
from curio_persistence.store.base import Store
from curio_persistence.text.query import matches, parse_query
from curio_persistence.text.tokenizer import tokenize
from tests.properties.strategies import NOON, any_text, few_agents, few_runs, maybe
from tests.support import soak

PIECES = """a ab abc b rate limit it's 20.04 é E\u0301 ß ss 错 错误 误码错 ภาษา ไทย 한국어
ガ ｶﾞ - " \0 👍🏽 👩\u200d💻 💻 🇩🇪"""
pieces = any_text | st.sampled_from([*PIECES.split(), "x" * 70])
texts = st.builds(
    str.join, st.sampled_from(["", " ", ", ", "\n", '"', "-"]), st.lists(pieces, max_size=6)
)
moments = st.integers(-3, 3).map(lambda number: NOON + timedelta(milliseconds=number * 400))
levels = st.sampled_from(["info", "error"])
types = st.sampled_from(["log", "metric"])
models = st.sampled_from(["m", "é"])
sessions = maybe(st.sampled_from(["one", "two"]))


class Said(NamedTuple):
    """A record with its searched texts and its time."""

    record: Any
    texts: tuple[str, ...]
    time: datetime


def a_run(run: AgentRun) -> Said:
    texts = (run.objective, run.final_synthesis_output or "", run.error_message or "")
    assert run.created_at
    return Said(run, texts, run.created_at)


def an_event(event: AgentRunEvent) -> Said:
    assert event.timestamp
    return Said(event, (event.message or "", *strings_in(event.data)), event.timestamp)


def a_call(usage: AgentLLMUsage) -> Said:
    assert usage.created_at
    texts = (usage.prompt, usage.response_content or "", usage.error_message or "")
    return Said(usage, texts, usage.created_at)


def strings_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from strings_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings_in(inner)
    else:
        yield value


payloads = st.recursive(
    texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=4,
).filter(lambda value: not isinstance(value, str))
runs = st.builds(
    AgentRun,
    agent_id=few_agents,
    run_id=few_runs,
    objective=texts,
    final_synthesis_output=maybe(texts),
    error_message=maybe(texts),
    created_at=moments,
    session_id=sessions,
).map(a_run)
events = st.builds(
    AgentRunEvent,
    agent_id=few_agents,
    run_id=few_runs,
    timestamp=moments,
    event_type=types,
    data=payloads,
    session_id=sessions,
    level=levels,
    message=texts,
).map(an_event)
calls = st.builds(
    AgentLLMUsage,
    agent_id=few_agents,
    run_id=maybe(few_runs),
    model=models,
    prompt=texts,
    response_content=maybe(texts),
    error_message=maybe(texts),
    created_at=moments,
).map(a_call)


def decorated(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Decorate a query with characters that people type."""
    before = st.sampled_from(["", "", "", "-", '"', '-"', "--"])
    behind = st.sampled_from(["", "", "", "*", '"'])
    return st.tuples(before, texts, behind).map("".join)


queries = texts | st.lists(decorated(pieces), min_size=1, max_size=3).map(" ".join)


class History(NamedTuple):
    """Records, of which `early` are searched at once, and the runs deleted afterwards."""

    stored: list[Said]
    early: int
    deleted: set[str]


class Question(NamedTuple):
    """A query and its filters."""

    query: str
    narrowing: Mapping[str, Any]


@st.composite
def histories(draw: st.DrawFn) -> History:
    stored = draw(st.lists(runs, max_size=2, unique_by=lambda said: said.record.run_id))
    stored += draw(st.lists(events | calls, min_size=1, max_size=6))
    early = draw(st.integers(0, len(stored)))
    return History(stored, early, draw(st.just(set()) | st.sets(few_runs, max_size=1)))


@st.composite
def questions(draw: st.DrawFn, history: History) -> Question:
    """Queries, often of words that one of the records contains."""
    said = draw(st.sampled_from(history.stored))
    words = " ".join(said.texts).split() or ["a"]
    query = draw(queries | st.lists(decorated(st.sampled_from(words)), max_size=2).map(" ".join))
    there = {name: getattr(said.record, name, None) for name in NARROWING}
    there |= {"since": said.time, "until": draw(moments)}
    names = draw(st.just(set()) | st.sets(st.sampled_from(sorted(there)), max_size=2))
    return Question(query, {name: there[name] for name in names if there[name] is not None})


NARROWING = ("agent_id", "run_id", "session_id", "event_type", "level", "model")


@st.composite
def cases(draw: st.DrawFn) -> tuple[History, list[Question]]:
    history = draw(histories())
    return history, draw(st.lists(questions(history), min_size=1, max_size=5))


def answers(store: Store, history: History, asked: list[Question]) -> list[set[int]]:
    """Return the numbers of the records that a store finds."""
    persistence = Persistence(store, initialize=False)
    for number, said in enumerate(history.stored):
        write(persistence, said.record, number)
        if number + 1 == history.early:
            persistence.search_text("anything")
    for run_id in history.deleted:
        persistence.delete_agent_run(run_id)
    return [found(persistence, history, question) for question in asked]


def found(persistence: Persistence, history: History, question: Question) -> set[int]:
    """Search by pages and by rank."""
    query, narrowing = question
    by_rank = persistence.search_text(query, order="rank", **narrowing)
    hits: list[Any] = []
    cursor = None
    while True:
        page = persistence.search_text(query, limit=3, cursor=cursor, **narrowing)
        hits += page
        cursor = page.next_cursor
        if cursor is None:
            break
    assert sorted(each.record.id for each in hits) == sorted(each.record.id for each in by_rank)
    numbers = [number_of(history, hit.record) for hit in hits]
    created = [number for number in numbers if number != STUB]
    assert len(created) == len(set(created))
    return set(created)


STUB = -1
"""The number of a run that was never created."""


def write(persistence: Persistence, record: Any, number: int) -> None:
    record = replace(record, id=None)
    if isinstance(record, AgentRun):
        persistence.create_agent_run(record)
    elif isinstance(record, AgentRunEvent):
        persistence.log_agent_run_event(replace(record, span_id=f"{number}"))
    else:
        persistence.log_llm_usage(replace(record, span_id=f"{number}"))


def number_of(history: History, record: Any) -> int:
    if not isinstance(record, AgentRun):
        return int(record.span_id)
    created = [said.record for said in history.stored if isinstance(said.record, AgentRun)]
    ids = [run.run_id for run in created]
    return ids.index(record.run_id) if record.run_id in ids else STUB


def expected(history: History, asked: list[Question]) -> list[set[int]]:
    """Compute the expected hits from the records themselves."""
    numbered = [(number, said) for number, said in enumerate(left(history)) if said is not None]
    runs = {s.record.run_id: s.record for _, s in numbered if isinstance(s.record, AgentRun)}
    return [
        {
            number
            for number, said in numbered
            if is_meant(said, narrowing, runs) and has_words(said, query)
        }
        for query, narrowing in asked
    ]


def left(history: History) -> Iterator[Said | None]:
    """Return the records left by a deletion: model calls without text or run.

    If there are only model calls of a run, there is no run to delete.
    """
    there = {s.record.run_id for s in history.stored if not isinstance(s.record, AgentLLMUsage)}
    deleted = history.deleted & there
    for said in history.stored:
        if said.record.run_id not in deleted:
            yield said
        elif isinstance(said.record, AgentLLMUsage):
            yield Said(replace(said.record, run_id=None), (), said.time)
        else:
            yield None


def is_meant(said: Said, narrowing: Mapping[str, Any], runs: Mapping[str, AgentRun]) -> bool:
    values = dict(narrowing)
    if isinstance(said.record, AgentLLMUsage) and "session_id" in values:
        run = runs.get(said.record.run_id or "")  # A model call belongs to the session of its run.
        if run is None or run.session_id != values.pop("session_id"):
            return False
    since, until = values.pop("since", said.time), values.pop("until", None)
    return (
        all(getattr(said.record, name, None) == value for name, value in values.items())
        and since <= said.time
        and (until is None or said.time < until)
    )


def has_words(said: Said, query: str) -> bool:
    words = [word for text in said.texts for word in (*tokenize(text), "")]
    return matches(parse_query(query), words)


@given(cases())
def test_memory_finds_the_records_with_the_words(case: tuple[History, list[Question]]) -> None:
    assert answers(MemoryStore(), *case) == expected(*case)


@given(cases())
def test_sqlite_finds_the_records_with_the_words(case: tuple[History, list[Question]]) -> None:
    store = SQLiteStore(":memory:")
    store.initialize()
    try:
        assert answers(store, *case) == expected(*case)
    finally:
        store.close()


@given(case=cases())
@settings(max_examples=40 * soak.FACTOR)
def test_postgres_finds_the_records_with_the_words(
    postgres: tuple[Store, Callable[[], None]], case: tuple[History, list[Question]]
) -> None:
    store, empty = postgres
    empty()
    assert answers(store, *case) == expected(*case)
