"""Filters that look into long texts, of which the database has markers only."""

from __future__ import annotations

from typing import Any

from curio_persistence.content.resolving import SHARING
from curio_persistence.content.splitting import PART
from curio_persistence.store.filters import Filter, Order, Where, any_of, matches
from curio_persistence.store.payload_match import read_pattern
from curio_persistence.store.query import STREAM_ROWS, ReadRows, query_of
from curio_persistence.store.table import Table

_SCOPE = "content_scope"


def seeing_texts(table: Table[Any], where: Where, read: ReadRows) -> Where:
    """Return filters that the database can decide: it is told which rows with markers match.

    `read` returns rows with their long texts.
    """
    looking = tuple(f for f in where if _looks_into_texts(table, f))
    if not looking:
        return where
    others = tuple(f for f in where if f not in looking)
    ids, looked_into = _matching(table, others, looking, read)
    if not looked_into:
        return where
    with_text = (*looking, Filter(_SCOPE, "is null"))
    return (*others, any_of(with_text, (Filter("id", "in", ids),)))


def _looks_into_texts(table: Table[Any], f: Filter) -> bool:
    """Return whether a filter asks for what may be in a long text; objects keep their shape."""
    if f.column not in SHARING.get(table.name, ()):
        return False
    if f.op == "has text":
        return True
    if f.op != "contains":
        return False
    value = read_pattern(f.value).value
    return isinstance(value, str) and len(value) >= PART


def _matching(
    table: Table[Any], others: Where, looking: Where, read: ReadRows
) -> tuple[tuple[int, ...], bool]:
    """Return the ids of rows with markers that pass all filters, and whether there are others."""
    found, some = list[int](), False
    places = {name: table.names.index(name) for name in ("id", *(f.column for f in looking))}
    shared = query_of(table, (*others, Filter(_SCOPE, "is not null")), (Order("id"),))
    for page in read(shared, STREAM_ROWS):
        for values in zip(*(page[at] for at in places.values()), strict=True):
            some = True
            if matches(dict(zip(places, values, strict=True)), looking):
                found.append(values[0])
    return tuple(found), some
