"""The model calls of AgentLens added up, by model and by time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from curio_persistence.compat.agentlens import AgentLensEvent, EventStore
from curio_persistence.compat.agentlens.times import moment_of, second_of
from curio_persistence.errors import InvalidValueError

_AT_ONCE = 500


@dataclass
class _Sums:
    """The sums of some calls."""

    calls: int = 0
    cost_usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    latency_ms: float = 0.0

    def add(self, payload: Mapping[str, Any]) -> None:
        usage = payload.get("usage")
        tokens = usage if isinstance(usage, Mapping) else {}
        self.calls += 1
        self.cost_usd += _number(payload.get("costUsd"))
        self.input_tokens += int(_number(tokens.get("inputTokens")))
        self.output_tokens += int(_number(tokens.get("outputTokens")))
        self.latency_ms += _number(payload.get("latencyMs"))

    def described(self) -> dict[str, Any]:
        return {
            "calls": self.calls,
            "costUsd": self.cost_usd,
            "inputTokens": self.input_tokens,
            "outputTokens": self.output_tokens,
            "avgLatencyMs": self.latency_ms / self.calls if self.calls else 0,
        }


def llm_analytics(
    store: EventStore, query: Mapping[str, Any], only: Mapping[str, str], granularity: str
) -> dict[str, Any]:
    """Return the sums of responses that pass a query, and have this model and provider."""
    if granularity not in ("hour", "day", "week"):
        raise InvalidValueError("granularity is hour, day or week.", field="granularity")
    total = _Sums()
    models: defaultdict[tuple[str, str], _Sums] = defaultdict(_Sums)
    times: defaultdict[str, _Sums] = defaultdict(_Sums)
    for event in _responses(store, query):
        payload = event.payload if isinstance(event.payload, Mapping) else {}
        if any(payload.get(name) != value for name, value in only.items()):
            continue
        model = (str(payload.get("provider", "")), str(payload.get("model", "")))
        for sums in (total, models[model], times[_start(event, granularity)]):
            sums.add(payload)
    return {
        "summary": _summary(total),
        "byModel": [
            {"provider": provider, "model": model, **sums.described()}
            for (provider, model), sums in sorted(models.items(), key=lambda it: -it[1].cost_usd)
        ],
        "byTime": [{"bucket": start, **sums.described()} for start, sums in sorted(times.items())],
    }


def _summary(total: _Sums) -> dict[str, Any]:
    told = total.described()
    return {
        "totalCalls": total.calls,
        "totalCostUsd": total.cost_usd,
        "totalInputTokens": total.input_tokens,
        "totalOutputTokens": total.output_tokens,
        "avgLatencyMs": told["avgLatencyMs"],
        "avgCostPerCall": total.cost_usd / total.calls if total.calls else 0,
    }


def _responses(store: EventStore, query: Mapping[str, Any]) -> Iterator[AgentLensEvent]:
    """Yield the responses of models, the oldest first."""
    asked = {**query, "eventType": "llm_response", "order": "asc", "limit": _AT_ONCE}
    offset, more = 0, True
    while more:
        page = store.query_events(asked, offset=offset)
        yield from page.events
        offset, more = offset + len(page.events), page.has_more


def _start(event: AgentLensEvent, granularity: str) -> str:
    """Return the begin of the period in which an event happened, in UTC."""
    moment = moment_of(event.timestamp, "timestamp").replace(minute=0, second=0, microsecond=0)
    if granularity == "hour":
        return second_of(moment)
    days = moment.weekday() if granularity == "week" else 0
    return second_of(moment.replace(hour=0) - timedelta(days=days))


def _number(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else 0.0
