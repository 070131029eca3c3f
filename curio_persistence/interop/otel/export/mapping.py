"""Our spans as those of OpenTelemetry, with the attributes that receivers read.

Each fact is told twice: by the GenAI conventions and by OpenInference. Phoenix shows the words of
agents, calls and tools only from the latter. What is not known has no attribute.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from curio_persistence.interop.otel.export.details import CallDetails, Details, RunDetails
from curio_persistence.interop.otel.export.messages import (
    Message,
    genai_messages,
    messages_in,
    openinference_messages,
)
from curio_persistence.interop.otel.export.received import Received
from curio_persistence.interop.otel.export.wordless import without_text
from curio_persistence.interop.otel.spans import (
    STATUS_ERROR,
    STATUS_OK,
    STATUS_UNSET,
    Attributes,
    OtelEvent,
    OtelSpan,
    Source,
)
from curio_persistence.models import SpanKind as Kind
from curio_persistence.models import SpanStatus as Status
from curio_persistence.trace_ids import span_id_of, trace_id_of
from curio_persistence.views.traces.critical import last_known
from curio_persistence.views.traces.trace import Trace, TraceSpan
from curio_persistence.views.traces.tree import TraceNode, begin_ns, end_ns
from curio_persistence.views.values import is_number, parsed, without_nothing

_INTERNAL, _CLIENT = 1, 3
"""OTLP's kinds of spans."""
_OPERATIONS = {
    Kind.AGENT.value: "invoke_agent",
    Kind.LLM.value: "chat",
    Kind.TOOL.value: "execute_tool",
    "embedding": "embeddings",
    "retrieval": "retrieval",
}
_OPENINFERENCE = {"embedding": "EMBEDDING", "retrieval": "RETRIEVER"} | {
    kind.value: kind.name for kind in (Kind.AGENT, Kind.LLM, Kind.TOOL)
}
_SETTINGS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
}
"""The parameters of a call, and their names behind `gen_ai.request.`."""
_TRACE_ID, _SPAN_ID = re.compile("[0-9a-f]{32}"), re.compile("[0-9a-f]{16}")
_LAST = 2**63 - 1
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_ERROR_NAME = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt|Warning)")
_CANCELLED = "CancelledError"


def otel_trace_id(trace_id: str) -> str:
    """Return the id of a trace as OpenTelemetry takes it: 32 digits that are not all 0."""
    is_one = _TRACE_ID.fullmatch(trace_id) and trace_id != _NO_TRACE
    return trace_id if is_one else trace_id_of(f"trace {trace_id}")


def otel_span_id(trace_id: str, span_id: str) -> str:
    """Return the id of a span as OpenTelemetry takes it: 16 digits that are not all 0."""
    is_one = _SPAN_ID.fullmatch(span_id) and span_id != _NO_SPAN
    return span_id if is_one else span_id_of(f"{trace_id} {span_id}")


def otel_spans(
    trace: Trace,
    details: Details,
    source: Source,
    received: Received,
    *,
    content: bool = True,
) -> Iterator[OtelSpan]:
    """Yield the spans of a trace that have ended, as OpenTelemetry's; received ones as they came.

    The tree is that of `trace.tree()`: a span whose parent is not there stands below its run.
    """
    mapping = _Mapping(trace, details, source, content)
    ends = {span_id: end for root in trace.tree() for span_id, end in last_known(root).items()}
    parents = {
        child.span.span_id: node.span.span_id for node in trace.walk() for child in node.children
    }
    for node in trace.walk():
        span, span_id = node.span, node.span.span_id
        if span.status != Status.RUNNING.value or span.ended_at is not None:
            came = received.get((span.trace_id, span_id))
            yield came or mapping.span(node, parents.get(span_id), ends[span_id])


class _Mapping:
    def __init__(self, trace: Trace, details: Details, source: Source, content: bool) -> None:
        self._trace_id = otel_trace_id(trace.trace_id)
        self._ended = trace.root.status != Status.RUNNING.value
        self._details = details
        self._source = source
        self._content = content
        self._sessions = {s.run_id: s.session_id for s in trace.spans if s.is_run}
        self._users = {s.run_id: s.user_id for s in trace.spans if s.is_run}
        self._first = trace.root

    def span(self, node: TraceNode, parent: str | None, last: int) -> OtelSpan:
        span = node.span
        begin, end = _storable(begin_ns(span)), _storable(end_ns(span) or last)
        failed = span.status in (Status.ERROR.value, Status.CANCELLED.value)
        error = self._error(span) if failed else {}
        return OtelSpan(
            self._trace_id,
            otel_span_id(self._trace_id, span.span_id),
            parent and otel_span_id(self._trace_id, parent),
            _name(span),
            begin,
            end,
            _CLIENT if span.kind in (Kind.LLM.value, "embedding") else _INTERNAL,
            _status_code(span, failed),
            (self._content and failed and span.error_message) or "",
            self._attributes(span) | error,
            (self._exception(span, error, end),) if error else (),
            source=self._source,
        )

    def _attributes(self, span: TraceSpan) -> Attributes:
        told = self._common(span)
        match span.kind:
            case Kind.AGENT.value:
                told |= self._agent(span)
            case Kind.LLM.value | "embedding":
                told |= self._call(span)
            case Kind.TOOL.value:
                told |= self._tool(span)
        words = self._words(span) if self._content else {}
        return without_nothing(self._own(span) | told | words)

    def _common(self, span: TraceSpan) -> Attributes:
        session = span.session_id or self._sessions.get(span.run_id, self._first.session_id)
        user = span.user_id or self._users.get(span.run_id, self._first.user_id)
        return {
            "gen_ai.operation.name": _OPERATIONS.get(span.kind),
            "openinference.span.kind": _OPENINFERENCE.get(span.kind, "CHAIN"),
            "gen_ai.conversation.id": session,
            "session.id": session,
            "user.id": user,
        }

    def _own(self, span: TraceSpan) -> Attributes:
        """Return the attributes that an application saved."""
        saved = parsed(span.attributes)
        if not isinstance(saved, dict):
            return {}
        return saved if self._content else without_text(saved)

    def _words(self, span: TraceSpan) -> Attributes:
        told: Attributes = {}
        for name, text in (("input", span.input), ("output", span.output)):
            if text is not None:
                is_json = isinstance(parsed(text), dict | list)
                told[f"{name}.value"] = text
                told[f"{name}.mime_type"] = "application/json" if is_json else "text/plain"
        return told

    # --- runs ---------------------------------------------------------------------------------

    def _agent(self, span: TraceSpan) -> Attributes:
        run = self._details.run(span)
        told: Attributes = {
            "gen_ai.agent.id": span.agent_id,
            "gen_ai.agent.name": span.name,
            "agent.name": span.name,
            "curio.run_id": span.run_id if span.is_run else None,
            **self._about(run),
        }
        if self._content:
            told["gen_ai.input.messages"] = span.input and _said("user", span.input)
            told["gen_ai.output.messages"] = span.output and _said("assistant", span.output)
        return told

    def _about(self, run: RunDetails) -> Attributes:
        """Return what people noted about a run: its tags and its metadata."""
        is_object = isinstance(parsed(run.metadata), dict)
        metadata = run.metadata if self._content and is_object else None
        return {"tag.tags": [*run.tags] or None, "metadata": metadata}

    # --- model calls --------------------------------------------------------------------------

    def _call(self, span: TraceSpan) -> Attributes:
        call = self._details.call(span)
        answered_by = call.metrics.get("response_model")
        reason = call.metrics.get("finish_reason")
        reasons = [reason] if isinstance(reason, str) else None
        told: Attributes = {
            "gen_ai.provider.name": span.provider or None,
            "gen_ai.request.model": span.model or None,
            "gen_ai.response.model": _text(answered_by) or span.model or None,
            "gen_ai.response.id": _text(call.metrics.get("response_id")),
            "gen_ai.response.finish_reasons": reasons,
            "llm.provider": span.provider or None,
            "llm.system": span.provider or None,
            "llm.model_name": _text(answered_by) or span.model or None,
        }
        told |= _tokens(span) | _cost(span) | _settings(call)
        if self._content:
            told |= _conversation(span, _text(reason))
        return told

    # --- tools --------------------------------------------------------------------------------

    def _tool(self, span: TraceSpan) -> Attributes:
        told: Attributes = {
            "gen_ai.tool.name": span.name,
            "gen_ai.tool.type": "function",
            "tool.name": span.name,
        }
        if self._content:
            told["gen_ai.tool.call.arguments"] = span.input
            told["gen_ai.tool.call.result"] = span.output
        return told

    # --- failures -----------------------------------------------------------------------------

    def _error(self, span: TraceSpan) -> Attributes:
        if span.status == Status.CANCELLED.value:
            return {"error.type": _CANCELLED}
        if span.is_run and self._details.run(span).status == "timeout":
            return {"error.type": "timeout"}
        name, _, _ = (span.error_message or "").partition(": ")
        return {"error.type": name if _ERROR_NAME.fullmatch(name) else "_OTHER"}

    def _exception(self, span: TraceSpan, error: Attributes, end: int) -> OtelEvent:
        name = error["error.type"]
        message = span.error_message.removeprefix(f"{name}: ") if span.error_message else None
        told = {"exception.type": name, "exception.message": message if self._content else None}
        return OtelEvent("exception", end, without_nothing(told))


def _name(span: TraceSpan) -> str:
    operation = _OPERATIONS.get(span.kind)
    return f"{operation} {span.name}" if operation else span.name or span.kind


def _storable(nanoseconds: int) -> int:
    """Return a time as near as OTLP can hold it: from 1970 on, for 292 years."""
    return min(max(nanoseconds, 1), _LAST)


def _status_code(span: TraceSpan, failed: bool) -> int:
    if failed:
        return STATUS_ERROR
    return STATUS_OK if span.status == Status.OK.value else STATUS_UNSET


def _said(role: str, text: str) -> str:
    return genai_messages([Message(role, text)])


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _tokens(span: TraceSpan) -> Attributes:
    """Return the tokens; those of caches and of reasoning are parts of the others."""
    read, written = span.cache_read_tokens, span.cache_write_tokens
    given, made = span.input_tokens, span.output_tokens
    total = None if given is None or made is None else given + made
    return {
        "gen_ai.usage.input_tokens": given,
        "gen_ai.usage.output_tokens": made,
        "gen_ai.usage.cache_read.input_tokens": read,
        # The first is the name up to 1.41, the second the one since.
        "gen_ai.usage.cache_creation.input_tokens": written,
        "gen_ai.usage.cache_write.input_tokens": written,
        "gen_ai.usage.reasoning.output_tokens": span.reasoning_tokens,
        "llm.token_count.prompt": given,
        "llm.token_count.completion": made,
        "llm.token_count.total": total,
        "llm.token_count.prompt_details.cache_read": read,
        "llm.token_count.prompt_details.cache_write": written,
        "llm.token_count.completion_details.reasoning": span.reasoning_tokens,
    }


def _cost(span: TraceSpan) -> Attributes:
    """Return the cost, as far as all calls of the span have one, also with all of its digits."""
    if span.cost_usd is None or span.unpriced:
        return {}
    dollars = float(span.cost_usd)
    return {
        "curio.cost_usd": f"{span.cost_usd:f}",
        "llm.cost.total": dollars,
        "mlflow.llm.cost": json.dumps({"total_cost": dollars}),
    }


def _settings(call: CallDetails) -> Attributes:
    numbers = {
        f"gen_ai.request.{name}": call.params[param]
        for param, name in _SETTINGS.items()
        if is_number(call.params.get(param))
    }
    if not call.params:
        return numbers
    return numbers | {"llm.invocation_parameters": json.dumps(call.params, ensure_ascii=False)}


def _conversation(span: TraceSpan, reason: str | None) -> Attributes:
    told: Attributes = {}
    if span.input is not None:
        given = messages_in(span.input, "user")
        told["gen_ai.input.messages"] = genai_messages(given)
        told |= openinference_messages("llm.input_messages", given)
    if span.output is not None:
        made = messages_in(span.output, "assistant")
        told["gen_ai.output.messages"] = genai_messages(made, reason)
        told |= openinference_messages("llm.output_messages", made)
    return told
