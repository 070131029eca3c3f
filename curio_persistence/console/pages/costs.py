"""The costs of model calls, by the reader's days."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from curio_persistence.console.figures.spending import (
    GROUPS,
    ORIGINS,
    Spent,
    compared,
    cost_chart,
    name_of,
    period_rows,
    spending,
    spent_before,
)
from curio_persistence.console.render.csv import csv_text
from curio_persistence.console.request.filters import Filters
from curio_persistence.console.request.moments import instant
from curio_persistence.console.request.windows import LENGTHS, PARAMETERS, Window
from curio_persistence.console.security.headers import DOWNLOAD_POLICY
from curio_persistence.console.site import Site

_FILTERS = ("agent_id", "model", "provider", "project", "source")
_CSV = (
    *("calls", "errors", "input_tokens", "output_tokens"),
    *("cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "cost_usd", "unpriced"),
)


def routes(site: Site) -> list[BaseRoute]:
    return [site.page("/costs", _costs), site.page("/costs.csv", _costs_as_csv)]


class _Asked(NamedTuple):
    """The filters and the window of a request, and what it groups by."""

    filters: Filters
    window: Window
    by: str


def _costs(site: Site, request: Request) -> Response:
    filters, window, by = asked = _asked(site, request)
    periods = window.periods(window.bucket)
    spent = spending(site.persistence, window, by, periods, filters.values())
    before = spent_before(site.persistence, window, filters.values())
    return site.render(
        request,
        "costs.html",
        filters=filters,
        window=window,
        by=by,
        lengths=LENGTHS,
        kinds=_kinds(site, by),
        spent=spent,
        compared=compared(spent.total, before, _that(window)),
        chart=cost_chart(site.paths, window, by, periods, spent, filters.get("agent_id") or None),
        rows=[_row(site, asked, group, number) for number, group in enumerate(spent.groups, 1)],
        csv=site.paths.page("costs.csv", **filters.chosen, **filters.further),
    )


def _asked(site: Site, request: Request) -> _Asked:
    filters = Filters.of(
        site.paths.page("costs"), request.query_params, _FILTERS, (*PARAMETERS, "by")
    )
    by = filters.choice("by", tuple(GROUPS), "model")
    return _Asked(filters, Window.of(filters.further, site.viewer(request)), by)


def _kinds(site: Site, by: str) -> tuple[str, ...]:
    """Return what costs are grouped by; by projects only where a run has told its own."""
    is_told = (
        by in ORIGINS or site.persistence.values("source") or site.persistence.values("project")
    )
    return tuple(name for name in GROUPS if is_told or name not in ORIGINS)


def _that(window: Window) -> str:
    days = "day" if window.length == 1 else f"{window.length} days"
    return f"the {days} before"


# --- the chart ------------------------------------------------------------------------------------


def _runs(site: Site, since: datetime, until: datetime, **filters: str | None) -> str:
    return site.paths.page("runs", since=instant(since), until=instant(until), **filters)


# --- the table ------------------------------------------------------------------------------------


class _Row(NamedTuple):
    """A group of the table: its colour in the chart, and where it leads."""

    name: str
    spent: Spent
    colour: str
    href: str | None


def _row(site: Site, asked: _Asked, spent: Spent, number: int) -> _Row:
    colour = f"s{number}" if number <= 8 else "s-others"
    return _Row(name_of(spent.name, asked.by), spent, colour, _leads_to(site, asked, spent.name))


def _leads_to(site: Site, asked: _Asked, name: str | None) -> str | None:
    """Return the runs of an agent, a tag or a place, and the agents of a model or provider."""
    filters, window, by = asked
    if name is None:
        return None
    if by == "agent":
        return _runs(site, window.since, window.until, agent_id=name)
    if by == "tag":
        return _runs(site, window.since, window.until, tags=name)
    if by == "branch":
        branch = f"branch={json.dumps(name, ensure_ascii=False)}"
        return _runs(site, window.since, window.until, metadata=branch)
    if by in ORIGINS:
        return _runs(site, window.since, window.until, **{by: name})
    return filters.with_(**{by: name, "by": "agent" if by == "model" else "model"})


# --- CSV ------------------------------------------------------------------------------------------


def _costs_as_csv(site: Site, request: Request) -> Response:
    filters, window, by = _asked(site, request)
    rows = period_rows(site.persistence, window, by, filters.values())
    name = f"costs-{window.first}-to-{window.last}-by-{by}.csv"
    return Response(
        csv_text((window.bucket, by, *_CSV), _csv_rows(rows, by)),
        media_type="text/csv",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Security-Policy": DOWNLOAD_POLICY,
        },
    )


def _csv_rows(rows: Sequence[object], by: str) -> Iterator[tuple[object, ...]]:
    for row in rows:
        yield tuple(getattr(row, name) for name in ("period", GROUPS[by], *_CSV))
