"""Windows of time: `since ≤ t < until`, as absolute times or durations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from curio_persistence.clock import Clock
from curio_persistence.errors import InvalidValueError
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Op

TimeLike = datetime | str
"""A datetime; text as ISO 8601 has it; or how long ago: `90s`, `30m`, `2h`, `7d`, `4w`."""

BOUNDS: Mapping[str, Op] = {"since": ">=", "until": "<"}
"""The filters for the ends of a window, with their comparisons."""
_MOMENT = timedelta(microseconds=1)
_AGO = re.compile(r"(\d{1,9})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def checked_moment(name: str, moment: Any) -> str:
    """Return a moment as text: how long ago as it was given, any other as a stored time.

    Raise InvalidValueError, naming the argument, for what is none.
    """
    if isinstance(moment, str):
        if _AGO.fullmatch(moment):
            return moment
        with suppress(ValueError):
            moment = datetime.fromisoformat(moment)
    if isinstance(moment, datetime):
        with suppress(ValueError):  # In UTC it is in no year that can be stored.
            return encode_time(moment)
    raise InvalidValueError(
        f"{name} is a datetime, ISO 8601 text ('2026-11-20', '2026-11-20T10:30Z') or how long ago "
        f"('90s', '30m', '2h', '7d', '4w'), not {moment!r}.",
        field=name,
    )


def checked_length(name: str, length: Any) -> timedelta:
    """Return a length of time, given as a timedelta or as text: `90s`, `30m`, `2h`, `7d`, `4w`."""
    if isinstance(length, str) and (said := _AGO.fullmatch(length)):
        with suppress(OverflowError):
            return timedelta(**{_UNITS[said[2]]: int(said[1])})
    if isinstance(length, timedelta) and length >= timedelta(0):
        return length
    raise InvalidValueError(
        f"{name} is a timedelta that is not negative, or text such as '90d', '12w' or '36h', not "
        f"{length!r}.",
        field=name,
    )


def before(now: datetime, age: timedelta) -> datetime:
    """Return the time so long ago, or the first one that can be stored."""
    try:
        return now - age
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def moment_after(time: str) -> str:
    """Return the stored time after a stored time; the last possible time is returned itself."""
    with suppress(OverflowError):
        return encode_time(datetime.fromisoformat(time) + _MOMENT)
    return time


def bound(column: str, op: Op, moment: str, clock: Clock) -> Filter:
    """Return the filter for one end of a window; `moment` is checked."""
    ago = _AGO.fullmatch(moment)
    if ago is None:
        return Filter(column, op, moment)
    try:
        begin = clock.now() - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    except OverflowError:
        begin = datetime.min.replace(tzinfo=UTC)
    # A duration would mean another moment on the next page.
    return Filter(column, op, encode_time(begin), asked=moment)
