"""Questions about a large table, cut into parts that can be answered side by side.

A part is a range of the column that is grouped by first, so that no group falls apart and each part
reads a stretch of the index. Where to cut is a guess: it decides how even the parts are, and
nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from curio_persistence.store.base import Question
from curio_persistence.store.filters import Filter, Where
from curio_persistence.store.table import Kept
from curio_persistence.tables import EVENTS, USAGE

LARGE = 100_000
"""Rows from which on a second thread and its connection (1 ms) are worth their price."""

_ONLY_GROWING = (EVENTS, USAGE)
"""Tables whose rows stay in their group: between two parts none moves from one to the other."""
_PARTS = 16
_SAMPLES = 64


def dividing_column(question: Question) -> str | None:
    """The column by which a question can be cut, if it can."""
    if question.table not in _ONLY_GROWING or not question.group_by:
        return None
    column = question.group_by[0]
    return None if any(f.column == column for f in question.where) else column


def some_ids(last: int) -> tuple[int, ...]:
    """Some of the ids up to the last, always the same.

    At random, because whatever steps they were in, agents that take turns could be in as well.
    """
    return tuple(Random(last).choices(range(1, last + 1), k=_SAMPLES))


def cut(question: Question, column: str, samples: Sequence[Kept]) -> list[Question]:
    """The parts, about equally many rows in each, going by some of the column's values, sorted."""
    values = dict.fromkeys(samples[len(samples) * n // _PARTS] for n in range(1, _PARTS) if samples)
    return [question._replace(where=question.where + part) for part in _ranges(column, [*values])]


def _ranges(column: str, cuts: Sequence[Kept]) -> list[Where]:
    """Conditions of which each row meets one, with a boundary at each of these values."""
    if not cuts:
        return [()]
    start = [Filter(column, ">=", value) for value in cuts]
    end = [Filter(column, "<", value) for value in cuts]
    inner = zip(start, end[1:], strict=False)
    return [(Filter(column, "is null"),), (end[0],), *inner, (start[-1],)]
