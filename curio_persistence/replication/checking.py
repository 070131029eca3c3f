"""Compare a replica with its source: numbers of rows and sums by day, or the hashes of all runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

from curio_persistence.backends.clickhouse.client import open_client
from curio_persistence.backends.clickhouse.registry import source_named
from curio_persistence.backends.clickhouse.sink import SHIFT, Sink
from curio_persistence.backends.clickhouse.store import ClickHouseStore
from curio_persistence.capabilities.transfers.hashes import hash_runs
from curio_persistence.errors import ConflictError, NotFoundError
from curio_persistence.replication.feeds import START
from curio_persistence.replication.report import Difference, ReplicaCheck
from curio_persistence.replication.rows import FED
from curio_persistence.store.base import Store
from curio_persistence.store.change_feed import Watermark
from curio_persistence.store.filters import COUNT, Bucket, Filter, Measure, Where, total
from curio_persistence.store.table import Table

_DAY = 24 * 60 * 60
_TOLD = 1_000
_SUMMED = ("integer", "money")


def check_replica(store: Store, url: str, source: str | None, *, deep: bool) -> ReplicaCheck:
    """Compare a replica with its source; see `Persistence.check_replica`."""
    with ExitStack() as stack:
        client = open_client(url)
        stack.callback(client.close)
        name = source or client.address.source or store.identity
        known = source_named(client, name)
        if known is None:
            raise NotFoundError(f"{client.location} has no source {name!r} yet: replicate first.")
        if known.identity != store.identity:
            raise ConflictError(
                f"{client.location} has another database under the name {name!r}: that of "
                f"{known.location}."
            )
        replica = ClickHouseStore(_with_source(url, name))
        stack.callback(replica.close)
        sink = Sink(client, name, known.number)
        return _Checking(store, replica, sink, known.number << SHIFT).check(deep)


def _with_source(url: str, name: str) -> str:
    """Return the URL of a replica for one source, whichever it names."""
    base, _, query = url.partition("?")
    others = [each for each in query.split("&") if each and not each.startswith("source=")]
    return f"{base}?{'&'.join([*others, 'source=' + quote(name, safe='')])}"


class _Checking:
    """Compares two stores, of which one has other ids."""

    def __init__(self, source: Store, replica: Store, sink: Sink, base: int) -> None:
        self._source = source
        self._replica = replica
        self._sink = sink
        self._base = base
        self._rows = self._behind = 0

    def check(self, deep: bool) -> ReplicaCheck:
        found = [each for table in FED for each in self._differences(table)]
        if deep:
            found += self._differing_runs()
        return ReplicaCheck(self._sink.source, self._rows, self._behind, tuple(found[:_TOLD]))

    def _differences(self, table: Table[Any]) -> Iterator[Difference]:
        upto = Watermark.parse(self._sink.noted(table.name).mark or START).upto
        self._behind += self._source.count(table, (Filter("id", ">", upto),))
        there = self._sums(self._source, table, (Filter("id", "<", upto + 1),), 0)
        where = (Filter("id", "<", self._base + upto + 1),)
        here = self._sums(self._replica, table, where, self._base)
        self._rows += sum(sums[0] for sums in there.values())
        for day in sorted(here.keys() | there.keys()):
            mine, theirs = there.get(day, (0,)), here.get(day, (0,))
            if mine != theirs:
                yield Difference(table.name, day[:10], None, mine[0], theirs[0])

    def _sums(
        self, store: Store, table: Table[Any], where: Where, base: int
    ) -> dict[str, tuple[int, ...]]:
        """Return by day the number of rows, and the sums of ids and of other numbers."""
        numbers = [n for n in table.names if n != "id" and table.kind_of(n) in _SUMMED]
        measures: tuple[Measure, ...] = (COUNT, total("id"), *map(total, numbers))
        by_day = (Bucket(table.ages_by, _DAY),)
        rows = store.aggregate(table, measures, where, group_by=by_day)
        return {day: (count, ids - base * count, *sums) for day, count, ids, *sums in rows}

    def _differing_runs(self) -> Iterator[Difference]:
        """Yield the runs of which a row differs in any value."""
        there = {run.run_id: run for run in hash_runs(self._source, None)}
        here = {run.run_id: run for run in hash_runs(self._replica, None)}
        for run_id in sorted(there.keys() | here.keys(), key=str):
            mine, theirs = there.get(run_id), here.get(run_id)
            if mine != theirs:
                sizes = (0 if run is None else sum(run[1:-1]) for run in (mine, theirs))
                yield Difference("agent_runs", None, run_id, *sizes)
