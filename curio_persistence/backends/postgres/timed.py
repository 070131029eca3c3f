"""The `timed` layout: events and model calls in partitions by month, for databases that grow.

It is a property of the database, and is found when that is opened. See schema/postgres/timed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from itertools import chain, takewhile
from typing import Any, Literal, get_args

from curio_persistence.backends.postgres import partitions
from curio_persistence.backends.postgres.ddl import PostgresDDL
from curio_persistence.backends.postgres.partitions import (
    EARLY,
    LATE,
    begin_of,
    month_of,
    months_of,
    name_of,
    partition_of,
)
from curio_persistence.backends.postgres.pool import Connection
from curio_persistence.backends.sql import migrations
from curio_persistence.clock import utc_now
from curio_persistence.errors import (
    AccessDeniedError,
    BusyError,
    ConfigurationError,
    SchemaMismatchError,
)
from curio_persistence.store.base import HealthCheck, Partition
from curio_persistence.store.codecs import decode_time, encode_time
from curio_persistence.store.table import StoredValue, Table
from curio_persistence.tables import EVENTS, RUNS, USAGE

Layout = Literal["plain", "timed", "timescale"]
"""`timescale` has hypertables of the extension TimescaleDB in place of PostgreSQL's partitions."""

TIMED: tuple[Table[Any], ...] = (EVENTS, USAGE)
"""The tables that have partitions, by the time of their `ages_by`."""
REGISTRIES: Mapping[str, str] = {
    EVENTS.name: "agent_run_event_ids",
    USAGE.name: "agent_llm_usage_ids",
}
"""The tables of what is stored only once; see schema/postgres/timed."""

AHEAD = 3
"""Months after the present one that have a partition."""
_MOST = 120
"""Months that are made at a time: rows of others are in the partitions of early and late times."""
_TRIES, _PAUSE = 10, 1.0
_LOCK_TIMEOUT = "500ms"
"""Less than the server's deadlock_timeout: no statement of another program is ended for ours."""
_LAYOUT = (
    "SELECT CASE WHEN c.relkind = 'p' THEN 'timed' WHEN EXISTS ("
    "SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid "
    "AND t.tgname = 'agent_run_events_checked') THEN 'timescale' ELSE 'plain' END "
    "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = %s AND c.relname = %s"
)
_KIND = (
    "SELECT c.relkind::text FROM pg_catalog.pg_class c "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = %s AND c.relname = %s"
)
_INDEXED = re.compile(r' ON (?P<table>(?:"(?:[^"]|"")*"|U&"[^"]*")\."?(?P<name>\w+)"?)')


class PostgresTimed(PostgresDDL):
    """The part of a PostgreSQL store that makes and uses partitions, where there are some."""

    def __init__(
        self, settings: Mapping[str, Any], *, layout: Layout | None = None, **options: Any
    ) -> None:
        if layout is not None and layout not in get_args(Layout):
            raise ConfigurationError(f'layout is "plain", "timed" or "timescale", not {layout!r}.')
        super().__init__(settings, **options)
        self._wanted = layout
        self._layout: Layout | None = None

    @property
    def layout(self) -> Layout:
        """The layout of the tables; `plain` while there are none."""
        if self._layout is None:
            [*found] = self._read(_LAYOUT, (self._schema_name, EVENTS.name))
            self._layout = found[0][0] if found else None
        return self._layout or "plain"

    @property
    def is_timed(self) -> bool:
        """True if the tables have partitions by month."""
        return self.layout == "timed"

    @property
    def has_registry(self) -> bool:
        """True if a registry, and not the table itself, keeps `event_id`s unique."""
        return self.layout != "plain"

    def initialize(self) -> bool:
        migrated = super().initialize()
        if self._wanted is not None and not self._is_as_wanted(self._wanted):
            raise self._another_layout(self._wanted)
        if self.is_timed and not self.read_only:
            with suppress(BusyError, AccessDeniedError):  # Until then, rows are stored as late.
                self._make_months()
        return migrated

    def _is_as_wanted(self, wanted: Layout) -> bool:
        return wanted == self.layout or (wanted == "timed" and self.has_registry)

    def _another_layout(self, wanted: Layout) -> SchemaMismatchError:
        return SchemaMismatchError(
            f"{self.location} has the {self.layout} layout, and a layout does not change in place. "
            "Leave layout= out to open it as it is; or copy the records into a new schema, and "
            "then swap the names of both.",
            found=self.layout,
            wanted=wanted,
            command="curio-persistence copy 'postgresql://…' "
            f"'postgresql://…?schema=agent_sdk_{wanted}&layout={wanted}'",
        )

    def _migrate_one_step(self) -> bool:
        if self._wanted in (None, "plain") or self._catalog().tables:
            return super()._migrate_one_step()
        with self.transaction():
            self._lock_schema()
            if not self._catalog().tables:
                self._create_parted()
                for step in migrations.migrations(self.dialect):
                    self._note(step)
        return True

    def _create_parted(self) -> None:
        """Make the tables with partitions."""
        self._run_script(migrations.fresh_timed())
        self._layout = "timed"
        self._make_months()

    # --- partitions ---------------------------------------------------------------------------

    def prepare_times(self, since: datetime | None = None) -> None:
        _patiently(partial(self._make_months, since))

    def _make_months(self, since: datetime | None = None) -> None:
        """Make the partitions that are missing from a time, or the first there is, until soon."""
        if not self.is_timed:
            return
        now = month_of(utc_now())
        for table in TIMED:
            found = self._months(table)
            first = now if since is None else max(month_of(since), now - _MOST)
            first = min([*found[:1], first])
            last = max([*found[-1:], min(now + AHEAD, first + len(found) + _MOST)])
            if not found or first < found[0] or last > found[-1]:
                with self._partitions_locked(table):
                    self._extend(table, first, last)

    def _extend(self, table: Table[Any], first: int, last: int) -> None:
        found = self._months(table)
        below = range(first, found[0] if found else last + 1)
        above = range(found[-1] + 1 if found else last + 1, last + 1)
        if below or not found:
            self._replace(table, EARLY, below, f"(MINVALUE) TO ('{begin_of(first)}')")
        if above or not found:
            self._replace(table, LATE, above, f"('{begin_of(last + 1)}') TO (MAXVALUE)")

    def _replace(self, table: Table[Any], end: str, months: Iterable[int], bounds: str) -> None:
        """Make months out of the times of an end, which gets these bounds, and move their rows."""
        parent, whole = self._table(table), self._qualified(f"{table.name}_{end}")
        is_there = f"{table.name}_{end}" in self._partitions(table)
        if is_there:
            self._write(f"ALTER TABLE {parent} DETACH PARTITION {whole}", ())
        for month in months:
            part = self._qualified(name_of(table, month))
            begin, until = begin_of(month), begin_of(month + 1)
            self._write(
                f"CREATE TABLE {part} PARTITION OF {parent} FOR VALUES FROM ('{begin}') "
                f"TO ('{until}')",
                (),
            )
            if is_there:
                self._write(
                    f"WITH moved AS (DELETE FROM {whole} WHERE {table.ages_by} >= '{begin}' "
                    f"AND {table.ages_by} < '{until}' RETURNING *) "
                    f"INSERT INTO {part} SELECT * FROM moved",
                    (),
                )
        if is_there:
            how = f"ALTER TABLE {parent} ATTACH PARTITION {whole}"
        else:
            how = f"CREATE TABLE {whole} PARTITION OF {parent}"
        self._write(f"{how} FOR VALUES FROM {bounds}", ())

    def partitions(self, table: Table[Any], before: str) -> list[Partition]:
        if table not in TIMED or not self.is_timed:
            return []
        found = [partition_of(table, month) for month in self._months(table)]
        return [each for each in found if each.end <= before]

    def runs_of_partition(self, partition: Partition) -> set[StoredValue]:
        with self._patient_connection() as connection:
            sql = f"SELECT DISTINCT run_id FROM {self._part(partition)}"
            return {run_id for (run_id,) in self._run(connection, sql, ())[0]}

    def lock_partition(self, partition: Partition) -> None:
        self._unhurried()
        lock = f"LOCK TABLE {self._part(partition)} IN SHARE MODE"
        _patiently(partial(self._run_soon, lock))

    def empty_partition(self, partition: Partition) -> None:
        registry, moment = REGISTRIES[partition.table.name], partition.table.ages_by
        self._write(
            f"DELETE FROM {self._qualified(registry)} WHERE {moment} >= %s AND {moment} < %s",
            (partition.begin, partition.end),
        )
        _patiently(partial(self._run_soon, self._emptying(partition)))

    def _emptying(self, partition: Partition) -> str:
        return f"TRUNCATE {self._part(partition)}"

    def drop_empty_partitions(self, before: str) -> None:
        if not self.is_timed:
            return
        now = encode_time(utc_now())
        for table in TIMED:
            if self._first_empty(table, min(before, now)):
                _patiently(partial(self._drop_first, table, min(before, now)))

    def _first_empty(self, table: Table[Any], before: str) -> list[Partition]:
        """Return the first partitions that have no rows, and end by a time."""
        parts = self.partitions(table, before)
        return list(
            takewhile(lambda part: not self.select_columns(table, ("id",), part.where, 1), parts)
        )

    def _drop_first(self, table: Table[Any], before: str) -> None:
        with self._partitions_locked(table):
            parts = self._first_empty(table, before)
            early = self._qualified(f"{table.name}_{EARLY}")
            self._write(f"ALTER TABLE {self._table(table)} DETACH PARTITION {early}", ())
            for part in parts:
                self._write(f"DROP TABLE {self._part(part)}", ())
            self._write(
                f"ALTER TABLE {self._table(table)} ATTACH PARTITION {early} "
                f"FOR VALUES FROM (MINVALUE) TO ('{self._first_begin(table)}')",
                (),
            )

    def _first_begin(self, table: Table[Any]) -> str:
        return begin_of(self._months(table)[0])

    def _part(self, partition: Partition) -> str:
        moment = decode_time(partition.begin)
        assert moment is not None, "a partition begins at a time"
        return self._qualified(name_of(partition.table, month_of(moment)))

    def _run_soon(self, sql: str) -> None:
        """Run a statement in this transaction that waits for its lock for a moment only."""
        control = partial(self._control, self._mine.required())
        control(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        try:
            self._write(sql, ())
        finally:
            control("SET LOCAL lock_timeout = DEFAULT")

    @contextmanager
    def _partitions_locked(self, table: Table[Any]) -> Iterator[None]:
        """Lock a table in a transaction that changes its partitions, or raise BusyError soon."""
        with self.transaction():
            self._lock_schema()
            # Its foreign key locks the table of runs as well.
            self._control(
                self._mine.required(),
                f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'; "
                f"LOCK TABLE ONLY {self._table(table)} IN ACCESS EXCLUSIVE MODE; "
                f"LOCK TABLE {self._table(RUNS)} IN SHARE ROW EXCLUSIVE MODE",
            )
            yield

    def _partitions(self, table: Table[Any]) -> list[str]:
        """Return the names of a table's partitions."""
        return [name for name, *_ in self._described(table)]

    def _described(self, table: Table[Any]) -> list[tuple[str, int, str]]:
        """Return the partitions of a table, each with its bytes and its bounds."""
        return self._read(partitions.PARTITIONS, (self._schema_name, table.name))

    def _months(self, table: Table[Any]) -> list[int]:
        """Return the months that have a partition, which follow one another."""
        return months_of(table, self._partitions(table))

    def _partitions_check(self) -> HealthCheck:
        broken = {table.name: made for table in TIMED if (made := self._making_whole(table))}
        if broken:
            return partitions.missing_check([*broken], [*chain.from_iterable(broken.values())])
        sizes = {name: octets for name, octets, _ in self._described(EVENTS)}
        months = [
            (f"{month // 12:04}-{month % 12 + 1:02}", sizes[name_of(EVENTS, month)])
            for month in months_of(EVENTS, sizes)
        ]
        least = min(sizes.values(), default=0)  # An empty one has a page in each of its indexes.
        before, after = (sizes.get(f"{EVENTS.name}_{end}", 0) - least for end in (EARLY, LATE))
        found = partitions.Sizes(months, before, after)
        return partitions.sizes_check(found, f"{utc_now():%Y-%m}")

    def _making_whole(self, table: Table[Any]) -> list[str]:
        """Return the statements that attach or make the partitions that are missing."""
        lacking = partitions.missing(table, (bounds for *_, bounds in self._described(table)))
        registry = REGISTRIES[table.name]
        return [
            each.attaching(self._qualified)
            if self._read(_KIND, (self._schema_name, each.name))
            else each.making(self._qualified, registry)
            for each in lacking
        ]

    # --- indexes ------------------------------------------------------------------------------

    def _build_index(self, connection: Connection, name: str, sql: str) -> bool:
        indexed = _INDEXED.search(sql)
        table = next((t for t in TIMED if indexed and t.name == indexed["name"]), None)
        if indexed is None or table is None or not self.is_timed:
            return super()._build_index(connection, name, sql)
        is_valid = self._is_valid(connection, name)
        if is_valid:
            return False
        if is_valid is not None:
            self._drop_index(connection, name)
        # First without partitions, so that months that are made meanwhile have it.
        only = f" ON ONLY {indexed['table']}"
        self._run(connection, sql.replace(" CONCURRENTLY", "", 1).replace(indexed[0], only, 1), ())
        for part in self._partitions(table):
            its = f"{part}_{name.removeprefix(table.name + '_')}"
            of_part = sql.replace(indexed[0], f" ON {self._qualified(part)}", 1)
            of_part = re.sub(rf'"?\b{name}\b"?', f'"{its}"', of_part, count=1)
            super()._build_index(connection, its, of_part)
            attach = f"ATTACH PARTITION {self._qualified(its)}"
            self._run(connection, f"ALTER INDEX {self._qualified(name)} {attach}", ())
        return True

    def _drop_index(self, connection: Connection, name: str) -> None:
        kind, _ = self._run(connection, _KIND, (self._schema_name, name))
        if kind == [("I",)]:  # That of a partitioned table cannot be dropped CONCURRENTLY.
            self._run(connection, f"DROP INDEX {self._qualified(name)}", ())
        else:
            super()._drop_index(connection, name)


def _patiently(change: Callable[[], None]) -> None:
    """Change partitions, or raise BusyError if others use them each time that it is tried."""
    for _ in range(_TRIES - 1):
        with suppress(BusyError):
            return change()
        time.sleep(_PAUSE)
    return change()
