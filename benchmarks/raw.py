"""The same work by hand: what somebody would write who needs this one thing and no library.

No checks, no pool, no locks, no error handling: one open connection, constant statement texts,
and for statistics the fastest statements found on these tables and indexes.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

import psycopg2

from benchmarks.rows import lifted
from curio_persistence import AgentRunEvent

_EVENT = "agent_id, run_id, agent_name, timestamp, event_type, data, created_at"
_LIFTED = "tool_name, tool_latency_us, tool_error"
_READ_EVENT = "agent_id, run_id, agent_name, timestamp, event_type, data, id, created_at"
_READ_USAGE = (
    "agent_id, run_id, provider, model, prompt, prompt_length, input_params, input_tokens, "
    "output_tokens, response_content, response_length, usage_metrics, status, error_message, "
    "latency_ms, id, created_at, span_id, cache_read_tokens, cache_write_tokens, "
    "reasoning_tokens, cost_usd"
)
_SUMS = "count(*), sum(input_tokens), sum(output_tokens), sum(cost_usd)"
_RUN_SUMS = "count(*), sum(total_iterations)"
_TOOL_SUMS = "count(*), sum(tool_error), count(tool_latency_us), sum(tool_latency_us)"
_QUANTILES = (50, 75, 90, 95, 99)


class RawSQLite:
    """One connection, with the settings that the package's file has."""

    _insert = f"INSERT INTO agent_run_events ({_EVENT}) VALUES (?, ?, ?, ?, ?, ?, ?)"
    _insert_tool = (
        f"INSERT INTO agent_run_events ({_EVENT}, {_LIFTED}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    _events = f"SELECT {_READ_EVENT} FROM agent_run_events WHERE run_id = ? ORDER BY timestamp, id"
    _newest = (
        f"SELECT {_READ_USAGE} FROM agent_llm_usage WHERE agent_id = ? "
        "ORDER BY created_at DESC, id DESC LIMIT ?"
    )

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL").fetchall()
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA foreign_keys = ON")

    def log_event(self, event: AgentRunEvent) -> None:
        values = _event_values(event)
        if event.event_type == "tool_call":
            cursor = self._connection.execute(self._insert_tool, (*values, *lifted(event)))
        else:
            cursor = self._connection.execute(self._insert, values)
        event.id = cursor.lastrowid

    def events(self, run_id: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(self._events, (run_id,)).fetchall()

    def newest_usage(self, agent_id: str, limit: int) -> list[tuple[Any, ...]]:
        return self._connection.execute(self._newest, (agent_id, limit)).fetchall()

    def stats_of_one(self, agent_id: str) -> dict[str, Any]:
        calls = self._all(
            f"SELECT model, status, {_SUMS}, group_concat(latency_ms) FROM agent_llm_usage "
            "WHERE agent_id = ? GROUP BY model, status",
            agent_id,
        )
        latencies = json.loads(f"[{','.join(row[6] for row in calls if row[6])}]")
        latencies.sort()
        return _stats(
            self._all(
                f"SELECT status, {_RUN_SUMS} FROM agent_runs WHERE agent_id = ? GROUP BY status",
                agent_id,
            ),
            calls,
            _quantiles(latencies),
            self._all(
                f"SELECT tool_name, {_TOOL_SUMS} FROM agent_run_events "
                "WHERE agent_id = ? AND tool_name IS NOT NULL GROUP BY tool_name",
                agent_id,
            ),
        )

    def stats_of_all(self) -> dict[str, Any]:
        return _stats(
            self._all(f"SELECT status, {_RUN_SUMS} FROM agent_runs GROUP BY agent_id, status"),
            self._all(
                f"SELECT model, status, {_SUMS} FROM agent_llm_usage "
                "GROUP BY agent_id, model, status"
            ),
            self._quantiles_of_all(),
            self._all(
                f"SELECT tool_name, {_TOOL_SUMS} FROM agent_run_events "
                "WHERE tool_name IS NOT NULL GROUP BY agent_id, tool_name"
            ),
        )

    def _quantiles_of_all(self) -> dict[str, float]:
        """By position in the index of latencies, counted from its nearer end."""
        known = "FROM agent_llm_usage WHERE latency_ms IS NOT NULL"
        [(count,)] = self._all(f"SELECT count(*) {known}")
        up = f"SELECT latency_ms {known} ORDER BY latency_ms LIMIT 2 OFFSET ?"
        down = f"SELECT latency_ms {known} ORDER BY latency_ms DESC LIMIT 2 OFFSET ?"
        found = {}
        for q in _QUANTILES:
            position, hundredths = divmod((count - 1) * q, 100)
            if position * 2 < count:
                (lower,), (upper,) = self._all(up, position)
            else:
                (upper,), (lower,) = self._all(down, count - 2 - position)
            found[f"p{q}"] = round(lower + (upper - lower) * hundredths / 100, 2)
        return found

    def _all(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, values).fetchall()

    def close(self) -> None:
        self._connection.close()


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
        self._insert = f"INSERT INTO {events} ({_EVENT}) VALUES ({marks}) RETURNING id"
        self._insert_tool = (
            f"INSERT INTO {events} ({_EVENT}, {_LIFTED}) VALUES ({marks}, %s, %s, %s) RETURNING id"
        )
        self._events = (
            f"SELECT {_READ_EVENT} FROM {events} WHERE run_id = %s ORDER BY timestamp, id"
        )
        self._runs_of_one = (
            f"SELECT status, {_RUN_SUMS} FROM {runs} WHERE agent_id = %s GROUP BY status"
        )
        self._calls_of_one = (
            f"SELECT model, status, {_SUMS}, "
            "array_agg(latency_ms) FILTER (WHERE latency_ms IS NOT NULL) "
            f"FROM {usage} WHERE agent_id = %s GROUP BY model, status"
        )
        self._tools_of_one = (
            f"SELECT tool_name, {_TOOL_SUMS} FROM {events} "
            "WHERE agent_id = %s AND tool_name IS NOT NULL GROUP BY tool_name"
        )
        self._runs_of_all = f"SELECT status, {_RUN_SUMS} FROM {runs} GROUP BY status"
        self._calls_of_all = (
            f"SELECT model, status, {_SUMS} FROM {usage} GROUP BY agent_id, model, status"
        )
        self._latencies_of_all = (
            f"SELECT latency_ms, count(*) FROM {usage} WHERE latency_ms IS NOT NULL "
            "GROUP BY latency_ms ORDER BY latency_ms"
        )
        self._tools_of_all = (
            f"SELECT tool_name, {_TOOL_SUMS} FROM {events} "
            "WHERE tool_name IS NOT NULL GROUP BY tool_name"
        )

    def log_event(self, event: AgentRunEvent) -> None:
        values = _event_values(event)
        if event.event_type == "tool_call":
            self._cursor.execute(self._insert_tool, (*values, *lifted(event)))
        else:
            self._cursor.execute(self._insert, values)
        [(event.id,)] = self._cursor.fetchall()

    def events(self, run_id: str) -> list[tuple[Any, ...]]:
        return self._all(self._events, run_id)

    def stats_of_one(self, agent_id: str) -> dict[str, Any]:
        calls = self._all(self._calls_of_one, agent_id)
        return _stats(
            self._all(self._runs_of_one, agent_id),
            calls,
            _quantiles(sorted(chain.from_iterable(row[6] or () for row in calls))),
            self._all(self._tools_of_one, agent_id),
        )

    def stats_of_all(self) -> dict[str, Any]:
        return _stats(
            self._all(self._runs_of_all),
            self._all(self._calls_of_all),
            _quantiles_of_histogram(self._all(self._latencies_of_all)),
            self._all(self._tools_of_all),
        )

    def _all(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        self._cursor.execute(sql, values or None)
        return self._cursor.fetchall()

    def close(self) -> None:
        self._connection.close()


def _event_values(event: AgentRunEvent) -> tuple[Any, ...]:
    event.created_at = now = datetime.now(UTC)
    return (
        event.agent_id,
        event.run_id,
        event.agent_name,
        event.timestamp.isoformat(timespec="microseconds"),  # type: ignore[union-attr]
        event.event_type,
        event.data,
        now.isoformat(timespec="microseconds"),
    )


def _quantiles(values: Sequence[int]) -> dict[str, float]:
    """Of sorted values."""
    found = {}
    for q in _QUANTILES:
        position, hundredths = divmod((len(values) - 1) * q, 100)
        lower, upper = values[position], values[min(position + 1, len(values) - 1)]
        found[f"p{q}"] = round(lower + (upper - lower) * hundredths / 100, 2)
    return found


def _quantiles_of_histogram(bars: Sequence[tuple[int, int]]) -> dict[str, float]:
    """Of sorted (value, count) pairs; looks at the ends of bars until the value is reached."""
    ends = list(accumulate(count for _, count in bars))
    found, bar = {}, 0
    for q in _QUANTILES:
        position, hundredths = divmod((ends[-1] - 1) * q, 100)
        while ends[bar] <= position:
            bar += 1
        lower = bars[bar][0]
        last = ends[bar] == position + 1 and position + 1 < ends[-1]
        upper = bars[bar + 1][0] if last else lower
        found[f"p{q}"] = round(lower + (upper - lower) * hundredths / 100, 2)
    return found


def _stats(
    run_groups: Iterable[tuple[Any, ...]],
    call_groups: Iterable[tuple[Any, ...]],
    quantiles: dict[str, float],
    tool_groups: Iterable[tuple[Any, ...]],
) -> dict[str, Any]:
    statuses: dict[str, int] = {}
    iterations = 0
    for status, count, steps in run_groups:
        statuses[status] = statuses.get(status, 0) + count
        iterations += int(steps)
    models: dict[str, list[Any]] = {}
    for model, status, count, asked, answered, cost, *_ in call_groups:
        sums = models.setdefault(model, [0, 0, 0, 0, 0])
        sums[0] += count
        sums[1] += int(asked or 0)
        sums[2] += int(answered or 0)
        sums[3] += cost or 0
        sums[4] += 0 if status == "success" else count
    tools: dict[str, list[Any]] = {}
    for name, *counts in tool_groups:
        tools[name] = [
            a + int(b or 0) for a, b in zip(tools.get(name, [0] * 4), counts, strict=True)
        ]
    runs = sum(statuses.values())
    calls, asked, answered, cost, _ = map(sum, zip(*models.values(), strict=True))
    return {
        "total_runs": runs,
        "completed_runs": statuses.get("completed", 0),
        "error_runs": statuses.get("error", 0),
        "runs_by_status": statuses,
        "avg_iterations": round(iterations / runs, 2),
        "total_llm_calls": calls,
        "total_input_tokens": asked,
        "total_output_tokens": answered,
        "total_cost_usd": _dollars(cost),
        "avg_input_tokens_per_call": round(asked / calls, 2),
        "avg_output_tokens_per_call": round(answered / calls, 2),
        "token_efficiency": round(answered / asked, 4),
        "by_model": {
            model: {
                "calls": sums[0],
                "input_tokens": sums[1],
                "output_tokens": sums[2],
                "cost_usd": _dollars(sums[3]),
                "errors": sums[4],
            }
            for model, sums in models.items()
        },
        "latency_percentiles": quantiles,
        "tool_metrics": {
            name: {
                "call_count": count,
                "total_latency_ms": round(micros / 1000, 2),
                "avg_latency_ms": round(micros / timed / 1000, 2),
                "error_count": errors,
            }
            for name, (count, errors, timed, micros) in tools.items()
        },
    }


def _dollars(cost: int | Decimal) -> Decimal:
    """PostgreSQL keeps dollars, SQLite picodollars."""
    return cost if isinstance(cost, Decimal) else Decimal(cost).scaleb(-12)
