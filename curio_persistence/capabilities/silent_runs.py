"""Runs that are still running without a sign of life: their agent probably died."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from curio_persistence.errors import InvalidValueError
from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent, AgentRunStatus
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Order, checked_count
from curio_persistence.tables import EVENTS, RUNS, USAGE

_AS_INDEXED = (Order("created_at"), Order("id"))
_LATEST = (Order("timestamp", descending=True), Order("id", descending=True))


class SilentRuns:
    """The running runs of a store without a record for the time `older_than`."""

    def __init__(self, store: Store, now: datetime, older_than: timedelta) -> None:
        if not isinstance(older_than, timedelta) or older_than < timedelta(0):
            raise InvalidValueError(
                f"older_than is a timedelta that is not negative, not {older_than!r}.",
                field="older_than",
            )
        self._store = store
        self._now = now
        self._older_than = older_than

    def find(self, limit: int | None) -> list[tuple[AgentRun, datetime]]:
        """Return at most `limit` runs, the oldest ones, with the time of their last record."""
        where = RUNS.where(status=AgentRunStatus.RUNNING)
        limit = None if limit is None else checked_count("limit", limit)
        running = RUNS.decode(self._store.select(RUNS, where, order=_AS_INDEXED, limit=limit))[::-1]
        old = [run for run in running if self._is_long_ago(_last_change(run))]
        seen = [(run, self._last_sign_of_life(run)) for run in old]
        return [(run, last) for run, last in seen if self._is_long_ago(last)]

    def _is_long_ago(self, moment: datetime) -> bool:
        return self._now - moment > self._older_than

    def _last_sign_of_life(self, run: AgentRun) -> datetime:
        return max(self._latest_time(member) for member in self._family(run))

    def _family(self, run: AgentRun) -> Iterable[AgentRun]:
        """Return a run and its descendants, each once, even in a cycle."""
        family, unseen = {run.run_id: run}, [run]
        while unseen:
            children = RUNS.where(parent_run_id=unseen.pop().run_id)
            for child in RUNS.decode(self._store.select(RUNS, children, order=_AS_INDEXED)):
                if child.run_id not in family:
                    family[child.run_id] = child
                    unseen.append(child)
        return family.values()

    def _latest_time(self, run: AgentRun) -> datetime:
        """Return the time of the last change of this run, or of its last event or model call."""
        events = EVENTS.where(run_id=run.run_id)
        calls = USAGE.where(run_id=run.run_id)
        times = [
            _last_change(run),
            *_created(EVENTS.decode(self._store.select(EVENTS, events, order=_LATEST, limit=1))),
            *_created(USAGE.decode(self._store.select(USAGE, calls, limit=1))),
        ]
        return max(times)


def _created(records: Iterable[AgentRunEvent | AgentLLMUsage]) -> list[datetime]:
    return [record.created_at for record in records if record.created_at is not None]


def _last_change(run: AgentRun) -> datetime:
    """Return the time of a run's last update or creation; a run that was read has both."""
    return max(time for time in (run.created_at, run.updated_at) if time is not None)
