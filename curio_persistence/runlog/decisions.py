"""The latest decisions of a runtime in a session: to end, compact, step back or roll back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from curio_persistence.clock import utc_now
from curio_persistence.runlog.entries import (
    CompactionApplied,
    CompactionFailed,
    ContextRepairApplied,
    RetrospectApplied,
    RunLogEntry,
    RunRolledBack,
    StepBackApplied,
    TerminationDecided,
)
from curio_persistence.runlog.values import TerminationReason


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Where a decision stands in the log. The base of the others."""

    session_id: str
    run_id: str
    agent_id: str
    sequence: int
    created_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class TerminationDecision(Decision):
    """The end of a run."""

    reason: TerminationReason
    phase: str
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CompactMetadata:
    """The range of a compaction, and its result."""

    session_id: str
    agent_id: str
    start_seq: int
    end_seq: int
    before_token_estimate: int
    after_token_estimate: int
    message_count: int
    transcript_path: str
    analysis: dict[str, Any] = field(default_factory=dict)
    created_at: datetime = field(default_factory=utc_now)
    compact_model: str = ""
    compact_tokens: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class CompactionDecision(Decision):
    """A summary in place of steps."""

    metadata: CompactMetadata
    summary: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CompactionFailure(Decision):
    """A compaction that failed."""

    error: str
    attempt: int
    max_attempts: int
    terminal: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class StepBackDecision(Decision):
    """The lesson from steps that led nowhere."""

    affected_count: int
    checkpoint_seq: int
    experience: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrospectDecision(Decision):
    """Results that were replaced after looking back at them."""

    affected_sequences: tuple[int, ...] = ()
    affected_step_ids: tuple[str, ...] = ()
    feedback: str | None = None
    replacement: str | None = None
    trigger: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RollbackDecision(Decision):
    """Steps that are no longer part of the session."""

    start_sequence: int
    end_sequence: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RuntimeDecisionState:
    """The last decision of each sort; None if there was none."""

    latest_termination: TerminationDecision | None = None
    latest_compaction: CompactionDecision | None = None
    latest_compaction_failure: CompactionFailure | None = None
    latest_step_back: StepBackDecision | None = None
    latest_retrospect: RetrospectDecision | None = None
    latest_rollback: RollbackDecision | None = None

    def is_empty(self) -> bool:
        """Return whether nothing was decided."""
        return all(getattr(self, each.name) is None for each in fields(self))


def _place(entry: RunLogEntry) -> dict[str, Any]:
    return {each.name: getattr(entry, each.name) for each in fields(Decision)}


def _same(cls: type[Decision]) -> Callable[[Any], Decision]:
    """Return a function that takes the fields of a decision from the entry, under their names."""
    names = [each.name for each in fields(cls)]
    return lambda entry: cls(**{name: getattr(entry, name) for name in names})


def _termination(entry: TerminationDecided) -> Decision:
    return TerminationDecision(
        **_place(entry),
        reason=entry.termination_reason,
        phase=entry.phase,
        source=entry.source,
    )


def metadata_of(entry: CompactionApplied) -> CompactMetadata:
    """Return what an entry tells of a compaction."""
    return CompactMetadata(
        session_id=entry.session_id,
        agent_id=entry.agent_id,
        start_seq=entry.start_sequence,
        end_seq=entry.end_sequence,
        before_token_estimate=entry.before_token_estimate,
        after_token_estimate=entry.after_token_estimate,
        message_count=entry.message_count,
        transcript_path=entry.transcript_path,
        analysis=dict(entry.analysis),
        created_at=entry.created_at,
        compact_model=entry.compact_model,
        compact_tokens=entry.compact_tokens,
    )


def _compaction(entry: CompactionApplied) -> Decision:
    return CompactionDecision(**_place(entry), metadata=metadata_of(entry), summary=entry.summary)


def _repair(entry: ContextRepairApplied) -> Decision:
    return StepBackDecision(
        **_place(entry),
        affected_count=entry.affected_count,
        checkpoint_seq=max(0, entry.start_seq - 1),
        experience=entry.experience,
    )


def _retrospect(entry: RetrospectApplied) -> Decision:
    return RetrospectDecision(
        **_place(entry),
        affected_sequences=tuple(entry.affected_sequences),
        affected_step_ids=tuple(entry.affected_step_ids),
        feedback=entry.feedback,
        replacement=entry.replacement,
        trigger=entry.trigger,
    )


_SORTS: Mapping[type[RunLogEntry], tuple[str, Callable[[Any], Decision]]] = {
    TerminationDecided: ("latest_termination", _termination),
    CompactionApplied: ("latest_compaction", _compaction),
    CompactionFailed: ("latest_compaction_failure", _same(CompactionFailure)),
    StepBackApplied: ("latest_step_back", _same(StepBackDecision)),
    ContextRepairApplied: ("latest_step_back", _repair),
    RetrospectApplied: ("latest_retrospect", _retrospect),
    RunRolledBack: ("latest_rollback", _same(RollbackDecision)),
}
DECISION_KINDS = tuple(cls.kind for cls in _SORTS)
"""The kinds of entries that a decision state is made of."""


class Decisions:
    """The decisions of a session, whose entries are taken one after another."""

    def __init__(self) -> None:
        # The last entry of each sort, of each run and agent: there are few.
        self._last: dict[tuple[str, str, str], RunLogEntry] = {}

    def take(self, entry: RunLogEntry) -> None:
        """Apply the next entry, if it is a decision."""
        if type(entry) in _SORTS:
            name, _ = _SORTS[type(entry)]
            key = (name, entry.run_id, entry.agent_id)
            self._last.pop(key, None)  # The dictionary keeps the order of the log.
            self._last[key] = entry

    def state(
        self, *, run_id: str | None = None, agent_id: str | None = None
    ) -> RuntimeDecisionState:
        """Return the last decisions of a run, an agent or the session."""
        latest = {
            name: entry
            for (name, run, agent), entry in self._last.items()
            if run_id in (None, run) and agent_id in (None, agent)
        }
        return RuntimeDecisionState(
            **{name: _SORTS[type(entry)][1](entry) for name, entry in latest.items()}  # type: ignore[arg-type]
        )
