"""What a span means without its words, as JSON: enough to place it again when others come.

It stays when the words of a span are not kept, or are removed later.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from curio_persistence.interop.otel.spans import Call, Meaning, MeaningKind, ToolUse
from curio_persistence.store.json_text import encoder

_OF_SPAN = (
    *("status", "agent_name", "agent_id", "is_named", "run_id", "session_id", "user_id", "tags"),
    "response_id",
)
_OF_CALL = (
    *("provider", "model", "request_model", "input_tokens", "output_tokens"),
    *("cache_read_tokens", "cache_write_tokens", "reasoning_tokens"),
)
_FAILED = "error"
"""The error of a tool of which only the failure is known."""

_encode = encoder(list)


def without_words(meaning: Meaning) -> Meaning:
    """Return what a span means, without what people and models have said in it."""
    call, tool = meaning.call, meaning.tool
    return meaning._replace(
        error_message=None,
        input=None,
        output=None,
        call=call and call._replace(prompt=None, response=None, params=None, details=None),
        tool=tool
        and ToolUse(tool.name, tool.call_id, error=None if tool.error is None else _FAILED),
    )


def facts_text(meaning: Meaning) -> str:
    """Return what a span means without its words, as text."""
    told: dict[str, Any] = {"kind": meaning.kind}
    _add(told, meaning, _OF_SPAN)
    if (call := meaning.call) is not None:
        of_call = told["call"] = {}
        _add(of_call, call, _OF_CALL)
        if call.reported_cost is not None:
            of_call["reported_cost"] = str(call.reported_cost)
    if (tool := meaning.tool) is not None:
        told["tool"] = [tool.name, tool.call_id, tool.error is not None]
    return _encode(told)


def _add(told: dict[str, Any], value: Meaning | Call, names: tuple[str, ...]) -> None:
    for name in names:
        each = getattr(value, name)
        if each is not None and each is not False and each != ():
            told[name] = each


def facts_in(text: str | None) -> Meaning:
    """Return the meaning that `facts_text` wrote."""
    if text is None:
        return Meaning()
    told = json.loads(text)
    told["kind"] = MeaningKind(told["kind"])
    if "tags" in told:
        told["tags"] = tuple(told["tags"])
    if (call := told.get("call")) is not None:
        if "reported_cost" in call:
            call["reported_cost"] = Decimal(call["reported_cost"])
        told["call"] = Call(**call)
    if (tool := told.get("tool")) is not None:
        name, call_id, failed = tool
        told["tool"] = ToolUse(name, call_id, error=_FAILED if failed else None)
    return Meaning(**told)
