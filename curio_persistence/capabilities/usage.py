"""Usage: the tokens, latency and cost of every model call."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from curio_persistence.capabilities.appends import Appends
from curio_persistence.errors import ConflictError
from curio_persistence.models import AgentLLMUsage
from curio_persistence.store.codecs import decode_money, encode_time
from curio_persistence.store.filters import checked_count
from curio_persistence.store.tables import USAGE, Row


class Usage(Appends[AgentLLMUsage]):
    """One model call each."""

    _table = USAGE
    _dated = ("created_at",)

    def log(self, usage: AgentLLMUsage) -> None:
        """Append one model call. `cost_usd` is filled in when the metrics named it."""
        row = USAGE.encode(usage)
        now = self._clock.stamp(usage.run_id)
        if row["created_at"] is None:
            row["created_at"] = encode_time(now)
        try:
            ident = self._store.insert(USAGE, row)
        except ConflictError:
            self._store_and_tell([usage], [row], {row["run_id"]: now})
            return
        with suppress(AttributeError):  # A frozen record, or one without a cost: it is stored.
            self._fill_in(usage, row, ident, now)

    def _fill_in(self, usage: AgentLLMUsage, row: Row, ident: int, moment: datetime | None) -> None:
        super()._fill_in(usage, row, ident, moment)
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
