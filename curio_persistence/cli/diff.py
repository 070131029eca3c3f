"""Compare two runs: what they took, and step by step what one did otherwise than the other.

First the steps that are equal are found, between them those that are alike. Ids and times make no
difference; latency does where one step took twice as long as the other, and a second longer. Child
runs are one step each, with all they used.

As JSON, an object: `same`, the numbers of the `first` and the `second` run, the `differences` of
the runs themselves, and `steps`. A step has its `change` ("equal", "changed", "only in first" or
"only in second"), what it was in the `first` and in the `second` run, and its `differences`: a
`path`, and what is there in the `first` and the `second`. The exit code is 0 whether they differ or
not.
"""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable
from itertools import groupby, takewhile
from typing import Any, NamedTuple

from curio_persistence.cli.alignment import Difference, Pair, aligned, compared, facts
from curio_persistence.cli.exits import OK
from curio_persistence.cli.histories import History, read_history
from curio_persistence.cli.options import add_json_option, open_for_reading
from curio_persistence.cli.output import DIM, GREEN, RED, YELLOW, Output
from curio_persistence.cli.steps import Step, is_number, step_of_run, steps_of
from curio_persistence.cli.tables import Cell, Column, cell
from curio_persistence.cli.text import NOTHING, cells, money, one_line, padded, shortened, span
from curio_persistence.cli.timeline import fitted, headline, label

EXAMPLES = """\
  curio-persistence diff run-42 run-40
  curio-persistence diff run-42 run-40 --all
  curio-persistence diff run-42 run-40 --json > differences.json
"""

_COLUMNS = (
    Column(""),
    Column("FIRST", right=True),
    Column("SECOND", right=True),
    Column("DIFFERENCE", right=True),
)
_MARKS = {
    "equal": ("  ", DIM),
    "changed": ("~ ", YELLOW),
    "only in first": ("- ", RED),
    "only in second": ("+ ", GREEN),
}
_INDENT = "    "
_PART = re.compile(r"[.\[]")
_SHOWN = 3
"""Differences that are shown of each part of a step: a prompt often repeats all that was before."""

_CONTEXT = 24
"""Characters that are shown of what two long texts have in common before they differ."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("first", metavar="RUN", help="a run's id, as query shows it")
    parser.add_argument("second", metavar="RUN", help="the id of the run to compare it with")
    parser.add_argument("--all", action="store_true", help="show equal steps and every difference")
    add_json_option(parser)


class Comparison(NamedTuple):
    """Two runs, what differs in the runs themselves, and their steps side by side."""

    first: History
    second: History
    runs: Pair
    steps: list[Pair]

    @property
    def is_same(self) -> bool:
        return all(pair.change == "equal" for pair in (self.runs, *self.steps))

    def to_dict(self) -> dict[str, Any]:
        return {
            "same": self.is_same,
            "first": _numbers(self.first),
            "second": _numbers(self.second),
            "differences": [each._asdict() for each in self.runs.differences],
            "steps": [_pair_as_dict(pair) for pair in self.steps],
        }


def run(options: Namespace, output: Output) -> int:
    with open_for_reading(options) as persistence:
        first = read_history(persistence, options.first)
        second = read_history(persistence, options.second)
    comparison = Comparison(
        first,
        second,
        compared(step_of_run(first), step_of_run(second)),
        aligned(steps_of(first), steps_of(second)),
    )
    if not output.for_people:
        output.json(comparison.to_dict())
        return OK
    _show_head(comparison, output)
    output.line()
    _show_steps(comparison.steps, output, everything=options.all)
    if comparison.is_same:
        output.line("Nothing differs but ids, times and latencies.")
    return OK


def _numbers(history: History) -> dict[str, Any]:
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


def _pair_as_dict(pair: Pair) -> dict[str, Any]:
    return {
        "change": pair.change,
        "first": None if pair.first is None else _step_as_dict(pair.first),
        "second": None if pair.second is None else _step_as_dict(pair.second),
        "differences": [each._asdict() for each in pair.differences],
    }


def _step_as_dict(step: Step) -> dict[str, Any]:
    return {"at": step.at.isoformat(), "latency_ms": step.took_ms, **facts(step)}


# --- for people -----------------------------------------------------------------------------------

_NUMBERS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "status": ("status", str),
    "latency_ms": ("took", span),
    "iterations": ("iterations", "{:,}".format),
    "model_calls": ("model calls", "{:,}".format),
    "input_tokens": ("tokens in", "{:,}".format),
    "output_tokens": ("tokens out", "{:,}".format),
    "cost_usd": ("cost", money),
}
"""The rows of the head: what stands there, and how it is said."""


def _show_head(comparison: Comparison, output: Output) -> None:
    first, second = _numbers(comparison.first), _numbers(comparison.second)
    for side, numbers in (("first", first), ("second", second)):
        run = one_line(f"{numbers['run_id']} ({numbers['agent_id']})")
        output.line(f"{output.paint(padded(side, len('second')), DIM)}  {run}")
    output.line()
    rows = [_row(title, say, first[key], second[key]) for key, (title, say) in _NUMBERS.items()]
    output.table(_COLUMNS, rows)
    said = [each for each in comparison.runs.differences if each.path not in _NUMBERS]
    if said:
        output.line()
        _show_differences(said, output)


def _row(title: str, say: Callable[[Any], str], first: Any, second: Any) -> list[Cell]:
    texts = (NOTHING if value is None else say(value) for value in (first, second))
    return [cell(title, DIM), *map(cell, texts), cell(_change(say, first, second))]


def _change(say: Callable[[Any], str], first: Any, second: Any) -> str:
    if not is_number(first) or not is_number(second) or first == second:
        return ""
    return f"{'+' if second > first else '-'}{say(abs(second - first))}"


def _show_steps(pairs: list[Pair], output: Output, *, everything: bool) -> None:
    for change, group in groupby(pairs, key=lambda pair: pair.change):
        if change == "equal" and not everything:
            equal = sum(1 for _ in group)
            output.line(output.paint(f"… {equal:,} equal step{'s' if equal > 1 else ''}", DIM))
        else:
            for pair in group:
                _show_pair(pair, output, everything=everything)


def _show_pair(pair: Pair, output: Output, *, everything: bool) -> None:
    mark, style = _MARKS[pair.change]
    texts = label(pair.either) if pair.differences else headline(pair.either)
    output.line(output.paint(mark, style) + fitted(texts, output.width - len(mark), output))
    for part, group in groupby(pair.differences, key=lambda each: _PART.split(each.path)[0]):
        differences = list(group)
        shown = differences if everything or len(differences) <= _SHOWN else differences[:_SHOWN]
        _show_differences(shown, output)
        if more := len(differences) - len(shown):
            output.line(output.paint(f"{_INDENT}… {more:,} more in {one_line(part)}", DIM))


def _show_differences(differences: Iterable[Difference], output: Output) -> None:
    for difference in differences:
        path = one_line(difference.path)
        first, second = _json(difference.first), _json(difference.second)
        change = _change("{:,}".format, difference.first, difference.second)
        start = f"{_INDENT}{path}  "
        if cells(f"{start}{first} → {second}  {change}") <= output.width:
            was, now = output.paint(one_line(first), RED), output.paint(one_line(second), GREEN)
            output.line(f"{output.paint(start, DIM)}{was} → {now}  {change}".rstrip())
        else:
            output.line(output.paint(start.rstrip(), DIM))
            _show_long(first, second, output)


def _show_long(first: str, second: str, output: Output) -> None:
    """Two texts below each other, from shortly before they differ if that is far to the right."""
    room = output.width - len(_INDENT) - 4
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))
    common = sum(1 for _ in alike)
    begin = 0 if common < room - _CONTEXT else common - _CONTEXT
    for mark, style, text in (("-", RED, first), ("+", GREEN, second)):
        shown = shortened(one_line(f"…{text[begin:]}" if begin else text), room)
        output.line(f"{_INDENT}  {output.paint(f'{mark} {shown}', style)}")


def _json(value: Any) -> str:
    if is_number(value):
        return f"{value:,}"
    return NOTHING if value is None else json.dumps(value, ensure_ascii=False)
