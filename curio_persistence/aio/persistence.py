"""The table of contents once more, awaited."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Any, Self, Unpack

from curio_persistence.aio.awaited import Awaited, awaited, streamed
from curio_persistence.aio.capabilities import (
    AsyncAgents,
    AsyncAlerts,
    AsyncApprovals,
    AsyncAudit,
    AsyncEvents,
    AsyncKeys,
    AsyncLifecycle,
    AsyncMetrics,
    AsyncPrices,
    AsyncRunLog,
    AsyncRuns,
    AsyncScores,
    AsyncSearch,
    AsyncSessions,
    AsyncSimilarity,
    AsyncSnapshots,
    AsyncStats,
    AsyncTraces,
    AsyncUsage,
)
from curio_persistence.aio.live import AsyncLiveStream
from curio_persistence.aio.recorder import AsyncRunRecorder
from curio_persistence.aio.threads import Threads
from curio_persistence.buffering.persistence import BufferedPersistence
from curio_persistence.buffering.queue import Overflow
from curio_persistence.capabilities.live import LiveFilters
from curio_persistence.clock import Clock
from curio_persistence.errors import ConfigurationError
from curio_persistence.persistence import Persistence
from curio_persistence.recording.arguments import OnError, Parent
from curio_persistence.recording.decorators import F, recorded
from curio_persistence.recording.recorder import RunRecorder
from curio_persistence.redaction import Redaction

THREADS = 4
"""The number of threads by default: each busy one may keep the event loop waiting for the
interpreter, for 5 ms."""


class AsyncPersistence(Awaited[Persistence]):
    """A persistence for programs that run in an event loop: its own names, awaited.

    Everything is done in other threads, so many calls and so many transactions at a time: the loop
    never waits. It takes the persistence over: `close()`, or the end of an `async with` block,
    closes that too. One may be shared by any number of tasks, and by several loops.

    A call that is cancelled returns at once. If a thread has taken it up, it goes on to its end: a
    write is stored or it is not, never in part.
    """

    def __init__(self, persistence: Persistence, *, threads: int = THREADS) -> None:
        if not isinstance(persistence, Persistence):
            raise ConfigurationError(
                "AsyncPersistence takes an open persistence, not "
                f"{type(persistence).__name__}. To open one: await aio.connect(url)."
            )
        super().__init__(persistence, Threads(threads))
        self.runs = AsyncRuns(persistence.runs, self._threads)
        self.events = AsyncEvents(persistence.events, self._threads)
        self.usage = AsyncUsage(persistence.usage, self._threads)

    @property
    def search(self) -> AsyncSearch:
        """The full-text index of the records, which `search_text` asks."""
        return AsyncSearch(self._sync.search, self._threads)

    @property
    def stats(self) -> AsyncStats:
        """Statistics of agents, their tools and failures."""
        return AsyncStats(self._sync.stats, self._threads)

    @property
    def metrics(self) -> AsyncMetrics:
        """The values of metric events, which `query_metrics` aggregates."""
        return AsyncMetrics(self._sync.metrics, self._threads)

    @property
    def scores(self) -> AsyncScores:
        """Judgements of runs and spans, by people, programs or models."""
        return AsyncScores(self._sync.scores, self._threads)

    @property
    def similarity(self) -> AsyncSimilarity:
        """Return the capability for vectors of texts, which `similar` asks."""
        return AsyncSimilarity(self._sync.similarity, self._threads)

    @property
    def approvals(self) -> AsyncApprovals:
        """Decisions that agents wait for."""
        return AsyncApprovals(self._sync.approvals, self._threads)

    @property
    def snapshots(self) -> AsyncSnapshots:
        """States that agents keep of their runs."""
        return AsyncSnapshots(self._sync.snapshots, self._threads)

    @property
    def traces(self) -> AsyncTraces:
        """Runs, calls and saved spans as traces, with time and nesting."""
        return AsyncTraces(self._sync.traces, self._threads)

    @property
    def sessions(self) -> AsyncSessions:
        """Conversations: their runs, what was said, and their counts."""
        return AsyncSessions(self._sync.sessions, self._threads)

    @property
    def agents(self) -> AsyncAgents:
        """The agents that made runs."""
        return AsyncAgents(self._sync.agents, self._threads)

    @property
    def audit(self) -> AsyncAudit:
        """The log of what was changed and deleted, and its verification."""
        return AsyncAudit(self._sync.audit, self._threads)

    @property
    def alerts(self) -> AsyncAlerts:
        """Rules of alerts, their evaluation, and the history of what they found."""
        return AsyncAlerts(self._sync.alerts, self._threads)

    @property
    def keys(self) -> AsyncKeys:
        """API keys with their roles, and the sessions of the console."""
        return AsyncKeys(self._sync.keys, self._threads)

    @property
    def runlog(self) -> AsyncRunLog:
        """The ordered entries of sessions, from which the state of agents is rebuilt."""
        return AsyncRunLog(self._sync.runlog, self._threads)

    @property
    def prices(self) -> AsyncPrices:
        """The costs of model calls: explained, listed where unknown, and computed anew."""
        return AsyncPrices(self._sync.prices, self._threads)

    @property
    def lifecycle(self) -> AsyncLifecycle:
        """Retention policies, legal holds, and the deletion of what has expired."""
        return AsyncLifecycle(self._sync.lifecycle, self._threads)

    create_agent_run = awaited(Persistence.create_agent_run)
    create_agent_runs = awaited(Persistence.create_agent_runs)
    update_agent_run = awaited(Persistence.update_agent_run)
    get_agent_run = awaited(Persistence.get_agent_run)
    get_agent_runs = awaited(Persistence.get_agent_runs)
    query_agent_runs = awaited(Persistence.query_agent_runs)
    iter_agent_runs = streamed(Persistence.iter_agent_runs)
    count_agent_runs = awaited(Persistence.count_agent_runs)
    delete_agent_run = awaited(Persistence.delete_agent_run)

    log_agent_run_event = awaited(Persistence.log_agent_run_event)
    log_agent_run_events = awaited(Persistence.log_agent_run_events)
    append_event = awaited(Persistence.append_event)
    get_agent_run_events = awaited(Persistence.get_agent_run_events)
    query_events = awaited(Persistence.query_events)
    iter_agent_run_events = streamed(Persistence.iter_agent_run_events)
    count_events = awaited(Persistence.count_events)
    query_metrics = awaited(Persistence.query_metrics)
    analytics = awaited(Persistence.analytics)
    search_text = awaited(Persistence.search_text)
    similar = awaited(Persistence.similar)
    create_payload_index = awaited(Persistence.create_payload_index)

    log_llm_usage = awaited(Persistence.log_llm_usage)
    log_llm_usages = awaited(Persistence.log_llm_usages)
    get_llm_usage = awaited(Persistence.get_llm_usage)
    query_llm_usage = awaited(Persistence.query_llm_usage)
    iter_llm_usage = streamed(Persistence.iter_llm_usage)
    count_llm_usage = awaited(Persistence.count_llm_usage)
    get_agent_run_stats = awaited(Persistence.get_agent_run_stats)
    log_audit_event = awaited(Persistence.log_audit_event)
    get_audit_events = awaited(Persistence.get_audit_events)
    sql = awaited(Persistence.sql)
    values = awaited(Persistence.values)

    def deadline(self, seconds: float) -> AbstractContextManager[None]:
        """Limit the time of all readings of this task that are begun in this block.

        `with persistence.deadline(10): …`; see `Persistence.deadline`.
        """
        return self._sync.deadline(seconds)

    def stream(
        self, *, after: str | None = None, until: str | None = None, **filters: Unpack[LiveFilters]
    ) -> AsyncLiveStream:
        """Return what is stored from now on, as it is committed; see `Persistence.stream`.

        `async with persistence.stream() as stream: async for item in stream: …` never ends.
        """
        prepared = self._sync._live.prepare(after=after, until=until, **filters)
        return AsyncLiveStream(prepared, self._threads)

    initialize_schema = awaited(Persistence.initialize_schema)
    schema_version = awaited(Persistence.schema_version)
    health_check = awaited(Persistence.health_check)
    diagnose = awaited(Persistence.diagnose)
    compact = awaited(Persistence.compact)
    backup = awaited(Persistence.backup)
    verify = awaited(Persistence.verify)
    replicate = awaited(Persistence.replicate)
    check_replica = awaited(Persistence.check_replica)

    def record_run(
        self,
        *,
        agent_id: str,
        objective: Any = "",
        agent_name: str = "",
        run_id: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
        parent: AsyncRunRecorder | RunRecorder | str | Parent | None = Parent.ENCLOSING,
        additional_context: Any = None,
        metadata: Any = None,
        tags: str | Collection[str] | None = None,
        resume: bool = False,
        on_error: OnError = "log",
    ) -> AsyncRunRecorder:
        """Record a run as it happens: `async with persistence.record_run(agent_id="a") as run: …`.

        As `Persistence.record_run` does, with each of the recorder's methods awaited.
        """
        recorder = self._sync.record_run(
            agent_id=agent_id,
            objective=objective,
            agent_name=agent_name,
            run_id=run_id,
            session_id=session_id,
            user_id=user_id,
            parent=parent._sync if isinstance(parent, AsyncRunRecorder) else parent,
            additional_context=additional_context,
            metadata=metadata,
            tags=tags,
            resume=resume,
            on_error=on_error,
        )
        return AsyncRunRecorder(recorder, self._threads)

    def recorded(
        self,
        agent_id: str | None = None,
        *,
        capture_args: bool = True,
        capture_result: bool = True,
        **run: Any,
    ) -> Callable[[F], F]:
        """Record each call of a coroutine or asynchronous generator as a run.

        As `Persistence.recorded` does, without blocking the event loop.
        """
        return recorded(
            self,
            agent_id,
            capture_args=capture_args,
            capture_result=capture_result,
            awaited_only=True,
            **run,
        )

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """Group writes: all are committed at the end of the block, none if it raises.

        To it belongs what is awaited in the block, and what tasks do that are begun there, until it
        ends. Inside, each write is a savepoint, a further transaction too, and reads see the
        writes. Other writes wait meanwhile (on SQLite and in memory): do not wait in the block for
        a write of a task that was begun outside of it, nor for a model's answer.
        """
        return self._threads.inside(self._sync.transaction())

    def buffered(
        self,
        *,
        max_items: int = 10_000,
        max_bytes: int = 64 << 20,
        max_seconds: float = 1.0,
        overflow: Overflow = "block",
        install_sigterm: bool = False,
    ) -> AsyncBufferedPersistence:
        """This persistence, behind a queue; see `BufferedPersistence`. It is taken over."""
        buffered = self._sync.buffered(
            max_items=max_items,
            max_bytes=max_bytes,
            max_seconds=max_seconds,
            overflow=overflow,
            install_sigterm=install_sigterm,
        )
        return AsyncBufferedPersistence(buffered, threads=self._threads.most)

    @property
    def blocking(self) -> Persistence:
        """The persistence underneath, for functions that take one and are called in a thread."""
        return self._sync

    @property
    def clock(self) -> Clock:
        """The clock by which records are stamped."""
        return self._sync.clock

    @property
    def redaction(self) -> Redaction:
        """The rule by which words are kept, replaced or left out."""
        return self._sync.redaction

    @property
    def location(self) -> str:
        """The location of the database, as words that can open a sentence; without a password."""
        return self._sync.location

    async def close(self) -> None:
        """Release connections and threads. Closing twice is fine."""
        await self._threads.last_call(self._sync.close)

    async def __aenter__(self) -> Self:
        return self

    def __copy__(self) -> Self:
        """Return itself, as the copy of a blocking persistence does."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._threads.last_call(lambda: self._sync.__exit__(kind, error, traceback))


class AsyncBufferedPersistence(AsyncPersistence):
    """A `BufferedPersistence`, awaited."""

    _sync: BufferedPersistence

    flush = awaited(BufferedPersistence.flush)

    @property
    def pending(self) -> int:
        """The number of records that wait to be stored."""
        return self._sync.pending

    @property
    def dropped(self) -> dict[str, int]:
        """The number of records that are not stored and never will be, by reason."""
        return self._sync.dropped
