"""Refuse a source that is not the one that was replicated, though it has its identity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curio_persistence.backends.clickhouse.sink import Sink
from curio_persistence.errors import ConflictError
from curio_persistence.replication.feeds import Feed
from curio_persistence.replication.following import BEGUN
from curio_persistence.replication.lines import Lines
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Measure
from curio_persistence.store.table import Table
from curio_persistence.tables import AUDIT_LOG, CHANGES, EVENTS, USAGE

_RESTORING = "restore backup"
"""The action in the audit log of a restored database."""
_ONLY_GROW: tuple[Table[Any], ...] = (AUDIT_LOG, CHANGES)
"""The tables whose newest rows are never deleted."""
_NEVER_CHANGE = (EVENTS, USAGE)
"""The tables whose rows keep their time of creation."""


def refuse_another(store: Store, sink: Sink, feeds: Mapping[str, Feed]) -> None:
    """Raise ConflictError for an older state of the source, or one of two copies of a file."""
    begun = sink.noted(BEGUN).mark
    if not begun:
        return
    restored = (Filter("action", "=", _RESTORING), Filter("created_at", ">=", begun))
    if store.count(AUDIT_LOG, restored):
        raise _refusal(store, sink)
    for table in _ONLY_GROW:
        [(newest,)] = store.aggregate(table, (Measure("max", "id"),))
        if newest is not None and newest < Lines(store, sink, table).upto:
            raise _refusal(store, sink)
    for table in _NEVER_CHANGE:
        if _has_another_row(store, sink, table, feeds[table.name].mark.upto):
            raise _refusal(store, sink)


def _has_another_row(store: Store, sink: Sink, table: Table[Any], upto: int) -> bool:
    """Return whether the newest row, up to an id, is another one in the source than here."""
    passed = (Filter("id", "<", upto + 1),)
    [(newest,)] = store.aggregate(table, (Measure("max", "id"),), passed)
    if newest is None:
        return False
    there = store.select_columns(table, ("created_at",), (Filter("id", "=", newest),))
    here = sink.rows_between(table, ("created_at",), newest, newest + 1)
    return any(encode_time(at) != stored for (at,) in here for (stored,) in there)


def _refusal(store: Store, sink: Sink) -> ConflictError:
    return ConflictError(
        f"{store.location} is not what was replicated as {sink.source!r}: it was restored from a "
        "backup since, or is another copy of the same file. Replicate it under another name "
        "(--source, source=)."
    )
