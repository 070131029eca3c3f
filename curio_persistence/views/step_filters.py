"""The filters of steps: by kind, level, failure and words."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any

from curio_persistence.errors import InvalidValueError
from curio_persistence.models import Level
from curio_persistence.store.filters import Filter
from curio_persistence.tables.events import TOOL_EVENTS
from curio_persistence.views.brief import CallRow, EventRow, Found
from curio_persistence.views.steps import LEVELS, severity
from curio_persistence.views.telling import KINDS, MODEL, RUN, SPAN, TOOL

_TOOLS = frozenset((TOOL, *TOOL_EVENTS))
_NO_EVENTS = _TOOLS | {MODEL, RUN, SPAN}
_WARNING = severity(Level.WARNING.value)
_NAMES_AN_ERROR = re.compile(r'"error"|\\u')
"""What the text of a payload has in it that has a member `error`, perhaps in other letters."""


@dataclass(frozen=True, slots=True)
class StepFilters:
    """The conditions for a step on a page: its kind, its level, that it failed, words in it."""

    only: tuple[str, ...] | None = None
    severity: int = 0
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
        return cls(_checked_kinds(only), severity(min_level), bool(failed), (text or "").casefold())

    def admits(self, found: Found) -> bool:
        """Return whether a step passes."""
        line = found.line
        return (
            self._is_wanted(line.kind)
            and not (self.failed and line.error is None)
            and (not self.severity or severity(line.level) >= self.severity)
            and (not self.text or self.text in _all_words(found))
        )

    @property
    def admits_all(self) -> bool:
        """True if there are no filters."""
        return self == _NONE

    def may_admit_event(self, row: EventRow) -> bool:
        """Return False for most rows of events that make no step that passes."""
        return self._is_wanted(KINDS.get(row.event_type, row.event_type)) and (
            not self._of_trouble
            or bool(row.tool_error)
            or severity(row.level) >= _WARNING
            or (row.tool_error is None and bool(_NAMES_AN_ERROR.search(row.data or "")))
        )

    def may_admit_call(self, row: CallRow) -> bool:
        """Return False for most rows of model calls that make no step that passes."""
        is_fine = row.status == "success" and row.error_message is None
        return self._is_wanted(MODEL) and not (self._of_trouble and is_fine)

    @property
    def _of_trouble(self) -> bool:
        """True if only failures pass, and what is at least a warning, as failures are."""
        return self.failed or self.severity >= _WARNING

    def _is_wanted(self, kind: str) -> bool:
        return self.only is None or (
            kind in self.only
            or (TOOL in self.only and kind in _TOOLS)
            or ("event" in self.only and kind not in _NO_EVENTS)
        )

    def asked(self) -> tuple[Filter, ...]:
        """Return the filters as those that cursors are made for."""
        return tuple(Filter(each.name, "=", getattr(self, each.name)) for each in fields(self))


_NONE = StepFilters()


def _checked_kinds(only: Any) -> tuple[str, ...] | None:
    if only is None:
        return None
    kinds = [only] if isinstance(only, str) else only
    if not isinstance(kinds, Collection) or not all(isinstance(kind, str) for kind in kinds):
        raise InvalidValueError(
            f'only is "model", "tool", "span", "run", "event", the type of an event, or several '
            f"of these, not {only!r}.",
            field="only",
        )
    return tuple(sorted({*kinds}))


def _all_words(found: Found) -> str:
    """Return everything that a step says, in small letters."""
    words = (each for row in found.rows for each in row if isinstance(each, str))
    return " ".join((found.line.name, *words)).casefold()
