"""The filters of a question for what is similar: those of runs, events and model calls."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypedDict, get_args

from curio_persistence.capabilities.arguments import PayloadFilter
from curio_persistence.capabilities.events import EVENT_FILTERS, EventFilters
from curio_persistence.capabilities.record_filter import FilterKind, of_their_runs
from curio_persistence.capabilities.runs import RUN_FILTERS, RunFilters
from curio_persistence.capabilities.similarity.texts import FIELDS, TextKind
from curio_persistence.capabilities.usage import USAGE_FILTERS, UsageFilters
from curio_persistence.capabilities.windows import TimeLike
from curio_persistence.clock import Clock
from curio_persistence.errors import InvalidValueError
from curio_persistence.store.filters import Where
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, USAGE


class SimilarFilters(TypedDict, total=False):
    """The filters of what is similar; a record must pass all that are given.

    Those of a run are passed by its events and model calls too. Only events have a type, a level
    and a payload, only model calls a model and a provider.
    """

    agent_id: str | None
    run_id: str | Collection[str] | None
    session_id: str | None
    user_id: str | None
    parent_run_id: str | None
    status: str | Collection[str] | None
    tags: str | Collection[str] | None
    any_tags: str | Collection[str] | None
    source: str | Collection[str] | None
    project: str | Collection[str] | None
    metadata: PayloadFilter | None
    event_type: str | Collection[str] | None
    level: str | Collection[str] | None
    min_level: str | None
    payload: PayloadFilter | None
    model: str | Collection[str] | None
    provider: str | Collection[str] | None
    since: TimeLike | None
    until: TimeLike | None


_OF_RUN = ("session_id", "user_id", "parent_run_id", "status", "source", "project")
_BY_RUN = of_their_runs(RUN_FILTERS.conditions)
_KINDS: Mapping[Table[Any], FilterKind] = {
    RUNS: FilterKind(RUNS, SimilarFilters, conditions=RUN_FILTERS.conditions),
    USAGE: FilterKind(USAGE, SimilarFilters, _OF_RUN, {**USAGE_FILTERS.conditions, **_BY_RUN}),
    EVENTS: FilterKind(EVENTS, SimilarFilters, _OF_RUN, {**EVENT_FILTERS.conditions, **_BY_RUN}),
}
_ONLY_OF: Mapping[str, Table[Any]] = {
    name: table
    for table, own in ((USAGE, UsageFilters), (EVENTS, EventFilters))
    for name in SimilarFilters.__annotations__
    if name in own.__annotations__ and name not in RunFilters.__annotations__
}
"""The filters that only one kind of records has."""
_NOUNS = {USAGE: "model calls", EVENTS: "events"}


def where_by_table(
    filters: SimilarFilters, kind: TextKind | None, clock: Clock
) -> dict[Table[Any], Where]:
    """Return the filters by table; tables are left out whose records cannot pass them.

    Raise InvalidValueError if no record can.
    """
    if kind is not None and kind not in get_args(TextKind):
        raise InvalidValueError(
            f"kind is one of {', '.join(get_args(TextKind))}, not {kind!r}.", field="kind"
        )
    only = [name for name in _ONLY_OF if filters.get(name) is not None]
    for name in only:
        _refuse_of_no_record(name, only[0], kind)
    asked = {_ONLY_OF[name] for name in only} or {t for t in _KINDS if kind in (None, *FIELDS[t])}
    return {table: _KINDS[table].of(filters).where(clock) for table in _KINDS if table in asked}


def _refuse_of_no_record(name: str, other: str, kind: TextKind | None) -> None:
    """Refuse a filter if no record has such texts, or this and another filter."""
    table = _ONLY_OF[name]
    message = f"{name} is a filter of {_NOUNS[table]}"
    if kind not in (None, *FIELDS[table]):
        kinds = " or ".join(map(repr, FIELDS[table]))
        raise InvalidValueError(f"{message}: kind is {kinds} there, not {kind!r}.", field=name)
    if table is not _ONLY_OF[other]:
        raise InvalidValueError(
            f"{message}, and {other} one of {_NOUNS[_ONLY_OF[other]]}: no record has both.",
            field=name,
        )
