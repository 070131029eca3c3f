"""Views that Agiwo's runtime rebuilds from the entries of a session."""

from __future__ import annotations

from collections.abc import Iterable

from curio_persistence.runlog.decisions import RuntimeDecisionState
from curio_persistence.runlog.entries import RunLogEntry, RunStarted
from curio_persistence.runlog.introspection import IntrospectState
from curio_persistence.runlog.replay import replay
from curio_persistence.runlog.runs import RunView
from curio_persistence.runlog.steps import StepView


def build_run_view_from_entries(entries: Iterable[RunLogEntry]) -> RunView | None:
    """Return the run that its RunStarted entry begins; None without one."""
    known = list(entries)
    started = [entry for entry in known if isinstance(entry, RunStarted)]
    if not started:
        return None
    first = min(started, key=lambda entry: entry.sequence)
    return replay(known).run_view(first.run_id)


def build_step_views_from_entries(
    entries: Iterable[RunLogEntry],
    *,
    include_rolled_back: bool = False,
    include_hidden_from_context: bool = True,
) -> list[StepView]:
    """Return the steps of a session by sequence."""
    return replay(entries).step_views(
        include_rolled_back=include_rolled_back,
        include_hidden_from_context=include_hidden_from_context,
    )


def build_runtime_decision_state_from_entries(
    entries: Iterable[RunLogEntry],
) -> RuntimeDecisionState:
    """Return the last decisions."""
    return replay(entries).decision_state()


def build_introspect_state_from_entries(entries: Iterable[RunLogEntry]) -> IntrospectState:
    """Return the goal, and how the reviews stand."""
    return replay(entries).introspect_state()
