"""Approvals: tickets by which runs ask people, each decided once or expired."""

from __future__ import annotations

import builtins
import json
import os
import time
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from math import inf
from typing import Any, Literal, TypedDict, Unpack, get_args

from curio_persistence.capabilities.arguments import checked_id, checked_run_id
from curio_persistence.capabilities.capability import Capability
from curio_persistence.capabilities.deletions import acting_as, audit, named_actor, where_run_is
from curio_persistence.capabilities.record_filter import FilterKind
from curio_persistence.capabilities.windows import TimeLike, checked_length
from curio_persistence.clock import Clock
from curio_persistence.concurrency.timeouts import checked_seconds
from curio_persistence.errors import (
    ConflictError,
    InvalidValueError,
    MissingRunError,
    NotFoundError,
    PersistenceError,
)
from curio_persistence.models import Approval, ApprovalStatus
from curio_persistence.redaction import Redaction
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
from curio_persistence.store.filters import Filter, Order, Select, Where
from curio_persistence.store.json_text import json_text
from curio_persistence.store.table import Columns, Row
from curio_persistence.tables import APPROVALS, RUNS

Decision = Literal["approved", "denied"]
_ACTIONS = {"approved": "approve", "denied": "deny", "expired": "expire"}
"""The actions of the audit log, by the status that a ticket gets."""
_PENDING, _EXPIRED = ApprovalStatus.PENDING.value, ApprovalStatus.EXPIRED.value
_OLDEST_FIRST = (Order("requested_at"), Order("id"))
_MICROSECOND = timedelta(microseconds=1)


class ApprovalFilters(TypedDict, total=False):
    """The filters of approvals; an approval must pass all that are given."""

    agent_id: str | Collection[str] | None
    run_id: str | Collection[str] | None
    tool: str | Collection[str] | None
    status: str | Collection[str] | None
    step_id: str | None
    resolved_by: str | None
    session_id: str | None
    user_id: str | None
    since: TimeLike | None
    until: TimeLike | None


APPROVAL_FILTERS = FilterKind(APPROVALS, ApprovalFilters, of_run=("session_id", "user_id"))


class Approvals(Capability):
    """Request, decide, await and list approvals."""

    def __init__(self, store: Store, clock: Clock, redaction: Redaction) -> None:
        super().__init__(store, clock)
        self._redaction = redaction
        self._encode = redaction.encoder(APPROVALS)

    def request(
        self,
        run_id: str,
        tool: str,
        arguments: Any = None,
        *,
        expires_in: timedelta | str = "1h",
        step_id: str | None = None,
        agent_id: str | None = None,
        ticket_id: str | None = None,
        metadata: Any = None,
    ) -> Approval:
        """Ask whether a run may call a tool with these arguments, and return the ticket.

        The arguments are stored redacted, and the hash of them as they are: the decision is about
        exactly these. The ticket expires after `expires_in`, unless it is decided. Give a
        `ticket_id` to find the ticket again after a crash. The agent is by default the run's.
        Raise NotFoundError if the run is not stored, ConflictError if the ticket is.
        """
        now = self._clock.stamp(checked_run_id(run_id))
        return self.create(
            Approval(
                checked_id("ticket_id", ticket_id or os.urandom(8).hex()),
                run_id,
                agent_id or "",
                tool,
                arguments,
                arguments_hash(arguments),
                step_id,
                requested_at=now,
                expires_at=_later(now, expires_in),
                metadata=metadata,
            )
        )

    def create(self, approval: Approval) -> Approval:
        """Store a ticket of another system as it is, with the hash that it has, and return it.

        Raise as `request` does.
        """
        if not isinstance(approval, Approval):
            raise InvalidValueError(
                f"create takes an Approval, not {type(approval).__name__}.", field="approval"
            )
        now = self._clock.stamp(checked_run_id(approval.run_id))
        row = self._encode(replace(approval, created_at=now, updated_at=now))
        try:
            with self._store.transaction():
                row["agent_id"] = row["agent_id"] or self._agent_of(approval.run_id)
                self._store.insert(APPROVALS, row)
        except MissingRunError as error:
            where = where_run_is(self._store, approval.run_id)
            raise NotFoundError(
                f"No run {approval.run_id!r} exists that could ask for approval{where}"
            ) from error
        return self._stored(approval.ticket_id)

    def resolve(
        self,
        ticket_id: str,
        decision: Decision,
        *,
        by: str | None = None,
        reason: str | None = None,
        response: Any = None,
    ) -> Approval:
        """Decide a pending ticket as `"approved"` or `"denied"`, once, and return it.

        Without `by`, the actor of `audit.acting_as` has decided, or the user, machine and process.
        `response` is any value for the agent. Raise ConflictError if the ticket was decided before,
        or has expired; the message has the decision and its author.
        """
        if decision not in get_args(Decision):
            raise InvalidValueError(
                f"decision is 'approved' or 'denied', not {decision!r}.", field="decision"
            )
        alive = (Filter("expires_at", ">", encode_time(self._clock.now())),)
        return self._end(ticket_id, decision, alive, by, reason=reason, response=response)

    def expire(
        self, ticket_id: str, *, by: str | None = None, reason: str | None = None
    ) -> Approval:
        """Withdraw a pending ticket, so that it can no longer be decided, and return it.

        Raise ConflictError if it was decided before. A ticket expires at its time without this.
        """
        return self._end(ticket_id, _EXPIRED, (), by, reason=reason)

    def _end(
        self, ticket_id: str, status: str, alive: Where, by: str | None, **given: Any
    ) -> Approval:
        """Give a pending ticket its last status, unless another caller has."""
        where = (*_where(ticket_id), Filter("status", "=", _PENDING), *alive)
        with _acting(by), self._store.transaction():
            values = {
                "status": status,
                "resolved_by": named_actor()[1],
                "resolved_at": self._clock.now(),
                "updated_at": self._clock.stamp(ticket_id),
                **given,
            }
            changes: Row = {n: APPROVALS.encode_value(n, v) for n, v in values.items()}
            if not self._store.update(APPROVALS, where, self._redaction.clean(APPROVALS, changes)):
                raise self._refusal(ticket_id)
            done = self._stored(ticket_id)
            about = {"tool": done.tool, "arguments_hash": done.arguments_hash}
            action = _ACTIONS[status]
            audit(self._store, self._clock, action, ticket_id, "approval", done.run_id, **about)
        return done

    def get(self, ticket_id: str) -> Approval | None:
        """Return one ticket, or None."""
        found = self._store.select(APPROVALS, _where(ticket_id), limit=1)
        return next(iter(APPROVALS.decode(self._as_of_now(found))), None)

    def check(self, ticket_id: str, arguments: Any = None) -> bool:
        """Return whether a ticket is approved, for exactly these arguments.

        Ask this right before the tool is called. Raise NotFoundError if the ticket is not stored.
        """
        ticket = self._stored(ticket_id)
        approved = ticket.status == ApprovalStatus.APPROVED
        return approved and ticket.arguments_hash == arguments_hash(arguments)

    def wait(
        self, ticket_id: str, timeout: float | None = None, *, interval: float = 0.5
    ) -> Approval:
        """Return a ticket once it is decided or has expired; after `timeout` seconds as it is.

        It is read every `interval` seconds. Raise NotFoundError if it is not stored.
        """
        waiting = Waiting(self, ticket_id, timeout, interval)
        while (ticket := waiting.look()) is None:
            time.sleep(waiting.pause)
        return ticket

    def list(self, run_id: str) -> builtins.list[Approval]:
        """Return all tickets of a run, in the order in which they were requested."""
        where = APPROVALS.where(run_id=checked_run_id(run_id))
        found = self._store.select(APPROVALS, where, order=_OLDEST_FIRST)
        return APPROVALS.decode(self._as_of_now(found))

    def query(
        self,
        *,
        order: Direction = "newest",
        limit: int | None = 100,
        cursor: str | None = None,
        **filters: Unpack[ApprovalFilters],
    ) -> Page[Approval]:
        """Return one page of tickets by the time at which they were requested.

        The filters are `status`, `run_id`, `agent_id`, `tool`, `step_id`, `resolved_by`,
        `session_id` and `user_id` (those of the ticket's run), `since` and `until`.
        """
        where = self._where(filters)
        page = read_page(self._store, APPROVALS, where, order=order, limit=limit, cursor=cursor)
        return computed_page(page, APPROVALS, self._as_of_now)

    def iterate(
        self, *, order: Direction = "newest", **filters: Unpack[ApprovalFilters]
    ) -> Stream[Approval]:
        """Iterate over all tickets by the time at which they were requested, page by page."""
        where = self._where(filters)
        stored = open_stream(self._store, APPROVALS, where, order=order, snapshot=False)
        return ComputedStream(stored, APPROVALS, self._as_of_now)

    def count(self, **filters: Unpack[ApprovalFilters]) -> int:
        """Return the number of tickets that pass the filters."""
        return self._store.count(APPROVALS, self._where(filters))

    # --- expiry -------------------------------------------------------------------------------

    def _as_of_now(self, columns: Columns) -> Columns:
        """Return columns in which pending tickets whose time is over are expired."""
        now = encode_time(self._clock.now())
        at = APPROVALS.names.index("status")
        ends = columns[APPROVALS.names.index("expires_at")]
        statuses = [
            _EXPIRED if status == _PENDING and end <= now else status
            for status, end in zip(columns[at], ends, strict=True)
        ]
        return [*columns[:at], statuses, *columns[at + 1 :]]

    def _where(self, filters: ApprovalFilters) -> Where:
        status = filters.get("status")
        others = APPROVAL_FILTERS.of({**filters, "status": None}).where(self._clock)
        return others if status is None else (*others, *self._with_status(status))

    def _with_status(self, status: str | Collection[str]) -> Iterator[Filter]:
        """Yield the filters for tickets that read as one of these statuses."""
        asked = APPROVALS.filter_any("status", status)
        wanted = {asked.value} if asked.op == "=" else {*asked.value}
        stored = wanted | {_PENDING} if _EXPIRED in wanted else wanted
        yield APPROVALS.filter_any("status", next(iter(stored)) if len(stored) == 1 else stored)
        if (_PENDING in wanted) is (_EXPIRED in wanted):
            return
        # Others may have expired when the next page is asked for, which is the same question.
        now = self._clock.now()
        alive = Filter("expires_at", ">", encode_time(now), asked="pending")
        if wanted == {_PENDING}:
            yield alive
            return
        overdue = Filter("expires_at", "<", encode_time(now + _MICROSECOND))
        left_out = (Filter("status", "=", _PENDING), alive if _EXPIRED in wanted else overdue)
        others = Select(APPROVALS, "ticket_id", left_out)
        yield Filter("ticket_id", "not in", others, asked="pending")

    # --- one ticket ---------------------------------------------------------------------------

    def _agent_of(self, run_id: str) -> str:
        where = RUNS.where(run_id=run_id)
        for (agent_id,) in self._store.select_columns(RUNS, ("agent_id",), where):
            return str(agent_id)
        raise MissingRunError(f"No run {run_id!r} exists.")

    def look(self, ticket_id: str) -> Approval:
        """Return a ticket as others have committed it."""
        self._store.check_outside("wait()")
        return self._stored(ticket_id)

    def _stored(self, ticket_id: str) -> Approval:
        ticket = self.get(ticket_id)
        if ticket is None:
            raise NotFoundError(f"{self._store.location} has no approval ticket {ticket_id!r}.")
        return ticket

    def _refusal(self, ticket_id: str) -> PersistenceError:
        """Return the error for a ticket that can no longer be decided."""
        ticket = self._stored(ticket_id)
        by = f" by {ticket.resolved_by}" if ticket.resolved_by else ""
        when = ticket.resolved_at or ticket.expires_at
        at = "" if when is None else f" at {when:%Y-%m-%d %H:%M:%S} UTC"
        was = "has expired" if ticket.status == _EXPIRED else f"was {ticket.status}"
        return ConflictError(
            f"Ticket {ticket_id!r} {was}{by}{at}, and is not decided again: request another one."
        )


class Waiting:
    """One wait for a ticket, for a loop that pauses between two looks."""

    def __init__(
        self, approvals: Approvals, ticket_id: str, timeout: float | None, interval: float
    ) -> None:
        self._approvals = approvals
        self._ticket_id = checked_id("ticket_id", ticket_id)
        seconds = inf if timeout is None else checked_seconds("timeout", timeout)
        self._interval = checked_seconds("interval", interval)
        self._until = time.monotonic() + seconds

    def look(self) -> Approval | None:
        """Return the ticket if the wait is over."""
        is_last = time.monotonic() >= self._until
        ticket = self._approvals.look(self._ticket_id)
        return ticket if is_last or ticket.status != _PENDING else None

    @property
    def pause(self) -> float:
        """The seconds until the next look."""
        return max(0.0, min(self._interval, self._until - time.monotonic()))


def arguments_hash(arguments: Any) -> str:
    """Return the SHA-256 of arguments as canonical JSON: keys sorted, no spaces, UTF-8.

    Text is taken as JSON if it is that.
    """
    from hashlib import sha256  # On use: the import is slow.

    text = arguments if isinstance(arguments, str) else json_text(arguments)
    with suppress(ValueError, RecursionError):  # Not JSON, or not for Python.
        text = json.dumps(
            json.loads(text), ensure_ascii=False, separators=(",", ":"), sort_keys=True
        )
    return sha256(bytes(text, "utf-8", "surrogatepass")).hexdigest()


def _later(now: datetime, expires_in: timedelta | str) -> datetime:
    length = checked_length("expires_in", expires_in)
    try:
        if length:
            return now + length
    except OverflowError:
        pass
    raise InvalidValueError(
        f"expires_in is a length of time such as '30m' or '2d', not {expires_in!r}.",
        field="expires_in",
    )


def _acting(by: str | None) -> AbstractContextManager[None]:
    return nullcontext() if by is None else acting_as(checked_id("by", by))


def _where(ticket_id: str) -> Where:
    return (APPROVALS.filter("ticket_id", "=", checked_id("ticket_id", ticket_id)),)
