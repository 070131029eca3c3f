"""The circuit breaker refuses writes while failures cost too much time, and retries later."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from curio_persistence import InvalidValueError, PersistenceError, UnavailableError
from curio_persistence.concurrency.time_limit import call_within, not_counted, within_limit
from curio_persistence.errors import MissingDatabaseError
from curio_persistence.recording.breaker import Breaker


class Database:
    """Takes some seconds for each write, and fails while it is `away`."""

    def __init__(self, seconds: float, error: PersistenceError | None = None) -> None:
        self.now = 1000.0
        self.away: PersistenceError | None = error or UnavailableError("away")
        self.limits: list[float] = []
        self._seconds = seconds

    def write(self) -> None:
        self.limits.append(round(within_limit(30), 1))
        if self.away is not None:
            self.now += self._seconds
            raise self.away


def failing(breaker: Breaker, database: Database, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(PersistenceError):
            breaker.call(database.write)


def breaker_of(database: Database) -> Breaker:
    return Breaker(lambda: database.now)


def test_after_a_slow_failure_other_writes_are_refused_at_once() -> None:
    database = Database(seconds=1)
    failing(breaker_of(database), database, times=10)
    assert (database.limits, database.now) == ([1.0], 1001)


def test_fast_failures_are_tolerated_until_they_add_up() -> None:
    database = Database(seconds=0.05)
    failing(breaker_of(database), database, times=100)
    assert 4 <= len(database.limits) <= 6


def test_retries_become_rarer_and_shorter() -> None:
    database = Database(seconds=0.25)
    breaker = breaker_of(database)
    tried = []
    for _ in range(300):
        before = len(database.limits)
        failing(breaker, database)
        if len(database.limits) > before:
            tried.append(database.now)
        database.now += 1
    rests = [later - earlier for earlier, later in pairwise(tried)]
    assert rests == pytest.approx([5, 10, 20, 40, 60, 60, 60], abs=1.5)
    assert database.limits[:2] == [1.0, 0.2]


def test_a_stored_write_closes_the_breaker() -> None:
    database = Database(seconds=1)
    breaker = breaker_of(database)
    failing(breaker, database, times=3)
    database.away = None
    failing(breaker, database)
    database.now += 5
    for _ in range(3):
        breaker.call(database.write)
    assert database.limits == [1.0, 0.2, 1.0, 1.0]


def test_a_refused_record_does_not_count_as_a_failure() -> None:
    database = Database(seconds=1, error=InvalidValueError("wrong"))
    failing(breaker_of(database), database, times=10)
    assert len(database.limits) == 10


def test_a_missing_database_counts_as_a_failure() -> None:
    database = Database(seconds=1, error=MissingDatabaseError("none"))
    failing(breaker_of(database), database, times=10)
    assert len(database.limits) == 1


def test_one_of_several_calls_tries_again() -> None:
    database = Database(seconds=1)
    breaker = breaker_of(database)
    failing(breaker, database)
    database.now += 5

    def write() -> None:
        failing(breaker, database)  # As another thread would, meanwhile.
        database.write()

    with pytest.raises(UnavailableError):
        breaker.call(write)
    assert len(database.limits) == 2


def test_work_of_its_own_does_not_count_as_waiting() -> None:
    def write() -> float:
        not_counted(lambda: time.sleep(0.05))
        return within_limit(9.0)

    assert 0 < call_within(0.04, write) <= 0.04
    assert within_limit(9.0) == 9.0
