"""The list of sessions, and one session: its conversation, its timeline, its replay."""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from curio_persistence.capabilities.sessions import Session
from curio_persistence.console.http.paths import decoded_id
from curio_persistence.console.pages.session_steps import (
    StepRows,
    href_in_run,
    icon_of,
    name_of,
)
from curio_persistence.console.parts.panes import RENDERER
from curio_persistence.console.request.filters import Filters
from curio_persistence.console.site import Site
from curio_persistence.errors import InvalidValueError, NotFoundError
from curio_persistence.runlog.steps import Marks
from curio_persistence.views.html.values import Limits
from curio_persistence.views.run_logs import told_decisions
from curio_persistence.views.steps import RecordRef
from curio_persistence.views.timelines import folded

_ROWS = 50
_EXCHANGES = 30
_STEPS = 100
_AROUND = 12
"""Steps that a replay shows before and after the one that it is at."""
_MESSAGES = 8
"""Messages of a run log that a replay shows: the last ones of those that the model gets next."""
_SHORT = RENDERER._replace(limits=Limits(16_000, 4_000, 500))
"""Shows what was asked and answered; all of it is on the page of the run."""
_FILTERS = ("status", "agent_id", "user_id", "tags", "any_tags", "session_id", "since", "until")
_NO_LOG: dict[str, Any] = {"messages": (), "left_out": 0, "milestones": (), "decisions": ()}
STATUSES = ("active", "idle", "completed", "error")
_REF = re.compile("(run|event|usage):([0-9]{1,18})")


def routes(site: Site) -> list[BaseRoute]:
    return [
        site.page("/sessions", _sessions),
        site.page("/sessions/{id}", _session),
        site.page("/sessions/{id}/chain", _chain),
    ]


def _sessions(site: Site, request: Request) -> Response:
    filters = Filters.of(site.paths.page("sessions"), request.query_params, _FILTERS)
    sessions = site.persistence.sessions
    page = sessions.query(limit=_ROWS, cursor=filters.cursor, **filters.values())
    return site.render(
        request,
        "sessions.html",
        filters=filters,
        sessions=list(page),
        statuses=STATUSES,
        values=site.persistence.values,
        **filters.pager(page.next_cursor),
    )


def _session(site: Site, request: Request) -> Response:
    session = _stored(site, request)
    view = request.query_params.get("view", "conversation")
    shown = _VIEWS.get(view)
    if shown is None:
        raise InvalidValueError(f"view is one of {', '.join(_VIEWS)}.", field="view")
    template, context_of = shown
    context = context_of(site, request, session)
    has_chain = _is_chained(site, session)
    return site.render(
        request,
        template,
        session=session,
        view=view,
        has_chain=has_chain,
        said=(_SHORT if view == "conversation" else RENDERER).part,
        **context,
    )


def _stored(site: Site, request: Request) -> Session:
    session_id = decoded_id(request.path_params["id"])
    session = site.persistence.sessions.get(session_id)
    if session is None:
        raise NotFoundError(f"There is no session {session_id!r}.")
    return session


def _cursor(request: Request) -> str | None:
    return request.query_params.get("cursor") or None


# --- the three views ------------------------------------------------------------------------------


def _conversation(site: Site, request: Request, session: Session) -> dict[str, Any]:
    page = site.persistence.sessions.conversation(
        session.session_id, limit=_EXCHANGES, cursor=_cursor(request)
    )
    ident, cursor = session.session_id, page.next_cursor
    return {
        "exchanges": page,
        "earlier": site.paths.session(ident, cursor=cursor) if cursor else None,
        "newest": site.paths.session(ident) if _cursor(request) else None,
    }


def _timeline(site: Site, request: Request, session: Session) -> dict[str, Any]:
    page = site.persistence.sessions.timeline(
        session.session_id, limit=_STEPS, cursor=_cursor(request)
    )
    ident, cursor = session.session_id, page.next_cursor
    return {
        "rows": StepRows(site.paths, session, _marks(site, session)).of(folded(page)),
        "following": site.paths.session(ident, view="timeline", cursor=cursor) if cursor else None,
        "first": site.paths.session(ident, view="timeline") if _cursor(request) else None,
    }


def _replay(site: Site, request: Request, session: Session) -> dict[str, Any]:
    at = request.query_params.get("at")
    moment = site.persistence.sessions.moment(
        session.session_id, None if not at else _ref(at), around=_AROUND
    )
    if moment is None:
        return {"moment": None}
    entry, seq = moment.entry, moment.seq
    marks = _marks(site, session, seq)
    rows = StepRows(site.paths, session, marks, replayed=True, current=str(moment.ref))
    return {
        "moment": moment,
        "rows": rows.of(moment.around),
        "icon": icon_of(entry),
        "name": name_of(entry),
        "href": href_in_run(site.paths, entry),
        "log": _NO_LOG if seq is None else _known_by_log(site, session.session_id, seq),
    }


_VIEWS = {
    "conversation": ("session_conversation.html", _conversation),
    "timeline": ("session_timeline.html", _timeline),
    "replay": ("session_replay.html", _replay),
}


def _ref(at: str) -> RecordRef:
    found = _REF.fullmatch(at)
    if found is None:
        raise InvalidValueError(
            f"at names a step, such as event:7, usage:3 or run:2, not {at[:100]!r}.", field="at"
        )
    return RecordRef(found[1], int(found[2]))


# --- run logs and hash chains ---------------------------------------------------------------------


def _marks(site: Site, session: Session, seq: int | None = None) -> Marks:
    """Return which steps are rolled back, hidden or condensed; none without a run log."""
    return site.persistence.runlog.marks(session.session_id, until_seq=seq)


def _known_by_log(site: Site, session_id: str, seq: int) -> dict[str, Any]:
    """Return what the run log of a session says as of a sequence."""
    log = site.persistence.runlog
    messages = log.context(session_id, until_seq=seq)
    return {
        "messages": messages[-_MESSAGES:],
        "left_out": max(len(messages) - _MESSAGES, 0),
        "milestones": log.milestones(session_id, until_seq=seq),
        "decisions": told_decisions(log.decision_state(session_id, until_seq=seq)),
    }


def _is_chained(site: Site, session: Session) -> bool:
    """Return True if the newest event of a session is a link of a hash chain."""
    newest = site.persistence.query_events(session_id=session.session_id, limit=1)
    return any(event.chain_position is not None for event in newest)


def _chain(site: Site, request: Request) -> Response:
    """Verify the hash chains of all runs of a session."""
    session = _stored(site, request)
    runs = site.persistence.iter_agent_runs(session_id=session.session_id, snapshot=False)
    reports = [(run.run_id, site.persistence.audit.verify(run.run_id)) for run in runs]
    return site.render(
        request,
        "session_chain.html",
        session=session,
        links=sum(report.links for _, report in reports),
        broken=[(run_id, report.faults[0]) for run_id, report in reports if not report.ok],
    )
