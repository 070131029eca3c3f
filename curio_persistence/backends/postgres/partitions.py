"""The months of a table in the `timed` layout: their names, their bounds, and which are missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple

from curio_persistence.backends.sql.health import size
from curio_persistence.store.base import HealthCheck, Partition
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.table import Table

EARLY, LATE = "early", "late"

PARTITIONS = """
    SELECT c.relname, pg_catalog.pg_total_relation_size(c.oid),
        pg_catalog.pg_get_expr(c.relpartbound, c.oid)
    FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
    JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
    JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
    WHERE n.nspname = %s AND p.relname = %s ORDER BY c.relname
"""
_BOUNDS = re.compile(r"FROM \((.*)\) TO \((.*)\)")
_ALWAYS, _NEVER = -(2**31), 2**31
"""The months of MINVALUE and MAXVALUE."""


def month_of(moment: datetime) -> int:
    """Return the number of a month in UTC, counted from year 0."""
    moment = moment.astimezone(UTC)
    return moment.year * 12 + moment.month - 1


def begin_of(month: int) -> str:
    """Return the begin of a month as a bound of partitions."""
    return f"{month // 12:04}-{month % 12 + 1:02}-01 00:00:00+00"


def name_of(table: Table[Any], month: int) -> str:
    return f"{table.name}_{month // 12:04}_{month % 12 + 1:02}"


def partition_of(table: Table[Any], month: int) -> Partition:
    begin, end = (
        encode_time(datetime(each // 12, each % 12 + 1, 1, tzinfo=UTC))
        for each in (month, month + 1)
    )
    return Partition(table, begin, end)


def months_of(table: Table[Any], names: Iterable[str]) -> list[int]:
    """Return the months among the names of partitions, in their order."""
    name = re.compile(rf"{table.name}_(\d{{4}})_(\d\d)")
    found = filter(None, map(name.fullmatch, names))
    return sorted(int(match[1]) * 12 + int(match[2]) - 1 for match in found)


class Missing(NamedTuple):
    """A partition that is not there, with the bounds that it had."""

    table: Table[Any]
    name: str
    begin: str | None
    end: str | None

    @property
    def _values(self) -> str:
        begin, end = (f"'{each}'" if each else None for each in (self.begin, self.end))
        return f"FOR VALUES FROM ({begin or 'MINVALUE'}) TO ({end or 'MAXVALUE'})"

    def attaching(self, qualified: Callable[[str], str]) -> str:
        """Return the statement that makes it a partition again, if it was detached."""
        parent, part = qualified(self.table.name), qualified(self.name)
        return f"ALTER TABLE {parent} ATTACH PARTITION {part} {self._values}"

    def making(self, qualified: Callable[[str], str], registry: str) -> str:
        """Return the statements that make it anew, and forget the names of its records."""
        parent, part = qualified(self.table.name), qualified(self.name)
        bounds = (
            self.begin and f"{self.table.ages_by} >= '{self.begin}'",
            self.end and f"{self.table.ages_by} < '{self.end}'",
        )
        return (
            f"CREATE TABLE {part} PARTITION OF {parent} {self._values}; "
            f"DELETE FROM {qualified(registry)} WHERE {' AND '.join(filter(None, bounds))}"
        )


def missing(table: Table[Any], bounds: Iterable[str]) -> list[Missing]:
    """Return the partitions that are missing before, between and after those with these bounds."""
    spans = sorted(map(_span, bounds))
    edges = [(_ALWAYS, _ALWAYS), *spans, (_NEVER, _NEVER)]
    return [
        each
        for (_, end), (begin, _) in pairwise(edges)
        if end < begin
        for each in _between(table, end, begin)
    ]


def _span(bounds: str) -> tuple[int, int]:
    found = _BOUNDS.search(bounds)
    assert found, "the table is partitioned by range"
    first, last = (each.strip("'") for each in found.groups())
    begin = _ALWAYS if first == "MINVALUE" else month_of(datetime.fromisoformat(first))
    return begin, _NEVER if last == "MAXVALUE" else month_of(datetime.fromisoformat(last))


def _between(table: Table[Any], begin: int, end: int) -> list[Missing]:
    if begin == _ALWAYS:
        return [Missing(table, f"{table.name}_{EARLY}", None, begin_of(end))]
    if end == _NEVER:
        return [Missing(table, f"{table.name}_{LATE}", begin_of(begin), None)]
    return [
        Missing(table, name_of(table, month), begin_of(month), begin_of(month + 1))
        for month in range(begin, end)
    ]


def missing_check(tables: Sequence[str], statements: Sequence[str]) -> HealthCheck:
    """Report tables that refuse records of some times; statements make them whole."""
    return HealthCheck(
        "partitions",
        "error",
        f"{' and '.join(tables)}: another program dropped or detached partitions, and records of "
        "their times are refused",
        f"With psql: {'; '.join(statements)}",
    )


class Sizes(NamedTuple):
    """The bytes of the partitions of a table; months are written as `2026-11`."""

    months: Sequence[tuple[str, int]]
    """The oldest first."""
    before: int
    """The bytes of rows before the first month."""
    after: int
    """The bytes of rows after the last month."""


def sizes_check(events: Sizes, this_month: str) -> HealthCheck:
    """Check that there is a month for the next records, and describe the partitions."""
    months = events.months
    if not months or months[-1][0] <= this_month:
        last = months[-1][0] if months else "none"
        return HealthCheck(
            "partitions",
            "warning",
            f"the last month of events is {last}: later ones are stored together, and do not "
            "leave as a month",
            "Let a role that may create tables run: curio-persistence migrate --url 'postgresql://…'",
        )
    largest, octets = max(months, key=lambda month: month[1])
    return HealthCheck(
        "partitions",
        "ok",
        f"events by month from {months[0][0]} to {months[-1][0]}, most in {largest} "
        f"({size(octets)}); before them {size(events.before)}, after them "
        f"{size(events.after)}",
    )
