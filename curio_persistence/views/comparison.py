"""Two runs side by side: which step of one is which step of the other, and how they differ."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import zip_longest
from typing import Any

from curio_persistence.models import AgentRun, AgentRunEvent
from curio_persistence.views.common import in_common
from curio_persistence.views.facts import Facts, facts_of_call, facts_of_event, facts_of_run
from curio_persistence.views.histories import History
from curio_persistence.views.steps import Record, Step, step_of_run, steps_of

SLOWER = 2
SLOWER_MS = 1000
"""Latency is a difference where one step took so many times as long, and so much longer."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A value at a path (`args.filters[0].word`); None is also what is not there."""

    path: str
    first: Any
    second: Any


@dataclass(frozen=True, slots=True)
class ComparedStep:
    """A step, and what it says whatever its ids and times: `facts`.

    `begun` are the facts of the event by which it began, `inside` are the steps of a child run.
    """

    step: Step
    facts: Facts
    begun: Facts | None = None
    inside: tuple[ComparedStep, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return its time, kind, name, latency and facts, ready for JSON."""
        step = self.step
        said = {"at": step.at.isoformat(), "kind": step.kind, "name": step.name}
        return {**said, "latency_ms": step.took_ms, "facts": self.facts}

    @property
    def content(self) -> str:
        """All facts as text: equal for steps that say the same."""
        return json.dumps(self._content(), sort_keys=True, default=str)

    def _content(self) -> list[Any]:
        return [self.facts, self.begun, [each._content() for each in self.inside]]


@dataclass(frozen=True, slots=True)
class Pair:
    """The same step in both runs, one of them None where only the other run has it.

    `inside` are the pairs of steps of two child runs.
    """

    first: ComparedStep | None
    second: ComparedStep | None
    differences: tuple[Difference, ...] = ()
    inside: tuple[Pair, ...] = ()

    @property
    def either(self) -> Step:
        """The step of the first run, or that of the second where only that has it."""
        found = self.first or self.second
        assert found is not None
        return found.step

    @property
    def change(self) -> str:
        """`"equal"`, `"changed"`, `"only in first"` or `"only in second"`."""
        if self.second is None:
            return "only in first"
        if self.first is None:
            return "only in second"
        inside = any(pair.change != "equal" for pair in self.inside)
        return "changed" if self.differences or inside else "equal"

    def to_dict(self) -> dict[str, Any]:
        """Return the change, both steps, their differences and the pairs inside, for JSON."""
        return {
            "change": self.change,
            "first": None if self.first is None else self.first.to_dict(),
            "second": None if self.second is None else self.second.to_dict(),
            "differences": [asdict(each) for each in self.differences],
            "inside": [pair.to_dict() for pair in self.inside],
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs, what differs in the runs themselves, and their steps side by side."""

    first: History
    second: History
    differences: tuple[Difference, ...]
    steps: tuple[Pair, ...]

    @property
    def is_same(self) -> bool:
        """True where nothing differs but ids, times, and latencies of the same magnitude."""
        return not self.differences and all(pair.change == "equal" for pair in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """Return whether both are the same, their numbers and differences, ready for JSON."""
        return {
            "same": self.is_same,
            "first": numbers_of(self.first),
            "second": numbers_of(self.second),
            "differences": [asdict(each) for each in self.differences],
            "steps": [pair.to_dict() for pair in self.steps],
        }


def compare(first: History, second: History) -> Comparison:
    """Compare every field of two runs and of all that belongs to them, but ids and times."""
    runs = compared(_run(first), _run(second))
    return Comparison(first, second, runs.differences, runs.inside)


def numbers_of(history: History) -> dict[str, Any]:
    """Return what a run took, its child runs included."""
    run, totals, step = history.run, history.totals, step_of_run(history)
    return {
        "run_id": run.run_id,
        "agent_id": run.agent_id,
        "status": run.status,
        "latency_ms": step.took_ms,
        "iterations": run.total_iterations,
        "model_calls": totals.calls,
        "input_tokens": totals.input_tokens,
        "output_tokens": totals.output_tokens,
        "cost_usd": totals.cost_usd,
    }


def _run(history: History) -> ComparedStep:
    inside = map(partial(step_to_compare, history.run), steps_of(history, complete=True))
    facts = facts_of_run(history.run, history.scores or ())
    return ComparedStep(step_of_run(history), facts, inside=tuple(inside))


def step_to_compare(run: AgentRun, step: Step) -> ComparedStep:
    """Return a step of a run with its facts."""
    if step.child is not None:
        return _run(step.child)
    assert step.record is not None, "brief steps are not compared"
    begun = None if step.begun is None else _facts(step.begun, run)
    return ComparedStep(step, _facts(step.record, run), begun)


def _facts(record: Record, run: AgentRun) -> Facts:
    if isinstance(record, AgentRunEvent):
        return facts_of_event(record, run)
    return facts_of_call(record, run)


def compared(first: ComparedStep, second: ComparedStep) -> Pair:
    """Return two steps as a pair, with what differs."""
    inside = aligned(first.inside, second.inside)
    return Pair(first, second, tuple(_differences(first, second)), tuple(inside))


def aligned(first: Sequence[ComparedStep], second: Sequence[ComparedStep]) -> list[Pair]:
    """Return all steps of both, in order: equal ones are found first, then those that are alike."""
    return list(_aligned(first, second, (_content, _signature, _kind)))


def _aligned(
    first: Sequence[ComparedStep],
    second: Sequence[ComparedStep],
    keys: Sequence[Callable[[ComparedStep], Hashable]],
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


def _content(step: ComparedStep) -> Hashable:
    return step.content


def _signature(step: ComparedStep) -> Hashable:
    return step.step.kind, step.step.name


def _kind(step: ComparedStep) -> Hashable:
    return step.step.kind


def _differences(first: ComparedStep, second: ComparedStep) -> Iterator[Difference]:
    found = list(_walk("", first.facts, second.facts))
    for difference in found:
        # That one failed and the other did not is said once.
        if difference.path != "level" or bool(first.step.error) is bool(second.step.error):
            yield difference
    said = {each.path for each in found}
    for difference in _walk("begin", first.begun, second.begun):
        if difference.path.removeprefix("begin.") not in said:
            yield difference
    if _is_much(first.step.took_ms, second.step.took_ms):
        yield Difference("latency_ms", first.step.took_ms, second.step.took_ms)


def _walk(path: str, first: Any, second: Any) -> Iterator[Difference]:
    """Yield the leaves that differ; payloads are known not to be nested too deeply."""
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
