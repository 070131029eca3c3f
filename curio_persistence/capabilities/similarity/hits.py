"""The results of a question for what is similar."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, overload

from curio_persistence.capabilities.similarity.texts import TextKind
from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent
from curio_persistence.results.computed import computed_table
from curio_persistence.results.pages import Records
from curio_persistence.store import codecs
from curio_persistence.store.table import Columns


@dataclass(frozen=True, slots=True)
class SimilarHit:
    """One text of a record that is similar.

    `kind` is what the text is: prompt, output, error or message; `field` is the record's field that
    has it, and `snippet` one line of it. `score` is the cosine of the angle between the meanings: 1
    for the same text, about 0 for unrelated ones. `timestamp` is when an event happened, a run or a
    model call was stored.
    """

    kind: TextKind
    run_id: str | None
    agent_id: str | None
    timestamp: datetime
    field: str
    snippet: str
    score: float
    record: AgentRun | AgentRunEvent | AgentLLMUsage

    def to_dict(self) -> dict[str, Any]:
        """Return the hit, and its record, as plain values."""
        return {
            "kind": self.kind,
            "run_id": self.run_id,
            "agent_id": self.agent_id,
            "timestamp": self.timestamp.isoformat(),
            "field": self.field,
            "snippet": self.snippet,
            "score": self.score,
            "record": self.record.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class _Line:
    """A hit as a line of a table: its record by the id."""

    kind: str
    run_id: str | None
    agent_id: str | None
    timestamp: datetime
    field: str
    snippet: str
    score: float
    record_id: int


_LINES = computed_table("similar texts", _Line)


class SimilarHits(Records[SimilarHit]):
    """The most similar texts, the best first. `pending` is how many records were not compared yet.

    As a table it has a hit's `record_id` in place of its record.
    """

    def __init__(self, hits: list[SimilarHit], pending: int) -> None:
        lines: Any = _LINES
        super().__init__(lines, _columns(hits))
        self._hits = hits
        self.pending = pending

    @overload
    def __getitem__(self, index: int) -> SimilarHit: ...
    @overload
    def __getitem__(self, index: slice) -> SimilarHits: ...
    def __getitem__(self, index: int | slice) -> SimilarHit | SimilarHits:
        if isinstance(index, slice):
            return SimilarHits(self._hits[index], self.pending)
        return self._hits[index]

    def __iter__(self) -> Iterator[SimilarHit]:
        return iter(self._hits)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the `to_dict()` of each hit."""
        return [hit.to_dict() for hit in self._hits]

    def _heading(self) -> str:
        waiting = f"; {self.pending:,} records not compared yet" if self.pending else ""
        return super()._heading() + waiting


def _columns(hits: list[SimilarHit]) -> Columns:
    rows = [
        (
            hit.kind,
            codecs.encode_text(hit.run_id) if hit.run_id is not None else None,
            codecs.encode_text(hit.agent_id) if hit.agent_id is not None else None,
            codecs.encode_time(hit.timestamp),
            hit.field,
            codecs.encode_text(hit.snippet),
            hit.score,
            hit.record.id,
        )
        for hit in hits
    ]
    return list(zip(*rows, strict=True)) or [()] * len(_LINES.names)
