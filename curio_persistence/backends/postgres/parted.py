"""Ask tables that have partitions: names by the registry, and pages of the last months first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from curio_persistence.backends.postgres.partitions import month_of
from curio_persistence.backends.postgres.timed import REGISTRIES, PostgresTimed
from curio_persistence.clock import utc_now
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Select
from curio_persistence.store.query import Query
from curio_persistence.store.table import Columns, Row, Table

_OF_MANY = {"agent_id", "event_type", "level", "severity", "model", "provider", "status"}
"""The columns whose values many rows share, so that a page of them comes from few months."""
_TICK = timedelta(microseconds=1)


class PostgresParted(PostgresTimed):
    """The part of a PostgreSQL store that asks tables with partitions, where there are some."""

    def select_query(self, query: Query, limit: int | None, offset: int) -> Columns:
        if query.table.name not in REGISTRIES or not self.has_registry:
            return super().select_query(query, limit, offset)
        query = self._by_registry(query)
        halves = _halves(query, utc_now()) if limit and not offset else None
        if not limit or halves is None:
            return super().select_query(query, limit, offset)
        recent, older = halves
        columns = super().select_query(recent, limit, 0)
        if (left := limit - len(columns[0])) == 0:
            return columns
        rest = super().select_query(older, left, 0)
        return [(*first, *second) for first, second in zip(columns, rest, strict=True)]

    def _by_registry(self, query: Query) -> Query:
        """Return a query that names events by their ids and times.

        The registry has one index of names, where the table has one for each month.
        """
        asked = [f for f in query.where if f.column == "event_id" and f.op in ("=", "in")]
        if not asked or isinstance(asked[0].value, Select):
            return query
        moment = query.table.ages_by
        names = asked[0].value if isinstance(asked[0].value, tuple) else (asked[0].value,)
        registry = self._qualified(REGISTRIES[query.table.name])
        rows = self._read(
            f"SELECT id, {self._reading(moment)} FROM {registry} WHERE event_id = ANY(%s)",
            (list(names),),
        )
        ids, times = tuple(zip(*rows, strict=True)) or ((), ())
        where = (*query.where, Filter("id", "in", ids), Filter(moment, "in", times))
        return query._replace(where=where)

    def _upsert_row(
        self, table: Table[Any], row: Row, key: tuple[str, ...], update: tuple[str, ...]
    ) -> tuple[int, bool]:
        if table.name in REGISTRIES and self.has_registry:  # It has no unique index.
            return Store._upsert_row(self, table, row, key, update)
        return super()._upsert_row(table, row, key, update)


def _halves(query: Query, now: datetime) -> tuple[Query, Query] | None:
    """Return the query for rows of the last two months, and that for older ones.

    The server plans a statement for every month that may have rows, which takes longer than to
    read a page. The last months are those before the query's position, or before the end of its
    window. None for rows in another order, or that only few months have.
    """
    moment, descending = query.order[0]
    own = [f for f in query.where if f.column == moment]
    if moment != query.table.ages_by or not descending or any(f.op != "<" for f in own):
        return None
    if not {f.column for f in query.where} <= {*_OF_MANY, moment}:
        return None
    after = None if query.after is None else str(query.after[0])
    end = datetime.fromisoformat(min(after or "9999", encode_time(now), *(f.value for f in own)))
    begin = encode_time(_month_before(end))
    recent = [Filter(moment, ">=", begin)]
    if after == encode_time(end):
        # The position is of two columns, by which the server does not leave out later months.
        recent.append(Filter(moment, "<", encode_time(end + _TICK)))
    older = (*(f for f in query.where if f not in own), Filter(moment, "<", begin))
    return query._replace(where=(*query.where, *recent)), query._replace(where=older, after=None)


def _month_before(moment: datetime) -> datetime:
    """Return the begin of the month before that of a moment."""
    month = max(month_of(moment) - 1, 12)
    return datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)
