"""A run as Markdown, to be pasted into an issue or a chat."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from curio_persistence.views.histories import History
from curio_persistence.views.html.text import harmless
from curio_persistence.views.html.values import raw_text
from curio_persistence.views.steps import Step, begin_of, steps_of
from curio_persistence.views.values import length_of_time, milliseconds
from curio_persistence.views.wording import price

_LONGEST = 2_000
"""Characters of each text; the console and the JSON have the rest."""
_DEEPEST = 6
_MARKS = re.compile(r"([\\`*_{}\[\]<>#|])")


def markdown_of(history: History) -> str:
    """Return a run with its steps, in which long texts are cut."""
    return "\n".join(_run(history, 1)) + "\n"


def _run(history: History, level: int) -> Iterator[str]:
    run, totals = history.run, history.totals
    heading = "#" * min(level, _DEEPEST)
    yield f"{heading} Run {_plain(run.run_id)}\n"
    took = milliseconds(run.started_at, run.finished_at)
    yield from _list(
        {
            "agent": run.agent_id,
            "status": run.status,
            "took": None if took is None else length_of_time(took),
            "model calls": totals.calls or None,
            "cost": price(totals.cost_usd) if totals.calls else None,
            "tags": ", ".join(run.tags or ()) or None,
        }
    )
    words = {"objective": run.objective, "error": run.error_message}
    for name, value in {**words, "output": run.final_synthesis_output}.items():
        if value:
            yield from _text(name, value)
    begin = begin_of(run)
    for step in steps_of(history):
        at = (milliseconds(begin, step.at) or 0.0) / 1000
        yield from _step(step, f"+{at:.2f} s", level + 1)


def _step(step: Step, at: str, level: int) -> Iterator[str]:
    if step.child is not None and step.child.events is not None:
        yield from _run(step.child, level)
        return
    heading = "#" * min(level, _DEEPEST)
    took = "" if step.took_ms is None else f", {length_of_time(step.took_ms)}"
    name = f" {_plain(step.name)}" if step.name else ""
    yield f"{heading} {at} {_plain(step.kind)}{name}{took}\n"
    if step.error:
        yield from _text("error", step.error)
    for part, value in step.parts.items():
        yield from _text(part, value)


def _list(values: dict[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        if value is not None:
            yield f"- {name}: {_plain(str(value))}"
    yield ""


def _text(name: str, value: Any) -> Iterator[str]:
    text = harmless(raw_text(value))
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", cut)), 3)
    yield f"{_plain(name)}:\n\n{fence}\n{cut}\n{fence}\n"


def _plain(text: str) -> str:
    """Return text on one line in which no character marks anything."""
    return _MARKS.sub(r"\\\1", harmless(" ".join(text.split())))
