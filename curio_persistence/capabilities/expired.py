"""The numbers of expired rows, in the groups in which statistics ask for rows that are stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curio_persistence.store.base import Store
from curio_persistence.store.filters import Bucket, Filter, GroupKey, Where, total
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
}
"""For each kind, the columns of its rows that are known after they expired."""


def expired_groups(
    store: Store, kind: str, numbers: tuple[str, ...], where: Where, group_by: tuple[GroupKey, ...]
) -> list[tuple[Any, ...]]:
    """Return for each group its `group_by` values, then the sums of these numbers.

    Filters and groups name the columns of rows that are stored. Expired rows pass no filter by a
    session, user, tag or run, as these are not known of them; a day is in a window if it begins
    there.
    """
    known = _COLUMNS[kind]
    if any(f.column not in known for f in where):
        return []
    renamed = tuple(f._replace(column=known[f.column]) for f in where)
    keys = tuple(
        key._replace(column=known[key.column]) if isinstance(key, Bucket) else known[key]
        for key in group_by
    )
    of_kind = (Filter("kind", "=", kind), *renamed)
    return store.aggregate(EXPIRED_TOTALS, tuple(map(total, numbers)), of_kind, group_by=keys)
