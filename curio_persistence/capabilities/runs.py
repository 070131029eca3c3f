"""Runs: created, changed, listed, deleted, and closed when their agent is gone."""

from __future__ import annotations

import builtins
import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from curio_persistence.capabilities.arguments import PayloadFilter, checked_run_id, checked_run_ids
from curio_persistence.capabilities.batches import encode_all, in_one_transaction
from curio_persistence.capabilities.capability import Capability
from curio_persistence.capabilities.record_filter import TAG_CONDITIONS, FilterKind, containing
from curio_persistence.capabilities.windows import BOUNDS, TimeLike
from curio_persistence.clock import Clock
from curio_persistence.errors import ConflictError, NotFoundError
from curio_persistence.models import AgentRun, AgentRunStatus
from curio_persistence.redaction import Redaction
from curio_persistence.results.pages import (
    Direction,
    Page,
    Records,
    Stream,
    open_stream,
    read_page,
)
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import decode_time, encode_time
from curio_persistence.store.filters import Filter, Where, checked_count
from curio_persistence.store.table import Row
from curio_persistence.tables import RUNS
from curio_persistence.tables.runs import ORIGIN

if TYPE_CHECKING:
    from curio_persistence.capabilities.grouping import GroupBy
    from curio_persistence.capabilities.run_counts import RunCount
    from curio_persistence.capabilities.run_figures import RunFigures
    from curio_persistence.capabilities.totals import RunTotals

_BEGINNING = re.compile("[0-9a-f]{8}[0-9a-f-]{0,28}")
"""The beginning of an id that is long enough not to be that of thousands."""
_LONG_FIELDS = (
    "additional_context",
    "final_synthesis_output",
    "execution_history",
    "metadata",
    "metrics",
)
"""The fields of a run that a brief page leaves out."""


class RunFilters(TypedDict, total=False):
    """The filters of runs; a run must pass all that are given."""

    agent_id: str | None
    run_id: str | Collection[str] | None
    session_id: str | None
    parent_run_id: str | None
    status: str | Collection[str] | None
    tags: str | Collection[str] | None
    any_tags: str | Collection[str] | None
    user_id: str | None
    source: str | Collection[str] | None
    project: str | Collection[str] | None
    metadata: PayloadFilter | None
    since: TimeLike | None
    until: TimeLike | None


RUN_FILTERS = FilterKind(
    RUNS,
    RunFilters,
    conditions={**TAG_CONDITIONS, "metadata": containing("metadata", "metadata")},
)


class Runs(Capability):
    """Create, change, list and delete runs, the executions of agents."""

    def __init__(self, store: Store, clock: Clock, redaction: Redaction) -> None:
        super().__init__(store, clock)
        self._redaction = redaction
        self._encode = redaction.encoder(RUNS)

    def create(self, run: AgentRun) -> None:
        """Store a new run, or fill in the stub that an early event made of it."""
        row = self._encode(run)
        now = self._clock.stamp(run.run_id)
        row["created_at"] = row["created_at"] or encode_time(now)
        row["updated_at"] = row["updated_at"] or encode_time(now)
        try:
            ident, created_at = self._store.insert(RUNS, row), now
        except ConflictError:
            stub = self._fill_stub(run, row)
            if stub is None:
                raise
            ident, created_at = stub
        _fill_in(run, ident, created_at, now)

    def create_many(self, runs: Iterable[AgentRun]) -> None:
        """Store all runs or none; raise ConflictError if one was created before."""
        in_one_transaction(self._store, runs, self._create_chunk)

    def _create_chunk(self, runs: builtins.list[AgentRun], first: int) -> int:
        rows = encode_all(self._encode, runs, first)
        moments = [self._clock.stamp(run.run_id) for run in runs]
        for row, now in zip(rows, moments, strict=True):
            row["created_at"] = row["created_at"] or encode_time(now)
            row["updated_at"] = row["updated_at"] or encode_time(now)
        try:
            ids = self._store.insert_many(RUNS, rows)
        except ConflictError:
            # Some runs may be stubs, which are filled in one by one.
            with self._store.transaction():
                for run in runs:
                    self.create(run)
            return len(runs)
        for run, ident, now in zip(runs, ids, moments, strict=True):
            _fill_in(run, ident, now, now)
        return len(runs)

    def _fill_stub(self, run: AgentRun, row: Row) -> tuple[int, datetime] | None:
        """Fill in a stub and return its id and creation time; None if no stub is stored."""
        given = {"created_at": run.created_at, "started_at": run.started_at}
        changes = {n: value for n, value in row.items() if n not in given or given[n] is not None}
        filled = self._fill_stub_with(changes)
        return (filled[0][0], datetime.fromisoformat(filled[0][1])) if filled else None

    def _fill_stub_with(self, row: Row) -> builtins.list[tuple[Any, ...]]:
        """Replace the stub of a run; return its id and creation time, or nothing without a stub."""
        changes: Row = {**row, "stub": None, "indexed_at": None, "stripped": None}
        stub = RUNS.where(run_id=changes.pop("run_id"), stub=1)
        return self._store.update(RUNS, stub, changes, returning=("id", "created_at"))

    def update(self, run_id: str, run: AgentRun) -> None:
        """Replace a run's fields; see `BasePersistence.update_agent_run`."""
        changes = self._encode(run)
        del changes["run_id"], changes["created_at"]
        where = RUNS.where(run_id=checked_run_id(run_id))
        now = self._clock.stamp(run_id)
        changes["updated_at"] = encode_time(now)
        changes["stub"] = changes["stripped"] = None
        changes = {**dict.fromkeys(ORIGIN), **changes}  # Those that the metadata has no more.
        changed = self._store.update(RUNS, where, changes, returning=("id", "created_at"))
        if not changed:
            raise self._missing(run_id)
        ident, created_at = changed[0]
        with suppress(AttributeError):  # The run is frozen, and changed in the store all the same.
            run.id, run.created_at, run.updated_at = ident, decode_time(created_at), now

    def patch(
        self,
        run_id: str,
        *,
        status: str | None = None,
        finished_at: datetime | None = None,
        metrics: Any = None,
    ) -> None:
        """Replace the given fields of a run, and leave its other fields to other writers."""
        where = RUNS.where(run_id=checked_run_id(run_id))
        given = {"status": status, "finished_at": finished_at, "metrics": metrics}
        changes = self._changes(run_id, {n: v for n, v in given.items() if v is not None})
        changes["stub"] = None
        if not self._store.update(RUNS, where, changes):
            raise self._missing(run_id)

    def _changes(self, run_id: str, fields: Mapping[str, Any]) -> Row:
        """Return the column values that store these new field values."""
        changes: Row = {name: RUNS.encode_value(name, value) for name, value in fields.items()}
        self._redaction.clean(RUNS, changes)
        now = encode_time(self._clock.stamp(run_id))
        return {**changes, "updated_at": now}

    def _missing(self, run_id: str) -> NotFoundError:
        from curio_persistence.capabilities.deletions import where_run_is  # On use.

        where = where_run_is(self._store, run_id)
        return NotFoundError(f"No run {run_id!r} exists to update{where}")

    def get(self, run_id: str) -> AgentRun | None:
        """Return one run, or None."""
        found = RUNS.decode(
            self._store.select(RUNS, RUNS.where(run_id=checked_run_id(run_id)), limit=1)
        )
        return found[0] if found else None

    def get_many(self, run_ids: Collection[str]) -> builtins.list[AgentRun]:
        """Return those of the runs that are stored, in any order."""
        where = (Filter("run_id", "in", checked_run_ids(run_ids)),)
        return RUNS.decode(self._store.select(RUNS, where))

    def archived(self, run_ids: Collection[str]) -> set[str]:
        """Return those of the runs that an archive has, and not the database; see `open_archive`.

        A database that was opened without its archive knows of none.
        """
        where = (Filter("run_id", "in", checked_run_ids(run_ids)),)
        everywhere, here = (
            {run_id for (run_id,) in store.select_columns(RUNS, ("run_id",), where)}
            for store in (self._store, self._store.indexed)
        )
        return everywhere - here

    def find_ids(self, beginning: str) -> builtins.list[str]:
        """Return the ids that begin with hex digits as a UUID does, sorted; give eight or more."""
        if not _BEGINNING.fullmatch(checked_run_id(beginning)):
            return []
        # Between these two are all such ids, whatever the collation, and perhaps others.
        where = (Filter("run_id", ">=", beginning), Filter("run_id", "<", f"{beginning}g"))
        found = (run_id for (run_id,) in self._store.select_columns(RUNS, ("run_id",), where))
        return sorted(each for each in found if each.startswith(beginning))

    def list(
        self,
        *,
        agent_id: str | None = None,
        status: str | None = None,
        limit: int | None = 10,
        offset: int = 0,
    ) -> builtins.list[AgentRun]:
        """Return runs, newest first."""
        rows = self._store.select(
            RUNS,
            RUNS.where(agent_id=agent_id, status=status),
            limit=None if limit is None else checked_count("limit", limit),
            offset=checked_count("offset", offset),
        )
        return RUNS.decode(rows)

    def query(
        self,
        *,
        order: Direction = "newest",
        limit: int | None = 100,
        cursor: str | None = None,
        brief: bool = False,
        **filters: Unpack[RunFilters],
    ) -> Page[AgentRun]:
        """Return one page of runs by the time of their creation.

        A `brief` page is without output, history, context, metadata and metrics: None in each run.
        """
        without = _LONG_FIELDS if brief else ()
        return read_page(
            self._store.for_reading,
            RUNS,
            self._where(filters),
            order=order,
            limit=limit,
            cursor=cursor,
            without=without,
        )

    def iterate(
        self, *, order: Direction = "newest", snapshot: bool = True, **filters: Unpack[RunFilters]
    ) -> Stream[AgentRun]:
        """Iterate over all runs by the time of their creation, in constant memory."""
        where = self._where(filters)
        return open_stream(self._store, RUNS, where, order=order, snapshot=snapshot)

    def count(self, **filters: Unpack[RunFilters]) -> int:
        """Return the number of runs that pass the filters."""
        return self._store.for_reading.count(RUNS, self._where(filters))

    def totals(
        self,
        *,
        group_by: GroupBy = (),
        timezone: str | tzinfo | None = None,
        percentiles: bool = False,
        **filters: Unpack[RunFilters],
    ) -> Records[RunTotals]:
        """Return runs, their outcome, duration, model calls, tokens and cost, added up by group.

        As `usage.totals` does with model calls: `group_by` is `"agent"`, `"status"`, `"session"`,
        `"user"`, `"tag"`, `"source"`, `"project"`, `"branch"` or a period, or several of these.
        Durations are in seconds.
        """
        from curio_persistence.capabilities.totals import run_totals  # On use: seldom needed.

        return run_totals(
            self._store.for_reading,
            self._where(filters),
            group_by=group_by,
            timezone=timezone,
            percentiles=percentiles,
        )

    def totals_of(self, run_ids: Collection[str]) -> dict[str, RunFigures]:
        """Return the model calls and tool calls of each of some runs, added up, by their ids.

        A run that is not stored has none. Child runs are not added.
        """
        from curio_persistence.capabilities.run_figures import run_figures  # On use.

        return run_figures(self._store.for_reading, checked_run_ids(run_ids))

    def counts(
        self,
        *,
        bucket: str = "day",
        by: str | None = "status",
        timezone: str | tzinfo | None = "UTC",
        **filters: Unpack[RunFilters],
    ) -> builtins.list[RunCount]:
        """Return how many runs pass the filters of `query`, by the time of their creation.

        There is one count for each bucket from `since`, or the first run, to `until`, or now. A
        bucket is an `"hour"`, `"day"`, `"week"` or `"month"` of `timezone`, or in UTC what divides
        a day evenly, as `"15m"`, `"30m"`, `"1h"` and `"6h"` do. `by` tells `"status"` or `"agent"`
        of the runs of each bucket apart.
        """
        from curio_persistence.capabilities.run_counts import run_counts  # On use.

        window = filters.get("since"), filters.get("until")
        others = {n: v for n, v in filters.items() if n not in BOUNDS}
        where = RUN_FILTERS.of(others).where(self._clock)
        store = self._store.for_reading
        return run_counts(
            store, self._clock, where, window, bucket=bucket, by=by, timezone=timezone
        )

    def _where(self, filters: RunFilters) -> Where:
        return RUN_FILTERS.of(filters).where(self._clock)

    def delete(self, run_id: str) -> bool:
        """Remove a run and its events; see `BasePersistence.delete_agent_run`."""
        from curio_persistence.capabilities.deleting_runs import RunDeletion  # On use.

        where = RUNS.where(run_id=checked_run_id(run_id))
        with self._store.transaction():  # A read-only store refuses this, also for an unknown run.
            found = self._store.select_columns(RUNS, ("id",), where)
        if not found:
            return False
        [(ident,)] = found
        return RunDeletion(self._store, self._clock, run_id, ident).delete()

    def stale(
        self, *, older_than: timedelta = timedelta(hours=1), limit: int | None = None
    ) -> builtins.list[AgentRun]:
        """Return runs still `running` without a sign of life for that long, oldest last.

        A sign of life is the run's own creation or update, any event or model call of it, and any
        sign of a child run. Without any, the agent probably died. With a `limit` only that many
        runs are examined, the oldest ones.
        """
        return [run for run, _ in self._silent(older_than, limit)]

    def abandon(self, *, older_than: timedelta) -> builtins.list[AgentRun]:
        """Close the runs left behind: status `error`, finished at their last sign of life."""
        closed = []
        for run, last_seen in self._silent(older_than):
            run.status = AgentRunStatus.ERROR.value
            run.finished_at = last_seen
            run.error_message = f"Abandoned: no sign of life since {last_seen.isoformat()}."
            if self._close(run):
                closed.append(run)
        return closed

    def _silent(
        self, older_than: timedelta, limit: int | None = None
    ) -> builtins.list[tuple[AgentRun, datetime]]:
        from curio_persistence.capabilities.silent_runs import SilentRuns  # On use.

        return SilentRuns(self._store, self._clock.now(), older_than).find(limit)

    def _close(self, run: AgentRun) -> bool:
        """Close one run, unless it has ended since it was read."""
        where = RUNS.where(run_id=run.run_id, status=AgentRunStatus.RUNNING)
        names = ("status", "finished_at", "error_message")
        changes = self._changes(run.run_id, {name: getattr(run, name) for name in names})
        run.updated_at = decode_time(str(changes["updated_at"]))
        return bool(self._store.update(RUNS, where, changes))


def _fill_in(run: AgentRun, ident: int, created_at: datetime, updated_at: datetime) -> None:
    """Set the id of a run, and the times that it lacked."""
    with suppress(AttributeError):  # The run is frozen, and stored all the same.
        run.id = ident
        run.created_at = run.created_at or created_at
        run.updated_at = run.updated_at or updated_at
