"""Agiwo's API of runs, sessions and traces, below `/compat/agiwo`, over our run logs.

What has no run log, because another recorder made it, is shown as well, without its steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from itertools import chain, islice, repeat
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute

from curio_persistence.capabilities.run_figures import RunFigures
from curio_persistence.capabilities.sessions import Session
from curio_persistence.compat.agiwo import Trace, TraceQuery
from curio_persistence.compat.agiwo.saved_traces import SavedTraces
from curio_persistence.console.http.errors import Problem
from curio_persistence.console.roots.root import Asked, Operation, Root
from curio_persistence.console.site import Site
from curio_persistence.models import AgentRun
from curio_persistence.persistence import Persistence
from curio_persistence.results.pages import Direction
from curio_persistence.runlog.runs import RunView
from curio_persistence.runlog.steps import StepView
from curio_persistence.runlog.values import UserInput, UserMessage

PATH = "/compat/agiwo"
_MOST = 200
_MOST_STEPS = 5_000
_FAR = 100_000
_STATUSES = {"completed": "completed", "error": "failed", "timeout": "failed"}
_NOTHING = ("total", "pending", "running", "waiting", "idle", "queued", "completed", "failed")
T = TypeVar("T")


def routes(site: Site) -> list[BaseRoute]:
    """Return the routes of what is kept; all others say that it is not."""
    root = Root(site, PATH, _told)
    return [
        root.route("/api/overview", GET=Operation(_overview)),
        root.route("/api/runs", GET=Operation(_runs)),
        root.route("/api/runs/{ident:path}", GET=Operation(_run)),
        root.route("/api/sessions", GET=Operation(_sessions)),
        root.route("/api/sessions/{ident:path}/steps", GET=Operation(_steps)),
        root.route("/api/sessions/{ident:path}/summary", GET=Operation(_summary)),
        root.route("/api/sessions/{ident:path}", GET=Operation(_session)),
        root.route("/api/traces", GET=Operation(_traces)),
        root.route("/api/traces/{ident:path}", GET=Operation(_trace)),
        root.route("/{rest:path}", **{method: Operation(_unkept) for method in _METHODS}),
    ]


_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def _told(problem: Problem) -> dict[str, Any]:
    return {"detail": problem.detail}


def _unkept(asked: Asked) -> Any:
    raise HTTPException(501, "Runs, sessions, steps and traces are kept here.")


def _page(
    asked: Asked, found: Iterable[T], told: Callable[[T], Any], limit: int, most: int
) -> dict[str, Any]:
    """Return a page of what is found, from the offset on."""
    limit, offset = max(1, asked.number("limit", limit, most)), asked.number("offset", 0, _FAR)
    page = [*islice(found, offset, offset + limit + 1)]
    return {
        "items": [told(each) for each in page[:limit]],
        "limit": limit,
        "offset": offset,
        "has_more": len(page) > limit,
        "total": None,
    }


# --- runs -------------------------------------------------------------------------------------


def _runs(asked: Asked) -> Any:
    runs = asked.persistence.iter_agent_runs(snapshot=False, **asked.given("user_id", "session_id"))
    return _page(asked, runs, lambda run: _described_run(asked.persistence, run), 20, _MOST)


def _run(asked: Asked) -> Any:
    run = asked.persistence.get_agent_run(asked.ident)
    return None if run is None else _described_run(asked.persistence, run)


def _described_run(persistence: Persistence, run: AgentRun) -> dict[str, Any]:
    """Return a run as its log has it, or else as we have it."""
    view = persistence.runlog.run_view(run.run_id)
    return {
        "id": run.run_id,
        "agent_id": run.agent_id,
        "session_id": run.session_id or "",
        "user_id": run.user_id,
        "parent_run_id": run.parent_run_id,
        **(_of_record(persistence, run) if view is None else _of_view(view)),
    }


def _of_view(view: RunView) -> dict[str, Any]:
    return {
        "user_input": _user_input(view.last_user_input),
        "status": view.status,
        "response_content": view.response,
        "metrics": None if view.metrics is None else asdict(view.metrics),
        "created_at": view.created_at,
        "updated_at": view.updated_at,
    }


def _of_record(persistence: Persistence, run: AgentRun) -> dict[str, Any]:
    return {
        "user_input": run.objective,
        "status": _STATUSES.get(run.status, "running"),
        "response_content": run.final_synthesis_output,
        "metrics": _metrics(persistence.runs.totals_of([run.run_id])[run.run_id]),
        "created_at": run.created_at,
        "updated_at": run.updated_at,
    }


def _metrics(figures: RunFigures) -> dict[str, Any]:
    return {
        "input_tokens": figures.input_tokens,
        "output_tokens": figures.output_tokens,
        "total_tokens": figures.input_tokens + figures.output_tokens,
        "token_cost": None if figures.cost_usd is None else float(figures.cost_usd),
        "tool_calls_count": figures.tool_calls,
    }


def _user_input(said: UserInput | None) -> Any:
    """Return what a user said as clients know it: text, parts, or a message of a channel."""
    if isinstance(said, UserMessage):
        return {"__type": "user_message", **asdict(said)}
    return [asdict(part) for part in said] if isinstance(said, list) else said or ""


# --- sessions ---------------------------------------------------------------------------------


def _sessions(asked: Asked) -> Any:
    sessions = asked.persistence.sessions.iterate()
    return _page(asked, sessions, lambda each: _described(asked.persistence, each), 20, _MOST)


def _session(asked: Asked) -> Any:
    summary = _summary(asked)
    nothing = {"session": None, "chat_context": None, "scheduler_state": None}
    return None if summary is None else {"summary": summary, **nothing}


def _summary(asked: Asked) -> Any:
    found = asked.persistence.sessions.get(asked.ident)
    return None if found is None else _described(asked.persistence, found)


def _described(persistence: Persistence, session: Session) -> dict[str, Any]:
    """Return a session, what was said in it last, and its numbers."""
    [last] = [*persistence.query_agent_runs(session_id=session.session_id, limit=1)] or [None]
    told = {} if last is None else _described_run(persistence, last)
    steps = persistence.runlog.count_steps(session.session_id)
    numbers = _numbers(persistence, session)
    return {
        "session_id": session.session_id,
        "agent_id": session.agent_id,
        "last_user_input": told.get("user_input"),
        "last_response": told.get("response_content"),
        "run_count": session.runs,
        "step_count": steps,
        "metrics": {**numbers, "step_count": steps},
        "created_at": session.started_at,
        "updated_at": session.last_event_at or session.started_at,
        "base_agent_id": session.agent_id,
        **dict.fromkeys(_UNKNOWN),
    }


_UNKNOWN = (
    "chat_context_scope_id",
    "created_by",
    "root_state_status",
    "source_session_id",
    "fork_context_summary",
)
"""The fields of a session that its run log does not have."""


def _numbers(persistence: Persistence, session: Session) -> dict[str, Any]:
    """Return the numbers of a session; clients know no unknown ones."""
    [runs] = [*persistence.runs.totals(session_id=session.session_id)] or [None]
    [calls] = [*persistence.usage.totals(session_id=session.session_id)] or [None]
    ended = 0 if runs is None else runs.runs - runs.running
    seconds = 0.0 if runs is None else ended * (runs.avg_duration_s or 0.0)
    return {
        "run_count": session.runs,
        "completed_run_count": 0 if runs is None else runs.completed,
        "tool_calls_count": session.tool_calls,
        "duration_ms": seconds * 1_000,
        "input_tokens": session.input_tokens,
        "output_tokens": session.output_tokens,
        "total_tokens": session.input_tokens + session.output_tokens,
        "cache_read_tokens": 0 if calls is None else calls.cache_read_tokens,
        "cache_creation_tokens": 0 if calls is None else calls.cache_write_tokens,
        "token_cost": float(session.cost_usd or 0),
    }


def _steps(asked: Asked) -> Any:
    runlog, only = asked.persistence.runlog, asked.given("run_id", "agent_id")
    start, end = (asked.number(name, 0, 10**9) or None for name in ("start_seq", "end_seq"))
    limit = max(1, asked.number("limit", 1_000, _MOST_STEPS))
    order: Direction = "newest" if asked.query.get("order") == "desc" else "oldest"
    steps = runlog.step_views(
        asked.ident, start=start, end=end, order=order, limit=limit + 1, **only
    )
    if not steps and asked.persistence.sessions.get(asked.ident) is None:
        return None
    return _page(asked, steps, _described_step, 1_000, _MOST_STEPS)


def _described_step(step: StepView) -> dict[str, Any]:
    return {**asdict(step), "user_input": _user_input(step.user_input) or None}


# --- traces -----------------------------------------------------------------------------------


def _traces(asked: Asked) -> Any:
    limit, offset = asked.number("limit", 50, 499), asked.number("offset", 0, _FAR)
    only: dict[str, Any] = dict(asked.given("agent_id", "session_id", "user_id", "status"))
    query = TraceQuery(**only, limit=max(1, limit) + 1, offset=offset)
    found = SavedTraces(asked.persistence).query(query)
    return _page(asked, chain(repeat(None, offset), found), _described_trace, 50, 499)


def _described_trace(trace: Trace | None) -> dict[str, Any]:
    assert trace is not None  # What stands for those before the offset is on no page.
    return {name: value for name, value in asdict(trace).items() if name != "spans"}


def _trace(asked: Asked) -> Any:
    found = SavedTraces(asked.persistence).get(asked.ident)
    return None if found is None else asdict(found)


def _overview(asked: Asked) -> Any:
    persistence = asked.persistence
    stats = persistence.get_agent_run_stats()
    return {
        "total_sessions": persistence.sessions.count(),
        "total_traces": sum(1 for _ in persistence.traces.spans(kind="trace")),
        "total_agents": persistence.agents.count(),
        "total_tokens": stats["total_input_tokens"] + stats["total_output_tokens"],
        "scheduler": dict.fromkeys(_NOTHING, 0),
    }
