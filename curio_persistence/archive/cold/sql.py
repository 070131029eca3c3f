"""Filters and columns as the SQL of DuckDB, over Parquet files of an archive.

Rows leave a query in stored form. A filter that SQL cannot decide becomes a first test, which all
matching rows pass: the store's own filters decide then.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from curio_persistence.models import METRIC
from curio_persistence.store.filters import Bucket, Filter, GroupKey, Measure, Order, Where
from curio_persistence.store.query import Position
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, SEVERITIES
from curio_persistence.tables.events import TOOL_EVENTS

FILES = "read_parquet(?, filename = true, hive_partitioning = false)"
_SEVERAL = 100
"""Up to so many values are listed in the text of a query: DuckDB then uses Bloom filters."""
_SECOND = 1_000_000
_EPOCH = 62_135_596_800
"""Seconds from the begin of the year 1, with which buckets begin, until 1970."""
_LEVELS = Filter("level", "in", tuple(SEVERITIES))
_TOOLS = Filter("event_type", "in", tuple(sorted(TOOL_EVENTS)))
_METRICS = Filter("event_type", "=", METRIC)
_ONLY_IN: Mapping[str, Filter] = {
    "severity": _LEVELS,
    **dict.fromkeys(("tool_name", "tool_error", "tool_latency_us"), _TOOLS),
    **dict.fromkeys(("metric_name", "metric_value"), _METRICS),
}
"""For each derived column of events, a filter that all rows with a value pass."""
_COMPARISONS = ("=", "<>", "<", ">", ">=")


class Conditions(NamedTuple):
    """Conditions of a query, and the values that they bind."""

    texts: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()

    def also(self, other: Conditions) -> Conditions:
        """Return these conditions and others."""
        return Conditions(self.texts + other.texts, self.values + other.values)

    @property
    def where(self) -> str:
        return f" WHERE {' AND '.join(self.texts)}" if self.texts else ""


def are_decided(table: Table[Any], where: Where) -> bool:
    """Return whether only matching rows pass the conditions of filters."""
    return all(_is_decided(table, f) for f in where)


def _is_decided(table: Table[Any], f: Filter) -> bool:
    if f.column not in table.names:
        return False
    if f.op in ("is null", "is not null"):
        return True
    return f.op in (*_COMPARISONS, "in") and table.kind_of(f.column) != "money"


def without_runs(run_ids: Sequence[str]) -> Conditions:
    """Return the condition for rows of other runs."""
    if not run_ids:
        return Conditions()
    return Conditions(("run_id NOT IN (SELECT unnest(?))",), (list(run_ids),))


def stored_form(table: Table[Any], column: str, expression: str | None = None) -> str:
    """Return the expression that yields a column, or one of its kind, in stored form."""
    raw = expression or column
    match table.kind_of(column):
        case "time":
            return f"strftime(make_timestamp(epoch_us({raw})), '%Y-%m-%dT%H:%M:%S.%f+00:00')"
        case "money":
            return f"CAST({raw} * 1000000000000 AS HUGEINT)"
    return raw


def conditions_of(table: Table[Any], where: Where) -> Conditions:
    """Return conditions that all matching rows pass; none of the filters has a `Select`."""
    total = Conditions()
    for f in where:
        total = total.also(_condition(table, f))
    return total


def _condition(table: Table[Any], f: Filter) -> Conditions:
    if f.column not in table.names:
        hint = _ONLY_IN.get(f.column) if table is EVENTS and f.op != "is null" else None
        return _condition(table, hint) if hint else Conditions()
    if not _is_decided(table, f):
        return _first_test(f)
    if f.op in ("is null", "is not null"):
        return Conditions((f"{f.column} {f.op}",))
    if f.op == "in":
        return _any_of(table, f.column, f.value)
    return Conditions((f"{f.column} {f.op} {_bind(table, f.column)}",), (f.value,))


def _bind(table: Table[Any], column: str) -> str:
    return "CAST(? AS TIMESTAMPTZ)" if table.kind_of(column) == "time" else "?"


def _any_of(table: Table[Any], column: str, values: Iterable[Any]) -> Conditions:
    several = [value for value in values if value is not None]
    if not several:
        return Conditions(("false",))
    if len(several) <= _SEVERAL:
        listed = ", ".join([_bind(table, column)] * len(several))
        return Conditions((f"{column} IN ({listed})",), tuple(several))
    return Conditions((f"{column} IN (SELECT unnest(?))",), (several,))


def _first_test(f: Filter) -> Conditions:
    """Return a condition for tags by how they are written; any value may pass another filter."""
    if f.op not in ("has", "has any"):
        return Conditions() if f.op == "differs from" else Conditions((f"{f.column} IS NOT NULL",))
    tags = (f.value,) if f.op == "has" else f.value
    tests = " OR ".join([f"contains({f.column}, ?)"] * len(tags)) or "false"
    return Conditions((f"({tests})",), tuple(json.dumps(tag, ensure_ascii=False) for tag in tags))


def behind(table: Table[Any], order: tuple[Order, ...], after: Position | None) -> Conditions:
    """Return the condition for rows that follow a position in an order."""
    if after is None:
        return Conditions()
    columns = ", ".join(each.column for each in order)
    values = ", ".join(_bind(table, each.column) for each in order)
    comparison = "<" if order[0].descending else ">"
    return Conditions((f"({columns}) {comparison} ({values})",), tuple(after))


def ordered_by(order: tuple[Order, ...]) -> str:
    """Return the ORDER BY of a query."""
    return ", ".join(f"{each.column} DESC" if each.descending else each.column for each in order)


def group_text(table: Table[Any], group: GroupKey) -> str:
    """Return the expression of a group; that of a bucket yields its number."""
    if isinstance(group, Bucket):
        # Added first: // cuts off, so of a time before 1970 it would return the next number.
        begin, size = (_EPOCH + group.shift) * _SECOND, group.seconds * _SECOND
        return f"(epoch_us({group.column}) + {begin}) // {size}"
    assert isinstance(group, str), "rows are put into spans one by one"
    return stored_form(table, group)


def measure_text(table: Table[Any], measure: Measure) -> str:
    """Return the expression of a measure of rows, or of integers, times or costs."""
    kind, column = measure
    if column is None:
        return "count(*)"
    if kind == "values":
        return f"list({column}) FILTER ({column} IS NOT NULL)"
    if kind in ("min", "max"):
        return stored_form(table, column, f"{kind}({column})")
    return f"{kind}({stored_form(table, column)})"


def starts_of(group_by: tuple[GroupKey, ...], values: Sequence[Any]) -> Iterator[Any]:
    """Yield the values of groups, with the begin of each bucket in place of its number."""
    for group, value in zip(group_by, values, strict=False):
        yield group.start(value) if isinstance(group, Bucket) and value is not None else value
