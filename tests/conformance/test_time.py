"""Times are returned in UTC, to the microsecond, in whatever form they were given."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    InvalidValueError,
    Persistence,
)
from tests.support.hands import Hands
from tests.support.records import Record, everything, read_back, write

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MoveTo = Callable[[str], None]


def kept(persistence: Persistence, at: Any) -> datetime | None:
    """Return the stored form of a time, which must be the same in each time field."""
    run = AgentRun("agent", "run", started_at=at, finished_at=at, created_at=at, updated_at=at)
    event = AgentRunEvent("agent", "run", timestamp=at, created_at=at)
    usage = AgentLLMUsage("agent", "run", created_at=at)
    times = []
    for record in run, event, usage:
        write(persistence, record)
        stored = read_back(persistence, record)
        times += [getattr(stored, field) for field in TIMES if hasattr(stored, field)]
    assert len(times) == 7
    [found] = set(times)
    persistence.delete_agent_run("run")
    assert isinstance(found, datetime)
    assert type(found) is datetime
    assert found.tzinfo is UTC
    return found


TIMES = ("started_at", "finished_at", "created_at", "updated_at", "timestamp")


@pytest.mark.parametrize(
    "at",
    [
        NOON,
        NOON.replace(microsecond=1),
        NOON.replace(microsecond=100_000),
        NOON.replace(microsecond=999_999),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(476, 9, 4, 1, 2, 3, 4, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ],
    ids=str,
)
def test_a_time_in_utc_round_trips(persistence: Persistence, at: datetime) -> None:
    assert kept(persistence, at) == at


@pytest.mark.parametrize(
    "zone",
    [
        timezone(timedelta(hours=-12)),
        timezone(timedelta(hours=5, minutes=45)),
        timezone(timedelta(seconds=1, microseconds=1)),
        ZoneInfo("Europe/Berlin"),
        ZoneInfo("Pacific/Kiritimati"),
    ],
    ids=str,
)
def test_a_time_in_another_zone_is_the_same_moment_in_utc(
    persistence: Persistence, zone: timezone | ZoneInfo
) -> None:
    assert kept(persistence, NOON.astimezone(zone)) == NOON


def test_a_naive_time_is_local_time(persistence: Persistence, time_zone: MoveTo) -> None:
    time_zone("Asia/Tokyo")
    assert kept(persistence, datetime(2026, 11, 20, 21)) == NOON
    time_zone("America/New_York")
    assert kept(persistence, datetime(2026, 11, 20, 7)) == NOON


def test_a_naive_time_that_occurs_twice_is_distinguished_by_its_fold(
    persistence: Persistence, time_zone: MoveTo
) -> None:
    time_zone("Europe/Berlin")
    shown_twice = datetime(2026, 10, 25, 2, 30)
    assert kept(persistence, shown_twice) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    again = shown_twice.replace(fold=1)
    assert kept(persistence, again) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def test_pandas_timestamps_are_times_and_lose_their_nanoseconds(
    persistence: Persistence, time_zone: MoveTo
) -> None:
    at = pd.Timestamp("2026-11-20T13:00:00.123456789+01:00")
    assert kept(persistence, at) == NOON.replace(microsecond=123456)
    time_zone("Asia/Tokyo")
    assert kept(persistence, pd.Timestamp("2026-11-20T21:00")) == NOON


def test_a_subclass_of_datetime_is_a_time(persistence: Persistence) -> None:
    class Odd(datetime):
        def isoformat(self, *args: Any, **kwargs: Any) -> str:
            return "a quarter past never"

    assert kept(persistence, Odd(2026, 11, 20, 12, tzinfo=UTC)) == NOON


@pytest.mark.before_io
@pytest.mark.parametrize(
    "at",
    [
        "2026-11-20T12:00:00+00:00",
        date(2026, 11, 20),
        time(12),
        1_795_176_000,
        1_795_176_000.0,
        True,
        pd.NaT,
        timedelta(1),
        datetime.max.replace(tzinfo=timezone(-timedelta(hours=1))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    ("record", "field"),
    [(AgentRun("agent", "run"), "started_at"), (AgentRunEvent("agent", "run"), "timestamp")],
    ids=["run", "event"],
)
def test_a_time_outside_the_years_1_to_9999_is_refused(
    persistence: Persistence, record: Record, field: str, at: Any
) -> None:
    setattr(record, field, at)
    with pytest.raises(InvalidValueError) as refused:
        write(persistence, record)
    assert refused.value.field == f"{type(record).__name__}.{field}"
    assert everything(persistence) == []


def test_records_are_ordered_by_moment_not_by_text(persistence: Persistence) -> None:
    """Holds even if the given texts of the times sort differently."""
    east, west = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))
    times = [
        datetime(9, 1, 1, tzinfo=UTC),
        datetime(80, 1, 1, tzinfo=UTC),
        (NOON - timedelta(seconds=2)).astimezone(east),
        NOON.astimezone(west),
        NOON.replace(microsecond=1),
        NOON.replace(microsecond=10).astimezone(east),
        NOON.replace(second=1).astimezone(west),
    ]
    for number, at in reversed(list(enumerate(times))):
        event = AgentRunEvent("agent", "run", timestamp=at, event_type=str(number))
        persistence.log_agent_run_event(event)
        persistence.create_agent_run(AgentRun("agent", str(number), created_at=at))
    events = persistence.get_agent_run_events("run")
    assert [int(event.event_type) for event in events] == list(range(len(times)))
    persistence.delete_agent_run("run")
    runs = persistence.get_agent_runs(limit=None)
    assert [int(run.run_id) for run in reversed(runs)] == list(range(len(times)))


# --- the library's own times ------------------------------------------------------------------


def test_within_a_run_time_never_runs_backwards(persistence: Persistence, clock: Hands) -> None:
    clock.put(NOON)
    run = AgentRun("agent", "run")
    persistence.create_agent_run(run)
    records: list[Record] = [run]
    for _ in range(3):
        clock.move(seconds=-10)
        records += [AgentRunEvent("agent", "run"), AgentLLMUsage("agent", "run")]
        for record in records[-2:]:
            write(persistence, record)
    persistence.update_agent_run("run", run)
    created = [record.created_at for record in records]
    assert created == [NOON + timedelta(microseconds=n) for n in range(7)]
    assert run.updated_at == NOON + timedelta(microseconds=7)
    assert persistence.get_agent_run_events("run") == records[1::2]
    assert persistence.get_llm_usage() == records[:0:-2]


def test_events_of_a_clock_that_stands_still_keep_their_order(
    persistence: Persistence, clock: Hands
) -> None:
    clock.put(NOON)
    for number in range(10):
        persistence.log_agent_run_event(AgentRunEvent("agent", "run", event_type=str(number)))
    events = persistence.get_agent_run_events("run")
    assert "".join(event.event_type for event in events) == "0123456789"
    assert len({event.timestamp for event in events}) == 10


def test_a_corrected_clock_does_not_affect_other_runs(
    persistence: Persistence, clock: Hands
) -> None:
    clock.put(NOON + timedelta(days=365))
    persistence.create_agent_run(AgentRun("agent", "from the future"))
    clock.put(NOON)
    run = AgentRun("agent", "run")
    persistence.create_agent_run(run)
    assert run.created_at == NOON


def test_a_clock_in_another_zone_is_read_in_utc(persistence: Persistence, clock: Hands) -> None:
    clock.put(NOON.astimezone(timezone(timedelta(hours=9))))
    event = AgentRunEvent("agent", "run")
    persistence.log_agent_run_event(event)
    assert persistence.get_agent_run_events("run") == [event]
    assert persistence.get_agent_run_events("run")[0].timestamp == NOON
