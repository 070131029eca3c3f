"""The settings of the console."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from curio_persistence.errors import ConfigurationError


@dataclass(frozen=True)
class ConsoleOptions:
    """The settings of the console.

    `base_path` is the path below which a proxy serves it, such as `/curio`. With `token`, each
    request needs it, as a cookie or as `Authorization: Bearer`. `allow_writes` lets readers change
    things. `team` asks for keys and roles. `public_url` is the address under which others reach it;
    `trusted_proxy` has the addresses of proxies whose headers count. `allow_origin` has the origins
    of pages that may read the API with a key. `audit_reads` writes opened runs to the audit log.
    """

    base_path: str = ""
    token: str | None = field(default=None, repr=False)
    allow_writes: bool = False
    team: bool = False
    public_url: str | None = None
    trusted_proxy: tuple[str, ...] = ()
    allow_origin: tuple[str, ...] = ()
    audit_reads: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_path", _checked_path(self.base_path))
        if self.public_url is not None:
            _check_url(self.public_url)


def _checked_path(path: str) -> str:
    """Return a path that begins with a slash and ends without one; "" is the root."""
    path = path.strip("/")
    if not path:
        return ""
    if any(part in ("", ".", "..") for part in path.split("/")) or not _is_plain(path):
        raise ConfigurationError(
            f"base_path is a path of letters, digits and -._~, such as /curio, not {path!r}."
        )
    return f"/{path}"


def _is_plain(path: str) -> bool:
    return path.isascii() and all(each.isalnum() or each in "-._~/" for each in path)


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise ConfigurationError(f"public_url is as https://curio.example.com, not {url!r}.")
