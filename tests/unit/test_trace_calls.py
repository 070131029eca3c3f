"""Of model calls within one another each answer counts once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from curio_persistence.importers.common.writer import SourceLocation
from curio_persistence.importers.traces.calls import counted_calls
from curio_persistence.importers.traces.steps import ModelCall, Step

NINE = datetime(2026, 5, 20, 9, tzinfo=UTC)
UNKNOWN, TOLD = ModelCall(), ModelCall(input_tokens=1)


def step(name: str, parent: str | None = None, call: ModelCall | None = None) -> Step:
    return Step(name, parent, name, "llm", NINE, NINE, SourceLocation("x"), call=call)


@pytest.mark.parametrize(
    ("outer", "inner", "outermost", "counted"),
    [
        (TOLD, TOLD, False, {"inner"}),
        (TOLD, TOLD, True, {"outer"}),
        (TOLD, UNKNOWN, False, {"outer"}),
        (UNKNOWN, TOLD, True, {"inner"}),
        (UNKNOWN, UNKNOWN, False, {"inner"}),
        (UNKNOWN, UNKNOWN, True, {"outer"}),
    ],
)
def test_one_of_two_counts(
    outer: ModelCall, inner: ModelCall, outermost: bool, counted: set[str]
) -> None:
    steps = [step("outer", call=outer), step("between", "outer"), step("inner", "between", inner)]
    assert counted_calls(steps, outermost=outermost) == counted


def test_all_answers_below_a_call_count() -> None:
    steps = [step("outer", call=TOLD), step("a", "outer", TOLD), step("b", "outer", UNKNOWN)]
    assert counted_calls(steps) == {"a", "b"}


def test_calls_beside_each_other_count() -> None:
    steps = [
        step("root"),
        step("a", "root", TOLD),
        step("b", "root", TOLD),
        step("c", "lost", TOLD),
    ]
    assert counted_calls(steps) == {"a", "b", "c"}
