"""Replicators killed at any moment while others write: each row is in the replica once."""

from __future__ import annotations

import json
import random
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import soak
from tests.support.backends import chosen
from tests.support.children import Child

pytestmark = pytest.mark.slow

KILLS = 3 * soak.FACTOR
WRITERS = 3
REPLICATOR = """
from datetime import timedelta
persistence = connect(sys.argv[1], read_only=True)
persistence.replicate(
    sys.argv[2],
    once=False,
    source="killed",
    every=timedelta(milliseconds=10),
    deletions_every=timedelta(milliseconds=200),
    progress=lambda done, total: print(done, flush=True),
)
"""
WRITER = """
import random, time
persistence, name = connect(sys.argv[1]), sys.argv[2]
print("begun", flush=True)
for number in range(10**9):
    run_id = f"{name} {number // 10}"
    try:
        with persistence.transaction():
            if number % 10 == 0:
                persistence.create_agent_run(AgentRun("agent", run_id, session_id=name))
            persistence.append_event(run_id, "agent", "log", payload=f"{name} {number}")
            persistence.log_llm_usage(AgentLLMUsage("agent", run_id, model="m", input_tokens=1))
            if sys.argv[1].startswith("postgres"):
                time.sleep(random.choice((0, 0, 0.05)))  # Others commit meanwhile.
            if number % 10 and random.random() < 0.33:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    if number % 10 == 9:
        run = persistence.get_agent_run(run_id)
        run.status = "completed"
        persistence.update_agent_run(run_id, run)
        if random.random() < 0.1:
            persistence.delete_agent_run(run_id)
    time.sleep(0.002)
"""
CHECKER = """
import json, time
from curio_persistence.backends.clickhouse.client import open_client
persistence = connect(sys.argv[1], read_only=True)
while True:
    persistence.replicate(sys.argv[2], source="killed")
    found = persistence.check_replica(sys.argv[2], source="killed", deep=True)
    marks = open_client(sys.argv[2]).rows("SELECT mark FROM replica_sync FINAL")
    if found.behind == 0 and not any(mark.startswith('[') and ',' in mark for (mark,) in marks):
        break
    time.sleep(0.1)
counted = "SELECT count(), uniqExact(id) FROM agent_run_events"
[(rows, ids)] = open_client(sys.argv[2]).rows(counted)
print(json.dumps({**found.to_dict(), "events": rows, "ids": ids}), flush=True)
"""


@pytest.fixture(
    params=[
        pytest.param(each, marks=() if each == "postgres18" else pytest.mark.thorough)
        for each in chosen("sqlite", "postgres18")
    ]
)
def url(request: pytest.FixtureRequest, tmp_path: Path, schema_name: str) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'runs.db'}"
    return f"{request.getfixturevalue(request.param)}&schema={schema_name}"


@pytest.mark.timeout(300 * soak.FACTOR)
def test_a_killed_replicator_neither_loses_nor_repeats_a_row(url: str, tmp_path: Path) -> None:
    replica = f"chdb://{tmp_path / 'replica'}"
    with ExitStack() as stack:
        writers = [stack.enter_context(Child(WRITER, url, str(each))) for each in range(WRITERS)]
        for writer in writers:
            assert writer.read() == "begun"
        for _ in range(KILLS):
            with Child(REPLICATOR, url, replica) as replicator:
                assert int(replicator.read()) > 0
                time.sleep(random.uniform(0, 0.5))
        for writer in writers:
            writer.kill()
    with Child(CHECKER, url, replica) as checker:
        found = json.loads(checker.read())
    assert found["differences"] == []
    assert found["events"] == found["ids"] > 50


COMPACTING = """
import json
persistence = connect(sys.argv[1])
run = AgentRun("agent", "erased", objective=sys.argv[3])
persistence.create_agent_run(run)
persistence.create_agent_run(AgentRun("agent", "kept"))
for run_id in ("erased", "kept"):
    persistence.append_event(run_id, "agent", "log", message=sys.argv[3], payload=sys.argv[3])
    persistence.log_llm_usage(AgentLLMUsage("agent", run_id, "p", "m", prompt=sys.argv[3]))
persistence.replicate(sys.argv[2])
run.objective = "Changed before it was erased."
persistence.update_agent_run("erased", run)
persistence.replicate(sys.argv[2])
for run_id in ("erased", "kept"):
    persistence.delete_agent_run(run_id)
print("erased", flush=True)
input()
persistence.replicate(sys.argv[2], compact=True)
from curio_persistence.backends.clickhouse.client import open_client
client = open_client(sys.argv[2])
former = [path for (path,) in client.rows("SELECT path FROM system.parts WHERE NOT active")]
print(json.dumps(former), flush=True)
"""


@pytest.mark.thorough
def test_nothing_is_left_of_the_words_of_an_erased_run(tmp_path: Path) -> None:
    directory = tmp_path / "replica"
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    with Child(COMPACTING, url, f"chdb://{directory}", "Xylophonquartz") as child:
        assert child.read() == "erased"
        assert _files_with("xylophonquartz", directory)
        child.write("")
        former = json.loads(child.read())  # Directories that ClickHouse removes some minutes later.
    assert {str(file.parent) + "/" for file in _files_with("xylophonquartz", directory)} <= {
        *former
    }


def _files_with(word: str, directory: Path) -> list[Path]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return [path for path in files if word.encode() in path.read_bytes().lower()]
