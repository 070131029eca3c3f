"""Payload filters: by a scan in SQLite, by an index in PostgreSQL."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.cases.sides import Case, asking, check, postgres, sqlite
from benchmarks.support import rows
from benchmarks.support.report import Goal, Line
from benchmarks.support.workspace import Workspace
from curio_persistence import Persistence

_PAGE = 100
_SCANNED = Goal(2, 1.5)
_FOUND = Goal(1.5, 1.2)
_AT_MOST_FOR_ALL = 1e9
_AT_MOST_FOR_A_PAGE = 50e6
_SEARCHES_IN_A_REPETITION = 20
_VALUES = {"a text": ("tool_name", "search"), "a number": ("confidence", 0.5)}
_TIMED_OUT = {"tool_name": "search", "error": "TimeoutError: no answer"}


def sqlite_payloads(work: Workspace) -> list[Line]:
    with sqlite(work.sqlite_history) as (raw, ours):
        return [_scan(work, raw, ours, what, *asked) for what, asked in _VALUES.items()]


def postgres_payloads(work: Workspace) -> list[Line]:
    with postgres(work, work.postgres_history) as (raw, ours):
        ours.create_payload_index()
        return [_page(work, raw, ours)]


CASES: dict[str, Case] = {
    "sqlite-payloads": sqlite_payloads,
    "postgres-payloads": postgres_payloads,
}


def _scan(work: Workspace, raw: Any, ours: Persistence, what: str, key: str, value: Any) -> Line:
    """Measure a scan of all payloads, of which few match."""

    def count(_: object) -> int:
        return ours.count_events(payload={key: value})

    def count_raw(_: object) -> int:
        found: int = raw.count_payloads(f"$.{key}", value)
        return found

    check(count(None), count_raw(None))
    return Line(
        f"SQLite, {what} in the payloads of {_count(work)} events, against json_extract",
        _SCANNED,
        asking(work, count_raw, count, [None], 1),
        at_most=_AT_MOST_FOR_ALL,
    )


def _page(work: Workspace, raw: Any, ours: Persistence) -> Line:
    pattern = json.dumps(_TIMED_OUT)

    def page(_: object) -> list[Any]:
        return list(ours.query_events(payload=_TIMED_OUT, limit=_PAGE))

    def page_raw(_: object) -> list[tuple[Any, ...]]:
        return raw.newest_payloads(pattern, _PAGE)

    check([event.id for event in page(None)], [row[6] for row in page_raw(None)])
    return Line(
        f"PostgreSQL, newest {_PAGE} of {_count(work)} events by two payload values, indexed",
        _FOUND,
        asking(work, page_raw, page, [None], _SEARCHES_IN_A_REPETITION),
        at_most=_AT_MOST_FOR_A_PAGE,
    )


def _count(work: Workspace) -> str:
    return f"{work.sizes.history_runs * rows.EVENTS_OF_A_RUN:,}"
