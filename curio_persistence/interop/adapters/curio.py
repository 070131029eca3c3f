"""Record agents of the Curio Agent SDK: `CurioConsumer(persistence).attach(registry)`.

The SDK's own `PersistenceConsumer` takes any persistence of ours too. This one records more: the
text of model calls, arguments and failures of tools, subagents below their parents.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Mapping
from typing import Any

from curio_persistence.interop.adapters.blocks import Blocks
from curio_persistence.interop.adapters.guard import guarded
from curio_persistence.recording.recorder import RunRecorder
from curio_persistence.store.json_text import nearest_json

_ERRORS: Mapping[str, Callable[[str], BaseException | str]] = {
    "timeout": TimeoutError,
    "cancelled": CancelledError,
}
"""Failures that are a timeout or a cancellation, by the SDK's names of them."""


class CurioConsumer:
    """Records what a HookRegistry of the SDK reports, of any number of agents that share it.

    A run has the SDK's `run_id`. What an agent begins while it runs, as a subagent, is its child.
    """

    def __init__(self, persistence: Any) -> None:
        self._blocks = Blocks(persistence)
        self._handlers: dict[str, Callable[[Any], None]] = {
            "agent.run.before": self._begin_run,
            "agent.run.after": self._end_run,
            "agent.run.error": self._end_run,
            "agent.iteration.before": self._iterate,
            "llm.call.before": self._begin_call,
            "llm.call.after": self._end_call,
            "llm.call.error": self._end_call,
            "tool.call.before": self._begin_tool,
            "tool.call.after": self._end_tool,
            "tool.call.error": self._end_tool,
        }

    def attach(self, registry: Any) -> None:
        """Listen to a registry."""
        for event, handler in self._handlers.items():
            registry.on(event, handler)

    def detach(self, registry: Any) -> None:
        """Listen no more."""
        for event, handler in self._handlers.items():
            registry.off(event, handler)

    @guarded
    def _begin_run(self, context: Any) -> None:
        state = context.state
        self._blocks.run(
            context.run_id,
            None,
            run_id=context.run_id,
            agent_id=context.agent_id or "agent",
            objective=context.data.get("input") or "",
            session_id=getattr(state, "session_id", None),
            resume=bool(context.data.get("resumed")),
        )

    @guarded
    def _end_run(self, context: Any) -> None:
        error = context.data.get("error")
        if error is not None:
            error = _ERRORS.get(context.data.get("error_kind"), str)(str(error))
        self._blocks.end(context.run_id, error, output=context.data.get("output"))

    @guarded
    def _iterate(self, context: Any) -> None:
        run = self._blocks.around(context.run_id)
        if isinstance(run, RunRecorder):
            run.iteration()

    @guarded
    def _begin_call(self, context: Any) -> None:
        request = context.data["request"]
        if self._blocks.around(id(request)) is not None:
            return  # The SDK reports it twice if a client with middleware is used.
        settings = nearest_json(request)
        prompt = settings.pop("messages", None)
        params = {name: value for name, value in settings.items() if value not in (None, {}, False)}
        self._blocks.call(
            id(request), context.run_id, context.agent_id, prompt=prompt, params=params
        )

    @guarded
    def _end_call(self, context: Any) -> None:
        data = context.data
        response, error = data.get("response"), data.get("exception") or data.get("error")
        if response is None:
            self._blocks.end_call(id(data.get("request")), error, None)
            return
        told = {
            "provider": response.provider or "",
            "model": response.model or "",
            "usage_metrics": {"finish_reason": response.finish_reason},
            **_tokens(response.usage),
        }
        said = nearest_json(response.message)
        answer = response.content if not said.get("tool_calls") else said
        key = id(data["request"])
        self._blocks.end_call(key, error or response.error, answer, **told)

    @guarded
    def _begin_tool(self, context: Any) -> None:
        name, args = context.data["tool_name"], context.data.get("args")
        self._blocks.block(_tool(context), context.run_id, lambda run: run.tool(name, args))

    @guarded
    def _end_tool(self, context: Any) -> None:
        data = context.data
        self._blocks.end(_tool(context), data.get("error"), result=data.get("result"))


def _tool(context: Any) -> tuple[str, str, str]:
    """Return a key of a tool call; the SDK does not report the id of one that failed."""
    return context.run_id, context.data["tool_name"], repr(context.data.get("args"))


def _tokens(usage: Any) -> dict[str, int | None]:
    """Return the tokens that are known; the SDK says 0 of those that are not."""
    if not usage.total_tokens:
        return {}
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens or None,
        "cache_write_tokens": usage.cache_write_tokens or None,
    }
