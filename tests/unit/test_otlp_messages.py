"""Stored prompts and answers are read as messages, whichever provider's shape they have."""

from __future__ import annotations

import json
from typing import Any

import pytest

from curio_persistence.interop.otel.export.messages import (
    Message,
    ToolRequest,
    genai_messages,
    messages_in,
    openinference_messages,
)

SEARCH = ToolRequest("call_1", "search", {"query": "cats"})


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ("Hello", [Message("user", "Hello")]),
        ("", [Message("user", "")]),
        ("[1, 2]", [Message("user", "[1, 2]")]),
        ('{"question": "?"}', [Message("user", '{"question": "?"}')]),
        ([{"role": "system", "content": "Be nice."}], [Message("system", "Be nice.")]),
        ({"messages": [{"role": "user", "content": None}]}, [Message("user", "")]),
        ({"role": "user", "content": {"a": 1}}, [Message("user", '{"a": 1}')]),
        (
            [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "x", "y": 1}]}],
            [Message("user", 'a\n{"type": "x", "y": 1}')],
        ),
        (
            [
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "call_1",
                            "type": "function",
                            "function": {"name": "search", "arguments": '{"query": "cats"}'},
                        }
                    ],
                }
            ],
            [Message("assistant", "", (SEARCH._replace(arguments='{"query": "cats"}'),))],
        ),
        (
            [{"role": "tool", "tool_call_id": "call_1", "content": "3"}],
            [Message("tool", "3", (), "call_1")],
        ),
        (
            [
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "3"}],
                }
            ],
            [Message("tool", "3", (), "call_1")],
        ),
        (
            [
                {
                    "role": "assistant",
                    "parts": [
                        {"type": "text", "content": "Wait."},
                        {"type": "tool_call", **SEARCH._asdict()},
                    ],
                }
            ],
            [Message("assistant", "Wait.", (SEARCH,))],
        ),
        (
            [
                {"type": "text", "text": "Wait."},
                {"type": "tool_use", "id": "call_1", "name": "search", "input": {"query": "cats"}},
            ],
            [Message("user", "Wait.", (SEARCH,))],
        ),
    ],
)
def test_messages_are_read(stored: Any, read: list[Message]) -> None:
    text = stored if isinstance(stored, str) else json.dumps(stored)
    assert messages_in(text, "user") == read


def test_messages_are_told_in_both_vocabularies() -> None:
    told = [Message("assistant", "", (SEARCH,)), Message("tool", "3", (), "call_1")]
    assert json.loads(genai_messages(told, "stop")) == [
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", **SEARCH._asdict()}],
            "finish_reason": "stop",
        },
        {
            "role": "tool",
            "parts": [{"type": "tool_call_response", "id": "call_1", "response": "3"}],
            "finish_reason": "stop",
        },
    ]
    assert openinference_messages("m", told) == {
        "m.0.message.role": "assistant",
        "m.0.message.content": "",
        "m.0.message.tool_calls.0.tool_call.id": "call_1",
        "m.0.message.tool_calls.0.tool_call.function.name": "search",
        "m.0.message.tool_calls.0.tool_call.function.arguments": '{"query": "cats"}',
        "m.1.message.role": "tool",
        "m.1.message.content": "3",
        "m.1.message.tool_call_id": "call_1",
    }
