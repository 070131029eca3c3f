"""Log records with the messages of a call are events of its span."""

from __future__ import annotations

import json
import random
from itertools import permutations

import pytest

from curio_persistence.interop.otel.decoding import decode_logs
from curio_persistence.interop.otel.meaning import meaning_of
from curio_persistence.interop.otel.messages import (
    awaited,
    message_of,
    messages_by_span,
    messages_in,
    with_messages,
)
from curio_persistence.interop.otel.spans import OtelLog, OtelSpan
from tests.support.otlp_corpus import PROTOBUF, bodies, spans

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def logs_of(capture: str) -> list[OtelLog]:
    return [log for body in bodies(capture, "logs") for log in decode_logs(body, PROTOBUF).logs]


@pytest.mark.parametrize(
    "capture", ["otel-openai-v2-chat", "otel-openai-v2-steps", "otel-openai-v2-failure"]
)
def test_each_call_has_the_words_of_its_log_records(capture: str) -> None:
    messages = messages_by_span(logs_of(capture))
    for span in spans(capture):
        call = meaning_of(with_messages(span, messages[span.trace_id, span.span_id].events)).call
        assert call is not None
        asked = json.loads(call.prompt or "")
        assert asked[-1].keys() >= {"role", "content"}
        assert (call.response is None) == (span.status_code == 2)


def test_the_words_of_a_chat() -> None:
    [span] = spans("otel-openai-v2-chat")
    [(_, messages)] = messages_by_span(logs_of("otel-openai-v2-chat")).values()
    call = meaning_of(with_messages(span, messages)).call
    assert call is not None
    assert json.loads(call.prompt or "") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is the capital of France?"},
    ]
    assert call.response == "The capital of France is Paris."
    assert call.input_tokens == 1226


def test_messages_join_in_any_order_and_each_once() -> None:
    [span] = spans("otel-openai-v2-chat")
    [(_, messages)] = messages_by_span(logs_of("otel-openai-v2-chat")).values()
    first = with_messages(span, messages)
    for order in permutations(messages):
        joined = span
        for message in (*order, random.choice(order)):
            joined = with_messages(joined, [message])
        assert joined == first
    assert with_messages(first, messages) is first
    assert messages_in(first) == messages
    assert messages_in(span) == []


def test_a_span_that_is_awaited_has_its_messages() -> None:
    [(key, messages)] = messages_by_span(logs_of("otel-openai-v2-chat")).items()
    found = awaited(key, messages)
    assert ((found.trace_id, found.span_id), found.end_ns) == (key, 0)
    assert messages_in(found) == messages.events
    assert meaning_of(found).status == "running"


def test_the_details_of_an_operation_are_messages_too() -> None:
    log = OtelLog(
        5,
        TRACE,
        SPAN,
        "gen_ai.client.inference.operation.details",
        attributes={
            "gen_ai.operation.name": "chat",
            "gen_ai.input.messages": [{"role": "user", "parts": [{"content": "How far?"}]}],
            "gen_ai.output.messages": [{"role": "assistant", "parts": [{"content": "Far."}]}],
        },
    )
    message = message_of(log)
    assert message is not None
    span = OtelSpan(TRACE, SPAN, None, "chat m", 1, 9, attributes={"gen_ai.request.model": "m"})
    found = meaning_of(with_messages(span, [message[1]]))
    assert found.call is not None
    assert (found.call.model, found.call.response) == ("m", "Far.")


def test_other_log_records_are_no_messages() -> None:
    for log in (
        OtelLog(1, TRACE, SPAN, "claude_code.user_prompt"),
        OtelLog(1, TRACE, None, "gen_ai.choice"),
        OtelLog(1, None, None, "gen_ai.choice"),
        OtelLog(1, TRACE, SPAN, attributes={"event.name": ["gen_ai.choice"]}),
    ):
        assert message_of(log) is None
    plain = message_of(OtelLog(1, TRACE, SPAN, "gen_ai.user.message", body="How far?"))
    assert plain is not None
    assert plain[1].attributes["content"] == "How far?"
