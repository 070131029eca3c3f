"""Draw a trace as a waterfall: when each span ran, inside which, and what the whole waited for.

The trace is named by its id, or by that of any of its runs, in full or by its beginning, or as
`last`. Bars are solid where their span is on the critical path: what the trace waited for.

As JSON, an object of what the trace adds up to, and its `spans` in the order of the tree, each with
its depth, the time of its own (`self_ms`), and whether it is on the critical path.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from itertools import islice
from typing import TYPE_CHECKING

from curio_persistence.cli.arguments.options import (
    add_archive_option,
    add_json_option,
    count,
    count_or_all,
    open_for_reading,
)
from curio_persistence.cli.arguments.run_ids import trace_of
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import BOLD, CYAN, DIM, GREEN, RED, YELLOW, Output, say
from curio_persistence.cli.terminal.text import cells, one_line, padded, shortened
from curio_persistence.views.traces.waterfall import Bar, counted, waterfall_of
from curio_persistence.views.wording import local_time, span

if TYPE_CHECKING:
    from curio_persistence import Trace

EXAMPLES = """\
  curio-persistence trace run-42
  curio-persistence trace last
  curio-persistence trace run-42 --critical
  curio-persistence trace run-42 --depth 2 --limit all
  curio-persistence trace run-42 --json > trace.json
"""

_LABELS = {"agent": BOLD, "llm": GREEN, "tool": CYAN}
_DEEPEST = 8
"""Levels by which names are indented; deeper ones tell their depth."""
_LEAST_BAR = 20
_SOLID, _LIGHT = "█", "░"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "trace", metavar="ID", help="a trace's id, a run's id, the beginning of one, or `last`"
    )
    parser.add_argument(
        "--critical", action="store_true", help="only the spans on the critical path"
    )
    parser.add_argument(
        "--depth", metavar="N", type=count, help="only spans up to N levels below the root"
    )
    parser.add_argument(
        "--limit",
        metavar="N",
        type=count_or_all,
        default="200",
        help="at most so many spans (default: 200), or 'all'",
    )
    add_archive_option(parser)
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    with open_for_reading(options) as persistence:
        trace = trace_of(persistence, options.trace)
    if not output.for_people:
        output.json(trace.to_dict())
        return OK
    _show_head(trace, output)
    output.line()
    _draw(trace, options, output)
    return OK


def _show_head(trace: Trace, output: Output) -> None:
    told = trace.summary
    took = None if told.duration_ms is None else span(told.duration_ms)
    output.fields(
        {
            "trace": trace.trace_id,
            "run": told.run_id,
            "name": told.name,
            "status": told.status,
            "error": None if told.error_message is None else one_line(told.error_message),
            "session": told.session_id,
            "user": told.user_id,
            "started": local_time(told.started_at),
            "took": took,
            **dict(counted(trace)),
        }
    )


def _draw(trace: Trace, options: Namespace, output: Output) -> None:
    """Write a line for each span: what it is, how long it took, and its bar."""
    waterfall = waterfall_of(trace)
    bars = [bar for bar in waterfall.bars if _is_wanted(bar, options)]
    shown = [*islice(bars, options.limit)]
    if not shown:
        return
    labels = [_label(bar) for bar in shown]
    tooks = [_took(bar) for bar in shown]
    took = max(map(len, tooks))
    room = output.width - took - 4
    width = min(max(map(cells, labels)), room - max(_LEAST_BAR, room // 2))
    scale = _scale(waterfall.total_ms, room - width)
    output.line(output.paint(" " * (width + took + 4) + scale, DIM))
    for bar, label, length in zip(shown, labels, tooks, strict=True):
        name = output.paint(padded(shortened(label, width), width), _style(bar))
        drawn = output.paint(_bar(bar, room - width), _colour(bar))
        output.line(f"{name}  {length:>{took}}  {drawn}".rstrip())
        if bar.notes:
            output.line(output.paint(f"{_indent(bar)}  ! {'; '.join(bar.notes)}", YELLOW))
    output.line()
    say(f"{_SOLID} on the critical path, {_LIGHT} not. Times are those since the trace began.")
    if left := len(bars) - len(shown):
        say(f"There are {left:,} more spans: add --limit all, --depth N or --critical.")


def _is_wanted(bar: Bar, options: Namespace) -> bool:
    is_deep = options.depth is not None and bar.node.depth > options.depth
    return not is_deep and bool(bar.critical or not options.critical)


def _indent(bar: Bar) -> str:
    return "  " * min(bar.node.depth, _DEEPEST)


def _label(bar: Bar) -> str:
    depth, each = bar.node.depth, bar.node.span
    deep = f"{depth}: " if depth > _DEEPEST else ""
    failed = "failed " if each.status == "error" else ""
    return _indent(bar) + one_line(f"{deep}{failed}{each.kind} {each.name}")


def _took(bar: Bar) -> str:
    took = bar.node.span.duration_ms
    return "" if took is None else span(took)


def _style(bar: Bar) -> str:
    each = bar.node.span
    return RED if each.status == "error" else _LABELS.get(each.kind, "")


def _colour(bar: Bar) -> str:
    each = bar.node.span
    return RED if each.status == "error" else _LABELS.get(each.kind, "").replace(BOLD, "")


def _bar(bar: Bar, width: int) -> str:
    """Return a bar of at least one cell, solid in the cells that are on the critical path."""
    first, last = _cells(bar.begin, bar.end, width)
    drawn = [" "] * first + [_LIGHT] * (last - first)
    for begin, end in bar.critical:
        at, until = _cells(begin, end, width)
        drawn[at:until] = [_SOLID] * (until - at)
    return "".join(drawn)


def _cells(begin: float, end: float, width: int) -> tuple[int, int]:
    """Return the first cell of a part of the width, and the one behind its last."""
    first = min(int(begin * width), width - 1)
    return first, max(min(round(end * width), width), first + 1)


def _scale(total_ms: float, width: int) -> str:
    """Return the times at the begin, in the middle and at the end of the bars."""
    half, whole = span(total_ms / 2), span(total_ms)
    left = f"{'0':<{width // 2}}{half}"
    return left + whole.rjust(width - len(left)) if len(left) + len(whole) < width else left
