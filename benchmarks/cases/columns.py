"""A whole table for analysis, in columns."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.cases.sides import Case, check, postgres, sqlite
from benchmarks.support.report import Goal, Line
from benchmarks.support.timing import Chunk, Timing, each, mean, sample, timed
from benchmarks.support.workspace import Workspace
from curio_persistence import Persistence

_GOAL = Goal(3, 6, "times")
_NO_GOAL = Goal(None, None, "times")


def sqlite_arrow(work: Workspace) -> list[Line]:
    with sqlite(work.sqlite_usage) as (_, ours):
        return _arrow("SQLite", work, ours)


def postgres_arrow(work: Workspace) -> list[Line]:
    with postgres(work, work.postgres_usage) as (_, ours):
        return _arrow("PostgreSQL", work, ours)


CASES: dict[str, Case] = {"sqlite-arrow": sqlite_arrow, "postgres-arrow": postgres_arrow}


def _arrow(name: str, work: Workspace, ours: Persistence) -> list[Line]:
    count = work.sizes.usage_rows
    some = ours.query_llm_usage(limit=1_000)
    check(some.to_arrow()["id"].to_pylist(), [usage.id for usage in some])  # Imports pyarrow, too.
    ways: list[Callable[[], int]] = [
        lambda: len(ours.get_llm_usage(limit=None)),
        lambda: ours.iter_llm_usage().to_arrow().num_rows,
        lambda: ours.query_llm_usage(limit=None).to_arrow().num_rows,
    ]
    samples = sample(
        *(_whole(way, count) for way in ways),
        chunks=1,
        repetitions=work.sizes.slow_repetitions,
        warm_up=False,
    )
    records, stream, page = (each(side, mean) for side in samples)
    title = f"{name}, all {count:,} usage rows `to_arrow()`"
    return [
        Line(f"{title} from a stream, against dataclasses", _GOAL, Timing(records, stream)),
        Line(f"{title} from a page, against dataclasses", _NO_GOAL, Timing(records, page)),
    ]


def _whole(read: Callable[[], int], count: int) -> Chunk:
    return lambda: timed(lambda _: check(read(), count), [None])
