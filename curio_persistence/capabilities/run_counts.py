"""The number of runs that began in each bucket of a window of time."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Self

from curio_persistence.capabilities.analytics.window import moment_of
from curio_persistence.capabilities.metrics import bucket_of
from curio_persistence.capabilities.time_zones import PERIODS, Periods, zone_of
from curio_persistence.capabilities.windows import TimeLike
from curio_persistence.clock import Clock
from curio_persistence.errors import InvalidValueError
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import COUNT, Bucket, GroupKey, Measure, Spans, Where
from curio_persistence.tables import RUNS

_MOST = 2_000
_MOMENT = timedelta(microseconds=1)
_BY: dict[Any, tuple[GroupKey, ...]] = {None: (), "status": ("status",), "agent": ("agent_id",)}


@dataclass(frozen=True, slots=True)
class RunCount:
    """The runs that were created in one bucket of time, and how many of them have each value."""

    begin: datetime
    end: datetime
    runs: int
    by: dict[str, int] = field(default_factory=dict)


def run_counts(
    store: Store,
    clock: Clock,
    where: Where,
    window: tuple[TimeLike | None, TimeLike | None],
    *,
    bucket: Any,
    by: Any,
    timezone: Any,
) -> list[RunCount]:
    """Return the count of each bucket; see `Runs.counts`."""
    if not isinstance(by, str | None) or by not in _BY:
        raise InvalidValueError(f"by is status, agent or None, not {by!r}.", field="by")
    edges = _edges(store, clock, where, window, _Buckets.of(bucket, timezone))
    keys = (Spans("created_at", edges), *_BY[by])
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for begin, *value, count in store.aggregate(RUNS, (COUNT,), where, group_by=keys):
        found[begin][value[0] if value else ""] = count
    return [
        RunCount(
            datetime.fromisoformat(begin),
            datetime.fromisoformat(end),
            sum(found[begin].values()),
            found[begin] if by else {},
        )
        for begin, end in pairwise(edges)
    ]


def _edges(
    store: Store,
    clock: Clock,
    where: Where,
    window: tuple[TimeLike | None, TimeLike | None],
    buckets: _Buckets,
) -> tuple[str, ...]:
    """Return where the buckets of a window begin, and the end of the last one."""
    since, until = moment_of("since", window[0], clock), moment_of("until", window[1], clock)
    if since is None:
        [(since,)] = store.aggregate(RUNS, (Measure("min", "created_at"),), where)
    until = until or encode_time(clock.now() + _MOMENT)
    if since is None or since >= until:
        return ()
    begins = buckets.begins(since, until)
    return (since, *(begin for begin in begins if since < begin < until), until)


class _Buckets:
    """The buckets that a caller asked for: of fixed length in UTC, or periods of a calendar."""

    def __init__(self, bucket: Bucket, periods: Periods | None) -> None:
        self._bucket = bucket
        self._periods = periods

    @classmethod
    def of(cls, bucket: Any, timezone: Any) -> Self:
        if isinstance(bucket, str) and bucket in PERIODS:
            periods = Periods(bucket, zone_of(timezone))
            return cls(Bucket("created_at", PERIODS[bucket]), periods)
        return cls(bucket_of("created_at", bucket), None)

    def begins(self, since: str, until: str) -> list[str]:
        """Return when the buckets begin; raise InvalidValueError for too many."""
        first, last = self._bucket.number_of(since), self._bucket.number_of(until)
        if last - first > _MOST:
            raise InvalidValueError(
                f"From {since[:10]} to {until[:10]} are more than {_MOST:,} buckets: ask for "
                "longer ones, or for a shorter window by since and until.",
                field="bucket",
            )
        if self._periods is not None:
            return self._periods.begins(since, until)
        return [self._bucket.start(number) for number in range(first, last + 1)]
