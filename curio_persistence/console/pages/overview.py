"""What happened in the last 24 hours, and what needs a look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from curio_persistence.console.outcomes import outcome_chart
from curio_persistence.console.render.charts import histogram
from curio_persistence.console.site import Site
from curio_persistence.console.viewer import Viewer
from curio_persistence.console.windows import instant
from curio_persistence.models import FAILED_STATUSES

if TYPE_CHECKING:
    from curio_persistence.capabilities.analytics.records import PeriodTotals
    from curio_persistence.models import AgentRun
    from curio_persistence.persistence import Persistence

_DAY, _WEEK, _SILENT = timedelta(days=1), timedelta(days=7), timedelta(hours=1)
_ROWS = 6
_LOOKED_AT = 100
"""The running runs that are examined for signs of life at most: each costs three queries."""


def routes(site: Site) -> list[BaseRoute]:
    return [site.page("/", _overview)]


class Tool(NamedTuple):
    """The calls of a tool that has failed."""

    name: str
    calls: int
    failed: int
    avg_latency_ms: float


def _overview(site: Site, request: Request) -> Response:
    persistence, viewer = site.persistence, site.viewer(request)
    now = viewer.now
    left_behind = persistence.runs.stale(older_than=_SILENT, limit=_LOOKED_AT)
    return site.render(
        request,
        "overview.html",
        day=_totals(persistence, now - _DAY, now, percentiles=True),
        before=_totals(persistence, now - 2 * _DAY, now - _DAY),
        chart=_chart(site, viewer),
        running=_newest(persistence, "running"),
        running_count=persistence.count_agent_runs(status="running"),
        left_behind={run.run_id for run in left_behind},
        failures=_newest(persistence, *FAILED_STATUSES),
        agents=_agents(persistence, now),
        tools=_failing_tools(persistence, now),
        since={"day": instant(now - _DAY), "week": instant(now - _WEEK)},
    )


def _totals(
    persistence: Persistence, since: datetime, until: datetime, *, percentiles: bool = False
) -> PeriodTotals:
    [totals] = persistence.analytics(since, until, bucket=None, percentiles=percentiles)
    return totals


def _newest(persistence: Persistence, *statuses: str) -> Sequence[AgentRun]:
    return list(persistence.query_agent_runs(status=statuses, limit=_ROWS, brief=True))


def _agents(persistence: Persistence, now: datetime) -> Sequence[PeriodTotals]:
    """Return the agents with the most runs."""
    agents = persistence.analytics(now - _WEEK, now, bucket=None, group_by="agent")
    found = (each for each in agents if each.runs)
    return sorted(found, key=lambda each: (-each.runs, each.agent_id or ""))[:_ROWS]


def _failing_tools(persistence: Persistence, now: datetime) -> Sequence[Tool]:
    """Return the tools with the most failures."""
    summary = persistence.stats.summary(since=now - _WEEK, until=now)
    tools: Mapping[str, Mapping[str, Any]] = summary["tool_metrics"]
    failing = [
        Tool(name, said["call_count"], said["error_count"], said["avg_latency_ms"])
        for name, said in tools.items()
        if said["error_count"]
    ]
    return sorted(failing, key=lambda tool: (-tool.failed, tool.name))[:_ROWS]


def _chart(site: Site, viewer: Viewer) -> Markup:
    since = viewer.now - _DAY
    counts = site.persistence.runs.counts(bucket="30m", by="status", since=since, until=viewer.now)
    chart = outcome_chart(site.paths, viewer, counts, "Runs in the last 24 hours")
    return histogram(chart, ends=(f"{viewer.local(since):%H:%M} yesterday", "now"))
