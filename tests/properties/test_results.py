"""Pages and tables contain all records, whatever they are, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from itertools import cycle
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, Persistence
from curio_persistence.backends.memory.store import MemoryStore
from curio_persistence.backends.sqlite.store import SQLiteStore
from curio_persistence.results import csv as results_csv
from curio_persistence.store.base import Store
from curio_persistence.tables import TABLES
from tests.properties.strategies import (
    NOON,
    a_cost,
    a_count,
    a_name,
    a_time,
    an_id,
    an_integer,
    any_text,
    few_agents,
    few_runs,
    few_statuses,
    few_times,
    few_types,
    maybe,
)
from tests.support import soak
from tests.support.batches import Kind, write_all
from tests.support.listings import ORDERS, iterate, query

Emptied = tuple[Store, Callable[[], None]]

times = few_times.map(lambda time: time or NOON) | a_time

runs = st.builds(
    AgentRun,
    agent_id=few_agents,
    run_id=an_id,
    agent_name=a_name,
    objective=any_text,
    started_at=maybe(a_time),
    total_iterations=an_integer,
    final_synthesis_output=maybe(any_text),
    status=few_statuses,
    metadata=maybe(any_text),
    created_at=times,
    session_id=maybe(an_id),
)
events = st.builds(
    AgentRunEvent,
    agent_id=few_agents,
    run_id=few_runs,
    agent_name=a_name,
    timestamp=times,
    event_type=few_types,
    data=maybe(any_text),
)
usage = st.builds(
    AgentLLMUsage,
    agent_id=maybe(few_agents),
    run_id=maybe(few_runs),
    model=a_name,
    prompt=any_text,
    input_tokens=maybe(a_count),
    response_content=maybe(any_text),
    created_at=times,
    span_id=maybe(an_id),
    cost_usd=maybe(a_cost),
)
some_records: SearchStrategy[list[Any]] = st.one_of(
    st.lists(runs, max_size=12, unique_by=lambda run: run.run_id),
    st.lists(events, max_size=12),
    st.lists(usage, max_size=12),
)
page_sizes = st.lists(st.integers(1, 5), min_size=1, max_size=4)
filters = st.sampled_from([{}, {"agent_id": "a"}])


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emptied]:
    """A file, and a function that empties it."""
    store = SQLiteStore(Path(tmp_path_factory.mktemp("results"), "runs.db"))
    store.initialize()

    def empty() -> None:
        for table in TABLES:
            store.delete(table, ())

    yield store, empty
    store.close()


def check(
    store: Store, records: list[Any], sizes: list[int], order: str, chosen: dict[str, Any]
) -> None:
    kind = type(records[0]) if records else AgentRun
    persistence = Persistence(store, initialize=False)
    write_all(persistence, kind, records)
    when = "timestamp" if kind is AgentRunEvent else "created_at"
    expected = sorted(
        (r for r in records if all(getattr(r, n) == value for n, value in chosen.items())),
        key=lambda record: (getattr(record, when), record.id),
        reverse=order == "newest",
    )
    check_pages(persistence, kind, expected, sizes, order=order, **chosen)
    check_tables(persistence, kind, expected, sizes[0], order=order, **chosen)


def check_pages(
    persistence: Persistence, kind: Kind, expected: list[Any], sizes: list[int], **options: Any
) -> None:
    read: list[Any] = []
    cursor = None
    for size in cycle(sizes):
        page = query(persistence, kind, limit=size, cursor=cursor, **options)
        assert len(page) == min(size, len(expected) - len(read))
        read += page
        cursor = page.next_cursor
        if cursor is None:
            break
    assert read == expected
    assert list(iterate(persistence, kind, **options)) == expected


def check_tables(
    persistence: Persistence, kind: Kind, expected: list[Any], first: int, **options: Any
) -> None:
    page = query(persistence, kind, limit=None, **options)
    table = page.to_arrow()
    assert table.to_pylist() == [
        {field.name: as_unicode(getattr(record, field.name)) for field in fields(kind)}
        for record in expected
    ]
    with patch.object(results_csv, "_FIRST_ROWS", first), patch.object(results_csv, "_BYTES", 500):
        assert iterate(persistence, kind, **options).to_arrow().equals(table)


def as_unicode(value: Any) -> Any:
    """Return text as it is in tables."""
    if not isinstance(value, str):
        return value
    return "".join("\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in value)


any_order = st.sampled_from(ORDERS)


@given(some_records, page_sizes, any_order, filters)
def test_results_in_memory(
    records: list[Any], sizes: list[int], order: str, chosen: dict[str, Any]
) -> None:
    check(MemoryStore(), records, sizes, order, chosen)


@given(records=some_records, sizes=page_sizes, order=any_order, chosen=filters)
def test_results_of_sqlite(
    sqlite: Emptied, records: list[Any], sizes: list[int], order: str, chosen: dict[str, Any]
) -> None:
    store, empty = sqlite
    empty()
    check(store, records, sizes, order, chosen)


@given(records=some_records, sizes=page_sizes, order=any_order, chosen=filters)
@settings(max_examples=50 * soak.FACTOR)
def test_results_of_postgres(
    postgres: Emptied, records: list[Any], sizes: list[int], order: str, chosen: dict[str, Any]
) -> None:
    store, empty = postgres
    empty()
    check(store, records, sizes, order, chosen)
