"""SQLAlchemy on the package's own tables: statements of its Core, and objects of its ORM."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    Select,
    Table,
    Text,
    TypeDecorator,
    create_engine,
    func,
    insert,
    select,
)
from sqlalchemy import event as listening
from sqlalchemy.orm import Session, registry

from benchmarks.peers.sides.base import Words
from benchmarks.peers.sides.our_tables import OurTables
from benchmarks.raw.summary import quantiles_of_histogram, stats
from benchmarks.support.rows import lifted
from curio_persistence import AgentRunEvent


class SQLAlchemyCore(OurTables):
    title = "SQLAlchemy Core"
    packages = ("SQLAlchemy",)
    calls = Words(
        single="`with engine.begin() as connection: connection.execute(insert(events), row)`; "
        "it is handed a dictionary that has the columns for tool calls already",
        batch="`connection.scalars(insert(events).returning(events.c.id, "
        "sort_by_parameter_order=True), rows).all()`: the ids as well, in order",
        page="`select(events).where(…).order_by(timestamp.desc(), id.desc()).limit(100)`, to "
        "rows with datetimes",
        statistics="four `select`s: `GROUP BY` status, (model, status), latency and tool, which "
        "for percentiles was faster than `OFFSET` and than fetching all latencies; the same answer",
    )

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._engine = create_engine(f"sqlite:///{path}")
        listening.listen(self._engine, "connect", _set_pragmas)
        metadata = MetaData()
        self._runs = Table("agent_runs", metadata, autoload_with=self._engine)
        self._usage = Table("agent_llm_usage", metadata, autoload_with=self._engine)
        self._events = Table(
            self.table,
            metadata,
            # SQLite allows NULL in any other primary key, which returned ids must not be.
            Column("id", Integer, primary_key=True),
            Column("timestamp", UTCText),
            Column("created_at", UTCText),
            autoload_with=self._engine,
        )
        events = self._events.c
        self._insert = insert(self._events)
        self._insert_many = self._insert.returning(events.id, sort_by_parameter_order=True)

    def records(self, events: Sequence[AgentRunEvent]) -> Sequence[Any]:
        return [_row(event) for event in events]

    def log(self, record: Any) -> object:
        with self._engine.begin() as connection:
            return connection.execute(self._insert, record).inserted_primary_key

    def log_many(self, records: Sequence[Any]) -> object:
        with self._engine.begin() as connection:
            return connection.scalars(self._insert_many, records).all()

    def page(self, agent_id: str, event_type: str, limit: int) -> Sequence[Any]:
        with self._engine.connect() as connection:
            return connection.execute(
                self._newest(self._events, self._events.c, agent_id, event_type, limit)
            ).all()

    def _newest(
        self, what: Any, columns: Any, agent_id: str, event_type: str, limit: int
    ) -> Select[Any]:
        return (
            select(what)
            .where(columns.agent_id == agent_id, columns.event_type == event_type)
            .order_by(columns.timestamp.desc(), columns.id.desc())
            .limit(limit)
        )

    def statistics(self, agent_id: str | None) -> dict[str, Any]:
        with self._engine.connect() as connection:
            return _statistics(connection, self._runs.c, self._usage.c, self._events.c, agent_id)

    def pragma(self, name: str) -> Any:
        with self._engine.connect() as connection:
            return connection.exec_driver_sql(f"PRAGMA {name}").scalar()

    def close(self) -> None:
        self._engine.dispose()


class SQLAlchemyCoreWithoutIds(SQLAlchemyCore):
    title = "SQLAlchemy Core, no ids"
    calls = Words(batch="`connection.execute(insert(events), rows)`: the ids stay unknown")
    lacks = Words(*["see *SQLAlchemy Core*"] * 4)

    def log_many(self, records: Sequence[Any]) -> object:
        with self._engine.begin() as connection:
            return connection.execute(self._insert, records)


class SQLAlchemyORM(SQLAlchemyCore):
    title = "SQLAlchemy ORM"
    calls = Words(
        single="`with Session(engine, expire_on_commit=False) as session: session.add(event); "
        "session.commit()`; it is handed an object that has the columns for tool calls already",
        batch="`session.add_all(events)`, and one commit; fills the ids in",
        page="`session.scalars(select(Event).where(…).order_by(…).limit(100))` in a new "
        "session, to objects with datetimes",
        statistics="the `select`s of Core, of mapped attributes in a session",
    )

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        mapper = registry()
        self._event = _mapped(mapper, "Event", self._events)
        self._run = _mapped(mapper, "Run", self._runs)
        self._call = _mapped(mapper, "Call", self._usage)

    def records(self, events: Sequence[AgentRunEvent]) -> Sequence[Any]:
        return [self._event(**_row(event)) for event in events]

    def log(self, record: Any) -> object:
        return self.log_many([record])

    def log_many(self, records: Sequence[Any]) -> object:
        with Session(self._engine, expire_on_commit=False) as session:
            session.add_all(records)
            session.commit()
        return None

    def page(self, agent_id: str, event_type: str, limit: int) -> Sequence[Any]:
        with Session(self._engine) as session:
            return session.scalars(
                self._newest(self._event, self._event, agent_id, event_type, limit)
            ).all()

    def statistics(self, agent_id: str | None) -> dict[str, Any]:
        with Session(self._engine) as session:
            return _statistics(session, self._run, self._call, self._event, agent_id)


class UTCText(TypeDecorator[datetime]):
    """An aware datetime, stored as text of fixed width."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: object) -> str | None:
        return None if value is None else value.isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: object) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


def _set_pragmas(connection: Any, _: object) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _mapped(mapper: registry, name: str, table: Table) -> type[Any]:
    """Return a class whose objects are rows of the table."""
    found = type(name, (), {})
    mapper.map_imperatively(found, table)
    return found


def _row(event: AgentRunEvent) -> dict[str, Any]:
    name, microseconds, failed = lifted(event)
    return {
        "agent_id": event.agent_id,
        "run_id": event.run_id,
        "agent_name": event.agent_name,
        "timestamp": event.timestamp,
        "event_type": event.event_type,
        "data": event.data,
        "created_at": datetime.now(UTC),
        "tool_name": name,
        "tool_latency_us": microseconds,
        "tool_error": failed,
    }


def _statistics(
    connection: Connection | Session, run: Any, call: Any, event: Any, agent_id: str | None
) -> dict[str, Any]:
    """Compute `get_agent_run_stats` with columns or mapped classes."""

    def ask(statement: Select[Any], of: Any) -> Sequence[Any]:
        if agent_id is not None:
            statement = statement.where(of.agent_id == agent_id)
        return connection.execute(statement).all()

    runs = ask(
        select(run.status, func.count(), func.sum(run.total_iterations)).group_by(run.status), run
    )
    calls = ask(
        select(
            call.model,
            call.status,
            func.count(),
            func.sum(call.input_tokens),
            func.sum(call.output_tokens),
            func.sum(call.cost_usd),
        ).group_by(call.model, call.status),
        call,
    )
    latencies = ask(
        select(call.latency_ms, func.count())
        .where(call.latency_ms.is_not(None))
        .group_by(call.latency_ms)
        .order_by(call.latency_ms),
        call,
    )
    tools = ask(
        select(
            event.tool_name,
            func.count(),
            func.sum(event.tool_error),
            func.count(event.tool_latency_us),
            func.sum(event.tool_latency_us),
        )
        .where(event.tool_name.is_not(None))
        .group_by(event.tool_name),
        event,
    )
    return stats(runs, calls, quantiles_of_histogram(latencies), tools)
