"""The choice of a database: arguments, then the environment, then a `.env` file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from curio_persistence.config.settings import (
    HOSTS_URL,
    LIBPQ,
    OWN_URL,
    PRICES,
    SERVER_VARIABLES,
    SWITCHES,
    Given,
    Setting,
    Settings,
    base_scheme,
    given_or_set,
)
from curio_persistence.errors import ConfigurationError, UnsupportedError
from curio_persistence.recording import switch
from curio_persistence.secret import hidden

if TYPE_CHECKING:
    from curio_persistence.backends.postgres.timed import Layout
    from curio_persistence.capabilities.similarity.models import EmbedLike
    from curio_persistence.persistence import Persistence
    from curio_persistence.pricing import PricesLike
    from curio_persistence.redaction import CaptureContent, Redactor

Backend = Literal["sqlite", "postgres", "memory", "null", "clickhouse"]

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
_URLS = (
    "sqlite:///path, sqlite:// (memory), postgresql://user@host/database, memory://, and for "
    "replicas clickhouse://user@host/database, chdb:///directory"
)
_TAKEN_FOR_GRANTED = (
    "db_schema",
    "db_min_connections",
    "db_max_connections",
    "redactor",
    "capture_content",
    "statement_timeout",
    "chain",
    "audit_key",
    "dedupe",
    "prices",
    "read_dsn",
    "embed",
)
"""The settings that a URL may leave out."""
_OF_OTHER_CLIENTS = frozenset(
    (
        "pgbouncer",
        "connection_limit",
        "pool_timeout",
        "pool_size",
        "max_overflow",
        "pool_recycle",
        "pool_pre_ping",
        "statement_cache_size",
        "prepared_statement_cache_size",
        "prepare_threshold",
    )
)
"""Parameters of a PostgreSQL URL that tune another program's pool or statements: passed by."""

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
    capture_content: CaptureContent = "full"
    statement_timeout: float | None = 10.0
    chain: bool = False
    audit_key: str | None = field(default=None, repr=False)
    dedupe: bool = False
    prices: PricesLike = True
    layout: Layout | None = None
    read_dsn: str | None = field(default=None, repr=False)
    embed: EmbedLike = None

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        dotenv: bool = True,
        given: Given | None = None,
    ) -> DatabaseConfig:
        """Return the database that the environment names or, if it names none, the nearest `.env`.

        In either, the first of these decides: `CURIO_DATABASE_URL`; `DB_TYPE`, `DB_PATH`,
        `DB_HOST`, `DB_PORT`, `DB_NAME`, `DB_USER`; `DATABASE_URL`, which belongs to the host
        application and so is logged, and passed by if it is of another kind. Without any it is the
        SQLite file `agent_sdk.db` in the current folder. A relative path in a `.env` begins at its
        folder. `DB_PASSWORD`, `DB_SCHEMA`, `DB_MIN_CONNECTIONS` and `DB_MAX_CONNECTIONS` complete
        what a URL leaves open. Whatever names the database, `CURIO_REDACT` (names of patterns,
        with commas), `CURIO_CAPTURE_CONTENT`, `CURIO_CHAIN` (1 or 0: hash chains of events),
        `CURIO_AUDIT_KEY` (signs chains), `CURIO_DEDUPE` (1 or 0: long texts are stored once),
        `CURIO_PRICES` (1, 0 or a file of prices), `CURIO_EMBED` (the `module:callable` of
        `similar`) and `CURIO_STATEMENT_TIMEOUT` (seconds, 0 for no limit; PostgreSQL) count.

        `given` are variables that arguments set, by the argument's name. They come before
        everything else: `{"--url": {"CURIO_DATABASE_URL": "memory://"}}`.
        """
        return cls._resolve(given_or_set(environ, dotenv, given))[0]

    @classmethod
    def explain(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        dotenv: bool = True,
        given: Given | None = None,
    ) -> list[Setting]:
        """Return each value of `from_env` and its source, then what is set but ignored, and why."""
        from curio_persistence.config.explanation import Explanation

        settings = given_or_set(environ, dotenv, given)
        config, used = cls._resolve(settings)
        beside = {name: getattr(config, name) for name in _VARIABLES_BESIDE.values()}
        if config.db_type != "postgres":
            del beside["statement_timeout"], beside["read_dsn"]
        disabled = switch.is_disabled(settings.environment)
        if settings.environment.get(switch.VARIABLE):
            used.add(switch.VARIABLE)
        in_force = {**config._in_force(), **beside, "disabled": disabled}
        defaults = {name for name in _TAKEN_FOR_GRANTED if in_force.get(name) == getattr(cls, name)}
        defaults.add("disabled")
        variables = {**_VARIABLES, **_VARIABLES_BESIDE, switch.VARIABLE: "disabled"}
        return Explanation(in_force, defaults, variables, settings, used).settings()

    @classmethod
    def _resolve(cls, settings: Settings) -> tuple[DatabaseConfig, set[str]]:
        """Return the configuration, and the variables that it is made from."""
        values = {name: _hidden(name, value) for name, value in settings.values.items()}
        if settings.is_foreign(HOSTS_URL) and HOSTS_URL in values:
            _tell_once("DATABASE_URL names a database of another kind and is not used.")
        if settings.decider in (OWN_URL, HOSTS_URL):
            if settings.decider == HOSTS_URL:
                _tell_once("Using DATABASE_URL; set CURIO_DATABASE_URL to use another database.")
            url = values[settings.decider]
            config, said = cls.from_url(url), _said_in(url)
            completing, used = _COMPLETING, {settings.decider}
        else:
            config = cls._from_variables(values) if settings.decider else cls()
            completing, said = {}, set()
            used = {n for n in values if _VARIABLES.get(n) in {"db_type", *config._in_force()}}
        if config.db_type != "postgres":
            completing, said = {}, {"statement_timeout", "read_dsn"}
        more = {
            variable: name
            for variable, name in {**completing, **_VARIABLES_BESIDE}.items()
            if variable in values and name not in said
        }
        completed = {name: _read(variable, values[variable]) for variable, name in more.items()}
        return replace(config, **completed), used | more.keys()

    @classmethod
    def _from_variables(cls, values: Mapping[str, str]) -> DatabaseConfig:
        kind = _backend(values)
        if kind != "postgres":
            return cls(db_type=kind, db_path=values.get("DB_PATH", cls.db_path))
        found: dict[str, Any] = {
            name: _read(variable, values[variable])
            for variable, name in _VARIABLES.items()
            if variable in values and name not in ("db_type", "db_path")
        }
        return cls(db_type=kind, **found)

    @classmethod
    def from_url(cls, url: str) -> DatabaseConfig:
        """The database that a URL names."""
        from urllib.parse import unquote

        url = hidden(url)
        if not isinstance(url, str):
            raise ConfigurationError(f"A URL is text, not {type(url).__name__}: {_URLS}.")
        scheme, separator, rest = map(hidden, url.partition("://"))
        scheme = base_scheme(url) if separator else scheme
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
        if separator and scheme in ("clickhouse", "clickhouses", "chdb"):
            return cls(db_type="clickhouse", dsn=url)
        if separator and scheme in ("postgres", "postgresql"):
            config = cls._from_postgres_url(hidden(f"{scheme}://{rest}"))
            is_timescale = url.partition("://")[0].endswith("+timescale")
            return replace(config, layout="timescale") if is_timescale else config
        # The URL may hold a password: only its scheme is repeated.
        said = f"{scheme}://…" if separator else "text without ://"
        raise ConfigurationError(f"Not a database URL: {said}. Use one of {_URLS}.")

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
            elif name == "layout":
                ours[name] = unquote(value)
            elif name == "statement_timeout":
                ours[name] = _seconds(name, unquote(value))
            elif name not in _OF_OTHER_CLIENTS:
                rest.append(parameter)  # As it is: a plus is a plus to libpq, and no space.
        dsn = f"{address}?{'&'.join(rest)}" if rest else address
        return cls(db_type="postgres", dsn=hidden(dsn), **ours)

    def __reduce__(self) -> str | tuple[Any, ...]:
        if self.db_password or self.dsn or self.audit_key or self.read_dsn:
            raise UnsupportedError(
                "This configuration may hold a password and cannot be pickled or copied. "
                "Call DatabaseConfig.from_env() in the other process."
            )
        return super().__reduce__()

    def _in_force(self) -> dict[str, Any]:
        """Return the settings in use by name; those of a URL part by part."""
        match self.db_type:
            case "sqlite":
                return {"db_type": "sqlite", "db_path": _absolute(self.db_path)}
            case "postgres":
                said_in_url = self._parts_of_dsn()
                ours = {name: getattr(self, name) for name in _VARIABLES.values()}
                del ours["db_path"]
                return {**ours, **said_in_url}
            case "clickhouse":
                from curio_persistence.backends.clickhouse.address import read_address

                return {"db_type": "clickhouse", "replica": read_address(self.dsn or "").name}
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

        shared: dict[str, Any] = {name: getattr(self, name) for name in _OF_ALL_BACKENDS}
        shared |= {"read_only": read_only, "search": search}
        match self.db_type:
            case "sqlite":
                return persistence.SQLitePersistence(self.db_path, initialize=initialize, **shared)
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
                    layout=self.layout,
                    read_dsn=self.read_dsn,
                    initialize=initialize,
                    wait=wait,
                    **shared,
                )
            case "memory":
                return persistence.InMemoryPersistence(**shared)
            case "null":
                return persistence.NullPersistence()
            case "clickhouse":
                return persistence.ClickHousePersistence(
                    self.dsn or "", initialize=initialize, prices=self.prices
                )
        raise ConfigurationError(_unknown_type(self.db_type))


_OF_ALL_BACKENDS = (
    "redactor",
    "capture_content",
    "chain",
    "audit_key",
    "dedupe",
    "prices",
    "embed",
)
"""The settings that each backend takes, by the names of their arguments."""
_SECRET = {OWN_URL, HOSTS_URL, "DB_PASSWORD", "CURIO_AUDIT_KEY", "CURIO_READ_DSN"}
_VARIABLES_BESIDE = {
    "CURIO_REDACT": "redactor",
    "CURIO_CAPTURE_CONTENT": "capture_content",
    "CURIO_STATEMENT_TIMEOUT": "statement_timeout",
    "CURIO_CHAIN": "chain",
    "CURIO_AUDIT_KEY": "audit_key",
    "CURIO_DEDUPE": "dedupe",
    PRICES: "prices",
    "CURIO_READ_DSN": "read_dsn",
    "CURIO_EMBED": "embed",
}
_VARIABLES = {
    name.upper(): name for name in DatabaseConfig.__dataclass_fields__ if name.startswith("db_")
}
_COMPLETING = {
    variable: _VARIABLES[variable]
    for variable in ("DB_PASSWORD", "DB_SCHEMA", "DB_MIN_CONNECTIONS", "DB_MAX_CONNECTIONS")
}
_NUMBERS = ("DB_PORT", "DB_MIN_CONNECTIONS", "DB_MAX_CONNECTIONS")


def _said_in(url: str) -> set[str]:
    """Return which of the values that variables may complete are in a URL."""
    address, _, query = map(hidden, url.partition("?"))
    said = {parameter.partition("=")[0] for parameter in query.split("&")}
    user = address.partition("://")[2].rpartition("@")[0]
    names = {"schema": "db_schema", "password": "db_password"}
    return {names.get(name, name) for name in said} | ({"db_password"} if ":" in user else set())


def _read(variable: str, value: str) -> Any:
    if variable == "CURIO_STATEMENT_TIMEOUT":
        return _seconds(variable, value)
    if variable in ("CURIO_CHAIN", "CURIO_DEDUPE"):
        return _switch(variable, value)
    if variable == PRICES:
        return SWITCHES.get(value.lower(), value)
    return _whole_number(variable, value) if variable in _NUMBERS else value


def _absolute(path: str) -> str:
    return path if path == ":memory:" else str(Path(path).expanduser().absolute())


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


def _switch(variable: str, value: str) -> bool:
    if value.lower() not in SWITCHES:
        raise ConfigurationError(f"{variable} is 1 or 0, not {value!r}.")
    return SWITCHES[value.lower()]


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
