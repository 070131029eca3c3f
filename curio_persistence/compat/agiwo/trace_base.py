"""The contract of a storage of Agiwo's traces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from curio_persistence.compat.agiwo.traces import Trace, TraceQuery


class BaseTraceStorage(ABC):
    """Keeps traces. Subclass it for a storage of your own. Failures raise."""

    async def initialize(self) -> None:  # Not all need it.  # noqa: B027
        """Make what there has to be before anything is kept. Twice is fine."""

    @abstractmethod
    async def save_trace(self, trace: Trace) -> None:
        """Store a trace, in place of the one that has its id."""

    @abstractmethod
    async def get_trace(self, trace_id: str) -> Trace | None:
        """Return a trace; None if it is not stored."""

    @abstractmethod
    async def query_traces(self, query: TraceQuery | Mapping[str, Any]) -> list[Trace]:
        """Return traces, those that began last first."""

    @abstractmethod
    async def close(self) -> None:
        """Give back what is held."""
