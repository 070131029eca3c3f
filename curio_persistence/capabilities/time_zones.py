"""Time zones by name, and the periods of their calendars: hours, days, weeks and months."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any

from curio_persistence.errors import InvalidValueError
from curio_persistence.store.filters import Bucket

PERIODS = {"hour": 3_600, "day": 86_400, "week": 604_800, "month": 86_400}
"""The seconds of a bucket that never spans two periods of UTC."""
_HOUR, _QUARTER = 3_600, 900
"""The same of zones whose offsets from UTC are whole hours, and of every zone since 1972."""


def zone_of(timezone: Any) -> tzinfo | None:
    """Return a zone given by its name; None, the zone of this machine, stays None."""
    if timezone is None or isinstance(timezone, tzinfo):
        return timezone
    if timezone == "UTC":  # Known also where no database of zones is installed.
        return UTC
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(timezone)
    except (KeyError, ValueError, OSError, TypeError) as error:
        raise InvalidValueError(
            f"timezone {timezone!r} is not known here. Use a name such as Europe/Paris or UTC; "
            "where no zone is known, `pip install tzdata`.",
            field="timezone",
        ) from error


@lru_cache
def _is_whole_hours_from_utc(zone: tzinfo | None) -> bool:
    """Return whether a zone's clocks always showed the minutes of UTC, and will."""
    months = (datetime(year, month, 1, tzinfo=UTC) for year in _YEARS for month in range(1, 13))
    return not any(moment.astimezone(zone).minute for moment in months)


class Periods:
    """The labels of a zone's periods, by the buckets of time that a database groups by."""

    def __init__(self, period: str, zone: tzinfo | None) -> None:
        self._period = period
        self._zone = zone
        self._labels: dict[str, str] = {}

    def bucket(self, column: str) -> Bucket:
        """Return the largest bucket of a time column that no period's end divides."""
        if self._zone is UTC:
            return Bucket(column, PERIODS[self._period])
        return Bucket(column, _HOUR if _is_whole_hours_from_utc(self._zone) else _QUARTER)

    def begins(self, first: str, end: str) -> list[str]:
        """Return the begins of the periods from that of `first` on, up to `end`, as stored times.

        A period begins where the label of a bucket is not that of the bucket before.
        """
        bucket = self.bucket("")
        number, label = bucket.number_of(first), self.label(first)
        while number and self.label(bucket.start(number - 1)) == label:
            number -= 1
        begins, label = [], None
        for start in map(bucket.start, range(number, bucket.number_of(end) + 1)):
            if start < end and label != (label := self.label(start)):
                begins.append(start)
        return begins

    def label(self, time: str | None) -> str | None:
        """Return the ISO 8601 name of the period of a stored time."""
        if time is None:
            return None
        if self._zone is not None:
            return _label(self._period, self._zone, time)
        if (label := self._labels.get(time)) is None:  # This machine may move to another zone.
            label = self._labels[time] = _label.__wrapped__(self._period, None, time)
        return label


@lru_cache(10_000)  # The hours of a year.
def _label(period: str, zone: tzinfo | None, time: str) -> str:
    moment = datetime.fromisoformat(time).replace(second=0, microsecond=0)
    try:
        return _label_in(zone, period, moment)
    except (OverflowError, ValueError):
        # The zone's clocks show a year before 1 or after 9999, which has no name here.
        return _label_in(UTC, period, moment)


def _label_in(zone: tzinfo | None, period: str, moment: datetime) -> str:
    local = moment.astimezone(zone)
    if period == "hour":
        # Subtracted in UTC: an hour that comes twice a year keeps its offset.
        start = moment - timedelta(minutes=local.minute)
        return start.astimezone(zone).isoformat(timespec="minutes")
    if period == "week":
        year, week, _ = local.isocalendar()
        return f"{year:04}-W{week:02}"
    return local.date().isoformat()[: _LENGTHS[period]]


_YEARS = range(1972, 2038)
_LENGTHS = {"day": len("2026-11-30"), "month": len("2026-11")}
