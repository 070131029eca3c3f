"""Snapshots: the states of runs at their steps, from which they go on in another process."""

from __future__ import annotations

import builtins
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, TypedDict, Unpack

from curio_persistence.capabilities.arguments import checked_id, checked_run_id
from curio_persistence.capabilities.capability import Capability
from curio_persistence.capabilities.deletions import audit, where_run_is
from curio_persistence.capabilities.record_filter import FilterKind
from curio_persistence.capabilities.windows import TimeLike
from curio_persistence.clock import Clock
from curio_persistence.errors import ConfigurationError, MissingRunError, NotFoundError
from curio_persistence.models import Snapshot
from curio_persistence.redaction import Redaction
from curio_persistence.results.pages import Direction, Stream, open_stream
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Measure, Order, Where
from curio_persistence.tables import SNAPSHOTS

_KEY = SNAPSHOTS.unique[0]
_CHANGES = ("state", "metadata", "updated_at")
_LAST_FIRST = (Order("updated_at", descending=True), Order("id", descending=True))
_LAST_TIME = Measure("max", "updated_at")
_MICROSECOND = timedelta(microseconds=1)
_IN_LIST = ("updated_at", "id", "run_id", "step_id", "metadata", "created_at")
"""The columns of a list, which is sorted by the first two."""


class SnapshotFilters(TypedDict, total=False):
    """The filters of snapshots in exports; a snapshot must pass all that are given."""

    agent_id: str | None
    run_id: str | Collection[str] | None
    step_id: str | None
    session_id: str | None
    user_id: str | None
    since: TimeLike | None
    until: TimeLike | None


SNAPSHOT_FILTERS = FilterKind(
    SNAPSHOTS, SnapshotFilters, of_run=("agent_id", "session_id", "user_id")
)


class Snapshots(Capability):
    """Save, read and delete snapshots."""

    def __init__(self, store: Store, clock: Clock, redaction: Redaction) -> None:
        super().__init__(store, clock)
        self._redaction = redaction
        self._encode = redaction.encoder(SNAPSHOTS)

    def save(
        self,
        run_id: str,
        step_id: str,
        state: Any,
        *,
        metadata: Any = None,
        saved_at: datetime | None = None,
    ) -> Snapshot:
        """Store the state of a run at a step, and return the snapshot.

        It replaces the state that was saved at this step before. `state` is any value that JSON
        can express; what JSON lacks becomes the nearest thing that it has. Without `saved_at` it is
        now, or a moment after the last snapshot of the run. Raise NotFoundError if the run is not
        stored, and ConfigurationError with `capture_content="metrics-only"`.
        """
        checked_run_id(run_id)
        if self._redaction.capture_content == "metrics-only":
            raise ConfigurationError(
                'A snapshot cannot be saved with capture_content="metrics-only" '
                "(CURIO_CAPTURE_CONTENT), which leaves nothing of its state."
            )
        now = self._clock.stamp(run_id)
        saved = saved_at or now
        row = self._encode(Snapshot(run_id, step_id, state, metadata, None, now, saved))
        try:
            with self._store.transaction():
                if saved_at is None:
                    row["updated_at"] = self._after_last(run_id, str(row["updated_at"]))
                self._store.upsert(SNAPSHOTS, [row], key=_KEY, update=_CHANGES)
                where = SNAPSHOTS.where(run_id=run_id, step_id=step_id)
                kept = ("id", "created_at")
                [(row["id"], row["created_at"])] = self._store.select_columns(
                    SNAPSHOTS, kept, where
                )
        except MissingRunError as error:
            place = where_run_is(self._store, run_id)
            raise NotFoundError(f"No run {run_id!r} exists to save a step of{place}") from error
        return SNAPSHOTS.decode(SNAPSHOTS.columns_of([row]))[0]

    def _after_last(self, run_id: str, now: str) -> str:
        """Return the time now, or a later one if a clock that was ahead has saved the last."""
        where = SNAPSHOTS.where(run_id=run_id)
        [(last,)] = self._store.aggregate(SNAPSHOTS, (_LAST_TIME,), where)
        if last is None or last < now:
            return now
        return encode_time(datetime.fromisoformat(last) + _MICROSECOND)

    def latest(self, run_id: str) -> Snapshot | None:
        """Return the snapshot that a run saved last, or None."""
        where = SNAPSHOTS.where(run_id=checked_run_id(run_id))
        found = self._store.select(SNAPSHOTS, where, order=_LAST_FIRST, limit=1)
        return next(iter(SNAPSHOTS.decode(found)), None)

    def get(self, run_id: str, step_id: str) -> Snapshot | None:
        """Return the snapshot of a step, or None."""
        found = self._store.select(SNAPSHOTS, _where(run_id, step_id), limit=1)
        return next(iter(SNAPSHOTS.decode(found)), None)

    def list(self, run_id: str) -> builtins.list[Snapshot]:
        """Return the snapshots of a run without their states, in the order they were saved."""
        where = SNAPSHOTS.where(run_id=checked_run_id(run_id))
        found = sorted(self._store.select_columns(SNAPSHOTS, _IN_LIST, where))
        columns = dict(zip(_IN_LIST, zip(*found, strict=True), strict=False))
        nothing = [None] * len(found)
        return SNAPSHOTS.decode([columns.get(name, nothing) for name in SNAPSHOTS.names])

    def iterate(
        self, *, order: Direction = "newest", **filters: Unpack[SnapshotFilters]
    ) -> Stream[Snapshot]:
        """Iterate over snapshots with their states by the time at which a step was first saved."""
        where = SNAPSHOT_FILTERS.of(filters).where(self._clock)
        return open_stream(self._store, SNAPSHOTS, where, order=order, snapshot=False)

    def delete(self, run_id: str, step_id: str | None = None) -> int:
        """Delete the snapshots of a run, or that of one step, and return how many they were."""
        where = SNAPSHOTS.where(run_id=checked_run_id(run_id))
        if step_id is not None:
            where = _where(run_id, step_id)
        with self._store.transaction():
            deleted = self._store.delete(SNAPSHOTS, where)
            if deleted:
                about = {"step_id": step_id, "snapshots": deleted}
                audit(self._store, self._clock, "delete", run_id, "snapshots", run_id, **about)
        return deleted


def _where(run_id: str, step_id: str) -> Where:
    return SNAPSHOTS.where(run_id=checked_run_id(run_id), step_id=checked_id("step_id", step_id))
