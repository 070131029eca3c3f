"""Checks of requests that need no key: the host they name, and the page they come from."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from curio_persistence.config.server import is_loopback

_READING = ("GET", "HEAD", "OPTIONS")


def is_known_host(host: str, public_url: str | None) -> bool:
    """Return True for this machine's own names, and that of the public URL.

    A page of another site whose name was made to lead here (DNS rebinding) names its own host.
    """
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    if name is None or "@" in host or "/" in host:
        return False
    return is_loopback(name) or (public_url is not None and name == urlsplit(public_url).hostname)


def is_from_elsewhere(request: HTTPConnection, host: str | None = None) -> bool:
    """Return True for a request that changes something and was not made by a page of this host.

    The host is that of the request, unless a proxy in front has another. Programs
    with a key are exempt: browsers do not add one by themselves.
    """
    if request.scope["method"] in _READING or bearer_of(request):
        return False
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    try:
        origin = urlsplit(request.headers.get("origin", "")).netloc
    except ValueError:
        return True
    return not origin or origin != (host or request.headers.get("host"))


def bearer_of(request: HTTPConnection) -> str | None:
    """Return the key of `Authorization: Bearer`, if there is one."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None
