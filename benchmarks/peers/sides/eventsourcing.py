"""eventsourcing: a run is an aggregate, and its events are the aggregate's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from eventsourcing.domain import DomainEvent
from eventsourcing.persistence import (
    DatetimeAsISO,
    DecimalAsStr,
    EventStore,
    JSONTranscoder,
    Mapper,
    StoredEvent,
    UUIDAsHex,
)
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore
from eventsourcing.utils import get_topic

from benchmarks.peers.sides.base import Kind, Side, Words, event_rows, translated
from benchmarks.support import fill, rows
from curio_persistence import AgentRunEvent


class Happened(DomainEvent):
    agent_id: str
    agent_name: str
    event_type: str
    data: str


class EventSourcing(Side):
    title = "eventsourcing"
    packages = ("eventsourcing",)
    tables = "eventsourcing"
    table = "stored_events"
    calls = Words(
        single="`EventStore.put([event])` into a `SQLiteApplicationRecorder`: a run is the "
        "originator, what happened is a `DomainEvent`, of which the mapper makes JSON",
        batch="`EventStore.put(events)`",
        page="`list(EventStore.get(run, desc=True, limit=100))`: the newest events of one run, "
        "of any type. It cannot list by agent, by type, or newest first over several runs",
    )
    lacks = Words(statistics="it has neither model calls nor sums")

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._datastore = SQLiteDatastore(str(path))
        # In one thread the pool hands out the same connection again and again.
        with self._datastore.get_connection(commit=True) as connection:
            connection.cursor().execute("PRAGMA synchronous = NORMAL")
        self._recorder = SQLiteApplicationRecorder(self._datastore)
        self._mapper: Mapper[UUID] = Mapper(_transcoder())
        self._store = EventStore(self._mapper, self._recorder)
        self._versions: Counter[str] = Counter()

    @classmethod
    def create(cls, path: Path) -> None:
        datastore = SQLiteDatastore(str(path))
        SQLiteApplicationRecorder(datastore).create_table()
        datastore.close()

    @classmethod
    def content(cls, path: Path, kind: Kind, size: int) -> Iterable[fill.Content]:
        versions: Counter[str] = Counter()
        topic, encode = get_topic(Happened), _transcoder().encode

        def stored(agent: str, run: str, name: str, at: str, kind: str, data: str, *_: Any) -> Any:
            versions[run] += 1
            state = {
                "timestamp": {"_type_": DatetimeAsISO.name, "_data_": at},
                "agent_id": agent,
                "agent_name": name,
                "event_type": kind,
                "data": data,
            }
            return UUID(run).hex, versions[run], topic, encode(state)

        columns = ("originator_id", "originator_version", "topic", "state")
        return [(cls.table, columns, translated(event_rows(size), stored))]

    def records(self, events: Sequence[AgentRunEvent]) -> Sequence[Any]:
        return [self._record(event) for event in events]

    def _record(self, event: AgentRunEvent) -> Happened:
        self._versions[event.run_id] += 1
        return Happened(
            originator_id=UUID(event.run_id),
            originator_version=self._versions[event.run_id],
            timestamp=event.timestamp,
            agent_id=event.agent_id,
            agent_name=event.agent_name,
            event_type=event.event_type,
            data=event.data,
        )

    def log(self, record: Any) -> object:
        return self.log_many([record])

    def log_many(self, records: Sequence[Any]) -> object:
        return self._store.put(records)

    def page(self, agent_id: str, event_type: str, limit: int) -> Sequence[Any]:
        run = UUID(rows.run_id(rows.AGENTS.index(agent_id)))
        return list(self._store.get(run, desc=True, limit=limit))

    def pragma(self, name: str) -> Any:
        with self._datastore.get_connection(commit=True) as connection:
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA {name}")
            return cursor.fetchone()[0]

    def close(self) -> None:
        self._datastore.close()


class EventSourcingRecorder(EventSourcing):
    title = "eventsourcing, recorder"
    calls = Words(
        single="`SQLiteApplicationRecorder.insert_events([event])` of a `StoredEvent`, which was "
        "made by the mapper before the clock starts",
        batch="`insert_events(events)` of the same",
    )
    lacks = replace(EventSourcing.lacks, page="see *eventsourcing*")

    def records(self, events: Sequence[AgentRunEvent]) -> Sequence[StoredEvent]:
        return [self._mapper.to_stored_event(self._record(event)) for event in events]

    def log_many(self, records: Sequence[StoredEvent]) -> object:
        return self._recorder.insert_events(records)


def _transcoder() -> JSONTranscoder:
    """Return the transcoder of an `Application`."""
    transcoder = JSONTranscoder()
    for transcoding in (UUIDAsHex(), DecimalAsStr(), DatetimeAsISO()):
        transcoder.register(transcoding)
    return transcoder
