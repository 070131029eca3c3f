"""One run: its steps, the step that is looked at, and what belongs to the run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from curio_persistence.console.http.paths import decoded_id
from curio_persistence.console.pages import run_files, run_step
from curio_persistence.console.parts.belongings import belongings_of, is_left_behind
from curio_persistence.console.parts.panes import Pane, pane_of_run
from curio_persistence.console.render.outline import Row, map_of, reached, rows_of
from curio_persistence.console.request.records import run_of
from curio_persistence.console.site import Site, form_of
from curio_persistence.errors import InvalidValueError, NotFoundError
from curio_persistence.models import AgentRun
from curio_persistence.persistence import Persistence
from curio_persistence.views.html.text import harmless
from curio_persistence.views.steps import ref_of, time_of

if TYPE_CHECKING:
    from curio_persistence.views.brief import BriefStep
    from curio_persistence.views.minimap import RunOutline
    from curio_persistence.views.step_pages import StepPage

_STEPS = 500
_BUCKETS = 240
_SHOWN: dict[str, dict[str, Any]] = {
    "all": {},
    "model": {"only": "model"},
    "tools": {"only": "tool"},
    "failed": {"failed": True},
}
_PARAMETERS = ("step", "show", "q", "cursor", "raw", "at", "verify")
_NO_STEPS = ("tool_call_started", "span_started", "run_started")
"""The types of events that are told by the step that they begin."""
_NEAR = 20
_STEP = re.compile(r"(event|usage|run):[0-9]{1,18}")


class Asked(NamedTuple):
    """The parameters of a run's page."""

    show: str
    text: str
    cursor: str | None
    step: str | None
    raw: str | None
    at_ms: int | None
    verify: bool

    @classmethod
    def of(cls, params: QueryParams) -> Asked:
        unknown = next((name for name in params if name not in _PARAMETERS), None)
        if unknown is not None:
            told = ", ".join(_PARAMETERS)
            raise InvalidValueError(f"{unknown!r} is no parameter here: {told}.", field=unknown)
        show = params.get("show") or "all"
        if show not in _SHOWN:
            raise InvalidValueError(f"show is one of {', '.join(_SHOWN)}.", field="show")
        cursor, step, raw = (params.get(name) or None for name in ("cursor", "step", "raw"))
        if step is not None and not _STEP.fullmatch(step):
            raise InvalidValueError("step is as event:7, usage:3 or run:2.", field="step")
        at_ms, verify = _milliseconds(params.get("at")), bool(params.get("verify"))
        return cls(show, params.get("q", ""), cursor, step, raw, at_ms, verify)

    def kept(self, **changed: str | None) -> dict[str, str | None]:
        """Return the parameters of a link; `show=all` is left out."""
        show = None if self.show == "all" else self.show
        return {"show": show, "q": self.text or None, "cursor": self.cursor, **changed}


class Looked(NamedTuple):
    """A page of steps as rows, and the row that is looked at."""

    page: StepPage[BriefStep]
    rows: list[Row]
    row: Row | None

    @property
    def steps(self) -> list[Row]:
        """The rows that are no headings."""
        return [row for row in self.rows if row.heading is None]

    def neighbours(self) -> tuple[Row | None, Row | None]:
        """Return the steps before and after the one that is looked at."""
        if self.row is None:
            return None, next(iter(self.steps), None)
        place = self.rows.index(self.row)
        before, after = reversed(self.rows[:place]), self.rows[place + 1 :]
        return _first_step(before), _first_step(after)


def _first_step(rows: Iterable[Row]) -> Row | None:
    return next((row for row in rows if row.heading is None), None)


def routes(site: Site) -> list[BaseRoute]:
    return [
        site.page("/runs/{run_id}", _run),
        *run_step.routes(site),
        *run_files.routes(site),
        site.post("/runs/{run_id}/delete", _delete, role="admin"),
    ]


def _run(site: Site, request: Request) -> Response:
    persistence = site.persistence
    try:
        run = run_of(persistence, request)
    except NotFoundError:
        return _gone(site, request)
    asked = Asked.of(request.query_params)
    outline = persistence.runs.outline_buckets(run.run_id, buckets=_BUCKETS)
    if asked.at_ms is not None:
        step = _step_at(persistence, run, outline.begin, asked.at_ms)
        return RedirectResponse(site.paths.run(run.run_id, step), 303)
    looked = _looked(persistence, run, outline, asked)
    return _page(site, request, run, outline, asked, looked)


def _gone(site: Site, request: Request) -> Response:
    """Return the page about a run that is not stored, which an archive may have."""
    run_id = decoded_id(request.path_params["run_id"])
    try:
        site.persistence.runs.history(run_id, limit=1)
    except NotFoundError as error:
        is_archived = "it was archived in" in str(error)
    else:  # It was stored in this moment.
        return RedirectResponse(site.paths.run(run_id), 303)
    return site.render(request, "run_gone.html", 404, run_id=run_id, is_archived=is_archived)


def _page(
    site: Site, request: Request, run: AgentRun, outline: RunOutline, asked: Asked, looked: Looked
) -> Response:
    persistence, row = site.persistence, looked.row
    pane = _pane(persistence, run, asked, row)
    is_missing = asked.step is not None and pane is None
    return site.render(
        request,
        "run.html",
        404 if is_missing else 200,
        run=run,
        asked=asked,
        outline=outline,
        map=map_of(outline, _BUCKETS),
        figures=persistence.runs.totals_of([run.run_id])[run.run_id],
        looked=looked,
        reached=reached(looked.steps, row),
        neighbours=looked.neighbours(),
        pane=pane or pane_of_run(run, asked.raw),
        is_missing=is_missing,
        belongings=None if pane else belongings_of(persistence, run, verify=asked.verify),
        is_left_behind=is_left_behind(persistence, run),
        link=lambda **changed: _link(site, run, asked, **changed),
        address=_address(site, request),
    )


def _pane(persistence: Persistence, run: AgentRun, asked: Asked, row: Row | None) -> Pane | None:
    """Return the step that was asked for, also one that no row of the page shows."""
    if row is not None:
        return run_step.pane_of_row(persistence, row, asked.raw)
    if asked.step is None or asked.step.startswith("run:"):
        return None
    return run_step.pane_of_ref(persistence, run.run_id, asked.step, asked.raw)


def _address(site: Site, request: Request) -> str:
    """Return the address under which others reach the console: `https://curio.example.com`."""
    url = urlsplit(site.options.public_url or str(request.base_url))
    return f"{url.scheme}://{url.netloc}"


def _link(site: Site, run: AgentRun, asked: Asked, **changed: str | None) -> str:
    return site.paths.run(run.run_id, **asked.kept(**changed))


def _looked(persistence: Persistence, run: AgentRun, outline: RunOutline, asked: Asked) -> Looked:
    filters = {**_SHOWN[asked.show], "text": asked.text or None, "limit": _STEPS}
    try:
        around = None if asked.cursor else asked.step
        page = persistence.runs.steps(run.run_id, around=around, cursor=asked.cursor, **filters)
    except NotFoundError:  # The step, not the run: the page says so.
        page = persistence.runs.steps(run.run_id, **filters)
    rows = rows_of(page, outline)
    return Looked(page, rows, next((row for row in rows if row.ref == asked.step), None))


def _milliseconds(text: str | None) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        raise InvalidValueError("at is a number of milliseconds from the run's begin.", field="at")
    return int(text)


def _step_at(persistence: Persistence, run: AgentRun, begin: datetime, at_ms: int) -> str | None:
    """Return the first step that was recorded at a time or later, if there is one."""
    since = begin + timedelta(milliseconds=at_ms)
    near: dict[str, Any] = {"run_id": run.run_id, "since": since, "order": "oldest"}
    events = persistence.query_events(limit=_NEAR, **near)
    calls = persistence.query_llm_usage(limit=1, **near)
    steps = [*calls, *(event for event in events if event.event_type not in _NO_STEPS)]
    return str(ref_of(min(steps, key=time_of))) if steps else None


def _delete(site: Site, request: Request) -> Response:
    run = run_of(site.persistence, request)
    if form_of(request).get("confirm") not in (run.run_id, _typed(run.run_id)):
        raise InvalidValueError("To delete the run, type its whole id.", field="confirm")
    site.persistence.delete_agent_run(run.run_id)
    return RedirectResponse(site.paths.page("runs"), 303)


def _typed(run_id: str) -> str:
    """Return an id as the page shows it: line breaks and control characters cannot be typed."""
    return " ".join(harmless(run_id).split())
