"""Check the arguments of calls, and name those that are refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from curio_persistence.capabilities.alerts.sending import Callables
from curio_persistence.capabilities.windows import checked_length
from curio_persistence.errors import InvalidValueError
from curio_persistence.store.codecs import encode_time


def checked_rule_id(rule_id: Any) -> str:
    """Return the id of a rule; any text may be asked for."""
    if not isinstance(rule_id, str):
        raise InvalidValueError(f"rule_id is a text, not {rule_id!r}.", field="rule_id")
    return rule_id


def checked_now(now: Any) -> datetime:
    """Return the moment of an evaluation, in UTC."""
    if not isinstance(now, datetime):
        raise InvalidValueError(f"now is a datetime, not {now!r}.", field="now")
    return datetime.fromisoformat(encode_time(now))


def checked_callables(callables: Any) -> Callables:
    """Return the functions that sinks name."""
    given = {} if callables is None else callables
    if not isinstance(given, Mapping) or not all(map(callable, given.values())):
        raise InvalidValueError(
            "callables is a dict of names and functions of one argument.", field="callables"
        )
    return given


def checked_period(every: Any) -> float:
    """Return the seconds from one round to the next."""
    if isinstance(every, int | float) and not isinstance(every, bool):
        if 1 <= every <= 86_400:
            return float(every)
    elif (length := checked_length("every", every)) >= timedelta(seconds=1):
        return length.total_seconds()
    raise InvalidValueError(f"every is a second or more, not {every!r}.", field="every")
