"""Backups in an object store, by the S3 protocol: whole or not there, and clear errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from curio_persistence import (
    AccessDeniedError,
    AgentRun,
    AgentRunEvent,
    CorruptDatabaseError,
    InvalidValueError,
    NotFoundError,
    SQLitePersistence,
    UnavailableError,
    restore_backup,
)
from curio_persistence.backups import files
from curio_persistence.places import Place
from tests.support.children import Child
from tests.support.object_store import ENVIRONMENT, object_store

pytestmark = [pytest.mark.thorough, pytest.mark.slow]

BACK_UP = """
from curio_persistence.places import Place

class Dying(Place):
    def put_file(self, path, file):
        if sys.argv[3] == "before":
            print("now", flush=True), input()
        super().put_file(path, file)
        print("now", flush=True), input()

from curio_persistence.backups import files
files.Place = Dying
SQLitePersistence(sys.argv[1]).backup(sys.argv[2])
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with object_store() as url:
        yield url


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": endpoint}).items():
        monkeypatch.setenv(name, value)
    return f"s3://agents/{request.node.name}"


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[SQLitePersistence]:
    """A database whose backup is stored in several parts."""
    with SQLitePersistence(tmp_path / "agents.db") as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
        persistence.log_agent_run_events(
            AgentRunEvent("agent", "run", data=f"{number} " + "x" * 3_000)
            for number in range(5_000)
        )
        yield persistence


def names(prefix: str) -> list[str]:
    return Place(prefix).names("")


def test_a_backup_goes_to_an_object_store_and_comes_back(
    filled: SQLitePersistence, s3: str, tmp_path: Path
) -> None:
    report = filled.backup(s3)
    assert report.path.startswith(f"{s3}/agents-2")
    assert report.size > 12_000_000
    assert len(names(s3)) == 2
    assert restore_backup(report.path, f"sqlite:///{tmp_path / 'restored.db'}") == report
    with SQLitePersistence(tmp_path / "restored.db") as restored:
        assert sorted(restored.runs.hashes()) == sorted(filled.runs.hashes())
    assert filled.verify(report.path).compared == 1


def test_an_object_is_not_replaced(filled: SQLitePersistence, s3: str) -> None:
    first = filled.backup(f"{s3}/agents.db")
    assert first.path == f"{s3}/agents.db"
    with pytest.raises(InvalidValueError, match="is there already"):
        filled.backup(f"{s3}/agents.db")
    assert filled.verify(first.path).ok


def test_what_is_not_there_is_told(filled: SQLitePersistence, s3: str, tmp_path: Path) -> None:
    into = f"sqlite:///{tmp_path / 'restored.db'}"
    for missing in (f"{s3}/nothing.db", "s3://no-such-bucket/nothing.db"):
        with pytest.raises(NotFoundError) as refused:
            restore_backup(missing, into)
        assert str(refused.value) == f"The backup {missing} does not exist."
    with pytest.raises(InvalidValueError, match="there is none"):
        restore_backup(s3, into)
    name = filled.backup(s3).path.rpartition("/")[2]
    with pytest.raises(InvalidValueError, match=name):
        restore_backup(s3, into)
    assert not (tmp_path / "restored.db").exists()


def test_a_missing_bucket_is_told(filled: SQLitePersistence, s3: str) -> None:
    with pytest.raises(NotFoundError) as refused:
        filled.backup("s3://no-such-bucket/backups")
    said = "s3://no-such-bucket/backups has no such bucket: make it first."
    assert str(refused.value) == said


def test_a_missing_object_is_told_in_a_sentence(s3: str) -> None:
    with pytest.raises(NotFoundError) as refused:
        Place(s3).get("nothing")
    assert str(refused.value) == f"{s3} has no such bucket or object."


def test_a_server_that_is_away_is_told(
    filled: SQLitePersistence, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_RETRIES", "0")
    with pytest.raises(UnavailableError, match="cannot be reached"):
        filled.backup(s3)


def test_wrong_credentials_are_told(
    filled: SQLitePersistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    with object_store(checks_credentials=True) as url:
        for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": url}).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(AccessDeniedError, match="AWS_ACCESS_KEY_ID") as refused:
            filled.backup("s3://agents/backups")
        assert "<" not in str(refused.value)


def test_an_object_that_changed_is_damaged(
    filled: SQLitePersistence, s3: str, tmp_path: Path
) -> None:
    report = filled.backup(s3)
    name = report.path.rpartition("/")[2]
    place = Place(s3)
    content = bytearray(place.get(name))
    content[len(content) // 2] ^= 1
    place.delete(name)
    place.put_new(name, bytes(content))
    with pytest.raises(CorruptDatabaseError, match="is damaged"):
        restore_backup(report.path, f"sqlite:///{tmp_path / 'restored.db'}")
    with pytest.raises(CorruptDatabaseError, match="is damaged"):
        filled.verify(report.path)
    assert not (tmp_path / "restored.db").exists()


def test_an_object_that_is_read_back_otherwise_is_deleted(
    filled: SQLitePersistence, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class _Damaging(Place):
        def put_file(self, path: str, file: Path) -> None:
            super().put_file(path, file)
            content = bytearray(self.get(path))
            content[len(content) // 2] ^= 1
            self.put(path, bytes(content))

    monkeypatch.setattr(files, "Place", _Damaging)
    with pytest.raises(CorruptDatabaseError, match=r"read back otherwise.*deleted again"):
        filled.backup(f"{s3}/agents.db")
    assert names(s3) == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_killed_backup_leaves_none_or_a_whole_one(
    filled: SQLitePersistence, s3: str, tmp_path: Path, when: str
) -> None:
    with Child(BACK_UP, tmp_path / "agents.db", s3, when) as child:
        child.read()
        child.kill()
    left = [name for name in names(s3) if not name.endswith(".sha256")]
    assert len(left) == (when == "after")
    for name in left:
        into = f"sqlite:///{tmp_path / 'restored.db'}"
        assert restore_backup(f"{s3}/{name}", into).sha256, "it has its hash"
    assert filled.verify(filled.backup(s3).path).ok
