"""The filters of AgentLens' queries, as mappings or keywords, and what they mean in our tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from curio_persistence.compat.agentlens.records import NO_METRICS, OURS, level_of
from curio_persistence.compat.agentlens.times import moment_of
from curio_persistence.compat.agentlens.values import Value, named
from curio_persistence.errors import InvalidValueError
from curio_persistence.store.codecs import encode_text, encode_time
from curio_persistence.store.filters import Filter, Where, checked_count
from curio_persistence.store.table import Table
from curio_persistence.tables import EVENTS

DEFAULT_LIMIT, MOST = 50, 500
_LONGEST_SEARCH = 500
_TICK = timedelta(microseconds=1)
Q = TypeVar("Q", bound="EventQuery | SessionQuery | AnalyticsQuery")


@dataclass(frozen=True)
class EventQuery(Value):
    """The filters of events. `from_` is spelled `from` in a mapping, too."""

    session_id: Any = None
    agent_id: Any = None
    event_type: Any = None
    severity: Any = None
    from_: Any = None
    to: Any = None
    search: Any = None
    exclude_metrics: Any = False
    limit: Any = None
    offset: Any = None
    order: Any = None

    def where(self) -> Where:
        """Return the filters in our form."""
        severity = None if self.severity is None else [level_of(s) for s in several(self.severity)]
        return (
            *(NO_METRICS if self.exclude_metrics else OURS),
            *one_or_several(EVENTS, "run_id", self.session_id),
            *one_or_several(EVENTS, "agent_id", self.agent_id),
            *one_or_several(EVENTS, "event_type", self.event_type),
            *one_or_several(EVENTS, "level", severity),
            *window("timestamp", self.from_, self.to),
            *self._searched(),
        )

    def _searched(self) -> Where:
        if self.search is None or self.search == "":
            return ()
        if not isinstance(self.search, str):
            raise InvalidValueError(f"search is a text, not {self.search!r:.80}.", field="search")
        return (Filter("data", "has text", encode_text(self.search[:_LONGEST_SEARCH])),)

    def is_descending(self) -> bool:
        """Return whether the newest events come first."""
        if self.order not in (None, "desc", "asc"):
            raise InvalidValueError(f'order is "desc" or "asc", not {self.order!r}.', field="order")
        return bool(self.order != "asc")


@dataclass(frozen=True)
class SessionQuery(Value):
    """The filters of sessions."""

    agent_id: Any = None
    status: Any = None
    from_: Any = None
    to: Any = None
    tags: Any = None
    limit: Any = None
    offset: Any = None


@dataclass(frozen=True)
class HistoryQuery(Value):
    """The filters of the history of alerts."""

    rule_id: Any = None
    limit: Any = None
    offset: Any = None


@dataclass(frozen=True)
class AnalyticsQuery(Value):
    """The window of an analysis, and the size of its spans."""

    from_: Any = None
    to: Any = None
    granularity: Any = None
    agent_id: Any = None
    exclude_metrics: Any = False


def page_of(query: EventQuery | SessionQuery) -> tuple[int, int]:
    """Return the limit, which is cut, and the offset of a query."""
    limit = DEFAULT_LIMIT if query.limit is None else checked_count("limit", query.limit)
    offset = 0 if query.offset is None else checked_count("offset", query.offset)
    return min(limit, MOST), offset


def query_of(kind: type[Q], given: Any, keywords: Mapping[str, Any]) -> Q:
    """Return the query of a mapping, and of keywords; an unknown keyword is refused."""
    found = named(kind, keywords)
    if len(found) < len(keywords):
        known = ", ".join(kind.__dataclass_fields__)
        raise TypeError(f"A filter is unknown: {', '.join(keywords)}. The filters are {known}.")
    return kind(**{**named(kind, {} if given is None else given), **found})


def several(value: Any) -> Collection[Any]:
    """Return one value, or several, as several."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        return (value,)
    return tuple(value)


def one_or_several(table: Table[Any], column: str, value: Any) -> Where:
    """Return the filters for one value, or any of several; none for None or an empty text."""
    return () if value is None or value == "" else (table.filter_any(column, value),)


def window(column: str, since: Any, until: Any) -> Where:
    """Return the filters for times between two, both of which are included."""
    begin = () if since is None else (Filter(column, ">=", encode_time(moment_of(since, "from"))),)
    if until is None:
        return begin
    end = moment_of(until, "to")
    try:
        return (*begin, Filter(column, "<", encode_time(end + _TICK)))
    except OverflowError:  # The end of time.
        return begin
