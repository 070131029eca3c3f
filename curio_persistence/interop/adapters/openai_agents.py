"""Record the runs of the OpenAI Agents SDK: `add_trace_processor(CurioTracingProcessor(…))`."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import Any

from curio_persistence.interop.adapters.blocks import Blocks
from curio_persistence.interop.adapters.guard import guarded, missing

try:
    from agents.tracing import Span, Trace, TracingProcessor
except ImportError as error:
    raise missing("the OpenAI Agents SDK", "openai-agents", error) from error


class CurioTracingProcessor(TracingProcessor):
    """Records each agent as a run, with its model calls, tools, handoffs and guardrails.

    A trace's `group_id` is the session. An agent that another one calls as a tool is a run below
    that tool call; one that takes over by a handoff is a run beside the first.
    """

    def __init__(self, persistence: Any) -> None:
        self._blocks = Blocks(persistence)
        self._traces: dict[str, Trace] = {}
        self._handled: dict[str, BaseException | None] = {}

    @guarded
    def on_trace_start(self, trace: Trace) -> None:
        """Remember a trace, which has the session."""
        self._traces[trace.trace_id] = trace

    @guarded
    def on_trace_end(self, trace: Trace) -> None:
        """Forget a trace."""
        self._traces.pop(trace.trace_id, None)

    @guarded
    def on_span_start(self, span: Span[Any]) -> None:
        """Begin what a span stands for."""
        data, blocks, key, parent = span.span_data, self._blocks, span.span_id, span.parent_id
        self._handled[key] = sys.exc_info()[1]
        match data.type:
            case "agent":
                blocks.run(key, parent, agent_id=data.name or "agent", **self._of_trace(span))
            case "function":
                blocks.block(key, parent, lambda run: run.tool(data.name))
            case "handoff":
                blocks.block(key, parent, lambda run: run.span("handoff", kind="handoff"))
            case "generation" | "response":
                blocks.call(key, parent, provider="openai")
            case "guardrail" | "custom":
                blocks.block(key, parent, lambda run: run.span(data.name, kind=data.type))
            case _:
                blocks.skip(key, parent)

    @guarded
    def on_span_end(self, span: Span[Any]) -> None:
        """End it, with the data that the span has by now."""
        data, key = span.span_data, span.span_id
        outcome: dict[str, Any] = {}
        match data.type:
            case "function":
                outcome = {"args": _parsed(data.input), "result": data.output}
            case "handoff":
                outcome = {"output": {"from": data.from_agent, "to": data.to_agent}}
            case "guardrail":
                outcome = {"output": {"triggered": data.triggered}}
            case "custom":
                outcome = {"output": data.data}
            case "generation" | "response":
                self._blocks.end_call(key, self._error(span), **_told(data))
                return
        self._blocks.end(key, self._error(span), **outcome)

    def shutdown(self) -> None:
        """Do nothing: what was recorded is stored."""

    def force_flush(self) -> None:
        """Do nothing: what was recorded is stored."""

    def _of_trace(self, span: Span[Any]) -> dict[str, Any]:
        trace: Any = self._traces.get(span.trace_id)
        group: str | None = getattr(trace, "group_id", None)
        metadata = getattr(trace, "metadata", None)
        return {"session_id": group, "metadata": metadata}

    def _error(self, span: Span[Any]) -> BaseException | str | None:
        """Return the exception that ends the span, else the failure that the SDK reports."""
        handled = self._handled.pop(span.span_id, None)
        if (raised := sys.exc_info()[1]) is not None and raised is not handled:
            return raised
        told = span.error
        if not told:
            return None
        details = (told.get("data") or {}).get("error")
        return f"{told['message']}: {details}" if details else str(told["message"])


def _told(data: Any) -> dict[str, Any]:
    """Return the prompt, the parameters and the response of a model call."""
    usage = data.usage if data.usage and data.usage.get("total_tokens") else None
    if data.type == "response":
        known = {"output": [], "usage": usage} if usage else None
        return {"prompt": _with_instructions(data), "response": data.response or known}
    settings = {"model": data.model, **(data.model_config or {})}
    params = {name: value for name, value in settings.items() if value is not None}
    response: Any = None
    [*said] = data.output or ()
    if said and "output" in said[0]:  # A stream, which the SDK made a response of.
        response = said[0]
    elif said or usage:
        response = {"choices": [{"message": each} for each in said], "usage": usage}
    return {"prompt": data.input, "input_params": params, "response": response}


def _with_instructions(data: Any) -> Any:
    instructions = getattr(data.response, "instructions", None)
    if not instructions or not isinstance(data.input, list):
        return data.input
    return [{"role": "system", "content": instructions}, *data.input]


def _parsed(arguments: Any) -> Any:
    """Return the arguments of a tool, which the SDK keeps as JSON."""
    with suppress(TypeError, ValueError):
        return json.loads(arguments)
    return arguments
