"""The kinds of entries that an agent's runtime appends to the log of a session."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from curio_persistence.runlog.registry import (
    RunLogEntry,
    UnknownEntry,
    class_of,
    register,
    registered_kinds,
)
from curio_persistence.runlog.values import (
    MessageContent,
    MessageRole,
    Milestone,
    StepMetrics,
    TerminationReason,
    UserInput,
)

__all__ = [
    "AssistantStepCommitted",
    "CommittedStep",
    "CompactionApplied",
    "CompactionFailed",
    "ContextAssembled",
    "ContextRepairApplied",
    "ContextStepsHidden",
    "GoalMilestonesUpdated",
    "HookFailed",
    "IntrospectionCheckpointRecorded",
    "IntrospectionOutcomeRecorded",
    "IntrospectionTriggered",
    "LLMCallCompleted",
    "LLMCallStarted",
    "MessagesRebuilt",
    "RetrospectApplied",
    "RunFailed",
    "RunFinished",
    "RunLogEntry",
    "RunLogEntryKind",
    "RunRolledBack",
    "RunStarted",
    "StepBackApplied",
    "StepCondensedContentUpdated",
    "TerminationDecided",
    "ToolStepCommitted",
    "UnknownEntry",
    "UserStepCommitted",
    "class_of",
    "register",
    "registered_kinds",
]


class RunLogEntryKind(StrEnum):
    """The kinds of this module: the name of each class in snake_case."""

    RUN_STARTED = "run_started"
    RUN_FINISHED = "run_finished"
    RUN_FAILED = "run_failed"
    RUN_ROLLED_BACK = "run_rolled_back"
    CONTEXT_ASSEMBLED = "context_assembled"
    MESSAGES_REBUILT = "messages_rebuilt"
    LLM_CALL_STARTED = "llm_call_started"
    LLM_CALL_COMPLETED = "llm_call_completed"
    USER_STEP_COMMITTED = "user_step_committed"
    ASSISTANT_STEP_COMMITTED = "assistant_step_committed"
    TOOL_STEP_COMMITTED = "tool_step_committed"
    COMPACTION_APPLIED = "compaction_applied"
    COMPACTION_FAILED = "compaction_failed"
    STEP_BACK_APPLIED = "step_back_applied"
    RETROSPECT_APPLIED = "retrospect_applied"
    STEP_CONDENSED_CONTENT_UPDATED = "step_condensed_content_updated"
    CONTEXT_STEPS_HIDDEN = "context_steps_hidden"
    TERMINATION_DECIDED = "termination_decided"
    HOOK_FAILED = "hook_failed"
    GOAL_MILESTONES_UPDATED = "goal_milestones_updated"
    INTROSPECTION_TRIGGERED = "introspection_triggered"
    INTROSPECTION_CHECKPOINT_RECORDED = "introspection_checkpoint_recorded"
    INTROSPECTION_OUTCOME_RECORDED = "introspection_outcome_recorded"
    CONTEXT_REPAIR_APPLIED = "context_repair_applied"


@register(RunLogEntryKind.RUN_STARTED)
@dataclass(frozen=True, kw_only=True, slots=True)
class RunStarted(RunLogEntry):
    """A run begins; `depth` is the number of runs above it."""

    user_input: UserInput | None = None
    user_id: str | None = None
    parent_run_id: str | None = None
    depth: int = 0


@register(RunLogEntryKind.RUN_FINISHED)
@dataclass(frozen=True, kw_only=True, slots=True)
class RunFinished(RunLogEntry):
    """A run ends with a response; `metrics` are those of `RunMetrics`."""

    response: str | None = None
    termination_reason: TerminationReason | None = None
    metrics: dict[str, Any] | None = None


@register(RunLogEntryKind.RUN_FAILED)
@dataclass(frozen=True, kw_only=True, slots=True)
class RunFailed(RunLogEntry):
    """A run ends with an error."""

    error: str


@register(RunLogEntryKind.RUN_ROLLED_BACK)
@dataclass(frozen=True, kw_only=True, slots=True)
class RunRolledBack(RunLogEntry):
    """The steps from one sequence to another, both included, are no longer part of the session."""

    start_sequence: int
    end_sequence: int
    reason: str


@register(RunLogEntryKind.CONTEXT_ASSEMBLED)
@dataclass(frozen=True, kw_only=True, slots=True)
class ContextAssembled(RunLogEntry):
    """The messages with which a run begins, and how many of them come from memory."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    memory_count: int = 0


@register(RunLogEntryKind.MESSAGES_REBUILT)
@dataclass(frozen=True, kw_only=True, slots=True)
class MessagesRebuilt(RunLogEntry):
    """Other messages took the place of all messages so far."""

    reason: str
    messages: list[dict[str, Any]] = field(default_factory=list)


@register(RunLogEntryKind.LLM_CALL_STARTED)
@dataclass(frozen=True, kw_only=True, slots=True)
class LLMCallStarted(RunLogEntry):
    """A model is called with these messages and tools."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    tools: list[dict[str, Any]] | None = None


@register(RunLogEntryKind.LLM_CALL_COMPLETED)
@dataclass(frozen=True, kw_only=True, slots=True)
class LLMCallCompleted(RunLogEntry):
    """A model has answered."""

    content: MessageContent | None = None
    reasoning_content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    finish_reason: str | None = None
    metrics: StepMetrics | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CommittedStep(RunLogEntry):
    """A message of the conversation. The base of three kinds."""

    step_id: str
    role: MessageRole
    content: MessageContent | None = None
    content_for_user: str | None = None
    reasoning_content: str | None = None
    user_input: UserInput | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    metrics: StepMetrics | None = None
    condensed_content: str | None = None
    parent_run_id: str | None = None
    depth: int = 0


@register(RunLogEntryKind.USER_STEP_COMMITTED)
@dataclass(frozen=True, kw_only=True, slots=True)
class UserStepCommitted(CommittedStep):
    """A user's message."""


@register(RunLogEntryKind.ASSISTANT_STEP_COMMITTED)
@dataclass(frozen=True, kw_only=True, slots=True)
class AssistantStepCommitted(CommittedStep):
    """A model's message."""


@register(RunLogEntryKind.TOOL_STEP_COMMITTED)
@dataclass(frozen=True, kw_only=True, slots=True)
class ToolStepCommitted(CommittedStep):
    """The result of a tool, which `name` names."""

    is_error: bool = False


@register(RunLogEntryKind.COMPACTION_APPLIED)
@dataclass(frozen=True, kw_only=True, slots=True)
class CompactionApplied(RunLogEntry):
    """A summary took the place of the steps from one sequence to another, both included."""

    start_sequence: int
    end_sequence: int
    before_token_estimate: int
    after_token_estimate: int
    message_count: int
    transcript_path: str
    analysis: dict[str, Any] = field(default_factory=dict)
    summary: str | None = None
    compact_model: str = ""
    compact_tokens: int = 0


@register(RunLogEntryKind.COMPACTION_FAILED)
@dataclass(frozen=True, kw_only=True, slots=True)
class CompactionFailed(RunLogEntry):
    """A compaction failed; it is not tried again if that is `terminal`."""

    error: str
    attempt: int
    max_attempts: int
    terminal: bool = False


@register(RunLogEntryKind.STEP_BACK_APPLIED)
@dataclass(frozen=True, kw_only=True, slots=True)
class StepBackApplied(RunLogEntry):
    """Results of tools since a checkpoint were condensed to what was learned from them."""

    affected_count: int
    checkpoint_seq: int
    experience: str


@register(RunLogEntryKind.RETROSPECT_APPLIED)
@dataclass(frozen=True, kw_only=True, slots=True)
class RetrospectApplied(RunLogEntry):
    """Results of tools were replaced after looking back at them; the older name of a step back."""

    affected_sequences: list[int] = field(default_factory=list)
    affected_step_ids: list[str] = field(default_factory=list)
    feedback: str | None = None
    replacement: str | None = None
    trigger: str | None = None


@register(RunLogEntryKind.STEP_CONDENSED_CONTENT_UPDATED)
@dataclass(frozen=True, kw_only=True, slots=True)
class StepCondensedContentUpdated(RunLogEntry):
    """A shorter text takes the place of a step's content in the messages."""

    step_id: str
    condensed_content: str


@register(RunLogEntryKind.CONTEXT_STEPS_HIDDEN)
@dataclass(frozen=True, kw_only=True, slots=True)
class ContextStepsHidden(RunLogEntry):
    """Some steps are no longer among the messages."""

    step_ids: list[str]
    reason: str


@register(RunLogEntryKind.TERMINATION_DECIDED)
@dataclass(frozen=True, kw_only=True, slots=True)
class TerminationDecided(RunLogEntry):
    """The runtime ends the run."""

    termination_reason: TerminationReason
    phase: str
    source: str


@register(RunLogEntryKind.HOOK_FAILED)
@dataclass(frozen=True, kw_only=True, slots=True)
class HookFailed(RunLogEntry):
    """A function of the application, called by the runtime, raised."""

    phase: str
    handler_name: str
    error: str
    critical: bool = False
    traceback: str | None = None


@register(RunLogEntryKind.GOAL_MILESTONES_UPDATED)
@dataclass(frozen=True, kw_only=True, slots=True)
class GoalMilestonesUpdated(RunLogEntry):
    """The milestones of the goal are these from now on."""

    milestones: list[Milestone] = field(default_factory=list)
    active_milestone_id: str | None = None
    source_tool_call_id: str | None = None
    source_step_id: str | None = None
    reason: str = "updated"


@register(RunLogEntryKind.INTROSPECTION_TRIGGERED)
@dataclass(frozen=True, kw_only=True, slots=True)
class IntrospectionTriggered(RunLogEntry):
    """The agent is asked to review its way."""

    trigger_reason: str
    active_milestone_id: str | None = None
    review_count_since_boundary: int = 0
    trigger_tool_call_id: str | None = None
    trigger_tool_step_id: str | None = None
    notice_step_id: str | None = None


@register(RunLogEntryKind.INTROSPECTION_CHECKPOINT_RECORDED)
@dataclass(frozen=True, kw_only=True, slots=True)
class IntrospectionCheckpointRecorded(RunLogEntry):
    """Up to this sequence the agent was on its way."""

    checkpoint_seq: int
    milestone_id: str | None = None
    review_tool_call_id: str | None = None
    review_step_id: str | None = None


@register(RunLogEntryKind.INTROSPECTION_OUTCOME_RECORDED)
@dataclass(frozen=True, kw_only=True, slots=True)
class IntrospectionOutcomeRecorded(RunLogEntry):
    """A review has ended; the next one begins after `boundary_seq`."""

    mode: str
    boundary_seq: int
    aligned: bool | None = None
    experience: str | None = None
    active_milestone_id: str | None = None
    review_tool_call_id: str | None = None
    review_step_id: str | None = None
    hidden_step_ids: list[str] = field(default_factory=list)
    notice_cleaned_step_ids: list[str] = field(default_factory=list)
    condensed_step_ids: list[str] = field(default_factory=list)
    repair_start_seq: int | None = None
    repair_end_seq: int | None = None


@register(RunLogEntryKind.CONTEXT_REPAIR_APPLIED)
@dataclass(frozen=True, kw_only=True, slots=True)
class ContextRepairApplied(RunLogEntry):
    """Steps between two sequences, both included, were condensed after a review."""

    mode: str
    affected_count: int
    start_seq: int
    end_seq: int
    experience: str
