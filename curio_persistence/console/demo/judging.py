"""Judgements of the demonstration's runs by people and rules: scores, approvals and alerts."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from curio_persistence.models import AgentRun, AgentRunStatus

if TYPE_CHECKING:
    from curio_persistence.persistence import Persistence

_JUDGED = 40
"""The newest runs that ended, which are scored."""


def judge(persistence: Persistence, runs: Sequence[AgentRun], chance: Random) -> None:
    """Score some runs, ask for an approval that waits, and set up alerts and a retention policy."""
    ended = [run for run in runs if run.finished_at is not None]
    for run in ended[-_JUDGED:]:
        is_good = run.status == AgentRunStatus.COMPLETED and chance.random() < 0.8
        persistence.scores.set(run.run_id, "helpful", float(is_good), author="amira")
    running = [run for run in runs if run.finished_at is None]
    if running:
        persistence.approvals.request(
            running[-1].run_id, "calendar.book", {"room": "Fjord", "at": "Friday 14:00"}
        )
    _watch(persistence)


def _watch(persistence: Persistence) -> None:
    if persistence.alerts.list():
        return
    persistence.alerts.create("failing-runs", "error_rate", 0.2, window="1h")
    persistence.alerts.create("spending", "cost", 25, window="24h", agent_id="coder")
    persistence.alerts.create("silence", "silence", window="6h")
    persistence.alerts.evaluate()
