"""The agents: when they were seen, what they did, what it cost; and a page for each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from curio_persistence.console.figures.outcomes import outcome_chart, outcomes_of, runs_by_agent
from curio_persistence.console.figures.spending import Spent, cost_chart, spending
from curio_persistence.console.figures.tools import Tool, tools_of
from curio_persistence.console.http.paths import decoded_id
from curio_persistence.console.render.charts import stacked_bars
from curio_persistence.console.request.filters import Filters
from curio_persistence.console.request.moments import instant
from curio_persistence.console.request.viewer import Viewer
from curio_persistence.console.request.windows import LENGTHS, PARAMETERS, Window
from curio_persistence.console.site import Site
from curio_persistence.errors import NotFoundError
from curio_persistence.models import FAILED_STATUSES

if TYPE_CHECKING:
    from curio_persistence.capabilities.run_counts import RunCount
    from curio_persistence.capabilities.tool_totals import ToolTotals
    from curio_persistence.capabilities.totals import UsageTotals
    from curio_persistence.models import Agent
    from curio_persistence.persistence import Persistence

_ROWS, _LATEST, _REASONS = 50, 8, 10
_DAYS = 7
"""Days that are shown at first."""


class Row(NamedTuple):
    """An agent of the list, with its numbers in the window."""

    agent: Agent
    runs: int
    failed: int
    spent: Spent
    models: Sequence[str]
    tools: Sequence[Tool]


def routes(site: Site) -> list[BaseRoute]:
    return [site.page("/agents", _agents), site.page("/agents/{agent_id}", _agent)]


# --- the list -------------------------------------------------------------------------------------


def _agents(site: Site, request: Request) -> Response:
    filters = Filters.of(
        site.paths.page("agents"), request.query_params, (), (*PARAMETERS, "cursor")
    )
    window = Window.of(filters.further, site.viewer(request), days=_DAYS)
    page = site.persistence.agents.query(limit=_ROWS, cursor=filters.cursor)
    return site.render(
        request,
        "agents.html",
        filters=filters,
        window=window,
        lengths=LENGTHS,
        since=instant(window.since),
        rows=_rows(site.persistence, window, list(page)),
        **filters.pager(page.next_cursor),
    )


def _rows(persistence: Persistence, window: Window, agents: Iterable[Agent]) -> list[Row]:
    ends = (window.since, window.until)
    runs = runs_by_agent(persistence, *ends)
    failed = runs_by_agent(persistence, *ends, status=FAILED_STATUSES)
    spent = _spent_by_agent(persistence, window)
    tools: defaultdict[str, list[ToolTotals]] = defaultdict(list)
    for row in persistence.stats.tools(since=window.since, until=window.until):
        tools[row.agent_id].append(row)
    return [
        Row(
            agent,
            runs[agent.agent_id],
            failed[agent.agent_id],
            *_of_models(spent[agent.agent_id]),
            tools_of(tools[agent.agent_id]),
        )
        for agent in agents
    ]


def _spent_by_agent(persistence: Persistence, window: Window) -> Mapping[str, list[UsageTotals]]:
    found: defaultdict[str, list[UsageTotals]] = defaultdict(list)
    for row in persistence.usage.totals(
        group_by=("agent", "model"), since=window.since, until=window.until
    ):
        found[row.agent_id or ""].append(row)
    return found


def _of_models(rows: Sequence[UsageTotals]) -> tuple[Spent, list[str]]:
    """Return what calls of several models cost, and the models, the one with the most first."""
    spent = Spent()
    for row in rows:
        spent.add(row)
    models = sorted(rows, key=lambda row: (-row.calls, row.model or ""))
    return spent, [row.model or "no model" for row in models]


# --- one agent ------------------------------------------------------------------------------------


def _agent(site: Site, request: Request) -> Response:
    agent_id = decoded_id(request.path_params["agent_id"])
    persistence, viewer = site.persistence, site.viewer(request)
    agent = persistence.agents.get(agent_id)
    if agent is None:
        raise NotFoundError(f"There is no agent {agent_id!r}.")
    filters = Filters.of(site.paths.agent(agent_id), request.query_params, (), PARAMETERS)
    window = Window.of(filters.further, viewer, days=_DAYS)
    ends: dict[str, Any] = {"since": window.since, "until": window.until}
    [spent] = persistence.usage.totals(**ends, percentiles=True, agent_id=agent_id)
    counts = _counts(site, viewer, agent_id, window)
    failures = persistence.stats.failures(**ends, agent_id=agent_id)
    return site.render(
        request,
        "agent.html",
        agent=agent,
        filters=filters,
        window=window,
        lengths=LENGTHS,
        spent=spent,
        outcomes=outcomes_of(counts),
        runs_url=_runs_url(site, agent_id, window),
        chart=_chart(site, viewer, agent_id, window, counts),
        **_costs(site, agent_id, window),
        tools=tools_of(persistence.stats.tools(**ends, agent_id=agent_id)),
        latest=_latest(persistence, agent_id),
        failed=_latest(persistence, agent_id, status=FAILED_STATUSES),
        reasons=list(failures[:_REASONS]),
    )


def _runs_url(site: Site, agent_id: str, window: Window) -> str:
    return site.paths.page("runs", agent_id=agent_id, since=instant(window.since))


def _counts(site: Site, viewer: Viewer, agent_id: str, window: Window) -> Sequence[RunCount]:
    return site.persistence.runs.counts(
        bucket=window.bucket,
        by="status",
        timezone=viewer.zone_name,
        agent_id=agent_id,
        since=window.since,
        until=window.until,
    )


def _chart(
    site: Site, viewer: Viewer, agent_id: str, window: Window, counts: Sequence[RunCount]
) -> Markup:
    label = f"Runs by {window.bucket}"
    return stacked_bars(
        outcome_chart(site.paths, viewer, counts, label, agent_id=agent_id), whole=True
    )


def _costs(site: Site, agent_id: str, window: Window) -> dict[str, Any]:
    """Return the costs of an agent by model, and their chart."""
    filters = {"agent_id": agent_id}
    periods = window.periods(window.bucket)
    spent = spending(site.persistence, window, "model", periods, filters)
    chart = cost_chart(site.paths, window, "model", periods, spent, agent_id)
    models: Sequence[Spent] = spent.groups
    return {"costs": chart, "models": models}


def _latest(persistence: Persistence, agent_id: str, **filters: Any) -> Sequence[Any]:
    runs = persistence.query_agent_runs(agent_id=agent_id, limit=_LATEST, brief=True, **filters)
    return list(runs)
