"""A run as a dialogue: what was asked, answered and done, in the order in which it was said.

Programs record it in many ways: as prompts that grow with each model call, or as prompts, answers
and calls of tools one by one. A dialogue has each word once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Literal

from curio_persistence.models import MCP_CALL, AgentLLMUsage, AgentRun, AgentRunEvent
from curio_persistence.views.histories import History
from curio_persistence.views.messages import (
    ATTACHMENT,
    CALL,
    RESULT,
    TEXT,
    THINKING,
    Message,
    conversation_in,
)
from curio_persistence.views.steps import Step, begin_of, steps_of
from curio_persistence.views.telling import MODEL, RUN, TOOL
from curio_persistence.views.values import compact, parsed

Speaker = Literal["system", "user", "agent"]

_SPEAKERS: dict[str, Speaker] = {
    "system": "system",
    "developer": "system",
    "assistant": "agent",
    "model": "agent",
    "ai": "agent",
}
"""The speakers of messages by their roles; anybody else is a user."""
_SAID: dict[str, Speaker] = {
    "system_message": "system",
    "user_message": "user",
    "agent_message": "agent",
}
_TOOLS = (TOOL, MCP_CALL)
_RANKS = {MODEL: 1, **dict.fromkeys(_SAID, 0)}
"""The order of records of the same time; other records come last."""


@dataclass(slots=True)
class Action:
    """A call of a tool; `children` are the runs that it began. It is answered by its result."""

    name: str
    arguments: Any
    call_id: str | None = None
    result: Any = None
    error: str | None = None
    at: datetime | None = None
    took_ms: float | None = None
    is_answered: bool = False
    is_recorded: bool = False
    children: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Utterance:
    """One turn of a speaker: the text, and the tools that it called.

    `call` is the model call by which an agent said it. `is_copied` is what was said in an earlier
    run, `is_inside` what a model said within a tool, and `lacks` what could not be told in words.
    `observed` came of no call of a tool.
    """

    speaker: Speaker
    at: datetime
    text: str = ""
    thinking: str = ""
    call: AgentLLMUsage | None = None
    actions: list[Action] = field(default_factory=list)
    observed: list[Any] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    content: Any = None
    is_copied: bool = False
    is_inside: bool = False
    lacks: str | None = None


@dataclass(frozen=True, slots=True)
class Dialogue:
    """The utterances of a run; `is_condensed` where its history was replaced by a summary."""

    utterances: Sequence[Utterance]
    is_condensed: bool = False


def dialogue_of(history: History) -> Dialogue:
    """Return a run as a dialogue."""
    listener = _Listener()
    steps = steps_of(history, complete=True)
    for step in _in_order(steps):
        listener.hear(step)
    listener.conclude(history.run)
    asked = history.run.objective
    if asked and not listener.was_asked:
        first = next((n for n, each in enumerate(listener.said) if each.speaker != "system"), None)
        place = len(listener.said) if first is None else first
        listener.said.insert(place, Utterance("user", begin_of(history.run), asked))
    _name_calls(listener.said)
    return Dialogue(listener.said, any(step.kind == "compaction" for step in steps))


def _name_calls(said: Iterable[Utterance]) -> None:
    """Give each call of a tool an id, by which its result is told apart."""
    taken = {action.call_id for action in actions_of(said)}
    names = (name for n in count(1) if (name := f"call_{n}") not in taken)
    for action in actions_of(said):
        action.call_id = action.call_id or next(names)


def _in_order(steps: Iterable[Step]) -> list[Step]:
    """Return steps by time; a tool is called after the model that asked for it has answered."""
    steps = list(steps)
    answers = {step.span_id or "": step.at for step in steps if step.kind == MODEL}
    answers.pop("", None)

    def place(step: Step) -> tuple[datetime, int]:
        around = _spans(step)[1] if step.kind in _TOOLS else None
        return max(step.at, answers.get(around or "", step.at)), _RANKS.get(step.kind, 2)

    return sorted(steps, key=place)


def _spans(step: Step) -> tuple[str | None, str | None]:
    """Return the span of an event or a model call, and the one around it."""
    record = step.begun or step.record
    if record is None:
        return None, step.parent_span_id
    return record.span_id, record.parent_span_id


class _Listener:
    """Puts a dialogue together, step by step."""

    def __init__(self) -> None:
        self.said: list[Utterance] = []
        self.was_asked = False
        self._instructed: set[str] = set()
        self._of_span: dict[str, Utterance] = {}
        self._actions: dict[str, Action] = {}

    def hear(self, step: Step) -> None:
        if step.kind == MODEL:
            self._prompted(step)
            self._answered(step)
        elif step.kind in _TOOLS:
            self._acted(step)
        elif step.kind == RUN:
            self._delegated(step)
        elif step.kind in _SAID:
            self._message(step)
        elif step.kind in ("thinking", "observation"):
            self._noted(step)

    def conclude(self, run: AgentRun) -> None:
        """Say what the run has put out, where no answer of a model tells that."""
        last = self.said[-1] if self.said else None
        at = run.finished_at or (begin_of(run) if last is None else last.at)
        if not run.final_synthesis_output or (last and last.speaker == "agent" and last.text):
            return
        text = str(run.final_synthesis_output)
        if any(each.speaker == "agent" and each.text == text for each in self.said):
            return  # What comes after it tells of calls only, as the sums of a whole run do.
        if last is not None and last.speaker == "agent" and not last.actions:
            last.text = text
        else:
            self._say(Utterance("agent", at, text))

    def _say(self, utterance: Utterance) -> Utterance:
        self.said.append(utterance)
        self.was_asked |= utterance.speaker == "user" and not utterance.is_copied
        return utterance

    def _agent(self, step: Step) -> Utterance:
        """Return what the agent is saying; something new behind the words of others."""
        last = self.said[-1] if self.said else None
        if last is not None and last.speaker == "agent" and not last.is_copied:
            return last
        return self._say(Utterance("agent", step.at))

    # --- model calls ---------------------------------------------------------------------------

    def _prompted(self, step: Step) -> None:
        """Take the words of a prompt that were not said yet."""
        call = step.record
        assert isinstance(call, AgentLLMUsage), "the steps have their records"
        found = conversation_in(step.parts.get("prompt"))
        if found is not None:
            self._listen(found.messages, step)
        elif call.prompt:
            self._asked(Utterance("user", step.at, str(call.prompt)))

    def _listen(self, messages: Sequence[Message], step: Step) -> None:
        is_first = not any(each.speaker == "agent" for each in self.said)
        speakers = [_SPEAKERS.get(message.role, "user") for message in messages]
        last = max((n for n, each in enumerate(speakers) if each == "agent"), default=-1)
        for number, (speaker, message) in enumerate(zip(speakers, messages, strict=True)):
            if speaker == "system":
                self._instruct(_spoken(speaker, message, step.at))
            elif number > last:
                self._answer_actions(message)
                if _has_words(message):
                    self._asked(_spoken(speaker, message, step.at))
            elif is_first:
                self._copy(_spoken(speaker, message, step.at), message)

    def _instruct(self, utterance: Utterance) -> None:
        if utterance.text not in self._instructed:
            self._instructed.add(utterance.text)
            self._say(utterance)

    def _asked(self, utterance: Utterance) -> None:
        """Say what a user said, unless it is said again because a call of a model failed."""
        for earlier in reversed(self.said):
            if earlier.speaker == "user" and earlier.text == utterance.text:
                return
            if earlier.speaker == "agent" and (earlier.text or earlier.actions):
                break
        self._say(utterance)

    def _copy(self, utterance: Utterance, message: Message) -> None:
        utterance.is_copied = True
        self._answer_actions(message)
        if utterance.text or utterance.actions:
            self._say(utterance)

    def _answer_actions(self, message: Message) -> None:
        """Take results from a prompt, where the tools themselves left no records."""
        results = [part for part in message.parts if part.kind == RESULT]
        open_ones = [
            action
            for each in self.said[-1:]
            for action in each.actions
            if not action.is_answered and not action.is_recorded
        ]
        for part, action in zip(results, open_ones, strict=False):
            action.result, action.is_answered = part.value, True
            if part.failed:
                action.error = compact(part.value)

    def _answered(self, step: Step) -> None:
        call = step.record
        assert isinstance(call, AgentLLMUsage), "the steps have their records"
        found = conversation_in(step.parts.get("response"), "assistant")
        if found is None:
            utterance = Utterance("agent", step.at, str(call.response_content or ""))
        else:
            parts = tuple(part for each in found.messages for part in each.parts)
            utterance = _spoken("agent", Message("assistant", parts), step.at)
        utterance.call = call
        utterance.is_inside = call.parent_span_id in self._actions
        self._say(utterance)
        if call.span_id:
            self._of_span[call.span_id] = utterance

    # --- tools and runs ------------------------------------------------------------------------

    def _acted(self, step: Step) -> None:
        span, around = _spans(step)
        event = step.record
        rest = step.parts.get("data")
        is_unfinished = isinstance(rest, dict) and rest.get("unfinished") is True
        name = step.name
        if isinstance(event, AgentRunEvent) and event.event_type == MCP_CALL:
            name = "mcp__" + name.replace("/", "__", 1)
        arguments = parsed(step.parts.get("args"))
        utterance = self._of_span.get(around or "") or self._agent(step)
        action = next((each for each in utterance.actions if _is_same(each, name, arguments)), None)
        if action is None:
            action = Action(name, arguments)
            utterance.actions.append(action)
        action.call_id, action.is_recorded, action.at = span or action.call_id, True, step.at
        action.result, action.error, action.took_ms = (
            *(step.parts.get("result"), step.error),
            step.took_ms,
        )
        action.is_answered = not (step.is_open or is_unfinished)
        if span:
            self._actions[span] = action

    def _delegated(self, step: Step) -> None:
        """Note a run that this one began, in the call of a tool that did so if that is known."""
        assert step.child is not None, "a run that is a step is a child"
        action = self._actions.get(step.parent_span_id or "") or self._going_on(step.at)
        target = self._agent(step) if action is None else action
        target.children.append(step.child.run.run_id)

    def _going_on(self, at: datetime) -> Action | None:
        """Return the call of a tool that was going on at a time, if there was just one."""
        found = [
            action
            for action in actions_of(self.said)
            if action.at is not None
            and action.took_ms is not None
            and action.at <= at <= action.at + timedelta(milliseconds=action.took_ms)
        ]
        return found[0] if len(found) == 1 else None

    # --- words that are events -----------------------------------------------------------------

    def _message(self, step: Step) -> None:
        data = step.parts.get("data")
        told = data if isinstance(data, dict) else {"text": data or step.name}
        text = told.get("text")
        utterance = Utterance(_SAID[step.kind], step.at, "" if text is None else compact(text))
        utterance.content = told.get("content")
        if isinstance(utterance.content, list):
            utterance.lacks = _more_than_text(utterance.content)
        if utterance.speaker == "system":
            self._instructed.add(utterance.text)
        self._say(utterance)
        if span := _spans(step)[0]:
            self._of_span[span] = utterance

    def _noted(self, step: Step) -> None:
        data = step.parts.get("data")
        told = data if isinstance(data, dict) else {"text": data}
        utterance = self._of_span.get(_spans(step)[1] or "") or self._agent(step)
        if step.kind == "observation":
            utterance.observed.append(told.get("content", told))
        elif text := told.get("text"):
            utterance.thinking = "\n".join(filter(None, (utterance.thinking, compact(text))))


def _spoken(speaker: Speaker, message: Message, at: datetime) -> Utterance:
    def texts(kind: str) -> str:
        return "\n".join(str(part.value) for part in message.parts if part.kind == kind)

    actions = [Action(part.name, parsed(part.value)) for part in message.parts if part.kind == CALL]
    lacks = next((part.name or "file" for part in message.parts if part.kind == ATTACHMENT), None)
    return Utterance(speaker, at, texts(TEXT), texts(THINKING), actions=actions, lacks=lacks)


def _has_words(message: Message) -> bool:
    kinds = {part.kind for part in message.parts}
    return bool(kinds - {RESULT}) and message.role not in ("tool", "function")


def _is_same(action: Action, name: str, arguments: Any) -> bool:
    """Return whether a recorded call is one that the model asked for."""
    is_named = not action.is_recorded and action.name == name
    return is_named and (arguments is None or action.arguments == arguments)


def _more_than_text(content: list[Any]) -> str | None:
    kinds = (each.get("type") for each in content if isinstance(each, dict))
    return next((str(kind) for kind in kinds if kind != "text"), None)


def actions_of(utterances: Iterable[Utterance]) -> Iterator[Action]:
    """Yield all calls of tools."""
    return (action for each in utterances for action in each.actions)
