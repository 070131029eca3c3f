"""Pages of the steps of a run: those that pass filters, behind or before a cursor."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

from curio_persistence.errors import InvalidValueError
from curio_persistence.models import AgentRun
from curio_persistence.store.base import Store
from curio_persistence.store.cursors import Cursors
from curio_persistence.store.filters import Filter, Order
from curio_persistence.tables import RUNS
from curio_persistence.tables.events import TOOL_EVENTS
from curio_persistence.views.brief import BriefStep, brief_step
from curio_persistence.views.steps import (
    LEVELS,
    MODEL,
    RUN,
    SPAN,
    TOOL,
    RecordRef,
    Step,
    severity,
)
from curio_persistence.views.values import compact
from curio_persistence.views.walking import Path, Placed, Walk

_AFTER, _BEFORE = "after", "before"
_ORDER = (Order("side"), Order("path"))
_OF_RECORDS = ("event", "usage", "run")
_TOOLS = frozenset((TOOL, *TOOL_EVENTS))
_NO_EVENTS = _TOOLS | {MODEL, RUN, SPAN}

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


class StepFilters(NamedTuple):
    """The filters of steps, checked; a step must pass all of them."""

    only: frozenset[str] | None = None
    min_level: str = LEVELS[0]
    failed: bool = False
    text: str = ""

    @classmethod
    def of(cls, only: Any, min_level: Any, failed: Any, text: Any) -> StepFilters:
        """Return the filters that a caller gave; raise InvalidValueError for what is none."""
        min_level = LEVELS[0] if min_level is None else min_level
        if min_level not in LEVELS:
            known = ", ".join(LEVELS)
            raise InvalidValueError(f"min_level is one of {known}.", field="min_level")
        if text is not None and not isinstance(text, str):
            raise InvalidValueError(f"text is a text, not {text!r}.", field="text")
        return cls(_checked_kinds(only), min_level, bool(failed), (text or "").casefold())

    def admits(self, step: Step) -> bool:
        """Return whether a step passes."""
        return (
            (self.only is None or _is_of(step.kind, self.only))
            and severity(step.level) >= severity(self.min_level)
            and not (self.failed and step.error is None)
            and (not self.text or self.text in _all_words(step).casefold())
        )

    def asked(self) -> tuple[Filter, ...]:
        """Return the filters as those that cursors are made for."""
        only = None if self.only is None else tuple(sorted(self.only))
        given = {**self._asdict(), "only": only}
        return tuple(Filter(name, "=", value) for name, value in given.items())


def _checked_kinds(only: Any) -> frozenset[str] | None:
    if only is None:
        return None
    kinds = [only] if isinstance(only, str) else only
    if not isinstance(kinds, Collection) or not all(isinstance(kind, str) for kind in kinds):
        raise InvalidValueError(
            f'only is "model", "tool", "span", "run", "event", the type of an event, or several '
            f"of these, not {only!r}.",
            field="only",
        )
    return frozenset(kinds)


def is_tool(kind: str) -> bool:
    """Return whether steps of a kind are calls of tools."""
    return kind in _TOOLS


def _is_of(kind: str, kinds: frozenset[str]) -> bool:
    return (
        kind in kinds
        or (TOOL in kinds and is_tool(kind))
        or ("event" in kinds and kind not in _NO_EVENTS)
    )


def _all_words(step: Step) -> str:
    return " ".join((step.name, step.error or "", *map(compact, step.parts.values())))


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

    def __init__(self, store: Store, run: AgentRun, filters: StepFilters, *, brief: bool) -> None:
        self._walk = Walk(store, run, children=brief)
        self._filters = filters
        where = (*RUNS.where(run_id=run.run_id), *filters.asked(), Filter("brief", "=", brief))
        self._cursors = Cursors(store, "steps", where, _ORDER)
        self._brief = brief

    def page(
        self, limit: int | None, cursor: str | None, around: RecordRef | None
    ) -> StepPage[Any]:
        """Return the page that a cursor leads to, or that has a record, or the first one."""
        side, path = (_AFTER, ()) if cursor is None else self._read(cursor)
        if around is not None:
            path = self._start_of(around, limit)
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

    def _first(self, steps: Iterator[Placed], limit: int | None) -> list[Placed]:
        """Return the first steps that pass the filters, one more than are shown."""
        passing = (placed for placed in steps if self._filters.admits(placed.step))
        return list(islice(passing, None if limit is None else limit + 1))

    def _start_of(self, around: RecordRef, limit: int | None) -> Path:
        """Return the place behind which the page begins that has a record in its middle."""
        path = self._walk.path_to(around)
        half = 0 if limit is None else limit // 2
        before = self._first(self._walk.before(path), half)
        return before[half].path if limit is not None and len(before) > half else ()

    def _made(self, page: list[Placed], *, more: bool, earlier: bool) -> StepPage[Any]:
        return StepPage(
            tuple(map(self._shown, page)),
            self._cursor(_AFTER, page[-1]) if more and page else None,
            self._cursor(_BEFORE, page[0]) if earlier and page else None,
        )

    def _shown(self, placed: Placed) -> Step | BriefStep:
        if not self._brief:
            return placed.step
        return brief_step(placed.step, placed.run.run_id, len(placed.path) - 1)

    def _read(self, cursor: str) -> tuple[str, Path]:
        side, path = map(str, self._cursors.read(cursor))
        return side, tuple(map(tuple, json.loads(path)))

    def _cursor(self, side: str, step: Placed) -> str:
        return self._cursors.write((side, json.dumps(step.path)))
