"""Memory does not grow with the number of runs that a program has recorded."""

from __future__ import annotations

import gc
import tracemalloc
from contextlib import suppress
from pathlib import Path

from curio_persistence import Persistence, SQLitePersistence


def record_failures(persistence: Persistence, count: int) -> None:
    for _ in range(count):
        with suppress(ValueError), persistence.record_run(agent_id="agent") as run:
            run.log("step", {"words": "x" * 1_000})
            raise ValueError("x" * 1_000)


def test_runs_that_end_with_exceptions_leave_nothing_in_memory(tmp_path: Path) -> None:
    """Only the ids and last timestamps of a thousand runs remain: 600 bytes for each."""
    with SQLitePersistence(tmp_path / "agents.db") as persistence:
        record_failures(persistence, 50)
        gc.collect()
        tracemalloc.start()
        try:
            record_failures(persistence, 500)
            gc.collect()
            left, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert left < 500 * 700
