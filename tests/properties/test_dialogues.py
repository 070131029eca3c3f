"""Whatever was recorded: trajectories are valid, and examples are whole dialogues."""

from __future__ import annotations

import json
from io import BytesIO
from itertools import pairwise
from typing import Any

from atif import Trajectory
from hypothesis import given, settings
from hypothesis import strategies as st

from curio_persistence import InMemoryPersistence, export_atif, export_chat

WORDS = st.sampled_from(["", "x", "5", "[1]", '{"role": "user", "content": "q"}', None, 1.5, True])
NAMES = st.sampled_from(
    [
        *("role", "content", "tool_calls", "function", "name", "arguments", "type", "text"),
        *("parts", "id", "input", "tool_use_id", "thinking", "source", "path"),
    ]
)
KINDS = st.sampled_from(
    ["user", "assistant", "tool", "system", "text", "tool_use", "tool_result", "thinking", "image"]
)
ANYTHING = st.recursive(
    WORDS | KINDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner | KINDS, max_size=4),
    max_leaves=12,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": ANYTHING}
    ),
    max_size=4,
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("call"), MESSAGES | ANYTHING, MESSAGES | ANYTHING),
        st.tuples(st.just("tool"), st.sampled_from(["t", "u"]), ANYTHING),
        st.tuples(
            st.sampled_from(
                [
                    *("user_message", "agent_message", "system_message", "thinking"),
                    *("observation", "tool_call", "mcp.call", "tool_call_started"),
                ]
            ),
            st.just(None),
            ANYTHING,
        ),
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(objective=st.sampled_from(["", "Why?"]), steps=STEPS)
def test_trajectories_are_valid_and_examples_are_whole(objective: str, steps: Any) -> None:
    with InMemoryPersistence() as persistence:
        with persistence.record_run(agent_id="a", objective=objective) as run:
            for kind, one, other in steps:
                if kind == "call":
                    run.llm_call(model="m", prompt=one, response=other)
                elif kind == "tool":
                    with run.tool(one, other) as call:
                        call.result = other
                else:
                    run.log(kind, other)
        for line in _lines(export_atif, persistence):
            Trajectory.model_validate(line)
        for line in _lines(export_chat, persistence):
            _check_openai(line["messages"])
        for line in _lines(export_chat, persistence, format="sharegpt"):
            asks = [each["from"] in ("human", "observation") for each in line["conversations"]]
            assert asks[0]
            assert not asks[-1]
            assert all(one != other for one, other in pairwise(asks))


def _lines(export: Any, persistence: InMemoryPersistence, **options: Any) -> list[dict[str, Any]]:
    file = BytesIO()
    export(persistence, file, **options)
    return [json.loads(line) for line in file.getvalue().splitlines()]


def _check_openai(messages: list[dict[str, Any]]) -> None:
    assert messages[-1]["role"] == "assistant"
    assert messages[-1]["content"]
    open_ids: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] == open_ids.pop(0)
            continue
        assert not open_ids, "each call is answered before anything else is said"
        for call in message.get("tool_calls", ()):
            assert isinstance(json.loads(call["function"]["arguments"]), dict)
            open_ids.append(call["id"])
