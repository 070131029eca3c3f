"""Sessions: the runs of one conversation, with what they count."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, TypedDict, Unpack

from curio_persistence.capabilities.arguments import PayloadFilter, checked_id
from curio_persistence.capabilities.capability import Capability
from curio_persistence.capabilities.deletions import audit
from curio_persistence.capabilities.record_filter import (
    TAG_CONDITIONS,
    FilterKind,
    containing,
    of_runs,
)
from curio_persistence.capabilities.runs import Runs
from curio_persistence.capabilities.session_counts import counts_of, sessions_since
from curio_persistence.capabilities.windows import TimeLike, checked_length
from curio_persistence.clock import Clock
from curio_persistence.errors import ConflictError, InvalidValueError, NotFoundError
from curio_persistence.models import AgentSession, SessionStatus
from curio_persistence.redaction import Redaction
from curio_persistence.results.computed import computed_table
from curio_persistence.results.pages import (
    ComputedStream,
    Direction,
    Page,
    Stream,
    computed_page,
    open_stream,
    read_page,
)
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Select, Where
from curio_persistence.store.table import Columns, Row
from curio_persistence.tables import RUNS, SESSIONS

IDLE_AFTER = "30m"
_ACTIVE, _IDLE = SessionStatus.ACTIVE.value, SessionStatus.IDLE.value


@dataclass(frozen=True, slots=True)
class Session(AgentSession):
    """A session, and its counters as of now: they are computed from its runs.

    `status` is `idle` for an active session for which nothing came for a while, and
    `last_event_at` is when something last came: a run, its end, an event or a model call. `errors`
    counts events at `error` and above, and tool calls and model calls that failed, each once.
    `cost_usd` is exact, and None if no model call has a known cost; `unpriced` calls have none.
    """

    runs: int = 0
    events: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal | None = None
    unpriced: int = 0


SESSIONS_COUNTED = computed_table("sessions", Session)


class SessionFilters(TypedDict, total=False):
    """The filters of sessions; a session must pass all that are given."""

    session_id: str | Collection[str] | None
    agent_id: str | Collection[str] | None
    user_id: str | None
    run_id: str | Collection[str] | None
    status: str | Collection[str] | None
    tags: str | Collection[str] | None
    any_tags: str | Collection[str] | None
    metadata: PayloadFilter | None
    since: TimeLike | None
    until: TimeLike | None


SESSION_FILTERS = FilterKind(
    SESSIONS,
    SessionFilters,
    conditions={
        **TAG_CONDITIONS,
        "metadata": containing("metadata", "metadata"),
        "run_id": of_runs("session_id", "run_id"),
    },
)


class Sessions(Capability):
    """Create, change, list and delete sessions. The first run of a session makes it as well."""

    def __init__(self, store: Store, clock: Clock, redaction: Redaction) -> None:
        super().__init__(store, clock)
        self._redaction = redaction
        self._encode = redaction.encoder(SESSIONS)
        self._deleting = Runs(store, clock, redaction)

    def create(
        self,
        session_id: str,
        *,
        agent_id: str | None = None,
        agent_name: str | None = None,
        user_id: str | None = None,
        started_at: datetime | None = None,
        tags: Collection[str] | None = None,
        metadata: Any = None,
    ) -> Session:
        """Store a session, and return it; or describe one that only its runs have made.

        Raise ConflictError if a caller has created it before.
        """
        checked_id("session_id", session_id)
        now = self._clock.stamp(session_id)
        given: dict[str, Any] = {
            "agent_id": agent_id,
            "agent_name": agent_name,
            "user_id": user_id,
            "started_at": started_at,
            "tags": tags,
            "metadata": metadata,
        }
        begin = started_at or now
        times = {"started_at": begin, "last_event_at": begin, "created_at": now, "updated_at": now}
        row = self._encode(AgentSession(session_id, **{**given, **times}))
        try:
            self._store.insert(SESSIONS, row)
        except ConflictError:
            by_runs = (*_where(session_id), Filter("updated_at", "is null"))
            changes = {name: row[name] for name, value in given.items() if value is not None}
            changes["updated_at"] = row["updated_at"]
            if not self._store.update(SESSIONS, by_runs, changes):
                raise
        return self._stored(session_id)

    def update(
        self,
        session_id: str,
        *,
        agent_name: str | None = None,
        user_id: str | None = None,
        status: str | None = None,
        ended_at: datetime | None = None,
        tags: Collection[str] | None = None,
        metadata: Any = None,
    ) -> Session:
        """Replace the given fields of a session, and return it.

        With `status="active"` an ended session goes on. Raise NotFoundError if it is not stored.
        """
        where = _where(session_id)
        given = {
            "agent_name": agent_name,
            "user_id": user_id,
            "status": status,
            "ended_at": ended_at,
            "tags": tags,
            "metadata": metadata,
        }
        changes: Row = {n: SESSIONS.encode_value(n, v) for n, v in given.items() if v is not None}
        self._redaction.clean(SESSIONS, changes)
        if status == _ACTIVE:
            changes["ended_at"] = None
        changes["updated_at"] = encode_time(self._clock.stamp(session_id))
        self._store.update(SESSIONS, where, changes)
        return self._stored(session_id)

    def end(
        self,
        session_id: str,
        status: str = SessionStatus.COMPLETED.value,
        *,
        ended_at: datetime | None = None,
    ) -> Session:
        """End a session, as `completed` or `error`, now or at a given time, and return it."""
        if status == _ACTIVE:
            raise InvalidValueError("A session ends as completed or error.", field="status")
        return self.update(session_id, status=status, ended_at=ended_at or self._clock.now())

    def get(self, session_id: str, *, idle_after: timedelta | str = IDLE_AFTER) -> Session | None:
        """Return one session, or None.

        An active one is `idle` if nothing came for it for `idle_after`.
        """
        since = self._since(idle_after)
        found = self._counted(self._store.select(SESSIONS, _where(session_id), limit=1), since)
        return next(iter(SESSIONS_COUNTED.decode(found)), None)

    def query(
        self,
        *,
        order: Direction = "newest",
        limit: int | None = 100,
        cursor: str | None = None,
        idle_after: timedelta | str = IDLE_AFTER,
        **filters: Unpack[SessionFilters],
    ) -> Page[Session]:
        """Return one page of sessions by the time when they started.

        The filters are `session_id`, `agent_id`, `user_id`, `status` (also `idle`), `tags` (all of
        them), `any_tags`, `metadata`, `run_id` of a run in the session, and `since` and `until`
        for the time when it started. The agent and the user are those of the session's first run.
        """
        since = self._since(idle_after)
        where = self._where(filters, since)
        page = read_page(
            self._store.for_reading, SESSIONS, where, order=order, limit=limit, cursor=cursor
        )
        return computed_page(page, SESSIONS_COUNTED, partial(self._counted, since=since))

    def iterate(
        self,
        *,
        order: Direction = "newest",
        idle_after: timedelta | str = IDLE_AFTER,
        **filters: Unpack[SessionFilters],
    ) -> Stream[Session]:
        """Iterate over all sessions by the time when they started, in constant memory.

        They are read page by page, each as it is then.
        """
        since = self._since(idle_after)
        stored = open_stream(
            self._store, SESSIONS, self._where(filters, since), order=order, snapshot=False
        )
        return ComputedStream(stored, SESSIONS_COUNTED, partial(self._counted, since=since))

    def count(
        self, *, idle_after: timedelta | str = IDLE_AFTER, **filters: Unpack[SessionFilters]
    ) -> int:
        """Return the number of sessions that pass the filters."""
        return self._store.for_reading.count(
            SESSIONS, self._where(filters, self._since(idle_after))
        )

    def delete(self, session_id: str) -> bool:
        """Delete a session with its runs, each as `delete_agent_run` does; False if unknown.

        The session itself is deleted last, so that an interrupted deletion can be repeated.
        """
        where, deleted = _where(session_id), 0
        with self._store.transaction():  # A read-only store refuses this, also for an unknown one.
            if not self._store.select_columns(SESSIONS, ("id",), where):
                return False
        while True:
            for (run_id,) in self._store.select_columns(RUNS, ("run_id",), where):
                deleted += self._deleting.delete(run_id)
            with self._store.transaction():
                if self._store.select_columns(RUNS, ("id",), where, 1):
                    continue  # Another thread or process has begun one.
                found = self._store.delete(SESSIONS, where)
                audit(self._store, self._clock, "delete", session_id, "session", None, runs=deleted)
                return bool(found)

    # --- counters and status ------------------------------------------------------------------

    def _since(self, idle_after: Any) -> str:
        """Return the moment since when something came for a session that is not idle."""
        try:
            return encode_time(self._clock.now() - checked_length("idle_after", idle_after))
        except OverflowError:
            return encode_time(datetime.min)

    def _counted(self, columns: Columns, since: str) -> Columns:
        """Return the columns of `SESSIONS_COUNTED` for those of stored sessions."""
        stored = dict(zip(SESSIONS.names, columns, strict=True))
        counts = counts_of(self._store, stored["session_id"]) if stored["session_id"] else {}
        rows = []
        for values in zip(*columns, strict=True):
            row = dict(zip(SESSIONS.names, values, strict=True))
            counted = counts[row["session_id"]]
            row["last_event_at"] = max(row["last_event_at"], counted.last)
            if row["status"] == _ACTIVE and row["last_event_at"] < since:
                row["status"] = _IDLE
            rows.append([*row.values(), *counted.values().values()])
        return [*zip(*rows, strict=True)] or [()] * len(SESSIONS_COUNTED.names)

    def _where(self, filters: SessionFilters, since: str) -> Where:
        status = filters.get("status")
        others = SESSION_FILTERS.of({**filters, "status": None}).where(self._clock)
        return others if status is None else (*others, *self._with_status(status, since))

    def _with_status(self, status: str | Collection[str], since: str) -> Iterator[Filter]:
        """Yield the filters for sessions that read as one of these statuses."""
        wanted = {*([status] if isinstance(status, str) else status)}
        stored = {_ACTIVE if each == _IDLE else each for each in wanted}
        yield SESSIONS.filter_any("status", stored)
        if (_ACTIVE in wanted) is (_IDLE in wanted):
            return
        # Others may be idle when the next page is asked for, which is the same question.
        alive = sessions_since(self._store, since)
        if stored == {_ACTIVE} == wanted:
            yield Filter("session_id", "in", alive, asked="alive")
            return
        is_left_out: Where = (
            Filter("status", "=", _ACTIVE),
            Filter("session_id", "in" if _IDLE in wanted else "not in", alive),
        )
        others = Select(SESSIONS, "session_id", is_left_out)
        yield Filter("session_id", "not in", others, asked="alive")

    def _stored(self, session_id: str) -> Session:
        session = self.get(session_id)
        if session is None:
            raise NotFoundError(f"{self._store.location} has no session {session_id!r}.")
        return session


def _where(session_id: str) -> Where:
    return (SESSIONS.filter("session_id", "=", checked_id("session_id", session_id)),)
