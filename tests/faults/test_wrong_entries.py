"""An entry with any values is refused when it is appended, or every question is answered."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import MISSING, Field, fields
from typing import Any

import pytest

from curio_persistence import InMemoryPersistence, InvalidValueError
from curio_persistence.capabilities.runlog import RunLog
from curio_persistence.runlog.entries import (
    RunLogEntry,
    RunLogEntryKind,
    RunStarted,
    UnknownEntry,
    class_of,
)
from curio_persistence.runlog.values import ContentPart, Milestone, StepMetrics
from tests.support import soak
from tests.support.entries import assistant, made, user

TIMES = 30 * soak.FACTOR
JUNK: list[Callable[[], Any]] = [
    *(lambda value=value: value for value in (None, 0, 7, -1, True, 10**30, 1.5, float("nan"))),
    *(lambda value=value: value for value in ("", "x", "\0", "\ud800", b"x", object(), {"x"})),
    *(lambda value=value: value for value in ((), [], {}, ["a"], [None], [7], [["x"]], {"a": 1})),
    lambda: [{"_sequence": "x"}, {"_sequence": 10**30}, {"role": 7}],
    lambda: [Milestone([], None)],  # type: ignore[arg-type]
    lambda: [ContentPart(7, 7)],  # type: ignore[arg-type]
    lambda: StepMetrics(duration_ms="x"),  # type: ignore[arg-type]
    lambda: {"duration_ms": "x", "start_at": 7},
]
QUESTIONS: list[Callable[[RunLog], object]] = [
    lambda log: log.entries("chat"),
    lambda log: log.step_views("chat"),
    lambda log: log.count_steps("chat", include_hidden_from_context=False),
    lambda log: log.context("chat"),
    lambda log: log.context("chat", after_compaction=False),
    lambda log: log.run_views("chat"),
    lambda log: log.decision_state("chat"),
    lambda log: log.introspect_state("chat"),
    lambda log: log.milestones("chat"),
    lambda log: log.condense_step("chat", "none", "x"),
    lambda log: log.replay("chat").context(),
]


def own_fields(cls: type[RunLogEntry]) -> Iterator[Field[Any]]:
    common = {each.name for each in fields(RunLogEntry)}
    return (each for each in fields(cls) if each.name not in common)


def is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


@pytest.mark.parametrize("kind", [*RunLogEntryKind])
def test_an_entry_with_any_values_is_refused_or_harmless(kind: RunLogEntryKind) -> None:
    cls, chance = class_of(kind), random.Random(kind)
    assert cls is not None
    for _ in range(TIMES):
        given = {
            each.name: chance.choice(JUNK)()
            for each in own_fields(cls)
            if is_required(each) or chance.random() < 0.4
        }
        with InMemoryPersistence() as persistence:
            log = persistence.runlog
            log.append("chat", [made(RunStarted), user("u1"), assistant("a1")])
            with suppress(InvalidValueError):
                log.append("chat", [made(cls, **given)])
            for ask in QUESTIONS:
                ask(log)


def test_an_unknown_entry_may_hold_anything() -> None:
    with InMemoryPersistence() as persistence:
        for make in JUNK:
            persistence.runlog.append("chat", [made(UnknownEntry, kind="odd", data=make())])
        assert len(persistence.runlog.entries("chat")) == len(JUNK)
