"""The time that records are stamped with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

_TICK = timedelta(microseconds=1)
_RUNS_REMEMBERED = 4096


utc_now: Callable[[], datetime] = partial(datetime.now, UTC)
"""The current time, aware and in UTC."""


class Clock:
    """Stamps that never run backwards within a run, whatever the machine's clock does.

    The last stamp is remembered for each run, not for all together: a clock that once jumped ahead
    must not hold up the stamps of runs that start after it was set right. Without a lock, since
    concurrent calls have no order to keep; two dictionaries, the older one dropped when the newer
    is full, keep the memory bounded.
    """

    def __init__(self, now: Callable[[], datetime] = utc_now) -> None:
        self.now = now
        self._recent: dict[str | None, datetime] = {}
        self._older: dict[str | None, datetime] = {}

    def stamp(self, run_id: str | None) -> datetime:
        """Now, or a microsecond after this run's last stamp if that is later."""
        now = self.now()
        last = self._recent.get(run_id) or self._older.get(run_id)
        if last is not None and now <= last:
            now = last + _TICK
        self._recent[run_id] = now
        if len(self._recent) > _RUNS_REMEMBERED:
            self._older, self._recent = self._recent, {}
        return now
