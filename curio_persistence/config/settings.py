"""Where settings are found: the environment, and where it is silent the nearest `.env` file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from curio_persistence.errors import ConfigurationError

ENVIRONMENT = "environment"
SERVER_VARIABLES = ("DB_HOST", "DB_PORT", "DB_NAME", "DB_USER")
"""Those that choose PostgreSQL where DB_TYPE says nothing."""


class Libpq(NamedTuple):
    """What libpq calls a setting, and the variable in which it looks where nobody has told it."""

    keyword: str
    variable: str


LIBPQ = {
    "db_host": Libpq("host", "PGHOST"),
    "db_port": Libpq("port", "PGPORT"),
    "db_name": Libpq("dbname", "PGDATABASE"),
    "db_user": Libpq("user", "PGUSER"),
    "db_password": Libpq("password", "PGPASSWORD"),
}
_SECRET = "***"
# A host without a user, and a path: whatever looks otherwise may hold a piece of a password.
_PLAIN_PLACE = re.compile(r"[\w.,%+-]*(:\d+)?(/[^:@]*)?")


class Setting(NamedTuple):
    """A value and where it is from; of one that is not in force, also why it is not.

    `source` is `default`, a variable behind its place (`environment: DB_PATH`), a file's
    (`/home/me/.env: DB_PATH`), or the name of an argument. No secret is shown.
    """

    name: str
    value: str | int | None
    source: str
    unused: str = ""


class Place(NamedTuple):
    """Some variables that were set in the same place."""

    name: str
    variables: Mapping[str, str]

    is_argument: bool = False

    def source(self, variable: str) -> str:
        return self.name if self.is_argument else f"{self.name}: {variable}"


def places(environ: Mapping[str, str] | None, *, dotenv: bool) -> list[Place]:
    """The environment and the nearest `.env`; each is overruled by those before it."""
    environment = Place(ENVIRONMENT, os.environ if environ is None else environ)
    return [environment, *(_dotenv() if dotenv else ())]


def said(found: Sequence[Place]) -> dict[str, str]:
    """What all of them say together. Who sets a variable to nothing silences those behind him."""
    merged: dict[str, str] = {}
    for place in reversed(found):
        merged.update(place.variables)
    return {name: value for name, value in merged.items() if value}


def _dotenv() -> list[Place]:
    """The nearest `.env`, from the current folder upwards; the environment stays as it is."""
    from dotenv import dotenv_values, find_dotenv

    path = find_dotenv(usecwd=True)
    if not path:
        return []
    try:
        return [Place(path, {name: value or "" for name, value in dotenv_values(path).items()})]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read as UTF-8 text.") from error


def shown(name: str, value: str | int | None) -> str | int | None:
    """A value as anybody may see it."""
    if not isinstance(value, str):
        return value
    if "password" in name.lower():
        return _SECRET
    return _shown_url(value) if name.lower().endswith("url") else value


def _shown_url(url: str) -> str:
    scheme, _, rest = url.partition("://")
    address, _, parameters = rest.partition("?")
    user, _, place = address.rpartition("@")
    if not rest or "@" in parameters or not _PLAIN_PLACE.fullmatch(place):
        return "…"
    name, _, password = user.partition(":")
    who = f"{name}:{_SECRET}@" if password else f"{name}@" if name else ""
    return f"{scheme}://{who}{place}"
