"""An expiry returns the space of what it deleted to the disk."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from curio_persistence import AgentRun, AgentRunEvent, SQLitePersistence

RUNS, EVENTS = 200, 50


def test_the_file_becomes_smaller_when_half_of_it_expires(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    now = datetime.now(UTC)
    with SQLitePersistence(path) as persistence:
        for number in range(RUNS):
            end = now - timedelta(days=100 if number < RUNS // 2 else 1)
            name = f"run-{number}"
            persistence.create_agent_run(
                AgentRun("agent", name, status="completed", created_at=end, finished_at=end)
            )
            persistence.log_agent_run_events(
                AgentRunEvent("agent", name, event_type="log", timestamp=end, data="words " * 100)
                for _ in range(EVENTS)
            )
    full = path.stat().st_size
    with SQLitePersistence(path) as persistence:
        report = persistence.lifecycle.expire("90d", pace=1)
        assert report.events == RUNS // 2 * EVENTS
    half = path.stat().st_size
    assert half < 0.58 * full
    assert report.bytes_freed == pytest.approx(full - half, rel=0.01)
    with SQLitePersistence(path) as persistence:
        assert [check.level for check in persistence.diagnose(deep=True)].count("error") == 0
        assert persistence.lifecycle.expire("90d", pace=1).bytes_freed == 0


def test_space_comes_back_in_the_pauses(tmp_path: Path) -> None:
    """Long before the end, and never for longer than a pause lasts."""
    path = tmp_path / "runs.db"
    end = datetime.now(UTC) - timedelta(days=100)
    with SQLitePersistence(path) as persistence:
        persistence.create_agent_run(
            AgentRun("agent", "new", status="completed", finished_at=datetime.now(UTC))
        )
        for number in range(RUNS):
            name = f"run-{number}"
            persistence.create_agent_run(
                AgentRun("agent", name, status="completed", created_at=end, finished_at=end)
            )
            persistence.log_agent_run_events(
                AgentRunEvent("agent", name, event_type="log", timestamp=end, data="words " * 100)
                for _ in range(EVENTS)
            )
        pages = [persistence._store._space().pages]  # type: ignore[attr-defined]

        def progress(done: int, total: int | None) -> None:
            pages.append(persistence._store._space().pages)  # type: ignore[attr-defined]

        report = persistence.lifecycle.expire("90d", pace=0.5, progress=progress)
    assert report.runs == RUNS
    assert pages[RUNS // 2] < 0.8 * pages[0]
    assert report.bytes_freed > 0.9 * path.stat().st_size


def test_a_day_of_records_finds_room(tmp_path: Path) -> None:
    """Where runs are kept for some days only, more of the file stays for the next ones."""
    with SQLitePersistence(tmp_path / "runs.db") as persistence:
        left = [
            persistence.lifecycle._share_left(datetime.now(UTC) - timedelta(days=days))
            for days in (0, 1, 20, 90, 4_000)
        ]
    assert left == pytest.approx([0.1, 0.1, 0.05, 0.02, 0.02])


def test_an_old_file_that_cannot_shrink_says_what_helps(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("CREATE TABLE of_another_program (a)")
    end = datetime.now(UTC) - timedelta(days=100)
    with SQLitePersistence(path) as persistence:
        persistence.create_agent_run(
            AgentRun("agent", "old", status="completed", created_at=end, finished_at=end)
        )
        report = persistence.lifecycle.expire("90d", pace=1)
    assert report.advice == (
        "This file keeps its size until it is compacted: curio-persistence compact --db-path "
        f"{path}"
    )


def test_compact_erases_the_words_of_expired_records(tmp_path: Path) -> None:
    """An expiry leaves them in the search index, where they are found no more."""
    path = tmp_path / "runs.db"
    end = datetime.now(UTC) - timedelta(days=100)
    with SQLitePersistence(path) as persistence:
        for name in ("expired", "kept"):
            persistence.create_agent_run(
                AgentRun(
                    "agent",
                    name,
                    status="completed",
                    created_at=end,
                    finished_at=end if name == "expired" else None,
                )
            )
            persistence.append_event(name, "agent", "log", payload=f"xylophone{name}")
        assert len(persistence.search_text("xylophoneexpired")) == 1
        assert persistence.lifecycle.expire("90d", pace=1).runs == 1
        assert len(persistence.search_text("xylophoneexpired")) == 0
        persistence.compact()
        assert len(persistence.search_text("xylophonekept")) == 1
    stored = path.read_bytes()
    assert b"xylophonekept" in stored
    assert b"xylophoneexpired" not in stored
