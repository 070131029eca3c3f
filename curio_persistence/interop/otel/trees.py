"""What the spans of a trace say together: its runs, its calls, and where each span belongs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from curio_persistence.interop.otel.spans import Call, Meaning, MeaningKind

AGENT, LLM, TOOL = MeaningKind.AGENT, MeaningKind.LLM, MeaningKind.TOOL
_BORDERS = frozenset({AGENT, TOOL})
"""A span of another kind inside one of these is not the same thing told twice."""
_TOLD_TWICE = (LLM, MeaningKind.EMBEDDING, MeaningKind.RETRIEVAL)
_MAKES_ROOT = frozenset({LLM, MeaningKind.EMBEDDING, TOOL})


class Node(NamedTuple):
    """A span, as far as the tree depends on it."""

    span_id: str
    parent_span_id: str | None
    start_ns: int
    meaning: Meaning


@dataclass(frozen=True, slots=True)
class RunSpan:
    """A span that is a run."""

    parent: str | None = None
    """The span of the run in which it happened."""
    repeats: tuple[str, ...] = ()
    """Spans inside that say the same again: their words fill what this one does not tell."""
    session_id: str | None = None
    """Its own, or that of the nearest span above that has one."""
    is_agent: bool = True
    """False for the root of a trace without agents."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the spans of one trace are. Spans are named by their span_id."""

    runs: dict[str, RunSpan] = field(default_factory=dict)
    calls: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Each span that counts as a call of a model or an embedding, and the spans around it that say
    the same, the nearest first: they fill what it does not tell."""
    tools: frozenset[str] = frozenset()
    retrievals: frozenset[str] = frozenset()
    place: dict[str, str | None] = field(default_factory=dict)
    """The run of each span: its own for a run, None outside of all."""


def read_tree(nodes: Iterable[Node]) -> Reading:
    """Return what the spans of one trace are, in whatever order they are given.

    A span whose parent is not among them is a root. Of spans that are parents of each other in a
    circle the one with the least id is.
    """
    tree = _Tree(nodes)
    wrappers = _wrappers(tree)
    merged = _repeats(tree, wrappers)
    runs = {node.span_id for node in tree.order if node.meaning.kind is AGENT}
    runs -= merged.keys() | wrappers
    is_agent = bool(runs)
    told_twice = {kind: _innermost(tree, kind) for kind in _TOLD_TWICE}
    if not is_agent:
        runs = _working_roots(tree)
    place = _places(tree, runs)
    sessions = _sessions(tree)
    repeats: defaultdict[str, list[str]] = defaultdict(list)
    for inner, outer in merged.items():
        repeats[outer].append(inner)
    return Reading(
        runs={
            span_id: RunSpan(
                parent=_run_above(tree, span_id, place),
                repeats=tuple(repeats[span_id]),
                session_id=sessions[span_id],
                is_agent=is_agent,
            )
            for span_id in runs
        },
        calls=told_twice[LLM] | told_twice[MeaningKind.EMBEDDING],
        tools=_outermost_tools(tree),
        retrievals=frozenset(told_twice[MeaningKind.RETRIEVAL]),
        place=place,
    )


class _Tree:
    """The spans of a trace, each after its parent."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes = {node.span_id: node for node in nodes}
        self.parent = {
            node.span_id: node.parent_span_id if node.parent_span_id in self.nodes else None
            for node in self.nodes.values()
        }
        for span_id in _least_of_circles(self.parent):
            self.parent[span_id] = None
        self.order = [*self._downwards()]
        self.root_of = self.inherited(lambda node, above: above or node.span_id)

    def _downwards(self) -> Iterator[Node]:
        """Yield parents before children; siblings by their start, then by id."""
        below: dict[str | None, list[Node]] = {}
        for node in sorted(self.nodes.values(), key=lambda node: (node.start_ns, node.span_id)):
            below.setdefault(self.parent[node.span_id], []).append(node)
        waiting = below.get(None, [])[::-1]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += below.get(node.span_id, [])[::-1]

    def inherited(self, own: Callable[[Node, str | None], str | None]) -> dict[str, str | None]:
        """Return a value of each span, given the one of its parent."""
        found: dict[str | None, str | None] = {None: None}
        for node in self.order:
            found[node.span_id] = own(node, found[self.parent[node.span_id]])
        return {span_id: value for span_id, value in found.items() if span_id is not None}


def _least_of_circles(parent: Mapping[str, str | None]) -> list[str]:
    """Return a span of each circle of parents."""
    least, seen = [], dict[str, str]()
    for begin in parent:
        span_id: str | None = begin
        while span_id is not None and span_id not in seen:
            seen[span_id] = begin
            span_id = parent[span_id]
        if span_id is not None and seen[span_id] == begin:
            least.append(min(_circle(span_id, parent)))
    return least


def _circle(begin: str, parent: Mapping[str, str | None]) -> Iterator[str]:
    span_id: str | None = begin
    while span_id is not None:
        yield span_id
        span_id = parent[span_id]
        if span_id == begin:
            return


def _repeats(tree: _Tree, wrappers: set[str]) -> dict[str, str]:
    """Return the agents inside their namesake without a tool between, and the outermost of them."""
    found: dict[str, str] = {}

    def nearest(node: Node, above: str | None) -> str | None:
        """Return the agent that this span and those below are in, None within a tool."""
        if node.meaning.kind is TOOL:
            return None
        if node.meaning.kind is not AGENT or node.span_id in wrappers:
            return above
        if above is not None and _name(tree, above) == node.meaning.agent_name:
            found[node.span_id] = above
            return above
        return node.span_id

    tree.inherited(nearest)
    return found


def _name(tree: _Tree, span_id: str) -> str | None:
    return tree.nodes[span_id].meaning.agent_name


def _wrappers(tree: _Tree) -> set[str]:
    """Return the agents without a name of their own around those that have one."""
    around_named: set[str] = set()
    for node in reversed(tree.order):
        is_named = node.meaning.kind is AGENT and node.meaning.is_named
        if (is_named or node.span_id in around_named) and (above := tree.parent[node.span_id]):
            around_named.add(above)
    return {
        span_id
        for span_id in around_named
        if (meaning := tree.nodes[span_id].meaning).kind is AGENT and not meaning.is_named
    }


def _innermost(tree: _Tree, kind: MeaningKind) -> dict[str, tuple[str, ...]]:
    """Return the innermost spans of a kind, and those around each that say the same.

    Spans around several of them say nothing of one. An agent or a tool between makes two of them.
    """
    found: dict[str, list[str]] = {}
    inside: dict[str, list[str]] = {}
    for node in reversed(tree.order):
        within = inside.pop(node.span_id, [])
        if node.meaning.kind is kind:
            if not within:
                found[node.span_id] = []
                within = [node.span_id]
            elif len(within) == 1:
                found[within[0]].append(node.span_id)
        above = tree.parent[node.span_id]
        if within and above is not None and node.meaning.kind not in _BORDERS:
            # Two are as many as any number: nothing asks for more.
            inside[above] = (inside.get(above, []) + within)[:2]
    return {span_id: tuple(around) for span_id, around in found.items()}


def _outermost_tools(tree: _Tree) -> frozenset[str]:
    """Return the uses of tools, without those inside one of the same tool.

    A framework, the client of an MCP server and the server tell one use each by a span.
    """
    found: set[str] = set()

    def used(node: Node, above: str | None) -> str | None:
        """Return the tool in whose use this span and those below are."""
        if node.meaning.tool is None:
            return None if node.meaning.kind in (AGENT, LLM) else above
        if node.meaning.tool.name != above:
            found.add(node.span_id)
        return node.meaning.tool.name

    tree.inherited(used)
    return frozenset(found)


def _working_roots(tree: _Tree) -> set[str]:
    """Return the roots with calls of models or tools below; one that is a call itself is no run."""
    return {
        top
        for node in tree.order
        if node.meaning.kind in _MAKES_ROOT
        and (top := tree.root_of[node.span_id]) is not None
        and tree.nodes[top].parent_span_id is None
        and tree.nodes[top].meaning.kind not in _MAKES_ROOT
    }


def _places(tree: _Tree, runs: set[str]) -> dict[str, str | None]:
    return tree.inherited(lambda node, above: node.span_id if node.span_id in runs else above)


def _sessions(tree: _Tree) -> dict[str, str | None]:
    return tree.inherited(lambda node, above: node.meaning.session_id or above)


def _run_above(tree: _Tree, span_id: str, place: Mapping[str, str | None]) -> str | None:
    above = tree.parent[span_id]
    return None if above is None else place[above]


class CallSpan(NamedTuple):
    """A span that counts as a call in its trace, with what decides whether it is told twice."""

    trace_id: str
    span_id: str
    start_ns: int
    end_ns: int
    response_id: str
    has_run: bool
    """True if it is in a run."""


def same_calls(spans: Iterable[CallSpan]) -> list[tuple[CallSpan, ...]]:
    """Return the spans of each call, of whatever traces: one answer, told at one time.

    A cache answers with an old id at another time, which is a call of its own. The first span of a
    call is the one to keep: one in a run, then the shortest, which is next to the wire.
    """
    by_answer: dict[str, list[CallSpan]] = {}
    for span in sorted(spans, key=lambda span: (span.start_ns, span.end_ns, *span[:2])):
        by_answer.setdefault(span.response_id, []).append(span)
    return [
        tuple(sorted(group, key=_preferred))
        for told in by_answer.values()
        for group in _overlapping(told)
    ]


def _preferred(span: CallSpan) -> tuple[bool, int, str, str]:
    return not span.has_run, span.end_ns - span.start_ns, span.trace_id, span.span_id


def _overlapping(spans: Iterable[CallSpan]) -> Iterator[list[CallSpan]]:
    """Yield groups of spans, given by their start, that have a time in common with another."""
    group: list[CallSpan] = []
    end = 0
    for span in spans:
        if group and span.start_ns > end:
            yield group
            group = []
        end = max(end, span.end_ns) if group else span.end_ns
        group.append(span)
    if group:
        yield group


def filled(call: Call, others: Iterable[Call]) -> Call:
    """Return a call with what it does not tell taken from others, the first that tell it."""
    for other in others:
        unknown = {
            name: value
            for name in Call._fields
            if getattr(call, name) is None and (value := getattr(other, name)) is not None
        }
        call = call._replace(**unknown) if unknown else call
    return call
