"""Purges: old events go from the beginning of their chains, which verify on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, NamedTuple

from curio_persistence.capabilities.chains import IN_ORDER
from curio_persistence.capabilities.deletions import audit, bury
from curio_persistence.compat.agentlens.base import Part, links_of
from curio_persistence.compat.agentlens.filters import window
from curio_persistence.compat.agentlens.hashing import verify_chain_batch
from curio_persistence.compat.agentlens.records import OURS, event_of
from curio_persistence.compat.agentlens.times import moment_of
from curio_persistence.compat.agentlens.values import RetentionResult
from curio_persistence.errors import InvalidValueError
from curio_persistence.models import AgentRunEvent
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter
from curio_persistence.tables import EVENTS, RUNS, SESSIONS, SMALL_TABLES_OF_RUNS


class Beginning(NamedTuple):
    """The old events with which a chain begins: their ids, and the position of the last."""

    ids: Sequence[int] = ()
    position: int = 0


class Retains(Part):
    """The call that purges events."""

    def apply_retention(
        self, max_age_days: float = 90, *, older_than: Any = None
    ) -> RetentionResult:
        """Purge events of so many days ago, or of a time and before; 0 days keep all for ever.

        Of each session the events with which its chain begins are removed, as far as they are old.
        What follows them verifies, and is appended to, as before. If they do not verify, they are
        left. A session goes with its last event. All is done in one transaction.
        """
        cutoff = self._cutoff(max_age_days, older_than)
        if cutoff is None:
            return RetentionResult()
        with self._writing():
            result = self._purge_until(cutoff)
            self._store.sweep_texts()
            return result

    def _cutoff(self, max_age_days: Any, older_than: Any) -> datetime | None:
        if older_than is not None:
            return moment_of(older_than, "older_than")
        days = max_age_days
        if isinstance(days, bool) or not isinstance(days, int | float) or not days >= 0:
            raise InvalidValueError(
                f"max_age_days is a number of days that is not negative, not {days!r:.80}.",
                field="max_age_days",
            )
        try:
            return self._clock.now() - timedelta(days=days) if days else None
        except OverflowError:  # Older than any event.
            return None

    def _purge_until(self, cutoff: datetime) -> RetentionResult:
        old = (*OURS, *window("timestamp", None, cutoff))
        with_old = self._store.aggregate(EVENTS, (), old, group_by=("run_id",))
        beginnings = {id_: self._beginning(id_, cutoff) for (id_,) in sorted(with_old)}
        purged = {id_: found for id_, found in beginnings.items() if found and found.ids}
        self._lock(purged)
        for session_id, (ids, position) in purged.items():
            self._indexing.forget(EVENTS, ids)
            self._chains.cut(session_id, position)
        gone = self._without_events(purged)
        self._remove_sessions(gone)
        deleted = sum(len(found.ids) for found in purged.values())
        if deleted:
            details = {"before": encode_time(cutoff), "events": deleted, "sessions": len(gone)}
            audit(self._store, self._clock, "purge", "", "events", None, **details)
        return RetentionResult(deleted, len(gone), list(beginnings.values()).count(None))

    def _beginning(self, session_id: str, cutoff: datetime) -> Beginning | None:
        """Return the old events with which a chain begins; None if they do not verify."""
        ids: list[int] = []
        head = self._head(session_id)
        position, last = 0, head.anchor_hash or None if head else None
        for columns in self._store.stream(EVENTS, links_of(session_id), order=IN_ORDER):
            records = EVENTS.decode(columns)
            old = list(takewhile(lambda record: _is_old(record, cutoff), records))
            events = [event_of(record, record.prev_hash, record.hash) for record in old]
            if not verify_chain_batch(events, last).valid:
                return None
            ids += [record.id for record in old if record.id is not None]
            if old:
                position, last = old[-1].chain_position or 0, old[-1].hash
            if len(old) < len(records):
                break
        return Beginning(ids, position)

    def _lock(self, session_ids: Collection[str]) -> None:
        """Lock chains and runs before events, in the same order as appends and other deletions."""
        self._chains.lock(session_ids)
        of_runs = (Filter("run_id", "in", tuple(session_ids)),)
        runs = self._store.select_columns(RUNS, ("id",), of_runs)
        self._store.lock_rows(RUNS, [ident for (ident,) in runs], wait=True)

    def _without_events(self, session_ids: Iterable[str]) -> list[str]:
        """Return those of the sessions that have no event any more."""
        left = list(session_ids)
        where = (Filter("run_id", "in", tuple(left)),)
        with_events = {
            run_id for (run_id,) in self._store.aggregate(EVENTS, (), where, group_by=("run_id",))
        }
        return [session_id for session_id in left if session_id not in with_events]

    def _remove_sessions(self, session_ids: Sequence[str]) -> None:
        """Delete sessions and their runs, which have no events any more."""
        of_runs = (Filter("run_id", "in", tuple(session_ids)),)
        runs = [ident for (ident,) in self._store.select_columns(RUNS, ("id",), of_runs)]
        self._indexing.forget(RUNS, runs)
        for table in SMALL_TABLES_OF_RUNS:
            self._store.delete(table, of_runs)
        self._store.delete(RUNS, of_runs)
        self._store.delete(SESSIONS, (Filter("session_id", "in", tuple(session_ids)),))
        self._chains.forget(session_ids)
        bury(self._store, self._clock, session_ids, "expired")


def _is_old(record: AgentRunEvent, cutoff: datetime) -> bool:
    return record.timestamp is not None and record.timestamp <= cutoff
