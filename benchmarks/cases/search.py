"""Search: finding events by words, indexing them, and the cost for writers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import cycle
from random import Random
from typing import Any

from benchmarks.cases.sides import Case, apart, check, check_written, events_to_write
from benchmarks.raw.words import RawPostgresWords, RawSQLiteWords
from benchmarks.support import fill, rows
from benchmarks.support.report import Goal, Line, megabytes, rows_per_second
from benchmarks.support.timing import (
    WRITES_IN_A_ROW,
    Chunk,
    Timing,
    each,
    interleave,
    mean,
    quantile,
    sample,
    timed,
)
from benchmarks.support.workspace import Workspace
from curio_persistence import Persistence, PostgresPersistence, SQLitePersistence

Raw = RawSQLiteWords | RawPostgresWords
Words = tuple[str, ...]

_PAGE = 50
_QUESTIONS = 20
_INDEXED_IN_A_ROW = 20_000
_NEWEST = Goal(50e6, 20e6, "alone")
_RANKED = {"SQLite": Goal(200e6, 100e6, "alone"), "PostgreSQL": Goal(250e6, 100e6, "alone")}
_INDEXED = {"SQLite": Goal(50_000, 40_000, "alone"), "PostgreSQL": Goal(100_000, 50_000, "alone")}
_SIZE = {"SQLite": Goal(0.6, 0.4), "PostgreSQL": Goal(1.8, 1.5)}
_WRITES = Goal(0.97, 0.99, "speed")


def sqlite_search(work: Workspace) -> list[Line]:
    path = work.sqlite_words
    before = fill.sqlite_size(path)
    with (
        closing(RawSQLiteWords(work.directory / "raw_words.db", path)) as raw,
        SQLitePersistence(path) as ours,
    ):
        lines = [_indexing("SQLite", work, raw, ours)]
        size = fill.sqlite_size(path) - before
        lines += _sizes("SQLite", raw, size, fill.sqlite_octets(path))
        return [*lines, *_asking("SQLite", work, raw, ours)]


def postgres_search(work: Workspace) -> list[Line]:
    dsn, schema = work.dsn, work.postgres_words
    with (
        closing(RawPostgresWords(dsn, schema)) as raw,
        PostgresPersistence(dsn=dsn, schema=schema) as ours,
        apart(work),
    ):
        lines = [_indexing("PostgreSQL", work, raw, ours)]
        size = fill.postgres_size(dsn, schema, "agent_search%")
        lines += _sizes("PostgreSQL", raw, size, fill.postgres_octets(dsn, schema))
        return [*lines, *_asking("PostgreSQL", work, raw, ours)]


def sqlite_write_searched(work: Workspace) -> list[Line]:
    with (
        work.sqlite_copies(2) as (first, second),
        SQLitePersistence(first, search=False) as without,
        SQLitePersistence(second, search=True) as ours,
    ):
        return [_writing("SQLite", work, without, ours)]


def postgres_write_searched(work: Workspace) -> list[Line]:
    with (
        work.postgres_copies(2) as (first, second),
        PostgresPersistence(dsn=work.dsn, schema=first, search=False) as without,
        PostgresPersistence(dsn=work.dsn, schema=second, search=True) as ours,
        apart(work),
    ):
        return [_writing("PostgreSQL", work, without, ours)]


CASES: dict[str, Case] = {
    "sqlite-search": sqlite_search,
    "postgres-search": postgres_search,
    "sqlite-write-searched": sqlite_write_searched,
    "postgres-write-searched": postgres_write_searched,
}


def _indexing(name: str, work: Workspace, raw: Raw, ours: Persistence) -> Line:
    """Measure both sides indexing all events."""
    count = work.sizes.history_runs * rows.EVENTS_OF_A_RUN
    repetitions = work.sizes.slow_repetitions
    part = min(_INDEXED_IN_A_ROW, count // repetitions)
    ours.search.index_pending(limit=work.sizes.history_runs)  # The runs.

    def chunk(index: Callable[[], object]) -> Chunk:
        return lambda: timed(lambda _: index(), [None])

    samples = sample(
        chunk(lambda: raw.index(part)),
        chunk(lambda: ours.search.index_pending(limit=part)),
        chunks=count // part // repetitions,
        repetitions=repetitions,
        warm_up=False,
    )
    raw.index(count)
    ours.search.index_pending()
    return Line(
        f"{name}, indexing {count:,} events, for each",
        _INDEXED[name],
        Timing(*(each(side, mean, part) for side in samples)),
        remark=f"raw makes {rows_per_second(mean(samples[0][-1]) / part)}, "
        f"we make {rows_per_second(mean(samples[1][-1]) / part)} in the end",
    )


def _sizes(name: str, raw: Raw, ours: int, text: int) -> list[Line]:
    return [
        Line(f"{name}, size of the index, against the text", _SIZE[name], Timing([text], [ours]),
             unit=megabytes),
        Line(f"{name}, size of the index", Goal(None, None), Timing([raw.size()], [ours]),
             unit=megabytes),
    ]  # fmt: skip


def _asking(name: str, work: Workspace, raw: Raw, ours: Persistence) -> list[Line]:
    random = Random(8)

    def newest(words: Words) -> Sequence[Any]:
        return ours.search_text(" ".join(words), limit=_PAGE)

    def best(words: Words) -> Sequence[Any]:
        return ours.search_text(" ".join(words), limit=_PAGE, order="rank")

    lines = []
    for count in (1, 2, 3):
        questions = [rows.some_words(random, count) for _ in range(_QUESTIONS)]
        for words in questions:
            _check_found(newest(words), raw.newest(words, _PAGE))
        lines.append(
            Line(
                f"{name}, newest {_PAGE} events with {count} word{'s' if count > 1 else ''}, p95",
                _NEWEST,
                _p95(work, questions, lambda words: raw.newest(words, _PAGE), newest),
            )
        )
    frequent = [(word,) for word in random.sample(rows.vocabulary()[20:300], _QUESTIONS)]
    lines.append(
        Line(
            f"{name}, best {_PAGE} events with a frequent word, p95",
            _RANKED[name],
            _p95(work, frequent, lambda words: raw.best(words, _PAGE), best),
            remark="ours: of the newest 10,000",
        )
    )
    return lines


def _p95(
    work: Workspace,
    questions: Sequence[Words],
    raw: Callable[[Words], object],
    ours: Callable[[Words], object],
) -> Timing:
    def chunk(ask: Callable[[Words], object]) -> Chunk:
        following = cycle(questions)
        return lambda: timed(ask, [next(following)])

    samples = sample(
        chunk(raw),
        chunk(ours),
        chunks=work.rounds(_QUESTIONS),
        repetitions=work.sizes.slow_repetitions,
    )
    return Timing(*(each(side, quantile(0.95)) for side in samples))


def _check_found(ours: Sequence[Any], raw: Sequence[tuple[Any, ...]]) -> None:
    """Assert that both found the same, or the same number if there are more."""
    check(len(ours), len(raw))
    if len(raw) < _PAGE:
        check(sorted(hit.record.id for hit in ours), sorted(row[6] for row in raw))


def _writing(name: str, work: Workspace, without: Persistence, ours: Persistence) -> Line:
    def chunk(persistence: Persistence) -> Chunk:
        events = events_to_write(work)
        return lambda: timed(persistence.log_agent_run_event, events.take(WRITES_IN_A_ROW))

    timing = interleave(
        chunk(without),
        chunk(ours),
        calls=WRITES_IN_A_ROW,
        chunks=max(work.sizes.writes // WRITES_IN_A_ROW, 1),
        repetitions=work.sizes.repetitions,
    )
    check_written(work, ours, without)
    return Line(f"{name}, one event per call, against a database without search", _WRITES, timing)
