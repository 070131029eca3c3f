"""Pages and streams of the three kinds of records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, Page, Persistence, Stream
from tests.support.batches import Kind, record, write_all

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ORDERS = ("newest", "oldest")


def query(persistence: Persistence, kind: Kind, **options: Any) -> Page[Any]:
    """Return a page of that kind."""
    if kind is AgentRun:
        return persistence.query_agent_runs(**options)
    if kind is AgentRunEvent:
        return persistence.query_events(**options)
    return persistence.query_llm_usage(**options)


def iterate(persistence: Persistence, kind: Kind, **options: Any) -> Stream[Any]:
    """Return a stream of that kind."""
    if kind is AgentRun:
        return persistence.iter_agent_runs(**options)
    if kind is AgentRunEvent:
        return persistence.iter_agent_run_events(**options)
    return persistence.iter_llm_usage(**options)


def pages(persistence: Persistence, kind: Kind, **options: Any) -> Iterator[Page[Any]]:
    """Yield all pages, each with the cursor of the previous one."""
    cursor = None
    while True:
        page = query(persistence, kind, cursor=cursor, **options)
        yield page
        cursor = page.next_cursor
        if cursor is None:
            return


def write(
    persistence: Persistence, kind: Kind, numbers: Iterable[int], *, moments: int = 1, **fields: Any
) -> None:
    """Store records with these numbers at few different times; higher numbers are later."""
    when = "timestamp" if kind is AgentRunEvent else "created_at"

    def numbered(number: int) -> Any:
        time = NOON + timedelta(seconds=number % moments)
        return record(kind, number, **(fields | {when: time}))

    write_all(persistence, kind, map(numbered, numbers))


def number_of(each: Any) -> int:
    """Return the number with which a record was written."""
    if isinstance(each, AgentRun):
        return int(each.objective)
    return int(each.prompt if isinstance(each, AgentLLMUsage) else each.data)


def numbers(records: Iterable[Any]) -> list[int]:
    """Return the numbers with which records were written."""
    return [number_of(each) for each in records]


def in_order(written: Iterable[int], order: str, *, moments: int = 1) -> list[int]:
    """Return the numbers of records written at few different times, in listing order."""
    placed = sorted(written, key=lambda n: (n % moments, n))
    return placed[::-1] if order == "newest" else placed
