"""The filters of the history of alerts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from curio_persistence.capabilities.record_filter import Condition, FilterKind
from curio_persistence.capabilities.windows import TimeLike
from curio_persistence.errors import InvalidValueError
from curio_persistence.store.filters import Filter, Where
from curio_persistence.tables import ALERT_HISTORY

_STATES: Mapping[str, Where] = {
    "firing": (Filter("resolved_at", "is null"), Filter("error", "is null")),
    "failing": (Filter("resolved_at", "is null"), Filter("error", "is not null")),
    "resolved": (Filter("resolved_at", "is not null"),),
}


class AlertFilters(TypedDict, total=False):
    """The filters of alerts; an alert must pass all that are given."""

    rule_id: str | None
    alert_id: str | None
    state: str | None
    since: TimeLike | None
    until: TimeLike | None


def _checked_state(state: Any) -> str:
    if state not in _STATES:
        raise InvalidValueError(
            f"state is firing, failing or resolved, not {state!r}.", field="state"
        )
    return str(state)


ALERT_FILTERS = FilterKind(
    ALERT_HISTORY,
    AlertFilters,
    conditions={"state": Condition(_checked_state, lambda state: _STATES[state])},
)
