"""How long work tells its caller how far it has come."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int | None], object]
"""Called from time to time with the number of records done, and of how many; None if unknown."""
