"""The base of the parts of an event store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from curio_persistence.capabilities.chains import EVENT_CHAINS, IN_ORDER, Chains
from curio_persistence.capabilities.search.indexing import Indexing
from curio_persistence.compat.agentlens.records import event_of
from curio_persistence.compat.agentlens.values import AgentLensEvent
from curio_persistence.errors import UnsupportedError
from curio_persistence.export.records import checked_persistence
from curio_persistence.persistence import Persistence
from curio_persistence.store.filters import Filter, Order, Where
from curio_persistence.store.table import Columns
from curio_persistence.tables import EVENTS
from curio_persistence.tables.audit import ChainHead

_LOCK = "agentlens"
_LAST = tuple(Order(order.column, descending=True) for order in IN_ORDER)


class Part:
    """A part of an event store, over a persistence."""

    def __init__(self, persistence: Persistence) -> None:
        checked_persistence(persistence)
        if persistence.redaction.capture_content != "full":
            raise UnsupportedError(
                "The hashes of AgentLens cover what events say, so that its event store needs "
                'capture_content="full".'
            )
        self.persistence = persistence
        self._store = persistence._store
        self._clock = persistence.clock
        self._chains = Chains(self._store, self._clock, EVENT_CHAINS)
        self._indexing = Indexing(self._store)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Group writes in a transaction, for which other writers of event stores wait.

        Sessions share agents, so that locks for each of them could deadlock.
        """
        with self._store.transaction():
            self._store.advisory_lock(_LOCK)
            yield

    def _tail(self, session_id: str) -> str | None:
        """Return the hash that the next event of a session follows."""
        last = self._store.select(EVENTS, links_of(session_id), order=_LAST, limit=1)
        at = EVENTS.names.index
        ends = [*zip(last[at("chain_position")], last[at("hash")], strict=True)]
        if (head := self._head(session_id)) is not None:
            ends.append((head.position, head.hash))
        return max(ends, default=(0, None))[1] or None

    def _head(self, session_id: str) -> ChainHead | None:
        """Return the stored end of a chain, and its anchor."""
        return next(iter(self._chains.heads([session_id])), None)


def links_of(session_id: str) -> Where:
    """Return the filters for the links of a session's chain."""
    return (Filter("run_id", "=", session_id), Filter("chain_position", "is not null"))


def events_in(columns: Columns) -> list[AgentLensEvent]:
    """Return the events of some rows."""
    return [event_of(record, record.prev_hash, record.hash) for record in EVENTS.decode(columns)]
