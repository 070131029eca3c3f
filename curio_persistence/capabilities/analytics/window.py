"""The window of time of a question, and the periods in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from curio_persistence.capabilities.expired import expired_where
from curio_persistence.capabilities.time_zones import Periods
from curio_persistence.capabilities.windows import bound, checked_moment, moment_after
from curio_persistence.clock import Clock
from curio_persistence.errors import InvalidValueError
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Measure, MeasureKind, Where
from curio_persistence.store.table import Table
from curio_persistence.tables import EXPIRED_TOTALS, RUNS

_MOST = 10_000
"""The hours of a window by hour, and the days of any other, at most."""
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


def moment_of(name: str, moment: Any, clock: Clock) -> str | None:
    """Return one end of the window as a stored time."""
    if moment is None:
        return None
    time: str = bound("created_at", ">=", checked_moment(name, moment), clock).value
    return time


class Window(NamedTuple):
    """The stored times from which, and before which, records count; None for no bound."""

    since: str | None
    until: str | None

    def of(self, column: str) -> Where:
        """Return the filters for a column of times."""
        since = () if self.since is None else (Filter(column, ">=", self.since),)
        return since if self.until is None else (*since, Filter(column, "<", self.until))

    def with_ends(
        self, store: Store, where: Mapping[Table[Any], Where], now: datetime | None
    ) -> Window:
        """Return the window from its first record to its last, or now, if it has no bounds."""
        since, until = self
        if since is None:
            since = min(self._ends(store, where, "min"), default=None)
        if until is None and since is not None:
            last = [*self._ends(store, where, "max"), *([] if now is None else [encode_time(now)])]
            until = moment_after(max(last, default=since))
        return Window(since, until)

    def _ends(
        self, store: Store, where: Mapping[Table[Any], Where], kind: MeasureKind
    ) -> Iterator[str]:
        """Yield the first or the last time of the records of each table."""
        chosen = [
            (table, (*of_table, *self.of(table.ages_by))) for table, of_table in where.items()
        ]
        if (expired := expired_where((*where[RUNS], *self.of(RUNS.ages_by)))) is not None:
            chosen.append((EXPIRED_TOTALS, expired))
        for table, of_table in chosen:
            [(time,)] = store.aggregate(table, (Measure(kind, table.ages_by),), of_table)
            if time is not None:
                yield time

    def begins(self, periods: Periods, *, by_hour: bool) -> list[str]:
        """Return the begins of the periods of this window, which has ends."""
        since, until = self
        if since is None or until is None or until <= since:
            return []
        length = datetime.fromisoformat(until) - datetime.fromisoformat(since)
        if length / (_HOUR if by_hour else _DAY) > _MOST:
            unit, way = ("hours", "longer periods, or for ") if by_hour else ("days", "")
            raise InvalidValueError(
                f"From {since[:10]} to {until[:10]} are more than {_MOST:,} {unit}: ask for {way}"
                "a shorter window by since and until.",
                field="since",
            )
        return periods.begins(since, until)
