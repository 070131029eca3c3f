"""Moving records between databases: reading them as of one moment, and storing each once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from curio_persistence.capabilities.agents import AGENT_FILTERS
from curio_persistence.capabilities.appends import Appends
from curio_persistence.capabilities.approvals import APPROVAL_FILTERS
from curio_persistence.capabilities.capability import Capability
from curio_persistence.capabilities.chains import EVENT_CHAINS, Chains
from curio_persistence.capabilities.deletions import expired_here
from curio_persistence.capabilities.events import EVENT_FILTERS, Events
from curio_persistence.capabilities.record_filter import FilterKind
from curio_persistence.capabilities.runs import RUN_FILTERS
from curio_persistence.capabilities.scores import SCORE_FILTERS
from curio_persistence.capabilities.sessions import SESSION_FILTERS
from curio_persistence.capabilities.snapshots import SNAPSHOT_FILTERS
from curio_persistence.capabilities.traces import SOURCE_FILTERS, SPAN_FILTERS
from curio_persistence.capabilities.transfers.deduplication import ARRIVING, Deduplicator
from curio_persistence.capabilities.transfers.hashes import RunHashes, hash_runs
from curio_persistence.capabilities.transfers.reading import Reading, ascending
from curio_persistence.capabilities.usage import USAGE_FILTERS, Usage
from curio_persistence.clock import Clock
from curio_persistence.errors import (
    AccessDeniedError,
    BusyError,
    ConflictError,
    InvalidValueError,
)
from curio_persistence.redaction import Redaction
from curio_persistence.results.arrow import arrow_tables_of_csv
from curio_persistence.results.csv import stream_csv
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import decode_time, encode_time
from curio_persistence.store.filters import Filter, Measure, Order, Where
from curio_persistence.store.query import query_of
from curio_persistence.store.table import Columns, Row, StoredValue, Table
from curio_persistence.tables import (
    AGENTS,
    APPROVALS,
    CHAIN_HEADS,
    EVENTS,
    RUNS_AND_STUBS,
    SCORES,
    SESSIONS,
    SNAPSHOTS,
    SOURCES,
    SPANS,
    USAGE,
)
from curio_persistence.tables.audit import ChainHead

_YEARS = timedelta(days=10 * 365)
_FILTERS: Mapping[Table[Any], FilterKind] = {
    RUNS_AND_STUBS: RUN_FILTERS,
    EVENTS: EVENT_FILTERS,
    USAGE: USAGE_FILTERS,
    SCORES: SCORE_FILTERS,
    APPROVALS: APPROVAL_FILTERS,
    SNAPSHOTS: SNAPSHOT_FILTERS,
    SPANS: SPAN_FILTERS,
    SOURCES: SOURCE_FILTERS,
    SESSIONS: SESSION_FILTERS,
    AGENTS: AGENT_FILTERS,
}

_BY_ID_DOWN = (Order("id", descending=True),)


class Transfers(Capability):
    """Reads all kinds of records as of one moment, and stores records from elsewhere."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        redaction: Redaction,
        events: Events,
        usage: Usage,
    ) -> None:
        super().__init__(store, clock)
        self._redaction = redaction
        self._appends: dict[Table[Any], Appends[Any]] = {EVENTS: events, USAGE: usage}
        # Records of another database keep the links that they have, and get none.
        arriving = Events(store, clock, redaction)
        self._arriving: dict[Table[Any], Appends[Any]] = {EVENTS: arriving, USAGE: usage}

    @contextmanager
    def reading(self, *, snapshot: bool = True) -> Iterator[Reading]:
        """Read all tables as of now, or by `Store.pages_query`, which holds no snapshot."""
        if not snapshot:
            yield Reading(self._store.pages_query)
            return
        with self._store.snapshot() as read:
            yield Reading(read)

    def arrow_tables(self, table: Table[Any], wheres: Iterable[Where]) -> Iterator[Any]:
        """Yield rows as Arrow tables with texts in stored form, those of one filter together."""
        order = ascending(table)
        texts = (stream_csv(self._store, query_of(table, where, order)) for where in wheres)
        return arrow_tables_of_csv(table, order, chain.from_iterable(texts), escaped=True)

    def where(self, table: Table[Any], filters: Mapping[str, Any]) -> Where:
        """Return the filters of a table's `query_` call."""
        given = {name: value for name, value in filters.items() if value is not None}
        kind = _FILTERS[table]
        if unknown := given.keys() - kind.names.__annotations__.keys():
            raise InvalidValueError(
                f"{table.name} cannot be picked by {', '.join(sorted(unknown))}: leave it out, or "
                "choose tables (--table) that can.",
                field="filters",
            )
        return kind.of(given).where(self._clock)

    def count(self, table: Table[Any], where: Where = ()) -> int:
        """Return the number of records."""
        return self._store.count(table, where)

    @property
    def identity(self) -> str:
        """Identifies the database; see `Store.identity`."""
        return self._store.identity

    def last_id(self, table: Table[Any]) -> int:
        """Return the largest id; 0 in an empty table."""
        last = self._store.select(table, order=_BY_ID_DOWN, limit=1)[table.names.index("id")]
        return int(last[0]) if last else 0

    def row_of(self, table: Table[Any], ident: int) -> tuple[Any, ...] | None:
        """Return the values that identify a row across databases; None for an unknown id."""
        owner = "run_id" if "run_id" in table.names else table.unique[0][0]
        for row in self._store.select_columns(
            table, (owner, "created_at"), (Filter("id", "=", ident),)
        ):
            return row
        return None

    def oldest(self) -> datetime | None:
        """Return the time of the oldest event or model call of the last years, if there are any."""
        recent = encode_time(self._clock.now() - _YEARS)
        return min(
            (
                moment
                for table in (EVENTS, USAGE)
                for (first,) in self._store.aggregate(
                    table,
                    (Measure("min", table.ages_by),),
                    (Filter(table.ages_by, ">=", recent),),
                )
                if (moment := decode_time(first)) is not None
            ),
            default=None,
        )

    def prepare_times(self, since: datetime | None) -> None:
        """Make partitions for rows from this time on, where there are partitions."""
        with suppress(BusyError, AccessDeniedError):  # They are stored without them as well.
            self._store.prepare_times(since)

    def reserve_ids(self, table: Table[Any], last: int) -> None:
        """See `Store.reserve_ids`."""
        self._store.reserve_ids(table, last)

    def encoder(self, table: Table[Any]) -> Callable[[Any], Row]:
        """Return the function that encodes records; it redacts, as every write does."""
        return self._redaction.encoder(table, is_new=False)

    def rows(self, table: Table[Any], columns: Columns) -> list[Row]:
        """Return the rows, with their ids, of columns read from another store, redacted."""
        rows = table.rows(columns)
        if self._redaction.keeps_all:
            return rows
        return [self._redaction.clean(table, row) for row in rows]

    def changes(self, table: Table[Any]) -> bool:
        """Return whether rows are changed: a stored one may then be older than one that arrives.

        Such a table has a unique key, and `updated_at`.
        """
        return table not in self._appends

    def hashes(self, run_ids: Iterable[str | None]) -> RunHashes:
        """Return the hashes of some runs; see `runs.hashes`."""
        return hash_runs(self._store, run_ids)

    def deduplicator(self) -> Deduplicator:
        """Return a deduplicator, which stores records from elsewhere."""
        return Deduplicator(self._store, self._arriving)

    def heads(self, reading: Reading) -> Iterator[list[ChainHead]]:
        """Yield the heads of the chains of events, some at a time."""
        for columns in reading.stream(CHAIN_HEADS, (Filter("kind", "=", EVENT_CHAINS),)):
            yield CHAIN_HEADS.decode(columns)

    def adopt_heads(self, heads: Iterable[ChainHead]) -> None:
        """Store the heads of chains whose links were copied."""
        Chains(self._store, self._clock, EVENT_CHAINS).adopt(heads)

    def expired(
        self, run_ids: Iterable[StoredValue], *, or_erased: bool = False
    ) -> set[StoredValue]:
        """Return those of the runs that expired here; with `or_erased`, or were deleted."""
        return expired_here(self._store, run_ids, or_erased=or_erased)

    def log(self, table: Table[Any], rows: Sequence[Row]) -> int:
        """Append encoded rows, all or none, and return how many are new."""
        return self._appends[table].log_rows(rows)

    def append(self, table: Table[Any], chunks: Iterable[Sequence[Row]], reserved: int) -> int:
        """Store rows under their own ids, all or none, and return how many they are.

        The ids ascend, lie above all stored ids, and end at `reserved`, because change feeds read
        by id. Raises ConflictError if another transaction has stored a row with such an id, or a
        larger one: a change feed may have passed these ids.
        """
        chunks = iter(chunks)
        first = next(chunks)
        with self._store.transaction():
            self._store.advisory_lock(ARRIVING)
            # Also makes change feeds wait for this transaction.
            self._store.reserve_ids(table, reserved)
            if self.count(table, (Filter("id", ">=", first[0]["id"]),)):
                raise ConflictError(f"{table.name} has rows with ids from {first[0]['id']} on.")
            everything = chain((first,), chunks)
            return sum(len(self._store.insert_many(table, rows)) for rows in everything)
