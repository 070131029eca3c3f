"""The capabilities of a persistence, awaited: a class for each."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from typing import Unpack

from curio_persistence.aio.awaited import Awaited, awaited, streamed
from curio_persistence.aio.streams import AsyncEventFeed
from curio_persistence.capabilities.agents import Agents
from curio_persistence.capabilities.alerts import Alerts
from curio_persistence.capabilities.approvals import Approvals, Waiting
from curio_persistence.capabilities.audit import Audit
from curio_persistence.capabilities.events import EventFilters, Events
from curio_persistence.capabilities.keys import Keys
from curio_persistence.capabilities.lifecycle import Lifecycle
from curio_persistence.capabilities.metrics import Metrics
from curio_persistence.capabilities.prices import Prices
from curio_persistence.capabilities.runlog import RunLog
from curio_persistence.capabilities.scores import Scores
from curio_persistence.capabilities.search import Search
from curio_persistence.capabilities.similarity import Similarity
from curio_persistence.capabilities.snapshots import Snapshots
from curio_persistence.capabilities.stats import Stats
from curio_persistence.capabilities.usage import Usage
from curio_persistence.models import Approval
from curio_persistence.views.runs import RunViews
from curio_persistence.views.sessions import SessionViews
from curio_persistence.views.traces import TraceViews


class AsyncRuns(Awaited[RunViews]):
    """`persistence.runs`, awaited."""

    create = awaited(RunViews.create)
    create_many = awaited(RunViews.create_many)
    update = awaited(RunViews.update)
    patch = awaited(RunViews.patch)
    get = awaited(RunViews.get)
    get_many = awaited(RunViews.get_many)
    archived = awaited(RunViews.archived)
    find_ids = awaited(RunViews.find_ids)
    list = awaited(RunViews.list)
    query = awaited(RunViews.query)
    iterate = streamed(RunViews.iterate)
    count = awaited(RunViews.count)
    totals = awaited(RunViews.totals)
    totals_of = awaited(RunViews.totals_of)
    counts = awaited(RunViews.counts)
    delete = awaited(RunViews.delete)
    stale = awaited(RunViews.stale)
    abandon = awaited(RunViews.abandon)
    history = awaited(RunViews.history)
    steps = awaited(RunViews.steps)
    outline = awaited(RunViews.outline)
    outline_buckets = awaited(RunViews.outline_buckets)
    compare = awaited(RunViews.compare)
    hash = awaited(RunViews.hash)
    hashes = awaited(RunViews.hashes)


class AsyncEvents(Awaited[Events]):
    """`persistence.events`, awaited."""

    log = awaited(Events.log)
    get = awaited(Events.get)
    log_many = awaited(Events.log_many)
    append = awaited(Events.append)
    list = awaited(Events.list)
    query = awaited(Events.query)
    iterate = streamed(Events.iterate)
    count = awaited(Events.count)
    matches = awaited(Events.matches)

    def follow(
        self, *, last: int = 0, interval: float = 0.5, **filters: Unpack[EventFilters]
    ) -> AsyncEventFeed:
        """The newest events, then those that are stored from now on, each exactly once.

        `async for events in persistence.events.follow(): …` goes on for ever. `last` is how many
        come first, `interval` how many seconds pass between two looks.
        """
        following = self._sync.follow(last=last, interval=interval, **filters)
        return AsyncEventFeed(following, self._threads)


class AsyncUsage(Awaited[Usage]):
    """`persistence.usage`, awaited."""

    log = awaited(Usage.log)
    get = awaited(Usage.get)
    log_many = awaited(Usage.log_many)
    list = awaited(Usage.list)
    query = awaited(Usage.query)
    iterate = streamed(Usage.iterate)
    count = awaited(Usage.count)
    totals = awaited(Usage.totals)


class AsyncPrices(Awaited[Prices]):
    """`persistence.prices`, awaited."""

    version = awaited(Prices.version)
    own = awaited(Prices.own)
    save = awaited(Prices.save)
    remove = awaited(Prices.remove)
    of = awaited(Prices.of)
    unpriced = awaited(Prices.unpriced)
    reprice = awaited(Prices.reprice)


class AsyncSimilarity(Awaited[Similarity]):
    """`persistence.similarity`, awaited."""

    find = awaited(Similarity.find)
    failures = awaited(Similarity.failures)
    pending = awaited(Similarity.pending)
    index_pending = awaited(Similarity.index_pending)
    models = awaited(Similarity.models)
    delete = awaited(Similarity.delete)
    create_index = awaited(Similarity.create_index)
    remove_orphans = awaited(Similarity.remove_orphans)
    check = awaited(Similarity.check)

    @property
    def model(self) -> str:
        """The name of the model that makes the vectors here."""
        return self._sync.model


class AsyncScores(Awaited[Scores]):
    """`persistence.scores`, awaited."""

    set = awaited(Scores.set)
    list = awaited(Scores.list)
    query = awaited(Scores.query)
    iterate = streamed(Scores.iterate)
    count = awaited(Scores.count)
    delete = awaited(Scores.delete)


class AsyncApprovals(Awaited[Approvals]):
    """`persistence.approvals`, awaited."""

    request = awaited(Approvals.request)
    create = awaited(Approvals.create)
    resolve = awaited(Approvals.resolve)
    expire = awaited(Approvals.expire)
    get = awaited(Approvals.get)
    check = awaited(Approvals.check)
    list = awaited(Approvals.list)
    query = awaited(Approvals.query)
    iterate = streamed(Approvals.iterate)
    count = awaited(Approvals.count)

    async def wait(
        self, ticket_id: str, timeout: float | None = None, *, interval: float = 0.5
    ) -> Approval:
        """Return a ticket once it is decided or has expired; after `timeout` seconds as it is.

        It is read every `interval` seconds; meanwhile no thread waits. Raise NotFoundError if it is
        not stored.
        """
        waiting = Waiting(self._sync, ticket_id, timeout, interval)
        while (ticket := await self._threads.call(waiting.look)) is None:
            await asyncio.sleep(waiting.pause)
        return ticket


class AsyncSnapshots(Awaited[Snapshots]):
    """`persistence.snapshots`, awaited."""

    save = awaited(Snapshots.save)
    latest = awaited(Snapshots.latest)
    get = awaited(Snapshots.get)
    list = awaited(Snapshots.list)
    iterate = streamed(Snapshots.iterate)
    delete = awaited(Snapshots.delete)


class AsyncTraces(Awaited[TraceViews]):
    """`persistence.traces`, awaited."""

    get = awaited(TraceViews.get)
    query = awaited(TraceViews.query)
    iterate = streamed(TraceViews.iterate)
    count = awaited(TraceViews.count)
    find_ids = awaited(TraceViews.find_ids)
    save_span = awaited(TraceViews.save_span)
    save_spans = awaited(TraceViews.save_spans)
    spans = streamed(TraceViews.spans)
    sources = streamed(TraceViews.sources)
    delete = awaited(TraceViews.delete)


class AsyncAudit(Awaited[Audit]):
    """`persistence.audit`, awaited."""

    def acting_as(self, actor_id: str, actor_type: str = "user") -> AbstractContextManager[None]:
        """Name the actor of all lines that are written inside the `with` block."""
        return self._sync.acting_as(actor_id, actor_type)

    log = awaited(Audit.log)
    log_event = awaited(Audit.log_event)
    events = awaited(Audit.events)
    query = awaited(Audit.query)
    iterate = streamed(Audit.iterate)
    count = awaited(Audit.count)
    check = awaited(Audit.check)
    verify = awaited(Audit.verify)
    sign = awaited(Audit.sign)
    expire = awaited(Audit.expire)


class AsyncSessions(Awaited[SessionViews]):
    """`persistence.sessions`, awaited."""

    create = awaited(SessionViews.create)
    update = awaited(SessionViews.update)
    end = awaited(SessionViews.end)
    get = awaited(SessionViews.get)
    query = awaited(SessionViews.query)
    iterate = streamed(SessionViews.iterate)
    count = awaited(SessionViews.count)
    delete = awaited(SessionViews.delete)
    timeline = awaited(SessionViews.timeline)
    conversation = awaited(SessionViews.conversation)
    moment = awaited(SessionViews.moment)


class AsyncAgents(Awaited[Agents]):
    """`persistence.agents`, awaited."""

    create = awaited(Agents.create)
    update = awaited(Agents.update)
    get = awaited(Agents.get)
    query = awaited(Agents.query)
    iterate = streamed(Agents.iterate)
    count = awaited(Agents.count)


class AsyncStats(Awaited[Stats]):
    """`persistence.stats`, awaited."""

    summary = awaited(Stats.summary)
    tools = awaited(Stats.tools)
    failures = awaited(Stats.failures)


class AsyncMetrics(Awaited[Metrics]):
    """`persistence.metrics`, awaited."""

    names = awaited(Metrics.names)
    query = awaited(Metrics.query)


class AsyncSearch(Awaited[Search]):
    """`persistence.search`, awaited. `progress` is called in another thread."""

    enable = awaited(Search.enable)
    disable = awaited(Search.disable)
    pending = awaited(Search.pending)
    index_pending = awaited(Search.index_pending)
    rebuild = awaited(Search.rebuild)
    remove_orphans = awaited(Search.remove_orphans)
    check = awaited(Search.check)
    text = awaited(Search.text)
    beginnings = awaited(Search.beginnings)

    async def enabled(self) -> bool:
        """Return True where the database has a search index, and this process uses it."""
        return await self._threads.call(lambda: self._sync.enabled)


class AsyncLifecycle(Awaited[Lifecycle]):
    """`persistence.lifecycle`, awaited. `progress` is called in another thread."""

    policies = awaited(Lifecycle.policies)
    set_policy = awaited(Lifecycle.set_policy)
    remove_policy = awaited(Lifecycle.remove_policy)
    holds = awaited(Lifecycle.holds)
    hold = awaited(Lifecycle.hold)
    release = awaited(Lifecycle.release)
    expire = awaited(Lifecycle.expire)
    apply_retention = awaited(Lifecycle.apply_retention)
    vacuum = awaited(Lifecycle.vacuum)
    run_forever = awaited(Lifecycle.run_forever)
    schedule = awaited(Lifecycle.schedule)
    check = awaited(Lifecycle.check)


class AsyncAlerts(Awaited[Alerts]):
    """`persistence.alerts`, awaited. `callables` are called in other threads."""

    create = awaited(Alerts.create)
    update = awaited(Alerts.update)
    delete = awaited(Alerts.delete)
    get = awaited(Alerts.get)
    list = awaited(Alerts.list)
    history = awaited(Alerts.history)
    count = awaited(Alerts.count)
    append = awaited(Alerts.append)
    expire = awaited(Alerts.expire)
    check = awaited(Alerts.check)
    evaluate = awaited(Alerts.evaluate)
    test = awaited(Alerts.test)
    run_forever = awaited(Alerts.run_forever)


class AsyncKeys(Awaited[Keys]):
    """`persistence.keys`, awaited."""

    create = awaited(Keys.create)
    list = awaited(Keys.list)
    get = awaited(Keys.get)
    revoke = awaited(Keys.revoke)
    verify = awaited(Keys.verify)
    log_in = awaited(Keys.log_in)
    verify_session = awaited(Keys.verify_session)
    sessions = awaited(Keys.sessions)
    log_out = awaited(Keys.log_out)
    end_session = awaited(Keys.end_session)


class AsyncRunLog(Awaited[RunLog]):
    """`persistence.runlog`, awaited. Of `append`, an iterable is read in another thread."""

    append = awaited(RunLog.append)
    allocate = awaited(RunLog.allocate)
    entries = awaited(RunLog.entries)
    iterate = streamed(RunLog.iterate)
    max_sequence = awaited(RunLog.max_sequence)
    append_rollback = awaited(RunLog.append_rollback)
    condense_step = awaited(RunLog.condense_step)
    replay = awaited(RunLog.replay)
    run_view = awaited(RunLog.run_view)
    run_views = awaited(RunLog.run_views)
    step_views = awaited(RunLog.step_views)
    count_steps = awaited(RunLog.count_steps)
    context = awaited(RunLog.context)
    decision_state = awaited(RunLog.decision_state)
    introspect_state = awaited(RunLog.introspect_state)
    milestones = awaited(RunLog.milestones)
    marks = awaited(RunLog.marks)
