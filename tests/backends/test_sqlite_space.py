"""An expiry returns the space of what it deleted to the disk."""

from __future__ import annotations

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
