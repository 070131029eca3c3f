"""The settings and the name of a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from curio_persistence import AgentRun, ConfigurationError, SQLitePersistence
from curio_persistence.backends.sqlite.store import SQLiteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agents.db"


@contextmanager
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def settings(persistence: SQLitePersistence, pragma: str) -> tuple[object, object]:
    """Return a setting of the writer's connection and of a reader's."""
    assert isinstance(persistence._store, SQLiteStore)
    question = f"PRAGMA {pragma}"
    with persistence.transaction():
        writers = persistence._store._read(question, ())
    return writers[0][0], persistence._store._read(question, ())[0][0]


def test_a_new_file_is_in_wal_mode_and_can_return_space(path: Path) -> None:
    SQLitePersistence(path).close()
    with raw(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)


def test_an_empty_file_is_like_a_new_one(path: Path) -> None:
    path.touch()
    SQLitePersistence(path).close()
    with raw(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)


@pytest.mark.parametrize("db_path", ["agents.db", ":memory:"])
def test_foreign_keys_are_enforced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, db_path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with SQLitePersistence(db_path) as persistence:
        assert settings(persistence, "foreign_keys") == (1, 1)


@pytest.mark.parametrize(("durability", "level"), [("normal", 1), ("full", 2)])
def test_durability_sets_how_often_sqlite_waits_for_the_disk(
    path: Path, durability: str, level: int
) -> None:
    with SQLitePersistence(path, durability=durability) as persistence:  # type: ignore[arg-type]
        assert settings(persistence, "synchronous") == (level, level)


@pytest.mark.parametrize("durability", ["", "FULL", "off", None, 2])
def test_an_unknown_durability_is_refused(path: Path, durability: object) -> None:
    with pytest.raises(ConfigurationError, match="durability is 'normal' or 'full'"):
        SQLitePersistence(path, durability=durability)  # type: ignore[arg-type]
    assert not path.exists()


def test_a_reader_cannot_write(path: Path) -> None:
    with SQLitePersistence(path) as persistence:
        assert settings(persistence, "query_only") == (0, 1)


@pytest.mark.parametrize(
    "name", ["a?b#c%41&d.db", "ünïcode ☃.db", 'it\'s "quoted".db', "-rf", "new\nline.db", "x.db;y"]
)
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    with SQLitePersistence(tmp_path / name) as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
        assert persistence.get_agent_run("run") is not None
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_relative_path_refers_to_the_folder_at_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later threads and connections find the same file."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with SQLitePersistence("agents.db") as persistence:
        monkeypatch.chdir("elsewhere")
        persistence.create_agent_run(AgentRun("agent", "run"))
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(persistence.get_agent_run, "run").result() is not None
    assert (tmp_path / "agents.db").exists()
    assert not any(Path.cwd().iterdir())


def test_a_path_may_begin_with_the_home_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    SQLitePersistence("~/agents.db").close()
    assert (tmp_path / "agents.db").exists()


def test_a_link_is_followed_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "data" / "agents.db")
    with (
        SQLitePersistence(link) as persistence,
        SQLitePersistence(tmp_path / "data" / "agents.db") as same,
    ):
        persistence.create_agent_run(AgentRun("agent", "run"))
        assert same.get_agent_run("run") is not None


def test_two_memory_databases_are_separate() -> None:
    with SQLitePersistence(":memory:") as one, SQLitePersistence(":memory:") as other:
        one.create_agent_run(AgentRun("agent", "run"))
        assert other.get_agent_run("run") is None


def test_threads_share_a_memory_database() -> None:
    with SQLitePersistence(":memory:") as persistence, ThreadPoolExecutor(4) as pool:
        for number in range(20):
            pool.submit(persistence.create_agent_run, AgentRun("agent", f"run {number}")).result()
        assert pool.submit(lambda: len(persistence.get_agent_runs(limit=None))).result() == 20
