"""A trajectory as a run; those embedded in it are runs that it started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from curio_persistence.errors import InvalidValueError
from curio_persistence.importers.atif.steps import StepReader
from curio_persistence.importers.sessions.places import an_object, member, objects_in
from curio_persistence.importers.sessions.records import (
    UNFINISHED,
    Found,
    SourceLocation,
    Turn,
    stable_id,
)
from curio_persistence.importers.traces.values import Values, text
from curio_persistence.models import AgentRun, AgentRunStatus, EventType, Score
from curio_persistence.tables import SCORES

if TYPE_CHECKING:
    from curio_persistence.importers.sessions.context import SessionContext
    from curio_persistence.importers.sessions.files import SessionFile

SOURCE, OURS = "atif", "curio"
_KEPT = ("schema_version", "notes", "continued_trajectory_ref", "final_metrics")
_OF_SCORE = ("name", "value", "label", "comment", "source", "span_id")
_DEEPEST = 20

Object = Mapping[str, Any]


def records(
    context: SessionContext, row: Object, location: SourceLocation, file: SessionFile
) -> Found:
    """Yield the records of a trajectory in a file, by whose name it is known if it has no ids."""
    if not isinstance(row.get("steps"), list):
        context.problem(*location, "is no trajectory of ATIF: it has no steps")
        return
    fallback = file.path.stem if location.line is None else f"{file.path.stem}:{location.line}"
    session_id = text(row.get("session_id")) or text(row.get("trajectory_id")) or fallback
    position = Position(session_id, session_id, None, datetime.fromtimestamp(file.changed, UTC), 0)
    yield from _records(context, row, location, position)


class Position(NamedTuple):
    """The place of a trajectory: in which session, and below which run."""

    session_id: str
    fallback: str
    """The id of a trajectory that has none."""
    parent_run_id: str | None
    at: datetime
    """The time of what has none."""
    depth: int
    call_id: str | None = None
    """The call of a tool that began it."""


def _records(
    context: SessionContext, row: Object, location: SourceLocation, position: Position
) -> Found:
    trajectory_id = text(row.get("trajectory_id")) or position.fallback
    turn = _turn(row, trajectory_id, location, position)
    reader = StepReader(context, turn, trajectory_id, row, location, position.at)
    found = [*reader.records()]  # These tell when it began.
    if turn.started_at is None:
        turn.saw(position.at)
    if not context.wants(text(turn.metadata.get("project")), turn.started_at):
        return
    if position.call_id is not None:
        began_id = stable_id(SOURCE, position.session_id, trajectory_id, "begin")
        kind, span_id = EventType.RUN_STARTED.value, position.call_id
        yield turn.event(began_id, kind, turn.started_at, parent_span_id=span_id), location
    yield from found
    _end(turn, row, reader)
    run = _run(turn, row, context, location)
    yield run, location
    for score in _scores(run, row, context, location):
        yield score, location
    at, calls = turn.started_at or position.at, dict(_beginnings(row["steps"]))
    for number, each in _embedded(row, context, location, position.depth):
        fallback, depth = f"{trajectory_id}.{number}", position.depth + 1
        call_id = calls.get(text(each.get("trajectory_id")))
        below = Position(position.session_id, fallback, turn.run_id, at, depth, call_id)
        yield from _records(context, each, location, below)


def _beginnings(steps: list[Any]) -> Iterator[tuple[str | None, str]]:
    """Yield the trajectories that calls of tools refer to, each with the call."""
    for step in objects_in(steps):
        for result in objects_in(member(step, "observation", "results")):
            if (call_id := text(result.get("source_call_id"))) is not None:
                for reference in objects_in(result.get("subagent_trajectory_ref")):
                    yield text(reference.get("trajectory_id")), call_id


def _turn(row: Object, trajectory_id: str, location: SourceLocation, position: Position) -> Turn:
    agent = an_object(row.get("agent"))
    told = {"version": text(agent.get("version")), **{name: row.get(name) for name in _KEPT}}
    more = {
        "agent": an_object(agent.get("extra")),
        "tool_definitions": agent.get("tool_definitions"),
    }
    extra = {name: each for name, each in an_object(row.get("extra")).items() if name != OURS}
    ours = dict(an_object(_ours(row).get("metadata")))
    ours.pop("source", None)
    metadata = {**ours, **told, **more, "extra": extra}
    return Turn(
        SOURCE,
        position.session_id,
        stable_id(SOURCE, position.session_id, trajectory_id),
        text(agent.get("name")) or SOURCE,
        parent_run_id=position.parent_run_id,
        location=location,
        metadata={name: value for name, value in metadata.items() if value not in (None, {}, [])},
    )


def _end(turn: Turn, row: Object, reader: StepReader) -> None:
    """Fill in how the trajectory ended: without a sum at its end it may have been cut off."""
    turn.objective, turn.final = reader.asked or "", reader.answered
    if reader.is_unanswered and not row.get("final_metrics"):
        turn.status, turn.error = AgentRunStatus.ERROR.value, UNFINISHED


def _run(turn: Turn, row: Object, context: SessionContext, location: SourceLocation) -> AgentRun:
    """Return the run, with what our own export told that ATIF has no field for."""
    run, ours = turn.to_run(), _ours(row)
    tags, values = ours.get("tags"), Values(context, location)
    agent = an_object(member(row, "agent", "extra"))
    return replace(
        run,
        agent_name=text(agent.get("agent_name")) or run.agent_name,
        status=text(ours.get("status")) or run.status,
        error_message=text(ours.get("error_message")) or run.error_message,
        started_at=values.utc(ours.get("started_at")) or run.started_at,
        finished_at=values.utc(ours.get("finished_at")) or run.finished_at,
        tags=[each for each in tags if isinstance(each, str)] if isinstance(tags, list) else None,
        user_id=text(ours.get("user_id")),
    )


def _scores(
    run: AgentRun, row: Object, context: SessionContext, location: SourceLocation
) -> Iterator[Score]:
    """Yield what our own export told of the run's scores."""
    found, at = _ours(row).get("scores"), run.finished_at or run.started_at
    for told in found if isinstance(found, list) else ():
        try:
            values = {name: told[name] for name in _OF_SCORE if told.get(name) is not None}
            score = Score(run.run_id, **values, created_at=at, updated_at=at)
            SCORES.encode(score)
        except (InvalidValueError, TypeError, AttributeError) as error:
            context.problem(*location, f"has a score that cannot be: {error}")
        else:
            yield score


def _ours(row: Object) -> Object:
    return an_object(member(row, "extra", OURS))


def _embedded(
    row: Object, context: SessionContext, location: SourceLocation, depth: int
) -> Iterator[tuple[int, Object]]:
    found = row.get("subagent_trajectories")
    for number, each in enumerate(found if isinstance(found, list) else (), start=1):
        if not isinstance(each, dict) or not isinstance(each.get("steps"), list):
            context.problem(*location, "has an embedded trajectory without steps")
        elif depth >= _DEEPEST:
            context.problem(*location, f"has more than {_DEEPEST} trajectories within each other")
        else:
            yield number, each
