"""The metrics of a step as those of a model call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from curio_persistence.importers.sessions.places import an_object, as_text
from curio_persistence.importers.sessions.records import Turn
from curio_persistence.importers.traces.values import Values, text
from curio_persistence.models import AgentLLMUsage

Object = Mapping[str, Any]

_CACHE_WRITE = ("cache_creation_input_tokens", "cache_creation_tokens", "cache_write_tokens")
_REASONING = ("reasoning_tokens", "reasoning_output_tokens")
_EXACT_COST = "cost_usd"
_DETAILS = ("completion_tokens_details", "output_tokens_details")


def call_of(step: Object, turn: Turn, values: Values, model: str | None) -> AgentLLMUsage:
    """Return the model call of an agent's step. Metrics of several calls are those of one here."""
    metrics = an_object(step.get("metrics"))
    extra = an_object(metrics.get("extra"))
    nested = {**an_object(extra.get(_DETAILS[0])), **an_object(extra.get(_DETAILS[1]))}
    message = as_text(step.get("message"))
    return AgentLLMUsage(
        turn.agent_id,
        turn.run_id,
        text(extra.get("provider")) or "",
        text(step.get("model_name")) or model or "",
        input_tokens=values.tokens(metrics.get("prompt_tokens")),
        output_tokens=values.tokens(metrics.get("completion_tokens")),
        response_content=message or None,
        response_length=len(message) or None,
        usage_metrics=_kept(step, extra) or None,
        status="error" if extra.get("error") else "success",
        error_message=text(extra.get("error")),
        latency_ms=values.tokens(extra.get("duration_ms")),
        cache_read_tokens=values.tokens(metrics.get("cached_tokens")),
        cache_write_tokens=values.tokens(_first(extra, _CACHE_WRITE)),
        reasoning_tokens=values.tokens(_first({**nested, **extra}, _REASONING)),
        cost_usd=_cost(metrics, extra, values),
    )


def _cost(metrics: Object, extra: Object, values: Values) -> Decimal | None:
    """Return the cost: exact where our own export wrote it, since ATIF has a float only."""
    exact = values.money(extra.get(_EXACT_COST))
    return values.money(metrics.get("cost_usd")) if exact is None else exact


def _kept(step: Object, extra: Object) -> dict[str, Any]:
    kept = {name: value for name, value in extra.items() if name != _EXACT_COST}
    if (count := step.get("llm_call_count")) not in (None, 1):
        kept["llm_call_count"] = count
    return kept


def _first(told: Object, names: Iterable[str]) -> Any:
    return next((told[name] for name in names if told.get(name) is not None), None)
