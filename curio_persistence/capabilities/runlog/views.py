"""Answer what follows from a run log, from the few entries that the answer depends on.

Each answer is that of a `Replay` of the whole log. It is made by the same code, which is given only
entries of the kinds that it looks at, found by their index.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from heapq import merge
from itertools import islice
from operator import attrgetter

from curio_persistence.capabilities.runlog.session_log import PAGE, SessionLog
from curio_persistence.runlog.context import Contexts, Message, sequence_of
from curio_persistence.runlog.decisions import DECISION_KINDS, Decisions, RuntimeDecisionState
from curio_persistence.runlog.entries import (
    AssistantStepCommitted,
    CommittedStep,
    CompactionApplied,
    ContextAssembled,
    GoalMilestonesUpdated,
    IntrospectionCheckpointRecorded,
    IntrospectionOutcomeRecorded,
    IntrospectionTriggered,
    MessagesRebuilt,
    RunFailed,
    RunFinished,
    RunLogEntry,
    RunStarted,
    ToolStepCommitted,
    class_of,
)
from curio_persistence.runlog.introspection import IntrospectState
from curio_persistence.runlog.runs import RunState, RunView
from curio_persistence.runlog.steps import Marks, Ranges, StepView
from curio_persistence.runlog.values import Milestone
from curio_persistence.tables import EVENTS

_sequence = attrgetter("sequence")


def decision_state(
    log: SessionLog, *, run_id: str | None, agent_id: str | None
) -> RuntimeDecisionState:
    """Return the last decisions of a run, an agent or the session."""
    classes = [cls for kind in DECISION_KINDS if (cls := class_of(kind))]
    decisions, where = Decisions(), EVENTS.where(run_id=run_id, agent_id=agent_id)
    part = log.around(run_id)
    _feed(decisions, (part.last(cls, where) for cls in classes))
    return decisions.state(run_id=run_id, agent_id=agent_id)


def _feed(state: Decisions | RunState | Contexts, entries: Iterable[RunLogEntry | None]) -> None:
    """Apply the entries that there are, in their order."""
    for entry in sorted((each for each in entries if each is not None), key=_sequence):
        state.take(entry)


def introspect_state(log: SessionLog) -> IntrospectState:
    """Return the goal and how the reviews stand."""
    boundary = IntrospectionCheckpointRecorded, IntrospectionOutcomeRecorded
    reviews = log.all(GoalMilestonesUpdated, IntrospectionTriggered, *boundary)
    # A boundary forgets the tools before it.
    begin = max((entry.sequence for entry in reviews if isinstance(entry, boundary)), default=0)
    tools = log.walk(log.query(ToolStepCommitted, after=begin))
    state = IntrospectState()
    for entry in merge(reviews, tools, key=_sequence):
        state.take(entry)
    return state


def milestones(log: SessionLog) -> list[Milestone]:
    """Return the milestones of the goal."""
    last = log.last(GoalMilestonesUpdated)
    return [] if last is None else list(last.milestones)


# --- runs -------------------------------------------------------------------------------------


def run_view(log: SessionLog, run_id: str) -> RunView | None:
    """Return a run; None if it has not begun."""
    part = log.around(run_id)
    started = part.first(RunStarted, EVENTS.where(run_id=run_id))
    return None if started is None else _view(part, started, log.marks().rolled_back)


def run_views(log: SessionLog) -> Iterator[RunView]:
    """Yield all runs of a session, the newest first."""
    firsts: dict[str, RunStarted] = {}
    for entry in log.all(RunStarted):
        if isinstance(entry, RunStarted):
            firsts.setdefault(entry.run_id, entry)
    rolled_back = log.marks().rolled_back
    for started in sorted(firsts.values(), key=_began, reverse=True):
        yield _view(log.around(started.run_id), started, rolled_back)


def _began(started: RunStarted) -> tuple[datetime, int]:
    return started.created_at, started.sequence


def _view(log: SessionLog, started: RunStarted, rolled_back: Ranges) -> RunView:
    state, of_run, begin = RunState(started), EVENTS.where(run_id=started.run_id), started.sequence
    finished = log.last(RunFinished, of_run, after=begin)
    failed = log.last(RunFailed, of_run, after=begin)
    found: list[RunLogEntry | None] = [finished, failed]
    if finished is None or finished.response is None:
        found.append(log.last(AssistantStepCommitted, of_run, rolled_back, after=begin))
    if finished is None and failed is None:
        found.append(log.last_of_all(of_run, after=begin))
    _feed(state, found)
    return state.view(rolled_back)


# --- steps ------------------------------------------------------------------------------------


def step_views(
    log: SessionLog,
    *,
    start: int | None,
    end: int | None,
    newest: bool,
    include_rolled_back: bool,
    include_hidden_from_context: bool,
    limit: int | None,
    run_id: str | None,
    agent_id: str | None,
) -> list[StepView]:
    """Return steps by sequence, `start` and `end` included."""
    marks = log.marks()
    after = 0 if start is None else start - 1
    part, where = log.around(run_id), EVENTS.where(run_id=run_id, agent_id=agent_id)
    query = part.query(CommittedStep, after=after, until=end, newest=newest, where=where)
    leaving_out = None if include_rolled_back else marks.rolled_back
    shown = (
        marks.view(step)
        for step in _steps(log.walk(query, leaving_out, size=PAGE if limit is None else limit))
        if marks.shown(step, rolled_back=True, hidden=include_hidden_from_context)
    )
    return [*islice(shown, limit)]


def _steps(entries: Iterable[RunLogEntry]) -> Iterator[CommittedStep]:
    """Yield those of some entries that could be read as steps."""
    return (entry for entry in entries if isinstance(entry, CommittedStep))


def count_steps(log: SessionLog, *, include_hidden_from_context: bool) -> int:
    """Return the number of steps that are not rolled back."""
    marks = log.marks()
    if not include_hidden_from_context and marks.hidden:
        steps = _steps(log.walk(log.query(CommittedStep), marks.rolled_back))
        return sum(marks.shown(step, hidden=False) for step in steps)
    gone = (
        log.query(CommittedStep, after=start - 1, until=end) for start, end in marks.rolled_back
    )
    return log.count(log.query(CommittedStep)) - sum(map(log.count, gone))


# --- the next messages ------------------------------------------------------------------------


def context(log: SessionLog, *, agent_id: str | None, after_compaction: bool) -> list[Message]:
    """Return the messages that an agent sends next: the agent of the last outermost run."""
    marks = log.marks()
    agent_id = agent_id or _outermost_agent(log, marks.rolled_back)
    contexts = Contexts()
    _feed(contexts, _of_context(log, marks, agent_id, after_compaction=after_compaction))
    return contexts.messages(marks, agent_id=agent_id, after_compaction=after_compaction)


def _of_context(
    log: SessionLog, marks: Marks, agent_id: str | None, *, after_compaction: bool
) -> Iterator[RunLogEntry]:
    """Yield the last beginning, the steps that its messages name, and what comes after it."""
    gone, of_agent, begin = marks.rolled_back, EVENTS.where(agent_id=agent_id), 0
    assembled = log.last(ContextAssembled, of_agent, gone)
    rebuilt = log.last(MessagesRebuilt, of_agent, gone)
    beginning = _later(assembled, rebuilt)
    if beginning is not None:
        yield beginning
        if after_compaction:
            begin = beginning.sequence
            named = map(sequence_of, beginning.messages)
            yield from log.steps_at({seq for seq in named if 0 < seq < begin}, of_agent)
    following = log.query(CommittedStep, CompactionApplied, after=begin, where=of_agent)
    yield from log.walk(following, gone)


def _later(
    assembled: ContextAssembled | None, rebuilt: MessagesRebuilt | None
) -> ContextAssembled | MessagesRebuilt | None:
    if assembled is None or rebuilt is None:
        return assembled or rebuilt
    return rebuilt if rebuilt.sequence > assembled.sequence else assembled


def _outermost_agent(log: SessionLog, rolled_back: Ranges) -> str | None:
    """Return the agent of the last run that no other run has started."""
    for entry in log.walk(log.query(RunStarted, newest=True), rolled_back, size=1):
        if isinstance(entry, RunStarted) and entry.parent_run_id is None:
            # A run that began again counts by its first beginning.
            first = log.first(RunStarted, EVENTS.where(run_id=entry.run_id))
            if first is not None and first.sequence == entry.sequence:
                return entry.agent_id
    return None
