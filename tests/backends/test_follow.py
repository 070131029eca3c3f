"""An EventFeed returns events of other processes and of transactions that end late."""

from __future__ import annotations

from contextlib import closing
from itertools import chain
from pathlib import Path

import psycopg2
import pytest

from curio_persistence import AgentRun, AgentRunEvent, Persistence, SQLitePersistence
from curio_persistence.tables import EVENTS
from tests.backends.conftest import Open
from tests.support.children import Child

WRITER = """
persistence = connect(sys.argv[1])
for number in range(int(sys.argv[3])):
    persistence.append_event("run", "agent", "log", payload=f"{sys.argv[2]} {number}")
print("done", flush=True)
"""


def seen(events: list[AgentRunEvent]) -> list[str]:
    return [event.data for event in events]


@pytest.fixture
def persistence(open_postgres: Open) -> Persistence:
    persistence = open_postgres()
    persistence.create_agent_run(AgentRun("agent", "run"))
    return persistence


INSERT = (
    "INSERT INTO {}.agent_run_events (agent_id, run_id, timestamp, data, created_at) "
    "VALUES ('agent', 'run', now(), %s, now())"
)


@pytest.mark.parametrize("begun", ["before", "after"])
def test_an_event_committed_after_a_later_one_is_returned(
    persistence: Persistence, dsn: str, schema_name: str, begun: str
) -> None:
    """Its transaction may begin before or after the feed is opened."""
    following = persistence.events.follow(interval=0)
    with closing(psycopg2.connect(dsn)) as slow, slow.cursor() as cursor:
        if begun == "after":
            assert next(following) == []
        cursor.execute(INSERT.format(schema_name), ("late",))
        if begun == "before":
            assert next(following) == []
        for number in range(20):
            persistence.append_event("run", "agent", "log", payload=str(number))
            assert seen(next(following)) == [str(number)]
        slow.commit()
        assert seen(next(following)) == ["late"]
    assert [next(following) for _ in range(3)] == [[], [], []]


def test_events_of_a_savepoint_that_ends_late_are_returned(
    persistence: Persistence, open_postgres: Open
) -> None:
    other = open_postgres()
    following = persistence.events.follow(interval=0)
    assert next(following) == []
    with other.transaction():
        other.append_event("another run", "agent", "log", payload="in a savepoint")
        persistence.append_event("run", "agent", "log", payload="beside")
        assert seen(next(following)) == ["beside"]
        assert next(following) == []
    assert seen(next(following)) == ["in a savepoint"]
    assert next(following) == []


def test_a_transaction_that_is_rolled_back_is_not_waited_for(
    persistence: Persistence, dsn: str, schema_name: str
) -> None:
    following = persistence.events.follow(interval=0)
    next(following)
    with closing(psycopg2.connect(dsn)) as slow, slow.cursor() as cursor:
        cursor.execute(INSERT.format(schema_name), ("never",))
        for _ in range(50):
            persistence.append_event("run", "agent", "log", payload="0")
        next(following)
        slow.rollback()
    assert [next(following) for _ in range(3)] == [[], [], []]
    assert following._watermark is not None
    assert following._watermark.gaps == ()


def test_the_ids_of_a_batch_are_waited_for_before_it_has_rows(
    persistence: Persistence, open_postgres: Open
) -> None:
    """The ids are reserved first, then the rows are sent with them."""
    other = open_postgres()
    store = other._store
    run = store._run  # type: ignore[attr-defined]
    assert not persistence._store.active_transactions(EVENTS)

    def run_and_look(connection: object, sql: str, *rest: object) -> object:
        if sql.startswith("COPY"):
            assert persistence._store.active_transactions(EVENTS)
            copied.append(sql)
        return run(connection, sql, *rest)

    copied: list[str] = []
    store._run = run_and_look  # type: ignore[attr-defined]
    other.log_agent_run_events([AgentRunEvent("agent", "run") for _ in range(3)])
    assert len(copied) == 1


def test_many_processes_that_write_on_postgres_are_followed(
    persistence: Persistence, dsn: str, schema_name: str
) -> None:
    follow_writers(persistence, f"{dsn}&schema={schema_name}")


def test_many_processes_that_write_to_a_file_are_followed(tmp_path: Path) -> None:
    with SQLitePersistence(tmp_path / "runs.db") as persistence:
        follow_writers(persistence, f"sqlite:///{tmp_path / 'runs.db'}")


def follow_writers(persistence: Persistence, url: str) -> None:
    names, each = "abc", 100
    following = persistence.events.follow(interval=0.01)
    assert next(following) == []
    children = [Child(WRITER, url, name, str(each)) for name in names]
    expected = {f"{name} {number}" for name in names for number in range(each)}
    found: list[str] = []
    while len(found) < len(expected):
        found += seen(next(following))
    for child in children:
        with child:
            assert child.read() == "done"
    found += chain.from_iterable(seen(next(following)) for _ in range(3))
    assert len(found) == len(expected)
    assert set(found) == expected
