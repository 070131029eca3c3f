"""A check of an archive finds files that are missing, damaged, or named by no log."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from curio_persistence import (
    NotFoundError,
    Persistence,
    archive_runs,
    check_archive,
    restore_runs,
)
from tests.conformance.test_archive import files, filled, stopped

__all__ = ["filled", "stopped"]

pytestmark = pytest.mark.slow


@pytest.fixture
def archived(filled: Persistence, place: Path) -> Persistence:
    archive_runs(filled, place, older_than="90d", pace=1)
    return filled


def leave(path: Path, *, days: float) -> None:
    """Store a file that a killed program left so many days ago."""
    path.write_bytes(b"left")
    then = time.time() - days * 86_400
    os.utime(path, (then, then))


def test_a_whole_archive_is_found_in_order(archived: Persistence, place: Path) -> None:
    for deep in (False, True):
        name, level, message, _ = check_archive(archived, place, deep=deep)
        assert (name, level) == ("archive", "ok"), message
        assert f"{len(files(place))} files, all there" in message


def test_a_missing_file_is_named(archived: Persistence, place: Path) -> None:
    [path, *_] = files(place)
    path.unlink()
    found = check_archive(archived, place)
    assert (found.level, path.name in found.message) == ("error", True)
    assert "1 files are missing" in found.message
    with pytest.raises(NotFoundError):
        restore_runs(archived, place, ["old", "child"])


def test_a_damaged_file_is_named_when_it_is_read(archived: Persistence, place: Path) -> None:
    [cut, changed, *_] = files(place)
    changed.write_bytes(changed.read_bytes()[:-1] + b"X")
    assert check_archive(archived, place).level == "ok"
    found = check_archive(archived, place, deep=True)
    assert (found.level, changed.name in found.message) == ("error", True)
    cut.write_bytes(cut.read_bytes()[:-1])
    found = check_archive(archived, place)
    assert (found.level, cut.name in found.message) == ("error", True)


def test_a_damaged_log_is_an_error(archived: Persistence, place: Path) -> None:
    for path in files(place, ".json"):
        path.write_text("words")
    found = check_archive(archived, place)
    assert (found.level, "is damaged" in found.message) == ("error", True)


def test_files_in_no_log_are_named_after_a_day_and_deleted(
    archived: Persistence, place: Path
) -> None:
    [path, *_] = files(place)
    orphan, young = path.with_name("orphan.parquet"), path.with_name("young.parquet")
    leave(orphan, days=2)
    leave(young, days=0)
    found = check_archive(archived, place)
    assert (found.level, orphan.name in found.message) == ("warning", True)
    assert young.name not in found.message
    archive_runs(archived, place, older_than="90d", pace=1)
    assert check_archive(archived, place).level == "ok"
    assert (orphan.exists(), young.exists()) == (False, True)


def test_an_archive_without_this_database_is_a_warning(
    persistence: Persistence, place: Path
) -> None:
    found = check_archive(persistence, place)
    assert (found.level, "nothing of this database" in found.message) == ("warning", True)
    assert not place.exists()
