"""Pages of the steps of a run: those that pass filters, behind or before a cursor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

from curio_persistence.errors import InvalidValueError
from curio_persistence.store.base import Store
from curio_persistence.store.cursors import Cursors
from curio_persistence.store.filters import Filter, Order
from curio_persistence.tables import RUNS
from curio_persistence.views.brief import BriefStep
from curio_persistence.views.step_filters import StepFilters
from curio_persistence.views.steps import RecordRef, Step
from curio_persistence.views.walking import Path, Placed, Walk
from curio_persistence.views.whole import whole_steps

_AFTER, _BEFORE = "after", "before"
_ORDER = (Order("side"), Order("path"))
_OF_RECORDS = ("event", "usage", "run")
S = TypeVar("S", Step, BriefStep)


@dataclass(frozen=True, slots=True)
class StepPage(Generic[S]):
    """One page of a run's steps.

    `next_cursor` leads to the next page, and `previous_cursor` to the one before; None where there
    is none.
    """

    steps: tuple[S, ...]
    next_cursor: str | None = None
    previous_cursor: str | None = None

    def __iter__(self) -> Iterator[S]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)


def ref_from(around: Any) -> RecordRef:
    """Return the name of a record that a caller gave, perhaps as text such as `event:7`."""
    if isinstance(around, RecordRef):
        return around
    if isinstance(around, str):
        kind, _, number = around.partition(":")
        if kind in _OF_RECORDS and number.isdecimal() and number.isascii() and len(number) < 19:
            return RecordRef(kind, int(number))
    raise InvalidValueError(
        f"around is the name of a step, such as event:7, usage:3 or run:2, not {around!r}.",
        field="around",
    )


class StepPages:
    """The pages of one run's steps."""

    def __init__(self, store: Store, run_id: str, filters: StepFilters, *, brief: bool) -> None:
        self._store = store
        self._walk = Walk(store, run_id, filters, children=brief)
        where = (*RUNS.where(run_id=run_id), *filters.asked(), Filter("brief", "=", brief))
        self._cursors = Cursors(store, "steps", where, _ORDER)
        self._brief = brief

    def page(
        self, limit: int | None, cursor: str | None, around: RecordRef | None
    ) -> StepPage[Any]:
        """Return the page that a cursor leads to, or that has a record, or the first one."""
        side, path = (_AFTER, ()) if cursor is None else self._read(cursor)
        if around is not None:
            return self._page_around(self._walk.path_to(around), limit)
        if side == _BEFORE:
            return self._page_before(path, limit)
        return self._page_after(path, limit)

    def _page_after(self, path: Path, limit: int | None) -> StepPage[Any]:
        found = self._first(self._walk.after(path), limit)
        page = found[:limit]
        return self._made(page, more=len(found) > len(page), earlier=bool(page and path))

    def _page_before(self, path: Path, limit: int | None) -> StepPage[Any]:
        found = self._first(self._walk.before(path), limit)
        page = found[:limit][::-1]
        return self._made(page, more=bool(page), earlier=len(found) > len(page))

    def _page_around(self, path: Path, limit: int | None) -> StepPage[Any]:
        """Return the page that has a place in its middle; what is before it is read backwards."""
        if limit is None:
            return self._page_after((), None)
        half = limit // 2
        before = self._first(self._walk.before(path), half)
        near = before[:half][::-1]
        behind = self._walk.after(before[0].path if before else ())
        found = [*near, *self._first(behind, limit - len(near))]
        return self._made(found[:limit], more=len(found) > limit, earlier=len(before) > half)

    def _first(self, steps: Iterator[Placed], limit: int | None) -> list[Placed]:
        """Return the first steps, one more than are shown."""
        return list(islice(steps, None if limit is None else limit + 1))

    def _made(self, page: list[Placed], *, more: bool, earlier: bool) -> StepPage[Any]:
        found = [placed.found for placed in page]
        return StepPage(
            tuple(each.line for each in found) if self._brief else whole_steps(self._store, found),
            self._cursor(_AFTER, page[-1]) if more and page else None,
            self._cursor(_BEFORE, page[0]) if earlier and page else None,
        )

    def _read(self, cursor: str) -> tuple[str, Path]:
        side, path = map(str, self._cursors.read(cursor))
        return side, tuple(map(tuple, json.loads(path)))

    def _cursor(self, side: str, step: Placed) -> str:
        return self._cursors.write((side, json.dumps(step.path)))
