"""The database is chosen by arguments, then by the environment, then by a `.env` file."""

from __future__ import annotations

import logging
import os
import pickle
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from curio_persistence import (
    AgentRun,
    ConfigurationError,
    DatabaseConfig,
    InMemoryPersistence,
    Persistence,
    PersistenceError,
    PostgresPersistence,
    SQLitePersistence,
    UnsupportedError,
    connect,
)
from curio_persistence import config as config_module

SECRET = "s3cr3t"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty; nothing has been logged yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config_module, "_told", set())
    return tmp_path


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, str]], None]:
    def set_all(variables: Mapping[str, str]) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_all


SetAll = Callable[[Mapping[str, str]], None]

# --- precedence -------------------------------------------------------------------------------

# Each is overridden by those before it.
BY_RANK = {
    "CURIO_DATABASE_URL": ({"CURIO_DATABASE_URL": "sqlite:///curio.db"}, "curio.db"),
    "DB_*": ({"DB_PATH": "curios_own.db"}, "curios_own.db"),
    "DATABASE_URL": ({"DATABASE_URL": "sqlite:///host.db"}, "host.db"),
    "nothing": ({}, "agent_sdk.db"),
}


@pytest.mark.parametrize("first", range(len(BY_RANK)), ids=list(BY_RANK))
def test_the_first_variable_takes_precedence(environment: SetAll, first: int) -> None:
    for variables, _ in list(BY_RANK.values())[first:]:
        environment(variables)
    _, path = list(BY_RANK.values())[first]
    assert DatabaseConfig.from_env() == DatabaseConfig(db_path=path)
    with connect() as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
    assert Path(path).is_file()


def test_an_argument_takes_precedence_over_every_variable(
    environment: SetAll, folder: Path
) -> None:
    for variables, _ in BY_RANK.values():
        environment(variables)
    with connect("sqlite:///argument.db") as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
    assert [file.name for file in folder.iterdir()] == ["argument.db"]


def test_an_environment_may_be_passed(environment: SetAll) -> None:
    environment({"DB_PATH": "not_asked.db"})
    assert DatabaseConfig.from_env({"DB_TYPE": "memory"}).db_type == "memory"
    assert DatabaseConfig.from_env({}) == DatabaseConfig()


def test_every_variable_sets_its_field(environment: SetAll) -> None:
    environment(
        {
            "DB_TYPE": "postgres",
            "DB_PATH": "unused.db",
            "DB_HOST": "db.example.org",
            "DB_PORT": "5433",
            "DB_NAME": "agents",
            "DB_USER": "me",
            "DB_PASSWORD": SECRET,
            "DB_SCHEMA": "runs",
            "DB_MIN_CONNECTIONS": "2",
            "DB_MAX_CONNECTIONS": "20",
        }
    )
    assert DatabaseConfig.from_env() == DatabaseConfig(
        "postgres", "agent_sdk.db", "db.example.org", 5433, "agents", "me", SECRET, "runs", 2, 20
    )


def test_an_empty_variable_counts_as_unset(environment: SetAll) -> None:
    environment(dict.fromkeys(("CURIO_DATABASE_URL", "DB_TYPE", "DB_PORT", "DATABASE_URL"), ""))
    assert DatabaseConfig.from_env() == DatabaseConfig()


@pytest.mark.parametrize("name", ["DB_FLAVOUR", "DB_", "db_path", "PGHOST", "CURIO"])
def test_other_variables_do_not_choose_the_database(environment: SetAll, name: str) -> None:
    environment({name: "x", "DATABASE_URL": "sqlite:///host.db"})
    assert DatabaseConfig.from_env() == DatabaseConfig(db_path="host.db")


def test_database_url_is_used_only_if_no_variable_of_ours_is_set(
    environment: SetAll, caplog: pytest.LogCaptureFixture
) -> None:
    environment({"DATABASE_URL": "postgresql://host/app", "DB_PATH": "ours.db"})
    assert DatabaseConfig.from_env().db_type == "sqlite"
    assert not caplog.records


def test_a_variable_that_names_no_database_completes_a_url(environment: SetAll) -> None:
    environment(
        {
            "DATABASE_URL": "postgresql://me@host/app",
            "DB_PASSWORD": SECRET,
            "DB_SCHEMA": "runs",
            "DB_MAX_CONNECTIONS": "5",
        }
    )
    config = DatabaseConfig.from_env()
    assert config.dsn == "postgresql://me@host/app"
    assert (config.db_password, config.db_schema, config.db_max_connections) == (SECRET, "runs", 5)
    environment({"CURIO_DATABASE_URL": "postgresql://me:other@host/app?schema=mine"})
    config = DatabaseConfig.from_env()
    assert (config.db_password, config.db_schema, config.db_max_connections) == (None, "mine", 5)


@pytest.mark.parametrize("url", ["mysql://host/app", "mssql+pyodbc://host/app", "host.example"])
def test_a_database_url_of_another_kind_is_ignored_and_logged_once(
    environment: SetAll, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    environment({"DATABASE_URL": url})
    assert {DatabaseConfig.from_env() for _ in range(3)} == {DatabaseConfig()}
    [record] = caplog.records
    assert "DATABASE_URL names a database of another kind" in record.getMessage()
    assert url not in caplog.text
    with pytest.raises(ConfigurationError, match="Not a database URL"):
        DatabaseConfig.from_env({"CURIO_DATABASE_URL": url})


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg2://me@host/app",
        "postgresql+asyncpg://me@host/app?pool_timeout=3",
        "postgresql://me@host/app?pgbouncer=true&connection_limit=1",
    ],
)
def test_parameters_of_other_clients_in_a_url_are_dropped(url: str) -> None:
    assert DatabaseConfig.from_url(url) == DatabaseConfig.from_url("postgresql://me@host/app")


def test_an_unknown_parameter_is_named_without_its_value() -> None:
    with pytest.raises(ConfigurationError, match="libpq does not know: schma, ssl\\.") as caught:
        connect(f"postgresql://127.0.0.1:1/app?schma={SECRET}&sslmode=prefer&ssl=require")
    assert SECRET not in str(caught.value)
    with pytest.raises(ConfigurationError) as caught:
        connect(f"postgresql://127.0.0.1:1/app?{SECRET}=1&password=a@b")
    assert SECRET not in str(caught.value)


def test_using_database_url_is_logged_once_and_without_its_value(
    environment: SetAll, caplog: pytest.LogCaptureFixture
) -> None:
    environment({"DATABASE_URL": f"postgresql://me:{SECRET}@host/app"})
    configs = {DatabaseConfig.from_env() for _ in range(3)}
    assert configs == {DatabaseConfig("postgres", dsn=f"postgresql://me:{SECRET}@host/app")}
    [record] = caplog.records
    assert record.name.partition(".")[0] == "curio_persistence"
    assert record.levelno == logging.WARNING
    assert "DATABASE_URL" in record.getMessage()
    assert "postgresql" not in caplog.text
    assert SECRET not in caplog.text


# --- which kind -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ("sqlite", "sqlite"),
        ("SQLite3", "sqlite"),
        ("postgres", "postgres"),
        ("PostgreSQL", "postgres"),
        ("memory", "memory"),
        ("inmemory", "memory"),
        ("in_memory", "memory"),
    ],
)
def test_a_kind_can_be_given_by_its_usual_names(environment: SetAll, given: str, kind: str) -> None:
    environment({"DB_TYPE": given})
    assert DatabaseConfig.from_env().db_type == kind


@pytest.mark.parametrize("given", ["mysql", "sqlite:///a.db", "none", " "])
def test_an_unknown_kind_is_an_error(environment: SetAll, given: str) -> None:
    environment({"DB_TYPE": given})
    with pytest.raises(ConfigurationError, match="DB_TYPE is sqlite, postgres, memory or null"):
        DatabaseConfig.from_env()
    with pytest.raises(ConfigurationError, match="DB_TYPE is sqlite, postgres, memory or null"):
        DatabaseConfig(db_type=given).get_persistence()  # type: ignore[arg-type]


@pytest.mark.parametrize("variable", ["DB_HOST", "DB_NAME", "DB_USER", "DB_PORT"])
def test_naming_a_server_chooses_postgres(environment: SetAll, variable: str) -> None:
    environment({variable: "5432"})
    assert DatabaseConfig.from_env().db_type == "postgres"


@pytest.mark.parametrize("variable", ["DB_HOST", "DB_NAME", "DB_USER", "DB_PORT"])
def test_naming_a_file_and_a_server_is_a_contradiction(environment: SetAll, variable: str) -> None:
    environment({variable: "5432", "DB_PATH": "agents.db"})
    with pytest.raises(ConfigurationError, match=f"DB_PATH .* {variable} .* Set DB_TYPE"):
        DatabaseConfig.from_env()
    environment({"DB_TYPE": "sqlite"})
    assert DatabaseConfig.from_env().db_type == "sqlite"


@pytest.mark.parametrize("variable", ["DB_PORT", "DB_MIN_CONNECTIONS", "DB_MAX_CONNECTIONS"])
@pytest.mark.parametrize("value", ["many", "1.5", "1e3", "0x10", "5432/agents"])
def test_an_invalid_number_is_refused_by_name(
    environment: SetAll, variable: str, value: str
) -> None:
    environment({"DB_TYPE": "postgres", variable: value})
    with pytest.raises(ConfigurationError, match=f"{variable} must be a whole number, not '"):
        DatabaseConfig.from_env()


@pytest.mark.parametrize(("least", "most"), [("5", "2"), ("0", "0"), ("-1", "3"), ("1", "-1")])
def test_invalid_pool_sizes_are_refused(environment: SetAll, least: str, most: str) -> None:
    environment({"DB_TYPE": "postgres", "DB_MIN_CONNECTIONS": least, "DB_MAX_CONNECTIONS": most})
    with pytest.raises(ConfigurationError, match="min_connections and max_connections"):
        connect()


# --- .env files -------------------------------------------------------------------------------


def test_a_file_sets_what_the_environment_does_not(folder: Path, environment: SetAll) -> None:
    (folder / ".env").write_text("DB_TYPE=postgres\nDB_HOST=file\nDB_NAME='of the file'\n")
    environment({"DB_HOST": "environment"})
    config = DatabaseConfig.from_env()
    assert (config.db_type, config.db_host, config.db_name) == (
        "postgres",
        "environment",
        "of the file",
    )


def test_a_file_is_found_from_the_current_folder_upwards(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = folder / "project" / "src"
    deep.mkdir(parents=True)
    (folder / ".env").write_text("DB_PATH=far.db\n")
    monkeypatch.chdir(deep)
    assert DatabaseConfig.from_env().db_path == str(folder / "far.db")
    (folder / "project" / ".env").write_text("DB_PATH=near.db\n")
    assert DatabaseConfig.from_env().db_path == str(folder / "project" / "near.db")


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("DB_PATH=a.db", "{folder}/a.db"),
        ("CURIO_DATABASE_URL=sqlite:///my%20a.db", "{folder}/my a.db"),
        ("DATABASE_URL=sqlite+aiosqlite:///./a.db", "{folder}/./a.db"),
        ("DB_PATH=/var/a.db", "/var/a.db"),
        ("CURIO_DATABASE_URL=sqlite:////var/a.db", "/var/a.db"),
        ("DB_PATH=~/a.db", "~/a.db"),
        ("DB_PATH=:memory:", ":memory:"),
        ("CURIO_DATABASE_URL=sqlite://", ":memory:"),
    ],
)
def test_a_relative_path_in_a_file_is_relative_to_its_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, line: str, path: str
) -> None:
    project = folder / "my project"
    (project / "src").mkdir(parents=True)
    monkeypatch.chdir(project / "src")
    (project / ".env").write_text(f"{line}\n")
    expected = path.format(folder=project)
    assert Path(DatabaseConfig.from_env().db_path) == Path(expected)


def test_a_database_named_by_the_environment_takes_precedence_over_a_file(
    folder: Path, environment: SetAll
) -> None:
    (folder / ".env").write_text(
        "CURIO_DATABASE_URL=postgresql://prod/app\nCURIO_REDACT=keys\nDB_SCHEMA=runs\n"
    )
    environment({"DB_TYPE": "sqlite", "DB_PATH": "test.db"})
    assert DatabaseConfig.from_env() == DatabaseConfig(db_path="test.db", redactor="keys")


def test_reading_a_file_can_be_switched_off(folder: Path) -> None:
    (folder / ".env").write_text("DB_TYPE=memory\n")
    assert DatabaseConfig.from_env(dotenv=False) == DatabaseConfig()


def test_a_file_does_not_change_the_environment(folder: Path) -> None:
    (folder / ".env").write_text("DB_TYPE=memory\nSOMETHING_ELSE=1\n")
    before = dict(os.environ)
    assert DatabaseConfig.from_env().db_type == "memory"
    assert dict(os.environ) == before


SECRETS = "mail alice@example.com"


@pytest.mark.parametrize("in_file", [True, False])
def test_redaction_of_the_environment_applies_with_any_url(
    folder: Path, environment: SetAll, *, in_file: bool
) -> None:
    if in_file:
        (folder / ".env").write_text("CURIO_REDACT=all\n")
    else:
        environment({"CURIO_REDACT": "all"})
    with connect("memory://") as persistence:
        persistence.create_agent_run(AgentRun("agent", "run", objective=SECRETS))
        [run] = persistence.get_agent_runs()
        assert "alice" not in run.objective
    with connect("memory://", redactor=lambda _, text: text) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run", objective=SECRETS))
        assert persistence.get_agent_runs()[0].objective == SECRETS


def test_an_unreadable_env_file_is_an_error_because_it_may_set_redaction(folder: Path) -> None:
    (folder / ".env").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"\.env cannot be read as UTF-8 text"):
        connect("memory://")


@pytest.mark.parametrize("content", [b"DB_PASSWORD=\xff\n", b"\xff\xfeD\0B\0"])
def test_a_file_that_is_not_text_is_an_error_that_names_it(folder: Path, content: bytes) -> None:
    (folder / ".env").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"\.env cannot be read as UTF-8 text"):
        DatabaseConfig.from_env()


def test_a_line_without_a_value_counts_as_unset(folder: Path) -> None:
    (folder / ".env").write_text("DB_TYPE\nDB_PATH=\nDATABASE_URL=sqlite:///host.db\n")
    assert DatabaseConfig.from_env() == DatabaseConfig(db_path=str(folder / "host.db"))


# --- URLs -------------------------------------------------------------------------------------

URLS = {
    "sqlite:///agents.db": DatabaseConfig(db_path="agents.db"),
    "sqlite:///runs/agents.db": DatabaseConfig(db_path="runs/agents.db"),
    "sqlite:////var/agents.db": DatabaseConfig(db_path="/var/agents.db"),
    "sqlite:///my%20agents%3F.db": DatabaseConfig(db_path="my agents?.db"),
    "sqlite:///a+b.db": DatabaseConfig(db_path="a+b.db"),
    "sqlite:///~/agents.db": DatabaseConfig(db_path="~/agents.db"),
    "sqlite://": DatabaseConfig(db_path=":memory:"),
    "sqlite:///:memory:": DatabaseConfig(db_path=":memory:"),
    "memory://": DatabaseConfig("memory"),
    "postgres://host/db": DatabaseConfig("postgres", dsn="postgres://host/db"),
    "postgresql://": DatabaseConfig("postgres", dsn="postgresql://"),
    "postgresql://host/db?": DatabaseConfig("postgres", dsn="postgresql://host/db"),
    "postgresql://host/db?schema=runs": DatabaseConfig(
        "postgres", dsn="postgresql://host/db", db_schema="runs"
    ),
    "postgresql://host/db?schema=my%20runs%2B": DatabaseConfig(
        "postgres", dsn="postgresql://host/db", db_schema="my runs+"
    ),
    "postgresql:///db?host=/run/x&schema=runs&application_name=a+b%26c&port=1": DatabaseConfig(
        "postgres",
        dsn="postgresql:///db?host=/run/x&application_name=a+b%26c&port=1",
        db_schema="runs",
    ),
}


@pytest.mark.parametrize(("url", "config"), URLS.items(), ids=list(URLS))
def test_a_url_names_a_database(environment: SetAll, url: str, config: DatabaseConfig) -> None:
    assert DatabaseConfig.from_url(url) == config
    environment({"CURIO_DATABASE_URL": url})
    assert DatabaseConfig.from_env() == config


@pytest.mark.parametrize(
    "url",
    [
        "",
        "agents.db",
        "/var/agents.db",
        "C:\\agents.db",
        "sqlite:agents.db",
        "sqlite:/agents.db",
        "sqlite://agents.db",
        "sqlite:///",
        "memory://here",
        "memory:",
        "mysql://host/db",
        "postgresql:host",
        "://",
        "host=localhost dbname=agents",
    ],
)
def test_an_invalid_url_is_refused_with_the_valid_forms(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"(Not a database URL): .*sqlite:///path"):
        connect(url)


@pytest.mark.parametrize("url", [Path("agents.db"), 5, b"sqlite://", True])
def test_a_url_is_text(url: object) -> None:
    with pytest.raises(ConfigurationError, match="A URL is text, not "):
        connect(url)  # type: ignore[arg-type]


def test_a_file_has_no_parameters(folder: Path) -> None:
    """SQLite's own would be ignored silently: a program that passes `mode=ro` must not write."""
    with pytest.raises(ConfigurationError, match="has no parameters"):
        connect("sqlite:///agents.db?mode=ro")
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("sqlite:///agents.db", SQLitePersistence),
        ("sqlite://", SQLitePersistence),
        ("memory://", InMemoryPersistence),
    ],
)
def test_connect_opens_the_database_of_the_url(url: str, kind: type[Persistence]) -> None:
    with connect(url) as persistence:
        assert type(persistence) is kind
        persistence.create_agent_run(AgentRun("agent", "run"))
        assert len(persistence.get_agent_runs()) == 1


# --- a real server ----------------------------------------------------------------------------


def test_the_variables_choose_a_server(
    environment: SetAll, postgres18: str, schema_name: str
) -> None:
    place = parse_dsn(postgres18)
    environment(
        {
            f"DB_{name}": place[key]
            for name, key in {
                "HOST": "host",
                "PORT": "port",
                "NAME": "dbname",
                "USER": "user",
            }.items()
            if key in place
        }
        | {"DB_SCHEMA": schema_name, "DB_PASSWORD": place.get("password", "")}
    )
    assert_connected_to(postgres18, schema_name)


def test_the_variables_of_libpq_fill_the_gaps_once_postgres_is_chosen(
    environment: SetAll, postgres18: str, schema_name: str
) -> None:
    place = parse_dsn(postgres18)
    environment({"PGDATABASE" if k == "dbname" else f"PG{k.upper()}": v for k, v in place.items()})
    assert DatabaseConfig.from_env().db_type == "sqlite"
    environment({"DB_TYPE": "postgres", "DB_SCHEMA": schema_name})
    assert_connected_to(postgres18, schema_name)


def test_libpqs_variables_complete_a_url(
    environment: SetAll, postgres18: str, schema_name: str
) -> None:
    place = parse_dsn(postgres18)
    environment({"PGDATABASE" if k == "dbname" else f"PG{k.upper()}": v for k, v in place.items()})
    environment({"CURIO_DATABASE_URL": f"postgresql://?schema={schema_name}"})
    assert_connected_to(postgres18, schema_name)


def test_an_unknown_parameter_is_passed_to_libpq(postgres18: str, schema_name: str) -> None:
    name = "a+b & c"
    url = f"{postgres18}&schema={schema_name}&application_name={quote(name)}"
    with connect(url) as persistence:
        assert persistence.get_agent_runs() == []
        statement = "SELECT current_setting('application_name')"
        assert persistence._store._read(statement, ()) == [(name,)]  # type: ignore[attr-defined]


def test_arguments_take_precedence_over_the_dsn(postgres18: str, schema_name: str) -> None:
    wrong = make_dsn(postgres18, dbname="not-there")
    database = parse_dsn(postgres18)["dbname"]
    with PostgresPersistence(database=database, dsn=wrong, schema=schema_name) as persistence:
        assert persistence.get_agent_runs() == []


def assert_connected_to(dsn: str, schema: str) -> None:
    with connect() as persistence, PostgresPersistence(dsn=dsn, schema=schema) as same:
        persistence.create_agent_run(AgentRun("agent", "run"))
        assert same.get_agent_run("run") is not None


# --- the password -----------------------------------------------------------------------------


def test_a_configuration_shows_no_password() -> None:
    for config in (
        DatabaseConfig("postgres", db_host="host", db_password=SECRET),
        DatabaseConfig.from_url(f"postgresql://me:{SECRET}@host/db"),
        DatabaseConfig.from_url(f"postgresql://host/db?user=me&password={SECRET}"),
    ):
        assert SECRET not in repr(config)
        assert SECRET not in str(config)
        assert SECRET not in f"{config}"


# No server listens on port 1.
UNREACHABLE = [
    f"postgresql://me:{SECRET}@127.0.0.1:1/db",
    f"postgresql://127.0.0.1:1/db?user=me&password={SECRET}",
    f"postgresql://me:{SECRET}%2F%40@127.0.0.1:1/db",
]


@pytest.mark.parametrize("url", UNREACHABLE)
def test_an_open_persistence_shows_no_password(url: str) -> None:
    with connect(url, initialize=False) as persistence:
        assert SECRET not in repr(persistence)
        assert SECRET not in str(vars(persistence))
        assert SECRET not in persistence.location
        assert not persistence.health_check()


@pytest.mark.parametrize(
    "url",
    [
        *UNREACHABLE,
        f"{SECRET}",
        f"postgresql:me:{SECRET}@host/db",
        f"mysql://me:{SECRET}@host/db",
        f"sqlite://me:{SECRET}@host/db",
        # With a character that should have been percent-encoded.
        f"postgresql://me:pass/{SECRET}@127.0.0.1:1/db",
        f"postgresql://me:12/{SECRET}@127.0.0.1:1/db",
        f"postgresql://me:12,{SECRET}/34@127.0.0.1:1/db",
        f"postgresql://me:pass@{SECRET}@127.0.0.1:1/db",
        f"postgresql://me:pass:{SECRET}@127.0.0.1:1/db",
        f"postgresql://me:pass?{SECRET}@127.0.0.1:1/db",
        f"postgresql://me:pass#{SECRET}@127.0.0.1:1/db",
        f"postgresql://me:pass%{SECRET}@127.0.0.1:1/db",
        f"postgresql://me:[{SECRET}@127.0.0.1:1/db",
        f"postgresql://me:pass {SECRET}@127.0.0.1:1/db",
    ],
)
def test_no_error_repeats_a_password(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(PersistenceError) as caught:
        connect(url)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert SECRET not in repr(caught.value)
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "variables",
    [
        {"DB_HOST": "127.0.0.1", "DB_PORT": "1"},
        {"DB_TYPE": "mysql"},
        {"DB_PORT": "many"},
        {"DB_HOST": "127.0.0.1", "DB_PATH": "agents.db"},
        {"DB_HOST": "127.0.0.1", "DB_MAX_CONNECTIONS": "0"},
        {"DB_HOST": "127.0.0.1", "DB_SCHEMA": "x" * 64},
    ],
)
def test_no_error_repeats_the_password_of_the_environment(
    environment: SetAll, variables: dict[str, str]
) -> None:
    environment({"DB_PASSWORD": SECRET, **variables})
    with pytest.raises(PersistenceError) as caught:
        connect()
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_password_with_every_awkward_character_works(environment: SetAll) -> None:
    """In a URL it is percent-encoded, in a variable as it is."""
    password = r"""a/b@c:d?e#f%g&h=i j+k'l"m\n"""
    url = f"postgresql://me:{quote(password, safe='')}@host/db"
    assert parse_dsn(DatabaseConfig.from_url(url).dsn or "")["password"] == password
    url = f"postgresql://host/db?schema=x&password={quote(password, safe='')}"
    assert parse_dsn(DatabaseConfig.from_url(url).dsn or "")["password"] == password
    environment({"DB_HOST": "host", "DB_PASSWORD": password})
    assert DatabaseConfig.from_env().db_password == password


def test_a_configuration_with_a_password_is_not_pickled() -> None:
    plain = DatabaseConfig(db_path="agents.db")
    assert pickle.loads(pickle.dumps(plain)) == plain
    for secret in (
        DatabaseConfig(db_password=SECRET),
        DatabaseConfig.from_url(f"postgresql://:{SECRET}@h/d"),
    ):
        with pytest.raises(UnsupportedError, match="from_env"):
            pickle.dumps(secret)


@pytest.mark.parametrize(
    "open_it",
    [
        lambda url: PostgresPersistence(url),
        lambda url: PostgresPersistence(host=f"me:{SECRET}@host"),
        lambda url: SQLitePersistence(url),
        lambda url: SQLitePersistence(Path(url)),
        lambda url: DatabaseConfig(db_path=url).get_persistence(),
    ],
)
def test_a_url_in_the_wrong_place_is_refused_without_being_shown(
    open_it: Callable[[str], Persistence],
) -> None:
    with pytest.raises(ConfigurationError, match="URL") as caught:
        open_it(f"postgresql://me:{SECRET}@host/db")
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "wrong", [{"max_connections": "10"}, {"min_connections": 1.5}, {"statement_timeout": 0}]
)
def test_pool_settings_must_be_valid_numbers(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        PostgresPersistence(**wrong, initialize=False)


# --- redaction ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "database",
    [{}, {"CURIO_DATABASE_URL": "memory://"}, {"DB_TYPE": "memory"}, {"DATABASE_URL": "memory://"}],
    ids=str,
)
def test_redaction_can_be_configured_for_any_database(database: dict[str, str]) -> None:
    words = {"CURIO_REDACT": "keys,emails", "CURIO_CAPTURE_CONTENT": "metrics-only"}
    config = DatabaseConfig.from_env({**database, **words}, dotenv=False)
    assert (config.redactor, config.capture_content) == ("keys,emails", "metrics-only")
    assert DatabaseConfig.from_env(database, dotenv=False).capture_content == "full"


def test_configured_redaction_is_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURIO_DATABASE_URL", "memory://")
    monkeypatch.setenv("CURIO_REDACT", "emails")
    with connect() as persistence:
        event = persistence.append_event("run", "agent", "log", message="to a@b.de")
        [stored] = persistence.get_agent_run_events("run")
    assert (stored.message, event.message) == ("to [redacted:email]", "to a@b.de")


def test_an_argument_takes_precedence_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURIO_DATABASE_URL", "sqlite://")
    monkeypatch.setenv("CURIO_REDACT", "no such pattern")
    monkeypatch.setenv("CURIO_CAPTURE_CONTENT", "metrics-only")
    with connect(redactor=lambda field, text: "…", capture_content="full") as persistence:
        persistence.append_event("run", "agent", "log", message="to a@b.de")
        [stored] = persistence.get_agent_run_events("run")
    assert stored.message == "…"


@pytest.mark.parametrize("url", ["memory://", "sqlite://"])
def test_the_error_for_a_wrong_variable_names_valid_values(url: str) -> None:
    for name, value in (("CURIO_REDACT", "emials"), ("CURIO_CAPTURE_CONTENT", "numbers")):
        config = DatabaseConfig.from_env({"CURIO_DATABASE_URL": url, name: value}, dotenv=False)
        with pytest.raises(ConfigurationError, match=name):
            config.get_persistence()


# --- statement timeout ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        ({}, 10.0),
        ({"CURIO_STATEMENT_TIMEOUT": "2.5"}, 2.5),
        ({"CURIO_STATEMENT_TIMEOUT": "0"}, None),
        ({"CURIO_DATABASE_URL": "postgresql://host/db?statement_timeout=60"}, 60.0),
        ({"CURIO_DATABASE_URL": "postgresql://host/db?statement_timeout=0&schema=s"}, None),
    ],
)
def test_the_statement_timeout_is_set_by_url_or_environment(
    settings: dict[str, str], seconds: float | None
) -> None:
    config = DatabaseConfig.from_env({"DB_TYPE": "postgres", **settings}, dotenv=False)
    assert config.statement_timeout == seconds


@pytest.mark.parametrize("given", ["soon", "-1", "nan"])
def test_an_invalid_statement_timeout_is_refused(given: str) -> None:
    with pytest.raises(ConfigurationError, match=r"statement_timeout|STATEMENT_TIMEOUT"):
        DatabaseConfig.from_url(
            f"postgresql://127.0.0.1:1/db?statement_timeout={given}"
        ).get_persistence(initialize=False)
