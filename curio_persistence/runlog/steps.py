"""The steps of a session as they count now: after rollbacks, hiding and condensing.

These three hold for the whole session, for every step that they name, whichever run recorded them
and whenever. What names no step changes nothing: a range without steps, an id that no step has.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime
from itertools import islice
from typing import Any, Protocol
from uuid import uuid4

from curio_persistence.clock import utc_now
from curio_persistence.errors import InvalidValueError
from curio_persistence.runlog.entries import (
    CommittedStep,
    ContextStepsHidden,
    RunLogEntry,
    RunRolledBack,
    StepCondensedContentUpdated,
)
from curio_persistence.runlog.values import (
    MessageContent,
    MessageRole,
    StepMetrics,
    UserInput,
    content_of,
)


class RunContext(Protocol):
    """The values that a step takes from its run."""

    session_id: str
    run_id: str
    agent_id: str
    parent_run_id: str | None
    depth: int


@dataclass(slots=True)
class StepView:
    """A step as it counts now; `condensed_content` is the last one. It may be changed freely."""

    sequence: int
    session_id: str
    run_id: str
    id: str = field(default_factory=lambda: str(uuid4()))
    agent_id: str | None = None
    role: MessageRole = MessageRole.USER
    content: MessageContent | None = None
    content_for_user: str | None = None
    reasoning_content: str | None = None
    user_input: UserInput | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    is_error: bool = False
    metrics: StepMetrics | None = None
    condensed_content: str | None = None
    created_at: datetime = field(default_factory=utc_now)
    parent_run_id: str | None = None
    depth: int = 0

    def __post_init__(self) -> None:
        if self.content is None and self.user_input is not None and self.role == MessageRole.USER:
            self.content = content_of(self.user_input)

    @classmethod
    def user(
        cls,
        ctx: RunContext,
        *,
        sequence: int,
        user_input: UserInput | None = None,
        content: MessageContent | None = None,
        name: str | None = None,
    ) -> StepView:
        """Return a user's step in the run of `ctx`, from what the user says or from its content."""
        if user_input is None and content is None:
            raise InvalidValueError(
                "A user's step needs user_input= or content=.", field="StepView.content"
            )
        return cls(
            sequence=sequence,
            session_id=ctx.session_id,
            run_id=ctx.run_id,
            agent_id=ctx.agent_id,
            parent_run_id=getattr(ctx, "parent_run_id", None),
            depth=getattr(ctx, "depth", 0),
            user_input=user_input,
            content=content if user_input is None else content_of(user_input),
            name=name,
        )

    def to_message(self) -> dict[str, Any]:
        """Return the step as a message to a model, with its sequence as `_sequence`."""
        condensed = self.condensed_content
        message: dict[str, Any] = {"role": str(self.role), "_sequence": self.sequence}
        told = {
            "content": self.content if condensed is None else condensed,
            "reasoning_content": self.reasoning_content,
            "tool_calls": self.tool_calls,
            "tool_call_id": self.tool_call_id,
            "name": self.name,
        }
        return message | {name: value for name, value in told.items() if value is not None}


_OF_STEP = [each.name for each in fields(StepView) if each.name not in ("id", "is_error")]


def view_of(step: CommittedStep, condensed: str | None = None) -> StepView:
    """Return the view of a step, with the content that it was condensed to later."""
    view = StepView(
        id=step.step_id,
        is_error=getattr(step, "is_error", False),
        **{name: getattr(step, name) for name in _OF_STEP},
    )
    if condensed is not None:
        view.condensed_content = condensed
    return view


class Ranges:
    """Whole numbers in ranges, which may overlap and be of any length."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> None:
        """Add the numbers from `start` to `end`, both included; none if the end comes first."""
        if end < start:
            return
        first = bisect_left(self._ends, start - 1)
        last = bisect_right(self._starts, end + 1)
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first:last], self._ends[first:last] = [start], [end]

    def around(self, number: int) -> tuple[int, int] | None:
        """Return the first and last number of the range that a number is in."""
        at = bisect_right(self._starts, number) - 1
        if at < 0 or number > self._ends[at]:
            return None
        return self._starts[at], self._ends[at]

    def __contains__(self, number: int) -> bool:
        return self.around(number) is not None

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)


class Marks:
    """The rolled back, hidden and condensed steps of a session."""

    def __init__(self) -> None:
        self.rolled_back = Ranges()
        self.hidden: set[str] = set()
        self.condensed: dict[str, str] = {}

    def take(self, entry: RunLogEntry) -> None:
        """Apply the next entry, if it is one of these."""
        if isinstance(entry, RunRolledBack):
            self.rolled_back.add(entry.start_sequence, entry.end_sequence)
        elif isinstance(entry, ContextStepsHidden):
            self.hidden.update(entry.step_ids)
        elif isinstance(entry, StepCondensedContentUpdated):
            self.condensed[entry.step_id] = entry.condensed_content

    def view(self, step: CommittedStep) -> StepView:
        """Return the view of a step."""
        return view_of(step, self.condensed.get(step.step_id))

    def shown(self, step: CommittedStep, *, rolled_back: bool = False, hidden: bool = True) -> bool:
        """Return whether a step is shown; those rolled back and those hidden only if asked for."""
        if not rolled_back and step.sequence in self.rolled_back:
            return False
        return hidden or step.step_id not in self.hidden


class StepStates:
    """All steps of a session, taken one after another, and what became of them."""

    def __init__(self) -> None:
        self.marks = Marks()
        self.steps: list[CommittedStep] = []

    def take(self, entry: RunLogEntry) -> None:
        """Apply the next entry."""
        if isinstance(entry, CommittedStep):
            self.steps.append(entry)
        else:
            self.marks.take(entry)

    def views(
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
        """Return steps by sequence; `start` and `end` are included."""
        of_run = {"run_id": run_id, "agent_id": agent_id}
        wanted = {name: value for name, value in of_run.items() if value is not None}
        found = (
            self.marks.view(step)
            for step in in_order(self._within(start, end), order)
            if all(getattr(step, name) == value for name, value in wanted.items())
            and self.marks.shown(
                step, rolled_back=include_rolled_back, hidden=include_hidden_from_context
            )
        )
        return list(islice(found, limit))

    def _within(self, start: int | None, end: int | None) -> list[CommittedStep]:
        first = 0 if start is None else bisect_left(self.steps, start, key=_sequence)
        last = None if end is None else bisect_right(self.steps, end, key=_sequence)
        return self.steps[first:last]

    def count(self, *, include_hidden_from_context: bool = True) -> int:
        """Return the number of steps that are not rolled back."""
        return sum(
            self.marks.shown(step, hidden=include_hidden_from_context) for step in self.steps
        )


def _sequence(entry: RunLogEntry) -> int:
    return entry.sequence


def in_order(entries: list[Any], order: str) -> list[Any]:
    """Return entries as they are for "asc", the last first for "desc"."""
    if order not in ("asc", "desc"):
        raise InvalidValueError(f'order is "asc" or "desc", not {order!r:.80}.', field="order")
    return entries if order == "asc" else entries[::-1]
