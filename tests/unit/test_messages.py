"""Messages are found in the shapes of the common APIs, and nothing of them is lost."""

from __future__ import annotations

from typing import Any

import pytest

from curio_persistence.views.messages import (
    ATTACHMENT,
    CALL,
    DATA,
    RESULT,
    TEXT,
    THINKING,
    Message,
    Part,
    conversation_in,
)


def messages(value: Any) -> tuple[Message, ...]:
    found = conversation_in(value)
    assert found is not None
    return found.messages


def parts(value: Any) -> list[Part]:
    return [part for message in messages(value) for part in message.parts]


SAID = Part(TEXT, "Hi")


@pytest.mark.parametrize(
    "value",
    [
        [{"role": "user", "content": "Hi"}],
        [{"role": "user", "text": "Hi"}],
        [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}],
        [{"role": "user", "parts": [{"text": "Hi"}]}],
        [{"role": "user", "parts": [{"type": "text", "content": "Hi"}]}],
        [{"role": "user", "parts": ["Hi"]}],
        [{"parts": [{"text": "Hi"}]}],
        {"messages": [{"role": "user", "content": "Hi"}]},
        {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
        {"input": [{"type": "message", "role": "user", "content": "Hi"}]},
        {"role": "user", "content": "Hi"},
    ],
)
def test_each_shape_says_the_same(value: Any) -> None:
    assert messages(value) == (Message("user", (SAID,)),)


def test_content_without_a_message_is_said_by_the_role_that_is_given() -> None:
    call = {"type": "tool_use", "id": "1", "name": "search", "input": {"q": "x"}}
    found = conversation_in([{"type": "text", "text": "Hi"}, call], "assistant")
    assert found is not None
    assert found.messages == (Message("assistant", (SAID, Part(CALL, {"q": "x"}, "search"))),)
    assert conversation_in([{"type": "text", "text": "Hi"}, {"type": "row"}]) is None


@pytest.mark.parametrize(
    "value",
    [
        {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}}]},
        {"candidates": [{"content": {"role": "assistant", "parts": [{"text": "Hi"}]}}]},
        {"output": [{"role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}]},
        {"id": "msg", "role": "assistant", "content": [{"type": "text", "text": "Hi"}]},
    ],
)
def test_answers_are_messages_too(value: Any) -> None:
    assert messages(value) == (Message("assistant", (SAID,)),)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("system", "Be brief."),
        ("system", [{"type": "text", "text": "Be brief."}]),
        ("instructions", "Be brief."),
        ("systemInstruction", {"parts": [{"text": "Be brief."}]}),
    ],
)
def test_what_the_system_says_comes_first(name: str, value: Any) -> None:
    found = conversation_in({name: value, "messages": [{"role": "user", "content": "Hi"}], "n": 1})
    assert found is not None
    assert found.messages[0] == Message("system", (Part(TEXT, "Be brief."),))
    assert found.rest == {"n": 1}


@pytest.mark.parametrize(
    "message",
    [
        {
            "role": "assistant",
            "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "1", "name": "f", "input": "{}"}],
        },
        {"role": "assistant", "parts": [{"functionCall": {"name": "f", "args": "{}"}}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "name": "f", "arguments": "{}"}]},
        {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "1"},
    ],
)
def test_a_call_of_a_tool(message: dict[str, Any]) -> None:
    assert messages([message]) == (Message("assistant", (Part(CALL, "{}", "f"),)),)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "tool", "tool_call_id": "f", "content": "4"},
        {"role": "function", "name": "f", "content": "4"},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "f", "content": "4"}]},
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "f",
                    "content": [{"type": "text", "text": "4"}],
                }
            ],
        },
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": "4"}}]},
        {"type": "function_call_output", "call_id": "f", "output": "4"},
    ],
)
def test_a_result_of_a_tool(message: dict[str, Any]) -> None:
    assert parts([message]) == [Part(RESULT, "4", "f")]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        {"type": "input_image", "image_url": "data:image/png;base64,AA=="},
    ],
)
def test_an_image_by_its_url(part: dict[str, Any]) -> None:
    (found,) = parts([{"role": "user", "content": [part]}])
    assert (found.kind, found.value) == (ATTACHMENT, "data:image/png;base64,AA==")


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
        {"inlineData": {"mimeType": "image/png", "data": "AA=="}},
        {"type": "blob", "mime_type": "image/png", "content": "AA=="},
        {"type": "input_audio", "input_audio": {"format": "image/png", "data": "AA=="}},
    ],
)
def test_an_image_by_its_content(part: dict[str, Any]) -> None:
    assert parts([{"role": "user", "content": [part]}]) == [Part(ATTACHMENT, "AA==", "image/png")]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm"}]},
        {"role": "assistant", "parts": [{"text": "Hm", "thought": True}]},
        {"role": "assistant", "reasoning_content": "Hm"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}]},
    ],
)
def test_what_a_model_thought(message: dict[str, Any]) -> None:
    assert parts([message]) == [Part(THINKING, "Hm")]


def test_what_is_not_known_is_kept() -> None:
    odd = {"type": "hologram", "size": 3}
    assert parts([{"role": "user", "content": [odd, 7]}]) == [Part(DATA, odd), Part(DATA, 7)]
    assert parts([{"role": "user", "mood": "good"}]) == [Part(DATA, {"mood": "good"})]
    nameless = {"type": "tool_use", "input": {}}
    assert parts([{"role": "assistant", "content": [nameless]}]) == [Part(DATA, nameless)]
    assert messages([{"role": "assistant", "content": ""}]) == (
        Message("assistant", (Part(DATA, {"content": ""}),)),
    )


@pytest.mark.parametrize(
    "value",
    [
        *(None, "Hi", 1, [], {}, [1], [{"a": 1}], {"messages": []}, {"messages": "Hi"}),
        *({"messages": [{"text": "Hi"}]}, {"type": ["reasoning"]}, [{"type": {}}], {"role": 1}),
        [{"role": "user", "content": "Hi"}, "and a text"],
    ],
)
def test_other_values_are_no_messages(value: Any) -> None:
    assert conversation_in(value) is None
