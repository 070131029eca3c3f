"""A child of a fork has none of the files of a SQLite database that its parent has open.

With one of them, SQLite would take the parent's locks for its own, and damage the database.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from curio_persistence import AgentRun, AgentRunEvent, Persistence, SQLitePersistence
from curio_persistence.errors import PersistenceError
from tests.support import soak
from tests.support.children import Fork

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

FILES = Path("/proc/self/fd")


@pytest.fixture
def persistence(tmp_path: Path) -> Persistence:
    return SQLitePersistence(tmp_path / "agents.db")


def inherited() -> list[str]:
    """Return the files of the database that this process has open."""
    links = [entry for entry in FILES.iterdir() if entry.is_symlink()]
    return [name for name in map(os.readlink, links) if "agents.db" in name]


def event(name: str = "run") -> AgentRunEvent:
    return AgentRunEvent(run_id=name, agent_id="agent", agent_name="agent", event_type="step")


def iterate(persistence: Persistence) -> object:
    stream = iter(persistence.iter_agent_run_events())
    next(stream)
    return stream


def ask(persistence: Persistence) -> object:
    return persistence.sql("SELECT * FROM events", limit=1)


def be_refused(persistence: Persistence) -> object:
    """Return an error with the frames in which it was raised."""
    persistence.create_agent_run(AgentRun(run_id="taken", agent_id="agent", agent_name="agent"))
    runs = [AgentRun(run_id=name, agent_id="a", agent_name="a") for name in ("new", "taken")]
    with pytest.raises(PersistenceError) as raised:
        persistence.create_agent_runs(runs)
    return raised.value


@pytest.mark.parametrize("use", [iterate, ask, be_refused])
def test_a_child_inherits_no_file(
    persistence: Persistence, use: Callable[[Persistence], object]
) -> None:
    with closing(persistence):
        persistence.log_agent_run_events([event() for _ in range(5_000)])
        used = use(persistence)
        assert inherited()
        assert Fork(inherited).result() == []
        del used


@pytest.mark.slow
def test_a_child_inherits_no_file_while_threads_write(tmp_path: Path) -> None:
    for number in soak.times(20):
        path = tmp_path / str(number)
        path.mkdir()
        with SQLitePersistence(path / "agents.db").buffered(max_items=9, max_seconds=0) as buffered:
            going_on = threading.Event()
            threads = [threading.Thread(target=write, args=(buffered, going_on)) for _ in range(4)]
            for thread in threads:
                thread.start()
            found = [Fork(inherited).result() for _ in range(3)]
            going_on.set()
            for thread in threads:
                thread.join()
            assert found == [[], [], []]


def write(persistence: Persistence, ended: threading.Event) -> None:
    """Log events of runs that do not exist, so that stubs are made after an error."""
    number = 0
    while not ended.is_set():
        persistence.log_agent_run_event(event(f"{threading.get_ident()} {number}"))
        number += 1
