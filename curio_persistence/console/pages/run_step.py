"""One step of a run in full: the pane beside the steps, and what it has as files."""

from __future__ import annotations

import json

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from curio_persistence.console.http.downloads import attachment
from curio_persistence.console.parts.panes import (
    Pane,
    pane_of_record,
    pane_of_run,
    part_of,
    part_of_run,
)
from curio_persistence.console.render.outline import Row
from curio_persistence.console.request.records import RUN, record_of, run_of
from curio_persistence.console.site import Site
from curio_persistence.errors import NotFoundError
from curio_persistence.models import AgentRun
from curio_persistence.persistence import Persistence


def routes(site: Site) -> list[BaseRoute]:
    return [
        site.page("/runs/{run_id}/steps/{ref}", _step),
        site.page("/runs/{run_id}/steps/{ref}/record", _record),
        site.page("/runs/{run_id}/steps/{ref}/part", _part),
    ]


def pane_of_row(persistence: Persistence, row: Row, raw: str | None) -> Pane | None:
    """Return the step of a row, or the run that it stands for; None where that is gone."""
    if row.child_id is not None:
        child = persistence.get_agent_run(row.child_id)
        return None if child is None else pane_of_run(child, raw)
    return pane_of_ref(persistence, row.run_id, row.ref, raw)


def pane_of_ref(persistence: Persistence, run_id: str, ref: str, raw: str | None) -> Pane | None:
    """Return an event or a model call of a run; None where that is gone."""
    try:
        return pane_of_record(record_of(persistence, run_id, ref), raw)
    except NotFoundError:
        return None


def _step(site: Site, request: Request) -> Response:
    run, ref = run_of(site.persistence, request), request.path_params["ref"]
    raw = request.query_params.get("raw")
    pane = (
        pane_of_run(run, raw)
        if ref == RUN
        else pane_of_record(record_of(site.persistence, run.run_id, ref), raw)
    )
    return site.render(request, "parts/step.html", pane=pane, run=run)


def _record(site: Site, request: Request) -> Response:
    run, ref = run_of(site.persistence, request), request.path_params["ref"]
    record = run if ref == RUN else record_of(site.persistence, run.run_id, ref)
    text = json.dumps(record.to_dict(), ensure_ascii=False, indent=2)
    return attachment(text, "application/json", f"{run.run_id}-{ref}.json")


def _part(site: Site, request: Request) -> Response:
    run, ref = run_of(site.persistence, request), request.path_params["ref"]
    name = request.query_params.get("name", "")
    text = _text(site.persistence, run, ref, name)
    if text is None:
        raise NotFoundError(f"{ref} has no {name!r}.")
    return attachment(text, "text/plain", f"{run.run_id}-{ref}-{name}.txt")


def _text(persistence: Persistence, run: AgentRun, ref: str, name: str) -> str | None:
    if ref == RUN:
        return part_of_run(run, name)
    return part_of(record_of(persistence, run.run_id, ref), name)
