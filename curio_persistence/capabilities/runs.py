"""Runs: created, changed, listed, deleted, and closed when their agent is gone."""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta, tzinfo
from time import monotonic
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from curio_persistence.capabilities.arguments import PayloadFilter, checked_run_id, checked_run_ids
from curio_persistence.capabilities.batches import encode_all, in_one_transaction
from curio_persistence.capabilities.capability import Capability
from curio_persistence.capabilities.chains import EVENT_CHAINS, Chains
from curio_persistence.capabilities.deletions import audit, bury, where_run_is
from curio_persistence.capabilities.record_filter import TAG_CONDITIONS, FilterKind, containing
from curio_persistence.capabilities.search.indexing import Indexing, Words
from curio_persistence.capabilities.windows import BOUNDS, TimeLike
from curio_persistence.clock import Clock
from curio_persistence.errors import (
    ConflictError,
    InvalidValueError,
    NotFoundError,
)
from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent, AgentRunStatus
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
from curio_persistence.store.filters import (
    Filter,
    Order,
    Where,
    checked_count,
)
from curio_persistence.store.query import Position, position_of_last
from curio_persistence.store.table import Row, Table
from curio_persistence.tables import EVENTS, RUNS, SMALL_TABLES_OF_RUNS, SPANS, USAGE
from curio_persistence.tables.runs import ORIGIN

if TYPE_CHECKING:
    from curio_persistence.capabilities.grouping import GroupBy
    from curio_persistence.capabilities.run_counts import RunCount
    from curio_persistence.capabilities.run_figures import RunFigures
    from curio_persistence.capabilities.totals import RunTotals

_AS_INDEXED = (Order("created_at"), Order("id"))
_LATEST = (Order("timestamp", descending=True), Order("id", descending=True))
_BATCH, _SMALLEST_BATCH = 250, 50
"""The rows that a deletion changes in one transaction: fewer where that is slow."""
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
_LONG = 0.05
"""Seconds that such a transaction should keep other writers waiting, at most."""


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
        self._indexing = Indexing(store)

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
        """Remove a run and its events; see `BasePersistence.delete_agent_run`.

        Events and model calls come first, in batches that are committed one by one, so that other
        writers get their turn in between. The run itself is deleted last, so that an interrupted
        deletion can be repeated. Each transaction locks the run before what belongs to it, as
        retention does: in another order, the two could deadlock.
        """
        where = RUNS.where(run_id=checked_run_id(run_id))
        with self._store.transaction():  # A read-only store refuses this, also for an unknown run.
            found = self._store.select_columns(RUNS, ("id",), where)
        if not found:
            return False
        [(ident,)] = found
        children = RUNS.where(parent_run_id=run_id)
        self._in_batches(ident, EVENTS, where, self._delete_events)
        self._in_batches(ident, USAGE, where, self._detach_calls)
        self._in_batches(ident, SPANS, where, self._delete_spans)
        self._in_batches(ident, RUNS, children, self._detach_children)
        with self._store.transaction():
            if not self._store.lock_rows(RUNS, [ident], wait=True):
                return False  # Another thread or process has deleted the run.
            self._delete_events(where, self._words(EVENTS, where))
            self._indexing.remove(RUNS, self._words(RUNS, where))
            for table in SMALL_TABLES_OF_RUNS:
                self._store.delete(table, where)
            if not self._store.delete(RUNS, where):
                return False  # The same, where locks are of the whole database.
            self._detach_calls(where, self._words(USAGE, where))
            self._detach_children(children, {})
            bury(self._store, self._clock, [run_id], "erased")
            Chains(self._store, self._clock, EVENT_CHAINS).forget([run_id])
            audit(self._store, self._clock, "delete", run_id, "run", run_id)
        self._store.sweep_texts()
        return True

    def _in_batches(
        self, run: int, table: Table[Any], where: Where, change: Callable[[Where, Words], object]
    ) -> None:
        """Apply a change to all full batches of rows, each in a transaction that locks the run."""
        after: Position | None = None
        size = _BATCH
        while True:
            columns = self._store.select(table, where, after=after, limit=size)
            ids = columns[table.names.index("id")]
            if len(ids) < size:
                return
            # Before the transaction, which other writers wait for: this is half of the work.
            words = self._indexing.words(table, columns)
            begin = monotonic()
            with self._store.transaction():
                self._store.lock_rows(RUNS, [run], wait=True)
                change((Filter("id", "in", tuple(ids)),), words)
            if monotonic() - begin > _LONG:
                size = max(size // 2, _SMALLEST_BATCH)
            self._store.checkpoint()
            # Not from the beginning, where the database may have to skip deleted rows.
            after = position_of_last(table, table.order, columns)

    def _words(self, table: Table[Any], where: Where) -> Words:
        return self._indexing.words(table, self._store.select(table, where))

    def _delete_events(self, where: Where, words: Words) -> None:
        self._indexing.remove(EVENTS, words)
        self._store.delete(EVENTS, where)

    def _delete_spans(self, where: Where, _: Words) -> None:
        self._store.delete(SPANS, where)

    def _detach_calls(self, where: Where, words: Words) -> None:
        """Strip model calls of their texts and their run, and leave their numbers stored."""
        slots = self._indexing.remove(USAGE, words)
        self._store.update(USAGE, where, {**USAGE.content, "run_id": None})
        # The update may have waited for an indexer, which stored their words.
        late = self._indexing.remove(USAGE, words)
        self._indexing.put_again(USAGE, {**slots, **late})

    def _detach_children(self, where: Where, _: Words) -> None:
        self._store.update(RUNS, where, {"parent_run_id": None})

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
        if not isinstance(older_than, timedelta) or older_than < timedelta(0):
            raise InvalidValueError(
                f"older_than is a timedelta that is not negative, not {older_than!r}.",
                field="older_than",
            )
        now = self._clock.now()
        where = RUNS.where(status=AgentRunStatus.RUNNING)
        limit = None if limit is None else checked_count("limit", limit)
        running = RUNS.decode(self._store.select(RUNS, where, order=_AS_INDEXED, limit=limit))[::-1]
        old = [run for run in running if now - _last_change(run) > older_than]
        seen = [(run, self._last_sign_of_life(run)) for run in old]
        return [(run, last) for run, last in seen if now - last > older_than]

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


def _created(records: Iterable[AgentRunEvent | AgentLLMUsage]) -> list[datetime]:
    return [record.created_at for record in records if record.created_at is not None]


def _last_change(run: AgentRun) -> datetime:
    """Return the time of a run's last update or creation; a run that was read has both."""
    return max(time for time in (run.created_at, run.updated_at) if time is not None)
