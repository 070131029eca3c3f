"""Walk through the steps of a run, forwards or backwards, from any of them.

The steps of a child run follow the step that it is. So the place of a step is a path: the positions
of the child runs around it, and its own. A walk reads some hundred records at once, and no more of
a run than is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from curio_persistence.errors import NotFoundError
from curio_persistence.models import AgentRun, AgentRunEvent
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter
from curio_persistence.store.query import Position
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, USAGE
from curio_persistence.views.histories import DEEPEST, History
from curio_persistence.views.pairs import Pairs
from curio_persistence.views.slices import CHILD, Slices, position_of
from curio_persistence.views.steps import RecordRef, Step, step_of_run

Path = tuple[Position, ...]

_TABLES: dict[str, Table[Any]] = {"event": EVENTS, "usage": USAGE, CHILD: RUNS}


class Placed(NamedTuple):
    """A step of a run, the last of some runs of which each is a child of the one before."""

    path: Path
    runs: tuple[AgentRun, ...]
    step: Step

    @property
    def run(self) -> AgentRun:
        return self.runs[-1]


class Walk:
    """The steps of a run, and with `children` those of its child runs."""

    def __init__(self, store: Store, run: AgentRun, *, children: bool = True) -> None:
        self._store = store
        self._runs = (run,)
        self._deepest = DEEPEST if children else 0

    def after(self, path: Path = ()) -> Iterator[Placed]:
        """Yield all steps behind a place, in order; from the first on without one."""
        return self._after((), self._runs, path)

    def before(self, path: Path) -> Iterator[Placed]:
        """Yield all steps before a place, the nearest first."""
        return self._before((), self._runs, path)

    def _after(self, above: Path, runs: tuple[AgentRun, ...], path: Path) -> Iterator[Placed]:
        if path and (child := self._child_at(path[0])):
            yield from self._inside((*above, path[0]), runs, child, path[1:])
        for placed in self._own(above, runs, path[:1], newest_first=False):
            yield placed
            if placed.step.child:
                yield from self._inside(placed.path, runs, placed.step.child.run, ())

    def _inside(
        self, above: Path, runs: tuple[AgentRun, ...], child: AgentRun, path: Path
    ) -> Iterator[Placed]:
        if self._is_followed(runs, child):
            yield from self._after(above, (*runs, child), path)

    def _before(self, above: Path, runs: tuple[AgentRun, ...], path: Path) -> Iterator[Placed]:
        if len(path) > 1 and (child := self._child_at(path[0])):
            yield from self._before((*above, path[0]), (*runs, child), path[1:])
            yield Placed((*above, path[0]), runs, step_of_run(History(child)))
        for placed in self._own(above, runs, path[:1], newest_first=True):
            if placed.step.child and self._is_followed(runs, placed.step.child.run):
                inside = (*runs, placed.step.child.run)
                yield from self._before(placed.path, inside, ())
            yield placed

    def _own(
        self, above: Path, runs: tuple[AgentRun, ...], start: Path, *, newest_first: bool
    ) -> Iterator[Placed]:
        slices = Slices(self._store, runs[-1])
        for position, step in slices.steps(start[0] if start else None, newest_first=newest_first):
            yield Placed((*above, position), runs, step)

    def _is_followed(self, runs: tuple[AgentRun, ...], child: AgentRun) -> bool:
        """Return whether to go into a child run: parents may go in circles."""
        return len(runs) <= self._deepest and all(child.run_id != run.run_id for run in runs)

    def _child_at(self, position: Position) -> AgentRun | None:
        if position[1] != CHILD:
            return None
        child: AgentRun | None = self._one(RUNS, "id", position[2])
        return child

    # --- the place of a record --------------------------------------------------------------------

    def path_to(self, ref: RecordRef) -> Path:
        """Return the place of a record; raise NotFoundError if the walk does not come to it."""
        [root] = self._runs
        record = self._one(_TABLES.get(ref.kind, RUNS), "id", ref.id)
        path: Path = ()
        for _ in range(self._deepest + 1):
            if record is None:
                break
            is_run = isinstance(record, AgentRun)
            around = record.parent_run_id if is_run else record.run_id
            path = (self._place(record), *path)
            if around == root.run_id:
                return path
            record = None if around is None else self._one(RUNS, "run_id", around)
        raise NotFoundError(f"Run {root.run_id} has no such step: {ref}.")

    def _place(self, record: Any) -> Position:
        """Return the position of a record; that of an end is where it began."""
        if isinstance(record, AgentRunEvent):
            return position_of(Pairs(self._store, record.run_id).begin_of(record))
        return position_of(record)

    def _one(self, table: Table[Any], column: str, value: Any) -> Any:
        where = (Filter(column, "=", value),)
        return next(iter(table.decode(self._store.select(table, where, limit=1))), None)
