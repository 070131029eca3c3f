"""Backups by pg_dump: of one schema, whatever its name, and without a password in sight."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg2 import sql

from curio_persistence import (
    AccessDeniedError,
    AgentRun,
    InvalidValueError,
    PersistenceError,
    PostgresPersistence,
    restore_backup,
)
from curio_persistence.config import DatabaseConfig
from tests.backends.conftest import Ask
from tests.backends.test_postgres_schema_names import ODD_NAMES
from tests.support.postgres import find_binaries

pytestmark = pytest.mark.slow

PASSWORD = "correct horse' battery\\"


@pytest.fixture(autouse=True)
def programs(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> Path:
    [(number,)] = ask("SELECT current_setting('server_version_num')::int")
    found = find_binaries(number // 10_000)
    monkeypatch.setenv("PATH", f"{found}{os.pathsep}{os.environ['PATH']}")
    return found


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.thorough
def test_a_schema_of_any_name_is_backed_up_alone(
    dsn: str, ask: Ask, name: str, tmp_path: Path
) -> None:
    """The schema is dropped, and restored in the same database."""
    drop = sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name))
    with PostgresPersistence(dsn=dsn, schema=name) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run", objective="%s"))
        path = persistence.backup(tmp_path / "backups").path
        before = sorted(persistence.runs.hashes())
    assert Path(path).parent == tmp_path / "backups"
    ask(drop)  # type: ignore[arg-type]
    try:
        restore_backup(path, DatabaseConfig(db_type="postgres", dsn=dsn, db_schema=name))
        with PostgresPersistence(dsn=dsn, schema=name) as restored:
            assert sorted(restored.runs.hashes()) == before
    finally:
        ask(drop)  # type: ignore[arg-type]


def test_another_schema_is_refused_with_the_names(
    open_postgres: Callable[..., PostgresPersistence],
    dsn: str,
    schema_name: str,
    ask: Ask,
    tmp_path: Path,
) -> None:
    path = open_postgres().backup(tmp_path / "backups").path
    other = DatabaseConfig(db_type="postgres", dsn=dsn, db_schema="another_one")
    with pytest.raises(InvalidValueError, match=f"schema '{schema_name}', not of 'another_one'"):
        restore_backup(path, other)
    assert ask("SELECT 1 FROM pg_namespace WHERE nspname = 'another_one'") == []


def test_an_empty_schema_is_filled_and_one_in_use_is_not(
    open_postgres: Callable[..., PostgresPersistence],
    dsn: str,
    schema_name: str,
    ask: Ask,
    tmp_path: Path,
) -> None:
    into = DatabaseConfig(db_type="postgres", dsn=dsn, db_schema=schema_name)
    with open_postgres() as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
        path = persistence.backup(tmp_path / "backups").path
    ask(f"DROP SCHEMA {schema_name} CASCADE; CREATE SCHEMA {schema_name}")
    ask(f"CREATE TABLE {schema_name}.others (id INT)")
    with pytest.raises(InvalidValueError, match="is not empty"):
        restore_backup(path, into)
    ask(f"DROP TABLE {schema_name}.others")
    restore_backup(path, into)
    with open_postgres() as persistence:
        assert persistence.count_agent_runs() == 1


def test_a_failed_restore_leaves_no_schema(
    open_postgres: Callable[..., PostgresPersistence],
    dsn: str,
    schema_name: str,
    ask: Ask,
    tmp_path: Path,
    programs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with open_postgres() as persistence:
        path = persistence.backup(tmp_path / "backups").path
    ask(f"DROP SCHEMA {schema_name} CASCADE")
    wrapper = tmp_path / "pg_restore"
    wrapper.write_text(
        f'#!/bin/sh\ncase "$*" in *--exit-on-error*) echo no >&2; exit 1;; esac\n'
        f'exec {programs}/pg_restore "$@"\n'
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(PersistenceError, match=": no"):
        restore_backup(path, DatabaseConfig(db_type="postgres", dsn=dsn, db_schema=schema_name))
    assert ask("SELECT 1 FROM pg_namespace WHERE nspname = %s", schema_name) == []


def test_the_password_is_on_no_command_line_and_in_no_error(
    open_postgres: Callable[..., PostgresPersistence],
    schema_name: str,
    tmp_path: Path,
    programs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A wrapper notes how pg_dump is called; then it fails as with a wrong password."""
    noted = tmp_path / "noted"
    wrapper = tmp_path / "pg_dump"
    wrapper.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" >> {noted}\nprintf "%s" "$PGPASSWORD" > {noted}.env\n'
        f'exec {programs}/pg_dump "$@"\n'
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with open_postgres(password=PASSWORD) as persistence:
        persistence.backup(tmp_path / "backups")
        assert "horse" not in noted.read_text()
        assert (tmp_path / "noted.env").read_text() == PASSWORD
        wrapper.write_text(
            "#!/bin/sh\n"
            f'case "$1" in --version) exec {programs}/pg_dump "$@";; esac\n'
            'echo "pg_dump: error: password authentication failed for user" >&2; exit 1\n'
        )
        with pytest.raises(AccessDeniedError) as refused:
            persistence.backup(tmp_path / "backups")
    assert "horse" not in str(refused.value)


def test_a_user_without_rights_is_told(
    open_postgres: Callable[..., PostgresPersistence],
    dsn: str,
    schema_name: str,
    ask: Ask,
    tmp_path: Path,
) -> None:
    open_postgres().create_agent_run(AgentRun("agent", "run"))
    role = f"reader_{schema_name[5:20]}"
    ask(f"CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {schema_name} TO {role}")
    try:
        theirs = DatabaseConfig(
            db_type="postgres", dsn=dsn, db_user=role, db_schema=schema_name
        ).get_persistence(initialize=False)
        with theirs, pytest.raises(AccessDeniedError, match="rights of the user"):
            theirs.backup(tmp_path / "backups")
        assert list((tmp_path / "backups").iterdir()) == []
    finally:
        ask(f"REVOKE ALL ON SCHEMA {schema_name} FROM {role}; DROP ROLE {role}")


def test_an_interrupted_backup_ends_pg_dump(
    open_postgres: Callable[..., PostgresPersistence],
    schema_name: str,
    ask: Ask,
    application: str,
    tmp_path: Path,
) -> None:
    """pg_dump waits for a lock; the caller hears of it meanwhile, and gives up."""

    class _EnoughError(Exception):
        pass

    def give_up(done: int, total: int | None) -> None:
        raise _EnoughError

    with open_postgres() as persistence:
        ask("BEGIN")
        ask(f"LOCK TABLE {schema_name}.agent_run_events IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(_EnoughError):
            persistence.backup(tmp_path / "backups", progress=give_up)
        ask("ROLLBACK")
        assert list((tmp_path / "backups").iterdir()) == []
        assert persistence.backup(tmp_path / "backups").size > 0
