"""Databases of older and newer versions are migrated, used, or refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from curio_persistence import (
    AgentRun,
    AgentRunEvent,
    InvalidValueError,
    NotFoundError,
    PersistenceError,
    SchemaMismatchError,
    SQLitePersistence,
    connect,
    restore_backup,
)
from curio_persistence.backends.sql import migrations
from curio_persistence.backends.sqlite.store import SQLiteStore
from tests.schema.conftest import Database, Make, Versions

TODAY = migrations.migrations("sqlite")[-1].version
FLAVOUR = """\
-- additive: runs have a flavour.
ALTER TABLE {schema}.agent_runs ADD COLUMN flavour TEXT;
"""
SWEET = """\
-- additive: the flavour of old runs is known.
UPDATE {schema}.agent_runs SET flavour = 'sweet';
ALTER TABLE {schema}.agent_runs ADD COLUMN sour TEXT DEFAULT 'no';
"""
LOUD = """\
-- breaking: the words for a status are written in capitals.
UPDATE {schema}.agent_runs SET status = upper(status);
"""
WRONG = """\
-- additive: it begins well.
ALTER TABLE {schema}.agent_runs ADD COLUMN salty TEXT;
ALTER TABLE {schema}.agent_runs ADD COLUMN salty TEXT;
"""


def use(database: Database) -> None:
    """Create the tables, with a run and an event."""
    with database.open() as persistence:
        persistence.create_agent_run(AgentRun("agent", "old", objective="Survive"))
        persistence.log_agent_run_event(AgentRunEvent("agent", "old", event_type="e"))


def applied(database: Database) -> list[tuple[object, ...]]:
    return database.ask("SELECT version, name, kind FROM {schema}.schema_migrations ORDER BY 1")


def test_opening_migrates_an_older_database(make: Make, versions: Versions) -> None:
    old, new = make(), make()
    use(old)
    with versions.having(flavour=FLAVOUR):
        with old.open() as persistence:
            assert persistence.schema_version() == TODAY + 1
            [run] = persistence.get_agent_runs()
            assert run.objective == "Survive"
            assert len(persistence.get_agent_run_events("old")) == 1
            [line] = persistence.audit.query()
            assert (line.action, line.resource) == ("migrate", str(TODAY + 1))
        with new.open() as fresh:
            assert fresh.audit.count() == 0
        assert old.catalog() == new.catalog()
        assert applied(old) == applied(new)
    assert old.columns()["agent_runs"][-1] == "flavour"


def test_a_step_is_recorded_with_its_kind_and_checksum(
    database: Database, versions: Versions
) -> None:
    use(database)
    with versions.having(flavour=FLAVOUR):
        database.open().close()
        text = migrations.migrations(database.dialect)[-1].sql
    assert database.ask(
        "SELECT name, kind, checksum FROM {schema}.schema_migrations "
        f"WHERE version = {TODAY + 1} AND applied_at IS NOT NULL"
    ) == [("flavour", "additive", hashlib.sha256(text.encode()).hexdigest())]


def test_pending_steps_run_in_order(database: Database, versions: Versions) -> None:
    use(database)
    with versions.having(flavour=FLAVOUR, sweet=SWEET, loud=LOUD):
        database.open(initialize=True).close()
    assert applied(database)[TODAY:] == [
        (TODAY + 1, "flavour", "additive"),
        (TODAY + 2, "sweet", "additive"),
        (TODAY + 3, "loud", "breaking"),
    ]
    assert database.ask("SELECT status, flavour, sour FROM {schema}.agent_runs") == [
        ("PENDING", "sweet", "no")
    ]


def test_only_missing_steps_run(database: Database, versions: Versions) -> None:
    with versions.having(flavour=FLAVOUR):
        use(database)
    with versions.having(flavour=FLAVOUR, sweet=SWEET):
        database.open().close()
    assert [step[0] for step in applied(database)] == list(range(1, TODAY + 3))


def test_a_failed_step_is_rolled_back(database: Database, versions: Versions) -> None:
    """Earlier steps stay: each step is a transaction of its own."""
    use(database)
    with versions.having(flavour=FLAVOUR):
        database.open().close()
    before = database.catalog(), applied(database)
    with versions.having(flavour=FLAVOUR, wrong=WRONG), pytest.raises(PersistenceError):
        database.open()
    assert (database.catalog(), applied(database)) == before
    with database.open() as persistence:
        assert len(persistence.get_agent_runs()) == 1


@pytest.mark.parametrize("read_only", [False, True])
def test_a_newer_database_with_additive_steps_is_used(
    database: Database, versions: Versions, read_only: bool
) -> None:
    with versions.having(flavour=FLAVOUR, sweet=SWEET):
        use(database)
    before = database.catalog()
    with database.open(read_only=read_only) as persistence:
        assert persistence.schema_version() == TODAY + 2
        assert len(persistence.get_agent_run_events("old")) == 1
        assert {check.level for check in persistence.diagnose() if check.name == "schema"} == {"ok"}
        if not read_only:
            persistence.create_agent_run(AgentRun("agent", "another"))
            persistence.update_agent_run("old", AgentRun("agent", "old", status="completed"))
            assert len(persistence.get_agent_runs()) == 2
    assert database.catalog() == before


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("later", [{}, {"sweet": SWEET}], ids=["newest", "followed by additive"])
def test_a_newer_database_with_a_breaking_step_is_refused(
    database: Database, versions: Versions, read_only: bool, later: dict[str, str]
) -> None:
    with versions.having(flavour=FLAVOUR, loud=LOUD, **later):
        database.open().close()
    before = database.state()
    with pytest.raises(SchemaMismatchError) as caught:
        database.open(read_only=read_only)
    error = caught.value
    assert (error.found, error.wanted) == (str(TODAY + 2), str(TODAY))
    assert f"schema version {TODAY + 2} (loud)" in str(error)
    assert f"works with up to {TODAY}" in str(error)
    assert error.command == "pip install --upgrade curio-persistence"
    assert error.command in str(error)
    assert database.state() == before


def test_an_older_database_opened_read_only_is_refused_with_a_command(
    database: Database, versions: Versions
) -> None:
    use(database)
    before = database.state()
    with versions.having(flavour=FLAVOUR):
        with pytest.raises(SchemaMismatchError) as caught:
            database.open(read_only=True)
        error = caught.value
        assert (error.found, error.wanted) == (str(TODAY), str(TODAY + 1))
        assert f"has schema version {TODAY}" in str(error)
        assert f"works with {TODAY + 1}" in str(error)
        assert error.command is not None
        assert error.command.startswith("curio-persistence migrate ")
        assert error.command in str(error)
        assert database.state() == before
        database.open().close()
        with database.open(read_only=True) as persistence:
            assert len(persistence.get_agent_runs()) == 1


@pytest.mark.parametrize(
    "options", [{"read_only": True}, {"initialize": False}], ids=["read-only", "not initialized"]
)
def test_reading_creates_no_tables(database: Database, options: dict[str, bool]) -> None:
    def read() -> None:
        with database.open(**options) as persistence:
            assert persistence.schema_version() == 0
            persistence.get_agent_runs()

    with pytest.raises((SchemaMismatchError, NotFoundError), match="curio-persistence migrate"):
        read()
    assert database.is_untouched()


def test_without_initializing_an_older_database_stays_old(
    database: Database, versions: Versions
) -> None:
    use(database)
    before = database.catalog(), applied(database)
    with versions.having(flavour=FLAVOUR), database.open(initialize=False) as persistence:
        assert len(persistence.get_agent_runs()) == 1
        assert persistence.schema_version() == TODAY
        assert (database.catalog(), applied(database)) == before
        persistence.initialize_schema()
        assert persistence.schema_version() == TODAY + 1


def test_a_database_without_a_column_is_refused_with_its_name(database: Database) -> None:
    use(database)
    database.run("ALTER TABLE {schema}.agent_runs DROP COLUMN execution_history")
    before = database.state()
    with pytest.raises(SchemaMismatchError, match=r"lacks agent_runs\.execution_history") as caught:
        database.open()
    assert "agent_runs.execution_history" in caught.value.found
    assert database.state() == before


def test_an_older_program_works_while_a_newer_one_extends_its_tables(
    database: Database, versions: Versions
) -> None:
    use(database)
    with database.open() as older:
        assert len(older.get_agent_runs()) == 1
        with versions.having(flavour=FLAVOUR):
            database.open().close()
        older.create_agent_run(AgentRun("agent", "another"))
        assert [run.run_id for run in older.get_agent_runs()] == ["another", "old"]


def test_a_file_without_tables_is_treated_as_missing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("empty") / "agents.db"
    path.touch()
    store = SQLiteStore(path)
    store.initialize()
    assert store.schema_version() == TODAY
    store.close()


def test_a_backup_of_an_older_version_is_restored_and_migrated(
    versions: Versions, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'restored.db'}"
    with SQLitePersistence(tmp_path / "agents.db") as old:
        old.create_agent_run(AgentRun("agent", "run"))
        path = old.backup(tmp_path / "backup.db").path
    with versions.having(flavour=FLAVOUR), SQLitePersistence(tmp_path / "agents.db") as new:
        with pytest.raises(InvalidValueError, match=r"older version.*restore it into a new file"):
            new.verify(path)
        restore_backup(path, url)
        with connect(url) as restored:
            assert restored.schema_version() == TODAY + 1
        assert new.verify(url).compared == 1
