"""Files that are not databases, belong to other programs, or may not be read or written."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from curio_persistence import (
    AccessDeniedError,
    AgentRun,
    ConfigurationError,
    CorruptDatabaseError,
    NotFoundError,
    PersistenceError,
    SchemaMismatchError,
    SQLitePersistence,
    connect,
)
from tests.support.children import Child


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with its problem."""
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("text.db").write_text("This is not a database, and too long to be an empty one.\n" * 20)
    Path("short.db").write_text("SQLite format 3")
    Path("empty.db").touch()
    os.mkfifo("pipe.db")
    SQLitePersistence("good.db").close()
    Path("cut.db").write_bytes(Path("good.db").read_bytes()[:6000])
    return tmp_path


def contents(folder: Path) -> dict[str, object]:
    """Return every file with its contents."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else path.lstat().st_mode
        for path in folder.rglob("*")
    }


IMPOSSIBLE = [
    ("folder", ConfigurationError, "is a folder; name a file in it"),
    ("", ConfigurationError, "is a folder; name a file in it"),
    ("text.db/agents.db", ConfigurationError, "Not a directory"),
    ("pipe.db", ConfigurationError, "is not an ordinary file"),
    ("x" * 300, ConfigurationError, "File name too long"),
    ("nul\0.db", ConfigurationError, "contains NUL"),
    ("~nobody-of-this-name/agents.db", ConfigurationError, "names no file"),
    (None, ConfigurationError, "names no file"),
    (5, ConfigurationError, "names no file"),
    (b"agents.db", ConfigurationError, "names no file"),
    ("text.db", CorruptDatabaseError, "not a SQLite database"),
    ("short.db", CorruptDatabaseError, "not a SQLite database"),
    ("cut.db", CorruptDatabaseError, "damaged"),
]


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(("db_path", "kind", "says"), IMPOSSIBLE)
def test_a_file_that_is_not_a_database_is_refused_and_not_changed(
    folder: Path, db_path: str, kind: type[PersistenceError], says: str, read_only: bool
) -> None:
    before = contents(folder)
    with pytest.raises(kind, match=says) as caught:
        SQLitePersistence(db_path, read_only=read_only)
    assert type(caught.value) is kind
    assert contents(folder) == before


def test_a_relative_path_from_a_deleted_folder_is_refused(folder: Path) -> None:
    gone = folder / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigurationError, match="names no file"):
        SQLitePersistence("agents.db")


@pytest.mark.parametrize("db_path", ["missing.db", "missing/agents.db", "empty.db"])
@pytest.mark.parametrize("options", [{"read_only": True}, {"initialize": False}])
def test_reading_creates_neither_file_nor_table(
    folder: Path, db_path: str, options: dict[str, bool]
) -> None:
    before = contents(folder)

    def use() -> None:
        with SQLitePersistence(db_path, **options) as persistence:  # type: ignore[arg-type]
            assert not persistence.health_check()
            persistence.get_agent_run("run")

    with pytest.raises((NotFoundError, ConfigurationError, SchemaMismatchError)):
        use()
    assert contents(folder) == before


@pytest.mark.parametrize("call", ["create", "delete", "update"])
def test_without_initializing_a_write_creates_no_file_either(folder: Path, call: str) -> None:
    run = AgentRun("agent", "run")
    with SQLitePersistence("missing.db", initialize=False) as persistence:
        calls = {
            "create": lambda: persistence.create_agent_run(run),
            "delete": lambda: persistence.delete_agent_run("run"),
            "update": lambda: persistence.update_agent_run("run", run),
        }
        with pytest.raises(NotFoundError, match=r"curio-persistence migrate --db-path missing\.db"):
            calls[call]()
    assert not Path("missing.db").exists()


def test_a_missing_file_may_be_created_later(folder: Path) -> None:
    with SQLitePersistence("later.db", initialize=False) as early:
        assert not early.health_check()
        with SQLitePersistence("later.db") as persistence:
            persistence.create_agent_run(AgentRun("agent", "run"))
        assert early.get_agent_run("run") is not None
        early.update_agent_run("run", AgentRun("agent", "run", status="completed"))


def test_the_error_for_an_empty_file_names_the_command(folder: Path) -> None:
    with pytest.raises(SchemaMismatchError) as caught:
        connect("sqlite:///empty.db", read_only=True)
    assert caught.value.command == "curio-persistence migrate --db-path empty.db"


def test_opened_read_only_it_refuses_every_write(folder: Path) -> None:
    before = contents(folder)
    run = AgentRun("agent", "run")
    with SQLitePersistence("good.db", read_only=True) as persistence:
        for write in (
            lambda: persistence.create_agent_run(run),
            lambda: persistence.update_agent_run("run", run),
            lambda: persistence.delete_agent_run("run"),
            lambda: persistence.transaction().__enter__(),
        ):
            with pytest.raises(AccessDeniedError, match="opened read-only"):
                write()
        assert persistence.get_agent_runs() == []
    assert contents(folder) == before


def test_damage_found_while_reading_is_an_error_not_an_empty_list(folder: Path) -> None:
    with SQLitePersistence("good.db") as persistence:
        for number in range(200):
            persistence.create_agent_run(AgentRun("agent", f"run {number}", objective="x" * 500))
    content = bytearray(Path("good.db").read_bytes())
    for page in range(len(content) // 4096 - 20, len(content) // 4096):
        content[page * 4096 : page * 4096 + 100] = b"\xff" * 100
    Path("good.db").write_bytes(content)
    with SQLitePersistence("good.db", read_only=True) as persistence:
        with pytest.raises(CorruptDatabaseError, match=r"good\.db is damaged"):
            persistence.get_agent_runs(limit=None)
        assert not persistence.health_check()
        assert "error" in {check.level for check in persistence._store.diagnose()}


# --- permissions ------------------------------------------------------------------------------

REPORT = """
def attempt(name, call):
    try:
        print(name, "ok", call(), flush=True)
    except PersistenceError as error:
        print(name, type(error).__name__, error, flush=True)

path = sys.argv[1]
options = dict(option.split("=") for option in sys.argv[2:])
try:
    persistence = SQLitePersistence(path, **{name: value == "1" for name, value in options.items()})
except PersistenceError as error:
    print("open", type(error).__name__, error, flush=True)
else:
    attempt("read", lambda: len(persistence.get_agent_runs(limit=None)))
    attempt("write", lambda: persistence.create_agent_run(AgentRun("nobody", "of-nobody")))
    attempt("transaction", lambda: persistence.delete_agent_run("run"))
    for line in sys.stdin:
        attempt("read", lambda: len(persistence.get_agent_runs(limit=None)))
"""


CHECK_UP = """
import sys
from curio_persistence import SQLitePersistence
with SQLitePersistence(sys.argv[1], read_only=True) as persistence:
    found = {check.name: check for check in persistence.diagnose()}
print(found["journal"].level, found["journal"].message)
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user can read; pytest's own folders are private."""
    folder = Path(tempfile.mkdtemp(prefix="curio-rights-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o700)
    shutil.rmtree(folder)


@pytest.fixture
def database(public: Path) -> Path:
    path = public / "agents.db"
    with SQLitePersistence(path) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
    return path


def outcome(path: Path, *options: str) -> dict[str, str]:
    """Return the results of calls by a user without permissions."""
    with Child(REPORT, path, *options, as_nobody=True) as child:
        said = child.finish()
    return {line.partition(" ")[0]: line.partition(" ")[2] for line in said.splitlines()}


def test_a_file_without_the_right_to_write_can_be_read(database: Path) -> None:
    database.chmod(0o444)
    database.parent.chmod(0o777)
    found = outcome(database)
    assert found["read"] == "ok 1"
    assert found["write"].startswith("AccessDeniedError The database")
    assert "rights of the file" in found["write"]
    assert found["transaction"].startswith("AccessDeniedError")


def test_a_folder_without_the_right_to_write_can_be_read_from(database: Path) -> None:
    database.chmod(0o444)
    database.parent.chmod(0o555)
    found = outcome(database, "read_only=1")
    assert found["read"] == "ok 1"
    assert "was opened read-only" in found["write"]
    assert [file.name for file in database.parent.iterdir()] == [database.name]


def test_the_health_check_without_the_right_to_write_reports_the_log(database: Path) -> None:
    database.chmod(0o444)
    database.parent.chmod(0o555)
    with Child(CHECK_UP, database, as_nobody=True) as child:
        assert child.finish().strip() == "ok write-ahead log, 0.0 MB"


def test_an_error_names_a_folder_without_the_right_to_write(database: Path) -> None:
    database.chmod(0o666)
    database.parent.chmod(0o555)
    found = outcome(database)
    said = found.get("open") or found["write"]
    assert said.startswith("AccessDeniedError")
    assert "folder" in said


def test_a_reader_without_rights_sees_later_writes_of_others(database: Path) -> None:
    """Holds even if the file was opened as immutable, because it had no write-ahead log."""
    database.chmod(0o644)
    database.parent.chmod(0o755)
    with Child(REPORT, database, "read_only=1", as_nobody=True) as child:
        assert child.read() == "read ok 1"
        child.read(), child.read()
        with SQLitePersistence(database) as persistence:
            for number in range(50):
                persistence.create_agent_run(AgentRun("agent", f"later {number}"))
            child.write()
            assert child.read() == "read ok 51"
        child.write()
        assert child.read() == "read ok 51"
        with SQLitePersistence(database) as persistence:
            persistence.delete_agent_run("run")
        child.write()
        assert child.read() == "read ok 50"


def test_an_error_names_a_file_without_the_right_to_read(database: Path) -> None:
    database.chmod(0o000)
    for options in ([], ["read_only=1"]):
        said = outcome(database, *options)["open"]
        assert said.startswith("AccessDeniedError")
        assert "rights of the file" in said


def test_an_error_names_a_folder_that_may_not_be_entered(database: Path) -> None:
    database.parent.chmod(0o000)
    for options in ([], ["read_only=1"]):
        said = outcome(database, *options)["open"]
        assert said.startswith("AccessDeniedError")
        assert f"rights of the folder {database.parent}" in said


def test_an_error_names_a_file_that_may_not_be_created(public: Path) -> None:
    public.chmod(0o555)
    said = outcome(public / "new.db")["open"]
    assert said.startswith("AccessDeniedError")
    assert f"rights of the folder {public}" in said
    assert not any(public.iterdir())


def test_a_file_is_created_with_the_permissions_of_the_umask(public: Path) -> None:
    before = os.umask(0o077)
    try:
        with SQLitePersistence(public / "agents.db") as persistence:
            persistence.create_agent_run(AgentRun("agent", "run"))
            modes = {stat.S_IMODE(file.stat().st_mode) for file in public.iterdir()}
    finally:
        os.umask(before)
    assert modes == {0o600}


def test_a_log_left_by_a_crash_is_not_ignored(database: Path) -> None:
    """It must be read first; a reader without the rights for that gets an error, not stale data."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE agent_runs SET status = 'completed'")
        connection.commit()
        log = database.with_name(f"{database.name}-wal").read_bytes()
    database.with_name(f"{database.name}-wal").write_bytes(log)
    assert_unreadable_for_others(database)


def test_a_journal_left_by_a_crash_is_not_ignored(database: Path) -> None:
    """The file may then contain data that was never committed."""
    with SQLitePersistence(database) as persistence, persistence.transaction():
        for number in range(100):
            persistence.create_agent_run(AgentRun("agent", str(number), objective="x" * 1000))
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.execute("UPDATE agent_runs SET objective = upper(objective)")
        journal = database.with_name(f"{database.name}-journal").read_bytes()
        half_written = database.read_bytes()
        connection.execute("ROLLBACK")
        assert database.read_bytes() != half_written
    database.write_bytes(half_written)
    database.with_name(f"{database.name}-journal").write_bytes(journal)
    assert_unreadable_for_others(database)


def assert_unreadable_for_others(database: Path) -> None:
    database.chmod(0o444)
    database.parent.chmod(0o555)
    assert outcome(database, "read_only=1")["open"].startswith("AccessDeniedError")


def test_a_missing_folder_is_created_by_writers_and_not_by_readers(folder: Path) -> None:
    with pytest.raises(ConfigurationError):
        SQLitePersistence("data/deep/agents.db", read_only=True)
    with pytest.raises(ConfigurationError, match="does not exist; create it first"):
        SQLitePersistence("data/deep/agents.db", initialize=False).get_agent_runs()
    assert not Path("data").exists()
    with SQLitePersistence("data/deep/agents.db") as persistence:
        assert persistence.get_agent_runs() == []
    assert Path("data/deep/agents.db").is_file()
