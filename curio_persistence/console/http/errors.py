"""Errors as answers: a page for people, problem+json (RFC 9457) for programs.

Neither names a path, SQL, a DSN or a token: the messages of errors may have them, so only those
about a caller's own values, about ids, and about versions of the schema are shown.
"""

from __future__ import annotations

import logging
from pathlib import PurePath
from traceback import walk_tb
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from curio_persistence.console.site import Site, inner_path
from curio_persistence.errors import (
    AccessDeniedError,
    BusyError,
    ClosedError,
    ConfigurationError,
    ConflictError,
    CorruptDatabaseError,
    InvalidValueError,
    MissingDatabaseError,
    NotFoundError,
    PoolTimeoutError,
    QueryTimeoutError,
    SchemaMismatchError,
    StorageFullError,
    UnavailableError,
    UnsupportedError,
)

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 2


class Problem(NamedTuple):
    """An error as it is told: a status, words, the field it is about, and a command that helps."""

    status: int
    title: str
    detail: str
    field: str | None = None
    command: str | None = None
    is_slow: bool = False
    is_first: bool = False
    """True where nothing was ever recorded: the page shows how to begin."""

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(_RETRY_SECONDS)} if self.status == 503 else {}


_PROBLEMS: tuple[tuple[type[Exception], Problem], ...] = (
    (
        MissingDatabaseError,
        Problem(
            503,
            "There is no database yet",
            "Run this, and the page becomes the list of its runs. It looks every two seconds.",
            is_first=True,
        ),
    ),
    (
        NotFoundError,
        Problem(404, "Not found", "It was deleted or never recorded."),
    ),
    (ConflictError, Problem(409, "It exists already", "Another record has this id.")),
    (
        UnsupportedError,
        Problem(501, "Not supported", "This database has no way to do that."),
    ),
    (
        BusyError,
        Problem(503, "The database is busy", "Another program writes to it. Try again."),
    ),
    (
        PoolTimeoutError,
        Problem(
            503,
            "The database is busy",
            "All connections are in use. Narrow the window, or retry.",
        ),
    ),
    (
        QueryTimeoutError,
        Problem(
            503, "This takes too long", "Narrow the window, or choose more filters.", is_slow=True
        ),
    ),
    (
        UnavailableError,
        Problem(503, "The database does not answer", "It may be away for a moment. Try again."),
    ),
    (
        ClosedError,
        Problem(503, "The console is stopping", "Its database is closed. Start it again."),
    ),
    (
        StorageFullError,
        Problem(507, "The disk is full", "Nothing was stored. Free some space, then try again."),
    ),
    (
        CorruptDatabaseError,
        Problem(
            500,
            "The database is damaged",
            "What is stored cannot be read.",
            command="curio-persistence doctor --deep",
        ),
    ),
    (
        AccessDeniedError,
        Problem(403, "Not allowed", "You, or the console, may not do this here."),
    ),
    (
        ConfigurationError,
        Problem(
            503,
            "The database cannot be opened",
            "Its folder is gone, or its settings are wrong. This command says what:",
            command="curio-persistence doctor",
        ),
    ),
)
_UNEXPECTED = Problem(
    500,
    "Something went wrong",
    "The page could not be made; the log has the kind of error.",
)
_STATUSES = {
    401: ("Log in first", "Log in, or send a key: Authorization: Bearer KEY."),
    403: ("Not allowed", "You may not do this here."),
    404: ("Not found", "There is no such page."),
    429: ("Too many requests", ""),
    405: ("Not possible here", "This address does not take such requests."),
}


def problem_of(error: Exception) -> Problem:
    """Return how an error is told."""
    if isinstance(error, InvalidValueError):
        return Problem(400, "This cannot be asked", str(error), _field(error))
    if isinstance(error, SchemaMismatchError):
        return _schema_problem(error)
    if isinstance(error, HTTPException):
        title, detail = _STATUSES.get(error.status_code, ("This did not work", error.detail))
        return Problem(error.status_code, title, detail or error.detail)
    for kind, problem in _PROBLEMS:
        if isinstance(error, kind):
            return problem
    return _UNEXPECTED


def _field(error: InvalidValueError) -> str | None:
    return None if error.field is None else error.field.rpartition(".")[2]


def _schema_problem(error: SchemaMismatchError) -> Problem:
    return Problem(
        503,
        "The tables have another version",
        f"Found is {error.found}; this program needs {error.wanted}.",
        command=error.command,
    )


def is_for_programs(request: Request) -> bool:
    """Return True for requests whose answer is JSON."""
    return inner_path(request).startswith(("/api/", "/compat/", "/v1/"))


def answer_to(site: Site, request: Request, error: Exception) -> Response:
    """Return the answer to a request that ended with an error."""
    problem = problem_of(error)
    if problem.status == 500:
        _log.warning("%s at %s: %s", type(error).__name__, _place_of(error), problem.title)
    if is_for_programs(request):
        answer = problem_json(problem)
    elif site.options.team and "curio.key" not in request.scope:
        answer = problem_text(problem)
    else:
        answer = problem_page(site.at(request), request, problem)
    answer.headers.update(getattr(error, "headers", None) or {})
    return answer


def _place_of(error: Exception) -> str:
    """Return the lines of files, without their folders, where an error came up."""
    frames = walk_tb(error.__traceback__)
    places = [f"{PurePath(frame.f_code.co_filename).name}:{line}" for frame, line in frames]
    return ", ".join(places[-3:]) or "an unknown place"


def problem_json(problem: Problem) -> Response:
    told = {
        "type": "about:blank",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "field": problem.field,
        "command": problem.command,
    }
    content = {name: value for name, value in told.items() if value is not None}
    return JSONResponse(
        content, problem.status, problem.headers, media_type="application/problem+json"
    )


def problem_text(problem: Problem) -> Response:
    """Return an error for readers who are not known: the frame of pages names the database."""
    told = f"{problem.title}. {problem.detail}"
    return PlainTextResponse(told, problem.status, problem.headers)


def problem_page(site: Site, request: Request, problem: Problem) -> Response:
    """Return a page in the usual frame, which also works where the database cannot be opened."""
    answer = site.render(request, "error.html", problem.status, problem=problem)
    answer.headers.update(problem.headers)
    return answer
