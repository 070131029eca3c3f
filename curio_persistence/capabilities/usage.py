"""Usage: the tokens, latency and cost of every model call."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from curio_persistence.capabilities.appends import Appends
from curio_persistence.capabilities.record_filter import FilterKind
from curio_persistence.capabilities.windows import TimeLike
from curio_persistence.errors import ConflictError
from curio_persistence.models import AgentLLMUsage
from curio_persistence.results.pages import (
    Direction,
    Page,
    Records,
    Stream,
    open_stream,
    read_page,
)
from curio_persistence.store.codecs import decode_money
from curio_persistence.store.filters import Where, checked_count
from curio_persistence.store.table import Row
from curio_persistence.tables import USAGE

if TYPE_CHECKING:
    from curio_persistence.capabilities.grouping import GroupBy
    from curio_persistence.capabilities.totals import UsageTotals


class UsageFilters(TypedDict, total=False):
    """The filters of model calls; a call must pass all that are given."""

    agent_id: str | None
    run_id: str | Collection[str] | None
    session_id: str | None
    user_id: str | None
    model: str | Collection[str] | None
    provider: str | Collection[str] | None
    status: str | Collection[str] | None
    source: str | Collection[str] | None
    project: str | Collection[str] | None
    since: TimeLike | None
    until: TimeLike | None


_OF_RUN = ("session_id", "user_id", "source", "project")
USAGE_FILTERS = FilterKind(USAGE, UsageFilters, of_run=_OF_RUN)


class Usage(Appends[AgentLLMUsage]):
    """Append and list model calls."""

    _table = USAGE
    _dated = ("created_at",)

    def log(self, usage: AgentLLMUsage) -> None:
        """Append one model call; a `cost_usd` that was computed, or the metrics have, is set."""
        row = self._encode(usage)
        moments = self._date((row,))
        try:
            ident = self._store.insert(USAGE, row)
        except ConflictError:
            self._store_and_tell([usage], [row], moments)
            return
        self._fill_in([usage], [row], [ident], moments)

    def _fill_in(
        self,
        records: Sequence[AgentLLMUsage],
        rows: Sequence[Row],
        ids: Sequence[int],
        moments: Mapping[Any, datetime],
    ) -> None:
        super()._fill_in(records, rows, ids, moments)
        for usage, row in zip(records, rows, strict=True):
            cost = row.get("cost_usd")
            if isinstance(cost, int):
                with suppress(AttributeError):  # The record is frozen, or has no cost.
                    usage.cost_usd = decode_money(cost)
                    if version := row.get("price_version"):
                        usage.price_version = str(version)

    def list(
        self, *, agent_id: str | None = None, run_id: str | None = None, limit: int | None = 100
    ) -> builtins.list[AgentLLMUsage]:
        """Return model calls, newest first."""
        rows = self._store.select(
            USAGE,
            USAGE.where(agent_id=agent_id, run_id=run_id),
            limit=None if limit is None else checked_count("limit", limit),
        )
        return USAGE.decode(rows)

    def query(
        self,
        *,
        order: Direction = "newest",
        limit: int | None = 100,
        cursor: str | None = None,
        **filters: Unpack[UsageFilters],
    ) -> Page[AgentLLMUsage]:
        """Return one page of model calls by the time they were stored."""
        where = self._where(filters)
        return read_page(
            self._store.for_reading, USAGE, where, order=order, limit=limit, cursor=cursor
        )

    def iterate(
        self, *, order: Direction = "newest", snapshot: bool = True, **filters: Unpack[UsageFilters]
    ) -> Stream[AgentLLMUsage]:
        """Iterate over all model calls by the time they were stored, in constant memory."""
        where = self._where(filters)
        return open_stream(self._store, USAGE, where, order=order, snapshot=snapshot)

    def count(self, **filters: Unpack[UsageFilters]) -> int:
        """Return the number of model calls that pass the filters."""
        return self._store.for_reading.count(USAGE, self._where(filters))

    def totals(
        self,
        *,
        group_by: GroupBy = (),
        timezone: str | tzinfo | None = None,
        percentiles: bool = False,
        **filters: Unpack[UsageFilters],
    ) -> Records[UsageTotals]:
        """Return calls, tokens, cost, errors and latency, added up by group.

        `group_by` is `"agent"`, `"model"`, `"provider"`, `"status"`, `"session"`, `"user"`,
        `"tag"`, `"source"`, `"project"`, `"branch"`, or a period: `"hour"`, `"day"`, `"week"` (from
        Monday) or `"month"`; or several of these. Session, user and tags are those of a call's run,
        and so are source, project and branch, which its metadata tells; a call whose run has two
        tags counts for both. Periods are those of `timezone`, by default that of this machine, and
        are named as ISO 8601 does: `2026-11-20`, `2026-W47`. Latencies are in milliseconds; their
        percentiles take longer than all else. The filters are those of `query`.
        """
        from curio_persistence.capabilities.totals import usage_totals  # On use: seldom needed.

        return usage_totals(
            self._store.for_reading,
            self._where(filters),
            group_by=group_by,
            timezone=timezone,
            percentiles=percentiles,
        )

    def _where(self, filters: UsageFilters) -> Where:
        return USAGE_FILTERS.of(filters).where(self._clock)
