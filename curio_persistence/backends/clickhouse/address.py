"""Read the URL of a replica."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from curio_persistence.errors import ConfigurationError
from curio_persistence.secret import hidden

SCHEMES = ("clickhouse", "clickhouses", "chdb")
_URLS = "clickhouse://user@host:8123/database, clickhouses:// (TLS), chdb:///directory"
_DATABASE = "default"
_PARAMETERS = ("source", "database")


class Address(NamedTuple):
    """The location of a replica: a directory of chdb, or a database of a server."""

    directory: str | None
    """The directory of chdb, which runs in this process; None for a server."""
    database: str
    source: str | None
    """The only source that is read; None for all."""
    host: str = ""
    port: int = 0
    user: str | None = None
    password: str | None = None
    is_secure: bool = False

    @property
    def name(self) -> str:
        """The address for people, without secrets."""
        if self.directory is not None:
            return f"chdb://{self.directory}"
        scheme = "clickhouses" if self.is_secure else "clickhouse"
        return f"{scheme}://{self.host}:{self.port}/{self.database}"

    def __repr__(self) -> str:
        return f"Address({self.name!r})"


def is_replica(url: str) -> bool:
    """Return whether a URL names a replica."""
    return url.partition("://")[0].lower() in SCHEMES


def read_address(url: str) -> Address:
    """Return the address that a URL names."""
    url = hidden(url)
    if not isinstance(url, str):
        raise ConfigurationError(
            f"A URL of ClickHouse is text, one of {_URLS}, not {type(url).__name__}."
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # The text of the error may have the password in it.
        raise ConfigurationError(
            f"This is no URL of ClickHouse: expected is one of {_URLS}. Letters that mean "
            "something in a URL must be percent-encoded in a password."
        ) from None
    given = _parameters(parts.query)
    if parts.scheme == "chdb":
        return _of_chdb(parts.netloc, unquote(parts.path), given)
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise ConfigurationError(f"This is no URL of ClickHouse: expected is one of {_URLS}.")
    is_secure = parts.scheme == "clickhouses"
    return Address(
        None,
        unquote(parts.path).strip("/") or given.get("database") or _DATABASE,
        given.get("source"),
        parts.hostname,
        port or (8443 if is_secure else 8123),
        unquote(parts.username) if parts.username else None,
        hidden(unquote(parts.password)) if parts.password else None,
        is_secure,
    )


def _of_chdb(host: str, directory: str, given: dict[str, str]) -> Address:
    if host or not directory.strip("/"):
        raise ConfigurationError(
            "A URL of chdb names a directory of this machine, and has three slashes before it: "
            "chdb:///var/lib/replica."
        )
    return Address(directory, given.get("database") or _DATABASE, given.get("source"))


def _parameters(query: str) -> dict[str, Any]:
    # A plus is one: the names of sources have it in their times.
    given = dict(parse_qsl(query.replace("+", "%2B"), keep_blank_values=True))
    unknown = [name for name in given if name not in _PARAMETERS]
    if unknown:
        raise ConfigurationError(
            f"The URL has parameters that a replica does not know: {', '.join(unknown)}. There are "
            "source, the only source to read, and database."
        )
    return given
