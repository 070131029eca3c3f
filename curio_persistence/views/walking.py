"""Walk through the steps of a run, forwards or backwards, from any of them.

The steps of a child run follow the step that it is. So the place of a step is a path: the positions
of the child runs around it, and its own. A walk reads no more of a run than is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from curio_persistence.errors import NotFoundError
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter
from curio_persistence.store.query import Position
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, USAGE
from curio_persistence.views.brief import (
    EVENT_LINES,
    RUN_LINES,
    EventRow,
    Found,
    RunRow,
    run_line,
)
from curio_persistence.views.pairs import Pairs
from curio_persistence.views.runs import DEEPEST
from curio_persistence.views.slices import CALL, CHILD, EVENT, Slices
from curio_persistence.views.step_filters import StepFilters
from curio_persistence.views.steps import RecordRef

Path = tuple[Position, ...]
Runs = tuple[str, ...]
"""The ids of some runs, each of which is a child of the one before."""


class Placed(NamedTuple):
    """A step with its place."""

    path: Path
    found: Found


class Walk:
    """The steps of a run, and with `children` those of its child runs, which pass the filters."""

    def __init__(
        self, store: Store, run_id: str, filters: StepFilters, *, children: bool = True
    ) -> None:
        self._store = store
        self._run_id = run_id
        self._deepest = DEEPEST if children else 0
        self._admits = _anything if filters.admits_all else filters.admits
        self._filters = filters

    def after(self, path: Path = ()) -> Iterator[Placed]:
        """Yield all steps behind a place, in order; from the first on without one."""
        return self._after((), (self._run_id,), path)

    def before(self, path: Path) -> Iterator[Placed]:
        """Yield all steps before a place, the nearest first."""
        return self._before((), (self._run_id,), path)

    def _after(self, above: Path, runs: Runs, path: Path) -> Iterator[Placed]:
        if path and (child := self._child_at(path[0])):
            yield from self._inside((*above, path[0]), runs, child.run_id, path[1:])
        for placed in self._own(above, runs, path[:1], newest_first=False):
            if self._admits(placed.found):
                yield placed
            if child_id := placed.found.line.child_id:
                yield from self._inside(placed.path, runs, child_id, ())

    def _inside(self, above: Path, runs: Runs, child_id: str, path: Path) -> Iterator[Placed]:
        if self._is_followed(runs, child_id):
            yield from self._after(above, (*runs, child_id), path)

    def _before(self, above: Path, runs: Runs, path: Path) -> Iterator[Placed]:
        if len(path) > 1 and (child := self._child_at(path[0])):
            yield from self._before((*above, path[0]), (*runs, child.run_id), path[1:])
            line = run_line(child, runs[-1], len(above))
            found = Found(path[0], line, (child,))
            if self._admits(found):
                yield Placed((*above, path[0]), found)
        for placed in self._own(above, runs, path[:1], newest_first=True):
            child_id = placed.found.line.child_id
            if child_id is not None and self._is_followed(runs, child_id):
                yield from self._before(placed.path, (*runs, child_id), ())
            if self._admits(placed.found):
                yield placed

    def _own(self, above: Path, runs: Runs, start: Path, *, newest_first: bool) -> Iterator[Placed]:
        slices = Slices(self._store, runs[-1], len(above), self._filters)
        for found in slices.steps(start[0] if start else None, newest_first=newest_first):
            yield Placed((*above, found.position), found)

    def _is_followed(self, runs: Runs, child_id: str) -> bool:
        """Return whether to go into a child run: parents may go in circles."""
        return len(runs) <= self._deepest and child_id not in runs

    def _child_at(self, position: Position) -> RunRow | None:
        if position[1] != CHILD:
            return None
        columns = self._store.select(RUN_LINES, (Filter("id", "=", position[2]),), limit=1)
        return next(map(RunRow._make, zip(*columns, strict=True)), None)

    # --- the place of a record --------------------------------------------------------------------

    def path_to(self, ref: RecordRef) -> Path:
        """Return the place of a record; raise NotFoundError if the walk does not come to it."""
        path: Path = ()
        run_id, position = self._place(ref)
        for _ in range(self._deepest + 1):
            if run_id is None:
                break
            path = (position, *path)
            if run_id == self._run_id:
                return path
            run_id, position = self._place_of_run("run_id", run_id)
        raise NotFoundError(f"Run {self._run_id} has no such step: {ref}.")

    def _place(self, ref: RecordRef) -> tuple[str | None, Position]:
        """Return the run that a record is a step of, if it is of any, and its position there."""
        if ref.kind == CHILD:
            return self._place_of_run("id", ref.id)
        table = _EVENTS if ref.kind == EVENT else _CALLS
        where = (Filter("id", "=", ref.id),)
        found = self._store.select(table, where)
        for run_id, at, ident in zip(*found, strict=True):
            if ref.kind == EVENT and run_id is not None:
                at, ident = self._begin_of(run_id, ident)
            return run_id, (at, EVENT if ref.kind == EVENT else CALL, ident)
        return None, ()

    def _begin_of(self, run_id: str, ident: int) -> tuple[str, int]:
        columns = self._store.select(EVENT_LINES, (Filter("id", "=", ident),))
        [row] = map(EventRow._make, zip(*columns, strict=True))
        return Pairs(self._store, run_id).place_of(row)

    def _place_of_run(self, column: str, value: Any) -> tuple[str | None, Position]:
        where = (Filter(column, "=", value),)
        columns = self._store.select(_RUNS, where, limit=1)
        for ident, parent_id, started_at, created_at in zip(*columns, strict=True):
            return parent_id, (started_at or created_at, CHILD, ident)
        return None, ()


def _anything(_: Found) -> bool:
    return True


_EVENTS: Table[Any] = EVENTS.part("run_id", "timestamp", "id")
_CALLS: Table[Any] = USAGE.part("run_id", "created_at", "id")
_RUNS: Table[Any] = RUNS.part("id", "parent_run_id", "started_at", "created_at")
