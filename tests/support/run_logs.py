"""Entries of run logs with any values, and whole histories, for property tests."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from random import Random
from typing import Any, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from curio_persistence.runlog import values
from curio_persistence.runlog.entries import (
    CommittedStep,
    RunLogEntry,
    RunLogEntryKind,
    RunStarted,
    class_of,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
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


RUNS = {"run-1": "guide", "run-2": "guide", "run-3": "helper"}
"""The runs of a history, and their agents; the last one is a child of the first."""


def history(random: Random, size: int, session_id: str = "chat") -> list[RunLogEntry]:
    """Return entries of a session as they may come, in their order, some of them senseless."""
    began = {run: _entry(random, RunStarted, run, session_id) for run in RUNS}
    some = [_entry(random, _any_kind(random), _any_run(random), session_id) for _ in range(size)]
    for run, started in zip(RUNS, random.sample(range(size), len(RUNS)), strict=True):
        some[started] = began[run]
    sequences = sorted(random.sample(range(1, 2 * size), size))
    return [replace(entry, sequence=at) for at, entry in zip(sequences, some, strict=True)]


def _any_run(random: Random) -> str:
    return random.choice([*RUNS])


def _any_kind(random: Random) -> type[RunLogEntry]:
    """Return steps more often than others."""
    steps = [cls for cls in KINDS if issubclass(cls, CommittedStep)]
    return random.choice(KINDS if random.random() < 0.4 else steps)


def _entry(random: Random, cls: type[RunLogEntry], run: str, session_id: str) -> RunLogEntry:
    hints = _own_hints(cls)  # type: ignore[arg-type]  # mypy misses the hash of a class.
    own = {name: _some(random, name, hint) for name, hint in hints.items()}
    if cls is RunStarted:
        own["parent_run_id"] = "run-1" if run == "run-3" else None
    place: dict[str, Any] = {"session_id": session_id, "run_id": run, "agent_id": RUNS[run]}
    return cls(**place, **own, created_at=NOON + timedelta(seconds=random.randrange(10_000)))


@cache
def _own_hints(cls: type) -> dict[str, Any]:
    common = {each.name for each in fields(RunLogEntry)}
    hints = get_type_hints(cls)
    return {each.name: hints[each.name] for each in fields(cls) if each.name not in common}


def _some(random: Random, name: str, hint: Any) -> Any:
    """Return a value of a type, often one that means something to other entries."""
    if name == "step_id":
        return f"step-{random.randrange(40)}"
    if name == "step_ids":
        return [f"step-{random.randrange(60)}" for _ in range(random.randrange(3))]
    if name == "reason":
        return random.choice(["compaction", "updated", "completed"])
    if name == "name":
        return random.choice(["search", "review_trajectory", None])
    if name == "messages":
        return [_message(random) for _ in range(random.randrange(4))]
    if name == "milestones":
        words = ["pending", "active", "completed"]
        return [values.Milestone(f"m{n}", "", random.choice(words)) for n in range(3)]
    return _of_type(random, hint)


def _of_type(random: Random, hint: Any) -> Any:
    if hint in (int, float, bool):
        return hint(random.randrange(60))
    if hint in (dict[str, Any], list[dict[str, Any]]):
        return hint.__origin__()
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return random.choice([*hint])
    if get_origin(hint) is list:
        return [_of_type(random, get_args(hint)[0]) for _ in range(random.randrange(3))]
    if hint is str or str in get_args(hint):
        return f"text {random.randrange(1000)}"
    return None


def _message(random: Random) -> dict[str, Any]:
    message = {"role": random.choice(["system", "user"]), "content": f"{random.randrange(99)}"}
    return message | ({"_sequence": random.randrange(60)} if random.random() < 0.5 else {})
