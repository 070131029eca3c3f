"""The search index beside other processes, unfinished transactions, kills and deletions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
import pytest

from curio_persistence import (
    AccessDeniedError,
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    CorruptDatabaseError,
    Persistence,
    PostgresPersistence,
    SQLitePersistence,
)
from curio_persistence.backends.postgres import posting_lists, postings
from curio_persistence.backends.postgres.postings import Page
from curio_persistence.backends.sql.migrations import SEARCH_TABLES
from curio_persistence.capabilities.search.indexing import Mark, Missing
from curio_persistence.store.search_index import Term, Wanted
from curio_persistence.tables import EVENTS
from tests.backends.conftest import Ask, Open
from tests.support import soak
from tests.support.children import Child

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
    assert {finding.level for finding in persistence.search.check(deep=True)} == {"ok"}


# --- transactions that end late -------------------------------------------------------------------


def test_what_is_committed_after_a_later_one_is_found(
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


def test_what_was_rolled_back_is_not_waited_for_for_ever(
    open_postgres: Open, dsn: str, schema_name: str
) -> None:
    persistence = open_postgres()
    say(persistence, "one")
    with closing(psycopg2.connect(dsn)) as slow, slow.cursor() as cursor:
        cursor.execute(INSERT.format(schema_name), ("never",))
        say(persistence, "two")
        persistence.search.index_pending()
        slow.rollback()
    for _ in range(4):
        say(persistence, "more")
        persistence.search.index_pending()
    mark = Mark.read(persistence._store.words.notes()["agent_run_events"])
    assert mark.ranges == ()
    assert found(persistence, "never") == []


def test_many_missing_ids_are_asked_for_together(
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


NOW, THEN = frozenset({"now"}), frozenset({"then"})


@pytest.mark.parametrize(
    ("mark", "ids", "upto", "before", "expected"),
    [
        (Mark(), [1, 2, 3], 3, frozenset(), Mark(3)),
        (Mark(), [1, 3, 6], 6, NOW, Mark(6, later=Missing(((2, 3), (4, 6)), NOW))),
        (Mark(6, later=Missing(((2, 3),), NOW)), [], 6, NOW, Mark(6, Missing(((2, 3),), NOW))),
        (Mark(6, Missing(((2, 5),), NOW)), [3], 6, NOW, Mark(6, Missing(((2, 3), (4, 5)), NOW))),
        (Mark(6, Missing(((2, 5),), THEN)), [3], 6, NOW, Mark(6)),
        (Mark(6, Missing(((2, 3),), NOW)), [2], 6, NOW, Mark(6)),
    ],
)
def test_ids_are_missed_until_nobody_can_store_them(
    mark: Mark, ids: list[int], upto: int, before: frozenset[str], expected: Mark
) -> None:
    assert mark.after(ids, upto, before, lambda: NOW) == expected
    assert Mark.read(expected.text()) == expected


# --- several at a time ----------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgres"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterable[Persistence]:
    """A database that several may write to."""
    if request.param == "sqlite":
        with SQLitePersistence(tmp_path / "agents.db") as persistence:
            yield persistence
        return
    schema_name = request.getfixturevalue("schema_name")
    dsn = request.getfixturevalue("postgres18")
    with PostgresPersistence(dsn=dsn, schema=schema_name) as persistence:
        yield persistence


def test_several_indexers_take_each_record_up_once(shared: Persistence) -> None:
    messages = [f"word {number}" for number in range(3_000)]
    events = [AgentRunEvent("agent", "run", event_type="log", message=m) for m in messages]
    shared.log_agent_run_events(events)
    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(lambda _: shared.search.index_pending(), range(4)))
    assert sum(counts) == 3_001
    assert sorted(found(shared, "word")) == sorted(messages)
    assert_whole(shared)


def test_who_writes_and_who_searches_do_not_disturb_each_other(shared: Persistence) -> None:
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


def test_who_cannot_index_now_searches_what_is_indexed(tmp_path: Path) -> None:
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


def test_a_run_that_somebody_changes_keeps_nobody_from_searching(
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


def test_who_must_not_index_searches_what_is_indexed(
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


def test_the_largest_ids_are_taken_up_and_left_out(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("early", [0, 1])
def test_ids_that_come_back_while_somebody_indexes_are_taken_up(tmp_path: Path, early: int) -> None:
    with SQLitePersistence(tmp_path / "agents.db") as persistence:
        persistence.append_event("first", "agent", "log", message="word first")
        say(persistence, "old")
        indexing = persistence.search._indexing
        # What somebody else does who is about to take up what he has read.
        rows = indexing._rows(EVENTS, (), 10)
        persistence.delete_agent_run("run")
        new = ["word new", "word newer"]
        say(persistence, *new[:early])
        indexing._take_over(EVENTS, Mark(), Mark(rows[-1].id), rows)
        say(persistence, *new[early:])
        assert sorted(found(persistence, "word")) == ["word first", *new]
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
def test_an_indexer_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
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


# --- what was deleted -----------------------------------------------------------------------------


def test_of_what_was_deleted_no_word_is_left_in_the_files(tmp_path: Path) -> None:
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


def test_of_what_was_deleted_no_word_is_left_in_the_index_of_a_schema(
    open_postgres: Open, ask: Ask, schema_name: str
) -> None:
    persistence = open_postgres()
    # Of one segment some is left, of the other nothing.
    for begin, end in ((0, 100), (50, 100)):
        for number in range(begin, end):
            persistence.append_event(f"run-{number}", "agent", "log", message=f"marker{number}")
        persistence.search.index_pending()
    for number in range(50, 100):
        persistence.delete_agent_run(f"run-{number}")
    assert words_of_index(ask, schema_name) > {"marker0", "marker50"}
    persistence.compact()
    words = words_of_index(ask, schema_name)
    assert {word for word in words if word.startswith("marker")} == {
        f"marker{number}" for number in range(50)
    }
    assert_whole(persistence)
    assert len(found(persistence, "marker*")) == 50
    for table in SEARCH_TABLES["postgres"]:
        assert b"marker5" not in octets_of(ask, f"{schema_name}.{table}")


def words_of_index(ask: Ask, schema_name: str) -> set[str]:
    pages = ask(f"SELECT page FROM {schema_name}.agent_search_postings")
    return {word for (page,) in pages for word in Page.read(page).words}


def octets_of(ask: Ask, table: str) -> bytes:
    """What is in the files of a table and its indexes."""
    ask("CHECKPOINT")
    files = ask(
        "SELECT pg_read_binary_file(pg_relation_filepath(oid)) FROM (SELECT %s::regclass::oid "
        "UNION ALL SELECT indexrelid FROM pg_index WHERE indrelid = %s::regclass) t (oid)",
        table,
        table,
    )
    return b"".join(bytes(octets) for (octets,) in files)


# --- segments and their merging -------------------------------------------------------------------


def test_many_small_segments_are_merged(open_postgres: Open, ask: Ask, schema_name: str) -> None:
    persistence = open_postgres()
    for number in range(100):
        say(persistence, f"word w{number % 7}")
        assert len(found(persistence, "word")) == number + 1
    [(segments,)] = ask(f"SELECT count(*) FROM {schema_name}.agent_search_segments")
    assert segments < 40
    assert len(found(persistence, "word w3")) == 14
    assert_whole(persistence)


def test_a_block_that_is_full_is_one_segment(
    open_postgres: Open, ask: Ask, schema_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (postings, posting_lists):
        monkeypatch.setattr(module, "BLOCK", 64)
    monkeypatch.setattr(posting_lists, "_IN_A_ROW", 16)
    persistence = open_postgres()
    for begin in range(0, 200, 50):
        say(persistence, *(f"word w{number}" for number in range(begin, begin + 50)))
        persistence.search.index_pending()
    sizes = ask(f"SELECT size FROM {schema_name}.agent_search_segments ORDER BY first")
    assert [size for (size,) in sizes[:3]] == [64, 64, 64]
    assert found(persistence, "word") == [f"word w{number}" for number in reversed(range(200))]
    assert found(persistence, "w131") == ["word w131"]
    assert_whole(persistence)


def test_segments_that_lie_across_each_other_are_found_in_order(open_postgres: Open) -> None:
    persistence = open_postgres()
    moments = [datetime(2026, 1, day, tzinfo=UTC) for day in (5, 9, 1, 7, 3, 8, 2, 6, 4)]
    for moment in moments:
        persistence.append_event("run", "agent", "log", message="word", timestamp=moment)
        persistence.search.index_pending()
    hits = list(persistence.search_text("word", limit=None))
    assert [hit.timestamp for hit in hits] == sorted(moments, reverse=True)
    page = persistence.search_text("word", limit=2, since=moments[2], until=moments[3])
    assert [hit.timestamp.day for hit in page] == [6, 5]


def test_beginnings_of_words_are_found_in_segments_that_have_one_or_several(
    open_postgres: Open,
) -> None:
    persistence = open_postgres()
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    for message in ("begins", "begin begins beginning", "other", "begun", "begin begun"):
        persistence.append_event("run", "agent", "log", message=message, timestamp=moment)
        persistence.search.index_pending()
    assert sorted(found(persistence, "beg*")) == [
        "begin begins beginning",
        "begin begun",
        "begins",
        "begun",
    ]


def test_a_search_goes_on_while_segments_are_merged(open_postgres: Open) -> None:
    persistence = open_postgres()
    say(persistence, "rare")

    def index(_: int) -> None:
        for number in range(150):
            say(persistence, f"word {number}")
            persistence.search.index_pending()

    with ThreadPoolExecutor(1) as pool:
        indexing = pool.submit(index, 0)
        while not indexing.done():
            assert found(persistence, "rare") == ["rare"]
        indexing.result()
    assert len(found(persistence, "word")) == 150


def test_the_words_of_a_segment_go_with_its_last_record(
    open_postgres: Open, ask: Ask, schema_name: str
) -> None:
    persistence = open_postgres()
    say(persistence, *(f"word {number}" for number in range(50)))
    persistence.search.index_pending()
    persistence.delete_agent_run("run")
    [(segments,)] = ask(f"SELECT count(*) FROM {schema_name}.agent_search_segments")
    assert (segments, words_of_index(ask, schema_name)) == (0, set())


def test_what_lies_between_segments_that_are_gone_is_merged_as_it_was(
    open_postgres: Open,
) -> None:
    persistence = open_postgres()
    for run in ("first", "gone", "last", *(f"run-{number}" for number in range(20))):
        persistence.log_agent_run_events(
            AgentRunEvent("agent", run, event_type="log", message=f"word {run} {number}")
            for number in range(20)
        )
        persistence.search.index_pending()
        if run == "last":
            assert persistence.delete_agent_run("gone")
    assert len(found(persistence, "last")) == 20
    assert len(found(persistence, "word")) == 22 * 20
    assert found(persistence, "gone") == []
    assert_whole(persistence)
    persistence.compact()
    assert len(found(persistence, "word")) == 22 * 20
    assert_whole(persistence)


def test_a_segment_that_compact_has_emptied_is_left_out(
    open_postgres: Open, ask: Ask, schema_name: str
) -> None:
    persistence = open_postgres()
    for number in range(3):
        persistence.append_event(f"run-{number}", "agent", "log", message="word")
    persistence.search.index_pending()
    for number in range(3):
        persistence.delete_agent_run(f"run-{number}")
        persistence.compact()
    [(segments,)] = ask(f"SELECT count(*) FROM {schema_name}.agent_search_segments")
    [(places,)] = ask(f"SELECT count(*) FROM {schema_name}.agent_search_places")
    assert (segments, places) == (0, 0)


@pytest.fixture
def two_runs(open_postgres: Open) -> PostgresPersistence:
    """Both in one segment."""
    persistence = open_postgres()
    persistence.create_agent_runs(AgentRun("agent", run, objective="word") for run in ("a", "b"))
    persistence.search.index_pending()
    return persistence


def test_a_run_that_changes_while_somebody_searches_is_found(
    two_runs: PostgresPersistence,
) -> None:
    words = two_runs._store.words
    [places] = words._postings.find(Wanted(((Term("word"),),)), -(2**62), 2**62)
    # One is taken up anew between two questions to the server.
    two_runs.update_agent_run("a", AgentRun("agent", "a", objective="word again"))
    two_runs.search.index_pending()
    assert len(words._living(places)) == 2


def test_a_run_that_has_changed_is_found_beside_one_that_has_not(
    two_runs: PostgresPersistence,
) -> None:
    for number in range(3):
        two_runs.update_agent_run("a", AgentRun("agent", "a", objective=f"word {number}"))
        assert sorted(hit.run_id or "" for hit in two_runs.search_text("word")) == ["a", "b"]


def test_segments_that_are_merged_while_they_are_checked_are_no_damage(
    open_postgres: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    persistence, other = open_postgres(), open_postgres()
    say(persistence, "word")
    persistence.search.index_pending()
    index = persistence._store.words._postings
    before, _ = index._segments_where("true ORDER BY first", ())
    for number in range(40):
        say(other, f"word {number}")
        other.search.index_pending()
    assert before not in index._segments_where("true", ())
    now = index._segments_where
    seen = iter([[before]])
    monkeypatch.setattr(index, "_segments_where", lambda *args: next(seen, None) or now(*args))
    assert index.check() == ""


@pytest.mark.parametrize(
    ("table", "damage"),
    [
        ("postings", "page = ''"),
        ("postings", r"page = '\x00'"),
        ("postings", "page = substr(page, 1, 20)"),
        ("postings", "word = 'zz'"),
        ("places", "places = ''"),
        ("places", "number = 7"),
    ],
)
def test_a_damaged_page_is_told_of(
    open_postgres: Open, ask: Ask, schema_name: str, table: str, damage: str
) -> None:
    persistence = open_postgres()
    say(persistence, "word one")
    persistence.search.index_pending()
    ask(f"UPDATE {schema_name}.agent_search_{table} SET {damage} RETURNING 1")
    [finding] = persistence.search.check(deep=True)
    assert finding.level == "warning"
    assert "the search index is damaged: " in finding.message
    if "word" not in damage:
        with pytest.raises(CorruptDatabaseError, match="index --rebuild"):
            persistence.search_text("word")
    persistence.search.rebuild()
    assert found(persistence, "word") == ["word one"]
    assert_whole(persistence)


def test_of_many_pages_a_search_reads_those_that_it_needs(
    open_postgres: Open, ask: Ask, schema_name: str
) -> None:
    persistence = open_postgres()
    persistence.log_agent_run_events(
        AgentRunEvent("agent", "run", event_type="log", message=f"frequent rare{number}")
        for number in range(5_000)
    )
    persistence.search.index_pending()
    persistence.compact()
    [(pages,)] = ask(f"SELECT count(*) FROM {schema_name}.agent_search_postings")
    index = persistence._store.words._postings
    segments = index._segments_where("true", ())
    read = index._pages_with(Wanted(((Term("rare77"),), (Term("frequent"),))), segments)
    assert pages > 8
    assert {len(each) for each in read.values()} == {2}


def test_a_page_is_read_once_for_all_that_is_looked_for_in_it(open_postgres: Open) -> None:
    persistence = open_postgres()
    say(persistence, *(f"word{number}" for number in range(20)))
    persistence.search.index_pending()
    index = persistence._store.words._postings
    segments = index._segments_where("true", ())
    anything = Wanted((tuple(Term(f"word{number}") for number in range(20)),))
    read = index._pages_with(anything, segments)
    pages = [page.words for each in read.values() for page in each]
    assert len(pages) == len(set(map(tuple, pages)))


# --- who changes what is to be indexed, and takes his time ----------------------------------------


def test_a_run_that_somebody_is_changing_keeps_no_search_waiting(
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


def test_who_holds_the_index_is_waited_for_no_longer_than_is_said(open_postgres: Open) -> None:
    persistence, other = open_postgres(), open_postgres()
    persistence.create_agent_run(AgentRun("agent", "run"))
    persistence.search.index_pending()
    with other.transaction():
        say(other, "word one")
        assert len(other.search_text("word")) == 1
        say(persistence, "word two")
        page = persistence.search_text("word", max_wait=0.05)
        assert (len(page), page.pending) == (0, 1)
    assert sorted(found(persistence, "word")) == ["word one", "word two"]


# --- processes that do everything at a time, and are killed ---------------------------------------

CHANGE = """
import itertools
from curio_persistence.backends.postgres import posting_lists
from curio_persistence.backends.postgres import postings
posting_lists.BLOCK = postings.BLOCK = 128
posting_lists._IN_A_ROW, postings._TIMES = 16, 3
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
        persistence.compact()
    print(number, flush=True)
"""


@pytest.mark.slow
def test_whoever_is_killed_while_many_change_the_index_leaves_it_whole(
    open_postgres: Open, dsn: str, schema_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (postings, posting_lists):
        monkeypatch.setattr(module, "BLOCK", 128)
    monkeypatch.setattr(posting_lists, "_IN_A_ROW", 16)
    persistence = open_postgres()
    persistence.create_agent_run(AgentRun("agent", "kept", objective="kept"))
    for steps in soak.times(2):
        with Child(CHANGE, dsn, schema_name) as killed, Child(CHANGE, dsn, schema_name) as child:
            for _ in range(5 + 3 * steps):
                killed.read()
            killed.kill()
            for _ in range(15):
                child.read()
                # While somebody is changing it, it is pending.
                page = persistence.search_text("kept")
                assert len(page) == 1 or page.pending
    events = sum(1 for _ in persistence.events.iterate())
    assert len(found(persistence, "word")) == events
    assert_whole(persistence)
