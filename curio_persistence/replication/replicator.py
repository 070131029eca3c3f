"""Copy what is new, and what has changed, into a replica: once, or again and again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event

from curio_persistence.backends.clickhouse.client import ClickHouseClient, open_client
from curio_persistence.backends.clickhouse.ddl import upgrade
from curio_persistence.backends.clickhouse.registry import Lease, note_current, register
from curio_persistence.backends.clickhouse.sink import Noted, Sink
from curio_persistence.backends.clickhouse.store import ClickHouseStore
from curio_persistence.capabilities.arguments import checked_id
from curio_persistence.capabilities.windows import checked_length
from curio_persistence.errors import UnsupportedError
from curio_persistence.progress import Progress
from curio_persistence.replication.changing import Changing
from curio_persistence.replication.deleting import Deleting
from curio_persistence.replication.feeds import Feed
from curio_persistence.replication.following import Following
from curio_persistence.replication.refusing import refuse_another
from curio_persistence.replication.report import ReplicationReport
from curio_persistence.replication.rows import FED
from curio_persistence.store.base import Store

_CURRENT = 5.0
"""The seconds between two notes of how far a replica is."""


def replicate(
    store: Store,
    url: str,
    *,
    once: bool,
    compact: bool,
    source: str | None,
    every: timedelta,
    deletions_every: timedelta,
    stop: Event | None,
    progress: Progress | None,
) -> ReplicationReport:
    """Bring the replica at a URL up to date, or keep it so; see `Persistence.replicate`."""
    if store._is_inside():
        raise UnsupportedError(
            "A transaction is open in this thread, which sees rows that are not committed: "
            "end it before you replicate."
        )
    if isinstance(store, ClickHouseStore):
        raise UnsupportedError(f"{store.location} is a replica: replicate its sources instead.")
    store.check_feed()
    given = None if source is None else checked_id("source", source)
    each, longer = (
        checked_length("every", every),
        checked_length("deletions_every", deletions_every),
    )
    with opened(store, url, given) as replicator:
        replicator.progress = progress
        if once or compact:
            replicator.run_once(compact)
        else:
            replicator.run(each.total_seconds(), longer.total_seconds(), stop or Event())
        return replicator.report


@contextmanager
def opened(store: Store, url: str, given: str | None) -> Iterator[Replicator]:
    """Open a replica, which is made if it is not there, and take the lease of a source."""
    client = open_client(url, create=True)
    try:
        upgrade(client)
        source = given or client.address.source or store.identity
        number = register(client, source, store.identity, store.location).number
        lease = Lease(client, source)
        lease.take()
        try:
            yield Replicator(store, client, Sink(client, source, number), lease)
        finally:
            lease.give_back()
    finally:
        client.close()


class Replicator:
    """Reads one source and writes one replica."""

    def __init__(self, store: Store, client: ClickHouseClient, sink: Sink, lease: Lease) -> None:
        self.report = ReplicationReport(sink.source)
        self.progress: Progress | None = None
        self._sink = sink
        self._lease = lease
        self._client = client
        self._current = float("-inf")
        self._feeds = {table.name: Feed(store, sink, table) for table in FED}
        refuse_another(store, sink, self._feeds)
        changing = Changing(store, sink, self.report.changed)
        self._following = Following(store, sink, self._feeds, changing)
        self._deleting = Deleting(store, sink, self._feeds, changing)
        if begin := {**self._following.begin(), **self._deleting.begin()}:
            sink.note(begin)
        for table in FED:
            changing.finish(table)

    def run_once(self, compact: bool) -> None:
        """Send all there is, follow deletions, and send what came meanwhile."""
        self._send_all()
        self._follow_deletions()
        begin = time.monotonic()
        self._send_all()
        self._note_current(begin)
        if compact:
            self._sink.compact(FED)

    def run(self, interval: float, deletions: float, stop: Event) -> None:
        """Send what is new after each interval, and follow deletions after each longer one."""
        due = time.monotonic()
        while not stop.is_set():
            begin = time.monotonic()
            more = self.send()
            if begin >= due:
                self._follow_deletions()
                due = begin + deletions
            if not more:
                self._note_current(begin)
                stop.wait(max(0.0, begin + interval - time.monotonic()))

    def send(self) -> bool:
        """Send the next batch of each table, and what has changed; return if there is more."""
        more = False
        for feed in self._feeds.values():
            self._lease.keep()
            sent = feed.send()
            self.report.sent[feed.table.name] += len(sent.columns[0])
            self._following.follow(feed.table, sent.columns)
            more |= sent.more
        self._note()
        self._following.send()
        if self.progress is not None and self.report.rows:
            self.progress(self.report.rows, None)
        return more

    def _send_all(self) -> None:
        while self.send():
            pass

    def _follow_deletions(self) -> None:
        self._lease.keep()
        self._deleting.follow()
        self.report.deleted = self._deleting.runs

    def _note_current(self, begin: float) -> None:
        """Note that all rows committed before a moment are sent, unless a note is recent."""
        if begin - self._current > _CURRENT:
            note_current(self._client, self._sink.source, time.monotonic() - begin)
            self._current = begin

    def _note(self) -> None:
        """Note the marks of all tables together."""
        unnoted: dict[str, Noted] = {}
        for feed in self._feeds.values():
            unnoted |= feed.unnoted()
        if unnoted:
            self._sink.note(unnoted)
        for feed in self._feeds.values():
            feed.was_noted()
