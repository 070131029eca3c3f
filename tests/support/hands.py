"""A clock that a test can set."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class Hands:
    """The hands of a clock: they follow real time until a test puts them somewhere."""

    def __init__(self) -> None:
        self._at: datetime | None = None
        self._meanwhile: deque[Callable[[], object] | None] = deque()

    def __call__(self) -> datetime:
        happens = self._meanwhile.popleft() if self._meanwhile else None
        if happens:
            happens()
        return self._at or datetime.now(UTC)

    def meanwhile(self, happens: Callable[[], object], *, before_reading: int) -> None:
        """Let it happen just before the clock is read for the n-th time from now."""
        self._meanwhile = deque([None] * (before_reading - 1) + [happens])

    def put(self, at: datetime) -> None:
        """Stand still there."""
        self._at = at

    def move(self, **by: float) -> None:
        """Forwards, or backwards: what `timedelta` takes."""
        self._at = self() + timedelta(**by)
