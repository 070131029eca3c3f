"""Windows of pages: days of the reader's calendar, also those of 23 and 25 hours."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from curio_persistence import InMemoryPersistence, InvalidValueError
from curio_persistence.console.request.viewer import Viewer
from curio_persistence.console.request.windows import BUCKETS, Window, begin_of

_NOW = datetime(2026, 11, 29, 9, 12, tzinfo=UTC)


def _viewer(zone="Europe/Berlin", now=_NOW):
    return Viewer("light", ZoneInfo(zone), zone, "read", now)


def _window(zone="Europe/Berlin", now=_NOW, **given):
    return Window.of(given, _viewer(zone, now))


def test_thirty_days_end_with_the_readers_today():
    window = _window(days="30")
    assert (window.first, window.last) == (date(2026, 10, 31), date(2026, 11, 29))
    assert window.since == datetime(2026, 10, 30, 23, tzinfo=UTC)
    assert window.until == _NOW
    assert len(window.periods("day")) == 30
    assert window.query == {"days": "30"}


def test_the_readers_today_is_not_that_of_utc():
    late = datetime(2026, 11, 29, 23, 30, tzinfo=UTC)
    assert _window(now=late).last == date(2026, 11, 30)
    assert _window("America/New_York", now=late).last == date(2026, 11, 29)


def test_dates_are_both_part_of_the_window():
    window = _window(**{"from": "2026-11-01", "to": "2026-11-02"})
    assert window.length == 2
    assert window.until - window.since == timedelta(hours=48)
    assert window.query == {"from": "2026-11-01", "to": "2026-11-02"}
    assert _window(to="2026-11-02").length == 30
    assert _window(**{"from": "2026-11-27"}).last == date(2026, 11, 29)


def test_the_time_before_is_as_long_and_ends_where_the_window_begins():
    window = _window(days="7")
    since, until = window.before
    assert until == window.since
    assert until - since == window.until - window.since


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("America/Santiago", "2026-09-06", 23),
    ],
)
def test_a_day_is_as_long_as_the_clocks_make_it(zone, day, hours):
    window = _window(zone, datetime(2027, 1, 1, tzinfo=UTC), **{"from": day, "to": day})
    [period] = window.periods("day")
    assert period.end - period.begin == timedelta(hours=hours)
    assert (period.begin, period.end) == (window.since, window.until)
    clock = window.periods("hour")
    assert (clock[0].begin, clock[-1].end) == (window.since, window.until)
    assert all(one.end == other.begin for one, other in pairwise(clock))


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
@pytest.mark.parametrize("bucket", BUCKETS)
def test_periods_are_those_of_the_facade(zone, bucket):
    ends = {"from": "2026-10-31", "to": "2026-11-02"} if bucket == "hour" else {"days": "60"}
    window = _window(zone, **ends)
    with InMemoryPersistence() as persistence:
        rows = persistence.analytics(
            window.since, window.until, bucket=bucket, timezone=window.zone, fill=True
        )
    periods = [each for each in window.periods(bucket) if each.begin < window.until]
    assert [each.name for each in periods] == [row.period for row in rows]
    assert [each.begin for each in periods[1:]] == [row.begin for row in rows][1:]


def test_a_chart_has_neither_too_few_nor_too_many_periods():
    lengths = {"1": "hour", "2": "hour", "3": "day", "90": "day", "365": "week", "3000": "month"}
    for days, bucket in lengths.items():
        window = _window(days=days)
        assert window.bucket == bucket
        assert len(window.periods(bucket)) <= 100


def test_periods_have_the_names_of_a_calendar():
    window = _window(days="30")
    assert window.periods("day")[18][-2:] == ("Wednesday 18 November", "18 Nov")
    assert window.periods("week")[1][-2:] == ("2 Nov to 8 Nov 2026", "2 Nov")
    assert window.periods("month")[1][-2:] == ("November 2026", "Nov")
    assert _window(days="1").periods("hour")[9][-2:] == ("Sunday 29 November, 09:00", "09:00")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"days": "0"}, "days"),
        ({"days": "-1"}, "days"),
        ({"days": "٣"}, "days"),
        ({"days": "9" * 5000}, "days"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-11-31"}, "from"),
        ({"to": "2026-11-01\x00"}, "to"),
        ({"from": "2026-11-02", "to": "2026-11-01"}, "from"),
        ({"from": "0001-01-01", "to": "2026-11-01"}, "from"),
        ({"to": "9999-12-31"}, "from"),
    ],
)
def test_what_is_no_window_is_refused_with_its_field(given, field):
    with pytest.raises(InvalidValueError) as error:
        _window(**given)
    assert error.value.field == field


def test_too_many_periods_are_refused():
    with pytest.raises(InvalidValueError, match="choose longer periods"):
        _window(days="90").periods("hour")


def test_the_first_moment_of_a_day_without_midnight_is_the_one_that_follows():
    assert begin_of(date(2026, 9, 6), ZoneInfo("America/Santiago")) == datetime(
        2026, 9, 6, 4, tzinfo=UTC
    )
