"""Read times that were written without their time zone."""

from __future__ import annotations

import os
import time
from collections import Counter
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

from curio_persistence.capabilities.time_zones import zone_of
from curio_persistence.store.codecs import encode_time

_DATE, _MINUTE = len("2024-03-10"), len("2024-03-10T02:30")
_POINT, _WHOLE = len("2024-03-10T02:30:15"), len("2024-03-10T02:30:15.123456")
_REMEMBERED = 100_000
_FIRST, _LAST = 3, 9997
"""Years of which this machine's zone is known: neither they nor those beyond are leap years."""
_JITTER = timedelta(minutes=10)
"""By how much times may run backwards, in the order of storing, with no clock set back."""


class LocalTimes:
    """Reads times of one zone; without a zone it is this machine's.

    Times with a zone of their own are read as such. `doubts` counts those that the clock showed
    twice (`ambiguous`) or never (`missing`), because it was set back or forward.
    """

    def __init__(self, timezone: str | tzinfo | None) -> None:
        self.is_assumed = timezone is None
        self._zone = zone_of(timezone)
        self.name = _name_of_this_machines() if self._zone is None else str(self._zone)
        self.doubts: Counter[str] = Counter()
        self._minutes: dict[str, str] = {}

    def read(self, value: Any, before: str | None = None) -> str:
        """Return a time in stored form; ValueError if it is unreadable.

        Numbers are seconds since 1970. `before` is the time that was stored before this one, in
        stored form: it decides which of two this one is. A time that the clock left out is read as
        if it had not been set forward.
        """
        if not isinstance(value, str):
            return encode_time(datetime.fromtimestamp(value, UTC))
        text = value.strip()
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return encode_time(moment.astimezone(UTC))
        minute = self._minutes.get(text[:_MINUTE])
        if minute is not None and _POINT < len(text) <= _WHOLE and text[_POINT] == ".":
            return f"{minute}{text[_MINUTE:]:0<10}+00:00"  # As most are; a third of the time.
        first, second = self._offset(moment.replace(fold=0)), self._offset(moment.replace(fold=1))
        if first != second:
            return encode_time(self._doubtful(moment, first, second, before))
        stored = encode_time((moment - first).replace(tzinfo=UTC))
        if text[_MINUTE:] == stored[_MINUTE:_WHOLE] and text[_DATE] in "T ":
            self._remember(text[:_MINUTE], stored[:_MINUTE])
        return stored

    def _remember(self, local: str, utc: str) -> None:
        """Remember a minute's beginning in UTC: the seconds are the same in both."""
        if len(self._minutes) > _REMEMBERED:
            self._minutes.clear()
        self._minutes[local] = utc

    def _doubtful(
        self, moment: datetime, first: timedelta, second: timedelta, before: str | None
    ) -> datetime:
        earlier = (moment - first).replace(tzinfo=UTC)
        if first < second:
            self.doubts["missing"] += 1
            return earlier
        self.doubts["ambiguous"] += 1
        later = (moment - second).replace(tzinfo=UTC)
        known = earlier if before is None else datetime.fromisoformat(before)
        return later if earlier + _JITTER < known <= later + _JITTER else earlier

    def _offset(self, moment: datetime) -> timedelta:
        if self._zone is None:
            # Of the first and last day there are, Python could not look at the days beside them.
            moment = moment.replace(year=min(max(moment.year, _FIRST), _LAST))
            return moment.astimezone().utcoffset() or timedelta()
        return moment.replace(tzinfo=self._zone).utcoffset() or timedelta()


def _name_of_this_machines() -> str:
    """Return the name of this machine's zone, or else of its clock."""
    if name := os.environ.get("TZ"):
        return name
    found = str(Path("/etc/localtime").resolve()).partition("zoneinfo/")[2]
    return found or "/".join(dict.fromkeys(time.tzname))
