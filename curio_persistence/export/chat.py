"""Runs as examples for fine-tuning: chat messages of OpenAI, or conversations of ShareGPT.

An example is whole: a user asks, each call of a tool is answered, and the agent has the last word.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from curio_persistence.export.atif import tool_definitions
from curio_persistence.models import AgentRun
from curio_persistence.views.dialogues import Action, Dialogue, Utterance, actions_of, dialogue_of
from curio_persistence.views.histories import History
from curio_persistence.views.values import compact

Redact = Callable[[Dialogue], Dialogue]
Object = dict[str, Any]


class Gap(NamedTuple):
    """The reason for which a run is no example."""

    why: str


class Example(NamedTuple):
    """A whole dialogue of a run: the words that it began with, and what followed."""

    run: AgentRun
    system: str
    said: Sequence[Utterance]
    tools: Sequence[Object]


def example_of(history: History, redact: Redact) -> Example | Gap:
    """Return a run as an example, without what was copied from earlier runs; or why it is none."""
    dialogue = redact(dialogue_of(history))
    said = [each for each in dialogue.utterances if not each.is_copied and not each.is_inside]
    system = "\n\n".join(each.text for each in said if each.speaker == "system")
    said = [each for each in said if each.speaker != "system" and not _failed(each)]
    said = [*_merged(said)]
    if why := _gap(dialogue, said):
        return Gap(why)
    calls = history.usage or ()
    tools = tool_definitions(history.run, calls) or _tools_by_use([*actions_of(said)])
    return Example(history.run, system, said, tools if any(actions_of(said)) else ())


def _failed(each: Utterance) -> bool:
    """Return whether a model call failed, and was made again."""
    return each.call is not None and each.call.status != "success" and not each.actions


def _merged(said: Sequence[Utterance]) -> Iterator[Utterance]:
    """Yield what one side said, and said on, as one; but an agent sees what a tool returned."""
    last: Utterance | None = None
    for each in said:
        if last is None:
            last = each
        elif last.speaker == each.speaker and not last.actions:
            last = _together(last, each)
        else:
            yield last
            last = each
    if last is not None:
        yield last


def _together(first: Utterance, second: Utterance) -> Utterance:
    text = "\n\n".join(filter(None, (first.text, second.text)))
    lacks = first.lacks or second.lacks
    call = first.call or second.call
    return Utterance(first.speaker, first.at, text, call=call, actions=second.actions, lacks=lacks)


def _gap(dialogue: Dialogue, said: Sequence[Utterance]) -> str | None:
    """Return what an example would lack; None if it lacks nothing."""
    if not said or said[0].speaker != "user":
        return "nobody asked"
    if any(not each.is_answered for each in actions_of(said)):
        return "a call of a tool has no result"
    if said[-1].speaker != "agent" or said[-1].actions or not said[-1].text:
        return "the last word is not the agent's"
    if any(not each.text and not each.actions for each in said):
        return "words are missing"
    if any(each.lacks for each in said):
        return "a picture or file was sent"
    if dialogue.is_condensed:
        return "the history was condensed on the way"
    return None


def _tools_by_use(actions: Sequence[Action]) -> list[Object]:
    """Return definitions of tools with the types of the arguments that they were called with."""
    used: dict[str, dict[str, Object]] = {}
    for action in actions:
        properties = used.setdefault(action.name, {})
        for name, value in _arguments(action).items():
            schema = _schema(value)
            properties[name] = schema if properties.get(name, schema) == schema else {}
    return [
        {
            "type": "function",
            "function": {
                "name": name,
                "description": "",
                "parameters": {"type": "object", "properties": properties},
            },
        }
        for name, properties in used.items()
    ]


_TYPES: Mapping[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


def _schema(value: Any) -> Object:
    known = _TYPES.get(type(value))
    return {} if known is None else {"type": known}


def _arguments(action: Action) -> Object:
    given = action.arguments
    if isinstance(given, dict):
        return given
    return {} if given is None or given == "" else {"input": given}


def _returned(action: Action) -> str:
    returned = action.error if action.result is None else action.result
    return "" if returned is None else compact(returned)


# --- OpenAI ---------------------------------------------------------------------------------------


def openai_of(example: Example) -> Object:
    """Return an example as OpenAI's chat messages."""
    messages: list[Object] = []
    if example.system:
        messages.append({"role": "system", "content": example.system})
    for each in example.said:
        messages += _messages(each)
    found: Object = {"messages": messages}
    if example.tools:
        parallel = any(len(each.actions) > 1 for each in example.said)
        found |= {"tools": [*example.tools], "parallel_tool_calls": parallel}
    return found


def _messages(said: Utterance) -> Iterator[Object]:
    if said.speaker == "user":
        yield {"role": "user", "content": said.text}
        return
    answer: Object = {"role": "assistant", "content": said.text or None}
    if said.actions:
        answer["tool_calls"] = [
            {
                "id": action.call_id,
                "type": "function",
                "function": {"name": action.name, "arguments": _json(_arguments(action))},
            }
            for action in said.actions
        ]
    yield answer
    for action in said.actions:
        yield {"role": "tool", "tool_call_id": action.call_id, "content": _returned(action)}


# --- ShareGPT -------------------------------------------------------------------------------------


def sharegpt_of(example: Example) -> Object | Gap:
    """Return an example as a conversation of ShareGPT, or why it is none: both sides take turns.

    What an agent says beside a call of a tool has no place in it.
    """
    if any(one.actions and other.speaker == "user" for one, other in pairwise(example.said)):
        return Gap("a user spoke before the agent had answered")
    conversations: list[Object] = []
    for each in example.said:
        conversations += _turns(each)
    found: Object = {"id": _name_of(example.run)}
    if example.system:
        found["system"] = example.system
    found["conversations"] = conversations
    if example.tools:
        found["tools"] = _json([tool.get("function", tool) for tool in example.tools])
    return found


def _turns(said: Utterance) -> Iterator[Object]:
    if not said.actions:
        yield {"from": "human" if said.speaker == "user" else "gpt", "value": said.text}
        return
    calls = [{"name": each.name, "arguments": _arguments(each)} for each in said.actions]
    results = [*map(_returned, said.actions)]
    is_one = len(calls) == 1
    yield {"from": "function_call", "value": _json(calls[0] if is_one else calls)}
    yield {"from": "observation", "value": results[0] if is_one else _json(results)}


def _name_of(run: AgentRun) -> str:
    """Return the id that a run had where it was made."""
    return run.run_id.rpartition("/")[2] or run.run_id


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


FORMATS: Mapping[str, Callable[[Example], Object | Gap]] = {
    "openai": openai_of,
    "sharegpt": sharegpt_of,
}
