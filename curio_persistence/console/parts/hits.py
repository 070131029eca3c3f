"""Hits of a search, grouped by the runs that they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from curio_persistence.capabilities.search import SearchHit
from curio_persistence.console.parts.event_rows import row_of
from curio_persistence.models import FAILED_STATUSES, AgentLLMUsage, AgentRun, AgentRunEvent
from curio_persistence.persistence import Persistence

_SHOWN = 3
"""Hits of a run that are shown at once; the rest can be unfolded."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One hit: `step` names it in its run, `kind` and `label` say what it is.

    `failed` says that it went wrong. `parts` are the pieces of the snippet, each with True if it is
    what was searched for.
    """

    found: SearchHit
    step: str | None
    kind: str
    label: str
    failed: bool
    parts: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class RunHits:
    """The hits of one run, in the order of the search; `run` is None where it is not stored."""

    run_id: str | None
    run: AgentRun | None
    hits: tuple[Hit, ...]

    @property
    def shown(self) -> tuple[Hit, ...]:
        """The hits that are shown at once; no single one is left over."""
        return self.hits if len(self.hits) == _SHOWN + 1 else self.hits[:_SHOWN]

    @property
    def rest(self) -> tuple[Hit, ...]:
        return self.hits[len(self.shown) :]


def grouped(hits: Iterable[SearchHit], persistence: Persistence) -> list[RunHits]:
    """Return hits by their runs, a run where its first hit stands."""
    groups: dict[str | None, list[SearchHit]] = {}
    for hit in hits:
        groups.setdefault(hit.run_id, []).append(hit)
    runs = _runs(persistence, [run_id for run_id in groups if run_id is not None])
    return [
        RunHits(run_id, runs.get(run_id), tuple(map(_hit, some))) for run_id, some in groups.items()
    ]


def _runs(persistence: Persistence, run_ids: list[str]) -> dict[str | None, AgentRun]:
    if not run_ids:
        return {}
    page = persistence.query_agent_runs(run_id=run_ids, limit=len(run_ids), brief=True)
    return {run.run_id: run for run in page}


def _hit(found: SearchHit) -> Hit:
    record = found.record
    if isinstance(record, AgentRunEvent):
        row, step = row_of(record), f"event:{record.id}"
        return Hit(found, step, row.step.kind, row.name, row.failed, _parts(found))
    if isinstance(record, AgentLLMUsage):
        failed = record.status != "success"
        return Hit(found, f"usage:{record.id}", "model", record.model, failed, _parts(found))
    return Hit(found, None, "run", "run", record.status in FAILED_STATUSES, _parts(found))


def _parts(hit: SearchHit) -> tuple[tuple[str, bool], ...]:
    return tuple((text, is_match) for text, is_match in _pieces(hit) if text)


def _pieces(hit: SearchHit) -> Iterator[tuple[str, bool]]:
    at = 0
    for start, end in hit.highlights:
        yield hit.snippet[at:start], False
        yield hit.snippet[start:end], True
        at = end
    yield hit.snippet[at:], False
