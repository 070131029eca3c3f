"""Find settings in the environment and, for places it does not name, in the nearest `.env` file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from curio_persistence.errors import ConfigurationError

ENVIRONMENT = "environment"
SERVER_VARIABLES = ("DB_HOST", "DB_PORT", "DB_NAME", "DB_USER")
"""The variables that choose PostgreSQL where DB_TYPE is not set."""
OWN_URL, HOSTS_URL = "CURIO_DATABASE_URL", "DATABASE_URL"
_NAMING = (OWN_URL, "DB_TYPE", "DB_PATH", *SERVER_VARIABLES, HOSTS_URL)
"""The variables that name a database, by rank. All others only complete what these name."""
STORAGE_PREFIXES = ("CURIO_", "AGDD_STORAGE_", "MAGSAG_STORAGE_")
"""The beginnings of the names of settings that AGDD and MAGSAG have too, by rank."""
DESTINATION = "archive_destination"
PRICES = "CURIO_PRICES"
SWITCHES = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_SCHEMES = frozenset(("sqlite", "postgres", "postgresql", "memory"))


Given = Mapping[str, Mapping[str, str]]
"""Variables that arguments set, by the argument's name."""


class Libpq(NamedTuple):
    """The name of a setting in libpq, and the variable that libpq reads by default."""

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
_PLAIN_ADDRESS = re.compile(r"[\w.,%+-]*(:\d+)?(/[^:@]*)?")


class Setting(NamedTuple):
    """A value and where it is from; of one that is not in force, also why it is not.

    `source` is `default`, a variable behind its place (`environment: DB_PATH`), a file's
    (`/home/me/.env: DB_PATH`), or the name of an argument. No secret is shown.
    """

    name: str
    value: str | int | None
    source: str
    unused: str = ""


class ConfigSource(NamedTuple):
    """Some variables that were set in the same place."""

    name: str
    variables: Mapping[str, str]

    is_argument: bool = False

    def describe(self, variable: str) -> str:
        return self.name if self.is_argument else f"{self.name}: {variable}"


class Settings:
    """The variables of several places, each of which overrules those behind it.

    `decider` is the variable that names the database, empty if none does: the first source with one
    decides, and in one source the rank of the variable. An empty value hides the variable in every
    later source.
    """

    def __init__(self, sources: Sequence[ConfigSource]) -> None:
        self.sources = sources
        self._first = {name: source for source in reversed(sources) for name in source.variables}
        self.values = {
            name: source.variables[name]
            for name, source in self._first.items()
            if source.variables[name] or source.is_argument
        }
        self.decider = next(self._naming(), "")

    def _naming(self) -> Iterator[str]:
        for source in self.sources:
            for name in _NAMING:
                if (
                    name in self.values
                    and self._first[name] is source
                    and not self.is_foreign(name)
                ):
                    yield name

    def is_foreign(self, name: str) -> bool:
        """Return whether it is the URL of a host application's database of another kind."""
        return name == HOSTS_URL and base_scheme(self.values.get(name, "")) not in _SCHEMES

    def source_of(self, name: str) -> ConfigSource:
        """Return the source whose value of a variable counts."""
        return self._first[name]

    @property
    def environment(self) -> Mapping[str, str]:
        """Return the variables of the environment."""
        return next(source.variables for source in self.sources if source.name == ENVIRONMENT)

    def source(self, name: str) -> str:
        """Return where the value of a variable is from, in words."""
        return self._first[name].describe(name)


def given_or_set(environ: Mapping[str, str] | None, dotenv: bool, given: Given | None) -> Settings:
    """Return what arguments give, and then what the environment or the nearest `.env` sets."""
    arguments = [
        ConfigSource(name, set_by, is_argument=True) for name, set_by in (given or {}).items()
    ]
    return Settings([*arguments, *sources(environ, dotenv=dotenv)])


def base_scheme(url: str) -> str:
    """Return a URL's scheme without a driver: `postgresql` of `postgresql+psycopg2://…`."""
    return url.partition("://")[0].partition("+")[0]


def sources(environ: Mapping[str, str] | None, *, dotenv: bool) -> list[ConfigSource]:
    """Return the environment and the nearest `.env`."""
    environment = ConfigSource(ENVIRONMENT, os.environ if environ is None else environ)
    return [environment, *(_dotenv() if dotenv else ())]


def _dotenv() -> list[ConfigSource]:
    """Return the nearest `.env`, from the current folder upwards."""
    here = Path.cwd()
    paths = (folder / ".env" for folder in (here, *here.parents))
    path = next(filter(_is_there, paths), None)
    if path is None:
        return []
    from dotenv import dotenv_values  # Slow to import.

    try:
        variables = {name: value or "" for name, value in dotenv_values(path).items()}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read as UTF-8 text.") from error
    return [ConfigSource(str(path), _with_paths_from(path.parent, variables))]


def _is_there(path: Path) -> bool:
    """Return whether a path is a file, or the pipe by which a password manager gives one."""
    return path.is_file() or path.is_fifo()


def _with_paths_from(folder: Path, variables: dict[str, str]) -> dict[str, str]:
    """Return variables in which relative names of files and folders begin at a folder."""
    from urllib.parse import quote

    anchored = dict(variables)
    for name in ("DB_PATH", *(prefix + DESTINATION.upper() for prefix in STORAGE_PREFIXES)):
        path = variables.get(name, "")
        if "://" not in path and _is_relative(path):
            anchored[name] = str(folder / path)
    prices = variables.get(PRICES, "")
    if prices.lower() not in SWITCHES and _is_relative(prices):
        anchored[PRICES] = str(folder / prices)
    for name in (OWN_URL, HOSTS_URL):
        scheme, _, path = variables.get(name, "").partition(":///")
        if scheme.partition("+")[0] == "sqlite" and _is_relative(path):
            anchored[name] = f"{scheme}:///{quote(str(folder))}/{path}"
    return anchored


def _is_relative(path: str) -> bool:
    return not path.startswith(("/", "~", ":memory:")) and path != ""


def shown(name: str, value: str | int | None) -> str | int | None:
    """Return a value without its secrets."""
    if not isinstance(value, str):
        return value
    if "password" in name.lower() or name.lower().endswith("key"):
        return _SECRET
    return _shown_url(value) if name.lower().endswith(("url", "dsn")) else value


def _shown_url(url: str) -> str:
    scheme, _, rest = url.partition("://")
    address, _, parameters = rest.partition("?")
    user, _, address = address.rpartition("@")
    if not rest or "@" in parameters or not _PLAIN_ADDRESS.fullmatch(address):
        return "…"
    name, _, password = user.partition(":")
    who = f"{name}:{_SECRET}@" if password else f"{name}@" if name else ""
    return f"{scheme}://{who}{address}"
