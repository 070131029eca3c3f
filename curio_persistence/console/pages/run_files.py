"""A whole run as a file: JSON, Markdown, or a page for somebody without the console."""

from __future__ import annotations

import json
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from curio_persistence.console.http.downloads import attachment
from curio_persistence.console.request.records import run_of
from curio_persistence.console.site import Site
from curio_persistence.errors import NotFoundError
from curio_persistence.views.histories import History
from curio_persistence.views.html.page import page_of
from curio_persistence.views.markdown import markdown_of

_FORMS: dict[str, tuple[str, Callable[[History], str]]] = {
    "json": (
        "application/json",
        lambda history: json.dumps(history.to_dict(), ensure_ascii=False, indent=2),
    ),
    "md": ("text/markdown", markdown_of),
    "html": ("text/html", page_of),
}


def routes(site: Site) -> list[BaseRoute]:
    return [site.page("/runs/{run_id}/file/{form}", _file)]


def _file(site: Site, request: Request) -> Response:
    run, form = run_of(site.persistence, request), request.path_params["form"]
    if form not in _FORMS:
        raise NotFoundError(f"A run is no {form!r} file.")
    media_type, written = _FORMS[form]
    history = site.persistence.runs.history(run.run_id)
    return attachment(written(history), media_type, f"{run.run_id}.{form}")
