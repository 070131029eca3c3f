"""The goal of a session with its milestones, and how the agent's reviews of its way stand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import datetime

from curio_persistence.runlog.entries import (
    GoalMilestonesUpdated,
    IntrospectionCheckpointRecorded,
    IntrospectionOutcomeRecorded,
    IntrospectionTriggered,
    RunLogEntry,
    ToolStepCommitted,
)
from curio_persistence.runlog.values import Milestone

REVIEW_TOOL = "review_trajectory"
"""The tool by which an agent reviews its way; its own steps are not counted."""


@dataclass(slots=True)
class GoalState:
    """The latest milestones."""

    milestones: list[Milestone] = field(default_factory=list)
    active_milestone_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class IntrospectionCheckpoint:
    """Up to this sequence the agent was on its way."""

    seq: int
    milestone_id: str = ""
    confirmed_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PendingTrigger:
    """A review that the agent was asked for, and has not ended."""

    trigger_reason: str
    active_milestone_id: str | None = None
    review_count_since_boundary: int = 0
    trigger_tool_call_id: str | None = None
    trigger_tool_step_id: str | None = None
    notice_step_id: str | None = None


@dataclass(slots=True)
class IntrospectionState:
    """How the reviews stand; `consecutive_errors` is not in the log, so always 0."""

    review_count_since_boundary: int = 0
    last_boundary_seq: int = 0
    latest_aligned_checkpoint: IntrospectionCheckpoint | None = None
    pending_trigger: PendingTrigger | None = None
    notice_requested: bool = False
    pending_milestone_switch: bool = False
    consecutive_errors: int = 0


@dataclass(slots=True)
class IntrospectState:
    """The goal and the reviews of a session."""

    goal: GoalState = field(default_factory=GoalState)
    introspection: IntrospectionState = field(default_factory=IntrospectionState)

    def take(self, entry: RunLogEntry) -> None:
        """Apply the next entry, if it is one of these."""
        if isinstance(entry, ToolStepCommitted):
            self._count(entry)
        elif isinstance(entry, GoalMilestonesUpdated):
            self._update(entry)
        elif isinstance(entry, IntrospectionTriggered):
            self._trigger(entry)
        elif isinstance(entry, IntrospectionCheckpointRecorded):
            self._confirm(entry)
        elif isinstance(entry, IntrospectionOutcomeRecorded):
            self._end(entry)

    def _count(self, step: ToolStepCommitted) -> None:
        state = self.introspection
        if step.name != REVIEW_TOOL and step.sequence > state.last_boundary_seq:
            state.review_count_since_boundary += 1

    def _update(self, entry: GoalMilestonesUpdated) -> None:
        goal, active = self.goal, entry.active_milestone_id or _active(entry.milestones)
        switched = goal.active_milestone_id not in (None, active)
        if switched or entry.reason in ("completed", "activated") or self._completes(entry):
            self.introspection.pending_milestone_switch = True
        goal.milestones, goal.active_milestone_id = list(entry.milestones), active

    def _completes(self, entry: GoalMilestonesUpdated) -> bool:
        completed = {each.id for each in self.goal.milestones if each.status == "completed"}
        return any(
            each.status == "completed" and each.id not in completed for each in entry.milestones
        )

    def _trigger(self, entry: IntrospectionTriggered) -> None:
        state = self.introspection
        told = {each.name: getattr(entry, each.name) for each in fields(PendingTrigger)}
        state.pending_trigger = PendingTrigger(**told)
        state.notice_requested = True
        state.pending_milestone_switch = False

    def _confirm(self, entry: IntrospectionCheckpointRecorded) -> None:
        self.introspection.latest_aligned_checkpoint = IntrospectionCheckpoint(
            seq=entry.checkpoint_seq,
            milestone_id=entry.milestone_id or "",
            confirmed_at=entry.created_at,
        )
        self._begin_after(entry.checkpoint_seq)

    def _end(self, entry: IntrospectionOutcomeRecorded) -> None:
        state = self.introspection
        state.pending_trigger = None
        state.notice_requested = state.pending_milestone_switch = False
        self._begin_after(entry.boundary_seq)

    def _begin_after(self, boundary: int) -> None:
        self.introspection.review_count_since_boundary = 0
        self.introspection.last_boundary_seq = boundary


def _active(milestones: Iterable[Milestone]) -> str | None:
    return next((each.id for each in milestones if each.status == "active"), None)
