"""Similarity: the texts nearest to a vector, beside bare numpy and bare pgvector.

The vectors lie around some thousand points, as those of texts do. Each is that of an event. One
processor multiplies: this process may have one only. Questions are measured by the time of
processors, here and in the server's session.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count, cycle
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import psycopg2

from benchmarks.cases.sides import Case, apart
from benchmarks.support import fill
from benchmarks.support.report import Goal, Line, rows_per_second
from benchmarks.support.timing import Timing, each, quantile, sample, timed, worked
from benchmarks.support.workspace import Workspace
from curio_persistence import AgentRunEvent, Persistence, PostgresPersistence, SQLitePersistence

_NUMBERS, _POINTS, _TOP, _QUESTIONS = 256, 2_000, 10, 50
_IN_MEMORY = Goal(50e6, 16e6, "alone")
_BY_INDEX = Goal(20e6, 5e6, "alone")
_RECALL = 0.9
_SCHEMA = "similar"
Ask = Callable[[Any], list[int]]
"""Returns the numbers of the texts that are most similar to a vector."""


def sqlite_similar(work: Workspace) -> list[Line]:
    with SQLitePersistence(work.directory / "similar.db", embed=_Model(work)) as ours:
        indexing = _fill("SQLite", work, ours)
        return [indexing, _asking("SQLite, 10 of {}", work, _numpy(work), ours, _IN_MEMORY)]


def postgres_similar(work: Workspace) -> Iterator[Line]:
    with (
        PostgresPersistence(dsn=work.dsn, schema=_SCHEMA, embed=_Model(work)) as ours,
        closing(psycopg2.connect(work.dsn)) as raw,
        apart(work),
    ):
        yield _fill("PostgreSQL", work, ours)
        yield _asking("PostgreSQL, 10 of {}", work, _numpy(work), ours, _IN_MEMORY)
        ask = _pgvector(work, raw)
        ours.similarity.create_index()
        title = "PostgreSQL, 10 of {} by an index"
        yield _asking(title, work, ask, ours, _BY_INDEX)


CASES: dict[str, Case] = {"sqlite-similar": sqlite_similar, "postgres-similar": postgres_similar}


def _vectors(work: Workspace, seed: int, number: int) -> Any:
    """Return vectors of length 1 around the same points for every seed."""
    points = np.random.default_rng(0).standard_normal((_POINTS, _NUMBERS), np.float32)
    chance = np.random.default_rng(seed)
    vectors = points[chance.integers(0, _POINTS, number)]
    vectors += 0.7 * chance.standard_normal(vectors.shape, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _stored(work: Workspace) -> Any:
    return _vectors(work, 1, work.sizes.usage_rows // 10)


class _Model:
    """Returns the stored vector of the number that a text is."""

    name = "numbers"

    def __init__(self, work: Workspace) -> None:
        self._vectors = _stored(work)

    def __call__(self, texts: list[str]) -> Any:
        return self._vectors[[int(text) for text in texts]]


def _fill(name: str, work: Workspace, ours: Persistence) -> Line:
    number = work.sizes.usage_rows // 10
    ours.log_agent_run_events(
        AgentRunEvent("agent", f"run-{n // 1_000}", event_type="log", message=str(n))
        for n in range(number)
    )
    taken = timed(lambda _: ours.similarity.index_pending(), [None]) / number
    return Line(
        f"{name}, storing the vectors of {number:,} texts, for each",
        Goal(None, None, "alone"),
        Timing([taken], [taken]),
        unit=rows_per_second,
        remark="without the time of the model",
    )


def _numpy(work: Workspace) -> Ask:
    vectors = _stored(work)

    def ask(question: Any) -> list[int]:
        scores = vectors @ question
        best = np.argpartition(-scores, _TOP)[:_TOP]
        return best[np.argsort(-scores[best])].tolist()  # type: ignore[no-any-return]

    return ask


def _pgvector(work: Workspace, connection: Any) -> Ask:
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
    cursor.execute(f"CREATE TABLE raw_vectors (id BIGINT, vector halfvec({_NUMBERS}))")
    numbers = count()
    for part in np.array_split(_stored(work), 100):
        rows = [(next(numbers), str(vector.tolist())) for vector in part]
        marks = ", ".join(["(%s, %s)"] * len(rows))
        cursor.execute(f"INSERT INTO raw_vectors VALUES {marks}", sum(rows, ()))
    cursor.execute("SET maintenance_work_mem = '256MB'")
    cursor.execute("CREATE INDEX ON raw_vectors USING hnsw (vector halfvec_cosine_ops)")
    cursor.execute("SET hnsw.ef_search = 200")

    def ask(question: Any) -> list[int]:
        cursor.execute(
            f"SELECT id FROM raw_vectors ORDER BY vector <=> %s::halfvec LIMIT {_TOP}",
            (str(question.tolist()),),
        )
        return [number for (number,) in cursor.fetchall()]

    return ask


def _asking(title: str, work: Workspace, raw: Ask, ours: Persistence, goal: Goal) -> Line:
    """Measure both sides answering the same questions in turn, and how many of the best we find."""
    questions = _vectors(work, 2, _QUESTIONS)

    def similar(question: Any) -> list[int]:
        hits = ours.similar(question, top=_TOP)
        return [int(hit.snippet) for hit in hits]

    exact = _numpy(work)
    recall = sum(len({*exact(q)} & {*similar(q)}) for q in questions) / (_TOP * _QUESTIONS)
    raw_recall = sum(len({*exact(q)} & {*raw(q)}) for q in questions) / (_TOP * _QUESTIONS)
    if recall < _RECALL:
        raise AssertionError(f"{title}: {recall:.3f} of the best {_TOP} are found")

    sessions = fill.sessions(work.dsn) if isinstance(ours, PostgresPersistence) else []

    def chunk(ask: Ask) -> Callable[[], int]:
        following = cycle(questions)
        return lambda: worked(ask, [next(following)], sessions)

    samples = sample(
        chunk(raw),
        chunk(similar),
        chunks=work.rounds(_QUESTIONS),
        repetitions=work.sizes.repetitions,
    )
    return Line(
        title.format(f"{work.sizes.usage_rows // 10:,}") + ", p95 of processor time",
        goal,
        Timing(*(each(side, quantile(0.95)) for side in samples)),
        remark=f"recall@10 {recall:.3f}, raw {raw_recall:.3f}",
    )
