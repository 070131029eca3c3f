"""Groups failures by what their messages mean."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from curio_persistence.capabilities.failures import (
    FailureGroup,
    Group,
    WhereOf,
    grouped,
    records_of,
)
from curio_persistence.capabilities.similarity.models import Model
from curio_persistence.results.pages import Records
from curio_persistence.store.base import Store


def similar_failures(
    store: Store, where_of: WhereOf, model: Model, least: float
) -> Records[FailureGroup]:
    """Return the groups of failures, merged where agent, tool or model, and meaning are the same.

    The most frequent messages come first; each takes those that are at least so similar to it.
    """
    groups = grouped(store, where_of)
    messages = sorted({message for _, _, message in groups})
    vectors = dict(zip(messages, model.vectors(messages), strict=True))
    by_name: dict[tuple[str, str], dict[str, Group]] = defaultdict(dict)
    for (kind, name, message), group in groups.items():
        by_name[kind, name][message] = group
    return records_of(
        group for of_name in by_name.values() for group in _merged(of_name, vectors, least)
    )


def _merged(groups: Mapping[str, Group], vectors: Mapping[str, Any], least: float) -> list[Group]:
    leaders: list[tuple[Any, Group]] = []
    for message in sorted(groups, key=lambda each: (-groups[each].count, each)):
        vector, group = vectors[message], groups[message]
        scores = [float(vector @ other) for other, _ in leaders]
        best = max(range(len(leaders)), key=scores.__getitem__, default=None)
        if best is not None and scores[best] >= least:
            leaders[best][1].merge(group)
        else:
            leaders.append((vector, group))
    return [group for _, group in leaders]
