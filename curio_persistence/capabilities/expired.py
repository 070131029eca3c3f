"""The numbers of expired rows, in the groups in which statistics ask for rows that are stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curio_persistence.store.base import Store
from curio_persistence.store.filters import COUNT, Filter, GroupKey, Where, column_of, total
from curio_persistence.tables import EXPIRED_TOTALS

_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "run": {"agent_id": "agent_id", "status": "status", "created_at": "day"},
    "call": {
        "agent_id": "agent_id",
        "model": "name",
        "provider": "provider",
        "status": "status",
        "created_at": "day",
    },
    "tool": {"agent_id": "agent_id", "status": "status", "timestamp": "day"},
    "event": {"agent_id": "agent_id", "timestamp": "day"},
}
"""For each kind, the columns of its rows that are known after they expired."""


def expired_where(where: Where, kind: str = "run") -> Where | None:
    """Return the filters of stored rows as those of expired ones; None if these pass none.

    Of expired rows no session, user, tag or run is known; a day is in a window if it begins there.
    """
    known = _COLUMNS[kind]
    if any(f.column not in known for f in where):
        return None
    return tuple(f._replace(column=known[f.column]) for f in where)


def expired_groups(
    store: Store, kind: str, numbers: tuple[str, ...], where: Where, group_by: tuple[GroupKey, ...]
) -> list[tuple[Any, ...]]:
    """Return for each day and group its `group_by` values, then the sums of these numbers.

    Filters and groups name the columns of rows that are stored; see `expired_where`.
    """
    known, of_expired = _COLUMNS[kind], expired_where(where, kind)
    if of_expired is None:
        return []
    keys = tuple(known[column_of(key)] for key in group_by)
    of_kind = (Filter("kind", "=", kind), *of_expired)
    measures = tuple(map(total, numbers))
    rows = store.aggregate(EXPIRED_TOTALS, (COUNT, *measures), of_kind, group_by=keys)
    width = len(keys)
    return [(*map(_value_of_key, group_by, row), *row[width + 1 :]) for row in rows if row[width]]


def _value_of_key(key: GroupKey, value: Any) -> Any:
    return value if isinstance(key, str) else key.start_of(value)
