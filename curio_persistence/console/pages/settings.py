"""Settings: what this console is, its keys and logins, and the audit log."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from curio_persistence.capabilities.audit import AuditFilters
from curio_persistence.console.api.openapi import library_version
from curio_persistence.console.http.paths import decoded_id
from curio_persistence.console.request.filters import Filters
from curio_persistence.console.request.viewer import THEMES
from curio_persistence.console.security import limits
from curio_persistence.console.security.roles import role_of
from curio_persistence.console.site import Site, form_of
from curio_persistence.errors import InvalidValueError, NotFoundError, PersistenceError
from curio_persistence.models import AuditEntry
from curio_persistence.tables.keys import ROLES, ApiKey, ConsoleSession, NewApiKey, Role

_ROWS = 100
_AUDIT_FILTERS = tuple(AuditFilters.__annotations__)
_EXPIRIES = {"30d": "30 days", "90d": "90 days", "365d": "a year", "": "never"}
_ROLE_WORDS = {
    "read": "see everything",
    "write": "also store records, close runs and set tags",
    "admin": "also delete, and change keys and alerts",
}
ACTIONS = (
    *("log in", "failed login", "log out", "end session", "open", "create", "revoke", "update"),
    *("delete", "export", "import", "copy", "backup", "archive", "restore", "expire", "approve"),
    *("deny", "hold", "release", "set policy", "remove policy", "migrate"),
)


def routes(site: Site) -> list[BaseRoute]:
    """Return the routes. In a team, keys, logins and the audit log are for its admins."""
    reader: Role = "admin" if site.options.team else "read"
    return [
        site.page("/settings", _about),
        site.page("/settings/keys", _keys, role=reader),
        site.page("/settings/logins", _logins, role=reader),
        site.page("/settings/audit", _audit, role=reader),
        site.post("/settings/keys", _create, role="admin"),
        site.post("/settings/keys/{key_id}/revoke", _revoke, role="admin"),
        site.post("/settings/logins/{session_id}/end", _end, role="admin"),
    ]


def _render(site: Site, request: Request, view: str, **context: Any) -> Response:
    sees_access = not site.options.team or role_of(request) == "admin"
    views = {"": "This console"}
    if sees_access:
        views |= {"keys": "Keys", "logins": "Logins", "audit": "Audit log"}
    links = [(words, _url(site, name), name == view) for name, words in views.items()]
    name = f"settings_{view or 'about'}.html"
    return site.render(request, name, views=links, role_words=_ROLE_WORDS, **context)


def _url(site: Site, view: str) -> str:
    return site.paths.page("settings") + (f"/{view}" if view else "")


# --- what this console is -------------------------------------------------------------------------


def _about(site: Site, request: Request) -> Response:
    tables = site.persistence.schema_version()
    versions = {
        "curio-persistence": library_version(),
        "Python": platform.python_version(),
        "Tables": f"version {tables}" if tables else "none: it is in memory",
    }
    return _render(
        site,
        request,
        "",
        versions=versions,
        themes=THEMES,
        limits=limits,
    )


# --- keys -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class KeyRow:
    """A key as a row: its state, its logins, and what revoking it would mean."""

    key: ApiKey
    state: str
    logins: int
    is_own: bool
    is_last_admin: bool


def _keys(site: Site, request: Request, made: NewApiKey | None = None) -> Response:
    return _render(
        site,
        request,
        "keys",
        rows=_key_rows(site, request),
        roles=ROLES,
        expiries=_EXPIRIES,
        made=made,
    )


def _key_rows(site: Site, request: Request) -> list[KeyRow]:
    viewer = site.viewer(request)
    now, own = viewer.now, viewer.key
    keys, logins = site.persistence.keys.list(), site.persistence.keys.sessions()
    admins = [key.key_id for key in keys if key.role == "admin" and key.state(now) == "valid"]
    rows = [
        KeyRow(
            key,
            key.state(now),
            sum(login.key_id == key.key_id for login in logins),
            own is not None and own.key_id == key.key_id,
            admins == [key.key_id],
        )
        for key in reversed(keys)
    ]
    return sorted(rows, key=lambda row: row.state != "valid")


def _create(site: Site, request: Request) -> Response:
    form = form_of(request)
    expires, role = form.get("expires", ""), form.get("role", "read")
    if expires not in _EXPIRIES:
        raise InvalidValueError("Choose when the key expires.", field="expires")
    keys = site.persistence.keys
    made = keys.create(form.get("name", "").strip(), role, expires=expires or None)  # type: ignore[arg-type]
    return _keys(site, request, made)


def _revoke(site: Site, request: Request) -> Response:
    site.persistence.keys.revoke(decoded_id(request.path_params["key_id"]))
    return RedirectResponse(_url(site, "keys"), 303)


# --- logins ---------------------------------------------------------------------------------------


def _logins(site: Site, request: Request) -> Response:
    logins: list[ConsoleSession] = site.persistence.keys.sessions()
    return _render(site, request, "logins", logins=logins[::-1], names=_names(site))


def _names(site: Site) -> Mapping[str, str]:
    """Return the names of keys by their ids."""
    return {key.key_id: key.name for key in site.persistence.keys.list()}


def _end(site: Site, request: Request) -> Response:
    if not site.persistence.keys.end_session(decoded_id(request.path_params["session_id"])):
        raise NotFoundError("This login has ended already.")
    return RedirectResponse(_url(site, "logins"), 303)


# --- the audit log --------------------------------------------------------------------------------


def _audit(site: Site, request: Request) -> Response:
    filters = Filters.of(_url(site, "audit"), request.query_params, _AUDIT_FILTERS)
    page = site.persistence.audit.query(limit=_ROWS, cursor=filters.cursor, **filters.values())
    return _render(
        site,
        request,
        "audit",
        filters=filters,
        lines=list(page),
        names=_names(site),
        actions=ACTIONS,
        details=_details,
        **filters.pager(page.next_cursor),
    )


def _details(line: AuditEntry) -> str:
    """Return the details of a line as words: `name: CI, role: write`."""
    try:
        about = line.get_metadata_dict()
    except PersistenceError:
        about = {}
    told = ", ".join(f"{name}: {value}" for name, value in about.items() if value is not None)
    return told or str(line.metadata)
