"""Usage: the tokens, latency and cost of every model call."""

from __future__ import annotations

from contextlib import suppress

from curio_persistence.clock import Clock
from curio_persistence.models import AgentLLMUsage
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import decode_money, encode_time
from curio_persistence.store.filters import checked_count
from curio_persistence.store.tables import USAGE


class Usage:
    """One model call each."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def log(self, usage: AgentLLMUsage) -> None:
        """Append one model call. `cost_usd` is filled in when the metrics named it."""
        row = USAGE.encode(usage)
        now = self._clock.stamp(usage.run_id)
        if unstored := row["created_at"] is None:
            row["created_at"] = encode_time(now)
        ident = self._store.insert(USAGE, row)
        with suppress(AttributeError):  # A frozen record, or one without a cost: it is stored.
            usage.id = ident
            if unstored:
                usage.created_at = now
            cost = row.get("cost_usd")
            if isinstance(cost, int):
                usage.cost_usd = decode_money(cost)

    def newest(
        self, *, agent_id: str | None = None, run_id: str | None = None, limit: int | None = 100
    ) -> list[AgentLLMUsage]:
        """Model calls, newest first."""
        rows = self._store.select(
            USAGE,
            USAGE.where(agent_id=agent_id, run_id=run_id),
            limit=None if limit is None else checked_count("limit", limit),
        )
        return USAGE.decode(rows)
