"""The steps of a page with all of their words and their records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, USAGE
from curio_persistence.views.brief import Found
from curio_persistence.views.histories import History
from curio_persistence.views.slices import CALL, CHILD, EVENT
from curio_persistence.views.steps import Step, ended, step_of, step_of_run

_TABLES: dict[str, Table[Any]] = {EVENT: EVENTS, CALL: USAGE, CHILD: RUNS}


def whole_steps(store: Store, found: Sequence[Found]) -> tuple[Step, ...]:
    """Return the steps whose places were found; what was deleted meanwhile is left out."""
    records = {kind: _records(store, kind, found) for kind in _TABLES}
    steps = (_step(each, records[str(each.position[1])]) for each in found)
    return tuple(step for step in steps if step is not None)


def _records(store: Store, kind: str, found: Iterable[Found]) -> dict[int, Any]:
    ids = (row.id for each in found if each.position[1] == kind for row in each.rows)
    table = _TABLES[kind]
    where = (Filter("id", "in", tuple(ids)),)
    return {record.id: record for record in table.decode(store.select(table, where))}


def _step(found: Found, records: dict[int, Any]) -> Step | None:
    read = [records[row.id] for row in found.rows if row.id in records]
    if len(read) < len(found.rows):
        return None
    if found.position[1] == CHILD:
        return step_of_run(History(read[0]))
    first, *end = map(step_of, read)
    return ended(first, *end) if end else first
