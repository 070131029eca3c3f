"""Record the model calls of LiteLLM: `litellm.callbacks = [CurioLogger(persistence)]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curio_persistence.interop.adapters.blocks import Blocks
from curio_persistence.interop.adapters.guard import guarded, missing
from curio_persistence.recording.responses import found
from curio_persistence.store.json_text import nearest_json

try:
    from litellm.integrations.custom_logger import CustomLogger
except ImportError as error:
    raise missing("LiteLLM", "litellm", error) from error

_TOLD = ("request_tags", "cache_hit", "stream", "api_base")
"""Members of LiteLLM's report of a call that are kept in its metrics."""
_UNPRICED = "response_cost_failure_debug_info"
_TEXT = ("completion", "text_completion", "responses", "anthropic_messages")
_WITH_TEXT = frozenset((*_TEXT, *(f"a{operation}" for operation in _TEXT)))
"""The operations whose answer is kept; others answer with numbers, pictures or sound."""


class CurioLogger(CustomLogger):
    """Records each call: in the run in whose block it is made, else as a call of no run.

    `agent_id` is the agent of calls of no run. LiteLLM's price of a call is its reported cost.
    """

    def __init__(self, persistence: Any, *, agent_id: str | None = None) -> None:
        super().__init__()
        self._blocks = Blocks(persistence)
        self._agent_id = agent_id

    @guarded
    def log_pre_api_call(self, model: str, messages: Any, kwargs: dict[str, Any]) -> None:
        """Begin a call, where its caller's run is known; a retry goes on with it."""
        if self._blocks.around(kwargs["litellm_call_id"]) is None:
            self._blocks.call(kwargs["litellm_call_id"], None, self._agent_id)

    @guarded
    def log_success_event(
        self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """End a call with its answer."""
        self._end(kwargs, response_obj, None)

    @guarded
    def log_failure_event(
        self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """End a call that failed."""
        told = kwargs.get("standard_logging_object") or {}
        self._end(kwargs, None, kwargs.get("exception") or told.get("error_str") or "It failed.")

    async def async_log_success_event(self, *told: Any, **named: Any) -> None:
        """End an awaited call with its answer."""
        self.log_success_event(*told, **named)

    async def async_log_failure_event(self, *told: Any, **named: Any) -> None:
        """End an awaited call that failed."""
        self.log_failure_event(*told, **named)

    def _end(self, kwargs: dict[str, Any], response: Any, error: Any) -> None:
        told = kwargs.get("standard_logging_object") or {}
        key = kwargs["litellm_call_id"]
        if self._blocks.around(key) is None and told.get("cache_hit"):  # It was never begun.
            self._blocks.call(key, None, self._agent_id)
        operation = str(told.get("call_type") or "completion")
        answer = nearest_json(response) if operation in _WITH_TEXT else None
        metrics = _metrics(told, kwargs.get("litellm_params"))
        if operation not in _WITH_TEXT:
            metrics["operation"] = operation
        asked = {"model": kwargs.get("model"), **(told.get("model_parameters") or {})}
        self._blocks.end_call(
            key,
            error,
            _without_extras(answer),
            provider=told.get("custom_llm_provider") or "",
            prompt=told.get("messages") or "",
            input_params={name: value for name, value in asked.items() if value is not None},
            usage_metrics=metrics,
            latency_ms=_milliseconds(told.get("startTime"), told.get("endTime")),
            **_tokens(nearest_json(getattr(response, "usage", None))),
        )


def _metrics(told: Mapping[str, Any], settings: Any) -> dict[str, Any]:
    metrics = {name: told.get(name) for name in _TOLD}
    session = found(settings, "litellm_session_id")
    metrics["session_id"] = session or found(found(settings, "metadata"), "session_id")
    if told.get("stream"):
        began, first = told.get("startTime"), told.get("completionStartTime")
        metrics["first_token_ms"] = _milliseconds(began, first)
    cost = told.get("response_cost")
    if cost is not None and told.get("status") == "success" and not told.get(_UNPRICED):
        metrics["reported_cost"] = round(cost, 12)  # It comes as a binary fraction.
    return {name: value for name, value in metrics.items() if value not in (None, "", [])}


def _without_extras(answer: Any) -> Any:
    """Leave out what LiteLLM adds to a message that has only text."""
    for choice in found(answer, "choices") or ():
        (found(choice, "message") or {}).pop("provider_specific_fields", None)
    return answer


def _tokens(usage: Any) -> dict[str, int | None]:
    """Return the numbers of tokens of an answer, as LiteLLM has made them the same for all."""
    if not found(usage, "total_tokens"):
        return {}
    read = found(usage, "prompt_tokens_details", "input_tokens_details")
    written = found(usage, "completion_tokens_details", "output_tokens_details")
    return {
        "input_tokens": found(usage, "prompt_tokens", "input_tokens"),
        "output_tokens": found(usage, "completion_tokens", "output_tokens") or None,
        "cache_read_tokens": found(read, "cached_tokens"),
        "cache_write_tokens": found(usage, "cache_creation_input_tokens"),
        "reasoning_tokens": found(written, "reasoning_tokens"),
    }


def _milliseconds(began: float | None, ended: float | None) -> float | None:
    return round((ended - began) * 1000, 3) if began and ended else None
