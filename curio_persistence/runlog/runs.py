"""The runs of a session, as its log says."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

from curio_persistence.runlog.entries import (
    AssistantStepCommitted,
    RunFailed,
    RunFinished,
    RunLogEntry,
    RunStarted,
)
from curio_persistence.runlog.steps import Ranges
from curio_persistence.runlog.values import RunMetrics, RunStatus, TerminationReason, UserInput


@dataclass(frozen=True, kw_only=True, slots=True)
class RunView:
    """A run; without a response of its own, that is the text of its last message of the model."""

    session_id: str
    run_id: str
    agent_id: str
    status: RunStatus = RunStatus.RUNNING
    user_id: str | None = None
    response: str | None = None
    termination_reason: TerminationReason | None = None
    metrics: RunMetrics | None = None
    last_user_input: UserInput | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    parent_run_id: str | None = None


class RunState:
    """The state of one run. A finished run stays finished, even if it fails later."""

    def __init__(self, started: RunStarted) -> None:
        self.started = started
        self._last: RunLogEntry = started
        self._finished: RunFinished | None = None
        self._failed: RunFailed | None = None
        self._answers: list[AssistantStepCommitted] = []

    def take(self, entry: RunLogEntry) -> None:
        """Apply the next entry of the run."""
        self._last = entry
        if isinstance(entry, RunFinished):
            self._finished = entry
        elif isinstance(entry, RunFailed):
            self._failed = entry
        elif isinstance(entry, AssistantStepCommitted):
            self._answers.append(entry)

    def view(self, rolled_back: Ranges) -> RunView:
        """Return the run as it is now."""
        started, finished, end = self.started, self._finished, self._finished or self._failed
        response = None if finished is None else finished.response
        return RunView(
            session_id=started.session_id,
            run_id=started.run_id,
            agent_id=started.agent_id,
            status=_STATUS[type(end)],
            user_id=started.user_id,
            response=self._last_answer(rolled_back) if response is None else response,
            termination_reason=None if finished is None else finished.termination_reason,
            metrics=None if finished is None else _metrics(finished),
            last_user_input=started.user_input,
            created_at=started.created_at,
            updated_at=(end or self._last).created_at,
            parent_run_id=started.parent_run_id,
        )

    def _last_answer(self, rolled_back: Ranges) -> str | None:
        """Return the content of the last message of the model, if it is a text."""
        for step in reversed(self._answers):
            if step.sequence not in rolled_back:
                return step.content if isinstance(step.content, str) else None
        return None


_STATUS = {
    type(None): RunStatus.RUNNING,
    RunFinished: RunStatus.COMPLETED,
    RunFailed: RunStatus.FAILED,
}
_METRICS = frozenset(each.name for each in fields(RunMetrics))


def _metrics(finished: RunFinished) -> RunMetrics | None:
    if not finished.metrics:
        return None
    known = {name: value for name, value in finished.metrics.items() if name in _METRICS}
    return RunMetrics(**known)


class RunStates:
    """The runs of a session, whose entries are taken one after another."""

    def __init__(self) -> None:
        self._runs: dict[str, RunState] = {}

    def take(self, entry: RunLogEntry) -> None:
        """Apply the next entry; what comes before the beginning of its run is not part of it."""
        run = self._runs.get(entry.run_id)
        if run is not None:
            run.take(entry)
        elif isinstance(entry, RunStarted):
            self._runs[entry.run_id] = RunState(entry)

    def view(self, run_id: str, rolled_back: Ranges) -> RunView | None:
        """Return a run; None if it has not begun."""
        run = self._runs.get(run_id)
        return None if run is None else run.view(rolled_back)

    def views(self, rolled_back: Ranges) -> list[RunView]:
        """Return all runs, the newest first."""
        newest = sorted(self._runs.values(), key=_began, reverse=True)
        return [run.view(rolled_back) for run in newest]

    def outermost_agent(self, rolled_back: Ranges) -> str | None:
        """Return the agent of the last run that no other run has started."""
        for started in (run.started for run in reversed(self._runs.values())):
            if started.parent_run_id is None and started.sequence not in rolled_back:
                return started.agent_id
        return None


def _began(run: RunState) -> tuple[datetime, int]:
    return run.started.created_at, run.started.sequence
