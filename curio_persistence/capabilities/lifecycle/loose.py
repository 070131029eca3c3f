"""Find expired records without a run: model calls without one, and spans of a missing one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from curio_persistence.capabilities.lifecycle.trees import Forest
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Where
from curio_persistence.store.table import Table
from curio_persistence.tables import RUNS, SPANS, USAGE

_WITHOUT_RUN: Where = (Filter("run_id", "is null"),)


def loose_calls(store: Store, forest: Forest) -> Iterator[Where]:
    """Yield filters for the expired model calls that belong to no run, agent by agent."""
    if forest.cutoff is not None:
        yield from _by_agent(store, forest, USAGE, _WITHOUT_RUN)


def loose_spans(store: Store, forest: Forest) -> Iterator[Where]:
    """Yield filters for the expired spans of which no run is stored, agent by agent."""
    if forest.cutoff is None:
        return
    yield from _by_agent(store, forest, SPANS, _WITHOUT_RUN)
    old = (
        Filter("run_id", "is not null"),
        Filter("started_at", "<", encode_time(forest.cutoff)),
    )
    named = {run_id for (run_id,) in store.aggregate(SPANS, (), old, group_by=("run_id",))}
    runs = (Filter("run_id", "in", tuple(named)),)
    named -= {run_id for (run_id,) in store.select_columns(RUNS, ("run_id",), runs)}
    if named:
        yield from _by_agent(store, forest, SPANS, (Filter("run_id", "in", tuple(named)),))


def _by_agent(store: Store, forest: Forest, table: Table[Any], loose: Where) -> Iterator[Where]:
    for (agent_id,) in store.aggregate(table, (), loose, group_by=("agent_id",)):
        if (cutoff := forest.cutoff_of_calls(agent_id)) is not None:
            agent = Filter("agent_id", "is null" if agent_id is None else "=", agent_id)
            yield (*loose, agent, Filter(table.ages_by, "<", cutoff))
