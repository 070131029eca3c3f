"""The change feed of PostgreSQL beside transactions that end in any order."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curio_persistence.models import AgentLLMUsage
from curio_persistence.store import change_feed
from curio_persistence.store.base import Store
from curio_persistence.store.change_feed import START, Watermark
from curio_persistence.tables import USAGE
from tests.support import soak

WRITERS = 4
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.integers(0, WRITERS - 1), st.integers(1, 4)),
        st.tuples(st.just("savepoint"), st.integers(0, WRITERS - 1), st.integers(1, 2)),
        st.tuples(st.sampled_from(["commit", "rollback"]), st.integers(0, WRITERS - 1), st.just(0)),
        st.tuples(st.just("read"), st.just(0), st.sampled_from([1, 3, 1_000])),
    ),
    max_size=40,
)
INSERT = (
    "INSERT INTO {}.agent_llm_usage (provider, created_at) "
    "SELECT 'p', now() FROM generate_series(1, %s) RETURNING id"
)


class Writers:
    """Sessions with a transaction each, and the ids of what they committed."""

    def __init__(self, connections: list[Any], schema: str) -> None:
        self._cursors = [connection.cursor() for connection in connections]
        self._connections = connections
        self._insert = INSERT.format(schema)
        self._open: list[set[int]] = [set() for _ in connections]
        self.committed: set[int] = set()

    def insert(self, writer: int, count: int) -> None:
        self._cursors[writer].execute(self._insert, (count,))
        self._open[writer] |= {ident for (ident,) in self._cursors[writer].fetchall()}

    def savepoint(self, writer: int, count: int) -> None:
        """Insert rows and roll back: their ids are not reused."""
        self._cursors[writer].execute("SAVEPOINT undone")
        self._cursors[writer].execute(self._insert, (count,))
        self._cursors[writer].execute("ROLLBACK TO SAVEPOINT undone")

    def commit(self, writer: int, _: int = 0) -> None:
        self._connections[writer].commit()
        self.committed |= self._open[writer]
        self._open[writer] = set()

    def rollback(self, writer: int, _: int = 0) -> None:
        self._connections[writer].rollback()
        self._open[writer] = set()


class Reader:
    """Reads batch by batch, its watermark stored as text in between."""

    def __init__(self, store: Store, since: Watermark = START) -> None:
        self._store = store
        self._text = since.text()
        self.found: list[int] = []

    def read(self, limit: int) -> bool:
        changes = change_feed.read_changes(
            self._store, USAGE, since=Watermark.parse(self._text), limit=limit
        )
        self.found += changes.columns[USAGE.names.index("id")]
        self._text = changes.watermark.text()
        return changes.more

    @property
    def gaps(self) -> int:
        return len(Watermark.parse(self._text).ranges)


@pytest.mark.parametrize("most", [change_feed.MAX_GAPS, 1])
@given(STEPS)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30 * soak.FACTOR
)
def test_each_committed_row_is_returned_once(
    postgres: tuple[Store, Callable[[], None]],
    postgres18: str,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    steps: list[tuple[str, int, int]],
) -> None:
    """It is returned at once or, if few gaps are allowed, when the transactions have ended."""
    monkeypatch.setattr(change_feed, "MAX_GAPS", most)
    store, empty = postgres
    store.initialize()
    empty()
    schema = store._qualified("x").rpartition(".")[0]  # type: ignore[attr-defined]
    with ExitStack() as stack:
        connections = [
            stack.enter_context(closing(psycopg2.connect(postgres18))) for _ in range(WRITERS)
        ]
        writers, reader = Writers(connections, schema), Reader(store)
        for what, writer, count in steps:
            if what != "read":
                getattr(writers, what)(writer, count)
            elif not reader.read(count) and most > 1:
                assert set(reader.found) == writers.committed
        for writer in range(WRITERS):
            writers.commit(writer)
        while reader.read(1_000) or reader.gaps:
            pass
        reader.read(1_000)
        assert sorted(reader.found) == sorted(writers.committed)


def test_a_watermark_does_not_grow_while_a_transaction_stays_open(
    postgres: tuple[Store, Callable[[], None]], postgres18: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each rolled-back insert leaves a gap that may still be filled, as far as the reader knows."""
    monkeypatch.setattr(change_feed, "MAX_GAPS", 200)
    store, empty = postgres
    store.initialize()
    empty()
    schema = store._qualified("x").rpartition(".")[0]  # type: ignore[attr-defined]
    with ExitStack() as stack:
        connections = [stack.enter_context(closing(psycopg2.connect(postgres18))) for _ in range(2)]
        writers, reader = Writers(connections, schema), Reader(store)
        writers.insert(0, 1)
        for _ in range(600):
            writers.savepoint(1, 1)
            writers.insert(1, 1)
            writers.commit(1)
            reader.read(20)
        assert 200 <= reader.gaps <= 220
        assert len(reader._text) < 2_000
        writers.commit(0)
        while reader.read(50) or reader.gaps:
            pass
        assert sorted(reader.found) == sorted(writers.committed)


def test_transactions_that_only_read_or_update_are_not_waited_for(
    postgres: tuple[Store, Callable[[], None]], postgres18: str
) -> None:
    store, empty = postgres
    store.initialize()
    empty()
    store.insert(
        USAGE,
        USAGE.encode(AgentLLMUsage("agent", "run", created_at=datetime(2026, 1, 1, tzinfo=UTC))),
    )
    with closing(psycopg2.connect(postgres18)) as connection, connection.cursor() as cursor:
        table = store._qualified("agent_llm_usage")  # type: ignore[attr-defined]
        cursor.execute(f"SELECT count(*) FROM {table}; UPDATE {table} SET model = 'x'")
        assert store.active_transactions(USAGE) == frozenset()
        cursor.execute(f"INSERT INTO {table} (created_at) VALUES (now())")
        assert len(store.active_transactions(USAGE) or ()) == 1
