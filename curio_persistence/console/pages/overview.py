"""The last 24 hours, and what needs a look."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from curio_persistence.console.figures.outcomes import (
    Outcomes,
    outcome_chart,
    outcomes_of,
    runs_by_agent,
)
from curio_persistence.console.figures.tools import Tool, tools_of
from curio_persistence.console.parts.belongings import SILENT
from curio_persistence.console.render.charts import histogram
from curio_persistence.console.request.moments import instant
from curio_persistence.console.request.viewer import Viewer
from curio_persistence.console.site import Site
from curio_persistence.models import FAILED_STATUSES

if TYPE_CHECKING:
    from curio_persistence.capabilities.run_counts import RunCount
    from curio_persistence.capabilities.totals import UsageTotals
    from curio_persistence.models import AgentRun
    from curio_persistence.persistence import Persistence

_DAY, _WEEK = timedelta(days=1), timedelta(days=7)
_ROWS = 6
_LOOKED_AT = 100
"""The running runs that are examined for signs of life at most: each costs three queries."""


def routes(site: Site) -> list[BaseRoute]:
    return [site.page("/", _overview)]


def _overview(site: Site, request: Request) -> Response:
    persistence, viewer = site.persistence, site.viewer(request)
    now = viewer.now
    counts = persistence.runs.counts(bucket="30m", by="status", since=now - _DAY, until=now)
    left_behind = persistence.runs.stale(older_than=SILENT, limit=_LOOKED_AT)
    is_new = not any(count.runs for count in counts) and not persistence.query_agent_runs(limit=1)
    return site.render(
        request,
        "overview.html",
        is_new=is_new,
        day=outcomes_of(counts),
        before=outcomes_of(_counts_before(persistence, now)),
        spent=_spent(persistence, now - _DAY, now, percentiles=True),
        spent_before=_spent(persistence, now - 2 * _DAY, now - _DAY),
        chart=_chart(site, viewer, counts),
        running=_newest(persistence, "running"),
        running_count=persistence.count_agent_runs(status="running"),
        left_behind={run.run_id for run in left_behind},
        failures=_newest(persistence, *FAILED_STATUSES),
        agents=_agents(persistence, now),
        tools=_failing_tools(persistence, now),
        since={"day": instant(now - _DAY), "week": instant(now - _WEEK)},
    )


def _counts_before(persistence: Persistence, now: datetime) -> Sequence[RunCount]:
    return persistence.runs.counts(bucket="1d", by="status", since=now - 2 * _DAY, until=now - _DAY)


def _spent(
    persistence: Persistence, since: datetime, until: datetime, *, percentiles: bool = False
) -> UsageTotals:
    [totals] = persistence.usage.totals(since=since, until=until, percentiles=percentiles)
    return totals


def _newest(persistence: Persistence, *statuses: str) -> Sequence[AgentRun]:
    return list(persistence.query_agent_runs(status=statuses, limit=_ROWS, brief=True))


def _agents(persistence: Persistence, now: datetime) -> Sequence[tuple[str, Outcomes]]:
    """Return the agents with the most runs of a week, and how those ended."""
    runs = runs_by_agent(persistence, now - _WEEK, now)
    failed = runs_by_agent(persistence, now - _WEEK, now, status=FAILED_STATUSES)
    found = sorted(runs.items(), key=lambda each: (-each[1], each[0]))[:_ROWS]
    return [(agent, Outcomes(count, failed[agent])) for agent, count in found]


def _failing_tools(persistence: Persistence, now: datetime) -> Sequence[Tool]:
    """Return the tools with the most failures of a day."""
    tools = tools_of(persistence.stats.tools(since=now - _DAY, until=now))
    failing = [tool for tool in tools if tool.errors]
    return sorted(failing, key=lambda tool: (-tool.errors, tool.name))[:_ROWS]


def _chart(site: Site, viewer: Viewer, counts: Sequence[RunCount]) -> Markup:
    chart = outcome_chart(site.paths, viewer, counts, "Runs in the last 24 hours")
    return histogram(chart, ends=(f"{viewer.local(viewer.now - _DAY):%H:%M} yesterday", "now"))
