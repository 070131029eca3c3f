"""Runs and model calls that follow from entries, and are stored with them.

A RunStarted makes its run, a RunFinished or RunFailed ends it, and an LLMCallCompleted is counted
as a model call, by its numbers: its words are in the entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any, NamedTuple

from curio_persistence.capabilities.runs import Runs
from curio_persistence.clock import Clock
from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunStatus
from curio_persistence.redaction import Redaction
from curio_persistence.runlog.entries import (
    LLMCallCompleted,
    RunFailed,
    RunFinished,
    RunLogEntry,
    RunStarted,
)
from curio_persistence.runlog.values import text_of
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_count, encode_latency, encode_money, encode_time
from curio_persistence.store.filters import Filter, Where
from curio_persistence.store.table import Row
from curio_persistence.tables import RUNS, USAGE

_KEY = ("run_id",)
_COMPLETED = AgentRunStatus.COMPLETED.value


class Ended(NamedTuple):
    """A run that ends: which one, and what changes in it."""

    run: Where
    changes: Row


class LoggedRuns(Runs):
    """The runs of a log, which begin and end by their entries."""

    def row_of(self, session_id: str, entry: RunStarted) -> Row:
        """Return the row of a run that begins."""
        run = AgentRun(
            entry.agent_id,
            entry.run_id,
            objective=text_of(entry.user_input),
            started_at=entry.created_at,
            status=AgentRunStatus.RUNNING,
            session_id=session_id,
            parent_run_id=entry.parent_run_id,
            user_id=entry.user_id,
            created_at=entry.created_at,
        )
        return {**self._encode(run), "updated_at": encode_time(self._clock.stamp(entry.run_id))}

    def end_of(self, entry: RunFinished | RunFailed) -> Ended:
        """Return what ends a run. One that has completed does not fail any more."""
        run = RUNS.where(run_id=entry.run_id)
        fields: dict[str, Any] = {"finished_at": entry.created_at}
        if isinstance(entry, RunFinished):
            fields |= {"status": _COMPLETED, "final_synthesis_output": entry.response}
            fields |= {"metrics": entry.metrics}
        else:
            fields |= {"status": AgentRunStatus.ERROR.value, "error_message": entry.error}
            run = (*run, Filter("status", "<>", _COMPLETED))
        changes = self._changes(entry.run_id, {n: v for n, v in fields.items() if v is not None})
        return Ended(run, {**changes, "stub": None})

    def begin(self, rows: list[Row]) -> None:
        """Store the runs that begin; leave those unchanged that were created before."""
        stored = self._store.upsert(RUNS, rows, key=_KEY)
        for row, is_new in zip(rows, stored.new, strict=True):
            if not is_new:
                self._fill_stub_with(row)

    def finish(self, ended: Iterable[Ended]) -> None:
        """End runs, in their order."""
        for run, changes in ended:
            self._store.update(RUNS, run, changes)


class Effects(NamedTuple):
    """The rows that some entries change besides their own."""

    begun: list[Row]
    ended: list[Ended]
    calls: dict[int, Row]
    """The model calls, by the positions of their entries."""


class Prepares:
    """Prepares the effects of entries, before anything is stored."""

    def __init__(self, store: Store, clock: Clock, redaction: Redaction) -> None:
        self.runs = LoggedRuns(store, clock, redaction)
        self._encode_call = redaction.encoder(USAGE)

    def effects_of(self, session_id: str, entries: Iterable[RunLogEntry]) -> Effects:
        """Return the effects of some entries of a session."""
        effects = Effects([], [], {})
        for at, entry in enumerate(entries):
            if isinstance(entry, RunStarted):
                effects.begun.append(self.runs.row_of(session_id, entry))
            elif isinstance(entry, RunFinished | RunFailed):
                effects.ended.append(self.runs.end_of(entry))
            elif isinstance(entry, LLMCallCompleted):
                effects.calls[at] = self._encode_call(_call_of(entry))
        return effects


def _call_of(entry: LLMCallCompleted) -> AgentLLMUsage:
    """Return the numbers of a model call; a value that is not a number is unknown."""
    metrics = _members(entry.metrics)

    def number(name: str, encode: Callable[[Any], int] = encode_count) -> Any:
        try:
            encode(metrics[name])
        except (KeyError, TypeError, ValueError):
            return None
        return metrics[name]

    return AgentLLMUsage(
        entry.agent_id,
        entry.run_id,
        provider=str(metrics.get("provider") or ""),
        model=str(metrics.get("model_name") or ""),
        input_tokens=number("input_tokens"),
        output_tokens=number("output_tokens"),
        cache_read_tokens=number("cache_read_tokens"),
        cache_write_tokens=number("cache_creation_tokens"),
        cost_usd=number("token_cost", encode_money),
        latency_ms=number("duration_ms", encode_latency),
        created_at=entry.created_at,
    )


def _members(metrics: Any) -> Mapping[str, Any]:
    if is_dataclass(metrics) and not isinstance(metrics, type):
        return asdict(metrics)
    return metrics if isinstance(metrics, Mapping) else {}
