"""Tables of a SQLite file are read as CSV, in chunks of one state."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curio_persistence import AgentLLMUsage, Persistence, SQLitePersistence
from curio_persistence.backends.sqlite import streams
from curio_persistence.results import csv as results_csv
from tests.support.listings import NOON, ORDERS, write

in_each_order = pytest.mark.parametrize("order", ORDERS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def persistence(path: Path) -> Iterator[SQLitePersistence]:
    with SQLitePersistence(path) as persistence:
        yield persistence


@pytest.fixture(autouse=True)
def few_rows_are_many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results_csv, "_FIRST_ROWS", 3)
    monkeypatch.setattr(results_csv, "_MOST_ROWS", 7)


def assert_the_same_either_way(persistence: Persistence, **options: Any) -> None:
    table = persistence.iter_llm_usage(**options).to_arrow()
    assert table.equals(persistence.query_llm_usage(limit=None, **options).to_arrow())


@in_each_order
@pytest.mark.parametrize("rows", [10, 11, 13, 50])
def test_the_chunks_are_the_whole_table(
    persistence: SQLitePersistence, order: str, rows: int
) -> None:
    write(persistence, AgentLLMUsage, range(rows), moments=4)
    write(persistence, AgentLLMUsage, range(3), agent_id="other")
    assert_the_same_either_way(persistence, order=order)
    assert_the_same_either_way(persistence, order=order, agent_id="other")
    assert_the_same_either_way(persistence, order=order, agent_id="unknown")


@in_each_order
def test_a_chunk_that_would_be_too_long_is_read_as_several(
    persistence: SQLitePersistence, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is divided down to a single row that is too long."""
    monkeypatch.setattr(streams, "_LONGEST", 2_000)
    for number, length in enumerate([1, 1, 700, 900, 5_000, 700, 1, 1, 1, 1, 3_000, 1]):
        usage = AgentLLMUsage(
            "a", None, prompt="'" * length, created_at=NOON + timedelta(seconds=number)
        )
        persistence.log_llm_usage(usage)
    assert_the_same_either_way(persistence, order=order)


def test_a_table_shows_one_moment(persistence: SQLitePersistence) -> None:
    """Another thread stores rows at both ends meanwhile, in one transaction each time."""
    write(persistence, AgentLLMUsage, range(50), moments=50)

    def store_pairs() -> None:
        for number in range(1, 400):
            with persistence.transaction():
                for name, at in ("first", -number), ("last", 1_000 + number):
                    when = NOON + timedelta(seconds=at)
                    persistence.log_llm_usage(AgentLLMUsage(name, None, created_at=when))

    with ThreadPoolExecutor(1) as pool:
        storing = pool.submit(store_pairs)
        while not storing.done():
            agents = persistence.iter_llm_usage().to_arrow()["agent_id"].to_pylist()
            assert agents.count("first") == agents.count("last")
            assert agents.count("agent") == 50
        storing.result()


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_a_file_created_with_another_encoding(path: Path, encoding: str) -> None:
    made = sqlite3.connect(path)
    made.execute(f"PRAGMA encoding = '{encoding}'")
    made.execute("CREATE TABLE theirs (x)")
    made.close()
    with SQLitePersistence(path) as persistence:
        for text in ["it's", "é🙂漢", "\0\ud800", ""] * 5:
            persistence.log_llm_usage(AgentLLMUsage("ä", None, prompt=text))
        assert_the_same_either_way(persistence)


def test_a_reader_only_reads_tables_too(persistence: SQLitePersistence, path: Path) -> None:
    write(persistence, AgentLLMUsage, range(20))
    persistence.close()
    with SQLitePersistence(path, read_only=True) as reading:
        assert_the_same_either_way(reading)


def test_a_table_of_a_closed_database_raises_instead_of_ending(
    persistence: SQLitePersistence,
) -> None:
    write(persistence, AgentLLMUsage, range(50))
    batches = pa.RecordBatchReader.from_stream(persistence.iter_llm_usage())
    batches.read_next_batch()
    persistence.close()
    with pytest.raises(Exception, match="was closed"):
        batches.read_all()
