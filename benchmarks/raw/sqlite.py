"""SQLite by hand."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.raw.columns import (
    EVENT,
    LIFTED,
    READ_EVENT,
    READ_PUBLISHED,
    READ_USAGE,
    RUN_SUMS,
    SUMS,
    TOOL_SUMS,
    batch_values,
    event_values,
)
from benchmarks.raw.summary import QUANTILES, quantiles, stats
from benchmarks.support.rows import lifted
from curio_persistence import AgentRunEvent
from curio_persistence.backends.sqlite import wal

_MARKS = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class RawSQLite:
    """One connection with the package's own settings: WAL mode, and its `wal_autocheckpoint`.

    Pass `autocheckpoint` for another number of pages; SQLite's own default is 1,000.
    """

    _insert = f"INSERT INTO agent_run_events ({EVENT}) VALUES (?, ?, ?, ?, ?, ?, ?)"
    _insert_tool = f"INSERT INTO agent_run_events ({EVENT}, {LIFTED}) VALUES {_MARKS}"
    _insert_named = (
        f"INSERT INTO agent_run_events ({EVENT}, {LIFTED}, event_id) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    _events = f"SELECT {READ_EVENT} FROM agent_run_events WHERE run_id = ? ORDER BY timestamp, id"
    _published_events = (
        f"SELECT {READ_PUBLISHED} FROM agent_run_events WHERE run_id = ? ORDER BY timestamp, id"
    )
    _newest_events = (
        f"SELECT {READ_EVENT} FROM agent_run_events WHERE agent_id = ? AND event_type = ? "
        "ORDER BY timestamp DESC, id DESC LIMIT ?"
    )
    _older_events = (
        f"SELECT {READ_EVENT} FROM agent_run_events WHERE (timestamp, id) < (?, ?) "
        "ORDER BY timestamp DESC, id DESC LIMIT ?"
    )
    _count_payloads = (
        "SELECT count(*) FROM agent_run_events "
        "WHERE CASE WHEN json_valid(data) THEN json_extract(data, ?) = ? END"
    )
    _all_events = f"SELECT {READ_EVENT} FROM agent_run_events ORDER BY timestamp, id"
    _newest = (
        f"SELECT {READ_USAGE} FROM agent_llm_usage WHERE agent_id = ? "
        "ORDER BY created_at DESC, id DESC LIMIT ?"
    )

    def __init__(self, path: Path, *, autocheckpoint: int = wal.PAGES) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL").fetchall()
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {autocheckpoint}").fetchall()
        self._batches: dict[int, str] = {}

    def log_event(self, event: AgentRunEvent) -> None:
        values = event_values(event)
        if event.event_type == "tool_call":
            cursor = self._connection.execute(self._insert_tool, (*values, *lifted(event)))
        else:
            cursor = self._connection.execute(self._insert, values)
        event.id = cursor.lastrowid

    def log_events(self, events: Sequence[AgentRunEvent]) -> None:
        """Write with `executemany` in one transaction; derive the ids from the last."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(self._insert_tool, batch_values(events))
        [(last,)] = connection.execute("SELECT last_insert_rowid()").fetchall()
        connection.execute("COMMIT")
        _number(events, last)

    def log_named_events(self, events: Sequence[AgentRunEvent]) -> None:
        """Write the same with event ids; a stored one would be an error."""
        values = [
            (*row, event.event_id) for row, event in zip(batch_values(events), events, strict=True)
        ]
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(self._insert_named, values)
        [(last,)] = connection.execute("SELECT last_insert_rowid()").fetchall()
        connection.execute("COMMIT")
        _number(events, last)

    def log_events_at_once(self, events: Sequence[AgentRunEvent]) -> None:
        """Write with one statement, a transaction by itself, with all rows in its VALUES."""
        count = len(events)
        sql = self._batches.get(count)
        if sql is None:
            marks = ", ".join([_MARKS] * count)
            sql = f"INSERT INTO agent_run_events ({EVENT}, {LIFTED}) VALUES {marks}"
            self._batches[count] = sql
        values = tuple(chain.from_iterable(batch_values(events)))
        _number(events, self._connection.execute(sql, values).lastrowid or 0)

    def events(self, run_id: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(self._events, (run_id,)).fetchall()

    def published_events(self, run_id: str) -> list[tuple[Any, ...]]:
        """Return a run's events in the eight columns of the published model."""
        return self.fetch(self._published_events, run_id)

    def newest_events(self, agent_id: str, event_type: str, limit: int) -> list[tuple[Any, ...]]:
        """Return the first page of the newest, of one agent and type."""
        return self.fetch(self._newest_events, agent_id, event_type, limit)

    def older_events(self, timestamp: str, ident: int, limit: int) -> list[tuple[Any, ...]]:
        """Return the page of the newest of all that follows this event."""
        return self.fetch(self._older_events, timestamp, ident, limit)

    def count_payloads(self, path: str, value: str | float) -> int:
        """Return the number of events with the value at the path."""
        [(count,)] = self.fetch(self._count_payloads, path, value)
        return int(count)

    def all_events(self) -> Iterable[tuple[Any, ...]]:
        """Yield every event, oldest first, a row at a time."""
        return self._connection.execute(self._all_events)

    def newest_usage(self, agent_id: str, limit: int) -> list[tuple[Any, ...]]:
        return self._connection.execute(self._newest, (agent_id, limit)).fetchall()

    def stats_of_one(self, agent_id: str) -> dict[str, Any]:
        calls = self.fetch(
            f"SELECT model, status, {SUMS}, group_concat(latency_ms) FROM agent_llm_usage "
            "WHERE agent_id = ? GROUP BY model, status",
            agent_id,
        )
        latencies = json.loads(f"[{','.join(row[6] for row in calls if row[6])}]")
        latencies.sort()
        return stats(
            self.fetch(
                f"SELECT status, {RUN_SUMS} FROM agent_runs WHERE agent_id = ? GROUP BY status",
                agent_id,
            ),
            calls,
            quantiles(latencies),
            self.fetch(
                f"SELECT tool_name, {TOOL_SUMS} FROM agent_run_events "
                "WHERE agent_id = ? AND tool_name IS NOT NULL GROUP BY tool_name",
                agent_id,
            ),
        )

    def stats_of_all(self) -> dict[str, Any]:
        return stats(
            self.fetch(f"SELECT status, {RUN_SUMS} FROM agent_runs GROUP BY agent_id, status"),
            self.fetch(
                f"SELECT model, status, {SUMS} FROM agent_llm_usage "
                "GROUP BY agent_id, model, status"
            ),
            self._quantiles_of_all(),
            self.fetch(
                f"SELECT tool_name, {TOOL_SUMS} FROM agent_run_events "
                "WHERE tool_name IS NOT NULL GROUP BY agent_id, tool_name"
            ),
        )

    def averages_by_hour(self, metric: str) -> list[tuple[Any, ...]]:
        return self.fetch(
            "SELECT substr(timestamp, 1, 13), NULL, avg(metric_value) FROM agent_run_events "
            "WHERE metric_name = ? GROUP BY 1",
            metric,
        )

    def p95_by_day_and_agent(self, metric: str) -> list[tuple[Any, ...]]:
        """Interpolate between the two neighbouring values in order."""
        return self.fetch(
            "WITH ranked AS (SELECT substr(timestamp, 1, 10) AS day, agent_id, metric_value,"
            " row_number() OVER (PARTITION BY substr(timestamp, 1, 10), agent_id"
            " ORDER BY metric_value) - 1 AS place, 0.95 * (count(*) OVER (PARTITION BY"
            " substr(timestamp, 1, 10), agent_id) - 1) AS wanted"
            " FROM agent_run_events WHERE metric_name = ?) "
            "SELECT day, agent_id, sum(metric_value * (1 - abs(place - wanted))) FROM ranked "
            "WHERE abs(place - wanted) < 1 GROUP BY day, agent_id",
            metric,
        )

    def _quantiles_of_all(self) -> dict[str, float]:
        """Read by position in the index of latencies, from its nearer end."""
        known = "FROM agent_llm_usage WHERE latency_ms IS NOT NULL"
        [(count,)] = self.fetch(f"SELECT count(*) {known}")
        up = f"SELECT latency_ms {known} ORDER BY latency_ms LIMIT 2 OFFSET ?"
        down = f"SELECT latency_ms {known} ORDER BY latency_ms DESC LIMIT 2 OFFSET ?"
        found = {}
        for q in QUANTILES:
            position, hundredths = divmod((count - 1) * q, 100)
            if position * 2 < count:
                (lower,), (upper,) = self.fetch(up, position)
            else:
                (upper,), (lower,) = self.fetch(down, count - 2 - position)
            found[f"p{q}"] = round(lower + (upper - lower) * hundredths / 100, 2)
        return found

    def fetch(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, values).fetchall()

    def close(self) -> None:
        self._connection.close()


def _number(events: Sequence[AgentRunEvent], last: int) -> None:
    """Fill in the ids of events, given that of the last."""
    for ident, event in enumerate(events, last - len(events) + 1):
        event.id = ident
