"""The agents: when they were seen, what they did, what it cost; and a page for each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from curio_persistence.console.filters import Filters
from curio_persistence.console.outcomes import outcome_chart
from curio_persistence.console.pages.costs import cost_chart
from curio_persistence.console.paths import decoded_id
from curio_persistence.console.render.charts import stacked_bars
from curio_persistence.console.site import Site
from curio_persistence.console.spending import Spent, spending
from curio_persistence.console.viewer import Viewer
from curio_persistence.console.windows import LENGTHS, PARAMETERS, Window, instant
from curio_persistence.errors import NotFoundError
from curio_persistence.models import FAILED_STATUSES

if TYPE_CHECKING:
    from curio_persistence.capabilities.analytics.records import PeriodTotals
    from curio_persistence.models import Agent
    from curio_persistence.persistence import Persistence

_ROWS, _LATEST, _REASONS = 50, 8, 10


class Row(NamedTuple):
    """An agent of the list, with its numbers in the window; None where it did nothing in it."""

    agent: Agent
    totals: PeriodTotals | None
    models: Sequence[str]


class Tool(NamedTuple):
    """A tool that an agent called."""

    name: str
    calls: int
    failed: int
    avg_latency_ms: float


def routes(site: Site) -> list[BaseRoute]:
    return [site.page("/agents", _agents), site.page("/agents/{agent_id}", _agent)]


# --- the list -------------------------------------------------------------------------------------


def _agents(site: Site, request: Request) -> Response:
    filters = Filters.of(
        site.paths.page("agents"), request.query_params, (), (*PARAMETERS, "cursor")
    )
    window = Window.of(filters.further, site.viewer(request))
    page = site.persistence.agents.query(limit=_ROWS, cursor=filters.cursor)
    ends: dict[str, Any] = {"since": window.since, "until": window.until}
    totals = {
        each.agent_id: each
        for each in site.persistence.analytics(**ends, bucket=None, group_by="agent")
    }
    models = _models(site.persistence, ends)
    return site.render(
        request,
        "agents.html",
        filters=filters,
        window=window,
        lengths=LENGTHS,
        since=instant(window.since),
        rows=[Row(each, totals.get(each.agent_id), models[each.agent_id]) for each in page],
        newest=filters.with_() if filters.cursor else None,
        older=filters.with_(cursor=page.next_cursor) if page.next_cursor else None,
    )


def _models(persistence: Persistence, ends: Mapping[str, Any]) -> Mapping[str, list[str]]:
    """Return the models that each agent called, the one with the most calls first."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    totals = persistence.usage.totals(group_by=("agent", "model"), **ends)
    for row in sorted(totals, key=lambda row: (-row.calls, row.model or "")):
        found[row.agent_id or ""].append(row.model or "")
    return found


# --- one agent ------------------------------------------------------------------------------------


def _agent(site: Site, request: Request) -> Response:
    agent_id = decoded_id(request.path_params["agent_id"])
    persistence, viewer = site.persistence, site.viewer(request)
    agent = persistence.agents.get(agent_id)
    if agent is None:
        raise NotFoundError(f"There is no agent {agent_id!r}.")
    filters = Filters.of(site.paths.agent(agent_id), request.query_params, (), PARAMETERS)
    window = Window.of(filters.further, viewer)
    ends: dict[str, Any] = {"since": window.since, "until": window.until}
    [totals] = persistence.analytics(**ends, bucket=None, percentiles=True, agent_id=agent_id)
    failures = persistence.stats.failures(**ends, agent_id=agent_id)
    return site.render(
        request,
        "agent.html",
        agent=agent,
        filters=filters,
        window=window,
        lengths=LENGTHS,
        totals=totals,
        runs_url=_runs_url(site, agent_id, window),
        outcomes=_outcomes(site, viewer, agent_id, window),
        **_costs(site, agent_id, window),
        tools=_tools(persistence, {**ends, "agent_id": agent_id}),
        latest=_latest(persistence, agent_id),
        failed=_latest(persistence, agent_id, status=FAILED_STATUSES),
        reasons=list(failures[:_REASONS]),
    )


def _runs_url(site: Site, agent_id: str, window: Window) -> str:
    return site.paths.page("runs", agent_id=agent_id, since=instant(window.since))


def _outcomes(site: Site, viewer: Viewer, agent_id: str, window: Window) -> Markup:
    counts = site.persistence.runs.counts(
        bucket=window.bucket,
        by="status",
        timezone=viewer.zone_name,
        agent_id=agent_id,
        since=window.since,
        until=window.until,
    )
    label = f"Runs by {window.bucket}"
    return stacked_bars(
        outcome_chart(site.paths, viewer, counts, label, agent_id=agent_id), whole=True
    )


def _costs(site: Site, agent_id: str, window: Window) -> dict[str, Any]:
    """Return the costs of an agent by model, and their chart."""
    filters = {"agent_id": agent_id}
    periods = window.periods(window.bucket)
    spent = spending(site.persistence, window, "model", periods, filters)
    chart = cost_chart(site, window, "model", periods, spent, agent_id)
    models: Sequence[Spent] = spent.groups
    return {"costs": chart, "models": models}


def _tools(persistence: Persistence, where: Mapping[str, Any]) -> Sequence[Tool]:
    """Return the tools of an agent, the one with the most calls first."""
    tools = persistence.stats.summary(**where)["tool_metrics"]
    found = [
        Tool(name, said["call_count"], said["error_count"], said["avg_latency_ms"])
        for name, said in tools.items()
    ]
    return sorted(found, key=lambda tool: (-tool.calls, tool.name))


def _latest(persistence: Persistence, agent_id: str, **filters: Any) -> Sequence[Any]:
    runs = persistence.query_agent_runs(agent_id=agent_id, limit=_LATEST, brief=True, **filters)
    return list(runs)
