"""Replication over HTTP to a server that goes away, and beside another replicator."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    BusyError,
    ConflictError,
    Persistence,
    SQLitePersistence,
    UnavailableError,
    restore_backup,
)
from tests.support.children import Child
from tests.support.clickhouse_bridge import Bridge, clickhouse_bridge
from tests.support.replicas import assert_same

pytestmark = pytest.mark.slow

STEP = 9
REPLICATOR = """
persistence = connect(sys.argv[1], read_only=True)
persistence.replicate(
    sys.argv[2], once=False, source="here", progress=lambda done, total: print(done, flush=True)
)
"""


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    with clickhouse_bridge(tmp_path_factory.mktemp("bridge")) as bridge:
        yield bridge


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def persistence(path: Path) -> Iterator[Persistence]:
    with SQLitePersistence(path) as persistence:
        yield persistence


def record(persistence: Persistence, run_id: str) -> None:
    persistence.create_agent_run(AgentRun("agent", run_id, session_id="s"))
    persistence.append_event(run_id, "agent", "log", payload={"it's": 'ü "\\" \ud800'})
    persistence.log_llm_usage(AgentLLMUsage("agent", run_id, model="m"))


def test_when_the_server_comes_back_it_goes_on(persistence: Persistence, bridge: Bridge) -> None:
    url = bridge.url("outages")
    record(persistence, "gone")
    for point in count(1):
        record(persistence, f"run {point}")
        if point == 2:
            persistence.delete_agent_run("gone")
        bridge.cut(point * STEP, done=point % 2 == 1)
        try:
            persistence.replicate(url, source="here")
            break
        except UnavailableError:
            pass
        finally:
            bridge.mend()
    assert point > 3
    assert_same(persistence._store, url, "here")
    assert persistence.check_replica(url, source="here", deep=True).ok


def test_a_server_that_is_not_there_is_unavailable(persistence: Persistence) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(UnavailableError):
            persistence.replicate(f"clickhouse://127.0.0.1:{taken.getsockname()[1]}/x")


def test_of_two_replicators_one_is_refused_until_the_other_has_ended(
    persistence: Persistence, path: Path, bridge: Bridge
) -> None:
    record(persistence, "run")
    url = bridge.url("lease")
    with Child(REPLICATOR, f"sqlite:///{path}", url) as other:
        assert int(other.read()) > 0
        with pytest.raises(BusyError, match="Another replicator writes 'here'"):
            persistence.replicate(url, source="here")
    persistence.replicate(url, source="here")  # It was killed, and its process is gone.
    assert_same(persistence._store, url, "here")


@pytest.mark.thorough
@pytest.mark.parametrize("more", [0, 4], ids=["with fewer rows", "with more rows"])
def test_an_older_state_of_the_source_is_refused(
    persistence: Persistence, tmp_path: Path, bridge: Bridge, more: int
) -> None:
    url = bridge.url(f"older_{more}")
    record(persistence, "first")
    backup = persistence.backup(tmp_path / "backup.db").path
    for number in range(3):
        record(persistence, f"lost {number}")
    persistence.delete_agent_run("first")
    persistence.replicate(url)
    restored = tmp_path / "restored.db"
    restore_backup(backup, f"sqlite:///{restored}")
    with SQLitePersistence(restored) as older:
        for number in range(more):
            record(older, f"new {number}")
            older.delete_agent_run(f"new {number - 1}")
        with pytest.raises(ConflictError, match="restored from a backup"):
            older.replicate(url)


def test_a_former_copy_of_the_file_is_refused_while_it_has_fewer_rows(
    persistence: Persistence, path: Path, tmp_path: Path, bridge: Bridge
) -> None:
    url = bridge.url("copies")
    record(persistence, "first")
    copy = persistence.backup(tmp_path / "copy.db").path
    for _ in range(5):
        persistence.append_event("first", "agent", "lost")
    persistence.replicate(url)
    with SQLitePersistence(copy) as former:
        former.append_event("first", "agent", "new")
        with pytest.raises(ConflictError, match="another copy of the same file"):
            former.replicate(url)
