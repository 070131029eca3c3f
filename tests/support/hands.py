"""A clock that a test can set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class Hands:
    """The hands of a clock: they follow real time until a test puts them somewhere."""

    def __init__(self) -> None:
        self._at: datetime | None = None

    def __call__(self) -> datetime:
        return self._at or datetime.now(UTC)

    def put(self, at: datetime) -> None:
        """Stand still there."""
        self._at = at

    def move(self, **by: float) -> None:
        """Forwards, or backwards: what `timedelta` takes."""
        self._at = self() + timedelta(**by)
