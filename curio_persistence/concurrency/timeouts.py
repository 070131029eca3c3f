"""Timeouts that callers set."""

from __future__ import annotations

from typing import Any

from curio_persistence.errors import ConfigurationError

_LONGEST = 2e6
"""Seconds, 23 days: the drivers count milliseconds in 32 bits."""


def checked_seconds(name: str, value: Any) -> float:
    """Return a timeout in seconds; an infinite one becomes the longest there is."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ConfigurationError(
            f"{name} is a number of seconds that is not negative, not {value!r}."
        )
    return min(float(value), _LONGEST)
