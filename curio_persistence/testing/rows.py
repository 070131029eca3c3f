"""Rows and helpers that the promises share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from curio_persistence.base import BasePersistence
from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter, Order
from curio_persistence.store.table import Row, Table
from curio_persistence.tables import EVENTS, RUNS, USAGE
from curio_persistence.tables.consumers import position_row

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
OLDEST = (Order("created_at"), Order("id"))
NEWEST = (Order("created_at", descending=True), Order("id", descending=True))
DELIMITERS = (
    *("", "\\", "\\N", "\\.", "\\\\N", "\\t", "\t", "\n", "\r\n", "\b\v\f", "\x7f\x85\u2028"),
    *("NULL", "null", "'", '"', "it's", ",", "{}", "{a,b}", "[1]", "%", "%s", "$1", ":a", "?"),
    *(" ", " a ", "a", "A", "é", "e\u0301", "🙂", "\ufdd0", "1", "01", "1.0", "true"),
)
"""Texts that mean something to a database, or nearly the same as another of them."""


class Stop(Exception):
    """Ends a transaction."""


@contextmanager
def undone(store: Store) -> Iterator[None]:
    """Open a transaction that is rolled back at its end."""
    with suppress(Stop), store.transaction():
        yield
        raise Stop


def run_row(run_id: str, minute: int = 0, *, agent_id: str = "agent", **fields: Any) -> Row:
    at = NOON + minute * MINUTE
    return RUNS.encode(AgentRun(agent_id, run_id, created_at=at, updated_at=at, **fields))


def event_row(run_id: str) -> Row:
    return EVENTS.encode(AgentRunEvent("agent", run_id, timestamp=NOON, created_at=NOON))


def consumer_row(name: str, table: str) -> Row:
    return position_row(name, table, "[0]", NOON)


def usage_row(*, agent_id: str = "agent", run_id: str | None = None, **fields: Any) -> Row:
    fields = {"created_at": NOON, **fields}
    return USAGE.encode(AgentLLMUsage(agent_id, run_id, **fields))


def records(store: Store, table: Table[Any], **options: Any) -> list[Any]:
    return table.decode(store.select(table, **options))


def run_ids_of(store: Store, *where: Filter) -> str:
    return "".join(run.run_id for run in RUNS.decode(store.select(RUNS, where)))


def stored_run(persistence: BasePersistence, run_id: str) -> AgentRun:
    run = persistence.get_agent_run(run_id)
    assert run is not None
    return run


def stored_run_ids(persistence: BasePersistence) -> list[str]:
    return [run.run_id for run in persistence.get_agent_runs(limit=None)]
