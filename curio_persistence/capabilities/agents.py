"""Agents: those that have run, when they were first and last seen, and what people call them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypedDict, Unpack

from curio_persistence.capabilities.arguments import checked_id
from curio_persistence.capabilities.capability import Capability
from curio_persistence.capabilities.record_filter import FilterKind, of_runs
from curio_persistence.capabilities.windows import TimeLike
from curio_persistence.clock import Clock
from curio_persistence.errors import ConflictError, NotFoundError
from curio_persistence.models import Agent
from curio_persistence.redaction import Redaction
from curio_persistence.results.pages import Direction, Page, Stream, open_stream, read_page
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Where
from curio_persistence.store.table import Row
from curio_persistence.tables import AGENTS

_DESCRIBED = ("name", "description", "metadata")


class AgentFilters(TypedDict, total=False):
    """The filters of agents; an agent must pass all that are given."""

    agent_id: str | Collection[str] | None
    name: str | Collection[str] | None
    run_id: str | Collection[str] | None
    session_id: str | Collection[str] | None
    user_id: str | Collection[str] | None
    since: TimeLike | None
    until: TimeLike | None


AGENT_FILTERS = FilterKind(
    AGENTS,
    AgentFilters,
    conditions={name: of_runs("agent_id", name) for name in ("run_id", "session_id", "user_id")},
)


class Agents(Capability):
    """List the agents that have run, and describe them."""

    def __init__(self, store: Store, clock: Clock, redaction: Redaction) -> None:
        super().__init__(store, clock)
        self._redaction = redaction
        self._encode = redaction.encoder(AGENTS)

    def create(
        self, agent_id: str, *, name: str = "", description: str | None = None, metadata: Any = None
    ) -> Agent:
        """Store an agent before its first run, and return it.

        Raise ConflictError if a caller has described it before.
        """
        checked_id("agent_id", agent_id)
        now = self._clock.stamp(agent_id)
        row = self._encode(Agent(agent_id, name, description, now, now, None, now, now, metadata))
        try:
            self._store.insert(AGENTS, row)
        except ConflictError:
            by_runs = (*_where(agent_id), Filter("updated_at", "is null"))
            given = {n: row[n] for n in (*_DESCRIBED, "updated_at") if row[n]}
            if not self._store.update(AGENTS, by_runs, given):
                raise
        return self._stored(agent_id)

    def update(
        self,
        agent_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        metadata: Any = None,
    ) -> Agent:
        """Replace the given fields of an agent, and return it.

        Raise NotFoundError if it is not stored.
        """
        given = {"name": name, "description": description, "metadata": metadata}
        where = _where(agent_id)
        changes: Row = {n: AGENTS.encode_value(n, v) for n, v in given.items() if v is not None}
        self._redaction.clean(AGENTS, changes)
        changes["updated_at"] = encode_time(self._clock.stamp(agent_id))
        self._store.update(AGENTS, where, changes)
        return self._stored(agent_id)

    def get(self, agent_id: str) -> Agent | None:
        """Return one agent, or None."""
        found = AGENTS.decode(self._store.select(AGENTS, _where(agent_id), limit=1))
        return found[0] if found else None

    def query(
        self,
        *,
        order: Direction = "newest",
        limit: int | None = 100,
        cursor: str | None = None,
        **filters: Unpack[AgentFilters],
    ) -> Page[Agent]:
        """Return one page of agents, those that were seen last first.

        The filters are `agent_id` and `name`, `run_id`, `session_id` and `user_id` of runs of an
        agent, and `since` and `until` for the time when it was last seen. An agent that is seen
        while pages are read moves to the front.
        """
        where = self._where(filters)
        return read_page(
            self._store.for_reading, AGENTS, where, order=order, limit=limit, cursor=cursor
        )

    def iterate(
        self,
        *,
        order: Direction = "newest",
        snapshot: bool = True,
        **filters: Unpack[AgentFilters],
    ) -> Stream[Agent]:
        """Iterate over all agents, those that were seen last first."""
        return open_stream(
            self._store, AGENTS, self._where(filters), order=order, snapshot=snapshot
        )

    def count(self, **filters: Unpack[AgentFilters]) -> int:
        """Return the number of agents that pass the filters."""
        return self._store.for_reading.count(AGENTS, self._where(filters))

    def _where(self, filters: AgentFilters) -> Where:
        return AGENT_FILTERS.of(filters).where(self._clock)

    def _stored(self, agent_id: str) -> Agent:
        agent = self.get(agent_id)
        if agent is None:
            raise NotFoundError(f"{self._store.location} has no agent {agent_id!r}.")
        return agent


def _where(agent_id: str) -> Where:
    return (AGENTS.filter("agent_id", "=", checked_id("agent_id", agent_id)),)
