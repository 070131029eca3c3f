"""The list of events, which follows what is stored; and one event."""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from curio_persistence.console.http.paths import query_text
from curio_persistence.console.parts.event_rows import row_of, rows_of
from curio_persistence.console.parts.following import Look, RenderedRows, RowFrames
from curio_persistence.console.request.filters import EVENT_FILTERS, SEARCH_FILTERS, Filters
from curio_persistence.console.security.roles import check_role
from curio_persistence.console.site import Site
from curio_persistence.errors import NotFoundError
from curio_persistence.views.html.values import Renderer
from curio_persistence.views.steps import LEVELS

_ROWS = 100


def routes(site: Site) -> list[BaseRoute]:
    return [
        site.page("/events", _events),
        Route("/events/stream", _Stream(site).answer),
        site.page("/events/{id:int}", _event),
    ]


def _events(site: Site, request: Request) -> Response:
    url = site.paths.page("events")
    filters = Filters.of(url, request.query_params, EVENT_FILTERS, ("cursor", "q"))
    if words := filters.further.get("q"):
        return RedirectResponse(site.paths.page("search", q=words, **_searchable(filters)), 303)
    # Before the rows are read: what is stored meanwhile is in both, and shown once.
    after = _position(site) if _is_followed(site, request, filters) else None
    page = site.persistence.query_events(limit=_ROWS, cursor=filters.cursor, **filters.values())
    return site.render(
        request,
        "events.html",
        filters=filters,
        rows=rows_of(list(page)),
        levels=LEVELS,
        values=site.persistence.values,
        after=after,
        source=site.paths.here("/events/stream") + query_text(filters.chosen),
        **filters.pager(page.next_cursor),
    )


def _is_followed(site: Site, request: Request, filters: Filters) -> bool:
    """Return whether a page follows: the newest one, without an end, on a server of ASGI.

    That of a replica does not: rows arrive there in batches, and in no order of commits.
    """
    is_newest = filters.cursor is None and not filters.get("until")
    is_live = "wsgi_environ" not in request.scope and not site.persistence._store.replicated()
    return is_newest and is_live


def _position(site: Site) -> str:
    with site.persistence.stream(kinds="event") as stream:
        return stream.id


def _searchable(filters: Filters) -> dict[str, Any]:
    """Return the filters that the search has too."""
    return {name: text for name, text in filters.chosen.items() if name in SEARCH_FILTERS}


def _event(site: Site, request: Request) -> Response:
    event = site.persistence.events.get(request.path_params["id"])
    if event is None:
        raise NotFoundError("There is no such event.")
    row, show = row_of(event), Renderer()
    said = {"message": event.message or None, **row.step.parts}
    parts = [(name, show.part(name, text)) for name, text in said.items() if text is not None]
    return site.render(request, "event.html", row=row, parts=parts)


class _Stream:
    """The route of new rows."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._rows = RenderedRows()

    async def answer(self, request: Request) -> Response:
        check_role(request, "read")
        frames = await run_in_threadpool(self._frames, request)
        after = request.query_params.get("after")
        return await self._site.listeners.answer(
            request, lambda last: frames.open(last or after), frames, in_thread=True
        )

    def _frames(self, request: Request) -> RowFrames:
        site = self._site.at(request)
        filters = Filters.of("", request.query_params, EVENT_FILTERS, ("after",))
        return RowFrames(self._rows, Look(site, site.viewer(request), filters.values()))
