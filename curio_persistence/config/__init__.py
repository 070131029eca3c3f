"""Which database to use: arguments, then the environment, then a `.env` file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from curio_persistence.config.settings import LIBPQ, SERVER_VARIABLES, Place, Setting, places, said
from curio_persistence.errors import ConfigurationError, UnsupportedError
from curio_persistence.secret import hidden

if TYPE_CHECKING:
    from curio_persistence.persistence import Persistence
    from curio_persistence.redaction import Content, Redactor

Backend = Literal["sqlite", "postgres", "memory", "null"]

_BACKENDS: Mapping[str, Backend] = {
    "sqlite": "sqlite",
    "sqlite3": "sqlite",
    "postgres": "postgres",
    "postgresql": "postgres",
    "memory": "memory",
    "inmemory": "memory",
    "in_memory": "memory",
    "null": "null",
}
_URLS = "sqlite:///path, sqlite:// (memory), postgresql://user@host/database, memory://"
_TAKEN_FOR_GRANTED = ("db_schema", "db_min_connections", "db_max_connections")
"""What a URL need not say."""

_told: set[str] = set()


@dataclass(frozen=True)
class DatabaseConfig:
    """One database, described.

    The password, and the URL that may hold one, are in no repr; with either it cannot be pickled.
    """

    db_type: Backend = "sqlite"
    db_path: str = "agent_sdk.db"
    db_host: str | None = None
    db_port: int | None = None
    db_name: str | None = None
    db_user: str | None = None
    db_password: str | None = field(default=None, repr=False)
    db_schema: str = "agent_sdk"
    db_min_connections: int = 1
    db_max_connections: int = 10
    dsn: str | None = field(default=None, repr=False)
    redactor: Redactor | str | Collection[str] | None = None
    content: Content = "full"
    statement_timeout: float | None = 10.0

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] | None = None, *, dotenv: bool = True
    ) -> DatabaseConfig:
        """What the environment says, and where it is silent the nearest `.env` file.

        In this order: `CURIO_DATABASE_URL`; `DB_TYPE`, `DB_PATH`, `DB_HOST`, `DB_PORT`, `DB_NAME`,
        `DB_USER`, `DB_PASSWORD`, `DB_SCHEMA`, `DB_MIN_CONNECTIONS`, `DB_MAX_CONNECTIONS`;
        `DATABASE_URL`, which belongs to the host application and so is logged; a SQLite file
        `agent_sdk.db` in the current folder. Beside them, whichever it is: `CURIO_REDACT` (names
        of patterns, with commas), `CURIO_CONTENT`, and `CURIO_STATEMENT_TIMEOUT` (seconds, 0 for
        no limit; PostgreSQL).
        """
        return cls._from_settings(said(places(environ, dotenv=dotenv)))

    @classmethod
    def explain(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        dotenv: bool = True,
        given: Mapping[str, Mapping[str, str]] | None = None,
    ) -> list[Setting]:
        """Each value that `from_env` finds, and where; then what is set as well, and why in vain.

        `given` are variables that arguments set, by the argument's name. What stands there is
        looked at before everything else: `{"--url": {"CURIO_DATABASE_URL": "memory://"}}`.
        """
        from curio_persistence.config.explanation import Explanation

        arguments = [
            Place(name, set_by, is_argument=True) for name, set_by in (given or {}).items()
        ]
        found = [*arguments, *places(environ, dotenv=dotenv)]
        config = cls._from_settings(said(found))
        words = {name: getattr(config, name) for name in _VARIABLES_BESIDE.values()}
        if config.db_type != "postgres":
            del words["statement_timeout"]
        in_force = {**config._in_force(), **words}
        defaults = {name for name in _TAKEN_FOR_GRANTED if in_force.get(name) == getattr(cls, name)}
        return Explanation(in_force, defaults, _VARIABLES, _VARIABLES_BESIDE, found).settings()

    @classmethod
    def _from_settings(cls, settings: Mapping[str, str]) -> DatabaseConfig:
        settings = {name: _hidden(name, value) for name, value in settings.items()}
        words: dict[str, Any] = {
            name: settings[variable]
            for variable, name in _VARIABLES_BESIDE.items()
            if variable in settings
        }
        if timeout := words.get("statement_timeout"):
            words["statement_timeout"] = _seconds("CURIO_STATEMENT_TIMEOUT", timeout)
        return replace(cls._database(settings), **words)

    @classmethod
    def _database(cls, settings: Mapping[str, str]) -> DatabaseConfig:
        if url := settings.get("CURIO_DATABASE_URL"):
            return cls.from_url(url)
        if any(name.startswith("DB_") and name in _VARIABLES for name in settings):
            return cls._from_variables(settings)
        if url := settings.get("DATABASE_URL"):
            _tell_once("Using DATABASE_URL; set CURIO_DATABASE_URL to use another database.")
            return cls.from_url(url)
        return cls()

    @classmethod
    def _from_variables(cls, settings: Mapping[str, str]) -> DatabaseConfig:
        values: dict[str, Any] = {
            name: settings[variable]
            for variable, name in _VARIABLES.items()
            if variable in settings and name != "db_type"
        }
        for name in ("db_port", "db_min_connections", "db_max_connections"):
            if name in values:
                values[name] = _whole_number(name.upper(), values[name])
        return cls(db_type=_backend(settings), **values)

    @classmethod
    def from_url(cls, url: str) -> DatabaseConfig:
        """The database that a URL names."""
        from urllib.parse import unquote

        url = hidden(url)
        if not isinstance(url, str):
            raise ConfigurationError(f"A URL is text, not {type(url).__name__}: {_URLS}.")
        scheme, separator, rest = map(hidden, url.partition("://"))
        if separator and scheme == "memory" and not rest:
            return cls(db_type="memory")
        if separator and scheme == "null" and not rest:
            return cls(db_type="null")
        if separator and scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
            if "?" in rest:
                raise ConfigurationError("A sqlite:// URL has no parameters: drop all from the ?.")
            return cls(db_path=unquote(rest[1:]))
        if separator and scheme == "sqlite" and rest in ("", "/:memory:"):
            return cls(db_path=":memory:")
        if separator and scheme in ("postgres", "postgresql"):
            return cls._from_postgres_url(url)
        # The URL may hold a password: only its scheme is repeated.
        said = f"{scheme}://…" if separator else "text without ://"
        raise ConfigurationError(f"This is no URL of a database: {said}. Known are: {_URLS}.")

    @classmethod
    def _from_postgres_url(cls, url: str) -> DatabaseConfig:
        from urllib.parse import unquote

        url = hidden(url)
        address, _, query = map(hidden, url.partition("?"))
        ours: dict[str, Any] = {}
        rest = []
        for parameter in filter(None, query.split("&")):
            name, _, value = parameter.partition("=")
            if name == "schema":
                ours["db_schema"] = unquote(value)
            elif name == "statement_timeout":
                ours[name] = _seconds(name, unquote(value))
            else:
                rest.append(parameter)  # As it is: a plus is a plus to libpq, and no space.
        dsn = f"{address}?{'&'.join(rest)}" if rest else address
        return cls(db_type="postgres", dsn=hidden(dsn), **ours)

    def __reduce__(self) -> str | tuple[Any, ...]:
        if self.db_password or self.dsn:
            raise UnsupportedError(
                "This configuration may hold a password and cannot be pickled or copied. "
                "Call DatabaseConfig.from_env() in the other process."
            )
        return super().__reduce__()

    def _in_force(self) -> dict[str, Any]:
        """What is used of it, by name; of a URL, each part."""
        match self.db_type:
            case "sqlite":
                return {"db_type": "sqlite", "db_path": self.db_path}
            case "postgres":
                said_in_url = self._parts_of_dsn()
                ours = {name: getattr(self, name) for name in _VARIABLES.values()}
                del ours["db_path"]
                return {**ours, **said_in_url}
        return {"db_type": self.db_type}

    def _parts_of_dsn(self) -> dict[str, str]:
        from curio_persistence.backends.postgres.dsn import parse_dsn

        parts = parse_dsn(self.dsn) if self.dsn else {}
        names = {libpq.keyword: name for name, libpq in LIBPQ.items()}
        return {names.get(keyword, keyword): value for keyword, value in parts.items()}

    def get_persistence(
        self,
        *,
        read_only: bool = False,
        initialize: bool = True,
        wait: bool = True,
        search: bool | None = None,
    ) -> Persistence:
        """Open it; `search` switches the search index on or off, None leaves it as it is.

        With `wait=False` a server need not be reachable yet.
        """
        from curio_persistence import persistence

        match self.db_type:
            case "sqlite":
                return persistence.SQLitePersistence(
                    self.db_path,
                    read_only=read_only,
                    initialize=initialize,
                    redactor=self.redactor,
                    content=self.content,
                    search=search,
                )
            case "postgres":
                return persistence.PostgresPersistence(
                    self.db_host,
                    self.db_port,
                    self.db_name,
                    self.db_user,
                    self.db_password,
                    self.db_schema,
                    self.db_min_connections,
                    self.db_max_connections,
                    dsn=self.dsn,
                    statement_timeout=self.statement_timeout,
                    read_only=read_only,
                    initialize=initialize,
                    wait=wait,
                    redactor=self.redactor,
                    content=self.content,
                    search=search,
                )
            case "memory":
                return persistence.InMemoryPersistence(
                    redactor=self.redactor, content=self.content, search=search
                )
            case "null":
                return persistence.NullPersistence()
        raise ConfigurationError(_unknown_type(self.db_type))


_SECRET = {"CURIO_DATABASE_URL", "DATABASE_URL", "DB_PASSWORD"}
_VARIABLES_BESIDE = {
    "CURIO_REDACT": "redactor",
    "CURIO_CONTENT": "content",
    "CURIO_STATEMENT_TIMEOUT": "statement_timeout",
}
_VARIABLES = {
    name.upper(): name for name in DatabaseConfig.__dataclass_fields__ if name.startswith("db_")
}


def _hidden(name: str, value: str) -> str:
    """Hide the value of a variable that may hold a password, as any variable of others may."""
    is_secret = name in _SECRET or not name.startswith(("CURIO_", "DB_"))
    return hidden(value) if is_secret else value


def _backend(settings: Mapping[str, str]) -> Backend:
    given = settings.get("DB_TYPE")
    if given is not None:
        if given.lower() not in _BACKENDS:
            raise ConfigurationError(_unknown_type(given))
        return _BACKENDS[given.lower()]
    server = [name for name in SERVER_VARIABLES if name in settings]
    if server and "DB_PATH" in settings:
        raise ConfigurationError(
            f"DB_PATH names a SQLite file and {server[0]} a PostgreSQL server. "
            "Set DB_TYPE to sqlite or postgres."
        )
    return "postgres" if server else "sqlite"


def _unknown_type(given: str) -> str:
    return f"DB_TYPE is sqlite, postgres, memory or null, not {given!r}."


def _whole_number(variable: str, value: str) -> int:
    try:
        return int(value)
    except ValueError as error:
        raise ConfigurationError(f"{variable} must be a whole number, not {value!r}.") from error


def _seconds(name: str, value: str) -> float | None:
    """Return a timeout in seconds; None, for no limit, where it is 0."""
    try:
        seconds = float(value)
    except ValueError as error:
        raise ConfigurationError(f"{name} is a number of seconds, not {value!r}.") from error
    return seconds or None


def _tell_once(message: str) -> None:
    import logging

    if message not in _told:
        _told.add(message)
        logging.getLogger(__name__).warning(message)
