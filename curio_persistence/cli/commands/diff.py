"""Compare two runs: what they took, and step by step what one did otherwise than the other.

First the steps that are equal are found, between them those that are alike. Every field is
compared, in child runs too, but ids and times; latency differs where one step took twice as long as
the other, and a second longer.

As JSON, an object: `same`, the numbers of the `first` and the `second` run, the `differences` of
the runs themselves, and `steps`. A step has its `change` ("equal", "changed", "only in first" or
"only in second"), its facts in the `first` and in the `second` run, its `differences` (a `path`,
and what is there in the `first` and the `second`), and the steps `inside`, if it is a child run.
The exit code is 0 whether they differ or not.
"""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, takewhile
from typing import Any

from curio_persistence.cli.arguments.options import (
    add_archive_option,
    add_json_option,
    open_for_reading,
)
from curio_persistence.cli.arguments.run_ids import full_id
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.run_view import fitted, headline, label
from curio_persistence.cli.terminal.output import DIM, GREEN, RED, YELLOW, Output
from curio_persistence.cli.terminal.tables import Cell, Column, cell
from curio_persistence.cli.terminal.text import cells, one_line, padded, shortened
from curio_persistence.views.comparison import Comparison, Difference, Pair, numbers_of
from curio_persistence.views.values import is_number
from curio_persistence.views.wording import NOTHING, money, span

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
    add_archive_option(parser)
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    with open_for_reading(options) as persistence:
        first, second = (full_id(persistence, it) for it in (options.first, options.second))
        comparison = persistence.runs.compare(first, second)
    if not output.for_people:
        output.json(comparison.to_dict())
        return OK
    _show_head(comparison, output)
    output.line()
    _show_steps(comparison.steps, output, everything=options.all)
    if comparison.is_same:
        output.line("Nothing differs but ids, times and latencies.")
    return OK


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

_IN_THE_HEAD = ("status", "total_iterations", "latency_ms")
"""Fields of a run that these rows show."""


def _show_head(comparison: Comparison, output: Output) -> None:
    first, second = numbers_of(comparison.first), numbers_of(comparison.second)
    for side, numbers in (("first", first), ("second", second)):
        run = one_line(f"{numbers['run_id']} ({numbers['agent_id']})")
        output.line(f"{output.paint(padded(side, len('second')), DIM)}  {run}")
    output.line()
    rows = [_row(title, say, first[key], second[key]) for key, (title, say) in _NUMBERS.items()]
    output.table(_COLUMNS, rows)
    said = [each for each in comparison.differences if each.path not in _IN_THE_HEAD]
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


def _show_steps(pairs: Sequence[Pair], output: Output, *, everything: bool, left: str = "") -> None:
    for change, group in groupby(pairs, key=lambda pair: pair.change):
        if change == "equal" and not everything:
            equal = sum(1 for _ in group)
            said = f"… {equal:,} equal step{'s' if equal > 1 else ''}"
            output.line(left + output.paint(said, DIM))
        else:
            for pair in group:
                _show_pair(pair, output, everything=everything, left=left)


def _show_pair(pair: Pair, output: Output, *, everything: bool, left: str) -> None:
    mark, style = _MARKS[pair.change]
    texts = label(pair.either) if pair.change == "changed" else headline(pair.either)
    room = output.width - len(left) - len(mark)
    output.line(left + output.paint(mark, style) + fitted(texts, room, output))
    for part, group in groupby(pair.differences, key=lambda each: _PART.split(each.path)[0]):
        differences = list(group)
        shown = differences if everything or len(differences) <= _SHOWN else differences[:_SHOWN]
        _show_differences(shown, output, left)
        if more := len(differences) - len(shown):
            said = f"{left}{_INDENT}… {more:,} more in {one_line(part)}"
            output.line(output.paint(said, DIM))
    if pair.change == "changed":
        _show_steps(pair.inside, output, everything=everything, left=f"{left}  ")


def _show_differences(differences: Iterable[Difference], output: Output, left: str = "") -> None:
    for difference in differences:
        path = one_line(difference.path)
        first, second = _json(difference.first), _json(difference.second)
        change = _change("{:,}".format, difference.first, difference.second)
        start = f"{left}{_INDENT}{path}  "
        if cells(f"{start}{first} → {second}  {change}") <= output.width:
            was, now = output.paint(one_line(first), RED), output.paint(one_line(second), GREEN)
            output.line(f"{output.paint(start, DIM)}{was} → {now}  {change}".rstrip())
        else:
            output.line(output.paint(start.rstrip(), DIM))
            _show_long(first, second, output, f"{left}{_INDENT}")


def _show_long(first: str, second: str, output: Output, left: str) -> None:
    """Two texts below each other, from shortly before they differ if that is far to the right."""
    room = output.width - len(left) - 4
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))
    common = sum(1 for _ in alike)
    begin = 0 if common < room - _CONTEXT else common - _CONTEXT
    for mark, style, text in (("-", RED, first), ("+", GREEN, second)):
        shown = shortened(one_line(f"…{text[begin:]}" if begin else text), room)
        output.line(f"{left}  {output.paint(f'{mark} {shown}', style)}")


def _json(value: Any) -> str:
    if is_number(value):
        return f"{value:,}"
    return NOTHING if value is None else json.dumps(value, ensure_ascii=False)
