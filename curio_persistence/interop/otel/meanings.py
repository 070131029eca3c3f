"""The meanings of stored spans, with their words as far as these were kept."""

from __future__ import annotations

from collections.abc import Collection

from curio_persistence.interop.otel.facts import facts_in, without_words
from curio_persistence.interop.otel.meaning import meaning_of
from curio_persistence.interop.otel.neighbours import Key, of_keys
from curio_persistence.interop.otel.records import source_of, span_of
from curio_persistence.interop.otel.spans import Meaning, Source
from curio_persistence.models import AgentSpan
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter
from curio_persistence.tables import SOURCES, SPANS

UNKNOWN = "unknown"
"""Stands for the name of a service that tells none."""


def stored_meaning(record: AgentSpan, source: Source) -> Meaning:
    """Return what a stored span means; without words if these were not kept, or are gone."""
    facts, meaning = facts_in(record.meaning), meaning_of(span_of(record, source))
    if record.attributes is not None and meaning.kind is facts.kind:
        return meaning
    return meaning if without_words(meaning) == facts else facts


def meanings_of(store: Store, keys: Collection[Key]) -> dict[Key, Meaning]:
    """Return the meanings of stored spans."""
    records = [
        record
        for where in of_keys("span_id", keys)
        for record in SPANS.decode(store.select(SPANS, where))
        if (record.trace_id, record.span_id) in keys
    ]
    sources = sources_by_id(store, {record.source_id or "" for record in records})
    return {
        (record.trace_id, record.span_id): stored_meaning(
            record, sources.get(record.source_id or "", Source())
        )
        for record in records
    }


def sources_by_id(store: Store, source_ids: Collection[str]) -> dict[str, Source]:
    """Return stored sources by their ids."""
    if not source_ids:
        return {}
    where = (Filter("source_id", "in", tuple(source_ids)),)
    records = SOURCES.decode(store.select(SOURCES, where))
    return {record.source_id: source_of(record) for record in records}


def services(store: Store, source_ids: Collection[str]) -> dict[str, str]:
    """Return the names of services by the ids of their sources, of those that tell it."""
    where = (Filter("source_id", "in", tuple(source_ids)),)
    rows = store.select_columns(SOURCES, ("source_id", "service_name"), where)
    return {source_id: name for source_id, name in rows if name}
