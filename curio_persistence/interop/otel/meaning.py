"""What one span says by itself: an agent, a call of a model or a tool, and their figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from curio_persistence.interop.otel.attribute_reader import Reader
from curio_persistence.interop.otel.conventions import (
    AFFIXES,
    BY_SPAN_NAME,
    DETAIL_EVENT,
    FRAMEWORKS,
    LOG_MARK,
    MESSAGE_EVENTS,
    NOT_SETTINGS,
    OPENINFERENCE,
)
from curio_persistence.interop.otel.spans import (
    STATUS_ERROR,
    Attributes,
    Call,
    Meaning,
    MeaningKind,
    OtelEvent,
    OtelSpan,
    ToolUse,
)
from curio_persistence.interop.otel.words import (
    ASSISTANT,
    USER,
    answer_of,
    as_text,
    label,
    last_text,
    messages_of,
    parsed,
)

_CANCELLED = frozenset({"CancelledError", "asyncio.CancelledError", "KeyboardInterrupt"})
_CALLS = frozenset({MeaningKind.LLM, MeaningKind.EMBEDDING})
_WORDLESS = frozenset({MeaningKind.CHAIN, MeaningKind.OTHER})


def meaning_of(span: OtelSpan) -> Meaning:
    """Return what a span says, by the rows of the conventions. It knows nothing of other spans."""
    reader = Reader(_with_details(span))
    kind, flavour = _kind(span, reader)
    status, error = _outcome(span, reader)
    told = reader.group("span")
    is_agent, is_call = kind is MeaningKind.AGENT, kind in _CALLS
    if is_agent:
        # OpenInference has agents without a name around those that have one.
        told["is_named"] = "agent_name" in told or flavour != OPENINFERENCE
        told.setdefault("agent_name", _without_affixes(span.name))
    if "tags" in reader.plan.fields:
        told["tags"] = _tags(reader.value("tags"))
    asked, answered = _words(kind, span, reader)
    of_call = reader.group("call") if is_call else {}
    return Meaning(
        kind=kind,
        status=status,
        error_message=error,
        input=asked,
        output=answered,
        response_id=of_call.pop("response_id", None),
        call=_call(reader, of_call, asked, answered) if is_call else None,
        tool=_tool(span, reader, error) if kind is MeaningKind.TOOL else None,
        **told,
    )


def _with_details(span: OtelSpan) -> Attributes:
    """Return the attributes of a span with those of an event that has the details of a call."""
    for event in span.events:
        if event.name == DETAIL_EVENT:
            return event.attributes | span.attributes
    return span.attributes


def _kind(span: OtelSpan, reader: Reader) -> tuple[MeaningKind, str | None]:
    """Return the kind of a span, and the flavour of the row that told it."""
    for row in reader.plan.kinds:
        found = row.kinds.get(str(reader.attribute(row.key)).strip('"').lower())
        if found is not None:
            return _corrected(found, row.flavour, span, reader), row.flavour
    for words, kind in BY_SPAN_NAME.get(span.source.scope_name, ()):
        if span.name.startswith(words):
            return kind, None
    return _by_contents(reader), None


def _corrected(kind: MeaningKind, flavour: str, span: OtelSpan, reader: Reader) -> MeaningKind:
    """Return the kind of a span whose attribute says another than its contents."""
    if kind is MeaningKind.CHAIN and reader.text("chain_agent") == span.name:
        return MeaningKind.AGENT
    if kind is MeaningKind.LLM and flavour == OPENINFERENCE and span.end_ns:
        # LlamaIndex has spans of this kind for what prepares a call.
        fields = reader.plan.fields
        is_call = fields.keys() & {"input_tokens", "output_tokens", "answered"}
        if not is_call and span.status_code != STATUS_ERROR:
            return MeaningKind.OTHER
    return kind


def _by_contents(reader: Reader) -> MeaningKind:
    fields = reader.plan.fields
    if "request_model" in fields and fields.keys() & {
        "input_tokens",
        "output_tokens",
        "response_model",
    }:
        return MeaningKind.LLM
    return MeaningKind.TOOL if "tool_name" in fields else MeaningKind.OTHER


def _outcome(span: OtelSpan, reader: Reader) -> tuple[str, str | None]:
    """Return the status of a span, and the message of its error."""
    if not span.end_ns:
        return "running", None
    if span.status_code != STATUS_ERROR:
        return "completed", None
    kind = reader.text("error_type")
    message = span.status_message or _exception(span.events) or kind
    return "cancelled" if kind in _CANCELLED else "error", message


def _exception(events: Iterable[OtelEvent]) -> str | None:
    for event in events:
        if event.name == "exception":
            told = event.attributes
            return str(told.get("exception.message") or told.get("exception.type") or "") or None
    return None


def _without_affixes(name: str) -> str:
    for affix in AFFIXES:
        name = name.removeprefix(affix) if affix.endswith(" ") else name.removesuffix(affix)
    return label(name.removeprefix("[").removesuffix("]"))


def _tags(value: Any) -> tuple[str, ...]:
    value = parsed(value)
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list):
        return ()
    return tuple(label(tag) for each in value if isinstance(each, str) and (tag := each.strip()))


def _words(kind: MeaningKind, span: OtelSpan, reader: Reader) -> tuple[str | None, str | None]:
    """Return what was asked and answered: of an agent the last words, of others all of it."""
    if kind in _WORDLESS:
        return None, None
    asked, answered = _in_attributes(kind, reader)
    if span.events and (asked is None or answered is None):
        inputs, output = messages_of(_messages(span.events))
        asked = asked or _shaped(kind, USER, inputs)
        answered = answered or _shaped(kind, ASSISTANT, output)
    return asked, answered


def _in_attributes(kind: MeaningKind, reader: Reader) -> tuple[str | None, str | None]:
    asked = _first(kind, USER, reader.values("input"))
    if kind in _CALLS and asked is not None and (system := reader.value("system")) is not None:
        asked = _with_system(asked, as_text(system))
    return asked, _first(kind, ASSISTANT, reader.values("output"))


def _first(kind: MeaningKind, roles: frozenset[str], values: Iterable[Any]) -> str | None:
    for value in values:
        if found := _shaped(kind, roles, value):
            return found
    return None


def _shaped(kind: MeaningKind, roles: frozenset[str], value: Any) -> str | None:
    if not value:
        return None
    if kind is MeaningKind.AGENT:
        return last_text(value, roles)
    if kind is MeaningKind.EMBEDDING and roles is ASSISTANT:
        return None  # Vectors are no words.
    if kind is MeaningKind.LLM and roles is ASSISTANT:
        return answer_of(value)
    return as_text(value)


def _with_system(messages: str, system: str) -> str:
    """Return messages in JSON with the instructions as the first."""
    if not messages.startswith("["):
        return messages
    parts = system if system.startswith("[") else as_text([{"type": "text", "content": system}])
    rest = messages[1:].lstrip()
    return f'[{{"role":"system","parts":{parts}}}{"" if rest == "]" else ","}{rest}'


def _messages(events: Iterable[OtelEvent]) -> Iterable[tuple[str, Attributes]]:
    for event in events:
        if (role := MESSAGE_EVENTS.get(event.name)) is not None:
            told = event.attributes.items()
            yield role, {name: parsed(value) for name, value in told if name != LOG_MARK}


def _call(reader: Reader, told: dict[str, Any], prompt: str | None, response: str | None) -> Call:
    requested = told.get("request_model")
    details = {name: parsed(reader.value(name)) for name in reader.plan.details}
    count = told.get("input_tokens")
    cached = told.get("cache_read_tokens", 0) + told.get("cache_write_tokens", 0)
    if count is not None and cached > count:
        # Some count the cache beside the input, not in it.
        told["input_tokens"] = count + cached
        details["told_input_tokens"] = count
    return Call(
        provider=_provider(reader),
        model=told.pop("response_model", requested),
        prompt=prompt,
        response=response,
        params=_params(reader),
        details=details or None,
        **told,
    )


def _provider(reader: Reader) -> str | None:
    for value in reader.values("provider"):
        if isinstance(value, str) and (name := value.lower()) not in FRAMEWORKS:
            return name
    return None


def _params(reader: Reader) -> Attributes | None:
    found = next(reader.objects("params"), {})
    return {name: each for name, each in found.items() if name not in NOT_SETTINGS} or None


def _tool(span: OtelSpan, reader: Reader, error: str | None) -> ToolUse:
    told = reader.group("tool")
    arguments, result = reader.value("tool_arguments"), reader.value("tool_result")
    if arguments is None and result is None and span.events:
        inputs, output = messages_of(_messages(span.events))
        arguments, result = _content(inputs), _content(output)
    return ToolUse(
        told.get("tool_name") or _without_affixes(span.name),
        told.get("tool_call_id"),
        parsed(arguments),
        parsed(result),
        error,
    )


def _content(messages: list[dict[str, Any]]) -> Any:
    return messages[0].get("content") if messages else None
