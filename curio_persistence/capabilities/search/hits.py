"""The results of a search."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, overload

from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent
from curio_persistence.results.pages import Page
from curio_persistence.store import codecs
from curio_persistence.store.column import Column
from curio_persistence.store.json_text import json_text
from curio_persistence.store.table import Columns, Table

HitKind = Literal["run", "event", "usage"]


@dataclass(frozen=True, slots=True)
class SearchHit:
    """One record that matches a search.

    `timestamp` is when an event happened, a run or a model call was stored. `snippet` is one line
    of its `field`, and `highlights` are the matching ranges of it. A higher `score` is a better
    match; None where the newest come first.
    """

    kind: HitKind
    run_id: str | None
    agent_id: str | None
    timestamp: datetime
    field: str
    snippet: str
    highlights: tuple[tuple[int, int], ...]
    score: float | None
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
            "highlights": [list(each) for each in self.highlights],
            "score": self.score,
            "record": self.record.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class _Line:
    """A hit as a line of a table: its record by its id, the highlights as text."""

    kind: str
    run_id: str | None
    agent_id: str | None
    timestamp: datetime
    field: str
    snippet: str
    highlights: str
    score: float | None
    record_id: int


_LINES = Table(
    "search hits",
    _Line,
    (
        Column("kind", codecs.encode_name),
        Column("run_id", codecs.encode_optional_id),
        Column("agent_id", codecs.encode_optional_id),
        Column("timestamp", codecs.encode_time, codecs.decode_stored_times),
        Column("field", codecs.encode_name),
        Column("snippet", codecs.encode_text, codecs.decode_texts),
        Column("highlights", codecs.encode_name),
        Column("score", codecs.encode_real),
        Column("record_id", codecs.encode_integer),
    ),
    order=(),
    ages_by="timestamp",
    lookups=(),
    ddl="",
)
"""The table form of a result, like that of all results; no database stores it."""


class SearchPage(Page[SearchHit]):
    """One page of hits. `pending` is the number of records that were not searched yet.

    `is_partial` is True if there are records with texts of more than 10,000 words, of which only
    the first 10,000 are searched.
    As a table it has a hit's `record_id` in place of its record, and the highlights as JSON.
    """

    def __init__(
        self,
        hits: list[SearchHit],
        next_cursor: str | None,
        pending: int,
        *,
        is_partial: bool = False,
    ) -> None:
        lines: Any = _LINES
        super().__init__(lines, _columns(hits), next_cursor)
        self._hits = hits
        self.pending = pending
        self.is_partial = is_partial

    @overload
    def __getitem__(self, index: int) -> SearchHit: ...
    @overload
    def __getitem__(self, index: slice) -> SearchPage: ...
    def __getitem__(self, index: int | slice) -> SearchHit | SearchPage:
        if isinstance(index, slice):
            return SearchPage(self._hits[index], None, self.pending, is_partial=self.is_partial)
        return self._hits[index]

    def __iter__(self) -> Iterator[SearchHit]:
        return iter(self._hits)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the `to_dict()` of each hit."""
        return [hit.to_dict() for hit in self._hits]

    def _heading(self) -> str:
        waiting = f"; {self.pending:,} records not searched yet" if self.pending else ""
        return super()._heading() + waiting


def _columns(hits: list[SearchHit]) -> Columns:
    rows = [
        (
            hit.kind,
            hit.run_id,
            hit.agent_id,
            codecs.encode_time(hit.timestamp),
            hit.field,
            codecs.encode_text(hit.snippet),
            json_text(hit.highlights),
            hit.score,
            hit.record.id,
        )
        for hit in hits
    ]
    return list(zip(*rows, strict=True)) or [()] * len(_LINES.names)
