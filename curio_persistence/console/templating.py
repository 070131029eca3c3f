"""The environment of templates: everything is escaped, and nothing undefined is passed over."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context

from curio_persistence.console.render import charts
from curio_persistence.console.render.text import finalized, verbatim
from curio_persistence.views import wording


def make_environment() -> Environment:
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
        "size": wording.size,
        "price": wording.price,
        "exact_money": wording.money,
        "took": _took,
        "ago": _ago,
        "moment": _moment,
        "clock": _clock,
        "instant": _instant,
        "iso": _iso,
        "verbatim": verbatim,
    }
    environment.globals |= {"share": wording.share, "took_ms": took_ms, "charts": charts}
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


@pass_context
def _moment(context: Context, moment: datetime) -> str:
    """Return `29 Nov 2026 09:20:00` in the reader's zone."""
    local = context["viewer"].local(moment)
    return f"{local.day} {local:%b} {local.year:04d} {local:%H:%M:%S}"


@pass_context
def _clock(context: Context, moment: datetime) -> str:
    """Return `29 Nov 09:20:00` in the reader's zone; with the year where that is another."""
    viewer = context["viewer"]
    local, now = viewer.local(moment), viewer.local(viewer.now)
    year = "" if local.year == now.year else f" {local.year:04d}"
    return f"{local.day} {local:%b}{year} {local:%H:%M:%S}"


@pass_context
def _instant(context: Context, moment: datetime) -> str:
    """Return `09:20:00.123` in the reader's zone, with the day where that is not today."""
    viewer = context["viewer"]
    local = viewer.local(moment)
    time = f"{local:%H:%M:%S}.{local.microsecond // 1000:03d}"
    if local.date() == viewer.local(viewer.now).date():
        return time
    return f"{_clock(context, moment).rpartition(' ')[0]} {time}"


def _iso(moment: Any) -> str:
    """Return `2026-11-29T08:20:00.123Z`, for a `datetime` attribute."""
    text: str = moment.isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
