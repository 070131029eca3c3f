"""Read the values in rows of exports: times, tokens, amounts of money."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import TYPE_CHECKING, Any

from curio_persistence.importers.common.writer import SourceLocation
from curio_persistence.importers.traces.words import object_in, parsed

if TYPE_CHECKING:
    from curio_persistence.importers.sessions.context import SessionContext

_ZONE = re.compile(r"(?:Z|[+-]\d\d(?::?\d\d)?)$", re.IGNORECASE)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_NANOSECONDS = 10**19


class Values:
    """Reads the values of one row; those that cannot be are problems at its place."""

    def __init__(self, context: SessionContext, location: SourceLocation) -> None:
        self._context = context
        self._location = location

    def utc(self, value: Any) -> datetime | None:
        """Return a time; exports write theirs in UTC without saying so."""
        if isinstance(value, str) and value and not _ZONE.search(value):
            value = f"{value}Z"
        return self._context.moment(value or None, *self._location)

    def nanoseconds(self, value: Any) -> datetime | None:
        """Return a time that is told in nanoseconds since 1970."""
        if isinstance(value, str) and value.isdecimal():
            value = int(value)
        if type(value) is not int or not 0 < value < _MOST_NANOSECONDS:
            return self._context.moment(value or None, *self._location)
        return self.utc((_EPOCH + timedelta(microseconds=value // 1_000)).isoformat())

    def tokens(self, value: Any) -> int | None:
        """Return a number of tokens; None, and a problem, if it cannot be one."""
        return self._context.tokens(value, *self._location)

    def sum_of(self, counts: Iterable[Any]) -> int | None:
        """Return the sum of numbers of tokens; None if there are none."""
        found = map(self.tokens, counts)
        told = [each for each in found if each is not None]
        return sum(told) if told else None

    def money(self, value: Any) -> Decimal | None:
        """Return an amount of dollars, to the digit; None, and a problem, if it cannot be one."""
        if value is None or value == "":
            return None
        try:
            amount = Decimal(str(value))
        except InvalidOperation:
            amount = Decimal("NaN")
        if isinstance(value, bool) or not amount.is_finite() or amount < 0:
            self._context.problem(*self._location, f"has a cost that cannot be: {value!r:.40}")
            return None
        return amount


def judged(value: Any) -> tuple[float | None, str | None]:
    """Return the number or the word by which something is judged."""
    if isinstance(value, int | float) and isfinite(value):
        return float(value), None
    return None, text(value)


def text(value: Any) -> str | None:
    """Return a name or an id that is text or a number; None for anything else, or nothing."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value) or None


def texts(value: Any) -> tuple[str, ...]:
    """Return the names in a list; none for anything else."""
    return tuple(filter(None, map(text, value))) if isinstance(value, list) else ()


def exception_in(events: Any) -> str | None:
    """Return the message of the first exception among the events of a span."""
    events = parsed(events)
    for event in events if isinstance(events, list) else ():
        told = object_in(object_in(event).get("attributes"))
        if message := text(told.get("exception.message")):
            return message
    return None
