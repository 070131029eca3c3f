"""Replays of a log: what a runtime knew at any step, from the entries up to there."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from curio_persistence.errors import InvalidValueError
from curio_persistence.runlog.context import Contexts
from curio_persistence.runlog.decisions import Decisions, RuntimeDecisionState
from curio_persistence.runlog.entries import RunLogEntry
from curio_persistence.runlog.introspection import IntrospectState
from curio_persistence.runlog.runs import RunStates, RunView
from curio_persistence.runlog.steps import StepStates, StepView
from curio_persistence.runlog.values import Milestone


class Replay:
    """The state of a session after some of its entries, which are taken in their order.

    Every answer is that of the entries so far, so that more can be taken at any time.
    """

    def __init__(self, entries: Iterable[RunLogEntry] = ()) -> None:
        self.session_id: str | None = None
        self.sequence = 0
        """The sequence of the last entry."""
        self._steps = StepStates()
        self._runs = RunStates()
        self._decisions = Decisions()
        self._introspect = IntrospectState()
        self._contexts = Contexts()
        self.take(*entries)

    def take(self, *entries: RunLogEntry) -> None:
        """Apply the next entries; InvalidValueError if they are of another session or not next."""
        for entry in entries:
            self._check(entry)
            for part in (
                self._steps,
                self._runs,
                self._decisions,
                self._introspect,
                self._contexts,
            ):
                part.take(entry)
            self.session_id, self.sequence = entry.session_id, entry.sequence

    def _check(self, entry: RunLogEntry) -> None:
        if self.session_id not in (None, entry.session_id):
            raise InvalidValueError(
                f"A replay is of one session: {self.session_id!r:.80}, not "
                f"{entry.session_id!r:.80}.",
                field="RunLogEntry.session_id",
            )
        if entry.sequence < self.sequence:
            raise InvalidValueError(
                f"Entries are replayed by sequence: {entry.sequence} comes before "
                f"{self.sequence}. Sort them.",
                field="RunLogEntry.sequence",
            )

    def run_view(self, run_id: str) -> RunView | None:
        """Return a run; None if it has not begun."""
        return self._runs.view(run_id, self._steps.marks.rolled_back)

    def run_views(self) -> list[RunView]:
        """Return all runs, the newest first."""
        return self._runs.views(self._steps.marks.rolled_back)

    def step_views(
        self,
        *,
        start: int | None = None,
        end: int | None = None,
        run_id: str | None = None,
        agent_id: str | None = None,
        include_rolled_back: bool = False,
        include_hidden_from_context: bool = True,
        limit: int | None = None,
        order: str = "asc",
    ) -> list[StepView]:
        """Return steps by sequence, `start` and `end` included."""
        return self._steps.views(
            start=start,
            end=end,
            run_id=run_id,
            agent_id=agent_id,
            include_rolled_back=include_rolled_back,
            include_hidden_from_context=include_hidden_from_context,
            limit=limit,
            order=order,
        )

    def count_steps(self, *, include_hidden_from_context: bool = True) -> int:
        """Return the number of steps that are not rolled back."""
        return self._steps.count(include_hidden_from_context=include_hidden_from_context)

    def context(
        self, *, agent_id: str | None = None, after_compaction: bool = True
    ) -> list[dict[str, Any]]:
        """Return the messages that an agent sends next: the agent of the last outermost run.

        `runlog.context` says how they follow from the entries. Without `after_compaction` they are
        the system prompt and all steps.
        """
        marks = self._steps.marks
        return self._contexts.messages(
            marks,
            agent_id=agent_id or self._runs.outermost_agent(marks.rolled_back),
            after_compaction=after_compaction,
        )

    def decision_state(
        self, *, run_id: str | None = None, agent_id: str | None = None
    ) -> RuntimeDecisionState:
        """Return the last decisions of a run, an agent or the session."""
        return self._decisions.state(run_id=run_id, agent_id=agent_id)

    def introspect_state(self) -> IntrospectState:
        """Return the goal and how the reviews stand."""
        return deepcopy(self._introspect)

    def milestones(self) -> list[Milestone]:
        """Return the milestones of the goal."""
        return list(self._introspect.goal.milestones)


def replay(entries: Iterable[RunLogEntry], until_seq: int | None = None) -> Replay:
    """Return the state after entries of a session, in any order, up to a sequence."""
    by_sequence = sorted(entries, key=lambda entry: entry.sequence)
    if until_seq is not None:
        by_sequence = [entry for entry in by_sequence if entry.sequence <= until_seq]
    return Replay(by_sequence)
