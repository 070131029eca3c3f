"""What spans say together: each correction by itself, and trees that should not be."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curio_persistence.interop.otel.spans import Call, Meaning, MeaningKind, ToolUse
from curio_persistence.interop.otel.trees import (
    CallSpan,
    Node,
    Reading,
    filled,
    read_tree,
    same_calls,
)

KINDS = {kind.value: kind for kind in MeaningKind}


def node(span_id: str, parent: str | None, kind: str, agent: str = "", **told: Any) -> Node:
    """Return a span; `agent?` is an agent without a name of its own."""
    is_named = not kind.endswith("?")
    if kind == "tool":
        told["tool"] = ToolUse(agent or "search")
    meaning = Meaning(KINDS[kind.rstrip("?")], agent_name=agent or None, is_named=is_named, **told)
    return Node(span_id, parent, 10, meaning)


def read(*nodes: Node) -> Reading:
    """Return the reading of a trace, which is the same in any order."""
    first = read_tree(nodes)
    for seed in range(4):
        shuffled = [*nodes]
        random.Random(seed).shuffle(shuffled)
        assert read_tree(shuffled) == first
    return first


def runs(reading: Reading) -> dict[str, str | None]:
    return {span_id: run.parent for span_id, run in reading.runs.items()}


def test_an_agent_in_its_namesake_is_the_same_run() -> None:
    found = read(
        node("a", None, "agent", "editor"),
        node("b", "a", "chain"),
        node("c", "b", "agent", "editor"),
        node("d", "c", "llm"),
    )
    assert runs(found) == {"a": None}
    assert found.runs["a"].repeats == ("c",)
    assert found.place == dict.fromkeys("abcd", "a")


def test_an_agent_that_calls_itself_as_a_tool_is_another_run() -> None:
    found = read(
        node("a", None, "agent", "editor"),
        node("b", "a", "tool"),
        node("c", "b", "agent", "editor"),
    )
    assert runs(found) == {"a": None, "c": "a"}
    assert found.place == {"a": "a", "b": "a", "c": "c"}


def test_a_nameless_agent_around_named_ones_is_a_wrapper() -> None:
    found = read(
        node("w", None, "agent?", "desk"),
        node("c", "w", "chain"),
        node("a", "c", "agent", "desk"),
        node("b", "c", "agent", "billing"),
        node("d", "c", "llm"),
    )
    assert runs(found) == {"a": None, "b": None}
    assert found.place == {"w": None, "c": None, "d": None, "a": "a", "b": "b"}
    assert runs(read(node("w", None, "agent?", "desk"), node("d", "w", "llm"))) == {"w": None}


def test_the_innermost_call_counts_and_what_is_around_it_fills_it() -> None:
    found = read(
        node("a", None, "agent", "editor"),
        node("b", "a", "llm"),
        node("c", "b", "chain"),
        node("d", "c", "llm"),
        node("e", "d", "llm"),
    )
    assert found.calls == {"e": ("d", "b")}


def test_a_call_around_several_fills_none_of_them() -> None:
    found = read(node("a", None, "llm"), *(node(name, "a", "llm") for name in "bcd"))
    assert found.calls == {"b": (), "c": (), "d": ()}


@pytest.mark.parametrize("between", ["agent", "tool"])
def test_an_agent_or_a_tool_between_two_calls_makes_them_two(between: str) -> None:
    found = read(node("a", None, "llm"), node("b", "a", between, "other"), node("c", "b", "llm"))
    assert found.calls == {"a": (), "c": ()}


def test_a_tool_in_a_use_of_itself_is_the_same_use() -> None:
    found = read(
        node("a", None, "agent", "editor"),
        node("b", "a", "tool", "search"),
        node("c", "b", "other"),
        node("d", "c", "tool", "search"),
        node("e", "d", "tool", "search"),
        node("f", "d", "tool", "fetch"),
    )
    assert found.tools == {"b", "f"}
    assert found.place["e"] == "a"


@pytest.mark.parametrize("between", ["agent", "llm"])
def test_an_agent_or_a_call_between_makes_it_another_use(between: str) -> None:
    found = read(
        node("b", None, "tool", "search"),
        node("c", "b", between, "searcher"),
        node("d", "c", "tool", "search"),
    )
    assert found.tools == {"b", "d"}


def test_embeddings_and_retrievals_nest_like_calls_but_not_in_each_other() -> None:
    found = read(
        node("a", None, "retrieval"),
        node("b", "a", "retrieval"),
        node("c", "b", "embedding"),
        node("d", "c", "embedding"),
    )
    assert found.calls == {"d": ("c",)}
    assert found.retrievals == {"b"}


def test_without_an_agent_the_root_with_calls_below_is_the_run() -> None:
    found = read(node("a", None, "chain"), node("b", "a", "chain"), node("c", "b", "llm"))
    assert runs(found) == {"a": None}
    assert not found.runs["a"].is_agent
    assert found.place == dict.fromkeys("abc", "a")
    assert runs(read(node("a", None, "other"), node("b", "a", "tool"))) == {"a": None}


def test_a_call_alone_has_no_run() -> None:
    for found in (
        read(node("a", None, "llm")),
        read(node("a", None, "llm"), node("b", "a", "llm")),
        read(node("b", "missing", "chain"), node("c", "b", "llm")),
        read(node("a", None, "chain"), node("b", "a", "chain")),
    ):
        assert runs(found) == {}
        assert {*found.place.values()} == {None}


def test_what_is_outside_of_all_agents_has_no_run() -> None:
    found = read(
        node("r", None, "chain"),
        node("a", "r", "agent", "editor"),
        node("b", "a", "llm"),
        node("c", "r", "llm"),
    )
    assert found.place == {"r": None, "a": "a", "b": "a", "c": None}


def test_a_run_is_in_the_session_of_the_nearest_span_that_has_one() -> None:
    found = read(
        node("r", None, "chain", session_id="s-1"),
        node("a", "r", "agent", "editor"),
        node("b", "a", "agent", "writer", session_id="s-2"),
        node("c", "b", "agent", "reader"),
    )
    assert {name: run.session_id for name, run in found.runs.items()} == {
        "a": "s-1",
        "b": "s-2",
        "c": "s-2",
    }


def test_spans_whose_parents_go_in_a_circle_are_read() -> None:
    found = read(
        node("b", "c", "agent", "two"),
        node("c", "a", "chain"),
        node("a", "b", "agent", "one"),
        node("d", "c", "llm"),
        node("x", "x", "agent", "self"),
    )
    assert runs(found) == {"a": None, "b": "a", "x": None}
    assert found.place["d"] == "a"


def test_a_chain_of_ten_thousand_spans_is_read_in_a_moment() -> None:
    nodes = [node("0", None, "agent", "a")]
    nodes += [node(str(n), str(n - 1), "llm") for n in range(1, 10_000)]
    began = time.process_time()
    found = read_tree(reversed(nodes))
    assert [*found.calls] == ["9999"]
    assert time.process_time() - began < 2


trees = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from([*KINDS, "agent?"]), st.sampled_from("pq")),
    min_size=1,
    max_size=10,
)


@given(trees, st.randoms(use_true_random=False))
def test_any_graph_is_read_alike_in_any_order(told: Any, chance: random.Random) -> None:
    nodes = [node(str(n), str(parent), kind, agent) for n, (parent, kind, agent) in enumerate(told)]
    found = read_tree(nodes)
    chance.shuffle(nodes)
    assert read_tree(nodes) == found
    assert found.place.keys() == {each.span_id for each in nodes}
    assert {*found.place.values()} - {None} <= found.runs.keys()
    assert all(found.place[span_id] == span_id for span_id in found.runs)


def call(trace: str, begin: int, end: int, has_run: bool = False, answer: str = "r") -> CallSpan:
    return CallSpan(trace, f"{trace}-{begin}", begin, end, answer, has_run)


def test_one_answer_at_one_time_is_one_call() -> None:
    around, within, later = call("t1", 0, 10, has_run=True), call("t2", 2, 8), call("t3", 50, 60)
    assert same_calls([later, within, around]) == [(around, within), (later,)]
    assert same_calls([within, call("t9", 2, 8, answer="other")]) == [
        (within,),
        (call("t9", 2, 8, answer="other"),),
    ]


def test_of_two_in_no_run_the_shorter_is_kept() -> None:
    around, within = call("t1", 0, 10), call("t2", 2, 8)
    assert same_calls([around, within]) == [(within, around)]


def test_a_call_is_filled_by_others_in_order() -> None:
    told = Call(model="m", input_tokens=0)
    first, second = Call(model="other", output_tokens=2), Call(output_tokens=3, prompt="p")
    assert filled(told, [first, second]) == Call(
        model="m", input_tokens=0, output_tokens=2, prompt="p"
    )
