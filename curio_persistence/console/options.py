"""The settings of the console."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_network
from urllib.parse import urlsplit

from curio_persistence.errors import ConfigurationError


@dataclass(frozen=True)
class ConsoleOptions:
    """The settings of the console.

    `base_path` is the path below which a proxy serves it, such as `/curio`. With `token`, each
    request needs it, as a cookie or as `Authorization: Bearer`. `allow_writes` lets readers change
    things. `team` asks for keys instead of a token, whose roles say what each may do; it needs
    `public_url`, the address under which others reach it. `trusted_proxy` has the addresses of
    proxies whose headers count. `allow_origin` has the origins of pages that may read the API with
    a key. `audit_reads` writes opened runs to the audit log.
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
        if self.team:
            self._check_team()
        for address in self.trusted_proxy:
            _check_address(address)
        for origin in self.allow_origin:
            _check_origin(origin)

    def _check_team(self) -> None:
        """Refuse a team's console that others would reach without TLS, or without its keys."""
        if self.public_url is None or not self.public_url.startswith("https://"):
            raise ConfigurationError(
                "A team's console needs its public_url, which begins with https://: the address of "
                "the proxy that has the certificate."
            )
        if self.token is not None or self.allow_writes:
            raise ConfigurationError(
                "The roles of a team's keys say what each may do: it takes no token, and no "
                "allow_writes."
            )

    @property
    def stores(self) -> bool:
        """True where the console itself writes to the database: records, logins or lines."""
        return self.allow_writes or self.team or self.audit_reads


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


def _check_address(address: str) -> None:
    try:
        ip_network(address, strict=False)
    except ValueError as error:
        raise ConfigurationError(
            f"trusted_proxy is an address or a network, such as 127.0.0.1 or 10.0.0.0/8, not "
            f"{address!r}."
        ) from error


def _check_origin(origin: str) -> None:
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc}":
        raise ConfigurationError(
            f"allow_origin is an origin without a path, such as https://tools.example.com, not "
            f"{origin!r}."
        )
