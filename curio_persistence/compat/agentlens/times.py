"""Times as AgentLens has them: ISO 8601 text, which is kept as it is, and compared by moment."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from curio_persistence.errors import InvalidValueError


def moment_of(time: Any, field: str) -> datetime:
    """Return the moment of a text or datetime, in UTC.

    A text without an offset is in UTC: its place among others must not depend on the machine. A
    naive datetime is local time, as everywhere in this library.
    """
    if isinstance(time, datetime):
        return time.astimezone(UTC)
    try:
        moment = datetime.fromisoformat(time)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidValueError(
            f"{field} is a time such as '2026-02-07T10:00:00Z', not {time!r:.80}.", field=field
        ) from error


def text_of(moment: datetime) -> str:
    """Return a moment as JavaScript writes it: to the millisecond, with a `Z`."""
    written = moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
    return f"{written}Z"


def second_of(moment: datetime) -> str:
    """Return a moment as the start of a span of time: to the second, with a `Z`."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"
