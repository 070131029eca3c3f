"""The window of time of a page: some days of the reader's calendar, and the periods in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import NamedTuple

from curio_persistence.console.request.viewer import Viewer
from curio_persistence.errors import InvalidValueError

LENGTHS = (7, 30, 90)
"""Days that a page offers."""
PARAMETERS = ("days", "from", "to")
BUCKETS = ("hour", "day", "week", "month")
_MOST_PERIODS = 800
_MOST_DAYS = 3_660
_HOURLY_DAYS = 33
"""Days whose hours a chart shows, also with one more where the clock is put back."""
_DAY = timedelta(days=1)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LONG_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class Period(NamedTuple):
    """An hour, day, week or month: its name in ISO 8601, its ends, and what people call it."""

    name: str
    begin: datetime
    end: datetime
    title: str
    label: str


@dataclass(frozen=True)
class Window:
    """Whole days of the reader's calendar; `days` is None where the reader gave the dates.

    `since` and `until` are in UTC. A window that has today in it ends at the present.
    """

    first: date
    last: date
    zone: tzinfo
    now: datetime
    days: int | None = None

    @classmethod
    def of(cls, given: Mapping[str, str], viewer: Viewer, *, days: int = 30) -> Window:
        """Return the window of a page's parameters `days`, or `from` and `to`."""
        today = viewer.local(viewer.now).date()
        if "from" in given or "to" in given:
            last = _date("to", given.get("to")) or today
            first = _date("from", given.get("from")) or last - (days - 1) * _DAY
            first, last = _in_order(first, last)
            return cls(first, last, viewer.zone, viewer.now)
        length = _length(given.get("days"), days)
        return cls(today - (length - 1) * _DAY, today, viewer.zone, viewer.now, length)

    @property
    def since(self) -> datetime:
        return begin_of(self.first, self.zone)

    @property
    def until(self) -> datetime:
        end = begin_of(self.last + _DAY, self.zone)
        return min(end, self.now) if self.since < self.now else end

    @property
    def filters(self) -> dict[str, datetime]:
        """Return the ends as filters: a window up to the present needs no end."""
        return {"since": self.since} | ({} if self.until == self.now else {"until": self.until})

    @property
    def length(self) -> int:
        """Return the number of days."""
        return (self.last - self.first).days + 1

    @property
    def before(self) -> tuple[datetime, datetime]:
        """Return the time directly before, which is as long."""
        return self.since - (self.until - self.since), self.since

    @property
    def query(self) -> dict[str, str]:
        """Return the parameters that lead here again."""
        if self.days is not None:
            return {"days": str(self.days)}
        return {"from": self.first.isoformat(), "to": self.last.isoformat()}

    @property
    def bucket(self) -> str:
        """Return the period of which a chart has neither too few nor too many."""
        limits = {"hour": 2, "day": 92, "week": 400}
        return next((name for name, most in limits.items() if self.length <= most), "month")

    @staticmethod
    def buckets_of(days: int) -> tuple[str, ...]:
        """Return the periods into which a page offers to divide so many days."""
        return BUCKETS if days <= _HOURLY_DAYS else BUCKETS[1:]

    def periods(self, bucket: str) -> list[Period]:
        """Return the periods of this window from the first to the last, also those in the future.

        Raise InvalidValueError where they are too many for a chart.
        """
        found = list(_hours(self) if bucket == "hour" else _days(self, bucket))
        if len(found) > _MOST_PERIODS:
            raise InvalidValueError(
                f"{self.length:,} days have more than {_MOST_PERIODS} periods of one {bucket}: "
                "choose longer periods, or fewer days.",
                field="bucket",
            )
        return found


def begin_of(day: date, zone: tzinfo) -> datetime:
    """Return the first moment of a day: where there is no midnight, the moment that follows."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _days(window: Window, bucket: str) -> Iterator[Period]:
    """Yield days, weeks or months; the first and the last one end where the window does."""
    day = window.first
    while day <= window.last:
        after = min(_after(day, bucket), window.last + _DAY)
        begin, end = begin_of(day, window.zone), begin_of(after, window.zone)
        yield Period(_name(day, bucket), begin, end, *_words(day, after - _DAY, bucket))
        day = after


def _hours(window: Window) -> Iterator[Period]:
    """Yield hours of the clock; one that comes twice a year comes twice."""
    begin, end = window.since, begin_of(window.last + _DAY, window.zone)
    while begin < end and begin - window.since < (_MOST_PERIODS + 1) * timedelta(hours=1):
        local = begin.astimezone(window.zone)
        after = min(begin + timedelta(hours=1, minutes=-local.minute), end)
        clock = f"{local:%H:%M}"
        name = (begin - timedelta(minutes=local.minute)).astimezone(window.zone)
        title = f"{day_title(local.date())}, {clock}"
        yield Period(name.isoformat(timespec="minutes"), begin, after, title, clock)
        begin = after


def _after(day: date, bucket: str) -> date:
    """Return the first day of the next day, week or month."""
    if bucket == "week":
        return day + (7 - day.weekday()) * _DAY
    return (day.replace(day=1) + 32 * _DAY).replace(day=1) if bucket == "month" else day + _DAY


def _name(day: date, bucket: str) -> str:
    """Return the name that the façade gives to a period."""
    if bucket == "week":
        year, week, _ = day.isocalendar()
        return f"{year:04}-W{week:02}"
    return day.isoformat()[:7] if bucket == "month" else day.isoformat()


def _words(day: date, last: date, bucket: str) -> tuple[str, str]:
    """Return the title of a period, and its label."""
    if bucket == "month":
        month = _MONTHS[day.month - 1]
        label = f"{month} {day.year}" if day.month == 1 else month
        return f"{_LONG_MONTHS[day.month - 1]} {day.year:04}", label
    if bucket == "week":
        return f"{short_day(day)} to {short_day(last)} {last.year:04}", short_day(day)
    return day_title(day), short_day(day)


def day_title(day: date) -> str:
    """Return `Wednesday 18 November`."""
    return f"{_WEEKDAYS[day.weekday()]} {day.day} {_LONG_MONTHS[day.month - 1]}"


def short_day(day: date) -> str:
    """Return `18 Nov`."""
    return f"{day.day} {_MONTHS[day.month - 1]}"


def _length(text: str | None, days: int) -> int:
    if text is None:
        return days
    if not (text.isascii() and text.isdigit()) or not 0 < int(text[:9]) <= _MOST_DAYS:
        raise InvalidValueError(f"days is a number from 1 to {_MOST_DAYS:,}.", field="days")
    return int(text[:9])


def _date(name: str, text: str | None) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InvalidValueError(
            f"{name} is a date such as 2026-11-30, not {text[:100]!r}.", field=name
        ) from error


def _in_order(first: date, last: date) -> tuple[date, date]:
    if last < first:
        raise InvalidValueError(f"{first} comes after {last}: swap the dates.", field="from")
    if first.year < 1000 or last.year > 9000 or (last - first).days >= _MOST_DAYS:
        raise InvalidValueError(f"A window has at most {_MOST_DAYS:,} days.", field="from")
    return first, last
