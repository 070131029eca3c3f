"""The rounds of the lifecycle: one is done by one program, and the next one planned."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import uniform
from threading import Event

from curio_persistence.capabilities.lifecycle.report import ExpireReport
from curio_persistence.capabilities.lifecycle.settings import Settings
from curio_persistence.clock import Clock
from curio_persistence.errors import (
    BusyError,
    ClosedError,
    InvalidValueError,
    PersistenceError,
)

PLANNED, FAILED = "next", "failure"
"""Names of what is stored about rounds."""
ROUND = "round"
Outcome = ExpireReport | PersistenceError
"""The report of a round, or the error that ended it."""


@dataclass(frozen=True)
class Schedule:
    """The last round of expiry with its count or its failure, and the time of the next one.

    None is unknown: nothing expired yet, no program has planned a round, the last one did not fail.
    """

    last_at: datetime | None = None
    runs_deleted: int = 0
    archived: int = 0
    next_at: datetime | None = None
    failure: str | None = None


def schedule_of(settings: Settings, last: str) -> Schedule:
    """Return what is stored of rounds; `last` is the name of the stored report."""
    report, rounds = settings.of("report").get(last, {}), settings.of(ROUND)
    return Schedule(
        _moment(report.get("ended_at")),
        report.get("runs_deleted", 0),
        report.get("archived", 0),
        _moment(rounds.get(PLANNED, {}).get("at")),
        rounds.get(FAILED, {}).get("message"),
    )


def _moment(stored: str | None) -> datetime | None:
    return None if stored is None else datetime.fromisoformat(stored)


class Rounds:
    """Does rounds, about one in each period, whichever program it is that does them."""

    def __init__(self, settings: Settings, clock: Clock, period: timedelta) -> None:
        self._settings = settings
        self._clock = clock
        self._period = period
        self._me = os.urandom(8).hex()

    def do(self, work: Callable[[], ExpireReport]) -> Outcome:
        """Do one round; return its report, or the error after which the next one tries again."""
        try:
            report = work()
            self._settings.remove(ROUND, FAILED)
        except (InvalidValueError, ClosedError):
            raise
        except BusyError as error:
            return error  # Another program does this round.
        except PersistenceError as error:
            with suppress(PersistenceError):
                self._put(FAILED, message=str(error), at=self._clock.now().isoformat())
            return error
        return report

    @contextmanager
    def planned(self) -> Iterator[None]:
        """Take the plan back at the end, if it is this program's."""
        try:
            yield
        finally:
            with suppress(PersistenceError):
                if self._settings.of(ROUND).get(PLANNED, {}).get("by") == self._me:
                    self._settings.remove(ROUND, PLANNED)

    def wait(self, stop: Event) -> None:
        """Wait for the next round, and on if another program does that one."""
        seconds = self._period.total_seconds() * uniform(0.9, 1)
        with suppress(PersistenceError):
            at = self._clock.now() + timedelta(seconds=seconds)
            self._put(PLANNED, by=self._me, at=at.isoformat())
        while seconds and not stop.wait(seconds):
            seconds = self._left_to_another()

    def _left_to_another(self) -> float:
        """Return the seconds until the round that another program has planned; 0 without one."""
        plan = {}
        with suppress(PersistenceError):
            plan = self._settings.of(ROUND).get(PLANNED, {})
        if not plan or plan["by"] == self._me:
            return 0
        left = datetime.fromisoformat(plan["at"]) - self._clock.now()
        # Farther ahead than a period: the clock was set back since.
        return left.total_seconds() if timedelta(0) < left <= self._period else 0

    def _put(self, name: str, **settings: str) -> None:
        self._settings.put(ROUND, name, settings)


def log_failure(outcome: Outcome) -> None:
    """Log the error that ended a round."""
    if isinstance(outcome, PersistenceError):
        import logging  # Imported here: the import takes longer than that of this package.

        logger = logging.getLogger("curio_persistence")
        logger.warning("A round of the lifecycle failed: %s", outcome)
