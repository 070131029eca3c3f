"""The roles of requests: what each may do."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from curio_persistence.errors import AccessDeniedError
from curio_persistence.tables.keys import ROLES, Role


def role_of(request: HTTPConnection) -> Role:
    """Return the role that the checks have given a request."""
    role: Role = request.scope.get("curio.role", "read")
    return role


def check_role(request: HTTPConnection, needed: Role) -> None:
    """Raise AccessDeniedError where the request's role is less than the one needed."""
    if ROLES.index(role_of(request)) < ROLES.index(needed):
        raise AccessDeniedError(f"This needs the role {needed}; yours is {role_of(request)}.")
