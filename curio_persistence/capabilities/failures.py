"""Failures: runs, tool calls and model calls that failed, grouped by what they said.

Messages of one cause differ in numbers and ids. A message is grouped by its text without these.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from curio_persistence.models import FAILED_STATUSES
from curio_persistence.results.computed import computed_table
from curio_persistence.results.pages import Records
from curio_persistence.store import codecs
from curio_persistence.store.base import Store
from curio_persistence.store.filters import Filter, Measure, Where
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS, RUNS, USAGE
from curio_persistence.tables.columns import object_in
from curio_persistence.tables.events import tool_error_in

FailureKind = Literal["run", "tool", "model"]
WhereOf = Callable[[Table[Any]], Where]
"""The filters for the rows of a table."""


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures of one agent, tool or model that have one message but for numbers and ids.

    `name` is that of the agent (of a run), of the tool or of the model. In `message` a `#` stands
    for what differs; a message that all failures share is left as it is. `run_id` is the run of the
    newest failure; None if a model call belongs to no run. `first` and `last` are the times of the
    oldest and the newest failure. `messages` is the number of messages: more than 1 only if groups
    that mean the same were merged, of which `message` is then the most frequent.
    """

    kind: str
    name: str
    message: str
    count: int
    first: datetime
    last: datetime
    run_id: str | None
    messages: int = 1


class _Failure(NamedTuple):
    """One failure, its time in stored form."""

    kind: FailureKind
    name: str
    message: str
    at: str
    run_id: str | None


def failure_groups(store: Store, where_of: WhereOf) -> Records[FailureGroup]:
    """Return the failures in the rows that pass the filters of their tables, newest group first."""
    return records_of(grouped(store, where_of).values())


def grouped(store: Store, where_of: WhereOf) -> dict[tuple[str, str, str], Group]:
    """Return the groups by their kinds, names and messages."""
    groups: dict[tuple[str, str, str], Group] = {}
    for failure in _failures(store, where_of):
        key = (failure.kind, failure.name, folded(failure.message))
        if key not in groups:
            groups[key] = Group(failure)
        groups[key].add(failure, folded_message=key[2])
    return groups


def records_of(groups: Iterable[Group]) -> Records[FailureGroup]:
    """Return groups as records, the newest first."""
    rows = sorted((group.row() for group in groups), key=_newest_first, reverse=True)
    return Records(FAILURES, list(zip(*rows, strict=True)) or [()] * len(FAILURES.names))


def _newest_first(row: tuple[Any, ...]) -> tuple[Any, ...]:
    kind, name, message, count, _, last, *_ = row
    return last, count, kind, name, message


class Group:
    """Failures that have one message."""

    def __init__(self, failure: _Failure) -> None:
        self._newest = failure
        self._message = failure.message
        self._first = failure.at
        self._messages = 1
        self.count = 0

    def add(self, failure: _Failure, *, folded_message: str) -> None:
        self.count += 1
        self._first = min(self._first, failure.at)
        if failure.message != self._message:
            self._message = folded_message
        self._newest = max(self._newest, failure, key=_position)

    def merge(self, other: Group) -> None:
        """Take the failures of a group with another message; this one's message stays."""
        self.count += other.count
        self._messages += other._messages
        self._first = min(self._first, other._first)
        self._newest = max(self._newest, other._newest, key=_position)

    def row(self) -> tuple[Any, ...]:
        kind, name, _, last, run_id = self._newest
        message = codecs.encode_text(self._message)
        counted = self.count, self._first, last, run_id, self._messages
        return kind, codecs.encode_text(name), message, *counted


def _position(failure: _Failure) -> tuple[str, str]:
    # The run's id decides between failures of one moment: rows are read in any order.
    return failure.at, failure.run_id or ""


# --- what failed ----------------------------------------------------------------------------------

_AT_A_TIME = 1_000


def _failures(store: Store, where_of: WhereOf) -> Iterator[_Failure]:
    yield from _failed_runs(store, where_of(RUNS))
    yield from _failed_tool_calls(store, where_of(EVENTS))
    yield from _failed_model_calls(store, where_of(USAGE))


def _failed_runs(store: Store, where: Where) -> Iterator[_Failure]:
    failed = Filter("status", "in", FAILED_STATUSES)
    columns = ("agent_id", "run_id", "status", "error_message", "created_at", "finished_at")
    for row in _rows(store, RUNS, columns, (failed, *where)):
        agent_id, run_id, status, message, created_at, finished_at = row
        yield _Failure("run", agent_id, _said(message, status), finished_at or created_at, run_id)


def _failed_tool_calls(store: Store, where: Where) -> Iterator[_Failure]:
    # With both filters a database reads the index of tool calls instead of all events.
    failed = (EVENTS.filter("tool_name", "is not null"), EVENTS.filter("tool_error", "=", 1))
    columns = ("tool_name", "run_id", "data", "timestamp")
    for tool, run_id, data, at in _rows(store, EVENTS, columns, (*failed, *where)):
        yield _Failure("tool", codecs.decode_text(tool) or "", error_in(data), at, run_id)


def _failed_model_calls(store: Store, where: Where) -> Iterator[_Failure]:
    failed = Filter("status", "<>", "success")
    columns = ("model", "run_id", "status", "error_message", "created_at")
    for model, run_id, status, message, at in _rows(store, USAGE, columns, (failed, *where)):
        yield _Failure("model", model, _said(message, status), at, run_id)


def _rows(
    store: Store, table: Table[Any], columns: tuple[str, ...], where: Where
) -> Iterator[tuple[Any, ...]]:
    """Yield columns of the matching rows: first the ids, which an index has, all in memory."""
    [(ids,)] = store.aggregate(table, (Measure("values", "id"),), where)
    for start in range(0, len(ids), _AT_A_TIME):
        some = tuple(ids[start : start + _AT_A_TIME])
        yield from store.select_columns(table, columns, (Filter("id", "in", some),))


def _said(message: str | None, status: str) -> str:
    """Return what a failure said; its status if it said nothing."""
    return shortened(codecs.decode_text(message) or "") or status


def error_in(data: str) -> str:
    """Return what the payload of a failed tool call says, on one line."""
    return shortened(tool_error_in(object_in(data)) or "") or "error"


# --- messages -------------------------------------------------------------------------------------

_LONGEST = 500
_TRACEBACK = "Traceback (most recent call last):"
_SPACE = re.compile(r"\s+")


def shortened(message: str) -> str:
    """Return a message on one line; of a traceback its last line, which names the exception."""
    if _TRACEBACK in message[:_LONGEST]:
        message = message.rstrip().rpartition("\n")[2]
    return _SPACE.sub(" ", message[: 2 * _LONGEST]).strip()[:_LONGEST]


_VARYING = re.compile(
    r"""
    # A status code of HTTP tells causes apart.
    (?P<kept> \b (?: https? (?: /[0-9.]+ )? | status | code ) \W{1,3} [45][0-9]{2} \b )
    | \b [0-9a-f]{8} (?: -[0-9a-f]{4} ){3} -[0-9a-f]{12} \b  # a UUID
    | \b 0x[0-9a-f]+ \b
    | \b (?= [0-9]* [a-f] ) (?= [a-f]* [0-9] ) [0-9a-f]{8,} \b  # hexadecimal digits
    | \b (?= [a-z_]* [0-9] ) (?= [0-9_]* [a-z] ) \w{16,} \b  # as req_011CSHoEeqs5C35K2UUqR7Fy
    | (?<! [\w.-] ) -? [0-9]+ (?: [-.,:/+T]? [0-9]+ )*  # a number, a time, an address
    | (?<= [_#-] ) [0-9]{2,} (?! [\w.-] )  # order-4711, but not gpt-5
    """,
    re.VERBOSE | re.IGNORECASE,
)


def folded(message: str) -> str:
    """Return a message with `#` in place of each number and id, HTTP's status codes excepted."""
    return _VARYING.sub(lambda found: found["kept"] or "#", message)


# --- the table form of the results, which no database stores --------------------------------------

FAILURES = computed_table("failures", FailureGroup)
