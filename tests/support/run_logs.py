"""Entries of run logs with any values, for property tests."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from curio_persistence.runlog import values
from curio_persistence.runlog.entries import CommittedStep, RunLogEntry, RunLogEntryKind, class_of

TEXTS = st.text(max_size=8) | st.sampled_from(["__datetime__", "-__datetime__", '{"__type": 1}'])
NUMBERS = st.integers(0, 50)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
FREE = st.recursive(
    st.none() | st.booleans() | NUMBERS | FLOATS | TEXTS | TIMES,
    lambda each: st.lists(each, max_size=3) | st.dictionaries(TEXTS, each, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(TEXTS, FREE, max_size=3)

BY_HINT: dict[Any, st.SearchStrategy[Any]] = {
    int: NUMBERS,
    float: FLOATS,
    str: TEXTS,
    bool: st.booleans(),
    datetime: TIMES,
    dict[str, Any]: OBJECTS,
    list[dict[str, Any]]: st.lists(OBJECTS, max_size=3),
    list[str]: st.lists(TEXTS, max_size=3),
    list[int]: st.lists(NUMBERS, max_size=3),
}
for word in (values.TerminationReason, values.MessageRole, values.ContentType):
    BY_HINT[word] = st.sampled_from(word)


def of_class(cls: type, **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return objects of a dataclass, whose fields have any values of their types."""
    hints = get_type_hints(cls)
    own = {field.name: of_hint(hints[field.name]) for field in fields(cls)}
    return st.builds(cls, **{**own, **given})


def of_hint(hint: Any) -> st.SearchStrategy[Any]:
    """Return values of a type."""
    if hint in BY_HINT:
        return BY_HINT[hint]
    members = get_args(hint)
    if get_origin(hint) is list:
        return st.lists(of_hint(members[0]), max_size=3)
    if members:
        return st.one_of(*map(of_hint, members))
    return st.none() if hint is type(None) else of_class(hint)


KINDS: list[type[RunLogEntry]] = [cls for kind in RunLogEntryKind if (cls := class_of(kind))]


def entries(**given: st.SearchStrategy[Any]) -> st.SearchStrategy[RunLogEntry]:
    """Return entries of every kind."""
    return st.sampled_from(KINDS).flatmap(lambda cls: of_class(cls, **given))


def is_step(entry: RunLogEntry) -> bool:
    """Return whether an entry is a message of the conversation."""
    return isinstance(entry, CommittedStep)
