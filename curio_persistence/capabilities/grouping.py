"""Groups of computed records: the names that callers group by, and the keys of rows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import product
from typing import Any, Generic, Protocol, TypeVar

from curio_persistence.capabilities.time_zones import PERIODS, Periods, zone_of
from curio_persistence.errors import InvalidValueError
from curio_persistence.results.pages import Records
from curio_persistence.store.filters import GroupKey
from curio_persistence.store.table import Columns, Record, Table
from curio_persistence.tables.runs import ORIGIN

M = TypeVar("M", bound=Record)
S = TypeVar("S")

GroupBy = str | Sequence[str]
"""One name or several of: agent, model, provider, status, session, user, tag, source, project,
branch, and one period."""


class Sums(Protocol):
    """The numbers of one group."""

    def numbers(self) -> dict[str, Any]:
        """Return the numbers by the fields of their record, in stored form."""


Key = tuple[str | None, ...]
_FIELDS = {
    "agent": "agent_id",
    "session": "session_id",
    "user": "user_id",
    **{name: name for name in ("model", "provider", "status", "tag", *ORIGIN)},
    **dict.fromkeys(PERIODS, "period"),
}


class Grouping(Generic[M]):
    """The grouping that a caller asked for: the keys of groups, and the records made of them."""

    def __init__(self, group_by: Any, timezone: Any, table: Table[M]) -> None:
        zone = zone_of(timezone)
        self._table = table
        self._names = _checked_names(group_by, table)
        self._fields = [_FIELDS[name] for name in self._names]
        self.fields = frozenset(self._fields)
        self.periods = next((Periods(n, zone) for n in self._names if n in PERIODS), None)

    def buckets(self, column: str) -> tuple[GroupKey, ...]:
        """Return the bucket of time to group by, if a period was asked for."""
        return () if self.periods is None else (self.periods.bucket(column),)

    def groups(self, new: Callable[[], S]) -> defaultdict[Key, S]:
        """Return the groups; without names there is one, even of nothing."""
        groups: defaultdict[Key, S] = defaultdict(new)
        if not self._names:
            groups[()] = new()
        return groups

    def keys(self, known: Mapping[str, Any]) -> Iterable[Key]:
        """Return the keys of the groups that a row belongs to: one for each of its tags."""
        return product(*(self._values(name, known) for name in self._fields))

    def _values(self, field: str, known: Mapping[str, Any]) -> Sequence[str | None]:
        if field == "tag":
            tags: list[str | None] = json.loads(known.get("tags") or "[null]")
            return tags
        if self.periods is not None and field == "period":
            return (self.periods.label(known["created_at"]),)
        return (known.get(field),)

    def records(self, groups: Mapping[Key, Sums]) -> Records[M]:
        """Return the groups in the order of their keys; values that are unknown come last."""
        rows = []
        for key in sorted(groups, key=self._position):
            values = {**dict(zip(self._fields, key, strict=True)), **groups[key].numbers()}
            rows.append([values.get(name) for name in self._table.names])
        columns: Columns = list(zip(*rows, strict=True)) or [()] * len(self._table.names)
        return Records(self._table, columns)

    def _position(self, key: Key) -> list[Any]:
        return [
            (value is None, value and self._in_time(field, value))
            for field, value in zip(self._fields, key, strict=True)
        ]

    def _in_time(self, field: str, value: str) -> Any:
        hours = field == "period" and "hour" in self._names
        return datetime.fromisoformat(value) if hours else value


def _checked_names(group_by: Any, table: Table[Any]) -> list[str]:
    """Return the names to group by; each is known to the table, and one at most is a period."""
    given = [group_by] if isinstance(group_by, str) else group_by
    known = [name for name, field in _FIELDS.items() if field in table.names]
    names = list(given) if isinstance(given, Iterable) else [given]
    fields = [_FIELDS.get(name) if isinstance(name, str) else None for name in names]
    if any(name not in known for name in names) or len(set(fields)) < len(fields):
        raise InvalidValueError(
            f"group_by is one of {', '.join(known)}, or several that differ, with one period at "
            f"most, not {group_by!r}.",
            field="group_by",
        )
    return names
