"""A run's steps as lines that a person reads from the top: when, how long, what."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeGuard

from curio_persistence.cli.commands.events import STYLES
from curio_persistence.cli.commands.runs import STATUS_STYLES
from curio_persistence.cli.terminal.output import BOLD, CYAN, DIM, GREEN, RED, Output
from curio_persistence.cli.terminal.tables import Cell, cell
from curio_persistence.cli.terminal.text import cells, lines, shortened
from curio_persistence.views.histories import History
from curio_persistence.views.steps import Branch, Step, steps_of, tree_of
from curio_persistence.views.telling import MODEL, RUN, SPAN, TOOL
from curio_persistence.views.values import compact
from curio_persistence.views.wording import money, span

_GAP = "  "
_MARK = "> "
_SHORT = 60
_GUIDE, _LAST = "│ ", "└ "
_LABELS = {
    TOOL: CYAN,
    "mcp.call": CYAN,
    MODEL: GREEN,
    SPAN: CYAN,
    "metric": "",
    "delegation": CYAN,
    "artifact": "",
    "iteration_started": BOLD,
    RUN: BOLD,
}
"""How kinds are painted to which their name belongs; the name of others is a message."""

_BARE = frozenset(
    ("args", "kind", "input", "value", "unit", "tags", "extra", "message", "objective", "data")
)
_ANSWERS = frozenset(("result", "response"))
_IN_FULL_ONLY = frozenset(
    (
        *("iteration", "provider", "params", "prompt", "context", "status", "output", "metadata"),
        "traceback",
    )
)


class Row(NamedTuple):
    """A step: what fits on a line, and below it what is shown in full, both behind a guide."""

    at: datetime | None
    took_ms: float | None
    guide: str
    cells: list[Cell]
    below: list[Cell]
    is_hit: bool = False


def timeline(history: History, *, full: bool, guide: str = "") -> Iterator[Row]:
    """The rows of a run, those of its child runs where they began, and at last how it ended."""
    if history.cut_before:
        yield _left_out("before", guide)
    yield from _rows(tree_of(steps_of(history)), guide, full=full)
    if history.cut_after:
        yield _left_out("after", guide)
    yield _end(history, guide, full=full)


def _rows(branches: Iterable[Branch], guide: str, *, full: bool) -> Iterator[Row]:
    for step, inside in ((branch.step, branch.below) for branch in branches):
        below = _below(step, full=full)
        yield Row(step.at, step.took_ms, guide, headline(step), below, step.is_hit)
        if _is_looked_into(step.child):
            yield from timeline(step.child, full=full, guide=f"{guide}{_GUIDE}")
        yield from _rows(inside, f"{guide}{_GUIDE}", full=full)


def _left_out(when: str, guide: str) -> Row:
    return Row(None, None, guide, [cell(f"… what came {when} is left out", DIM)], [])


def show_timeline(rows: Iterable[Row], begin: datetime, output: Output) -> None:
    """Write rows; their times are those since `begin`, and before a hit stands a mark."""
    shown = [
        (
            "" if row.at is None else _after(begin, row.at),
            "" if row.took_ms is None else span(row.took_ms),
            row,
        )
        for row in rows
    ]
    at_width = max(len(at) for at, _, _ in shown)
    took_width = max(len(took) for _, took, _ in shown)
    has_hit = any(row.is_hit for _, _, row in shown)
    for at, took, row in shown:
        times = (f"{at:>{at_width}}", f"{took:>{took_width}}")
        mark = _MARK if row.is_hit else " " * len(_MARK) if has_hit else ""
        left = mark + "".join(time + _GAP for time in times if time)
        room = output.width - len(left) - len(row.guide)
        start = output.paint(left + row.guide, BOLD if row.is_hit else DIM)
        output.line((start + fitted(row.cells, room, output)).rstrip())
        start = output.paint(" " * len(left) + row.guide.replace(_LAST, _GAP), DIM)
        for text, style in row.below:
            output.line(f"{start}{_GAP}{output.paint(text, style)}".rstrip())


def fitted(texts: Iterable[Cell], room: int, output: Output) -> str:
    """Texts side by side, as far as there is room."""
    parts = []
    for text, style in texts:
        if room <= 0:
            break
        kept = shortened(text, room)
        parts.append(output.paint(kept, style))
        room -= cells(kept) + len(_GAP)
    return _GAP.join(parts)


def headline(step: Step) -> list[Cell]:
    """A step on one line: a word if it failed or is not usual, what it is, what it says."""
    word = "failed" if step.error else step.level
    mark = [] if word == "info" else [cell(word, _style(step))]
    return [*mark, *label(step), *(cell(said) for said in _words(step) if said)]


def label(step: Step) -> list[Cell]:
    """Return what a step is: `tool search`, `iteration 2`, or an event's type and its message."""
    style = _style(step) or _LABELS.get(step.kind, "")
    if step.kind not in _LABELS:
        return [cell(step.kind, style), *([cell(step.name)] if step.name else [])]
    if step.kind == "iteration_started" and "iteration" in step.parts:
        return [cell(f"iteration {compact(step.parts['iteration'])}", style)]
    return [cell(f"{step.kind} {step.name}", style)]


def in_full(step: Step) -> list[Cell]:
    """All words of a step, each below its name."""
    return [line for name, value in step.parts.items() for line in _part(name, value)]


def tokens_and_cost(step: Step) -> str:
    """`1,200 in, 300 out, $0.0081`, as far as it is known."""
    known = (
        None if step.input_tokens is None else f"{step.input_tokens:,} in",
        None if step.output_tokens is None else f"{step.output_tokens:,} out",
        None if step.cost_usd is None else money(step.cost_usd),
    )
    return ", ".join(part for part in known if part)


def _words(step: Step) -> Iterator[str]:
    if step.child is not None:
        yield step.child.run.run_id
    if not _is_looked_into(step.child):
        yield tokens_and_cost(step)
    for name, value in step.parts.items():
        if name in _BARE:
            yield compact(value)
        elif name in _ANSWERS or (name == "output" and step.kind == SPAN):
            yield f"→ {compact(value) or '“”'}"
        elif name not in _IN_FULL_ONLY:
            yield f"{name} {compact(value)}"
    if step.child is not None and not _is_looked_into(step.child):
        yield step.child.run.status
    if step.is_open:
        yield "(no end recorded)"


def _below(step: Step, *, full: bool) -> list[Cell]:
    if _is_looked_into(step.child):
        return []  # Its own rows tell, and its end.
    # A model call may have no more to say than its status.
    error = None if step.error == "error" else step.error
    return [*_red(error), *(in_full(step) if full else [])]


def _end(history: History, guide: str, *, full: bool) -> Row:
    run = history.run
    status = cell(run.status, STATUS_STYLES.get(run.status, ""))
    output = run.final_synthesis_output
    shown, below = [], []
    if output and guide and not full:
        shown = [cell(output)]
    elif output:
        below = [Cell(line, "") for line in lines(output)]
    guide = guide[: -len(_LAST)] + _LAST if guide else ""
    return Row(run.finished_at, None, guide, [status, *shown], [*_red(run.error_message), *below])


def _red(error: str | None) -> list[Cell]:
    return [] if error is None else [Cell(line, RED) for line in lines(error)]


def _is_looked_into(child: History | None) -> TypeGuard[History]:
    return child is not None and child.events is not None


def _part(name: str, value: Any) -> list[Cell]:
    short = compact(value)
    if len(short) <= _SHORT and "\n" not in short:
        return [cell(f"{name}: {short}")]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    return [cell(f"{name}:"), *(Cell(_GAP + line, "") for line in lines(text))]


def _after(begin: datetime, moment: datetime) -> str:
    return f"{(moment - begin) / timedelta(seconds=1):+.3f} s"


def _style(step: Step) -> str:
    return RED if step.error else STYLES.get(step.level, "")
