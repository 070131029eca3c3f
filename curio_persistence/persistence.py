"""The table of contents: what can be done with a persistence, and the three ways to open one."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self, Unpack

from curio_persistence.base import BasePersistence
from curio_persistence.capabilities.appends import OnConflict
from curio_persistence.capabilities.arguments import check_progress
from curio_persistence.capabilities.events import EventFilters, Events
from curio_persistence.capabilities.runs import RunFilters
from curio_persistence.capabilities.usage import Usage, UsageFilters
from curio_persistence.capabilities.windows import TimeLike
from curio_persistence.clock import Clock
from curio_persistence.concurrency.time_limit import reading_within
from curio_persistence.errors import ConfigurationError, UnsupportedError
from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent
from curio_persistence.pricing import PricesLike, Pricing
from curio_persistence.progress import Progress
from curio_persistence.recording.switch import is_disabled
from curio_persistence.redaction import CaptureContent, Redaction, Redactor
from curio_persistence.results.pages import Direction, Page, Records, Stream
from curio_persistence.secret import hidden
from curio_persistence.store.base import HealthCheck, Store
from curio_persistence.views.runs import RunViews

if TYPE_CHECKING:
    from threading import Event

    from curio_persistence.backends.postgres.timed import Layout
    from curio_persistence.backends.sqlite.store import Durability
    from curio_persistence.backups.making import BackupReport
    from curio_persistence.backups.verifying import VerifyReport
    from curio_persistence.buffering.persistence import BufferedPersistence
    from curio_persistence.buffering.queue import Overflow
    from curio_persistence.capabilities.agents import Agents
    from curio_persistence.capabilities.alerts import Alerts
    from curio_persistence.capabilities.analytics import AnalyticsFilters, Bucket
    from curio_persistence.capabilities.analytics.records import PeriodTotals
    from curio_persistence.capabilities.approvals import Approvals
    from curio_persistence.capabilities.audit import Audit
    from curio_persistence.capabilities.grouping import GroupBy
    from curio_persistence.capabilities.keys import Keys
    from curio_persistence.capabilities.lifecycle import Lifecycle
    from curio_persistence.capabilities.live import Live, LiveFilters, LiveStream
    from curio_persistence.capabilities.metrics import MetricFilters, MetricPoint, Metrics
    from curio_persistence.capabilities.prices import Prices
    from curio_persistence.capabilities.runlog import RunLog
    from curio_persistence.capabilities.scores import Scores
    from curio_persistence.capabilities.search import (
        Search,
        SearchFilters,
        SearchOrder,
        SearchPage,
    )
    from curio_persistence.capabilities.similarity import (
        SimilarFilters,
        SimilarHits,
        Similarity,
        TextKind,
    )
    from curio_persistence.capabilities.similarity.models import EmbedLike
    from curio_persistence.capabilities.snapshots import Snapshots
    from curio_persistence.capabilities.stats import Stats
    from curio_persistence.capabilities.transfers import Transfers
    from curio_persistence.capabilities.values import Values
    from curio_persistence.replication.report import ReplicaCheck, ReplicationReport
    from curio_persistence.results.sql import SQLResult
    from curio_persistence.views.sessions import SessionViews
    from curio_persistence.views.traces import TraceViews


_LEAST_KEY = 16
_LOOKED_AT = 1_000
"""The running runs that a check-up examines at most: each costs three queries."""


class Persistence(BasePersistence):
    """Everything above a store: the ten published methods, and the capabilities behind them.

    `runs`, `events`, `usage`, `scores`, `approvals`, `snapshots`, `traces`, `sessions`, `agents`,
    `stats`, `metrics` and `audit` hold what has no flat name here; `redaction` tells what is kept
    of words. Give `clock` to be the master of time, in tests. With `chain`, the events of each run
    form a hash chain; `audit_key` signs its head, and that of the audit log. With `dedupe`, long
    texts are stored once in their session. `prices` say what model calls cost: see `prices`.
    `embed` turns texts into vectors: see `similar`.
    """

    def __init__(
        self,
        store: Store,
        *,
        initialize: bool = True,
        clock: Clock | None = None,
        redaction: Redaction | None = None,
        search: bool | None = None,
        chain: bool = False,
        audit_key: str | None = None,
        dedupe: bool = False,
        prices: PricesLike = True,
        embed: EmbedLike = None,
    ) -> None:
        self.clock = clock = clock or Clock()
        self.redaction = redaction = redaction or Redaction()
        self._pricing = Pricing.of(redaction, prices, clock.now)
        self._chain = chain
        self._embed = embed
        if audit_key is not None:
            store.audit_key = _checked_key(audit_key)
        if dedupe:
            from curio_persistence.content.store import share_long_texts  # Slow to import.

            share_long_texts(store)
        self._store = store
        self.runs = RunViews(store, clock, redaction)
        self.events = Events(store, clock, redaction, chain=chain)
        self.usage = Usage(store, clock, redaction)
        self._searches = search is not False
        if initialize:
            try:
                self._prepare(search)
            except BaseException:
                self.close()  # The caller gets no object to close.
                raise

    def _prepare(self, search: bool | None) -> None:
        self.initialize_schema()
        try:
            self._pricing.read_saved(self._store)
        except ConfigurationError as error:  # One is damaged, or the role may not read them.
            import logging  # On use.

            warning = "Costs are computed without the prices that are saved in the database: %s"
            logging.getLogger(__name__).warning(warning, error)
        if search:
            self.search.enable()

    def create_agent_run(self, run: AgentRun) -> None:
        self.runs.create(run)

    def create_agent_runs(self, runs: Iterable[AgentRun]) -> None:
        """Store new runs, all or none; any iterable, read in bounded memory."""
        self.runs.create_many(runs)

    def update_agent_run(self, run_id: str, run: AgentRun) -> None:
        self.runs.update(run_id, run)

    def get_agent_run(self, run_id: str) -> AgentRun | None:
        return self.runs.get(run_id)

    def get_agent_runs(
        self, agent_id: str | None = None, limit: int | None = 10, offset: int = 0
    ) -> list[AgentRun]:
        return self.runs.list(agent_id=_unless_empty(agent_id), limit=limit, offset=offset)

    def query_agent_runs(
        self,
        *,
        order: Direction = "newest",
        limit: int | None = 100,
        cursor: str | None = None,
        brief: bool = False,
        **filters: Unpack[RunFilters],
    ) -> Page[AgentRun]:
        """Return one page of runs: the first, or that to which the last one's `next_cursor` leads.

        However far it leads, a page costs the same. A run must pass every filter: `agent_id`,
        `session_id`, `user_id`, `parent_run_id`, `run_id` and `status` (one, or one of several),
        `tags` (all of them), `any_tags` (one of them), `source` and `project` (texts of these names
        in the metadata), `metadata` (values at paths, as `payload` of `query_events`), and
        `since ≤ t < until` for the time of its creation, each a datetime, ISO 8601 text, or how
        long ago: `"90s"`, `"30m"`, `"2h"`, `"7d"`, `"4w"`. A `brief` page does not read the long
        fields of runs: output, history, context, metadata and metrics.

        Here, and in all that begins with `query_`, `iter_` or `count_`, the newest records come
        first unless `order="oldest"`, `""` is a value like any other, and None is "no filter". A
        cursor that is damaged, or not of this query and database, is an InvalidValueError.
        """
        return self.runs.query(order=order, limit=limit, cursor=cursor, brief=brief, **filters)

    def iter_agent_runs(
        self, *, order: Direction = "newest", snapshot: bool = True, **filters: Unpack[RunFilters]
    ) -> Stream[AgentRun]:
        """Return all runs that pass the filters of `query_agent_runs`, never all in memory.

        They come one by one, or as columns. With `snapshot=False` no connection is held from page
        to page, and runs that change meanwhile may be seen as they are then.
        """
        return self.runs.iterate(order=order, snapshot=snapshot, **filters)

    def count_agent_runs(self, **filters: Unpack[RunFilters]) -> int:
        """Return the number of runs that pass the filters of `query_agent_runs`."""
        return self.runs.count(**filters)

    def delete_agent_run(self, run_id: str) -> bool:
        return self.runs.delete(run_id)

    def log_agent_run_event(self, event: AgentRunEvent) -> None:
        self.events.log(event)

    def log_agent_run_events(
        self, events: Iterable[AgentRunEvent], *, on_conflict: OnConflict = "keep"
    ) -> int:
        """Append events, all or none, and return how many were not stored before.

        Any iterable, read in bounded memory; the transaction lasts until it ends. An event with an
        `event_id` that is stored already is left as it was stored (`on_conflict="keep"`), or is a
        ConflictError if it says something else now (`"error"`). When it raises, ids that were
        filled in mean nothing.
        """
        return self.events.log_many(events, on_conflict=on_conflict)

    def get_agent_run_events(
        self, run_id: str, event_type: str | None = None
    ) -> list[AgentRunEvent]:
        return self.events.list(run_id, event_type=_unless_empty(event_type))

    def append_event(
        self,
        run_id: str,
        agent_id: str,
        event_type: str,
        *,
        timestamp: datetime | None = None,
        level: str = "info",
        message: str | None = None,
        payload: Any = None,
        session_id: str | None = None,
        span_id: str | None = None,
        parent_span_id: str | None = None,
        trace_id: str | None = None,
        contract_id: str | None = None,
        contract_version: str | None = None,
        artifact_uri: str | None = None,
        metadata: Any = None,
        event_id: str | None = None,
    ) -> AgentRunEvent:
        """Append an event given by its fields, and return it; see `log_agent_run_event`.

        `payload` is text, anything JSON can express, or one of `curio_persistence.payloads`.
        """
        return self.events.append(
            AgentRunEvent(
                agent_id,
                run_id,
                timestamp=timestamp,
                event_type=event_type,
                data=payload,
                event_id=event_id,
                session_id=session_id,
                level=level,
                message=message,
                trace_id=trace_id,
                span_id=span_id,
                parent_span_id=parent_span_id,
                contract_id=contract_id,
                contract_version=contract_version,
                artifact_uri=artifact_uri,
                metadata=metadata,
            )
        )

    def query_events(
        self,
        *,
        order: Direction = "newest",
        limit: int | None = 100,
        cursor: str | None = None,
        **filters: Unpack[EventFilters],
    ) -> Page[AgentRunEvent]:
        """Return one page of events, as `query_agent_runs` does with runs.

        The filters are `agent_id`, `run_id`, `session_id`, `user_id`, `source` and `project` (those
        of the event's run), `event_type`, `level`, `min_level`, `payload`, `seq`, `since` and
        `until`. `min_level`
        selects events that are at least so severe, `level` those of just these levels. `since` and
        `until` are about when events happened; `seq` is a position in the run log of a session.

        `payload={"tool": "search", "result.status": "error"}` selects events whose payload is an
        object in which each path leads to that value; give a path as a tuple where a key has a dot
        in it. `1` is 1.0 but not True or "1", and None is a null that stands there. A float means
        the digits it prints. See `create_payload_index` for PostgreSQL.
        """
        return self.events.query(order=order, limit=limit, cursor=cursor, **filters)

    def iter_agent_run_events(
        self, *, order: Direction = "newest", snapshot: bool = True, **filters: Unpack[EventFilters]
    ) -> Stream[AgentRunEvent]:
        """Return all events that pass the filters of `query_events`, never all in memory.

        A run is told as it happened by `run_id=…, order="oldest"`.
        """
        return self.events.iterate(order=order, snapshot=snapshot, **filters)

    def count_events(self, **filters: Unpack[EventFilters]) -> int:
        """Return how many events pass the filters of `query_events`."""
        return self.events.count(**filters)

    def stream(
        self, *, after: str | None = None, until: str | None = None, **filters: Unpack[LiveFilters]
    ) -> LiveStream:
        """Return what is stored from now on, as it is committed: an iterator without an end.

        `with persistence.stream(agent_id="guide") as stream: for item in stream: …`. Each item has
        a `kind`, which is `run`, `event`, `usage` (a model call) or `span`, and the `record`; a run
        comes when it has `begun`, and again when it has `changed` or `ended`. A stream that begins
        `after` the `id` of an item goes on behind that item, also in another process: nothing is
        left out or comes twice. The filters are `kinds`, `agent_id`, `run_id` and `session_id`,
        each one value or one of several.

        All streams of a persistence share one thread, which reads four times a second. It keeps the
        last 10,000 items; a listener that is slower than that gets an item of the kind `missed`,
        which says how many: `stream(after=item.since, until=item.id)` reads them, and ends.
        `close()` ends the iteration of others; an error of the database is raised, and the next
        call goes on.
        """
        return self._live.stream(after=after, until=until, **filters)

    @cached_property
    def _live(self) -> Live:
        from curio_persistence.capabilities.live import Live  # On use.

        return Live(self._store)

    def query_metrics(
        self,
        name: str,
        aggregation: str = "avg",
        *,
        bucket: str | None = None,
        group_by: str | None = None,
        **filters: Unpack[MetricFilters],
    ) -> Records[MetricPoint]:
        """Aggregate the values of a metric: `avg`, `sum`, `min`, `max`, `count`, `p0` to `p100`.

        For each `bucket` that has values: `"1w"` (from Monday on), `"1d"`, or what divides a day
        evenly, as `"6h"`, `"1h"` and `"15m"` do; all in UTC. And for each `agent_id`, `run_id`,
        `session_id` or tag (`group_by="tags.split"`) that they belong to. In the order of buckets,
        then groups. The values are those of `metric` events that pass the filters `agent_id`,
        `run_id`, `session_id`, `since` and `until`; `metrics.names()` tells which there are.
        """
        return self.metrics.query(name, aggregation, bucket=bucket, group_by=group_by, **filters)

    def analytics(
        self,
        since: TimeLike | None = None,
        until: TimeLike | None = None,
        *,
        bucket: Bucket | None = "day",
        timezone: str | tzinfo | None = None,
        group_by: GroupBy = (),
        fill: bool = False,
        percentiles: bool = False,
        **filters: Unpack[AnalyticsFilters],
    ) -> Records[PeriodTotals]:
        """Return what happened in each period: runs, events, tool calls, errors, tokens, costs.

        A `bucket` is an `"hour"`, `"day"`, `"week"` (of ISO 8601, from Monday) or `"month"` of
        `timezone`, by default that of this machine; None adds up the whole window. There is one
        row for each period, and for each group of `group_by`: `"agent"`, `"session"`, `"user"`,
        `"tag"`, or several of these. Periods without records are left out, unless `fill=True`
        adds them, from `since` (or the first record) to `until` (or now). `percentiles=True` adds
        the median and p95 of the latencies of model calls, which takes longer.

        The filters are `agent_id`, `session_id`, `user_id`, `tags` and `any_tags`; session, user
        and tags are those of a record's run. Expired records still count, except in percentiles
        and as sessions, agents and users. See `PeriodTotals` for what each number means.
        """
        from curio_persistence.capabilities.analytics import period_totals  # On use.

        return period_totals(
            self._store,
            self.clock,
            since=since,
            until=until,
            bucket=bucket,
            timezone=timezone,
            group_by=group_by,
            fill=fill,
            percentiles=percentiles,
            filters=filters,
        )

    def search_text(
        self,
        query: str,
        *,
        order: SearchOrder = "newest",
        limit: int | None = 50,
        cursor: str | None = None,
        max_wait: float | None = 10.0,
        **filters: Unpack[SearchFilters],
    ) -> SearchPage:
        """One page of the runs, events and model calls that have all these words.

        `"two words"` in quotation marks stand next to each other, `-word` is not there, `word*` is
        how one begins; all else is text. Searched are events' messages and payloads, runs'
        objectives, outputs and errors, and model calls' prompts, responses and errors. Case and
        accents do not count. The filters are `agent_id`, `run_id`, `session_id`, `event_type`,
        `level`, `model`, `since` and `until`.

        `order="rank"` puts those first that fit best, of the newest 10,000. What was stored since
        the last search is indexed first, for at most `max_wait` seconds, after which the page's
        `pending` tells how many records were not searched; so it does where nothing can be written,
        or not now. A page that has fewer hits than `limit`
        is the last one only where it has no `next_cursor`.
        """
        return self.search.text(
            query, order=order, limit=limit, cursor=cursor, max_wait=max_wait, **filters
        )

    def similar(
        self,
        to: str | Sequence[float],
        *,
        top: int = 20,
        kind: TextKind | None = None,
        max_wait: float | None = 10.0,
        **filters: Unpack[SimilarFilters],
    ) -> SimilarHits:
        """Return the texts that mean most nearly the same, best first, whatever their words are.

        `to` is a text, the id of a run, or a vector of the same model. A run is compared by its
        error, or else its objective, with the texts of others. Compared are prompts (also runs'
        objectives), outputs, errors and messages of events, or those of one `kind`: `"prompt"`,
        `"output"`, `"error"` or `"message"`. The filters are `agent_id`, `run_id`, `since` and
        `until`, and those of a record's run: `session_id`, `user_id`, `parent_run_id`, `status`,
        `tags`, `any_tags`, `source`, `project` and `metadata`. With `event_type`, `level`,
        `min_level` or `payload` only events are compared, with `model` or `provider` only model
        calls; if these have no such texts, InvalidValueError is raised.

        Texts are embedded by `embed` of this persistence, a callable `list[str] -> array` with a
        `name`, or where it is found, as `"module:callable"`; by default by wordllama, which works
        offline and knows mainly English. Vectors of two models are never compared. What was stored
        since the last question is embedded first, for at most `max_wait` seconds, after which
        `pending` of the result tells how many records were not compared. Needs the extra `similar`.
        """
        return self.similarity.find(to, top=top, kind=kind, max_wait=max_wait, **filters)

    def create_payload_index(self) -> bool:
        """Make `payload=` fast on PostgreSQL; False where it is already.

        The index is built while others read and write. It is not there by itself, because with it
        events are stored at half the speed. Other backends have none: UnsupportedError.
        """
        created = self._store.create_payload_index()
        if created:
            from curio_persistence.capabilities.deletions import audit  # On use.

            audit(self._store, self.clock, "create index", "payload", "schema")
        return created

    def log_llm_usage(self, usage: AgentLLMUsage) -> None:
        self.usage.log(usage)

    def log_llm_usages(
        self, usages: Iterable[AgentLLMUsage], *, on_conflict: OnConflict = "keep"
    ) -> int:
        """Append model calls, all or none; as `log_agent_run_events` does with events."""
        return self.usage.log_many(usages, on_conflict=on_conflict)

    def get_llm_usage(
        self, agent_id: str | None = None, run_id: str | None = None, limit: int | None = 100
    ) -> list[AgentLLMUsage]:
        return self.usage.list(
            agent_id=_unless_empty(agent_id), run_id=_unless_empty(run_id), limit=limit
        )

    def query_llm_usage(
        self,
        *,
        order: Direction = "newest",
        limit: int | None = 100,
        cursor: str | None = None,
        **filters: Unpack[UsageFilters],
    ) -> Page[AgentLLMUsage]:
        """Return one page of model calls, as `query_agent_runs` does with runs.

        The filters are `agent_id`, `run_id`, `session_id`, `user_id`, `source` and `project` (those
        of the call's run), `model`, `provider`, `status`, `since` and `until`.
        """
        return self.usage.query(order=order, limit=limit, cursor=cursor, **filters)

    def iter_llm_usage(
        self, *, order: Direction = "newest", snapshot: bool = True, **filters: Unpack[UsageFilters]
    ) -> Stream[AgentLLMUsage]:
        """Return all calls that pass the filters of `query_llm_usage`, never all in memory."""
        return self.usage.iterate(order=order, snapshot=snapshot, **filters)

    def count_llm_usage(self, **filters: Unpack[UsageFilters]) -> int:
        """Return the number of model calls that pass the filters of `query_llm_usage`."""
        return self.usage.count(**filters)

    def get_agent_run_stats(
        self,
        agent_id: str | None = None,
        *,
        session_id: str | None = None,
        since: TimeLike | None = None,
        until: TimeLike | None = None,
    ) -> dict[str, Any]:
        return self.stats.summary(
            agent_id=_unless_empty(agent_id), session_id=session_id, since=since, until=until
        )

    def values(self, name: str) -> tuple[str, ...]:
        """Return the different values of a filter, sorted, for people who pick one.

        `name` is `agent_id`, `model`, `provider`, `event_type`, `tool`, `tags`, `source` or
        `project`. Except for agents they are those of the newest 20,000 records, and they are kept
        for 30 seconds.
        """
        return self._values.of(name)

    @cached_property
    def _values(self) -> Values:
        from curio_persistence.capabilities.values import Values  # On use.

        return Values(self._store, self.clock)

    def deadline(self, seconds: float) -> AbstractContextManager[None]:
        """Limit the time of all readings that are begun in this block, also of awaited ones.

        `with persistence.deadline(10): …`. One that is not done when the seconds are over raises
        QueryTimeoutError, and so does every later one in the block. Transactions go on.
        """
        return reading_within(seconds)

    def sql(self, query: str, params: Sequence[Any] = (), *, limit: int | None = None) -> SQLResult:
        """Return the rows of one SQL statement that reads, all in memory, or the first `limit`.

        `runs`, `llm_calls`, `tool_calls` and `events` have the same columns in SQLite and
        PostgreSQL: US dollars, seconds, UTC. `$1`, `$2` … stand for `params`: numbers, texts,
        bools, datetimes or None. Whatever the statement is, it changes nothing; the database's
        refusal is an InvalidValueError. In memory there is no SQL, nor in a transaction:
        UnsupportedError. With an archive the dialect is DuckDB's, on every backend.
        """
        from curio_persistence.capabilities.sql import ask  # On use.

        return ask(self._store, query, params, limit)

    def log_audit_event(self, event: Mapping[str, Any]) -> None:
        """Add a line to the audit log, given as a dictionary.

        Its keys are `action`, and where they are known `resource`, `resource_type`, `actor_type`,
        `actor_id`, `agent_id`, `run_id`, `metadata` and `timestamp`. `prev_hash`, `hash` and
        `created_at` are assigned here. See `audit.log`.
        """
        self.audit.log_event(event)

    def get_audit_events(
        self, run_id: str | None = None, agent_id: str | None = None, limit: int | None = 100
    ) -> list[dict[str, Any]]:
        """Return the newest lines of the audit log as dictionaries, their metadata parsed."""
        return self.audit.events(_unless_empty(run_id), _unless_empty(agent_id), limit)

    def transaction(self) -> AbstractContextManager[None]:
        """Group this thread's writes: all are committed at the end, none if the block raises.

        Inside, each write is a savepoint, so a failed one does not spoil the others, and reads see
        the writes. Other threads' writes wait meanwhile (on SQLite and in memory). Do not await or
        yield inside: what another task of the thread did would become part of it, and is refused.
        """
        return self._store.transaction()

    def buffered(
        self,
        *,
        max_items: int = 10_000,
        max_bytes: int = 64 << 20,
        max_seconds: float = 1.0,
        overflow: Overflow = "block",
        install_sigterm: bool = False,
    ) -> BufferedPersistence:
        """This persistence, behind a queue: appends return in microseconds and are stored soon.

        See `BufferedPersistence`, which takes this one over and closes it.
        """
        from curio_persistence.buffering.persistence import BufferedPersistence

        return BufferedPersistence(
            self,
            max_items=max_items,
            max_bytes=max_bytes,
            max_seconds=max_seconds,
            overflow=overflow,
            install_sigterm=install_sigterm,
        )

    @property
    def lifecycle(self) -> Lifecycle:
        """Retention policies, legal holds, and the deletion of what has expired."""
        from curio_persistence.capabilities.lifecycle import Lifecycle  # On use: seldom needed.

        return Lifecycle(self._store, self.clock)

    @cached_property
    def search(self) -> Search:
        """The full-text index of the records, which `search_text` asks."""
        from curio_persistence.capabilities.search import Search  # On use.

        return Search(self._store, self.clock, active=self._searches)

    @cached_property
    def stats(self) -> Stats:
        """Statistics of agents, their tools and failures."""
        from curio_persistence.capabilities.stats import Stats  # On use.

        return Stats(self._store, self.clock)

    @cached_property
    def metrics(self) -> Metrics:
        """The values of metric events, which `query_metrics` aggregates."""
        from curio_persistence.capabilities.metrics import Metrics  # On use.

        return Metrics(self._store, self.clock)

    @cached_property
    def _transfers(self) -> Transfers:
        from curio_persistence.capabilities.transfers import Transfers  # On use.

        return Transfers(self._store, self.clock, self.redaction, self.events, self.usage)

    @cached_property
    def scores(self) -> Scores:
        """Judgements of runs and spans, by people, programs or models."""
        from curio_persistence.capabilities.scores import Scores

        return Scores(self._store, self.clock, self.redaction)

    @cached_property
    def similarity(self) -> Similarity:
        """Return the capability for vectors of texts, which `similar` asks."""
        from curio_persistence.capabilities.similarity import Similarity  # On use.

        return Similarity(self._store, self.clock, self._embed)

    @cached_property
    def approvals(self) -> Approvals:
        """Decisions that agents wait for."""
        from curio_persistence.capabilities.approvals import Approvals

        return Approvals(self._store, self.clock, self.redaction)

    @cached_property
    def snapshots(self) -> Snapshots:
        """States that agents keep of their runs."""
        from curio_persistence.capabilities.snapshots import Snapshots

        return Snapshots(self._store, self.clock, self.redaction)

    @cached_property
    def traces(self) -> TraceViews:
        """Runs, calls and saved spans as traces, with time and nesting."""
        from curio_persistence.views.traces import TraceViews

        return TraceViews(self._store, self.clock, self.redaction)

    @cached_property
    def sessions(self) -> SessionViews:
        """Conversations: their runs, what was said, and their counts."""
        from curio_persistence.views.sessions import SessionViews

        return SessionViews(self._store, self.clock, self.redaction)

    @cached_property
    def agents(self) -> Agents:
        """The agents that made runs."""
        from curio_persistence.capabilities.agents import Agents

        return Agents(self._store, self.clock, self.redaction)

    @cached_property
    def audit(self) -> Audit:
        """The log of what was changed and deleted, and its verification."""
        from curio_persistence.capabilities.audit import Audit

        return Audit(self._store, self.clock, self.redaction)

    @cached_property
    def runlog(self) -> RunLog:
        """The ordered entries of sessions, from which the state of agents is rebuilt."""
        from curio_persistence.capabilities.runlog import RunLog  # On use: seldom needed.

        return RunLog(self._store, self.clock, self.redaction, chain=self._chain)

    @cached_property
    def prices(self) -> Prices:
        """The costs of model calls: explained, listed where unknown, and computed anew."""
        from curio_persistence.capabilities.prices import Prices  # On use: seldom needed.

        return Prices(self._store, self.clock, self._pricing)

    @property
    def alerts(self) -> Alerts:
        """Rules of alerts, their evaluation, and the history of what they found."""
        from curio_persistence.capabilities.alerts import Alerts  # On use: seldom needed.

        return Alerts(self._store, self.clock)

    @cached_property
    def keys(self) -> Keys:
        """API keys with their roles, and the sessions of the console."""
        from curio_persistence.capabilities.keys import Keys  # On use: seldom needed.

        return Keys(self._store, self.clock)

    @property
    def location(self) -> str:
        """The location of the database, as words that can open a sentence; without a password."""
        return self._store.location

    def schema_version(self) -> int:
        """The version that the tables have; 0 where there are none."""
        return self._store.schema_version()

    def compact(self) -> None:
        """Free the space of deleted records; nothing of them is left in the file, its log or the
        search index.

        SQLite rewrites the file, for which its disk needs as much free room again, and twice as
        much if temporary files are kept there too; others wait meanwhile. On PostgreSQL the search
        index is rewritten, for which searches and deletions wait, and the rest is a VACUUM. Not
        inside a transaction.
        """
        self.search.remove_orphans()
        self.similarity.remove_orphans()
        self._store.compact()

    def backup(
        self, destination: str | os.PathLike[str], *, progress: Progress | None = None
    ) -> BackupReport:
        """Write a copy of the whole database, as of this moment, while agents go on writing.

        `destination` is a file, if it has an ending such as `.db`; or else a directory, or the URL
        of an object store such as `s3://bucket/prefix`, in which the copy gets a name by the time
        in UTC. It gets its name when it is complete and was read back, and never replaces a file.
        Its hash is in a file `NAME.sha256` beside it. The copy of a SQLite database is one as well;
        that of a schema of PostgreSQL is made by pg_dump, which has to be on PATH. See
        `restore_backup`. In memory: UnsupportedError, as in a transaction.
        """
        from curio_persistence.backups.making import back_up  # On use: seldom needed.

        check_progress(progress)
        return back_up(self, destination, progress)

    def verify(
        self,
        against: str | os.PathLike[str] | None = None,
        *,
        progress: Progress | None = None,
    ) -> VerifyReport:
        """Read everything, and report what is damaged.

        With the path or URL of a backup, or of a database that was restored from one, each row of
        that is compared: one that differs, although no program has changed it, is damaged, even if
        its value looks right, and so is one that is gone from a run that is still here.
        """
        from curio_persistence.backups.verifying import verify  # On use: seldom needed.

        check_progress(progress)
        return verify(self, against, progress)

    def replicate(
        self,
        url: str,
        *,
        once: bool = True,
        compact: bool = False,
        source: str | None = None,
        every: timedelta = timedelta(seconds=1),
        deletions_every: timedelta = timedelta(minutes=1),
        stop: Event | None = None,
        progress: Progress | None = None,
    ) -> ReplicationReport:
        """Bring a replica in ClickHouse up to date, or keep it so until `stop` is set.

        `url` is `clickhouse://user@host/database`, `clickhouses://…` (TLS) or `chdb:///directory`,
        where the tables are made if there are none. Nothing is written here: this database may be
        open for reading only. How far it was read is kept in the replica, so whatever is killed,
        each row gets there once. `source` is the name of this database there, where others may be
        as well; by default its own identifier. With `once=False` what is new is sent `every`
        second, and deletions `deletions_every` minute, because ClickHouse takes seconds for these.
        Then no query finds a deleted row, and `compact` rewrites what has some: ClickHouse removes
        their bytes from the disk within ten minutes.

        Raises BusyError while another program replicates the same source, ConflictError if the name
        is another database's, and UnavailableError if the server goes away: call it again then.
        """
        from curio_persistence.replication.replicator import replicate  # On use: slow to import.

        check_progress(progress)
        return replicate(
            self._store,
            url,
            once=once,
            compact=compact,
            source=source,
            every=every,
            deletions_every=deletions_every,
            stop=stop,
            progress=progress,
        )

    def check_replica(
        self, url: str, *, source: str | None = None, deep: bool = False
    ) -> ReplicaCheck:
        """Compare a replica with this database, as far as `replicate` has sent this to it.

        The numbers of rows of each day are compared, and the sums of their ids and other numbers;
        with `deep`, which reads everything, the hashes of all runs. What has changed since it was
        sent differs as well: replicate once before, while nobody writes.
        """
        from curio_persistence.replication.checking import check_replica  # On use: slow to import.

        return check_replica(self._store, url, source, deep=deep)

    def diagnose(self, *, deep: bool = False) -> list[HealthCheck]:
        """A check-up: the engine, the schema, the storage, and runs that were left behind.

        Damage and orphans, which only reading everything shows, are looked for where that is little
        (up to 64 MB), or where it is to go `deep`.
        """
        checks = self._store.diagnose(deep=deep)
        if any(found.name == "integrity" and found.level == "error" for found in checks):
            return checks  # What a damaged database says of its runs may be wrong.
        checks += [*self.search.check(deep=deep), self.similarity.check()]
        checks.append(self._check_stale_runs())
        checks += [self.alerts.check(), self.audit.check(deep=deep)]
        return [*checks, self.lifecycle.check()]

    def _check_stale_runs(self, older_than: timedelta = timedelta(hours=1)) -> HealthCheck:
        left = self.runs.stale(older_than=older_than, limit=_LOOKED_AT)
        if not left:
            return HealthCheck("runs", "ok", "none left behind by a crashed agent")
        names = ", ".join(run.run_id for run in left[:5]) + (", …" if len(left) > 5 else "")
        count = len(left) if len(left) < _LOOKED_AT else f"{_LOOKED_AT} or more"
        return HealthCheck(
            "runs",
            "warning",
            f"{count} still running, but silent for an hour: {names}",
            "To close them: curio-persistence abandon --older-than 1h",
        )

    def initialize_schema(self) -> None:
        if self._store.initialize():
            version = str(self._store.schema_version())
            from curio_persistence.capabilities.deletions import audit  # On use.

            audit(self._store, self.clock, "migrate", version, "schema")

    def close(self) -> None:
        self._store.close()

    def __repr__(self) -> str:
        store = getattr(self, "_store", None)  # None while it is being made.
        return f"{type(self).__name__}({store!r})"

    def __copy__(self) -> Self:
        """Return itself: an agent may be copied, and its copy records into the same database."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise UnsupportedError(
            "A persistence holds open connections and cannot be pickled. Share it between "
            "threads as it is; in another process call connect(url)."
        )


def _unless_empty(value: str | None) -> str | None:
    """In the published calls `""` means "no filter"; other falsy values are still refused."""
    return None if value == "" else value


def _checked_key(key: Any) -> bytes:
    """Return a key as bytes; its value is in no message."""
    if not isinstance(key, str) or len(key) < _LEAST_KEY:
        raise ConfigurationError(
            f"audit_key is a text of at least {_LEAST_KEY} characters (CURIO_AUDIT_KEY)."
        )
    return key.encode()


def _make_folder(db_path: str | os.PathLike[str]) -> None:
    """Make the folder of a file, where it is missing; if that fails, opening the file says why."""
    with suppress(OSError, ValueError, TypeError, RuntimeError):
        Path(db_path).expanduser().parent.mkdir(parents=True, exist_ok=True)


class SQLitePersistence(Persistence):
    """In a SQLite file: nothing to install, survives crashes, readers and writers do not block.

    A missing folder is made.
    `durability="normal"` survives a crash of the process, `"full"` a power cut too (a fifth of the
    speed of single writes). `read_only=True` never makes a file or a table. `lock_timeout` is how
    many seconds a write waits for another writer. `:memory:` is a database that ends with the
    process. `redactor` and `capture_content` say which words are kept: see `Redaction`. With
    `chain` the events of each run form a hash chain, and `audit_key` signs it: see `audit.verify`.
    With `dedupe` long texts are stored once in their session. `prices` are those of model calls.
    `embed` turns texts into vectors: see `similar`.
    """

    def __init__(
        self,
        db_path: str | os.PathLike[str] = "agent_sdk.db",
        *,
        durability: Durability = "normal",
        read_only: bool = False,
        initialize: bool = True,
        lock_timeout: float = 30.0,
        redactor: Redactor | str | Collection[str] | None = None,
        capture_content: CaptureContent = "full",
        search: bool | None = None,
        chain: bool = False,
        audit_key: str | None = None,
        dedupe: bool = False,
        prices: PricesLike = True,
        embed: EmbedLike = None,
        clock: Clock | None = None,
    ) -> None:
        from curio_persistence.backends.sqlite.store import SQLiteStore

        redaction = Redaction(redactor, capture_content)
        store = SQLiteStore(
            db_path, durability=durability, read_only=read_only, lock_timeout=lock_timeout
        )
        if initialize and not read_only:
            _make_folder(db_path)
        super().__init__(
            store,
            initialize=initialize,
            clock=clock,
            redaction=redaction,
            search=search,
            chain=chain,
            audit_key=hidden(audit_key),
            dedupe=dedupe,
            prices=prices,
            embed=embed,
        )


class PostgresPersistence(Persistence):
    """In one schema of a PostgreSQL database, through a pool of connections.

    What is not given comes from `dsn` (a URL or a `key=value` string), then from libpq's `PG*`
    variables. Times are in seconds: a thread waits up to `pool_timeout` for one of
    `max_connections`, among which open streams and snapshots count; a new connection may then take
    libpq's `connect_timeout`, 10; a statement is given up after `statement_timeout`, or never with
    None. With `wait=False` nothing connects yet: the first call that reaches the server makes the
    tables, so that a program starts while its server is away. `pgbouncer=True` spares pgbouncer the
    start-up option by which a server learns of `statement_timeout`. With `layout="timed"` a new
    schema has events and model calls in partitions by month; without, an existing one is opened as
    it is. `read_dsn` names a streaming standby, which answers pages and statistics while it is
    at most `read_staleness` seconds behind; what this process has written comes from the primary
    until the standby has it. `redactor` and `capture_content` say which words are kept: see
    `Redaction`. With `chain` the events of each run form a hash chain, and `audit_key` signs it:
    see `audit.verify`. With `dedupe` long texts are stored once in their session. `prices` are
    those of model calls.
    """

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        database: str | None = None,
        user: str | None = None,
        password: str | None = None,
        schema: str = "agent_sdk",
        min_connections: int = 1,
        max_connections: int = 10,
        *,
        dsn: str | None = None,
        pool_timeout: float = 30.0,
        statement_timeout: float | None = 10.0,
        pgbouncer: bool = False,
        layout: Layout | None = None,
        read_dsn: str | None = None,
        read_staleness: float = 5.0,
        read_only: bool = False,
        initialize: bool = True,
        wait: bool = True,
        redactor: Redactor | str | Collection[str] | None = None,
        capture_content: CaptureContent = "full",
        search: bool | None = None,
        chain: bool = False,
        audit_key: str | None = None,
        dedupe: bool = False,
        prices: PricesLike = True,
        embed: EmbedLike = None,
        clock: Clock | None = None,
    ) -> None:
        from curio_persistence.backends.postgres.dsn import libpq_settings, settings_for_reading
        from curio_persistence.backends.postgres.store import PostgresStore

        host, password, dsn = hidden(host), hidden(password), hidden(dsn)
        redaction = Redaction(redactor, capture_content)
        open_store = partial(
            PostgresStore,
            schema_name=schema,
            max_connections=max_connections,
            pool_timeout=pool_timeout,
            statement_timeout=statement_timeout,
            pgbouncer=pgbouncer,
        )
        settings = libpq_settings(
            dsn, host=host, port=port, dbname=database, user=user, password=password
        )
        store = open_store(
            settings, min_connections=min_connections, layout=layout, read_only=read_only
        )
        if read_dsn:
            replica = open_store(settings_for_reading(read_dsn), min_connections=0, read_only=True)
            store.follow(replica, read_staleness)
        super().__init__(
            store,
            initialize=initialize and wait,
            clock=clock,
            redaction=redaction,
            search=search,
            chain=chain,
            audit_key=hidden(audit_key),
            dedupe=dedupe,
            prices=prices,
            embed=embed,
        )
        if initialize and not wait:
            store.prepare_later(partial(self._prepare, search))


class InMemoryPersistence(Persistence):
    """In this process's memory: for unit tests. Behaves as the databases do.

    With `read_only=True` it stays empty: every write raises AccessDeniedError.
    """

    def __init__(
        self,
        *,
        read_only: bool = False,
        redactor: Redactor | str | Collection[str] | None = None,
        capture_content: CaptureContent = "full",
        search: bool | None = None,
        chain: bool = False,
        audit_key: str | None = None,
        dedupe: bool = False,
        prices: PricesLike = True,
        embed: EmbedLike = None,
        clock: Clock | None = None,
    ) -> None:
        from curio_persistence.backends.memory.store import MemoryStore

        redaction = Redaction(redactor, capture_content)
        self._memory = MemoryStore(read_only=read_only)
        super().__init__(
            self._memory,
            clock=clock,
            redaction=redaction,
            search=search,
            chain=chain,
            audit_key=hidden(audit_key),
            dedupe=dedupe,
            prices=prices,
            embed=embed,
        )

    def clear_all(self) -> None:
        """Forget everything; ids start again from 1."""
        self._memory.clear()

    def get_all_data(self) -> dict[str, Any]:
        """Return `{"runs": {run_id: dict}, "events": {run_id: [dict]}, "llm_usage": [dict], …}`.

        `scores`, `approvals`, `snapshots`, `spans`, `sources`, `agents` and `sessions` are lists as
        `llm_usage` is. Oldest first; each dict is what `to_dict()` gives.
        """
        runs = self.runs.list(limit=None)[::-1]
        return {
            "runs": {run.run_id: run.to_dict() for run in runs},
            "events": {
                run.run_id: [event.to_dict() for event in events]
                for run in runs
                if (events := self.events.list(run.run_id))
            },
            "llm_usage": [usage.to_dict() for usage in self.usage.list(limit=None)[::-1]],
            "scores": [score.to_dict() for score in self.scores.iterate(order="oldest")],
            "approvals": [each.to_dict() for each in self.approvals.iterate(order="oldest")],
            "snapshots": [each.to_dict() for each in self.snapshots.iterate(order="oldest")],
            "spans": [span.to_dict() for span in self.traces.spans(order="oldest")],
            "sources": [source.to_dict() for source in self.traces.sources()],
            "agents": [agent.to_dict() for agent in self.agents.iterate(order="oldest")],
            "sessions": [session.to_dict() for session in self.sessions.iterate(order="oldest")],
        }


class NullPersistence(Persistence):
    """Nowhere: accepts runs, events and model calls and keeps nothing. Reads find nothing."""

    def __init__(self) -> None:
        from curio_persistence.backends.memory.null import NullStore

        super().__init__(NullStore(), search=False, prices=False)


class ClickHousePersistence(Persistence):
    """A replica of other databases in ClickHouse, which `replicate` makes: it is only read.

    `clickhouse://user@host/database`, `clickhouses://…` (TLS) or `chdb:///directory`, where
    ClickHouse runs in this process. `?source=NAME` is the only source that is read; without it all
    are. A write is an UnsupportedError, which names the source.
    """

    def __init__(
        self,
        url: str,
        *,
        initialize: bool = True,
        prices: PricesLike = True,
        clock: Clock | None = None,
    ) -> None:
        from curio_persistence.backends.clickhouse.store import ClickHouseStore

        store = ClickHouseStore(hidden(url))
        super().__init__(store, initialize=initialize, clock=clock, prices=prices)

    def diagnose(self, *, deep: bool = False) -> list[HealthCheck]:
        """A check-up of the replica; the records are those of its sources, as are their faults."""
        return self._store.diagnose(deep=deep)


def connect(
    url: str | None = None,
    *,
    read_only: bool = False,
    initialize: bool = True,
    wait: bool = True,
    redactor: Redactor | str | Collection[str] | None = None,
    capture_content: CaptureContent | None = None,
    search: bool | None = None,
    archive: str | os.PathLike[str] | None = None,
    chain: bool | None = None,
    audit_key: str | None = None,
    dedupe: bool | None = None,
    prices: PricesLike | None = None,
    embed: EmbedLike = None,
) -> Persistence:
    """Open `sqlite:///path`, `sqlite://` (memory), `postgresql://…?schema=…` or `memory://`.

    Or a replica, which is only read: `clickhouse://…`, `clickhouses://…` or `chdb:///directory`.
    Without a URL the environment decides, as `DatabaseConfig.from_env()` tells. With one, its
    `CURIO_REDACT`, `CURIO_CAPTURE_CONTENT`, `CURIO_CHAIN`, `CURIO_AUDIT_KEY`, `CURIO_DEDUPE`,
    `CURIO_PRICES` and `CURIO_EMBED` count all the same, unless `redactor`, `capture_content`,
    `chain`, `audit_key`, `dedupe`, `prices` and `embed` are given. With `wait=False` a server
    need not be reachable yet: the first call that reaches it makes the tables. With `archive`,
    a directory or URL, runs that moved there are found as well; nothing can be written, and no
    database is made; see `open_archive`.
    """
    if is_disabled() and not read_only and archive is None:
        return NullPersistence()
    from curio_persistence.config import DatabaseConfig

    url = hidden(url)
    given = None if url is None else {"url": {"CURIO_DATABASE_URL": url}}
    config = DatabaseConfig.from_env(given=given)
    if redactor is not None:
        config = replace(config, redactor=redactor)
    if capture_content is not None:
        config = replace(config, capture_content=capture_content)
    if chain is not None:
        config = replace(config, chain=chain)
    if audit_key is not None:
        config = replace(config, audit_key=hidden(audit_key))
    if dedupe is not None:
        config = replace(config, dedupe=dedupe)
    if prices is not None:
        config = replace(config, prices=prices)
    if embed is not None:
        config = replace(config, embed=embed)
    if archive is None:
        return config.get_persistence(
            read_only=read_only, initialize=initialize, wait=wait, search=search
        )
    from curio_persistence.archive import open_archive

    config.get_persistence(read_only=True).close()  # Which tells what is missing.
    # Not for reading only: a search indexes the new records.
    persistence = config.get_persistence(read_only=read_only, initialize=False, search=search)
    try:
        return open_archive(persistence, archive)
    except BaseException:
        persistence.close()  # The caller gets no object to close.
        raise
