"""Read libpq settings, describe them without secrets, and quote identifiers."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from typing import Any

import psycopg2

from curio_persistence.errors import ConfigurationError
from curio_persistence.secret import hidden

_NAME_BYTES = 63
_NO_HOST = re.compile("://|.@")  # A name that begins with @ is an abstract socket.
_NAME = re.compile(r"[a-z_]+")
_UNQUOTABLE = re.compile(r"[%\x00-\x1f\x7f]")
_DEFAULTS: Mapping[str, Any] = {
    "fallback_application_name": "curio_persistence",
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}


def libpq_settings(dsn: str | None, **given: Any) -> dict[str, Any]:
    """Return libpq's settings: those given by name, and from the DSN the others."""
    settings: dict[str, Any] = dict(parse_dsn(dsn)) if dsn else {}
    settings.update((name, value) for name, value in given.items() if value not in (None, ""))
    return settings


def settings_for_reading(read_dsn: str) -> dict[str, Any]:
    """Return the settings of a replica; errors name the argument."""
    try:
        return libpq_settings(hidden(read_dsn))
    except ConfigurationError as error:
        raise ConfigurationError(f"read_dsn (CURIO_READ_DSN): {error}") from None


def parse_dsn(dsn: str) -> dict[str, str]:
    """Return libpq's settings from a URL or a `key=value` string."""
    dsn = hidden(dsn)
    try:
        parsed = psycopg2.extensions.parse_dsn(dsn)
    except psycopg2.Error:
        if unknown := _unknown_parameters(dsn):
            raise ConfigurationError(
                f"The URL has parameters that libpq does not know: {', '.join(unknown)}. "
                "Drop them, or correct their names."
            ) from None
        # libpq quotes the part that it cannot read, which may be the password: no cause, no text.
        raise ConfigurationError(
            "dsn is neither a postgresql:// URL nor a key=value string that libpq can read."
        ) from None
    settings = {name: hidden(value) for name, value in parsed.items()}
    del parsed
    if _is_misplaced(dsn, settings):
        # Not repeated: the text there is a part of the password.
        raise ConfigurationError(
            "dsn names a host or database with an @ in it, or a port that is not a number. Letters "
            "that mean something in a URL must be percent-encoded in its password: @ as %40, / as "
            "%2F."
        )
    return {name: value if "password" in name else str(value) for name, value in settings.items()}


def _unknown_parameters(dsn: str) -> list[str]:
    """Return the names of parameters that libpq refuses; none if they may be a password's rest."""
    query = hidden(dsn.partition("?")[2])
    names = [parameter.partition("=")[0] for parameter in query.split("&")]
    if "@" in query or not all(map(_NAME.fullmatch, names)):
        return []
    return [name for name in names if not _is_known(name)]


def _is_known(name: str) -> bool:
    try:
        psycopg2.extensions.parse_dsn(f"postgresql:///?{name}=1")
    except psycopg2.Error:
        return False
    return True


def _is_misplaced(dsn: str, settings: Mapping[str, str]) -> bool:
    """Return whether a part of the password seems to be in another field."""
    hosts, ports = settings.get("host", "").split(","), settings.get("port", "").split(",")
    address = dsn.partition("?")[0].partition("://")[2]
    return (
        ("@" in address[1:] and not settings.keys() & {"user", "password"})
        or any("@" in host[1:] for host in hosts)
        or any(port and not port.isdecimal() for port in ports)
    )


def session_settings(
    settings: Mapping[str, Any], statement_timeout: float | None
) -> dict[str, Any]:
    """Return the settings for `psycopg2.connect`: those given, and our defaults for the others.

    The server is told of `statement_timeout`, in seconds, so that it stops working as well; of 0,
    that there is none.
    """
    if _NO_HOST.search(str(settings.get("host") or "")):
        # Not repeated: a URL may hold a password.
        raise ConfigurationError("host is a URL, or has an @ in it. Use dsn= or connect(url).")
    complete = {**_DEFAULTS, **settings, "client_encoding": "UTF8"}
    if "connect_timeout" not in settings and "PGCONNECT_TIMEOUT" in os.environ:
        del complete["connect_timeout"]
    if statement_timeout is not None:
        milliseconds = max(round(statement_timeout * 1000), 1) if statement_timeout else 0
        given = settings.get("options") or os.environ.get("PGOPTIONS") or ""
        # All digits of a double, whatever the role's or the database's settings are.
        ours = f"-c statement_timeout={milliseconds} -c extra_float_digits=1"
        complete["options"] = f"{given} {ours}".strip()
    return complete


def describe(settings: Mapping[str, Any]) -> str:
    """Return "database on server" for messages."""
    server = (
        settings.get("host")
        or settings.get("service")
        or os.environ.get("PGHOST")
        or "the local server"
    )
    database = settings.get("dbname") or os.environ.get("PGDATABASE") or "the default database"
    return f"{database} on {server}"


def quote_identifier(name: str) -> str:
    """Return a schema name as an identifier, whatever letters it has.

    Percent signs, which the driver would take for placeholders, and control characters, of which a
    line break would end a comment, become Unicode escapes.
    """
    if not isinstance(name, str) or not name or "\0" in name:
        raise ConfigurationError("The schema must have a name, without NUL in it.")
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        raise ConfigurationError(f"A schema name has no lone surrogates in it, as {name!r} has.")
    if len(name.encode()) > _NAME_BYTES:
        raise ConfigurationError(f"A schema name may have {_NAME_BYTES} bytes: {name!r} is longer.")
    quoted = name.replace('"', '""')
    if not _UNQUOTABLE.search(name):
        return f'"{quoted}"'
    quoted = quoted.replace("\\", "\\\\")
    return 'U&"' + _UNQUOTABLE.sub(lambda match: f"\\{ord(match[0]):04x}", quoted) + '"'


def lock_key(name: str) -> int:
    """Return the key of our advisory lock of that name."""
    digest = hashlib.sha256(f"curio_persistence {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
