"""A killed import is completed by the next one."""

from __future__ import annotations

from pathlib import Path

import pytest

from curio_persistence import SQLitePersistence, import_agdd
from tests.support import soak
from tests.support.children import Child
from tests.support.run_folders import RunFolder

pytestmark = pytest.mark.slow

IMPORT = """
persistence = SQLitePersistence(sys.argv[1])
print("opened", flush=True)
import_agdd(sys.argv[2], persistence, progress=lambda done, total: print(done, flush=True))
"""
RUNS, STEPS = 20, 300


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(RUNS):
        run = RunFolder(tmp_path / "agents", f"run-{number}")
        run.start()
        for step in range(STEPS):
            run.log("step", {"step": step})
        run.log("end", {"status": "success"})
        run.summary()
    return tmp_path / "agents"


def told(persistence: SQLitePersistence) -> list[tuple[object, ...]]:
    runs = [
        (run.run_id, run.agent_id, run.status, run.created_at, run.finished_at, run.metadata)
        for run in persistence.iter_agent_runs(order="oldest")
    ]
    events = [
        (event.event_id, event.agent_id, event.timestamp, event.event_type, event.data)
        for event in persistence.iter_agent_run_events()
    ]
    return sorted([*runs, *events], key=str)


def test_a_killed_import_is_completed_by_the_next(tmp_path: Path, root: Path) -> None:
    with SQLitePersistence(":memory:") as whole:
        import_agdd(root, whole)
        expected = told(whole)
    for number in soak.times(3):
        path = tmp_path / f"{number}.db"
        with Child(IMPORT, path, root) as child:
            for _ in range(1 + number % 3):
                child.read()
            child.kill()
        with SQLitePersistence(path) as persistence:
            assert len(told(persistence)) < len(expected)
            assert import_agdd(root, persistence).ok
            assert told(persistence) == expected
