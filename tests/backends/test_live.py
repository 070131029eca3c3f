"""A stream tells what other processes store, what is committed late, and resumes after a kill."""

from __future__ import annotations

import json
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from curio_persistence import (
    AgentRun,
    Persistence,
    PostgresPersistence,
    SQLitePersistence,
    UnavailableError,
)
from curio_persistence.capabilities.live import LiveItem, LiveStream, hub
from tests.backends.conftest import Open
from tests.support.children import Child
from tests.support.postgres import PostgresServer

INSERT = (
    "INSERT INTO {}.agent_run_events (agent_id, run_id, timestamp, data, created_at) "
    "VALUES ('agent', 'run', now(), %s, now())"
)
WRITER = """
persistence = connect(sys.argv[1])
for number in range(int(sys.argv[3])):
    run = AgentRun("agent", f"{sys.argv[2]} {number}", status="running")
    with persistence.transaction():
        persistence.create_agent_run(run)
        persistence.append_event(run.run_id, "agent", "log", payload=run.run_id)
    run.status = "completed"
    persistence.update_agent_run(run.run_id, run)
print("done", flush=True)
"""
LISTENER = """
import json
from curio_persistence.capabilities.live import hub
hub.INTERVAL = 0.002
persistence = connect(sys.argv[1])
for item in persistence.stream(after=sys.argv[2]):
    print(json.dumps([item.id, item.kind, item.change, item.record.run_id]), flush=True)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "INTERVAL", 0.01)


@pytest.fixture
def persistence(open_postgres: Open) -> Persistence:
    persistence = open_postgres()
    persistence.create_agent_run(AgentRun("agent", "run"))
    return persistence


def payloads(stream: LiveStream, count: int) -> list[str]:
    found: list[Any] = []
    while len(found) < count:
        items = stream.take(timeout=5)
        assert items
        found += [item.record.data for item in items]  # type: ignore[union-attr]
    return found


@pytest.mark.parametrize("begun", ["before", "after"])
def test_an_event_committed_after_a_later_one_is_told(
    persistence: Persistence, dsn: str, schema_name: str, begun: str
) -> None:
    """Its transaction may begin before or after the stream; and any id resumes before it."""
    with closing(psycopg2.connect(dsn)) as slow, slow.cursor() as cursor:
        if begun == "before":
            cursor.execute(INSERT.format(schema_name), ("late",))
        stream = persistence.stream(kinds="event")
        if begun == "after":
            cursor.execute(INSERT.format(schema_name), ("late",))
        for number in range(3):
            persistence.append_event("run", "agent", "log", payload=str(number))
        items = [next(stream) for _ in range(3)]
        resumed = persistence.stream(after=items[1].id, kinds="event")
        assert payloads(resumed, 1) == ["2"]
        slow.commit()
        assert payloads(stream, 1) == payloads(resumed, 1) == ["late"]
        assert stream.take(timeout=0.05) == resumed.take(timeout=0.05) == []
    for item in items:
        with persistence.stream(after=item.id, kinds="event") as again:
            missing = [data for data in "012" if int(data) > items.index(item)]
            assert sorted(payloads(again, len(missing) + 1)) == [*missing, "late"]
            assert again.take(timeout=0.05) == []


def test_ids_resume_between_events_that_were_committed_late(
    persistence: Persistence, dsn: str, schema_name: str
) -> None:
    stream = persistence.stream(kinds="event")
    with closing(psycopg2.connect(dsn)) as slow, slow.cursor() as cursor:
        for number in range(3):
            cursor.execute(INSERT.format(schema_name), (f"late {number}",))
        persistence.append_event("run", "agent", "log", payload="early")
        assert payloads(stream, 1) == ["early"]
        slow.commit()
    persistence.append_event("run", "agent", "log", payload="last")
    items: list[LiveItem] = []
    while len(items) < 4:
        items += stream.take(timeout=5)
    told: list[Any] = [item.record.data for item in items]  # type: ignore[union-attr]
    assert sorted(told) == ["last", "late 0", "late 1", "late 2"]
    for at, item in enumerate(items[:3]):
        with persistence.stream(after=item.id, kinds="event") as again:
            assert payloads(again, 3 - at) == told[at + 1 :]
            assert again.take(timeout=0.02) == []


def test_a_change_committed_after_a_later_one_is_told(
    persistence: Persistence, open_postgres: Open
) -> None:
    persistence.create_agent_run(AgentRun("agent", "other"))
    other = open_postgres()
    stream = persistence.stream(kinds="run")
    with other.transaction():
        other.update_agent_run("run", AgentRun("agent", "run", status="completed"))
        persistence.update_agent_run("other", AgentRun("agent", "other", status="completed"))
        first = next(stream)
    second = next(stream)
    assert [each.record.run_id for each in (first, second)] == ["other", "run"]  # type: ignore[union-attr]
    with persistence.stream(after=first.id, kinds="run") as again:
        assert next(again) == second
    assert stream.take(timeout=0.05) == []


def test_a_killed_listener_resumes_on_postgres(
    persistence: Persistence, dsn: str, schema_name: str
) -> None:
    follow_and_kill(persistence, f"{dsn}&schema={schema_name}")


def test_a_killed_listener_resumes_on_a_file(tmp_path: Path) -> None:
    with SQLitePersistence(tmp_path / "runs.db") as persistence:
        follow_and_kill(persistence, f"sqlite:///{tmp_path / 'runs.db'}")


def follow_and_kill(persistence: Persistence, url: str) -> None:
    """Kill the listener after every 30 lines, and start it behind the last one that came."""
    each = 12
    with persistence.stream() as stream:
        position = stream.id
    writers = [Child(WRITER, url, name, str(each)) for name in "ab"]
    names = {f"{name} {number}" for name in "ab" for number in range(each)}
    expected = {(kind, change, name) for kind, change in EXPECTED for name in names}
    found: list[tuple[str, str, str]] = []
    while len(found) < len(expected):
        with Child(LISTENER, url, position) as listener:
            for _ in range(min(30, len(expected) - len(found))):
                position, *item = json.loads(listener.read())
                found.append((item[0], item[1], item[2]))
    for writer in writers:
        with writer:
            assert writer.read() == "done"
    assert len(found) == len(expected)
    assert set(found) == expected
    begun = {name: found.index(("run", "begun", name)) for name in names}
    assert all(begun[name] < found.index(("event", "added", name)) for name in names)
    assert all(begun[name] < found.index(("run", "ended", name)) for name in names)


EXPECTED = [("run", "begun"), ("event", "added"), ("run", "ended")]


def test_a_stream_goes_on_after_an_outage(private_postgres: PostgresServer) -> None:
    with PostgresPersistence(dsn=private_postgres.dsn) as persistence:
        stream = persistence.stream(kinds="event")
        with private_postgres.down(), pytest.raises(UnavailableError):
            stream.take(timeout=20)
        persistence.append_event("run", "agent", "log", payload="after")
        found: list[LiveItem] = []
        while not found:
            with suppress(UnavailableError):
                found = stream.take(timeout=20)
        assert found[0].record.data == "after"  # type: ignore[union-attr]
        assert stream.take(timeout=0.05) == []
