"""What a request may do."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from curio_persistence.errors import AccessDeniedError

ROLES = ("read", "write", "admin")
"""From the least to the most; each may do what the ones before it may."""


def role_of(request: HTTPConnection) -> str:
    """Return the role that the checks have given a request."""
    role: str = request.scope.get("curio.role", "read")
    return role


def check_role(request: HTTPConnection, needed: str) -> None:
    """Raise AccessDeniedError where the request's role is less than the one needed."""
    if ROLES.index(role_of(request)) < ROLES.index(needed):
        raise AccessDeniedError(f"This needs the role {needed}; yours is {role_of(request)}.")
