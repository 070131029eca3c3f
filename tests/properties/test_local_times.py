"""A local time is converted to the moment at which a wall clock showed it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curio_persistence.importers.curio.local_times import LocalTimes
from curio_persistence.store.codecs import encode_time

ZONES = st.sampled_from(
    [
        "UTC",
        "Europe/Paris",
        "America/New_York",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",  # Half an hour of summer time.
        "America/St_Johns",
        "Africa/Monrovia",  # Until 1972 its offset was minus 44 minutes and 30 seconds.
        "Pacific/Apia",  # It skipped a whole day.
    ]
)
MOMENTS = st.datetimes(datetime(1950, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
NEAR_CHANGES = st.builds(
    lambda seconds: datetime(2024, 10, 27, tzinfo=UTC) + timedelta(seconds=seconds),
    st.integers(0, 3 * 86_400),
)


@st.composite
def written(draw: st.DrawFn, local: datetime) -> str:
    """Format a local time as programs write it."""
    if draw(st.booleans()):
        local = local.replace(microsecond=0)
    text = local.replace(tzinfo=None).isoformat(draw(st.sampled_from("T ")))
    if "." in text and draw(st.booleans()):
        text = text.rstrip("0")  # PostgreSQL writes it this way.
    return draw(st.sampled_from([text, f" {text}", f"{text} "]))


@given(ZONES, st.lists(MOMENTS | NEAR_CHANGES, max_size=8), st.data())
def test_times_are_converted_to_the_right_moment(
    zone: str, moments: list[datetime], data: st.DataObject
) -> None:
    times = LocalTimes(zone)
    for moment in moments:
        local = moment.astimezone(ZoneInfo(zone))
        text = data.draw(written(local))
        meant = datetime.fromisoformat(text.strip()).replace(tzinfo=ZoneInfo(zone), fold=local.fold)
        # The row stored just before tells which of the two hours is meant.
        assert times.read(text, encode_time(meant)) == encode_time(meant)
    assert not times.doubts["missing"]


@given(ZONES, MOMENTS | NEAR_CHANGES)
def test_times_with_a_zone_are_converted_by_it(zone: str, moment: datetime) -> None:
    times = LocalTimes(zone)
    local = moment.astimezone(ZoneInfo("Asia/Kathmandu"))
    assert times.read(local.isoformat()) == encode_time(moment)
    assert times.read(moment.isoformat().replace("+00:00", "Z")) == encode_time(moment)
    assert not times.doubts


@pytest.mark.parametrize(
    ("zone", "first", "last"),
    [
        ("UTC", "0001-01-01T00:00:00", "9999-12-31T23:59:59.999999"),
        ("Etc/GMT+12", "0001-01-01T00:00:00", "9999-12-31T11:59:59.999999"),
        ("Etc/GMT-14", "0001-01-01T14:00:00", "9999-12-31T23:59:59.999999"),
    ],
)
def test_the_first_and_last_datetimes_are_converted_in_any_zone(
    zone: str, first: str, last: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some programs write them for something that never began, or never ends."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        here, there = LocalTimes(None), LocalTimes(zone)
        for text in (first, last):
            assert here.read(text) == there.read(text)
    finally:
        monkeypatch.undo()
        time.tzset()
