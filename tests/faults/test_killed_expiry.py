"""A killed expiry is completed by the next: nothing is lost, and nothing is counted twice."""

from __future__ import annotations

import random
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    Persistence,
    archive_runs,
    connect,
    restore_runs,
)
from curio_persistence.clock import Clock, utc_now
from curio_persistence.tables import TOMBSTONES
from tests.support import soak
from tests.support.backends import chosen
from tests.support.children import Child

pytestmark = pytest.mark.slow

KILLS = 5 * soak.FACTOR
RUNS = 400
EXPIRY = """
from datetime import timedelta
from curio_persistence.clock import Clock, utc_now
later = timedelta(seconds=int(sys.argv[2]))
with connect(sys.argv[1]) as persistence:
    persistence.clock = Clock(lambda: utc_now() + later)
    print("begun", flush=True)
    persistence.lifecycle.expire("90d", pace=1)
"""


@pytest.fixture(params=chosen("sqlite", "postgres18"))
def url(request: pytest.FixtureRequest, tmp_path: Path, schema_name: str) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'runs.db'}"
    return f"{request.getfixturevalue(request.param)}&schema={schema_name}"


def fill(persistence: Persistence) -> None:
    """Store trees of three runs each, a quarter of them new, and one tree with many events."""
    now = utc_now()
    runs, events, calls = [], [], []
    for number in range(RUNS):
        end = now - timedelta(days=1 if number % 4 == 0 else 100)
        for name, parent in ((f"{number}", None), (f"{number} a", f"{number}")):
            runs.append(
                AgentRun(
                    "agent",
                    name,
                    status="completed",
                    parent_run_id=parent,
                    created_at=end,
                    finished_at=end,
                )
            )
            for _ in range(1_000 if number == 1 else random.randrange(6)):
                events.append(
                    AgentRunEvent(
                        "agent",
                        name,
                        event_type="tool_call",
                        timestamp=end,
                        data={"tool": "search"},
                    )
                )
            calls.append(
                AgentLLMUsage("agent", name, model="m", input_tokens=3, cost_usd=1, created_at=end)
            )
    persistence.create_agent_runs(runs)
    persistence.log_agent_run_events(events)
    persistence.log_llm_usages(calls)


def totals(persistence: Persistence) -> dict[str, Any]:
    return persistence.get_agent_run_stats() | {"latency_percentiles": None}


def test_a_killed_expiry_is_completed_by_the_next(url: str) -> None:
    with connect(url) as persistence:
        fill(persistence)
        before = totals(persistence)
        kept = persistence.count_events(since="50d")
        for attempt in range(KILLS):
            # The lease of the last one has ended by then.
            with Child(EXPIRY, url, str(attempt * 31)) as expiry:
                assert expiry.read() == "begun"
                time.sleep(random.uniform(0.005, 0.1))
            assert totals(persistence) == before
            _check_that_trees_are_whole(persistence)
        persistence.clock = Clock(lambda: utc_now() + timedelta(seconds=KILLS * 31))
        persistence.lifecycle.expire("90d", pace=1)
        assert totals(persistence) == before
        assert persistence.count_agent_runs() == RUNS // 4 * 2
        assert persistence.count_events() == kept
        assert persistence.count_llm_usage() == RUNS // 4 * 2
        stones = [
            stone.run_id for stone in TOMBSTONES.decode(persistence._store.select(TOMBSTONES))
        ]
        assert len(stones) == len(set(stones)) == RUNS // 4 * 3 * 2


ARCHIVE = """
from datetime import timedelta
import obstore.store, pyarrow.compute, pyarrow.csv, pyarrow.parquet
import curio_persistence.archive
from curio_persistence.capabilities import lifecycle
from curio_persistence.clock import Clock, utc_now
lifecycle._ARCHIVED = 100  # So that there are many steps to be killed in.
later = timedelta(seconds=int(sys.argv[2]))
with connect(sys.argv[1]) as persistence:
    persistence.clock = Clock(lambda: utc_now() + later)
    print("begun", flush=True)
    archive_runs(persistence, sys.argv[3], older_than="90d", pace=1)
"""


@pytest.mark.thorough
def test_a_killed_archiver_is_completed_by_the_next(url: str, tmp_path: Path) -> None:
    place = tmp_path / "archive"
    with connect(url) as persistence:
        fill(persistence)
        before = totals(persistence)
        old = [run.run_id for run in persistence.iter_agent_runs(until="50d")]
        hashes = sorted(persistence.runs.hashes(old))
        for attempt in range(KILLS):
            with Child(ARCHIVE, url, str(attempt * 31), place) as archiver:
                assert archiver.read() == "begun"
                time.sleep(random.uniform(0.005, 0.5))
            assert totals(persistence) == before
        persistence.clock = Clock(lambda: utc_now() + timedelta(seconds=KILLS * 31))
        archive_runs(persistence, place, older_than="90d", pace=1)
        assert persistence.count_agent_runs() == RUNS // 4 * 2
        report = restore_runs(persistence, place, old)
        assert report.runs == len(old)
        assert sorted(persistence.runs.hashes(old)) == hashes
        assert totals(persistence) == before


def _check_that_trees_are_whole(persistence: Persistence) -> None:
    """Each stored run has its child or its parent."""
    stored = {run.run_id for run in persistence.iter_agent_runs()}
    assert {name.removesuffix(" a") for name in stored} <= stored
    assert all(f"{name} a" in stored for name in stored if not name.endswith(" a"))
