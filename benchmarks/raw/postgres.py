"""PostgreSQL by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from io import BytesIO
from itertools import chain
from typing import Any

import psycopg2

from benchmarks.raw.columns import (
    EVENT,
    LIFTED,
    READ_EVENT,
    READ_PUBLISHED,
    RUN_SUMS,
    SUMS,
    TOOL_SUMS,
    event_values,
)
from benchmarks.raw.summary import quantiles, quantiles_of_histogram, stats
from benchmarks.support.rows import lifted
from curio_persistence import AgentRunEvent

_FETCH = "FETCH 2000 FROM every"
_BACKSLASH = "\\"
_NO_TOOL = r"\N" "\t" r"\N" "\t" r"\N"
_SPECIAL = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


class RawPostgres:
    """One connection in autocommit, and one cursor."""

    def __init__(self, dsn: str, schema: str) -> None:
        self._connection = psycopg2.connect(dsn)
        self._connection.autocommit = True
        self._cursor = self._connection.cursor()
        events, usage, runs = (
            f"{schema}.{table}" for table in ("agent_run_events", "agent_llm_usage", "agent_runs")
        )
        marks = ", ".join(["%s"] * 7)
        self._insert = f"INSERT INTO {events} ({EVENT}) VALUES ({marks}) RETURNING id"
        self._insert_tool = (
            f"INSERT INTO {events} ({EVENT}, {LIFTED}) VALUES ({marks}, %s, %s, %s) RETURNING id"
        )
        self._copy = f"COPY {events} ({EVENT}, {LIFTED}) FROM STDIN"
        self._copy_with_ids = f"COPY {events} (id, {EVENT}, {LIFTED}) FROM STDIN"
        self._reserve = f"SELECT nextval('{events}_id_seq') FROM generate_series(1, %s)"
        self._events = f"SELECT {READ_EVENT} FROM {events} WHERE run_id = %s ORDER BY timestamp, id"
        self._published_events = (
            f"SELECT {READ_PUBLISHED} FROM {events} WHERE run_id = %s ORDER BY timestamp, id"
        )
        self._newest_events = (
            f"SELECT {READ_EVENT} FROM {events} WHERE agent_id = %s AND event_type = %s "
            "ORDER BY timestamp DESC, id DESC LIMIT %s"
        )
        self._older_events = (
            f"SELECT {READ_EVENT} FROM {events} WHERE (timestamp, id) < (%s, %s) "
            "ORDER BY timestamp DESC, id DESC LIMIT %s"
        )
        self._newest_payloads = (
            f"SELECT {READ_EVENT} FROM {events} WHERE {schema}.curio_payload(data) @> %s::jsonb "
            "ORDER BY timestamp DESC, id DESC LIMIT %s"
        )
        self._all_events = f"SELECT {READ_EVENT} FROM {events} ORDER BY timestamp, id"
        self._runs_of_one = (
            f"SELECT status, {RUN_SUMS} FROM {runs} WHERE agent_id = %s GROUP BY status"
        )
        self._calls_of_one = (
            f"SELECT model, status, {SUMS}, "
            "array_agg(latency_ms) FILTER (WHERE latency_ms IS NOT NULL) "
            f"FROM {usage} WHERE agent_id = %s GROUP BY model, status"
        )
        self._tools_of_one = (
            f"SELECT tool_name, {TOOL_SUMS} FROM {events} "
            "WHERE agent_id = %s AND tool_name IS NOT NULL GROUP BY tool_name"
        )
        self._runs_of_all = f"SELECT status, {RUN_SUMS} FROM {runs} GROUP BY status"
        self._calls_of_all = (
            f"SELECT model, status, {SUMS} FROM {usage} GROUP BY agent_id, model, status"
        )
        self._latencies_of_all = (
            f"SELECT latency_ms, count(*) FROM {usage} WHERE latency_ms IS NOT NULL "
            "GROUP BY latency_ms ORDER BY latency_ms"
        )
        self._tools_of_all = (
            f"SELECT tool_name, {TOOL_SUMS} FROM {events} "
            "WHERE tool_name IS NOT NULL GROUP BY tool_name"
        )

        self._averages_by_hour = (
            "SELECT date_trunc('hour', timestamp AT TIME ZONE 'UTC'), NULL, avg(metric_value) "
            f"FROM {events} WHERE metric_name = %s GROUP BY 1"
        )
        self._p95_by_day_and_agent = (
            "SELECT date_trunc('day', timestamp AT TIME ZONE 'UTC'), agent_id, "
            "percentile_cont(0.95) WITHIN GROUP (ORDER BY metric_value) "
            f"FROM {events} WHERE metric_name = %s GROUP BY 1, 2"
        )

    def log_event(self, event: AgentRunEvent) -> None:
        values = event_values(event)
        if event.event_type == "tool_call":
            self._cursor.execute(self._insert_tool, (*values, *lifted(event)))
        else:
            self._cursor.execute(self._insert, values)
        [(event.id,)] = self._cursor.fetchall()

    def log_events(self, events: Sequence[AgentRunEvent]) -> None:
        """Write with one COPY, which returns no ids."""
        self._cursor.copy_expert(self._copy, BytesIO("".join(_lines(events)).encode()))

    def log_numbered_events(self, events: Sequence[AgentRunEvent]) -> None:
        """Take ids from the sequence, and write with one COPY."""
        for event, row in zip(events, self.fetch(self._reserve, len(events)), strict=True):
            event.id = row[0]
        lines = [f"{event.id}\t{line}" for event, line in zip(events, _lines(events), strict=True)]
        self._cursor.copy_expert(self._copy_with_ids, BytesIO("".join(lines).encode()))

    def events(self, run_id: str) -> list[tuple[Any, ...]]:
        return self.fetch(self._events, run_id)

    def published_events(self, run_id: str) -> list[tuple[Any, ...]]:
        """Return a run's events in the eight columns of the published model."""
        return self.fetch(self._published_events, run_id)

    def newest_events(self, agent_id: str, event_type: str, limit: int) -> list[tuple[Any, ...]]:
        """Return the first page of the newest, of one agent and type."""
        return self.fetch(self._newest_events, agent_id, event_type, limit)

    def older_events(self, timestamp: str, ident: int, limit: int) -> list[tuple[Any, ...]]:
        """Return the page of the newest of all that follows this event."""
        return self.fetch(self._older_events, timestamp, ident, limit)

    def newest_payloads(self, pattern: str, limit: int) -> list[tuple[Any, ...]]:
        """Return the first page of the newest that contain a pattern."""
        return self.fetch(self._newest_payloads, pattern, limit)

    def all_events(self) -> Iterator[tuple[Any, ...]]:
        """Yield every event, oldest first, by a cursor on the server."""
        self._cursor.execute("BEGIN READ ONLY")
        self._cursor.execute(f"DECLARE every NO SCROLL CURSOR FOR {self._all_events}")
        try:
            while rows := self.fetch(_FETCH):
                yield from rows
        finally:
            self._cursor.execute("COMMIT")

    def stats_of_one(self, agent_id: str) -> dict[str, Any]:
        calls = self.fetch(self._calls_of_one, agent_id)
        return stats(
            self.fetch(self._runs_of_one, agent_id),
            calls,
            quantiles(sorted(chain.from_iterable(row[6] or () for row in calls))),
            self.fetch(self._tools_of_one, agent_id),
        )

    def stats_of_all(self) -> dict[str, Any]:
        return stats(
            self.fetch(self._runs_of_all),
            self.fetch(self._calls_of_all),
            quantiles_of_histogram(self.fetch(self._latencies_of_all)),
            self.fetch(self._tools_of_all),
        )

    def averages_by_hour(self, metric: str) -> list[tuple[Any, ...]]:
        return self.fetch(self._averages_by_hour, metric)

    def p95_by_day_and_agent(self, metric: str) -> list[tuple[Any, ...]]:
        return self.fetch(self._p95_by_day_and_agent, metric)

    def fetch(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        self._cursor.execute(sql, values or None)
        return self._cursor.fetchall()

    def close(self) -> None:
        self._connection.close()


def _lines(events: Sequence[AgentRunEvent]) -> list[str]:
    """Return rows in COPY's text format, all stored at the same time.

    Among their characters only the backslashes of JSON have a special meaning there.
    """
    now = datetime.now(UTC)
    stored_at = now.isoformat()
    for event in events:
        event.created_at = now
    return [
        f"{e.agent_id}\t{e.run_id}\t{e.agent_name}\t{e.timestamp.isoformat()}\t{e.event_type}\t"  # type: ignore[union-attr]
        f"{e.data.translate(_SPECIAL) if _BACKSLASH in e.data else e.data}\t{stored_at}\t"
        f"{_NO_TOOL if e.event_type != 'tool_call' else _tool(e)}\n"
        for e in events
    ]


def _tool(event: AgentRunEvent) -> str:
    name, micros, failed = lifted(event)
    return f"{name}\t{micros}\t{failed}"
