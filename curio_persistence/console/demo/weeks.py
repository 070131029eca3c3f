"""Weeks of made-up agents: when they are asked something, and how their records are stored."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import cos, pi
from random import Random
from typing import TYPE_CHECKING

from curio_persistence.console.demo.judging import judge
from curio_persistence.console.demo.plots import (
    leave_running,
    migrate_billing,
    play,
    read_an_archive,
)
from curio_persistence.console.demo.story import Batch
from curio_persistence.console.demo.words import Texts

if TYPE_CHECKING:
    from curio_persistence.persistence import Persistence
    from curio_persistence.progress import Progress

_TOGETHER = 4_000
"""Events that are stored in one transaction."""
_EVENTS_AT_A_TIME = 42
"""Events that one thing asked of an agent brings, on average."""
_BAD_DAYS = (5, 33)
"""Days ago on which a provider was in trouble."""
_AT_NIGHT, _AT_WEEKENDS = 0.15, 0.3


def record_weeks(
    persistence: Persistence,
    events: int,
    days: int,
    until: datetime | None,
    seed: int,
    words: Texts,
    progress: Progress | None,
) -> int:
    """Record what is asked of agents in these days; return how many events were recorded."""
    chance = Random(seed)
    until = until or datetime.now(UTC)
    batch = Batch(words)
    stored = 0
    for at in _moments(chance, until, days, max(events - 2_000, 1_000) // _EVENTS_AT_A_TIME):
        play(batch, chance, at, trouble=5 if (until - at).days in _BAD_DAYS else 1)
        if len(batch.events) >= _TOGETHER:
            stored, batch = stored + _store(persistence, batch), Batch(words)
            if progress is not None:
                progress(stored, events)
    _end_with_what_is_special(batch, chance, until, is_large=events >= 100_000)
    stored += _store(persistence, batch)
    judge(persistence, batch.runs, chance)
    return stored


def _end_with_what_is_special(
    batch: Batch, chance: Random, until: datetime, *, is_large: bool
) -> None:
    if is_large:
        read_an_archive(batch, chance, until - timedelta(days=2))
    migrate_billing(batch, chance, until - timedelta(hours=1, minutes=50))
    for minutes in (170, 44, 31, 12, 5, 1):
        leave_running(batch, chance, until - timedelta(minutes=minutes))


def _moments(chance: Random, until: datetime, days: int, count: int) -> Iterator[datetime]:
    """Yield when agents were asked something, oldest first: seldom at night and at weekends."""
    hours = [until - timedelta(days=days) + timedelta(hours=hour) for hour in range(days * 24)]
    weights = [_busy(hour) for hour in hours]
    for hour in sorted(chance.choices(hours, weights, k=count)):
        moment = hour + timedelta(seconds=chance.uniform(0, 3_600))
        if moment < until - timedelta(minutes=20):
            yield moment


def _busy(hour: datetime) -> float:
    """Return how busy an hour of the day is."""
    by_day = _AT_NIGHT + (1 - cos(2 * pi * (hour.hour - 2) / 24)) / 2
    return by_day * (_AT_WEEKENDS if hour.weekday() >= 5 else 1)


def _store(persistence: Persistence, batch: Batch) -> int:
    with persistence.transaction():
        persistence.create_agent_runs(batch.runs)
        persistence.log_agent_run_events(batch.events)
        persistence.log_llm_usages(batch.calls)
    return len(batch.events)
