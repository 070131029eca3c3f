"""The search: hits of words, grouped by the runs that they belong to."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from curio_persistence.console.parts.hits import grouped
from curio_persistence.console.request.filters import SEARCH_FILTERS, Filters
from curio_persistence.console.site import Site
from curio_persistence.persistence import Persistence
from curio_persistence.views.queries import understood
from curio_persistence.views.steps import LEVELS

_HITS = 50
_LONGEST_WAIT = 1.0
"""Seconds for indexing new records, where the console may write, and for looking further back."""


def routes(site: Site) -> list[BaseRoute]:
    return [site.page("/search", _search)]


def _search(site: Site, request: Request) -> Response:
    url = site.paths.page("search")
    filters = Filters.of(url, request.query_params, SEARCH_FILTERS, ("q", "order", "cursor"))
    query = filters.further.get("q", "").strip()
    is_enabled = site.persistence.search.enabled
    found = _found(site, query, filters) if query and is_enabled else {}
    return site.render(
        request,
        "search.html",
        query=query,
        filters=filters,
        values=site.persistence.values,
        levels=LEVELS,
        is_enabled=is_enabled,
        **found,
    )


def _found(site: Site, query: str, filters: Filters) -> dict[str, Any]:
    persistence = site.persistence
    order: Any = filters.further.get("order", "newest")
    page = persistence.search_text(
        query,
        order=order,
        limit=_HITS,
        cursor=filters.cursor,
        max_wait=_LONGEST_WAIT,
        **filters.values(),
    )
    # The words of records that were not searched are unknown.
    is_in_vain = not page and filters.cursor is None and not page.pending
    return {
        "page": page,
        "groups": grouped(page, persistence),
        "understood": understood(query),
        "beginnings": _beginnings(persistence, query) if is_in_vain else {},
        **filters.pager(page.next_cursor),
    }


def _beginnings(persistence: Persistence, query: str) -> dict[str, str]:
    """Return the words of a query that only begin others, each with the query that finds those."""
    return {
        word: " ".join(f"{each}*" if each == word else each for each in query.split())
        for word in persistence.search.beginnings(query)
    }
