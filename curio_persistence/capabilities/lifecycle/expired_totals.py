"""Adds up what is about to be deleted, so that statistics over all time outlive the rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, cast

from curio_persistence.store.base import Store
from curio_persistence.store.codecs import decode_time, encode_time
from curio_persistence.store.filters import COUNT, Bucket, Filter, Measure, Where, total
from curio_persistence.store.table import Row
from curio_persistence.tables import EVENTS, EXPIRED_TOTALS, RUNS, USAGE
from curio_persistence.tables.lifecycle import TOTALS_KEY, TOTALS_NUMBERS

Key = tuple[str, str, str, str, str, str]
"""The values of `TOTALS_KEY` but for the archive."""
_LOCK = "expired totals"
_DAY = 86_400
_LARGEST = 2**63 - 1
_ONE_DAY = timedelta(days=1)
_CALL_SUMS = {
    "calls": COUNT,
    "priced": Measure("count", "cost_usd"),
    "cost_usd": total("cost_usd"),
    "input_tokens": total("input_tokens"),
    "output_tokens": total("output_tokens"),
    "cache_read_tokens": total("cache_read_tokens"),
    "cache_write_tokens": total("cache_write_tokens"),
    "reasoning_tokens": total("reasoning_tokens"),
}
_TIMES = (Measure("count", "latency_ms"), total("latency_ms"))
_TOOL_SUMS = {
    "count": COUNT,
    "timed": Measure("count", "tool_latency_us"),
    "duration_us": total("tool_latency_us"),
}
_RUN_COLUMNS = (
    "run_id",
    "agent_id",
    "status",
    "created_at",
    "started_at",
    "finished_at",
    "total_iterations",
)


class ExpiredTotals:
    """Numbers of rows, added to those of rows that expired before; subtracted with `sign=-1`.

    `archive` is the id of the archive that has the rows, empty if there is none. Use it inside the
    transaction that deletes the rows; only one program at a time expires rows.
    """

    def __init__(self, store: Store, *, archive: str = "", sign: int = 1) -> None:
        self._store = store
        self._archive = archive
        self._sign = sign
        self._groups: defaultdict[Key, dict[str, int]] = defaultdict(dict)

    def add_events(self, where: Where) -> None:
        """Add the number of these events, and the tool calls among them."""
        for day, agent_id, count in self._store.aggregate(
            EVENTS, (COUNT,), where, group_by=(Bucket("timestamp", _DAY), "agent_id")
        ):
            self._add(("event", day, agent_id, "", "", ""), (("count", count),))
        self._add_tools(where)

    def _add_tools(self, where: Where) -> None:
        """Add the tool calls among these events."""
        where = (*where, Filter("tool_name", "is not null"))
        for day, agent_id, name, failed, *sums in self._store.aggregate(
            EVENTS,
            tuple(_TOOL_SUMS.values()),
            where,
            group_by=(Bucket("timestamp", _DAY), "agent_id", "tool_name", "tool_error"),
        ):
            status = "error" if failed else "success"
            self._add(("tool", day, agent_id, name, "", status), zip(_TOOL_SUMS, sums, strict=True))

    def add_calls(self, where: Where) -> None:
        """Add these model calls."""
        for day, agent_id, model, provider, status, *sums, timed, ms in self._store.aggregate(
            USAGE,
            (*_CALL_SUMS.values(), *_TIMES),
            where,
            group_by=(Bucket("created_at", _DAY), "agent_id", "model", "provider", "status"),
        ):
            self._add(
                ("call", day, agent_id or "", model, provider, status),
                [
                    *zip(_CALL_SUMS, sums, strict=True),
                    ("count", sums[0]),
                    ("timed", timed),
                    ("duration_us", (ms or 0) * 1000),
                ],
            )

    def add_calls_of_runs(self, where: Where) -> None:
        """Add these model calls to the numbers of their runs, which are still stored."""
        sums = tuple(_CALL_SUMS.values())
        calls = self._store.aggregate(USAGE, sums, where, group_by=("run_id",))
        runs = self._runs((Filter("run_id", "in", tuple(run_id for run_id, *_ in calls)),))
        for run_id, *numbers in calls:
            if run_id in runs:
                self._add(_key_of_run(runs[run_id]), zip(_CALL_SUMS, numbers, strict=True))

    def add_runs(self, where: Where) -> None:
        """Add these runs, without their model calls."""
        for run in self._runs(where).values():
            started, finished = decode_time(run["started_at"]), decode_time(run["finished_at"])
            numbers = {"count": 1, "iterations": run["total_iterations"]}
            if started is not None and finished is not None:
                duration = (finished - started) // timedelta(microseconds=1)
                numbers |= {"timed": 1, "duration_us": duration}
            self._add(_key_of_run(run), numbers.items())

    def _runs(self, where: Where) -> dict[str, dict[str, Any]]:
        rows = self._store.select_columns(RUNS, _RUN_COLUMNS, where)
        return {row[0]: dict(zip(_RUN_COLUMNS, row, strict=True)) for row in rows}

    def _add(
        self, key: Key, numbers: Iterable[tuple[str, int | None]], sign: int | None = None
    ) -> None:
        group, sign = self._groups[key], sign or self._sign
        for name, number in numbers:
            group[name] = group.get(name, 0) + sign * (number or 0)

    def store(self) -> None:
        """Store the numbers, added to what is stored of their groups."""
        if not self._groups:
            return
        self._store.advisory_lock(_LOCK)
        self._add_stored()
        rows: list[Row] = [
            {
                **dict(zip(TOTALS_KEY, (*key, self._archive), strict=True)),
                **{name: _fitting(numbers.get(name, 0)) for name in TOTALS_NUMBERS},
            }
            for key, numbers in self._groups.items()
        ]
        # What was subtracted to nothing is left out.
        rows = [row for row in rows if self._sign > 0 or row["count"]]
        self._store.insert_many(EXPIRED_TOTALS, rows)
        self._groups.clear()

    def _add_stored(self) -> None:
        """Add what is stored of the groups, and delete it: it is stored again in one call."""
        kinds, days, agents, *_ = zip(*self._groups, strict=True)
        near = (
            Filter("archive", "=", self._archive),
            Filter("kind", "in", tuple(set(kinds))),
            Filter("agent_id", "in", tuple(set(agents))),
            Filter("day", ">=", min(days)),
            *_before_day_after(max(days)),
        )
        width = len(TOTALS_KEY) - 1
        names = (*TOTALS_KEY[:-1], *TOTALS_NUMBERS, "id")
        ids = []
        for *row, ident in self._store.select_columns(EXPIRED_TOTALS, names, near):
            key = cast("Key", tuple(row[:width]))
            if key in self._groups:
                ids.append(ident)
                self._add(key, zip(TOTALS_NUMBERS, row[width:], strict=True), 1)
        self._store.delete(EXPIRED_TOTALS, (Filter("id", "in", tuple(ids)),))


def _before_day_after(day: str) -> Where:
    """Return the filter for days up to this one."""
    try:
        return (Filter("day", "<", encode_time(datetime.fromisoformat(day) + _ONE_DAY)),)
    except OverflowError:  # It is the last day there is.
        return ()


def _fitting(number: int) -> int:
    """Return the nearest number that a database can store."""
    return max(min(number, _LARGEST), -_LARGEST)


def _key_of_run(run: dict[str, Any]) -> Key:
    day = Bucket("created_at", _DAY).start_of(run["created_at"])
    return ("run", day, run["agent_id"], "", "", run["status"])
