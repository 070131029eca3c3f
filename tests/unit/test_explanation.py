"""A configuration gives the source of each value, and the settings that are ignored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from curio_persistence import DatabaseConfig, Setting

SECRET = "s3cr3t"
VARIABLES = (
    *(f"PG{name}" for name in ("HOST", "PORT", "DATABASE", "USER", "PASSWORD")),
    "CURIO_DATABASE_URL",
    "DATABASE_URL",
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty; nothing is set."""
    monkeypatch.chdir(tmp_path)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def explained(environ: Mapping[str, str] | None = None, **options: object) -> dict[str, Setting]:
    """Return the settings in force."""
    settings = DatabaseConfig.explain(environ or {}, **options)  # type: ignore[arg-type]
    return {setting.name: setting for setting in settings if not setting.unused}


def in_vain(environ: Mapping[str, str], **options: object) -> set[tuple[str, str, str]]:
    """Return the ignored settings: name, source and reason."""
    settings = DatabaseConfig.explain(environ, **options)  # type: ignore[arg-type]
    return {(each.name, each.source, each.unused) for each in settings if each.unused}


def test_without_settings_the_default_is_used(folder: Path) -> None:
    assert DatabaseConfig.explain({}) == [
        ("db_type", "sqlite", "default", ""),
        ("db_path", str(folder / "agent_sdk.db"), "default", ""),
        ("redactor", None, "default", ""),
        ("capture_content", "full", "default", ""),
        ("chain", False, "default", ""),
        ("audit_key", None, "default", ""),
        ("dedupe", False, "default", ""),
        ("prices", True, "default", ""),
        ("embed", None, "default", ""),
        ("disabled", False, "default", ""),
    ]


def test_a_variable_is_named_with_its_source(folder: Path) -> None:
    (folder / ".env").write_text("DB_TYPE=sqlite\nDB_PATH=of_the_file.db\n")
    env = f"{folder / '.env'}"
    assert DatabaseConfig.explain({"DB_PATH": "mine.db"}) == [
        ("db_type", "sqlite", f"{env}: DB_TYPE", ""),
        ("db_path", str(folder / "mine.db"), "environment: DB_PATH", ""),
        ("redactor", None, "default", ""),
        ("capture_content", "full", "default", ""),
        ("chain", False, "default", ""),
        ("audit_key", None, "default", ""),
        ("dedupe", False, "default", ""),
        ("prices", True, "default", ""),
        ("embed", None, "default", ""),
        ("disabled", False, "default", ""),
        (
            "db_path",
            str(folder / "of_the_file.db"),
            f"{env}: DB_PATH",
            "environment: DB_PATH comes first",
        ),
    ]
    assert explained({}, dotenv=False)["db_path"].source == "default"


def test_an_empty_value_hides_the_file(folder: Path) -> None:
    (folder / ".env").write_text("DB_PATH=of_the_file.db\n")
    assert explained({"DB_PATH": ""})["db_path"].source == "default"
    [(name, _, why)] = in_vain({"DB_PATH": ""})
    assert (name, why) == ("db_path", "environment: DB_PATH comes first")


def test_recording_is_switched_off_by_the_environment_only(folder: Path) -> None:
    (folder / ".env").write_text("CURIO_DISABLED=1\n")
    url = {"CURIO_DATABASE_URL": "memory://"}
    assert explained(url)["disabled"] == ("disabled", False, "default", "")
    source = f"{folder / '.env'}: CURIO_DISABLED"
    assert in_vain(url) == {("disabled", source, "recording looks into the environment only")}
    for said, value in {"on": True, "0": False}.items():
        found = explained({**url, "CURIO_DISABLED": said})["disabled"]
        assert found == ("disabled", value, "environment: CURIO_DISABLED", "")


def test_our_url_takes_precedence_over_all_variables(folder: Path) -> None:
    environ = {
        "CURIO_DATABASE_URL": "sqlite:///ours.db",
        "DB_PATH": "variable.db",
        "DB_MAX_CONNECTIONS": "7",
        "DATABASE_URL": "sqlite:///host.db",
    }
    ours = "environment: CURIO_DATABASE_URL"
    assert explained(environ)["db_path"] == ("db_path", str(folder / "ours.db"), ours, "")
    assert explained(environ)["db_type"].source == ours
    assert in_vain(environ) == {
        ("db_path", "environment: DB_PATH", f"{ours} comes first"),
        ("db_max_connections", "environment: DB_MAX_CONNECTIONS", f"{ours} comes first"),
        ("url", "environment: DATABASE_URL", f"{ours} comes first"),
    }


def test_database_url_comes_last() -> None:
    environ = {"DATABASE_URL": "sqlite:///host.db"}
    assert explained(environ)["db_path"].source == "environment: DATABASE_URL"
    assert in_vain({**environ, "DB_PATH": "mine.db"}) == {
        ("url", "environment: DATABASE_URL", "environment: DB_PATH comes first")
    }


def test_settings_of_other_backends_are_ignored() -> None:
    environ = {"DB_TYPE": "sqlite", "DB_HOST": "db", "DB_PASSWORD": SECRET}
    assert in_vain(environ) == {
        ("db_host", "environment: DB_HOST", "sqlite has none"),
        ("db_password", "environment: DB_PASSWORD", "sqlite has none"),
    }
    assert "db_path" not in explained({"DB_TYPE": "memory", "DB_PATH": "x.db"})


def test_naming_a_server_is_shown_as_the_reason_for_postgres() -> None:
    found = explained({"DB_NAME": "agents"})
    assert found["db_type"] == ("db_type", "postgres", "environment: DB_NAME", "")
    assert found["db_schema"] == ("db_schema", "agent_sdk", "default", "")


def test_every_part_of_a_url_is_shown() -> None:
    url = f"postgresql://me:{SECRET}@db.example.org/agents?schema=runs&sslmode=require"
    found = explained({"CURIO_DATABASE_URL": url})
    ours = "environment: CURIO_DATABASE_URL"
    assert {name: each.value for name, each in found.items() if each.source == ours} == {
        "db_type": "postgres",
        "db_host": "db.example.org",
        "db_name": "agents",
        "db_user": "me",
        "db_password": "***",
        "db_schema": "runs",
        "sslmode": "require",
    }
    assert found["db_port"] == ("db_port", None, "libpq", "")
    assert found["db_max_connections"] == ("db_max_connections", 10, "default", "")


def test_libpqs_variables_fill_the_gaps_of_postgres_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text("PGUSER=nobody\n")
    for name, value in {"PGHOST": "pg", "PGPORT": "1", "PGPASSWORD": SECRET}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DB_TYPE", "postgres")
    monkeypatch.setenv("DB_PORT", "5433")
    found = {each.name: each for each in DatabaseConfig.explain() if not each.unused}
    assert found["db_host"] == ("db_host", "pg", "environment: PGHOST", "")
    assert found["db_password"] == ("db_password", "***", "environment: PGPASSWORD", "")
    assert found["db_port"] == ("db_port", 5433, "environment: DB_PORT", "")
    unused = {each.source: each.unused for each in DatabaseConfig.explain() if each.unused}
    assert unused == {
        "environment: PGPORT": "environment: DB_PORT comes first",
        f"{folder / '.env'}: PGUSER": "libpq looks into the environment only",
    }
    monkeypatch.setenv("DB_TYPE", "sqlite")
    unused = {each.source: each.unused for each in DatabaseConfig.explain() if each.unused}
    assert unused["environment: PGHOST"] == "PostgreSQL is not chosen"


def test_redaction_is_looked_up_for_any_database(folder: Path) -> None:
    (folder / ".env").write_text("CURIO_REDACT=email\nCURIO_CAPTURE_CONTENT=full\n")
    environ = {"CURIO_DATABASE_URL": "memory://", "CURIO_CAPTURE_CONTENT": "metrics-only"}
    env = f"{folder / '.env'}"
    assert explained(environ)["redactor"] == ("redactor", "email", f"{env}: CURIO_REDACT", "")
    content = "environment: CURIO_CAPTURE_CONTENT"
    assert explained(environ)["capture_content"] == ("capture_content", "metrics-only", content, "")
    in_file = f"{env}: CURIO_CAPTURE_CONTENT"
    assert in_vain(environ) == {("capture_content", in_file, f"{content} comes first")}


def test_an_argument_takes_precedence(folder: Path) -> None:
    given = {"--url": {"CURIO_DATABASE_URL": "sqlite:///argument.db"}}
    environ = {"CURIO_DATABASE_URL": "sqlite:///ours.db", "DB_PATH": "x.db"}
    assert explained(environ, given=given)["db_path"][1:3] == (
        str(folder / "argument.db"),
        "--url",
    )
    assert in_vain(environ, given=given) == {
        ("url", "environment: CURIO_DATABASE_URL", "--url comes first"),
        ("db_path", "environment: DB_PATH", "--url comes first"),
    }


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            f"postgresql://me:{SECRET}@host:5432/db?password={SECRET}",
            "postgresql://me:***@host:5432/db",
        ),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql://host/db", "postgresql://host/db"),
        ("sqlite:////var/agents.db", "sqlite:////var/agents.db"),
        (f"postgresql://me:a@{SECRET}@host/db", "postgresql://me:***@host/db"),
        (f"postgresql://me:a?{SECRET}@host/db", "…"),
        (f"postgresql://host/db?password=a@{SECRET}", "…"),
        (f"postgresql://me:{SECRET}/db", "…"),
        (f"host=db password={SECRET}", "…"),
        (SECRET, "…"),
    ],
)
def test_no_secret_is_shown_however_a_url_is_mistyped(url: str, shown: str) -> None:
    environ = {"CURIO_DATABASE_URL": "memory://", "DATABASE_URL": url}
    [unused] = [each for each in DatabaseConfig.explain(environ) if each.unused]
    assert unused.value == shown
    assert SECRET not in str(DatabaseConfig.explain(environ))


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"DB_PATH": "a.db"},
        {"DB_TYPE": "memory"},
        {"DATABASE_URL": "memory://"},
        {"DB_HOST": "h", "DB_PORT": "1", "DB_USER": "u", "DB_SCHEMA": "s"},
        {"CURIO_DATABASE_URL": "sqlite:///b.db", "DB_HOST": "h"},
    ],
)
def test_the_explained_settings_are_the_used_ones(environ: dict[str, str]) -> None:
    config = DatabaseConfig.from_env(environ)
    found = explained(environ)
    del found["disabled"]  # It is not a setting of a database.
    for name, setting in found.items():
        value = getattr(config, name)
        assert setting.value == (str(Path(value).absolute()) if name == "db_path" else value)


def test_a_value_that_completes_a_url_is_shown_with_its_source() -> None:
    environ = {
        "DATABASE_URL": "postgresql://me@host/app?schema=mine",
        "DB_PASSWORD": SECRET,
        "DB_SCHEMA": "runs",
    }
    found = explained(environ)
    assert found["db_password"] == ("db_password", "***", "environment: DB_PASSWORD", "")
    assert found["db_schema"].value == "mine"
    assert in_vain(environ) == {
        ("db_schema", "environment: DB_SCHEMA", "environment: DATABASE_URL comes first")
    }


def test_a_database_url_of_another_kind_is_shown_as_ignored() -> None:
    assert in_vain({"DATABASE_URL": "mysql://host/app"}) == {
        ("url", "environment: DATABASE_URL", "it names a database of another kind")
    }
