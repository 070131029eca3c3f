"""The different values of a column, for people who pick one."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import chain
from typing import Any, NamedTuple

from curio_persistence.capabilities.capability import Capability
from curio_persistence.clock import Clock
from curio_persistence.errors import InvalidValueError
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import decode_text
from curio_persistence.store.filters import Filter, Order, Where
from curio_persistence.store.table import Table
from curio_persistence.tables import AGENTS, EVENTS, RUNS, USAGE

_KEPT = timedelta(seconds=30)
_NEWEST = 20_000
"""The newest records whose values are offered; all agents are."""


class _Source(NamedTuple):
    """The column that has some values."""

    table: Table[Any]
    column: str


_SOURCES = {
    "agent_id": _Source(AGENTS, "agent_id"),
    "model": _Source(USAGE, "model"),
    "provider": _Source(USAGE, "provider"),
    "event_type": _Source(EVENTS, "event_type"),
    "tool": _Source(EVENTS, "tool_name"),
    "tags": _Source(RUNS, "tags"),
    "source": _Source(RUNS, "source"),
    "project": _Source(RUNS, "project"),
}


class Values(Capability):
    """The different values of columns, each kept for 30 seconds."""

    def __init__(self, store: Store, clock: Clock) -> None:
        super().__init__(store, clock)
        self._kept: dict[str, tuple[Any, tuple[str, ...]]] = {}

    def of(self, name: str) -> tuple[str, ...]:
        """Return the values that the newest records have, sorted; see `Persistence.values`."""
        if not isinstance(name, str) or name not in _SOURCES:
            raise InvalidValueError(
                f"name is one of {', '.join(_SOURCES)}, not {name!r}.", field="name"
            )
        now = self._clock.now()
        since, values = self._kept.get(name, (None, ()))
        if since is None or not since <= now < since + _KEPT:
            values = self._read(*_SOURCES[name])
            self._kept[name] = now, values
        return values

    def _read(self, table: Table[Any], column: str) -> tuple[str, ...]:
        where = (Filter(column, "is not null"), *self._newest(table))
        stored = [value for (value,) in self._store.aggregate(table, (), where, group_by=(column,))]
        if column == "tags":
            stored = list(chain.from_iterable(map(json.loads, stored)))
        return tuple(sorted({decode_text(value) or "" for value in stored} - {""}))

    def _newest(self, table: Table[Any]) -> Where:
        """Return the filter for the newest rows of a table."""
        order = (Order("id", descending=True),)
        last = self._store.select(table.part("id"), order=order, limit=1)[0]
        return (Filter("id", ">", last[0] - _NEWEST),) if last else ()
