"""AgentLens' API, below `/compat/agentlens`, over its event store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute

from curio_persistence.compat.agentlens import AgentLensEvent, EventStore, Session
from curio_persistence.compat.agentlens.hashing import new_id
from curio_persistence.compat.agentlens.times import text_of
from curio_persistence.console.api.openapi import library_version
from curio_persistence.console.http.errors import Problem
from curio_persistence.console.roots.llm_analytics import llm_analytics
from curio_persistence.console.roots.root import Asked, Operation, Root
from curio_persistence.console.site import Site
from curio_persistence.errors import InvalidValueError

PATH = "/compat/agentlens"
_PAGE, _MOST = 50, 500
_DAY = timedelta(days=1)


def routes(site: Site) -> list[BaseRoute]:
    """Return the routes of what is kept; all others say that it is not."""
    root = Root(site, PATH, _told)
    return [
        root.route("/api/health", GET=Operation(_health)),
        root.route("/api/events", GET=Operation(_events), POST=Operation(_ingest, "write", 201)),
        root.route("/api/events/{ident:path}", GET=Operation(_one(EventStore.get_event))),
        root.route("/api/sessions", GET=Operation(_sessions)),
        root.route("/api/sessions/{ident:path}/timeline", GET=Operation(_timeline)),
        root.route("/api/sessions/{ident:path}", GET=Operation(_session)),
        root.route("/api/agents", GET=Operation(_agents)),
        root.route("/api/agents/{ident:path}", GET=Operation(_agent)),
        root.route("/api/analytics", GET=Operation(_analytics)),
        root.route("/api/analytics/llm", GET=Operation(_llm_analytics)),
        root.route("/api/stats", GET=Operation(_stats)),
        root.route(
            "/api/alerts/rules", GET=Operation(_rules), POST=Operation(_create_rule, "admin", 201)
        ),
        root.route(
            "/api/alerts/rules/{ident:path}",
            GET=Operation(_one(EventStore.get_alert_rule)),
            PUT=Operation(_update_rule, "admin"),
            DELETE=Operation(_delete_rule, "admin"),
        ),
        root.route("/api/alerts/history", GET=Operation(_history)),
        root.route("/{rest:path}", **{method: Operation(_unkept) for method in _METHODS}),
    ]


_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def _told(problem: Problem) -> dict[str, Any]:
    told: dict[str, Any] = {"error": problem.detail, "status": problem.status}
    if problem.field is not None:
        told["details"] = [{"path": problem.field, "message": problem.detail}]
    return told


def _store(asked: Asked) -> EventStore:
    return EventStore(asked.persistence)


def _one(get: Callable[[EventStore, str], Any]) -> Callable[[Asked], Any]:
    """Return the operation that gets a value by its id."""

    def answer(asked: Asked) -> Any:
        found = get(_store(asked), asked.ident)
        return None if found is None else found.to_dict()

    return answer


def _unkept(asked: Asked) -> Any:
    raise HTTPException(501, "Events, sessions, agents, analytics and alerts are kept here.")


def _health(asked: Asked) -> dict[str, str]:
    return {"status": "ok", "version": library_version()}


# --- events -----------------------------------------------------------------------------------


def _ingest(asked: Asked) -> dict[str, Any]:
    events = asked.body.get("events") if isinstance(asked.body, dict) else None
    if not isinstance(events, list) or not events:
        raise InvalidValueError("The body has events, a list with at least one.", field="events")
    try:
        stored = _store(asked).ingest_events(events)
    except InvalidValueError:
        raise
    except ValueError as error:
        raise InvalidValueError(str(error), field="events") from error
    return {
        "ingested": len(stored),
        "events": [{"id": event.id, "hash": event.hash} for event in stored],
    }


def _events(asked: Asked) -> Any:
    query: dict[str, Any] = dict(asked.given("sessionId", "agentId", "from", "to", "search"))
    query |= _listed(asked, "eventType", "severity")
    if asked.query.get("order") in ("asc", "desc"):
        query["order"] = asked.query["order"]
    return _store(asked).query_events(query | _page(asked)).to_dict()


def _listed(asked: Asked, *names: str) -> dict[str, list[str]]:
    """Return parameters that have one value, or several with commas between them."""
    return {name: text.split(",") for name, text in asked.given(*names).items()}


def _page(asked: Asked) -> dict[str, int]:
    limit = max(1, asked.number("limit", _PAGE, _MOST))
    return {"limit": limit, "offset": asked.number("offset", 0, 10**9)}


# --- sessions and agents ----------------------------------------------------------------------


def _sessions(asked: Asked) -> Any:
    query = {**asked.given("agentId", "from", "to"), **_listed(asked, "status", "tags")}
    found = _store(asked).query_sessions({**query, **_page(asked)})
    if asked.query.get("countOnly") == "true":
        return {"count": found.total}
    return {**found.to_dict(), "sessions": [_described(each) for each in found.sessions]}


def _session(asked: Asked) -> Any:
    found = _store(asked).get_session(asked.ident)
    return None if found is None else _described(found)


def _described(session: Session) -> dict[str, Any]:
    """Return a session; an idle one is active, since clients know no other word for it."""
    told = session.to_dict()
    return {**told, "status": "active"} if session.status == "idle" else told


def _timeline(asked: Asked) -> Any:
    store = _store(asked)
    if store.get_session(asked.ident) is None:
        return None
    events: list[AgentLensEvent] = store.get_session_timeline(asked.ident)
    valid = store.verify_session(asked.ident).valid
    return {"events": [event.to_dict() for event in events], "chainValid": valid}


def _agents(asked: Asked) -> Any:
    return {"agents": [_of_tenant(agent.to_dict()) for agent in _store(asked).list_agents()]}


def _agent(asked: Asked) -> Any:
    found = _store(asked).get_agent(asked.ident)
    return None if found is None else _of_tenant(found.to_dict())


def _of_tenant(values: dict[str, Any]) -> dict[str, Any]:
    """Return values with the tenant that clients need: there is one."""
    return {**values, "tenantId": "default"}


# --- analytics and alerts ---------------------------------------------------------------------


def _analytics(asked: Asked) -> Any:
    return _store(asked).get_analytics(_window(asked) | asked.given("agentId")).to_dict()


def _llm_analytics(asked: Asked) -> Any:
    window = _window(asked)
    granularity = window.pop("granularity")
    query, only = window | asked.given("agentId"), asked.given("model", "provider")
    return llm_analytics(_store(asked), query, only, granularity)


def _window(asked: Asked) -> dict[str, str]:
    """Return the window that is asked for, by default of the last day, and its granularity."""
    now = asked.persistence.clock.now()
    window = {"from": text_of(now - _DAY), "to": text_of(now), "granularity": "hour"}
    return window | asked.given("from", "to", "granularity")


def _stats(asked: Asked) -> Any:
    return _store(asked).get_stats().to_dict()


def _rules(asked: Asked) -> Any:
    return {"rules": [rule.to_dict() for rule in _store(asked).list_alert_rules()]}


def _create_rule(asked: Asked) -> Any:
    store, rule = _store(asked), {"id": new_id(), **_object(asked.body)}
    store.create_alert_rule(rule)
    created = store.get_alert_rule(rule["id"])
    return None if created is None else created.to_dict()


def _update_rule(asked: Asked) -> Any:
    store = _store(asked)
    store.update_alert_rule(asked.ident, _object(asked.body))
    changed = store.get_alert_rule(asked.ident)
    return None if changed is None else changed.to_dict()


def _delete_rule(asked: Asked) -> Any:
    _store(asked).delete_alert_rule(asked.ident)
    return {"id": asked.ident, "deleted": True}


def _history(asked: Asked) -> Any:
    page = _page(asked)
    found = _store(asked).list_alert_history(asked.query.get("ruleId") or None, **page)
    more = page["offset"] + len(found.entries) < found.total
    return {**found.to_dict(), "hasMore": more}


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise InvalidValueError("The body is an object.", field="body")
    return body
