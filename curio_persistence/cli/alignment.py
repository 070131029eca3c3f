"""Two runs side by side: which step of one is which step of the other, and how they differ."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

from curio_persistence.cli.steps import MODEL, RUN, TOOL, Step

_IDS = frozenset(("task_id", "target_run_id"))
"""Parts that name things of one run only."""

_NAMES = {
    TOOL: "tool",
    "mcp.call": "tool",
    MODEL: "model",
    RUN: "agent",
    "delegation": "agent",
    "metric": "name",
    "artifact": "name",
    "log": "log",
}
"""What a step's name is of; of other kinds it is a message."""

SLOWER = 2
SLOWER_MS = 1000
"""Latency is a difference where one step took so many times as long, and so much longer."""


class Difference(NamedTuple):
    """A value at a path (`args.filters[0].word`); None is also what is not there."""

    path: str
    first: Any
    second: Any


class Pair(NamedTuple):
    """What is the same step in both runs; None where only one has it."""

    first: Step | None
    second: Step | None
    differences: tuple[Difference, ...] = ()

    @property
    def either(self) -> Step:
        step = self.first or self.second
        assert step is not None
        return step

    @property
    def change(self) -> str:
        if self.second is None:
            return "only in first"
        if self.first is None:
            return "only in second"
        return "changed" if self.differences else "equal"


def compared(first: Step, second: Step) -> Pair:
    return Pair(first, second, tuple(_differences(first, second)))


def aligned(first: Sequence[Step], second: Sequence[Step]) -> list[Pair]:
    """All steps of both, in order: first what is equal is found, between that what is alike."""
    return list(_aligned(first, second, (_content, _signature, _kind)))


def _aligned(
    first: Sequence[Step], second: Sequence[Step], keys: Sequence[Callable[[Step], Hashable]]
) -> Iterator[Pair]:
    if not keys or not first or not second:
        yield from (Pair(step, None) for step in first)
        yield from (Pair(None, step) for step in second)
        return
    key, *coarser = keys
    i = j = 0
    for i_next, j_next in in_common([*map(key, first)], [*map(key, second)]):
        yield from _aligned(first[i:i_next], second[j:j_next], coarser)
        yield compared(first[i_next], second[j_next])
        i, j = i_next + 1, j_next + 1
    yield from _aligned(first[i:], second[j:], coarser)


def in_common(first: Sequence[Hashable], second: Sequence[Hashable]) -> list[tuple[int, int]]:
    """The places of a longest common subsequence in both.

    By bit vectors: `rows[i]` is a whole row of the well-known table, of which bit j is 0 where one
    more of `second` makes it longer. Thousands of steps are compared in a moment, whatever they are
    like; difflib takes half a minute for two times a thousand calls of two tools in turns.
    """
    places: dict[Hashable, int] = {}
    for j, item in enumerate(second):
        places[item] = places.get(item, 0) | 1 << j
    mask = (1 << len(second)) - 1
    rows = [mask]
    for item in first:
        row = rows[-1]
        met = row & places.get(item, 0)
        rows.append((row + met | row - met) & mask)
    return _walked_back(rows, len(second))


def _walked_back(rows: Sequence[int], width: int) -> list[tuple[int, int]]:
    pairs = []
    i, j = len(rows) - 1, width
    while i and j:
        bit = 1 << j - 1
        if rows[i] & bit:
            j -= 1
        elif not rows[i - 1] & bit:
            i -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j))
    return pairs[::-1]


def _content(step: Step) -> Hashable:
    return json.dumps(facts(step), sort_keys=True, default=str)


def _signature(step: Step) -> Hashable:
    return step.kind, step.name


def _kind(step: Step) -> Hashable:
    return step.kind


def facts(step: Step) -> dict[str, Any]:
    """What of a step can differ from another run's: neither ids nor times."""
    return {
        "kind": step.kind,
        _NAMES.get(step.kind, "message"): step.name,
        **{name: value for name, value in step.parts.items() if name not in _IDS},
        "error": step.error,
        "level": step.level,
        "input_tokens": step.input_tokens,
        "output_tokens": step.output_tokens,
        "cost_usd": step.cost_usd,
    }


def _differences(first: Step, second: Step) -> Iterator[Difference]:
    for difference in _walk("", facts(first), facts(second)):
        # That one failed and the other did not is said once.
        if difference.path != "level" or bool(first.error) is bool(second.error):
            yield difference
    if _is_much(first.took_ms, second.took_ms):
        yield Difference("latency_ms", first.took_ms, second.took_ms)


def _walk(path: str, first: Any, second: Any) -> Iterator[Difference]:
    """The leaves that differ; payloads are known not to be nested too deeply."""
    if isinstance(first, dict) and isinstance(second, dict):
        for key in {**first, **second}:
            yield from _walk(f"{path}.{key}" if path else key, first.get(key), second.get(key))
    elif isinstance(first, list) and isinstance(second, list):
        for index, (one, other) in enumerate(zip_longest(first, second)):
            yield from _walk(f"{path}[{index}]", one, other)
    elif first != second or isinstance(first, bool) is not isinstance(second, bool):
        yield Difference(path, first, second)


def _is_much(first: float | None, second: float | None) -> bool:
    if first is None or second is None:
        return False
    short, long = sorted((first, second))
    return long >= SLOWER * short and long - short >= SLOWER_MS
