"""Long texts stored once: a conversation whose calls have all messages before them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from random import Random
from time import perf_counter_ns

from benchmarks.cases.sides import Case, apart, check
from benchmarks.support import rows
from benchmarks.support.report import Goal, Line, megabytes
from benchmarks.support.timing import Timing
from benchmarks.support.workspace import Workspace
from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    Persistence,
    PostgresPersistence,
    SQLitePersistence,
)

_TURNS, _FEW_TURNS = 500, 20
_SYSTEM = 1_700
"""The words of the first message, of 10 kB."""
_WORDS = (170, 340)
"""The words of another message, of 1 to 2 kB."""
_BYTES_OF_TABLES = """
    SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relkind = 'r'
"""
Numbers = list[float]


def sqlite_content(work: Workspace) -> list[Line]:
    with (
        work.sqlite_copies(2) as (first, second),
        SQLitePersistence(first) as plain,
        SQLitePersistence(second, dedupe=True) as sharing,
    ):
        return _lines("SQLite", work, plain, sharing)


def postgres_content(work: Workspace) -> list[Line]:
    with (
        work.postgres_copies(2) as (first, second),
        PostgresPersistence(dsn=work.dsn, schema=first) as plain,
        PostgresPersistence(dsn=work.dsn, schema=second, dedupe=True) as sharing,
        apart(work),
    ):
        return _lines("PostgreSQL", work, plain, sharing)


CASES: dict[str, Case] = {"sqlite-content": sqlite_content, "postgres-content": postgres_content}


def _lines(name: str, work: Workspace, plain: Persistence, sharing: Persistence) -> list[Line]:
    turns = _TURNS if work.sizes.writes >= _TURNS else _FEW_TURNS
    sides = (plain, sharing)
    writing, reading, sizes = (list[Numbers]() for _ in range(3))
    for number in range(work.sizes.slow_repetitions):
        session = f"conversation {number}"
        before = [_used(side) for side in sides]
        writing.append(_written(sides, session, turns))
        sizes.append([_used(side) - size for side, size in zip(sides, before, strict=True)])
        reading.append(_read(sides, session, turns))
    new = sum(len(text) for text in _texts(turns))
    return [
        Line(
            f"{name}, a model call of a conversation of {turns} turns, stored once",
            Goal(None, None),
            _timing(writing),
            remark="raw is stored without dedupe",
        ),
        Line(
            f"{name}, size of that conversation",
            Goal(1.3 * new, 1.1 * new, "alone"),
            _timing(sizes),
            remark=f"its new texts have {megabytes(new)}",
            unit=megabytes,
        ),
        Line(f"{name}, one of its calls read, among all", Goal(None, None), _timing(reading)),
    ]


def _timing(repetitions: list[Numbers]) -> Timing:
    plain, sharing = zip(*repetitions, strict=True)
    return Timing([*plain], [*sharing])


def _texts(turns: int) -> Iterator[str]:
    """Yield what is said: the first message, then questions and answers."""
    random = Random(turns)
    yield rows.sentence(random, _SYSTEM)
    for _ in range(2 * turns):
        yield rows.sentence(random, random.randint(*_WORDS))


def _calls(session: str, turns: int) -> Iterator[AgentLLMUsage]:
    texts = _texts(turns)
    messages = [{"role": "system", "content": next(texts)}]
    for question, answer in zip(texts, texts, strict=True):
        messages.append({"role": "user", "content": question})
        prompt = json.dumps(messages, ensure_ascii=False)
        yield AgentLLMUsage(
            "agent", session, model="m", prompt=prompt, response_content=answer, input_tokens=9
        )
        messages.append({"role": "assistant", "content": answer})


def _written(sides: tuple[Persistence, ...], session: str, turns: int) -> Numbers:
    """Store a conversation in each database, call by call in turn; return the time of a call."""
    for side in sides:
        side.create_agent_run(AgentRun("agent", session, session_id=session))
    taken = [0.0 for _ in sides]
    for calls in zip(*(_calls(session, turns) for _ in sides), strict=True):
        times = [perf_counter_ns()]
        for side, call in zip(sides, calls, strict=True):
            side.log_llm_usage(call)
            times.append(perf_counter_ns())
        for number, (begin, end) in enumerate(pairwise(times)):
            taken[number] += (end - begin) / turns
    return taken


def _read(sides: tuple[Persistence, ...], session: str, turns: int) -> Numbers:
    """Read all calls of a conversation; return the time of one."""
    expected = [call.prompt for call in _calls(session, turns)]
    taken = Numbers()
    for side in sides:
        begin = perf_counter_ns()
        found = [call.prompt for call in side.iter_llm_usage(run_id=session, order="oldest")]
        taken.append((perf_counter_ns() - begin) / turns)
        check(found, expected)
    return taken


def _used(persistence: Persistence) -> float:
    """Return the bytes that a database uses."""
    store = persistence._store
    used = store.used_bytes()
    if used is None:
        [(used,)] = store._read(_BYTES_OF_TABLES, (store._schema_name,))  # type: ignore[attr-defined]
    return float(used)
