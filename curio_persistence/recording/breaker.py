"""A circuit breaker: an agent does not wait again and again for a database that does not answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVarTuple, Unpack

from curio_persistence.concurrency.time_limit import call_within
from curio_persistence.errors import (
    ConflictError,
    InvalidValueError,
    MissingDatabaseError,
    NotFoundError,
    UnavailableError,
)

Ts = TypeVarTuple("Ts")

_LIMIT = 1.0
"""Seconds that a write may wait."""
_LIMIT_AGAIN = 0.25
"""Seconds that a write may wait that tries whether the database answers again."""
_TOLERATED = 0.2
"""Seconds of failing writes, since the last one that was stored, before others are refused."""
_FIRST_REST = 5.0
_LONGEST_REST = 60.0
"""Seconds for which writes are refused."""
_ANSWERS = (InvalidValueError, ConflictError, NotFoundError)
"""Errors of a record, by which the database shows that it answers."""


class Breaker:
    """Writes to one persistence, refused at once while failures of it cost too much time.

    Failures that return at once, like a refused connection, are tolerated for longer than those
    that had to be waited for. After a rest one write tries again; the rests grow.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._wasted = 0.0
        self._rest = 0.0
        self._tries_at = 0.0

    def call(self, write: Callable[[Unpack[Ts]], Any], *args: *Ts) -> None:
        """Write within a second; raise the write's error, or UnavailableError during a rest."""
        begin, limit = self._now(), _LIMIT
        if self._rest:
            self._refuse_during_rest(begin)
            limit = _LIMIT_AGAIN
        try:
            call_within(limit, write, *args)
        except Exception as error:
            if not isinstance(error, _ANSWERS) or isinstance(error, MissingDatabaseError):
                self._count(begin)
            raise
        if self._wasted:
            self._wasted = self._rest = 0.0

    def _refuse_during_rest(self, now: float) -> None:
        if now < self._tries_at:
            raise UnavailableError(
                "The database did not answer in time. Writes to it are dropped for "
                f"{self._tries_at - now:.0f} s, then it is tried again."
            )
        self._tries_at = now + self._rest  # Other threads do not try as well.

    def _count(self, begin: float) -> None:
        now = self._now()
        self._wasted += now - begin
        if self._wasted > _TOLERATED:
            self._rest = min(max(self._rest * 2, _FIRST_REST), _LONGEST_REST)
            self._tries_at = now + self._rest


def breaker_of(persistence: Any) -> Breaker:
    """Return the breaker that all recorders of a persistence share."""
    breaker: Breaker = vars(persistence).setdefault("_breaker", Breaker())
    return breaker
