"""The belongings of a run besides its steps: scores, approvals, snapshots, and its hash chain."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from curio_persistence.models import AgentRun, AgentRunStatus, Approval, Score, Snapshot
from curio_persistence.persistence import Persistence

SILENT = timedelta(hours=1)
"""A running run without a sign of life for so long was left behind."""
_EXAMINED = 1_000
_SHOWN = 50
"""Snapshots that are listed."""


@dataclass(frozen=True)
class Belongings:
    """`chain` says what verifying the hash chain found; None where that was not asked for."""

    scores: list[Score]
    approvals: list[Approval]
    snapshots: list[Snapshot]
    snapshot_count: int
    is_chained: bool
    chain: str | None
    is_whole: bool
    is_in_run_log: bool


def belongings_of(persistence: Persistence, run: AgentRun, *, verify: bool) -> Belongings:
    """Return what belongs to a run; `verify` its hash chain, which reads all its events."""
    first = next(iter(persistence.query_events(run_id=run.run_id, order="oldest", limit=1)), None)
    is_chained = first is not None and first.chain_position is not None
    report = persistence.audit.verify(run.run_id) if verify and is_chained else None
    snapshots = persistence.snapshots.list(run.run_id)
    return Belongings(
        persistence.scores.list(run.run_id),
        persistence.approvals.list(run.run_id),
        snapshots[-_SHOWN:],
        len(snapshots),
        is_chained,
        None if report is None else "; ".join(map(str, report.faults)) or f"{report.links:,} links",
        report is not None and report.ok,
        first is not None and first.seq is not None,
    )


def is_left_behind(persistence: Persistence, run: AgentRun) -> bool:
    """Return True for a running run that gave no sign of life for an hour."""
    changed = run.updated_at or run.created_at
    if run.status != AgentRunStatus.RUNNING or changed is None:
        return False
    if persistence.clock.now() - changed <= SILENT:
        return False
    silent = persistence.runs.stale(older_than=SILENT, limit=_EXAMINED)
    return any(each.run_id == run.run_id for each in silent)
