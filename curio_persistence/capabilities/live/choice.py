"""The choice of what a stream tells."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, TypedDict

from curio_persistence.capabilities.live.reading import KINDS, Entry
from curio_persistence.errors import InvalidValueError
from curio_persistence.store.filters import refuse_unknown
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS


class LiveFilters(TypedDict, total=False):
    """The filters of a stream; an item must pass all that are given."""

    kinds: str | Collection[str] | None
    agent_id: str | Collection[str] | None
    run_id: str | Collection[str] | None
    session_id: str | Collection[str] | None


@dataclass(frozen=True)
class Choice:
    """The values of each filter, or None for all."""

    kinds: frozenset[str]
    agent_id: frozenset[str] | None = None
    run_id: frozenset[str] | None = None
    session_id: frozenset[str] | None = None

    def passes(self, entry: Entry) -> bool:
        """Return whether an entry passes all filters."""
        return (
            entry.kind in self.kinds
            and (self.agent_id is None or entry.agent_id in self.agent_id)
            and (self.run_id is None or entry.run_id in self.run_id)
            and (self.session_id is None or entry.session_id in self.session_id)
        )


def choice_of(filters: LiveFilters) -> Choice:
    """Return the choice that keywords describe.

    Raise TypeError for an unknown name, InvalidValueError for a value that no record can have.
    """
    refuse_unknown(filters, LiveFilters)
    kinds = filters.get("kinds")
    return Choice(
        frozenset(KINDS.values()) if kinds is None else _checked_kinds(kinds),
        *(
            _checked(EVENTS, name, filters.get(name))
            for name in ("agent_id", "run_id", "session_id")
        ),
    )


def _checked_kinds(kinds: Any) -> frozenset[str]:
    given = [kinds] if isinstance(kinds, str) or not isinstance(kinds, Collection) else [*kinds]
    known = [*KINDS.values()]
    for kind in given:
        if kind not in known:
            raise InvalidValueError(f"kinds are {', '.join(known)}, not {kind!r}.", field="kinds")
    return frozenset(given)


def _checked(table: Table[Any], name: str, value: Any) -> frozenset[str] | None:
    if value is None:
        return None
    wanted = table.filter_any(name, value).value
    return frozenset({wanted} if isinstance(wanted, str) else wanted)
