"""Conditions on the scores of a run, as people write them: `score.quality >= 0.8`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from math import isfinite
from typing import Any, NamedTuple

from curio_persistence.errors import InvalidValueError
from curio_persistence.models import Score

_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}
_CONDITION = re.compile(r"\s*score\.(?P<name>.+?)\s*(?P<op>>=|<=|!=|==|>|<|=)\s*(?P<value>.+?)\s*")


class ScoreFilter(NamedTuple):
    """A condition on each of the scores of one name, of which a run has one at least.

    It compares the values of scores with a number, or their labels with a word.
    """

    name: str
    op: str
    wanted: float | str

    def passes(self, scores: Iterable[Score]) -> bool:
        """Return whether a run with these scores passes."""
        named = [score for score in scores if score.name == self.name]
        return bool(named) and all(map(self._passes, named))

    def _passes(self, score: Score) -> bool:
        has = score.label if isinstance(self.wanted, str) else score.value
        return has is not None and _OPERATORS[self.op](has, self.wanted)


def score_filters(where: str | Collection[str]) -> list[ScoreFilter]:
    """Return conditions that were given as texts; raise InvalidValueError for any other text."""
    texts = [where] if isinstance(where, str) else [*where]
    return [_read(text) for text in texts]


def _read(text: Any) -> ScoreFilter:
    found = _CONDITION.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise InvalidValueError(
            f"{text!r} is no condition on a score: write `score.quality >= 0.8` or "
            "`score.verdict = good`.",
            field="where",
        )
    op = found["op"].replace("==", "=")
    value = found["value"]
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if isfinite(number):
        return ScoreFilter(found["name"], op, number)
    if op not in ("=", "!="):
        raise InvalidValueError(
            f"{text!r} compares a label: only = and != do that; a number is {value!r} not.",
            field="where",
        )
    return ScoreFilter(found["name"], op, value.strip("\"'"))
