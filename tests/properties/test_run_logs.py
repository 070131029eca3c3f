"""Run logs: any entry is read back as it was written, and replays are what their terms say."""

from __future__ import annotations

import json
from dataclasses import fields
from itertools import pairwise
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from curio_persistence.runlog.codecs import decode, encode
from curio_persistence.runlog.entries import (
    CommittedStep,
    ContextStepsHidden,
    RunLogEntry,
    RunRolledBack,
    StepCondensedContentUpdated,
)
from curio_persistence.runlog.replay import Replay, replay
from curio_persistence.runlog.steps import Ranges
from tests.support import run_logs

COMMON = [each.name for each in fields(RunLogEntry)]


def again(entry: RunLogEntry) -> RunLogEntry:
    """Return what is read back of an entry that was written."""
    return decode(entry.kind, encode(entry), **{name: getattr(entry, name) for name in COMMON})


@given(run_logs.entries())
def test_an_entry_of_any_kind_is_read_back_as_it_was(entry: RunLogEntry) -> None:
    assert again(entry) == entry


@given(run_logs.entries())
def test_an_entry_is_stored_as_an_object_of_its_own_fields(entry: RunLogEntry) -> None:
    stored = json.loads(encode(entry))
    assert stored.keys() <= {each.name for each in fields(entry)} - {*COMMON}


@given(st.lists(st.tuples(st.integers(-9, 30), st.integers(-9, 30)), max_size=8))
def test_ranges_are_the_numbers_in_them(given: list[tuple[int, int]]) -> None:
    ranges, numbers = Ranges(), set[int]()
    for start, end in given:
        ranges.add(start, end)
        numbers |= {*range(start, end + 1)}
    assert {number for number in range(-10, 32) if number in ranges} == numbers
    assert [*ranges] == sorted(ranges)
    assert all(end + 1 < start for (_, end), (start, _) in pairwise([*ranges]))


def answers(state: Replay) -> list[Any]:
    """Return everything that a replay answers."""
    return [
        state.run_views(),
        state.step_views(),
        state.step_views(include_rolled_back=True, agent_id="guide", order="desc", limit=7),
        state.step_views(include_hidden_from_context=False, run_id="run-2", start=9, end=70),
        state.count_steps(include_hidden_from_context=False),
        state.context(),
        state.context(agent_id="helper"),
        state.context(after_compaction=False),
        state.decision_state(),
        state.decision_state(run_id="run-1", agent_id="guide"),
        state.introspect_state(),
    ]


@given(st.integers(0), st.integers(0, 80))
def test_a_replay_up_to_a_step_is_the_state_that_there_was(seed: int, until: int) -> None:
    random = Random(seed)
    history = run_logs.history(random, 60)
    live = Replay()
    live.take(*(entry for entry in history if entry.sequence <= until))
    then = answers(live)
    live.take(*(entry for entry in history if entry.sequence > until))
    random.shuffle(history)
    assert answers(replay(history, until)) == then
    assert answers(replay(history)) == answers(live)


@given(st.integers(0))
def test_steps_are_rolled_back_hidden_and_condensed_whoever_said_so(seed: int) -> None:
    history = run_logs.history(Random(seed), 80)
    gone, hidden, condensed = set[int](), set[str](), dict[str, str]()
    for entry in history:
        if isinstance(entry, RunRolledBack):
            gone |= {*range(entry.start_sequence, entry.end_sequence + 1)}
        elif isinstance(entry, ContextStepsHidden):
            hidden |= {*entry.step_ids}
        elif isinstance(entry, StepCondensedContentUpdated):
            condensed[entry.step_id] = entry.condensed_content
    steps = [entry for entry in history if isinstance(entry, CommittedStep)]
    kept = [step for step in steps if step.sequence not in gone]
    shown = [step for step in kept if step.step_id not in hidden]
    state = replay(history)
    assert [view.sequence for view in state.step_views()] == [step.sequence for step in kept]
    for step, view in zip(shown, state.step_views(include_hidden_from_context=False), strict=True):
        assert (view.id, view.sequence) == (step.step_id, step.sequence)
        assert view.condensed_content == condensed.get(step.step_id, step.condensed_content)
    assert len(state.step_views(include_rolled_back=True)) == len(steps)
    assert state.count_steps() == len(kept)
    assert state.count_steps(include_hidden_from_context=False) == len(shown)
