"""Windows of time: from one moment up to another, as absolute times or durations."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from curio_persistence.clock import Clock
from curio_persistence.errors import InvalidValueError
from curio_persistence.store.filters import Filter, Where
from curio_persistence.store.table import Table

Moment = datetime | str
"""A datetime; text as ISO 8601 has it; or how long ago: `90s`, `30m`, `2h`, `7d`, `4w`."""

_AGO = re.compile(r"(\d{1,9})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def window(table: Table[Any], clock: Clock, since: Moment | None, until: Moment | None) -> Where:
    """Return the filters for `since ≤ t < until` of the time by which a table's rows age."""
    bounds = (("since", ">=", since), ("until", "<", until))
    return tuple(
        _bound(table, clock, name, op, moment) for name, op, moment in bounds if moment is not None
    )


def _bound(table: Table[Any], clock: Clock, name: str, op: Any, moment: Moment) -> Filter:
    kept = table.filter(table.ages_by, op, moment_of(moment, clock.now(), name))
    if isinstance(moment, str) and _AGO.fullmatch(moment):
        # A duration would mean another moment on the next page.
        return kept._replace(asked=moment)
    return kept


def moment_of(moment: Any, now: datetime, name: str) -> datetime:
    """Return the moment of a value; InvalidValueError, naming the argument, if it has none."""
    if isinstance(moment, datetime):
        return moment
    if isinstance(moment, str):
        try:
            if ago := _AGO.fullmatch(moment):
                return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
            return datetime.fromisoformat(moment)
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC)
        except ValueError:
            pass
    raise InvalidValueError(
        f"{name} is a datetime, ISO 8601 text ('2026-11-20', '2026-11-20T10:30Z') or how long ago "
        f"('90s', '30m', '2h', '7d', '4w'), not {moment!r}.",
        field=name,
    )
