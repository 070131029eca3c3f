"""The comparison with other packages, without installing them. Times are not checked."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers.crew import Peer, PeerError
from benchmarks.peers.measure import check_durability
from benchmarks.peers.sides import SIDES
from benchmarks.peers.worker import Worker

ROOT = Path(__file__).parents[2]
TINY = (
    "--repetitions=1",
    "--written-to=1000",
    "--listed=1000",
    "--usage-rows=1000",
    "--singles=20",
    "--in-hundreds=200",
    "--in-thousands=1000",
)


def compare(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "peers", f"--directory={folder}", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.thorough
@pytest.mark.slow
def test_the_package_is_compared_with_the_bare_driver(tmp_path: Path) -> None:
    """Covers every table, with the same results; afterwards only the page is left."""
    page = tmp_path / "page.md"
    done = compare("ours", *TINY, f"--output={page}", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    tables = done.stdout.split("## ")[1:]
    assert len(tables) == 8
    for table in tables:
        lines = [line.split("|")[1].strip() for line in table.splitlines() if line[:1] == "|"]
        both = ["bare driver", "curio_persistence"]
        assert lines[2:] == (both[1:] if "with a word" in table else both)
    text = page.read_text("utf-8")
    assert done.stdout.strip() in text
    assert "### curio_persistence" in text
    assert list(tmp_path.iterdir()) == [page]


def test_an_unknown_side_is_refused_with_the_known_names(tmp_path: Path) -> None:
    done = compare("sqlalchmy-core", folder=tmp_path)
    assert done.returncode == 2
    assert "no side sqlalchmy-core" in done.stderr
    assert "sqlalchemy-core" in done.stderr


def test_the_bare_driver_stores_the_rows_that_the_side_has_stored(tmp_path: Path) -> None:
    """Stores one by one and in batches, with the same ids, so that both files grow alike."""
    worker = Worker("ours", tmp_path)
    worker.make("written", 1000)
    worker.start_writing("written", 1000)
    for each in (1, 100):
        worker.write(200, each)
        worker.replay(each)
    worker.close()
    own, twin = (_events(tmp_path / f"ours-{file}.db") for file in ("own", "twin"))
    assert len(own) == 1400
    assert own == twin


@pytest.mark.parametrize("setting", [{"synchronous": 0}, {"journal_mode": "delete"}])
def test_a_side_that_is_not_as_durable_is_not_compared(setting: dict[str, Any]) -> None:
    equal = {"journal_mode": "wal", "synchronous": 1}
    check_durability({"ours": {"settings": equal}})
    with pytest.raises(RuntimeError, match="theirs is not as durable"):
        check_durability(
            {"ours": {"settings": equal}, "theirs": {"settings": {**equal, **setting}}}
        )


def test_a_failure_in_another_process_is_reported_with_its_traceback(tmp_path: Path) -> None:
    with Peer("ours", tmp_path) as peer:
        with pytest.raises(PeerError, match=r"(?s)ours failed.*Traceback.*fly"):
            peer.ask("fly")
        assert peer.ask("introduce")["title"] == "curio_persistence"


def test_a_process_that_cannot_start_is_reported_with_its_last_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SIDES, "nobody", "nowhere.Nobody")  # In this process only.
    with Peer("nobody", tmp_path) as peer, pytest.raises(PeerError, match=r"(?s)ended.*KeyError"):
        peer.ask("introduce")


def _events(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM agent_run_events ORDER BY id").fetchall()
