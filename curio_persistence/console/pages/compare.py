"""Two runs side by side: their numbers, and their steps in pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import groupby
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from curio_persistence.console.site import Site
from curio_persistence.errors import NotFoundError
from curio_persistence.views import wording
from curio_persistence.views.comparison import Comparison, Difference, Pair, numbers_of
from curio_persistence.views.values import compact

_MOST_STEPS = 5_000
"""The events and model calls of both runs that are compared while a reader waits."""
_DIFFERENCES = 20
_LETTERS = 300
_CONTEXT = 24
"""Letters that are shown of what two long texts have in common before they differ."""
_SHOWN_ABOVE = frozenset(("status", "objective", "latency_ms", "total_iterations"))
_SIGNS = {"changed": "~", "only in first": "−", "only in second": "+"}


def routes(site: Site) -> list[BaseRoute]:
    return [site.page("/compare", _compare)]


def _compare(site: Site, request: Request) -> Response:
    wanted = _wanted(request)
    if len(wanted) != 2:
        return site.render(request, "compare.html", picked=wanted, advice=_advice(wanted))
    runs = [site.persistence.get_agent_run(run_id) for run_id in wanted]
    missing = [run_id for run_id, run in zip(wanted, runs, strict=True) if run is None]
    if missing:
        return site.render(
            request,
            "compare.html",
            404,
            picked=wanted,
            advice=f"The run {' and the run '.join(missing)} was deleted or never recorded. "
            "Pick two runs that are stored.",
        )
    if (count := _steps_of(site, wanted)) > _MOST_STEPS:
        return site.render(request, "compare.html", picked=wanted, advice=_too_large(count))
    try:
        comparison = site.persistence.runs.compare(*wanted)
    except NotFoundError:  # Deleted a moment ago.
        return site.render(request, "compare.html", 404, picked=wanted, advice=_GONE)
    return site.render(request, "compare.html", picked=wanted, advice=None, **_shown(comparison))


_GONE = "One of these runs was deleted a moment ago. Pick two runs that are stored."


def _wanted(request: Request) -> list[str]:
    """Return the runs that a reader picked: `a` and `b`, or each `pick` of a form."""
    params = request.query_params
    given = [*params.getlist("a"), *params.getlist("b"), *params.getlist("pick")]
    return [run_id for run_id in given if run_id]


def _advice(wanted: list[str]) -> str:
    if not wanted:
        return "Pick two runs in the list of runs, then choose Compare."
    if len(wanted) == 1:
        return "One run is picked. Pick a second one in the list of runs."
    return f"{len(wanted):,} runs are picked, and two can be compared. Pick two in the list."


def _too_large(count: int) -> str:
    return (
        f"Both runs together have {count:,} events and model calls, more than a page compares. "
        "In a shell: curio-persistence diff A B"
    )


def _steps_of(site: Site, run_ids: list[str]) -> int:
    events = site.persistence.count_events(run_id=run_ids)
    return events + site.persistence.count_llm_usage(run_id=run_ids)


# --- the numbers ----------------------------------------------------------------------------------


class _Number(NamedTuple):
    """A line of the table: two values in words, and how they differ; less is better."""

    name: str
    first: str
    second: str
    difference: str
    tone: str | None


_NUMBERS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "latency_ms": ("Took", wording.span),
    "iterations": ("Iterations", "{:,}".format),
    "model_calls": ("Model calls", "{:,}".format),
    "input_tokens": ("Tokens in", "{:,}".format),
    "output_tokens": ("Tokens out", "{:,}".format),
    "cost_usd": ("Cost", wording.price),
}


def _numbers(comparison: Comparison) -> Iterator[_Number]:
    first, second = numbers_of(comparison.first), numbers_of(comparison.second)
    for key, (name, say) in _NUMBERS.items():
        one, other = first[key], second[key]
        if key == "iterations" and not (one or other):
            continue  # Most agents do not count them.
        words = _said(key, first, say), _said(key, second, say)
        yield _Number(name, *words, *_change(one, other, say))


def _said(key: str, numbers: Mapping[str, Any], say: Callable[[Any], str]) -> str:
    value = numbers[key]
    if value is None:
        is_cost = key == "cost_usd" and numbers["model_calls"]
        return "unknown" if is_cost else wording.NOTHING
    return "ends before it begins" if key == "latency_ms" and value < 0 else say(value)


def _change(first: Any, second: Any, say: Callable[[Any], str]) -> tuple[str, str | None]:
    """Return by how much a number differs, in its unit and in per cent."""
    if first is None or second is None or first == second or min(first, second) < 0:
        return "", None
    change = second - first
    sign = "−" if change < 0 else "+"
    percent = (
        f" ({sign}{abs(Decimal(100) * Decimal(change) / Decimal(first)):,.0f} %)" if first else ""
    )
    return f"{sign}{say(abs(change))}{percent}", "ok" if change < 0 else "bad"


# --- the steps ------------------------------------------------------------------------------------


class _Step(NamedTuple):
    """A pair of steps that differ; `inside` are the steps of two child runs."""

    sign: str
    change: str
    kind: str
    name: str
    differences: list[tuple[str, str, str]]
    left_out: int
    inside: list[_Group]


class _Group(NamedTuple):
    """Steps one after another: those that are equal are folded."""

    equal: list[tuple[str, str]]
    step: _Step | None


def _shown(comparison: Comparison) -> dict[str, Any]:
    first, second = comparison.first.run, comparison.second.run
    changes = [pair.change for pair in comparison.steps]
    return {
        "first": first,
        "second": second,
        "is_same": comparison.is_same,
        "numbers": list(_numbers(comparison)),
        "fields_of_runs": _fields(comparison.differences),
        "groups": _groups(comparison.steps),
        "counts": [
            (changes.count(change), words)
            for change, words in (
                ("equal", "equal"),
                ("changed", "changed"),
                ("only in first", "only in the first"),
                ("only in second", "only in the second"),
            )
        ],
    }


def _fields(differences: Iterable[Difference]) -> list[tuple[str, str, str]]:
    """Return the fields of the runs themselves that differ, besides those in the table."""
    return [_values(each) for each in differences if each.path not in _SHOWN_ABOVE]


def _groups(pairs: Iterable[Pair]) -> list[_Group]:
    groups: list[_Group] = []
    for is_equal, some in groupby(pairs, key=lambda pair: pair.change == "equal"):
        if is_equal:
            groups.append(_Group([(each.either.kind, _name(each)) for each in some], None))
        else:
            groups += (_Group([], _step(each)) for each in some)
    return groups


def _step(pair: Pair) -> _Step:
    differences = [_values(each) for each in pair.differences[:_DIFFERENCES]]
    left_out = max(len(pair.differences) - _DIFFERENCES, 0)
    change = pair.change
    inside = _groups(pair.inside)
    return _Step(
        _SIGNS[change], change, pair.either.kind, _name(pair), differences, left_out, inside
    )


def _name(pair: Pair) -> str:
    return pair.either.name or pair.either.kind


def _values(difference: Difference) -> tuple[str, str, str]:
    """Return a path and both its values, each from a little before where they differ."""
    first, second = (_text(value) for value in (difference.first, difference.second))
    if max(len(first), len(second)) <= _LETTERS:
        return difference.path, first, second
    begin = max(_common(first, second) - _CONTEXT, 0)
    return difference.path, _cut(first, begin), _cut(second, begin)


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        return str(value)
    return wording.NOTHING if value is None else compact(value)


def _common(first: str, second: str) -> int:
    """Return how many letters two texts have in common at their begin."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(first), len(second)))


def _cut(text: str, begin: int) -> str:
    shown = text[begin : begin + _LETTERS]
    return f"{'…' if begin else ''}{shown}{'…' if begin + _LETTERS < len(text) else ''}"
