"""A run's steps as rows with bars, and the whole run as a small map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from curio_persistence.views.brief import BriefStep
from curio_persistence.views.html.text import Html
from curio_persistence.views.minimap import Lane, RunOutline
from curio_persistence.views.wording import number, span

_NARROWEST = 0.5
"""Hundredths of the whole run that the bar of any step takes."""
_MS = timedelta(milliseconds=1)
_BAD_LEVELS = ("error", "critical")
_DEEPEST = 4
"""Generations of child runs by which rows are indented; deeper ones stand as far to the right."""
_SHORT_MS = 10_000
"""The length of a run below which hundredths of milliseconds count."""

_KINDS = {"model": "model", "tool": "tool", "mcp.call": "tool", "run": "child", "span": "span"}
_ICONS = {
    "model": "sparkles",
    "tool": "wrench",
    "child": "git-branch",
    "span": "layers",
    "event": "circle-dot",
}
_LANES = ("model", "tool", "child")
_LANE_HEIGHT, _LANE_GAP = 7, 3


class Row(NamedTuple):
    """A step as its row shows it; `data` are the attributes by which the script draws its bar."""

    ref: str
    kind: str
    classes: str
    icon: str
    at: str
    name: str
    text: str
    failed: bool
    depth: int
    tokens: str
    took: str
    bar: Html
    data: Html
    cost: Decimal | None
    run_id: str
    child_id: str | None

    @property
    def heading(self) -> str | None:
        """The words of a row that begins an iteration."""
        return self.text if self.kind == "iteration" else None


def rows_of(steps: Iterable[BriefStep], outline: RunOutline) -> list[Row]:
    """Return the rows of a page of steps."""
    total = max((outline.end - outline.begin) / _MS, 1.0)
    return [_row(step, outline.begin, total) for step in steps]


def _row(step: BriefStep, begin: datetime, total: float) -> Row:
    kind = kind_of(step.kind)
    begin_ms = (step.began - begin) / _MS
    took_ms = max(step.took_ms or 0.0, 0.0)
    cost = step.cost_usd if kind != "child" else None
    is_short = total < _SHORT_MS
    return Row(
        str(step.ref),
        "iteration" if step.kind == "iteration_started" else kind,
        _classes(step, kind),
        _ICONS[kind],
        f"{begin_ms / 1000:+,.{3 if is_short else 2}f}",
        *_words(step, kind),
        step.error is not None,
        step.depth,
        _tokens(step),
        "" if step.took_ms is None else span(step.took_ms),
        _bar(begin_ms / total, took_ms / total),
        _data(begin_ms, took_ms, 2 if is_short else 0, cost),
        cost,
        step.run_id,
        step.child_id,
    )


def _bar(begin: float, length: float) -> Html:
    """Return the place of a bar, as shares of the whole run."""
    x = min(max(100 * begin, 0.0), 100 - _NARROWEST)
    width = min(max(100 * length, _NARROWEST), 100 - x)
    return Html(f'x="{x:.1f}%" width="{width:.1f}%"')


def _data(begin_ms: float, took_ms: float, places: int, cost: Decimal | None) -> Html:
    known = "" if cost is None else f' data-c="{cost:f}"'
    return Html(f'data-b="{begin_ms:.{places}f}" data-t="{took_ms:.{places}f}"{known}')


def _classes(step: BriefStep, kind: str) -> str:
    has_failed = step.error is not None or step.level in _BAD_LEVELS
    tone = " failed" if has_failed else " warned" if step.level == "warning" else ""
    return f"{kind}{tone}" + (f" deep d{min(step.depth, _DEEPEST)}" if step.depth else "")


def kind_of(kind: str) -> str:
    """Return the class of a kind of steps: `model`, `tool`, `child`, `span` or `event`."""
    return _KINDS.get(kind, "event")


def icon_of(kind: str) -> str:
    """Return the name of the icon of a kind of steps."""
    return _ICONS[kind_of(kind)]


def _words(step: BriefStep, kind: str) -> tuple[str, str]:
    """Return the name of a step, and what it says; an event is named by its type."""
    if step.kind == "iteration_started":
        return "iteration", f"iteration {step.text or step.name}".strip()
    end = "(no end recorded)" if step.is_open else ""
    said = (step.error, step.name if kind == "event" else "", step.text, end)
    name = step.kind if kind == "event" else step.name
    return name or step.kind, " ".join(filter(None, said))


def _tokens(step: BriefStep) -> str:
    if step.kind != "model" or (step.input_tokens is None and step.output_tokens is None):
        return ""
    return f"{number(step.input_tokens)} → {number(step.output_tokens)}"


class Reached(NamedTuple):
    """The place of a step on its page, and what all up to it have cost.

    The cost is None where none of the calls has a known one; `unpriced` counts those without.
    """

    place: int
    cost: Decimal | None
    unpriced: int


def reached(steps: Sequence[Row], chosen: Row | None) -> Reached | None:
    """Return how far the steps are read; None where none is chosen."""
    if chosen not in steps:
        return None
    place = steps.index(chosen) + 1
    calls = [row for row in steps[:place] if row.kind == "model"]
    costs = [row.cost for row in calls if row.cost is not None]
    unpriced = len(calls) - len(costs)
    is_unknown = unpriced and not costs
    return Reached(place, None if is_unknown else sum(costs, Decimal()), unpriced)


class Map(NamedTuple):
    """The whole run as paths, one for each lane, and one for what failed."""

    lanes: tuple[tuple[str, Html], ...]
    failed: Html
    width: int
    height: int


def map_of(outline: RunOutline, buckets: int) -> Map:
    """Return the lanes as paths of rectangles, which cost the browser one node each."""
    lanes = [(name, outline.lanes[name]) for name in _LANES if outline.lanes[name].count]
    tops = [number * (_LANE_HEIGHT + _LANE_GAP) for number in range(len(lanes))]
    drawn = tuple(
        (name, _path(((at, top) for at, *_ in lane.buckets)))
        for (name, lane), top in zip(lanes, tops, strict=True)
    )
    failed = ((at, top) for (_, lane), top in zip(lanes, tops, strict=True) for at in _failed(lane))
    return Map(drawn, _path(failed), buckets, max(len(lanes), 1) * (_LANE_HEIGHT + _LANE_GAP))


def _failed(lane: Lane) -> Iterator[int]:
    return (at for at, _, failed in lane.buckets if failed)


def _path(places: Iterable[tuple[int, int]]) -> Html:
    height = _LANE_HEIGHT
    return Html("".join(f"M{at} {top}h.9v{height}h-.9z" for at, top in places))
