"""The cost of computing the cost of a model call when it is written."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from benchmarks.cases.sides import Case, check
from benchmarks.support.report import Goal, Line
from benchmarks.support.timing import Chunk, interleave, timed
from benchmarks.support.workspace import Workspace
from curio_persistence import AgentLLMUsage, Persistence, SQLitePersistence

_CALLS = 100
_USAGE = {
    "prompt_tokens": 1226,
    "completion_tokens": 19,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}
_METRICS = {"finish_reason": "stop", "response_model": "gpt-4o-mini-2024-07-18", "usage": _USAGE}
_MODELS = {
    "a flat price": ("openai", "gpt-4o-mini", None),
    "a flat price, and the answer's own account": ("openai", "gpt-4o-mini", _METRICS),
    "a price by the length of the prompt": ("anthropic", "claude-sonnet-4-5", None),
    "no known price": ("acme", "acme-1", None),
}
_GOAL = Goal(1.4, 1.15)


def computed_costs(work: Workspace) -> list[Line]:
    """The column *raw* writes the same calls with a cost that is given."""
    with work.sqlite_copies(1) as (path,), SQLitePersistence(path) as persistence:
        single: Callable[[Any], object] = persistence.log_llm_usage
        persistence.prices.version()  # It is loaded once in a process.
        lines = [_line(work, name, "a model call", single, 1) for name in _MODELS]
        lines += [
            _line(work, name, "of 100, a model call", _many(persistence), 100) for name in _MODELS
        ]
        check(persistence.prices.unpriced()[0].model, "acme-1")
        return lines


CASES: dict[str, Case] = {"prices": computed_costs}


def _many(persistence: Persistence) -> Callable[[Any], object]:
    return lambda calls: persistence.log_llm_usages(calls)


def _line(work: Workspace, name: str, what: str, write: Callable[[Any], object], size: int) -> Line:
    provider, model, metrics = _MODELS[name]

    def chunk(cost: Decimal | None) -> Chunk:
        def made() -> AgentLLMUsage:
            return AgentLLMUsage(
                "agent",
                None,
                provider,
                model,
                input_tokens=1226,
                output_tokens=19,
                usage_metrics=metrics,
                cost_usd=cost,
            )

        def run() -> int:
            calls = [made() for _ in range(_CALLS)]
            return timed(write, calls if size == 1 else [calls])

        return run

    return Line(
        f"SQLite, {what} with {name}, against a given cost",
        _GOAL,
        interleave(
            chunk(Decimal("0.0001953")),
            chunk(None),
            calls=_CALLS,
            chunks=max(work.sizes.writes // _CALLS, 1),
            repetitions=work.sizes.repetitions,
        ),
    )
