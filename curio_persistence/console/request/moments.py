"""Moments as URLs say them, the bounds of lists, and the bucket that divides their time."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

from curio_persistence.errors import InvalidValueError

_AGE = re.compile("[0-9]{1,9}[smhdw]")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_MOST_BARS = 62
_BUCKETS = (
    *(("1m", 60), ("5m", 300), ("15m", 900), ("30m", 1_800), ("1h", 3_600), ("3h", 10_800)),
    *(("6h", 21_600), ("12h", 43_200), ("day", 86_400), ("week", 604_800), ("month", 2_592_000)),
)


class Bounds(NamedTuple):
    """The begin and the end of the time of a list."""

    since: datetime
    until: datetime

    @property
    def bucket(self) -> str:
        """Return the bucket that divides the time into at most some sixty bars."""
        length = (self.until - self.since).total_seconds()
        fitting = (name for name, seconds in _BUCKETS if length <= seconds * _MOST_BARS)
        return next(fitting, "month")


def bounds_of(since: str, until: str, now: datetime, zone: tzinfo, default: str = "30d") -> Bounds:
    """Return the bounds of two filters; one without `since` begins by the default before its end.

    Raise InvalidValueError for a window that ends before it begins.
    """
    end = moment_of("until", until, now, zone) if until else now
    begin = moment_of("since", since, now, zone) if since else end - (now - _ago(default, now))
    if begin >= end:
        raise InvalidValueError(
            f"The window is empty: {until or 'now'} is not later than {since}.", field="until"
        )
    return Bounds(begin, end)


def moment_of(field: str, text: str, now: datetime, zone: tzinfo) -> datetime:
    """Return the moment of a text such as `30d` or ISO 8601, which is in the zone if it has none.

    Raise InvalidValueError for another text.
    """
    with suppress(ValueError, OverflowError):
        return _ago(text, now) if is_age(text) else zoned(text, zone).astimezone(UTC)
    raise InvalidValueError(
        f"{field} is a time such as 2026-11-29T08:00Z, or how long ago, such as 2h or 7d, "
        f"not {text[:100]!r}.",
        field=field,
    )


def is_age(text: str) -> bool:
    """Return True for `30m`, `7d` and the like."""
    return _AGE.fullmatch(text) is not None


def zoned(text: str, zone: tzinfo) -> datetime:
    """Return a time in ISO 8601; one without a zone is in the reader's."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def _ago(age: str, now: datetime) -> datetime:
    return now - timedelta(**{_UNITS[age[-1]]: int(age[:-1])})


def instant(moment: datetime) -> str:
    """Return a moment in UTC as the text of a filter, such as `2026-11-29T08:00:00Z`."""
    return moment.isoformat().replace("+00:00", "Z")
