"""The alignment of the steps of two runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curio_persistence import AgentRun, AgentRunEvent
from curio_persistence.views.common import in_common
from curio_persistence.views.comparison import ComparedStep, aligned, compared, step_to_compare
from curio_persistence.views.steps import step_of

BEGIN = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
RUN = AgentRun("agent", "run")


def step(
    name: str = "", kind: str = "tool_call", took_ms: float | None = None, **said: Any
) -> ComparedStep:
    data = {"tool_name": name, **said}
    event = AgentRunEvent("agent", "run", "", BEGIN, kind, data, id=1)
    return step_to_compare(RUN, replace(step_of(event), took_ms=took_ms))


@pytest.mark.parametrize(
    ("first", "second", "paths"),
    [
        (1, 1.0, []),
        (1, True, [""]),
        ({"a": None}, {}, []),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, [".a[1].b"]),
        ([1, 2], [1], ["[1]"]),
        ({"a": {}}, {"a": []}, [".a"]),
        ("1", 1, [""]),
    ],
)
def test_values_are_compared_by_path(first: Any, second: Any, paths: list[str]) -> None:
    pair = compared(step(args=first), step(args=second))
    assert [each.path for each in pair.differences] == [f"args{path}" for path in paths]


@pytest.mark.parametrize(
    ("first", "second", "differs"),
    [(1, 900, False), (1, 1001, True), (3000, 5900, False), (6000, 3000, True), (None, 9e9, False)],
)
def test_only_a_large_change_of_latency_is_a_difference(
    first: float | None, second: float | None, differs: bool
) -> None:
    pair = compared(step(took_ms=first), step(took_ms=second))
    assert [each.path for each in pair.differences] == ["latency_ms"] * differs


def test_equal_steps_are_matched_before_similar_ones() -> None:
    a, b, c, other = (step("search", q=q) for q in "abcx")
    assert [pair.change for pair in aligned([a, b, c], [b, c])] == [
        "only in first",
        "equal",
        "equal",
    ]
    assert [pair.change for pair in aligned([a, b], [other, b])] == ["changed", "equal"]


STEPS = st.lists(
    st.builds(
        step, st.sampled_from("ab"), st.sampled_from(["tool_call", "note"]), q=st.integers(0, 2)
    )
)


@given(STEPS, STEPS)
def test_every_step_has_its_place(first: list[ComparedStep], second: list[ComparedStep]) -> None:
    pairs = aligned(first, second)
    assert [pair.first for pair in pairs if pair.first] == first
    assert [pair.second for pair in pairs if pair.second] == second
    assert pairs == aligned(first, second)
    assert all(
        pair.first.step.kind == pair.second.step.kind
        for pair in pairs
        if pair.first and pair.second
    )


def longest(first: str, second: str) -> int:
    row = [0] * (len(second) + 1)
    for one in first:
        above, row = row, [0]
        for j, other in enumerate(second):
            row.append(above[j] + 1 if one == other else max(above[j + 1], row[j]))
    return row[-1]


@given(st.text("abc"), st.text("abc"))
def test_as_many_steps_as_possible_are_matched(first: str, second: str) -> None:
    pairs = in_common(first, second)
    assert all(first[i] == second[j] for i, j in pairs)
    assert all(i < i_next and j < j_next for (i, j), (i_next, j_next) in pairwise(pairs))
    assert len(pairs) == longest(first, second)


@pytest.mark.slow
@given(STEPS)
def test_a_run_is_equal_to_itself(steps: list[ComparedStep]) -> None:
    later = [replace(each, step=replace(each.step, at=BEGIN + timedelta(days=1))) for each in steps]
    assert {pair.change for pair in aligned(steps, later)} <= {"equal"}
