"""After a kill in the middle of writing, every write that returned is stored."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from curio_persistence import SQLitePersistence
from tests.support import soak
from tests.support.children import Child

pytestmark = pytest.mark.slow

# Each thread reports a write only after it has returned.
WRITE = """
persistence, started, threads = SQLitePersistence(sys.argv[1]), sys.argv[2], int(sys.argv[3])
say = threading.Lock()

def write(name):
    number = 0
    while True:
        data = f"{started} {name} {number}"
        persistence.log_agent_run_event(AgentRunEvent("agent", "run", event_type="e", data=data))
        with say:
            print(data, flush=True)
        number += 1

for name in range(threads - 1):
    threading.Thread(target=write, args=(name,)).start()
write(threads - 1)
"""


@pytest.mark.parametrize("threads", [1, 4])
def test_every_write_that_returned_survives_a_kill(tmp_path: Path, threads: int) -> None:
    path, told = tmp_path / "agents.db", []
    for start in soak.times(3):
        with Child(WRITE, path, str(start), str(threads)) as child:
            told += [child.read() for _ in range(200)]
            told += complete_lines(child.kill())
    with SQLitePersistence(path) as persistence:
        stored = [event.data for event in persistence.get_agent_run_events("run")]
        assert persistence.get_agent_run("run") is not None
    assert set(told) <= set(stored), "a write was lost"
    assert len(stored) - len(told) <= threads * len(soak.times(3)), "more than each one's last"
    assert len(stored) == len(set(stored)), "a write was doubled"
    assert_undamaged(path)


TRANSACTIONS = """
persistence = SQLitePersistence(sys.argv[1])
number = int(sys.argv[2])
while True:
    with persistence.transaction():
        for step in range(20):
            persistence.log_agent_run_event(AgentRunEvent("agent", "run", event_type=str(number)))
            print("writing", number, flush=True)
    print("done", number, flush=True)
    number += 1
"""


def test_a_transaction_is_stored_completely_or_not_at_all(tmp_path: Path) -> None:
    path, done = tmp_path / "agents.db", set()
    for start in soak.times(4):
        with Child(TRANSACTIONS, path, str(start * 1_000_000)) as child:
            said = [child.read() for _ in range(70 + 5 * start)]
            said += complete_lines(child.kill())
        done |= {line.split()[1] for line in said if line.startswith("done")}
    with SQLitePersistence(path) as persistence:
        stored = Counter(event.event_type for event in persistence.get_agent_run_events("run"))
    assert done <= set(stored)
    assert set(stored.values()) == {20}
    assert_undamaged(path)


def complete_lines(said: str) -> list[str]:
    """Return all lines, except an incomplete last one."""
    return said.split("\n")[:-1]


def assert_undamaged(path: Path) -> None:
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
