"""A clock that a test can set."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class Hands:
    """The hands of a clock: they follow real time until a test sets them."""

    def __init__(self) -> None:
        self._at: datetime | None = None
        self._meanwhile: deque[Callable[[], object] | None] = deque()

    def __call__(self) -> datetime:
        happens = self._meanwhile.popleft() if self._meanwhile else None
        if happens:
            happens()
        return self._at or datetime.now(UTC)

    def meanwhile(self, happens: Callable[[], object], *, before_reading: int) -> None:
        """Call a function just before the clock is read for the n-th time from now."""
        self._meanwhile = deque([None] * (before_reading - 1) + [happens])

    def put(self, at: datetime) -> None:
        """Stop the clock at this time."""
        self._at = at

    def move(self, **by: float) -> None:
        """Move forwards or backwards by the arguments of a `timedelta`."""
        self._at = self() + timedelta(**by)
