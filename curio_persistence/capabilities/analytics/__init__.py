"""Analytics: what agents did, how long it took and what it cost, by period and group.

The database computes every number from the records. The periods of the reader's calendar become
spans of time, each of which an index finds, so that a day of 23 hours needs no care. Records that
have expired are known by their day and agent, and are added.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import tzinfo
from itertools import product
from typing import Any, Literal, TypedDict

from curio_persistence.capabilities.analytics.counting import Counting, Groups
from curio_persistence.capabilities.analytics.records import PERIOD_TOTALS, PeriodTotals
from curio_persistence.capabilities.analytics.window import Window, moment_of
from curio_persistence.capabilities.grouping import GroupBy, Grouping
from curio_persistence.capabilities.record_filter import TAG_CONDITIONS, TAGS_OF_RUN, FilterKind
from curio_persistence.capabilities.time_zones import PERIODS
from curio_persistence.capabilities.windows import TimeLike
from curio_persistence.clock import Clock
from curio_persistence.errors import InvalidValueError
from curio_persistence.results.pages import Records
from curio_persistence.store.base import Store
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, USAGE

Bucket = Literal["hour", "day", "week", "month"]


class AnalyticsFilters(TypedDict, total=False):
    """The filters of analytics: those of runs, and of the records that belong to them."""

    agent_id: str | None
    session_id: str | None
    user_id: str | None
    tags: str | Collection[str] | None
    any_tags: str | Collection[str] | None


_OF_RUN = ("session_id", "user_id")
_KINDS: Mapping[Table[Any], FilterKind] = {
    RUNS: FilterKind(RUNS, AnalyticsFilters, conditions=TAG_CONDITIONS),
    EVENTS: FilterKind(EVENTS, AnalyticsFilters, _OF_RUN, TAGS_OF_RUN),
    USAGE: FilterKind(USAGE, AnalyticsFilters, _OF_RUN, TAGS_OF_RUN),
}


def period_totals(
    store: Store,
    clock: Clock,
    *,
    since: TimeLike | None,
    until: TimeLike | None,
    bucket: Bucket | None,
    timezone: str | tzinfo | None,
    group_by: GroupBy,
    fill: bool,
    percentiles: bool,
    filters: AnalyticsFilters,
) -> Records[PeriodTotals]:
    """Return the numbers of each period and group; see `Persistence.analytics`."""
    grouping = Grouping(_checked_names(bucket, group_by), timezone, PERIOD_TOTALS)
    where = {table: kind.of(filters).where(clock) for table, kind in _KINDS.items()}
    window = Window(moment_of("since", since, clock), moment_of("until", until, clock))
    begins: list[str] = []
    if grouping.periods is not None:
        window = window.with_ends(store, where, clock.now() if fill else None)
        begins = window.begins(grouping.periods, by_hour=bucket == "hour")
    counting = Counting(store, where, grouping, window, begins)
    groups = counting.groups(percentiles=percentiles)
    if grouping.periods is not None:
        _name_periods(groups, {str(grouping.periods.label(each)): each for each in begins}, fill)
    return grouping.records(groups)


_GROUPS = ("agent", "session", "user", "tag")


def _checked_names(bucket: Any, group_by: Any) -> list[str]:
    """Return the names to group by, the period first."""
    if bucket is not None and (not isinstance(bucket, str) or bucket not in PERIODS):
        raise InvalidValueError(
            f"bucket is one of {', '.join(PERIODS)}, or None for the whole window, not {bucket!r}.",
            field="bucket",
        )
    given = [group_by] if isinstance(group_by, str) else group_by
    names = list(given) if isinstance(given, Iterable) else [given]
    if any(name not in _GROUPS for name in names) or len({*names}) < len(names):
        raise InvalidValueError(
            f"group_by is one of {', '.join(_GROUPS)}, or several that differ, not {group_by!r}; "
            "periods are asked for by bucket.",
            field="group_by",
        )
    return [*([] if bucket is None else [bucket]), *names]


def _name_periods(groups: Groups, begins: Mapping[str, str], fill: bool) -> None:
    """Tell groups when their period begins; with `fill`, add those of periods without records."""
    if fill:
        for period, others in product(begins, {key[1:] for key in groups} or [()]):
            groups[(period, *others)]  # Which makes one.
    for key, group in groups.items():
        group.begin = begins.get(key[0] or "")
