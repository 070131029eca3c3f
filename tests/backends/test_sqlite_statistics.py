"""Statistics over a large SQLite file: two threads answer them, each part by its own stretch of an
index, and nobody can tell."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from traceback import extract_tb
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curio_persistence import (
    AgentLLMUsage,
    ClosedError,
    CorruptDatabaseError,
    InMemoryPersistence,
    Persistence,
    SQLitePersistence,
)
from curio_persistence.backends.sqlite import parts
from curio_persistence.backends.sqlite.store import SQLiteStore
from curio_persistence.store.base import Question
from curio_persistence.store.filters import COUNT
from curio_persistence.tables import EVENTS, RUNS, USAGE
from tests.support.children import Child, Fork, open_files

ROWS = parts.LARGE + 1

# Every seventh call is nobody's, and a few agents have most of the others.
FILL = f"""
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
INSERT INTO agent_llm_usage
    (agent_id, model, status, input_tokens, output_tokens, cost_usd, latency_ms, created_at)
SELECT CASE WHEN i % 7 THEN printf('agent %03d', (i * 7919 % 1000) * (i % 1000) / 1000) END,
    'model ' || (i % 3), CASE WHEN i % 50 THEN 'success' ELSE 'error' END,
    i % 8000, i % 900, (i % 7) * 1000000, i * 7919 % 5000, '2026-11-20T10:30:00.000000+00:00'
FROM n
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "agents.db"
    SQLitePersistence(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(FILL)
    return path


@pytest.fixture
def path(filled: Path, tmp_path: Path) -> Path:
    """A file of the test's own, with so many calls that two threads share them out."""
    path = tmp_path / filled.name
    path.write_bytes(filled.read_bytes())
    return path


@pytest.fixture
def persistence(path: Path) -> Iterator[SQLitePersistence]:
    with SQLitePersistence(path) as persistence:
        yield persistence


@pytest.fixture(autouse=True)
def no_thread_runs_on() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def store_of(persistence: Persistence) -> SQLiteStore:
    assert isinstance(persistence._store, SQLiteStore)
    return persistence._store


def open_readers(persistence: SQLitePersistence) -> int:
    return sum(reader.connection is not None for reader in store_of(persistence)._readers)


Reading = tuple[str, str, tuple[Any, ...]]
"""Who asked for what."""


@pytest.fixture
def readings(persistence: SQLitePersistence, monkeypatch: pytest.MonkeyPatch) -> list[Reading]:
    """What is read from now on."""
    asked: list[Reading] = []
    read = store_of(persistence)._read

    def note_and_read(sql: str, params: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        asked.append((threading.current_thread().name, sql, params))
        return read(sql, params)

    monkeypatch.setattr(store_of(persistence), "_read", note_and_read)
    return asked


def answered_by_one_thread(persistence: SQLitePersistence) -> dict[str, Any]:
    """Inside a transaction there is only one connection to ask."""
    with persistence.transaction():
        return persistence.get_agent_run_stats()


# --- the answer -------------------------------------------------------------------------------


def test_two_threads_answer_what_one_would(
    persistence: SQLitePersistence, readings: list[Reading]
) -> None:
    stats = persistence.get_agent_run_stats()
    assert {thread for thread, *_ in readings} == {"MainThread", "curio-side-by-side"}
    readings.clear()
    assert stats == answered_by_one_thread(persistence)
    assert {thread for thread, *_ in readings} == {"MainThread"}
    assert stats["total_llm_calls"] == ROWS
    assert stats["by_model"]["model 1"]["errors"] == sum(
        n % 3 == 1 for n in range(50, ROWS + 1, 50)
    )


def test_fewer_rows_are_not_worth_a_thread(
    persistence: SQLitePersistence, path: Path, readings: list[Reading]
) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM agent_llm_usage WHERE id > ?", (parts.LARGE - 1,))
    assert persistence.get_agent_run_stats()["total_llm_calls"] == parts.LARGE - 1
    assert {thread for thread, *_ in readings} == {"MainThread"}


def test_one_agent_is_not_worth_a_thread(
    persistence: SQLitePersistence, readings: list[Reading]
) -> None:
    assert persistence.get_agent_run_stats("agent 007")["total_llm_calls"] > 0
    assert {thread for thread, *_ in readings} == {"MainThread"}


def test_inside_a_transaction_they_see_its_writes(persistence: SQLitePersistence) -> None:
    with persistence.transaction():
        persistence.log_llm_usage(AgentLLMUsage("agent", None, model="new"))
        assert persistence.get_agent_run_stats()["by_model"]["new"]["calls"] == 1


def test_sums_that_leave_64_bits_are_exact(persistence: SQLitePersistence) -> None:
    before = persistence.get_agent_run_stats()["total_input_tokens"]
    for _ in range(3):
        call = AgentLLMUsage("agent 007", None, model="model 1", input_tokens=2**63 - 1)
        persistence.log_llm_usage(call)
    stats = persistence.get_agent_run_stats()
    assert stats["total_input_tokens"] == before + 3 * (2**63 - 1)
    assert stats == answered_by_one_thread(persistence)


def test_where_hardly_any_row_is_left_they_are_right_as_well(
    persistence: SQLitePersistence, path: Path
) -> None:
    """The ids tell how many rows there have been, not how many there are."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM agent_llm_usage WHERE id < ?", (ROWS,))
    assert persistence.get_agent_run_stats()["total_llm_calls"] == 1


_AGENTS = st.one_of(st.none(), st.sampled_from(["a", "b", "ab", "é", "\uffee", "🙂", "a" * 255]))
_NUMBERS = st.one_of(st.none(), st.integers(0, 9), st.integers(-(2**63), 2**63 - 1))
_CALLS = st.builds(
    lambda agent, model, status, tokens, latency, cost: AgentLLMUsage(
        agent,
        None,
        model=model,
        status=status,
        input_tokens=tokens,
        latency_ms=latency,
        cost_usd=cost,
    ),
    _AGENTS,
    st.sampled_from(["", "m", 'it\'s "n"\\', "\x01\u2028"]),
    st.sampled_from(["success", "error"]),
    _NUMBERS,
    _NUMBERS,
    st.sampled_from([None, Decimal(0), Decimal("0.000000000001")]),
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SQLitePersistence]:
    with SQLitePersistence(tmp_path_factory.mktemp("small") / "agents.db") as persistence:
        yield persistence


@given(calls=st.lists(_CALLS, min_size=1, max_size=40), parts=st.integers(2, 20))
def test_wherever_it_is_cut_a_table_has_the_same_statistics(
    small: SQLitePersistence, calls: list[AgentLLMUsage], parts: int
) -> None:
    with pytest.MonkeyPatch.context() as patch, InMemoryPersistence() as memory:
        patch.setattr(parts, "LARGE", 1)
        patch.setattr(parts, "_PARTS", parts)
        store_of(small).delete(USAGE, ())
        small.log_llm_usages(calls)
        memory.log_llm_usages(calls)
        assert small.get_agent_run_stats() == memory.get_agent_run_stats()


# --- the parts --------------------------------------------------------------------------------


def of_all(table: Any, *group_by: str) -> Question:
    return Question(table, (COUNT,), (), group_by)


def test_only_where_no_row_changes_its_group_is_a_table_cut() -> None:
    """Between two parts it could come from one that is yet to be counted to one that was."""
    assert parts.dividing_column(of_all(USAGE, "agent_id", "model")) == "agent_id"
    assert parts.dividing_column(of_all(EVENTS, "agent_id")) == "agent_id"
    assert parts.dividing_column(of_all(RUNS, "agent_id")) is None


@pytest.mark.parametrize("last", [100_000, 1_000_000, 2**20, 2**40])
def test_whoever_takes_turns_in_writing_is_looked_at(last: int) -> None:
    """Ids at even distances, say, could all be the same one's."""
    for turns in range(2, 9):
        assert {ident % turns for ident in parts.some_ids(last)} == set(range(turns))


def test_parts_are_of_about_one_size(persistence: SQLitePersistence) -> None:
    store = store_of(persistence)
    answers = [store._answer(part) for part in store._parts(of_all(USAGE, "agent_id"))]
    nobodys, *sizes = [sum(count for _, count in groups) for groups in answers]
    assert nobodys + sum(sizes) == ROWS
    assert nobodys == ROWS // 7
    assert len(sizes) > 10
    assert max(sizes) < ROWS / 5


@pytest.mark.parametrize("analyzed", [False, True])
def test_each_part_is_answered_by_an_index_in_its_order(
    persistence: SQLitePersistence, path: Path, readings: list[Reading], analyzed: bool
) -> None:
    with closing(sqlite3.connect(path)) as connection:
        if analyzed:
            connection.execute("ANALYZE")
        persistence.get_agent_run_stats()
        plans = [
            [detail for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {sql}", params)]
            for _, sql, params in readings
            if "agent_llm_usage" in sql and "latency_ms IS NOT NULL" not in sql
        ]
    seeks = [step for plan in plans for step in plan if "agent_llm_usage" in step]
    assert len(seeks) > 10
    largest, samples, *parts = seeks
    assert largest == "SEARCH agent_llm_usage"
    assert samples == "SEARCH agent_llm_usage USING INTEGER PRIMARY KEY (rowid=?)"
    begin = "SEARCH agent_llm_usage USING COVERING INDEX agent_llm_usage_stats (agent_id"
    assert {step.removeprefix(begin) for step in parts} == {
        "=?)",
        "<?)",
        ">?)",
        ">? AND agent_id<?)",
    }
    assert not [step for plan in plans[2:] for step in plan if "TEMP B-TREE" in step]


# --- the threads ------------------------------------------------------------------------------


def test_no_connection_is_left_behind(persistence: SQLitePersistence, path: Path) -> None:
    """SQLite keeps the descriptor for the next connection, so that there is one more, once."""
    persistence.get_agent_run("run")
    persistence.get_agent_run_stats()
    before = open_files(str(path))
    for _ in range(5):
        persistence.get_agent_run_stats()
    assert open_readers(persistence) == 1
    assert open_files(str(path)) == before


@pytest.fixture
def damaged(path: Path) -> Path:
    """A file in which a page of the statistics' index is unreadable."""
    page, data = 4096, bytearray(path.read_bytes())
    leaves = [
        begin
        for begin in range(0, len(data), page)
        # Of the indexes only this one has the model. 10 stands for a leaf of an index.
        if data[begin] == 10 and b"model 1" in data[begin : begin + page]
    ]
    begin = leaves[len(leaves) // 2]
    data[begin : begin + page] = b"\xff" * page
    path.write_bytes(data)
    return path


def test_what_goes_wrong_in_either_thread_is_raised(damaged: Path) -> None:
    """It is a matter of chance which of them comes to the damaged page."""
    wrong_in = set()
    with SQLitePersistence(damaged) as persistence:
        deadline = time.monotonic() + 20
        while len(wrong_in) < 2:
            assert time.monotonic() < deadline, f"always in the same: {wrong_in}"
            with pytest.raises(CorruptDatabaseError) as caught:
                persistence.get_agent_run_stats()
            wrong_in.add("help" in {frame.name for frame in extract_tb(caught.tb)})
            assert open_readers(persistence) == 1  # Although `caught` knows the other's.
        assert len(persistence.get_llm_usage()) == 100


def ask_for_ever(persistence: SQLitePersistence) -> None:
    while True:
        persistence.get_agent_run_stats()


def test_closing_while_threads_are_at_it_raises_nothing_but_closed(path: Path) -> None:
    persistence = SQLitePersistence(path)
    busy = threading.Barrier(4)

    def work() -> None:
        busy.wait(10)
        with pytest.raises(ClosedError):
            ask_for_ever(persistence)

    with ThreadPoolExecutor(3) as pool:
        workers = [pool.submit(work) for _ in range(3)]
        busy.wait(10)
        persistence.close()
        for worker in workers:
            worker.result(timeout=20)
    assert open_files(str(path)) == []


def test_a_fork_while_threads_are_at_it_can_ask_as_well(
    persistence: SQLitePersistence, path: Path
) -> None:
    expected = persistence.get_agent_run_stats()
    stop = threading.Event()

    def ask() -> bool:
        return persistence.get_agent_run_stats() == expected

    def keep_asking() -> int:
        times = 0
        while not stop.is_set():
            assert ask()
            times += 1
        return times

    with ThreadPoolExecutor(2) as pool:
        askers = [pool.submit(keep_asking) for _ in range(2)]
        try:
            assert [Fork(ask).result() for _ in range(5)] == [True] * 5
        finally:
            stop.set()
        assert all(asker.result(timeout=20) > 0 for asker in askers)


# --- a file that is only read ------------------------------------------------------------------


def test_opened_read_only_they_are_answered_alike(path: Path) -> None:
    before = path.read_bytes()
    with SQLitePersistence(path, read_only=True) as persistence:
        assert persistence.get_agent_run_stats()["total_llm_calls"] == ROWS
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == before


REPORT = """
with SQLitePersistence(sys.argv[1], read_only=True) as persistence:
    print(persistence.get_agent_run_stats()["total_llm_calls"])
"""


def test_in_a_folder_that_cannot_be_written_to_they_are_answered_alike(filled: Path) -> None:
    """There each reading opens the file anew."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(shutil.copy(filled, folder))
        path.chmod(0o444)
        path.parent.chmod(0o555)
        with Child(REPORT, path, as_nobody=True) as child:
            assert child.finish() == f"{ROWS}\n"
        assert [file.name for file in path.parent.iterdir()] == [path.name]
