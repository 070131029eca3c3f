"""Which records the spans of a neighbourhood make, and where these belong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

from curio_persistence.interop.otel import trees
from curio_persistence.interop.otel.ancestry import inheritances
from curio_persistence.interop.otel.derived import Place, agent_of
from curio_persistence.interop.otel.meanings import UNKNOWN
from curio_persistence.interop.otel.neighbours import CALLS, Key, Neighbourhood, Node, is_agent
from curio_persistence.interop.otel.spans import MeaningKind
from curio_persistence.interop.otel.trees import CallSpan, read_tree, same_calls


class Placement:
    """The records that the decided spans of a neighbourhood make, by their spans.

    `runs`, `calls` and `tools` have the place of each. `helpers` are the spans that tell of a call
    or a run what its own span does not. `run_ids` has the run of every span.
    """

    def __init__(self, around: Neighbourhood, services: Callable[[], Mapping[str, str]]) -> None:
        self._around = around
        self._services = services
        self.runs: dict[Key, Place] = {}
        self.calls: dict[Key, Place] = {}
        self.tools: dict[Key, Place] = {}
        self.helpers: dict[Key, list[Key]] = {}
        self.run_ids: dict[Key, str | None] = {}
        self._run_keys: dict[Key, Key | None] = {}
        self._above = inheritances(around)
        traces = around.traces()
        for trace_id in {trace_id for trace_id, _ in around.decided}:
            self._read(trace_id, traces[trace_id])
        self._join_twins()
        for key in around.decided:
            self.run_ids[key] = self._run_id(key)

    def leave_out(self, run_ids: Collection[str]) -> None:
        """Leave out what belongs to runs that were recorded here: it was recorded with them."""
        if not run_ids:
            return
        for records in (self.runs, self.calls, self.tools):
            for key in [key for key, place in records.items() if place.run_id in run_ids]:
                del records[key]

    def _read(self, trace_id: str, nodes: list[Node]) -> None:
        reading = read_tree(map(self._bare, nodes))
        for span_id, above in reading.place.items():
            self._run_keys[trace_id, span_id] = None if above is None else (trace_id, above)
        for key in self._decided(trace_id, reading.runs):
            run = reading.runs[key[1]]
            self.runs[key] = self._place_of_run(key, run.parent)
            self.helpers[key] = [(trace_id, each) for each in run.repeats]
        for key in self._ended(trace_id, reading.calls):
            self.helpers[key] = [(trace_id, each) for each in reading.calls[key[1]]]
            self.calls[key] = self._place_within(key)
        for key in self._ended(trace_id, reading.tools):
            place = self._place_within(key)
            if place.run_id is not None:
                self.tools[key] = place

    def _decided(self, trace_id: str, span_ids: Iterable[str]) -> list[Key]:
        keys = ((trace_id, span_id) for span_id in span_ids)
        return [key for key in keys if key in self._around.decided]

    def _ended(self, trace_id: str, span_ids: Iterable[str]) -> list[Key]:
        """Return the decided ones of some spans that have an end: others are no calls yet."""
        keys = self._decided(trace_id, span_ids)
        return [key for key in keys if self._around.nodes[key].end_ns is not None]

    # --- places -------------------------------------------------------------------------------

    def _place_of_run(self, key: Key, parent: str | None) -> Place:
        node = self._around.nodes[key]
        above = None if parent is None else self._around.nodes[key[0], parent].own_run_id
        return Place(node.own_run_id, *agent_of(node), above, *self._above[key][:2])

    def _place_within(self, key: Key) -> Place:
        """Return the place of a record in a run, or in the one that waits for its run."""
        above, run = self._above[key], self._run_of(key)
        inherited = above[:2]
        if run is not None:
            return Place(run.own_run_id, *agent_of(run), None, *inherited)
        if above.is_lost:
            service = self._services().get(self._around.nodes[key].source_id, UNKNOWN)
            return Place(key[0], service, service, None, *inherited)
        return Place(None, None, "", None, *inherited)

    def _run_of(self, key: Key) -> Node | None:
        """Return the span of the run in which a span is, if it is known."""
        run = self._run_keys.get(key) or self._above[key].run
        return None if run is None else self._around.nodes[run]

    def _run_id(self, key: Key) -> str | None:
        """Return the run of a span; that which waits has only those of its records."""
        if (run := self._run_of(key)) is not None:
            return run.own_run_id
        place = self.calls.get(key) or self.tools.get(key)
        return None if place is None else place.run_id

    # --- calls that several spans tell of -----------------------------------------------------

    def told_by_several(self) -> set[Key]:
        """Return the spans of records to which others add, or may have added before."""
        nodes = [self._around.nodes[key] for key in self._around.decided]
        tellers = (*nodes, *self._around.former)
        answers = Counter(n.meaning.response_id for n in tellers if n.meaning.kind in CALLS)
        other = {
            node.trace_id
            for node in self._around.former
            if node.meaning.kind is not self._around.nodes[node.key].meaning.kind
        }
        agents = Counter((n.trace_id, n.meaning.agent_name) for n in nodes if is_agent(n))
        return {
            node.key
            for node in nodes
            if (node.key in self.calls and self._above[node.key].in_call)
            or (node.meaning.response_id is not None and answers[node.meaning.response_id] > 1)
            or agents[node.trace_id, node.meaning.agent_name] > 1
            or node.trace_id in other
        }

    def _join_twins(self) -> None:
        """Leave of each call that spans of one answer tell of the record of one span."""
        spans = (self._call_span(key, place) for key, place in self.calls.items())
        for first, *others in same_calls(span for span in spans if span is not None):
            for other in others:
                key = other[:2]
                del self.calls[key]
                self.helpers[first[:2]] += [key, *self.helpers.pop(key)]

    def _call_span(self, key: Key, place: Place) -> CallSpan | None:
        """Return a call as it is compared with others, at the time of the span with its answer."""
        nodes = (self._around.nodes[each] for each in (key, *self.helpers[key]))
        teller = next((node for node in nodes if node.meaning.response_id is not None), None)
        if teller is None:
            return None
        end = teller.start_ns if teller.end_ns is None else teller.end_ns
        has_run = place.run_id is not None and place.run_id != key[0]
        return CallSpan(*key, teller.start_ns, end, teller.meaning.response_id or "", has_run)

    def _bare(self, node: Node) -> trees.Node:
        """Return a span as its tree is read.

        One that is not read anew is a run if it is stored as one: what decides that may not have
        been loaded.
        """
        meaning = node.meaning
        is_known = is_agent(node) and node.key not in self._around.decided
        if is_known and node.run_id != node.own_run_id:
            meaning = meaning._replace(kind=MeaningKind.CHAIN)
        return trees.Node(node.span_id, node.parent_span_id, node.start_ns, meaning)
