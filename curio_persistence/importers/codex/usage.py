"""The calls of a turn: told by records, or else by a running sum that is sent again and again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from curio_persistence.importers.codex.rollouts import SOURCE_NAME
from curio_persistence.importers.common.writer import ImportedRecord, SourceLocation
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.records import Turn, stable_id
from curio_persistence.models import AgentLLMUsage

_COUNTS = (
    *("input_tokens", "cached_input_tokens", "cache_write_input_tokens"),
    *("output_tokens", "reasoning_output_tokens"),
)


def call(
    turn: Turn,
    event_id: str,
    usage: dict[str, Any],
    model: str,
    at: datetime | None,
    location: SourceLocation,
    context: SessionContext,
    *,
    provider: str = "openai",
    effort: str | None = None,
    span_id: str | None = None,
) -> AgentLLMUsage:
    """Return a model call. Input includes the cache, output includes reasoning."""

    def tokens(name: str) -> int | None:
        return context.tokens(usage.get(name), *location)

    return AgentLLMUsage(
        turn.agent_id,
        turn.run_id,
        provider=provider,
        model=model,
        input_params={"effort": effort} if effort else None,
        input_tokens=tokens("input_tokens"),
        output_tokens=tokens("output_tokens"),
        usage_metrics={"source": SOURCE_NAME},
        created_at=at or turn.started_at,
        span_id=span_id,
        cache_read_tokens=tokens("cached_input_tokens"),
        cache_write_tokens=tokens("cache_write_input_tokens"),
        reasoning_tokens=tokens("reasoning_output_tokens"),
        event_id=event_id,
    )


class Counted:
    """The running sum of a thread, and the calls of its turn that wait for the turn's end.

    A turn with records counts by them alone.
    """

    def __init__(self, context: SessionContext) -> None:
        self._context = context
        self._total: dict[str, Any] | None = None
        self._by_sum: list[ImportedRecord] = []
        self._by_record: list[ImportedRecord] = []
        self._repeated = 0

    def changes(self, info: Any) -> dict[str, Any] | None:
        """Return the tokens by which a sum grew; None if it did not, which is counted."""
        if not isinstance(info, dict):
            self._context.skip("token_count without info")
            return None
        total, last = info.get("total_token_usage"), info.get("last_token_usage")
        if total is not None and total == self._total:
            self._repeated += 1
            return None
        before, self._total = self._total, total
        if isinstance(last, dict):
            return last
        return _difference(total, before)

    def copied(self, info: Any) -> None:
        """Take the sum of a copied record as the one to go on from."""
        if isinstance(info, dict) and isinstance(info.get("total_token_usage"), dict):
            self._total = info["total_token_usage"]

    def add(self, record: ImportedRecord, *, by_record: bool) -> None:
        (self._by_record if by_record else self._by_sum).append(record)

    def end(self) -> Iterator[ImportedRecord]:
        """Yield the calls of the turn, each once."""
        if self._by_record:
            self._context.skip("token_count beside records", len(self._by_sum) + self._repeated)
        else:
            self._context.skip("token_count repeated", self._repeated)
        yield from self._by_record or self._by_sum
        self._by_sum, self._by_record, self._repeated = [], [], 0


def _difference(total: Any, before: Any) -> dict[str, Any] | None:
    if not isinstance(total, dict):
        return None
    earlier = before if isinstance(before, dict) else {}
    return {
        name: value - earlier.get(name, 0)
        for name in _COUNTS
        if type(value := total.get(name)) is int and type(earlier.get(name, 0)) is int
    }


def usage_id(thread_id: str, number: int, response_id: Any) -> str:
    """Return the id of a call: that of its response, or its line."""
    if isinstance(response_id, str) and response_id:
        return stable_id(SOURCE_NAME, response_id)
    return stable_id(SOURCE_NAME, thread_id, number)
