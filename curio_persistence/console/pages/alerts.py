"""Alerts: the rules with their states, their history, and the deliveries of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from curio_persistence.capabilities.alerts.rules import CONDITIONS
from curio_persistence.console.http.paths import decoded_id
from curio_persistence.console.request.filters import Filters
from curio_persistence.console.site import Site, form_of
from curio_persistence.errors import ConflictError, InvalidValueError, PersistenceError
from curio_persistence.tables.alert_sinks import AlertSink
from curio_persistence.views.alerts import fires_in_words, scope_in_words, states_of, unresolved

_ROWS = 50
_FILTERS = ("rule_id", "state", "since", "until")
STATES = ("firing", "failing", "resolved")
_WINDOWS = {"5m": "5 minutes", "15m": "15 minutes", "1h": "an hour", "1d": "a day", "7d": "a week"}
_WORDS = {
    "error_rate": "error rate, a share such as 0.1",
    "cost": "cost, in US dollars",
    "latency": "latency, in milliseconds",
    "event_count": "number of events",
    "silence": "silence: nothing came",
    "token_count": "number of tokens",
    "metric": "a metric of your own",
}
_PLAIN = ("name", "window", "aggregation", "metric", "agent_id", "tags", "model")
"""The fields of the form that are settings of a rule as they are."""


def routes(site: Site) -> list[BaseRoute]:
    return [
        site.page("/alerts", _alerts),
        site.post("/alerts", _create, role="admin"),
        site.post("/alerts/{id}/enable", _switch, role="admin"),
        site.post("/alerts/{id}/disable", _switch, role="admin"),
    ]


def _alerts(
    site: Site,
    request: Request,
    error: PersistenceError | None = None,
    form: Mapping[str, str] | None = None,
) -> Response:
    alerts = site.persistence.alerts
    params = request.query_params
    filters = Filters.of(site.paths.page("alerts"), params, _FILTERS)
    rules, waiting = alerts.list(), unresolved(alerts)
    page = alerts.history(limit=_ROWS, cursor=filters.cursor, **filters.values())
    return site.render(
        request,
        "alerts.html",
        400 if error else 200,
        filters=filters,
        rules=rules,
        states=states_of(rules, waiting),
        since={alert.rule_id: alert for alert in waiting},
        history=list(page),
        history_states=STATES,
        conditions={name: _WORDS[name] for name in CONDITIONS},
        windows=_WINDOWS,
        fires=fires_in_words,
        scope=scope_in_words,
        error=error,
        form=form or {},
        **filters.pager(page.next_cursor),
    )


# --- changes --------------------------------------------------------------------------------------


def _create(site: Site, request: Request) -> Response:
    form = form_of(request)
    try:
        settings = _settings(form)
        site.persistence.alerts.create(
            form.get("rule_id", "").strip(), form.get("condition", ""), **settings
        )
    except (InvalidValueError, ConflictError) as error:
        return _alerts(site, request, error, form)
    return RedirectResponse(site.paths.page("alerts"), 303)


def _settings(form: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings of a rule that a form says; what is empty is left out."""
    given = {name: form[name].strip() for name in _PLAIN if form.get(name, "").strip()}
    settings: dict[str, Any] = {**given, "sinks": list(_sinks(form))}
    if text := form.get("threshold", "").strip():
        settings["threshold"] = _number(text)
    return settings


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InvalidValueError(
            f"threshold is a number, such as 5 or 0.1, not {text[:100]!r}.", field="threshold"
        ) from error


def _sinks(form: Mapping[str, str]) -> list[AlertSink]:
    found = [AlertSink.log()] if form.get("log") else []
    if url := form.get("webhook", "").strip():
        found.append(AlertSink.webhook(url))
    if url := form.get("slack", "").strip():
        found.append(AlertSink.slack(url))
    return found


def _switch(site: Site, request: Request) -> Response:
    rule_id = decoded_id(request.path_params["id"])
    site.persistence.alerts.update(rule_id, enabled=request.url.path.endswith("/enable"))
    return RedirectResponse(site.paths.page("alerts"), 303)
