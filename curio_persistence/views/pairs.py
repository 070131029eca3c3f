"""The events that belong together: the begin and the end of a tool call or span."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from curio_persistence.models import AgentRunEvent
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Order, Where
from curio_persistence.tables import EVENTS
from curio_persistence.views.steps import BEGINS, ENDS, KINDS, closed, step_of, time_of

_BEGIN, _END = Filter("event_type", "in", BEGINS), Filter("event_type", "in", ENDS)
_UNNAMED = Filter("span_id", "is null")
_IN_TIME = (Order("timestamp"), Order("id"))

Place = tuple[str, int]
"""The place of an event among those of its run."""
Key = tuple[str, str | None]


class Pairs:
    """The pairs of one run.

    A begin is ended by the first end with its span_id after it, and an end that has such a begin
    before it is no step of its own. Events without a span_id are paired by name and arguments: all
    of them are read for that, if there is a begin among them.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._of_run: Where = (Filter("run_id", "=", run_id),)

    def ends(self, events: Iterable[AgentRunEvent]) -> Mapping[int, AgentRunEvent]:
        """Return the ends of those events that are begins, by the ids of these.

        The events are some neighbours, in the order of time: their ends are mostly among them.
        """
        found: dict[int, AgentRunEvent] = {}
        waiting: dict[Key, list[AgentRunEvent]] = {}
        for event in events:
            if event.event_type in BEGINS and event.span_id is None:
                if end := self._unnamed.get(_id(event)):
                    found[_id(event)] = end
            elif event.event_type in BEGINS:
                waiting.setdefault(_key(event), []).append(event)
            elif event.event_type in ENDS:
                _end(event, waiting, found)
        for event in self._later_ends(waiting):
            _end(event, waiting, found)
        return found

    def _later_ends(self, waiting: Mapping[Key, list[AgentRunEvent]]) -> Sequence[AgentRunEvent]:
        if not waiting:
            return ()
        first = min(place_of(event) for events in waiting.values() for event in events)
        spans = Filter("span_id", "in", tuple({span for _, span in waiting}))
        return self._read((*self._of_run, spans, _END), after=first)

    def ended(self, events: Iterable[AgentRunEvent]) -> set[int]:
        """Return the ids of those events that end what began before them."""
        ends = [event for event in events if event.event_type in ENDS]
        begins = self._begins({event.span_id for event in ends})
        return {
            _id(event)
            for event in ends
            if (
                _id(event) in self._ended
                if event.span_id is None
                else _key(event) in begins and begins[_key(event)] < place_of(event)
            )
        }

    def begin_of(self, event: AgentRunEvent) -> AgentRunEvent:
        """Return the last begin that an event ends, or the event itself."""
        if event.event_type not in ENDS:
            return event
        if event.span_id is None:
            begun = [ident for ident, end in self._unnamed.items() if end.id == event.id]
            where: Where = (Filter("id", "in", tuple(begun)),)
        else:
            where = (*self._of_run, Filter("span_id", "=", event.span_id), _BEGIN)
        before = [
            each
            for each in self._read(where)
            if _key(each) == _key(event) and place_of(each) < place_of(event)
        ]
        return before[-1] if before else event

    def _begins(self, spans: set[str | None]) -> Mapping[Key, Place]:
        """Return the place of the first begin of each span."""
        named = tuple(spans - {None})
        if not named:
            return {}
        begun = self._read((*self._of_run, Filter("span_id", "in", named), _BEGIN))
        return {_key(event): place_of(event) for event in reversed(begun)}

    # --- events without a span_id -----------------------------------------------------------------

    @cached_property
    def _unnamed(self) -> Mapping[int, AgentRunEvent]:
        """The ends of all begins without a span_id, by the ids of these."""
        of_run = (*self._of_run, _UNNAMED)
        if not self._store.select_columns(EVENTS, ("id",), (*of_run, _BEGIN), 1):
            return {}
        events = self._read((*of_run, Filter("event_type", "in", (*BEGINS, *ENDS))))
        return {
            _id(step.begun): step.record
            for step in closed(map(step_of, events))
            if isinstance(step.begun, AgentRunEvent) and isinstance(step.record, AgentRunEvent)
        }

    @cached_property
    def _ended(self) -> set[int]:
        return {_id(end) for end in self._unnamed.values()}

    def _read(self, where: Where, after: Place | None = None) -> Sequence[AgentRunEvent]:
        return EVENTS.decode(self._store.select(EVENTS, where, order=_IN_TIME, after=after))


def place_of(event: AgentRunEvent) -> Place:
    """Return the place of an event among those of its run."""
    return encode_time(time_of(event)), _id(event)


def _id(event: AgentRunEvent | None) -> int:
    assert event is not None
    assert event.id is not None, "what was read has its id"
    return event.id


def _key(event: AgentRunEvent) -> Key:
    return KINDS[event.event_type], event.span_id


def _end(
    end: AgentRunEvent,
    waiting: dict[Key, list[AgentRunEvent]],
    found: dict[int, AgentRunEvent],
) -> None:
    """Note an end for all begins that wait for it."""
    for begun in waiting.pop(_key(end), ()):
        found[_id(begun)] = end
