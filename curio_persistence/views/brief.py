"""Brief steps: what one line of a list tells of each step of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple

from curio_persistence.views.steps import MODEL, RUN, SPAN, TOOL, RecordRef, Step
from curio_persistence.views.values import compact

_LENGTH = 160
"""Characters that a brief step keeps of each text."""

_WORDS = {
    MODEL: ("response", "prompt"),
    RUN: ("objective",),
    TOOL: ("args", "result"),
    SPAN: ("input", "output"),
}
"""The parts of a step that its text is made of; of others, all."""
_ONE_OF = frozenset((MODEL, RUN))
"""The kinds of steps whose text is the first of these parts that has any."""


class BriefStep(NamedTuple):
    """One step of a run, or of a child run, as a line of a list tells it.

    `ref` names its record. `depth` is 0 for a step of the run itself, 1 for one of a child run, and
    so on. `at` is its place in the order, and `began` when it began, as far as that is known. The
    `kind` is `model`, `tool`, `span`, `run` (a child run, of the id `child_id`) or an event's type.
    `text` and `error` are the beginnings of its words, at most 160 characters. A tool call or span
    whose end is not recorded `is_open`.
    """

    ref: RecordRef
    run_id: str
    depth: int
    at: datetime
    began: datetime
    kind: str
    name: str
    text: str
    level: str
    error: str | None = None
    took_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None
    is_open: bool = False
    child_id: str | None = None


def brief_step(step: Step, run_id: str, depth: int) -> BriefStep:
    """Return a step in brief."""
    assert step.ref is not None, "the steps of a run are records"
    return BriefStep(
        step.ref,
        run_id,
        depth,
        step.at,
        _began(step),
        step.kind,
        _beginning([step.name]),
        _beginning(_words(step)),
        step.level,
        None if step.error is None else _beginning([step.error]),
        step.took_ms,
        step.input_tokens,
        step.output_tokens,
        step.cost_usd,
        step.is_open,
        None if step.child is None else step.child.run.run_id,
    )


def _began(step: Step) -> datetime:
    """Return when a step began: what has no record of that was recorded at its end."""
    if step.took_ms is None or step.begun is not None or step.kind == RUN:
        return step.at
    try:
        return step.at - timedelta(milliseconds=step.took_ms)
    except OverflowError:
        return step.at


def _words(step: Step) -> Iterator[Any]:
    names = _WORDS.get(step.kind, step.parts)
    found = (step.parts[name] for name in names if step.parts.get(name) is not None)
    return islice(found, 1) if step.kind in _ONE_OF else found


def _beginning(words: Iterable[Any]) -> str:
    """Return the first characters of some values, on one line."""
    text = " ".join(compact(each)[: 2 * _LENGTH] for each in words)
    line = " ".join(text[: 2 * _LENGTH].split())
    return line if len(line) <= _LENGTH else line[: _LENGTH - 1] + "…"
