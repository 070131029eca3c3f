"""The steps of a trajectory: messages, answers of a model, calls of tools and what came of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from curio_persistence.importers.atif.metrics import call_of
from curio_persistence.importers.sessions.places import an_object, as_text, member, objects_in
from curio_persistence.importers.sessions.records import (
    Found,
    SourceLocation,
    ToolCall,
    Turn,
    stable_id,
)
from curio_persistence.importers.traces.values import Values, text
from curio_persistence.models import AgentRunEvent

if TYPE_CHECKING:
    from curio_persistence.importers.sessions.context import SessionContext

Object = Mapping[str, Any]
_TICK = timedelta(microseconds=1)
_HANDLED = frozenset(
    {
        *("step_id", "timestamp", "source", "message", "tool_calls", "observation", "metrics"),
        *("model_name", "reasoning_content", "is_copied_context", "llm_call_count"),
    }
)


class StepReader:
    """Reads the steps of one trajectory. What it learns of the run is there when all are read."""

    def __init__(
        self,
        context: SessionContext,
        turn: Turn,
        trajectory_id: str,
        row: Object,
        location: SourceLocation,
        at: datetime,
    ) -> None:
        self._context = context
        self._turn = turn
        self._steps: list[Any] = row["steps"]
        self._model = text(member(row, "agent", "model_name"))
        self._location = location
        self._values = Values(context, location)
        self._at = at
        self._ids = (turn.source, turn.session_id, trajectory_id)
        self.asked: str | None = None
        self.answered: str | None = None
        self.is_unanswered = False

    def records(self) -> Found:
        """Yield the records of all steps; those copied from another trajectory are counted."""
        steps = [*self._own()]
        for (number, step), at in zip(steps, self._times(step for _, step in steps), strict=True):
            self._at = at
            for record in self._of_step(step, number):
                yield record, self._location

    def _own(self) -> Iterator[tuple[int, Object]]:
        for number, step in enumerate(self._steps, start=1):
            if not isinstance(step, dict):
                self._context.problem(*self._location, f"step {number} is no object")
            elif step.get("is_copied_context"):
                self._context.skip("copied step")
            else:
                yield number, step

    def _times(self, steps: Iterable[Object]) -> Iterator[datetime]:
        """Yield the times of steps; one without a time is just behind the one before.

        Those before the first with a time have that: who asked may have been left untimed.
        """
        told = [self._values.utc(step.get("timestamp")) for step in steps]
        first = next(filter(None, told), None)
        at, is_behind = first or self._at, first is None
        for time in told:
            self._turn.saw(time)
            if time is not None:
                at, is_behind = time, True
            elif is_behind:
                at += _TICK
            yield at

    def _of_step(self, step: Object, number: int) -> Iterator[Any]:
        source, message = step.get("source"), as_text(step.get("message"))
        key = str(step.get("step_id", number))
        if source == "agent":
            yield from self._of_agent(step, message, key)
        else:
            if source == "user":
                self.asked = self.asked or message
                self.is_unanswered = True
            yield self._event(key, f"{source}_message", self._data(step, message))
        yield from self._results(step, key)

    def _of_agent(self, step: Object, message: str, key: str) -> Iterator[Any]:
        if message:
            self.answered, self.is_unanswered = message, False
        if step.get("llm_call_count") == 0:
            yield self._event(key, "agent_message", self._data(step, message))
        else:
            answer = call_of(step, self._turn, self._values, self._model)
            yield replace(answer, created_at=self._at, event_id=self._id(key), span_id=_span(key))
        if thought := step.get("reasoning_content"):
            yield self._event(f"{key}/thinking", "thinking", {"text": as_text(thought)}, key)
        if rest := self._rest(step):
            yield self._event(f"{key}/details", "step_details", rest, key)
        for call in self._tool_calls(step, key):
            self.is_unanswered = call.unfinished
            yield call.to_event(self._turn, self._id(key, call.call_id))

    def _data(self, step: Object, message: str) -> dict[str, Any]:
        """Return what a message tells: its text, and pictures and audio by what refers to them."""
        data: dict[str, Any] = {"text": message, **self._rest(step)}
        if isinstance(step.get("message"), list):
            data["content"] = step["message"]
        return data

    def _rest(self, step: Object) -> dict[str, Any]:
        told = {name: value for name, value in step.items() if name not in _HANDLED}
        if step.get("source") == "agent" and isinstance(step.get("message"), list):
            told["content"] = step["message"]
        return {name: value for name, value in told.items() if value is not None}

    # --- tools --------------------------------------------------------------------------------

    def _tool_calls(self, step: Object, key: str) -> Iterator[ToolCall]:
        results = {text(result.get("source_call_id")): result for result in self._results_of(step)}
        for number, told in enumerate(objects_in(step.get("tool_calls")), start=1):
            call_id = text(told.get("tool_call_id")) or f"{key}.{number}"
            call = ToolCall(
                call_id,
                text(told.get("function_name")) or "tool",
                told.get("arguments"),
                self._at,
                parent_span_id=_span(key),
                unfinished=call_id not in results,
            )
            _finish(call, results.get(call_id), self._values)
            yield call

    def _results(self, step: Object, key: str) -> Iterator[AgentRunEvent]:
        """Yield what was observed without a call of a tool; a bare reference is the run's own."""
        called = {text(call.get("tool_call_id")) for call in objects_in(step.get("tool_calls"))}
        for number, result in enumerate(self._results_of(step), start=1):
            data = {name: each for name, each in result.items() if each is not None}
            is_of_call = text(result.get("source_call_id")) in called - {None}
            if not is_of_call and data.keys() - {"subagent_trajectory_ref"}:
                yield self._event(f"{key}/observation/{number}", "observation", data, key)

    def _results_of(self, step: Object) -> Iterable[Object]:
        return objects_in(member(step, "observation", "results"))

    # --- events -------------------------------------------------------------------------------

    def _event(
        self, key: str, kind: str, data: dict[str, Any], step: str | None = None
    ) -> AgentRunEvent:
        return self._turn.event(
            self._id(key),
            kind,
            self._at,
            data,
            span_id=_span(key) if step is None else None,
            parent_span_id=None if step is None else _span(step),
        )

    def _id(self, *parts: str) -> str:
        return stable_id(*self._ids, *parts)


def _finish(call: ToolCall, result: Object | None, values: Values) -> None:
    """Fill in what came of a call; ATIF has no field for errors, our own export's extra has."""
    if result is None:
        return
    told = an_object(result.get("extra"))
    call.result = result.get("content")
    if told.get("is_error"):
        call.error = text(told.get("error")) or as_text(call.result) or "error"
    duration = told.get("duration_ms")
    if isinstance(duration, int | float) and not isinstance(duration, bool) and duration >= 0:
        call.latency_ms = float(duration)


def _span(key: str) -> str:
    return f"step-{key}"
