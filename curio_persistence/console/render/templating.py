"""The environment of templates: everything is escaped, and nothing undefined is passed over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context

from curio_persistence.console.render import charts, marks, times
from curio_persistence.console.render.text import ends_of, finalized, verbatim
from curio_persistence.console.request.viewer import Viewer
from curio_persistence.views import wording


@cache
def templates() -> Environment:
    """Return the templates, which are compiled once in a process."""
    environment = Environment(
        loader=PackageLoader("curio_persistence.console"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalized,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "number": wording.number,
        "counted": wording.counted,
        "price": wording.price,
        "took": _took,
        "ago": _ago,
        "moment": _in_zone(times.moment_time),
        "clock": _in_zone(times.clock_time),
        "instant": _in_zone(times.instant_time),
        "iso": times.iso_time,
        "verbatim": verbatim,
        "ends": ends_of,
    }
    environment.globals |= {
        "row_marks": marks,
        "share": wording.share,
        "took_ms": took_ms,
        "charts": charts,
    }
    return environment


def took_ms(begin: datetime | None, end: datetime | None) -> float | None:
    """Return the milliseconds between two moments; None where one is unknown."""
    if begin is None or end is None:
        return None
    return (end - begin) / timedelta(milliseconds=1)


def _took(ms: float | None) -> str:
    return wording.NOTHING if ms is None else wording.span(ms)


@pass_context
def _ago(context: Context, moment: datetime | None) -> str:
    return wording.ago(moment, context["viewer"].now)


def _in_zone(told: Callable[[Viewer, datetime], str]) -> Callable[[Context, datetime], str]:
    """Return a filter for times in the reader's zone."""

    @pass_context
    def said(context: Context, moment: datetime) -> str:
        return told(context["viewer"], moment)

    return said
