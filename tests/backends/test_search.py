"""The search index beside other processes, unfinished transactions, kills and deletions."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from zlib import crc32

import psycopg2
import pytest

from curio_persistence import (
    AccessDeniedError,
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    BusyError,
    Persistence,
    PostgresPersistence,
    SQLitePersistence,
)
from curio_persistence.store.search_index import Term
from tests.backends.conftest import Ask, Open, wait_until
from tests.support import soak
from tests.support.children import Child

Run = Callable[[str], Any]

INSERT = (
    "INSERT INTO {}.agent_run_events (agent_id, run_id, timestamp, message, created_at) "
    "VALUES ('agent', 'run', now(), %s, now())"
)


def say(persistence: Persistence, *messages: str) -> None:
    for message in messages:
        persistence.append_event("run", "agent", "log", message=message)


def found(persistence: Persistence, query: str) -> list[str]:
    return [hit.record.message for hit in persistence.search_text(query, limit=None)]  # type: ignore[union-attr]


def assert_whole(persistence: Persistence) -> None:
    assert {check.level for check in persistence.search.check(deep=True)} == {"ok"}


# --- transactions that end late -------------------------------------------------------------------


def test_records_committed_after_later_ones_are_found(
    open_postgres: Open, dsn: str, schema_name: str
) -> None:
    persistence = open_postgres()
    persistence.create_agent_run(AgentRun("agent", "run"))
    with closing(psycopg2.connect(dsn)) as slow, slow.cursor() as cursor:
        cursor.execute(INSERT.format(schema_name), ("late one",))
        for number in range(3):
            say(persistence, f"soon {number}")
            assert found(persistence, "late") == []
        cursor.execute(INSERT.format(schema_name), ("late two",))
        say(persistence, "soon 3")
        assert len(found(persistence, "soon")) == 4
        slow.commit()
    assert sorted(found(persistence, "late")) == ["late one", "late two"]
    assert_whole(persistence)


def test_records_committed_late_among_many_missing_ids_are_found(
    open_postgres: Open, dsn: str, schema_name: str
) -> None:
    persistence = open_postgres()
    with closing(psycopg2.connect(dsn)) as slow, slow.cursor() as cursor:
        persistence.create_agent_run(AgentRun("agent", "run"))
        cursor.execute(INSERT.format(schema_name), ("late one",))
        persistence.log_agent_run_events(
            AgentRunEvent("agent", f"run-{number % 2}", event_type="log", message=f"soon {number}")
            for number in range(3_000)
        )
        cursor.execute(INSERT.format(schema_name), ("late two",))
        persistence.delete_agent_run("run-1")
        assert len(found(persistence, "soon")) == 1_500
        slow.commit()
    assert sorted(found(persistence, "late")) == ["late one", "late two"]
    assert_whole(persistence)


# --- several at a time ----------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgres"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterable[Persistence]:
    """A database that several connections may write to."""
    if request.param == "sqlite":
        with SQLitePersistence(tmp_path / "agents.db") as persistence:
            yield persistence
        return
    schema_name = request.getfixturevalue("schema_name")
    dsn = request.getfixturevalue("postgres18")
    with PostgresPersistence(dsn=dsn, schema=schema_name) as persistence:
        yield persistence


def test_several_indexers_index_each_record_once(shared: Persistence) -> None:
    messages = [f"word {number}" for number in range(3_000)]
    events = [AgentRunEvent("agent", "run", event_type="log", message=m) for m in messages]
    shared.log_agent_run_events(events)
    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(lambda _: shared.search.index_pending(), range(4)))
    assert sum(counts) == 3_001
    assert sorted(found(shared, "word")) == sorted(messages)
    assert_whole(shared)


def test_writers_and_searches_do_not_disturb_each_other(shared: Persistence) -> None:
    def write(writer: int) -> None:
        for number in range(60):
            say(shared, f"word {writer} {number}")
            if number % 20 == 0:
                shared.create_agent_run(AgentRun("agent", f"run-{writer}-{number}"))
                shared.delete_agent_run(f"run-{writer}-{number}")

    def search(_: int) -> None:
        for _ in range(20):
            hits = found(shared, "word")
            assert len(hits) == len(set(hits))

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(write, 1), pool.submit(search, 1), pool.submit(write, 2)]
        done.append(pool.submit(search, 2))
        for each in done:
            each.result()
    assert len(found(shared, "word")) == 120
    assert_whole(shared)


def test_a_search_that_cannot_index_now_uses_the_existing_index(tmp_path: Path) -> None:
    path = tmp_path / "agents.db"
    with SQLitePersistence(path, lock_timeout=0.2) as persistence:
        say(persistence, "word one")
        persistence.search.index_pending()
        say(persistence, "word two")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            page = persistence.search_text("word")
            assert (len(page), page.pending) == (1, 1)
        page = persistence.search_text("word")
        assert (len(page), page.pending) == (2, 0)


def test_a_run_that_is_being_changed_does_not_block_searches(
    open_postgres: Open, dsn: str, schema_name: str
) -> None:
    persistence = open_postgres(statement_timeout=0.3)
    persistence.create_agent_run(AgentRun("agent", "run", objective="word"))
    with closing(psycopg2.connect(dsn)) as slow, slow.cursor() as cursor:
        cursor.execute(f"UPDATE {schema_name}.agent_runs SET objective = 'other'")
        page = persistence.search_text("word")
        assert (len(page), page.pending) == (0, 1)
        slow.rollback()
    assert len(persistence.search_text("word")) == 1


def test_a_role_that_may_not_index_searches_the_existing_index(
    open_postgres: Open, dsn: str, schema_name: str
) -> None:
    persistence = open_postgres()
    say(persistence, "word one")
    persistence.search.index_pending()
    say(persistence, "word two")
    role = f"reader_{schema_name}"
    with closing(psycopg2.connect(dsn)) as owner, owner.cursor() as cursor:
        cursor.execute(
            f"CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {schema_name} TO {role};"
            f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA {schema_name} TO {role}"
        )
        owner.commit()
        try:
            with open_postgres(user=role) as writing:
                page = writing.search_text("word")
                assert (len(page), page.pending) == (1, 1)
                with pytest.raises(AccessDeniedError):
                    writing.compact()
        finally:
            cursor.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
            owner.commit()


def test_the_largest_ids_are_indexed_and_skipped(tmp_path: Path) -> None:
    path = tmp_path / "agents.db"
    with SQLitePersistence(path) as persistence:
        say(persistence, "word")
        with closing(sqlite3.connect(path)) as raw, raw:
            raw.execute("UPDATE agent_run_events SET id = 9223372036854775807")
            raw.execute("UPDATE agent_runs SET id = 9223372036854775807")
        assert found(persistence, "word") == ["word"]
        assert persistence.delete_agent_run("run")
        assert found(persistence, "word") == []
        assert_whole(persistence)


# --- kills ----------------------------------------------------------------------------------------

INDEX = """
persistence = SQLitePersistence(sys.argv[1])
print("begun", flush=True)
while True:
    persistence.search.index_pending(limit=50)
    print(persistence.search.pending(), flush=True)
"""


@pytest.mark.slow
def test_a_killed_indexer_continues_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "agents.db"
    messages = [f"word {number}" for number in range(2_000)]
    events = [AgentRunEvent("agent", "run", event_type="log", message=m) for m in messages]
    with SQLitePersistence(path) as persistence:
        persistence.log_agent_run_events(events)
    for steps in soak.times(5):
        with Child(INDEX, path) as child:
            for _ in range(1 + steps % 4):
                child.read()
            child.kill()
    with SQLitePersistence(path) as persistence:
        assert sorted(found(persistence, "word")) == sorted(messages)
        assert_whole(persistence)


# --- deleted text ---------------------------------------------------------------------------------


def test_no_deleted_word_is_left_in_the_files(tmp_path: Path) -> None:
    path = tmp_path / "agents.db"
    with SQLitePersistence(path) as persistence:
        for number in range(50):
            run = f"run-{number}"
            marker = "xylophonemarker" if number == 25 else "filler"
            persistence.create_agent_run(AgentRun("agent", run, objective=f"{marker} goal"))
            for _ in range(20):
                persistence.append_event(run, "agent", "log", message=marker, payload={marker: 1})
            persistence.log_llm_usage(
                AgentLLMUsage("agent", run, "p", "m", prompt=f"a {marker}", response_content=marker)
            )
            persistence.search.index_pending()
        assert marker_count(tmp_path) > 0
        persistence.delete_agent_run("run-25")
        persistence.compact()
        assert marker_count(tmp_path) == 0
        assert found_kinds(persistence, "xylophonemarker") == set()
        assert found_kinds(persistence, "filler") == {"run", "event", "usage"}
        assert_whole(persistence)
    assert marker_count(tmp_path) == 0


def marker_count(folder: Path) -> int:
    return sum(file.read_bytes().lower().count(b"xylophonemarker") for file in folder.iterdir())


def found_kinds(persistence: Persistence, query: str) -> set[str]:
    return {hit.kind for hit in persistence.search_text(query, limit=None)}


def test_no_deleted_word_is_left_in_the_index_of_a_schema(
    open_postgres: Open, ask: Ask, schema_name: str
) -> None:
    persistence = open_postgres()
    for number in range(100):
        persistence.append_event(f"run-{number}", "agent", "log", message=f"marker{number}")
        usage = AgentLLMUsage("agent", f"run-{number}", "p", "m", prompt=f"marker{number}")
        persistence.log_llm_usage(usage)
    persistence.search.index_pending()
    for number in range(50, 100):
        persistence.delete_agent_run(f"run-{number}")
    persistence.compact()
    assert_whole(persistence)
    assert len(found_kinds(persistence, "marker*")) == 2
    kept, gone = (_octets(f"marker{number}") for number in (7, 70))
    octets = octets_of(ask, f"{schema_name}.agent_search_documents")
    assert kept in octets
    assert gone not in octets


def _octets(word: str) -> bytes:
    """Return the hash of a word as the server stores it."""
    return crc32(word.encode()).to_bytes(4, sys.byteorder)


def octets_of(ask: Ask, table: str) -> bytes:
    """Return the contents of the files of a table and its indexes."""
    ask("CHECKPOINT")
    files = ask(
        "SELECT pg_read_binary_file(pg_relation_filepath(oid)) FROM (SELECT %s::regclass::oid "
        "UNION ALL SELECT indexrelid FROM pg_index WHERE indrelid = %s::regclass) t (oid)",
        table,
        table,
    )
    return b"".join(bytes(octets) for (octets,) in files)


# --- writers that do not know the index -----------------------------------------------------------


@pytest.fixture
def raw(shared: Persistence, request: pytest.FixtureRequest) -> Iterable[Run]:
    """Run SQL on the database as another program does."""
    if isinstance(shared, SQLitePersistence):
        with closing(sqlite3.connect(shared._store._path, isolation_level=None)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            yield connection.execute
        return
    with closing(psycopg2.connect(request.getfixturevalue("postgres18"))) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(f"SET search_path = {request.getfixturevalue('schema_name')}")
        yield cursor.execute


def test_changes_by_a_program_that_does_not_know_the_index_are_found(
    shared: Persistence, raw: Run
) -> None:
    for run_id in ("r1", "r2"):
        shared.create_agent_run(AgentRun("agent", run_id, objective="alpha"))
        shared.append_event(run_id, "agent", "log", message="alpha")
    assert len(shared.search_text("alpha")) == 4
    time = "'2031-01-01T00:00:00.000000+00:00'"
    raw(f"UPDATE agent_runs SET objective = 'omega', updated_at = {time} WHERE run_id = 'r1'")
    raw("DELETE FROM agent_runs WHERE run_id = 'r2'")
    for _ in range(5):
        raw(
            "INSERT INTO agent_run_events (agent_id, run_id, timestamp, message, created_at) "
            f"VALUES ('agent', 'r1', {time}, 'omega', {time})"
        )
    page = shared.search_text("omega")
    assert (len(page), page.pending) == (6, 0)
    assert [hit.kind for hit in shared.search_text("alpha")] == ["event"]
    [check] = shared.search.check(deep=True)
    assert (check.level, check.message[-75:]) == (
        "ok",
        "2 records were deleted by other programs: compact() leaves nothing of their words"[-75:],
    )
    assert shared.delete_agent_run("r1")
    assert found(shared, "omega") == []
    shared.compact()
    [check] = shared.search.check(deep=True)
    assert (check.level, check.message) == ("ok", "0 records wait to be indexed")


def test_a_record_missing_from_the_index_is_reported(shared: Persistence, raw: Run) -> None:
    say(shared, "word one", "word two")
    shared.search.index_pending()
    last = "(SELECT max(id) FROM agent_run_events)"
    raw(f"DELETE FROM agent_search_documents WHERE kind = 1 AND record_id = {last}")
    raw("UPDATE agent_runs SET status = 'x', updated_at = '2031-01-01T00:00:00.000000+00:00'")
    [check] = shared.search.check(deep=True)
    assert check.level == "warning"
    assert "1 agent_run_events are not in it" in check.message
    shared.search.rebuild()
    assert_whole(shared)
    assert len(found(shared, "word")) == 2


def test_no_word_deleted_by_another_program_is_left_after_compact(tmp_path: Path) -> None:
    with SQLitePersistence(tmp_path / "agents.db") as persistence:
        persistence.append_event("gone", "agent", "log", message="xylophonemarker")
        say(persistence, "filler")
        persistence.search.index_pending()
        with closing(sqlite3.connect(tmp_path / "agents.db", isolation_level=None)) as raw:
            raw.execute("DELETE FROM agent_run_events WHERE run_id = 'gone'")
        persistence.compact()
        assert marker_count(tmp_path) == 0
        assert found(persistence, "filler") == ["filler"]


# --- long transactions that change records to be indexed ------------------------------------------


def test_an_open_change_of_a_run_does_not_delay_searches(
    open_postgres: Open, dsn: str, schema_name: str
) -> None:
    persistence = open_postgres()
    persistence.create_agent_run(AgentRun("agent", "slow", objective="word slow"))
    say(persistence, "word event")
    with closing(psycopg2.connect(dsn)) as slow, slow.cursor() as cursor:
        cursor.execute(f"UPDATE {schema_name}.agent_runs SET status = 's' WHERE run_id = 'slow'")
        page = persistence.search_text("word", max_wait=30)
        assert [hit.kind for hit in page] == ["event"]
        assert page.pending == 1
        assert persistence.delete_agent_run("run")
        slow.commit()
    assert [hit.kind for hit in persistence.search_text("word")] == ["run"]


def test_a_search_waits_for_no_other_indexer(open_postgres: Open) -> None:
    persistence, other = open_postgres(), open_postgres()
    persistence.create_agent_run(AgentRun("agent", "run"))
    persistence.search.index_pending()
    with ThreadPoolExecutor(1) as pool, other.transaction():
        say(other, "word one")
        assert len(other.search_text("word")) == 1
        say(persistence, "word two")
        begin = time.monotonic()
        page = pool.submit(persistence.search_text, "word", max_wait=60).result()
        assert time.monotonic() - begin < 10
        assert (len(page), page.pending) == (0, 1)
    assert sorted(found(persistence, "word")) == ["word one", "word two"]


def test_an_open_deletion_delays_neither_searches_nor_other_deletions(
    open_postgres: Open,
) -> None:
    persistence = open_postgres()
    for run_id in "abc":
        persistence.append_event(run_id, "agent", "log", message="alpha")
    persistence.search.index_pending()
    with ThreadPoolExecutor(1) as pool, persistence.transaction():
        persistence.delete_agent_run("a")
        begin = time.monotonic()
        say(open_postgres(), "alpha")
        page = pool.submit(persistence.search_text, "alpha", max_wait=60).result()
        assert (len(page), page.pending) == (4, 0)
        assert pool.submit(persistence.delete_agent_run, "b").result()
        assert time.monotonic() - begin < 10
    assert len(found(persistence, "alpha")) == 2
    assert_whole(persistence)


def test_a_call_whose_text_an_open_deletion_removes_is_indexed_afterwards(
    open_postgres: Open,
) -> None:
    persistence, other = open_postgres(), open_postgres()
    persistence.create_agent_run(AgentRun("agent", "run"))
    persistence.search.index_pending()
    persistence.log_llm_usage(AgentLLMUsage("agent", "run", "p", "m", prompt="secret"))
    with ThreadPoolExecutor(1) as pool, persistence.transaction():
        persistence.delete_agent_run("run")
        page = pool.submit(other.search_text, "secret", max_wait=60).result()
        assert (len(page), page.pending) == (0, 1)
    assert [hit.kind for hit in other.search_text("-secret")] == ["usage"]
    index = other._store.search_index
    assert index.find([(Term("secret"),)], since=-(2**62), before=2**62, limit=9) == []


@pytest.mark.slow
def test_a_rebuild_that_deadlocks_with_a_deletion_tries_again(
    open_postgres: Open, ask: Ask, schema_name: str
) -> None:
    persistence, other = open_postgres(), open_postgres()
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
    for name in ("first", "last"):
        persistence.create_agent_run(AgentRun("agent", name, objective="kept"))
    persistence.create_agent_run(AgentRun("agent", "other", objective="kept"))
    persistence.search.index_pending()
    with ThreadPoolExecutor(1) as pool:
        while True:
            # Of the two, the database ends the one that has waited for a second.
            with suppress(BusyError), persistence.transaction():
                persistence.delete_agent_run("last")
                rebuilt = pool.submit(other.search.rebuild)
                wait_until(lambda: ask(waiting, f"%{schema_name}%documents%"))
                persistence.delete_agent_run("first")
                break
        assert rebuilt.result() == 1
    assert_whole(persistence)


# --- many processes at once, which are killed -----------------------------------------------------

CHANGE = """
import itertools
persistence = PostgresPersistence(dsn=sys.argv[1], schema=sys.argv[2])
for number in itertools.count():
    run = f"{os.getpid()}-{number}"
    persistence.log_agent_run_events(
        AgentRunEvent("agent", run, event_type="log", message="word") for _ in range(15)
    )
    persistence.update_agent_run("kept", AgentRun("agent", "kept", objective=f"kept {number}"))
    persistence.search.index_pending()
    if number % 2:
        persistence.delete_agent_run(run)
    if number % 20 == 10:
        persistence.search.rebuild()
    print(number, flush=True)
"""


@pytest.mark.slow
def test_an_index_changed_by_killed_processes_stays_consistent(
    open_postgres: Open, dsn: str, schema_name: str
) -> None:
    persistence = open_postgres()
    persistence.create_agent_run(AgentRun("agent", "kept", objective="kept"))
    for steps in soak.times(2):
        with Child(CHANGE, dsn, schema_name) as killed, Child(CHANGE, dsn, schema_name) as child:
            for _ in range(5 + 3 * steps):
                killed.read()
            killed.kill()
            for _ in range(15):
                child.read()
                page = persistence.search_text("kept")
                assert len(page) == 1 or page.pending
    events = sum(1 for _ in persistence.events.iterate())
    assert len(found(persistence, "word")) == events
    assert_whole(persistence)


def test_a_search_leaves_the_settings_of_its_connection_unchanged(open_postgres: Open) -> None:
    persistence = open_postgres()
    say(persistence, "word")
    read = persistence._store._read  # type: ignore[attr-defined]
    before = read("SHOW random_page_cost", ())
    assert found(persistence, "word") == ["word"]
    assert read("SHOW random_page_cost", ()) == before
