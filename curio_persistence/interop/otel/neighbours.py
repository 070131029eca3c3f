"""The part of the stored traces that must be read anew when some spans come.

Spans above and below those that come are loaded, and all below the topmost of these whose reading
depends on what is below it. Spans of other traces that may tell of the same model call are loaded
with theirs. So a trace of many spans, one below the other's agent, is not read again for each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from curio_persistence.interop.otel.facts import facts_in
from curio_persistence.interop.otel.records import moment_of, nanoseconds
from curio_persistence.interop.otel.spans import Meaning, MeaningKind
from curio_persistence.store.base import Store
from curio_persistence.store.codecs import decode_text, encode_time
from curio_persistence.store.filters import Filter, Where
from curio_persistence.store.table import Row
from curio_persistence.tables import SPANS

Key = tuple[str, str]
"""A trace_id and a span_id."""

CALLS = frozenset({MeaningKind.LLM, MeaningKind.EMBEDDING})
_ACTIVE = CALLS | {MeaningKind.AGENT, MeaningKind.TOOL}
_COLUMNS = (
    *("trace_id", "span_id", "parent_span_id", "name", "started_at", "ended_at"),
    *("start_nanos", "end_nanos", "source_id", "run_id", "meaning"),
)
_RECEIVED = Filter("source_id", "is not null")
_AT_ONCE = 2_000
_LONGEST_NS = 86_400 * 10**9
"""How long a call of a model lasts at most."""


@dataclass(slots=True)
class Node:
    """A span among others. `run_id` is the run of which it is stored, `meaning` has no words."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    start_ns: int
    end_ns: int | None
    source_id: str
    run_id: Any
    meaning: Meaning

    @property
    def key(self) -> Key:
        return self.trace_id, self.span_id

    @property
    def above(self) -> Key | None:
        return None if self.parent_span_id is None else (self.trace_id, self.parent_span_id)

    @property
    def own_run_id(self) -> str:
        """Return the run_id of the run that the span is, if it is one."""
        return self.meaning.run_id or f"{self.span_id}-{self.trace_id}"


def stored_nodes(store: Store, where: Where) -> Iterator[Node]:
    """Yield the received spans that match."""
    for row in store.select_columns(SPANS, _COLUMNS, (*where, _RECEIVED)):
        yield _node(*row)


def node_of(row: Row) -> Node:
    """Return the span of a stored row."""
    values: Any = map(row.get, _COLUMNS)
    return _node(*values)


def _node(
    trace_id: str,
    span_id: str,
    parent: str | None,
    name: str,
    started_at: str,
    ended_at: str | None,
    start_nanos: int | None,
    end_nanos: int | None,
    source_id: str,
    run_id: str | None,
    meaning: str | None,
) -> Node:
    start = nanoseconds(datetime.fromisoformat(started_at), start_nanos)
    end = nanoseconds(datetime.fromisoformat(ended_at), end_nanos) if ended_at else None
    facts = facts_in(decode_text(meaning))
    return Node(trace_id, span_id, parent, name, start, end, source_id, run_id, facts)


class Neighbourhood:
    """The spans around some that come or have changed.

    Those that are `decided` are read anew; the others are there because the reading needs them.
    """

    def __init__(self, store: Store, arriving: Iterable[Node], former: Sequence[Node] = ()) -> None:
        """Load what is around some spans, and around the versions of them that they replace."""
        self._store = store
        self.former = former
        self.nodes: dict[Key, Node] = {}
        self.decided: set[Key] = set()
        self._below: defaultdict[Key, list[Key]] = defaultdict(list)
        self._missing: set[Key] = set()
        self._tops: dict[Key, Key | None] = {}
        self._add(arriving)
        self._agents_come = {node.trace_id for node in self.nodes.values() if is_agent(node)}
        left = self._select("span_id", {node.above for node in former if node.above is not None})
        self._load([*self.nodes, *(node.key for node in left)])

    def _load(self, touched: list[Key]) -> None:
        touched += self._roots_beside_agents()
        while touched:
            self._load_above(touched)
            self._load_below(touched)
            active = {key[0] for key in self.decided if self.nodes[key].meaning.kind in _ACTIVE}
            near = (each for key in touched if key[0] in active for each in self._of(key))
            self._load_below(top for each in near if (top := self._top(each)) is not None)
            touched = self._namesakes() or self._twins()
        self._load_witnesses()

    def traces(self) -> dict[str, list[Node]]:
        """Return the loaded spans by their traces."""
        found: defaultdict[str, list[Node]] = defaultdict(list)
        for node in self.nodes.values():
            found[node.trace_id].append(node)
        return found

    # --- up, down, and to the side ------------------------------------------------------------

    def _load_above(self, keys: Iterable[Key]) -> None:
        waiting, seen = [*keys], set[Key]()
        while waiting:
            wanted = set[Key]()
            for start in waiting:
                key: Key | None = start
                while key is not None and key not in seen:
                    seen.add(key)
                    if (node := self.nodes.get(key)) is None:
                        wanted.add(key)
                        break
                    key = node.above
            waiting = [node.key for node in self._select("span_id", wanted - self._missing)]
            self._missing |= wanted.difference(waiting)
            seen.difference_update(waiting)

    def _load_below(self, keys: Iterable[Key]) -> None:
        waiting = {*keys} - self.decided
        while waiting:
            self.decided |= waiting
            self._select("parent_span_id", waiting)
            waiting = {each for key in waiting for each in self._below[key]} - self.decided

    def _of(self, key: Key) -> Iterator[Key]:
        """Yield a span, and the one above it: an agent with a name matters to those around it."""
        yield key
        if (above := self.nodes[key].above) is not None and above in self.nodes:
            yield above

    def _top(self, key: Key) -> Key | None:
        """Return the topmost span, at or above one, whose reading depends on what is below it.

        An agent with a name is a run whatever is below it, so nothing above it matters.
        """
        path = []
        at: Key | None = key
        while at is not None and at in self.nodes and at not in self._tops:
            self._tops[at] = None  # Parents may lead in a circle.
            path.append(at)
            node = self.nodes[at]
            at = None if is_agent(node) and node.meaning.is_named else node.above
        top = None if at is None else self._tops.get(at)
        for each in reversed(path):
            if top is None and self._is_open(self.nodes[each]):
                top = each
            self._tops[each] = top
        return top

    def _is_open(self, node: Node) -> bool:
        kind = node.meaning.kind
        if kind is MeaningKind.AGENT:
            return not node.meaning.is_named
        if kind in CALLS:
            return True
        if node.parent_span_id is not None:
            return False
        # A root without an agent is a run once a call is below it, and for as long as no agent is
        # in its trace.
        return node.run_id != node.own_run_id or node.trace_id in self._agents_come

    def _namesakes(self) -> list[Key]:
        """Return the agents around others of the same name, which may tell of the same run."""
        found = set[Key]()
        for key in self.decided:
            if is_agent(node := self.nodes[key]):
                above = self._agent_above(node)
                if above is not None and above.meaning.agent_name == node.meaning.agent_name:
                    found.add(above.key)
        return [*found - self.decided]

    def _agent_above(self, node: Node) -> Node | None:
        seen, at = {node.key}, node.above
        while at is not None and at not in seen and (above := self.nodes.get(at)) is not None:
            if is_agent(above):
                return above
            seen.add(at)
            at = above.above
        return None

    # --- beside -------------------------------------------------------------------------------

    def _roots_beside_agents(self) -> list[Key]:
        """Return the roots that may be runs only because their traces had no agent."""
        if not self._agents_come:
            return []
        where = (
            Filter("trace_id", "in", tuple(self._agents_come)),
            Filter("parent_span_id", "is null"),
        )
        return [node.key for node in self._add(stored_nodes(self._store, where))]

    def _twins(self) -> list[Key]:
        """Load spans that tell of the same calls, in whatever trace, and return which are new."""
        known: defaultdict[str, list[Node]] = defaultdict(list)
        for node in (*map(self.nodes.__getitem__, self.decided), *self.former):
            if node.meaning.kind in CALLS and node.meaning.response_id is not None:
                known[node.meaning.response_id].append(node)
        found = [
            twin
            for where in _around(known)
            for twin in stored_nodes(self._store, where)
            if twin.key not in self.decided
            and any(_overlap(twin, node) for node in known[twin.meaning.response_id or ""])
        ]
        self._add(found)
        return [node.key for node in found]

    def _load_witnesses(self) -> None:
        """Load the agents of each trace that has a root without one."""
        rooted = {n.trace_id for n in self.nodes.values() if n.parent_span_id is None}
        rooted -= {node.trace_id for node in self.nodes.values() if is_agent(node)}
        if alone := rooted & {key[0] for key in self.decided}:
            kind = SPANS.filter("kind", "=", MeaningKind.AGENT.value)
            self._add(stored_nodes(self._store, (Filter("trace_id", "in", tuple(alone)), kind)))

    # --- loading ------------------------------------------------------------------------------

    def _select(self, column: str, keys: Collection[Key]) -> list[Node]:
        """Load the spans whose trace and `column` are one of some pairs; return those of them."""
        return self._add(
            node
            for where in of_keys(column, keys)
            for node in stored_nodes(self._store, where)
            if (node.key if column == "span_id" else node.above) in keys
        )

    def _add(self, nodes: Iterable[Node]) -> list[Node]:
        """Add spans, unless they are there, and return those that were not."""
        new = []
        for node in nodes:
            if node.key not in self.nodes:
                new.append(node)
                self.nodes[node.key] = node
                if node.above is not None:
                    self._below[node.above].append(node.key)
        return new


def is_agent(node: Node) -> bool:
    """Return whether a span is an agent by itself."""
    return node.meaning.kind is MeaningKind.AGENT


def _overlap(one: Node, other: Node) -> bool:
    ends = [node.start_ns if node.end_ns is None else node.end_ns for node in (one, other)]
    return one.start_ns <= ends[1] and other.start_ns <= ends[0]


def of_keys(column: str, keys: Collection[Key]) -> Iterator[Where]:
    """Yield filters for the spans of some traces with one of some values, so many at a time."""
    waiting = [*keys]
    for at in range(0, len(waiting), _AT_ONCE):
        traces, values = zip(*waiting[at : at + _AT_ONCE], strict=True)
        yield (
            Filter("trace_id", "in", tuple({*traces})),
            Filter(column, "in", tuple({*values})),
        )


def _around(known: Mapping[str, list[Node]]) -> Iterator[Where]:
    """Yield filters for the spans with some response ids, about the times of those that have it."""
    waiting = [*known]
    for at in range(0, len(waiting), _AT_ONCE):
        ids = waiting[at : at + _AT_ONCE]
        starts = [node.start_ns for each in ids for node in known[each]]
        ends = [node.end_ns or node.start_ns for each in ids for node in known[each]]
        yield (
            Filter("response_id", "in", tuple(ids)),
            Filter("started_at", ">=", _stored(min(starts) - _LONGEST_NS)),
            Filter("started_at", "<", _stored(max(ends) + 1000)),
        )


def _stored(ns: int) -> str:
    return encode_time(moment_of(max(ns, 0))[0])
