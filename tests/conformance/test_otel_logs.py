"""Log records with the messages of a call join its span, whichever comes first."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from curio_persistence import Persistence, SQLitePersistence
from curio_persistence.interop.otel.decoding import decode_logs
from curio_persistence.interop.otel.receiving import LogsStored, Receiver
from curio_persistence.interop.otel.spans import OtelLog, OtelSpan
from tests.support.otel_dumps import dump
from tests.support.otlp_corpus import FOLDER, JSON, PROTOBUF, bodies, spans

pytestmark = pytest.mark.slow  # Not in the inner loop.

CHAT, STEPS, FAILURE = (
    *("otel-openai-v2-chat", "otel-openai-v2-steps"),
    "otel-openai-v2-failure",
)


def logs_of(capture: str) -> list[OtelLog]:
    return [log for body in bodies(capture, "logs") for log in decode_logs(body, PROTOBUF).logs]


def test_a_call_gets_the_words_that_come_after_it(persistence: Persistence) -> None:
    receiver = Receiver(persistence)
    receiver.spans(spans(CHAT))
    [call] = persistence.get_llm_usage()
    assert (call.prompt, call.response_content) == ("", None)

    assert receiver.logs(logs_of(CHAT)) == LogsStored(new=3)
    [call] = persistence.get_llm_usage()
    assert json.loads(call.prompt) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is the capital of France?"},
    ]
    assert call.response_content == "The capital of France is Paris."
    assert (call.input_tokens, call.output_tokens) == (1226, 19)
    assert [hit.kind for hit in persistence.search_text("capital Paris")] == ["usage"]


def test_a_call_has_the_words_that_came_before_it(persistence: Persistence) -> None:
    receiver = Receiver(persistence)
    assert receiver.logs(logs_of(CHAT)) == LogsStored(new=3)
    assert persistence.get_llm_usage() == []
    receiver.spans(spans(CHAT))
    [call] = persistence.get_llm_usage()
    assert call.response_content == "The capital of France is Paris."
    assert len([*persistence.traces.spans()]) == 1


@pytest.mark.parametrize("capture", [CHAT, STEPS, FAILURE])
def test_the_order_in_which_they_come_does_not_matter(
    persistence: Persistence, tmp_path: Path, capture: str
) -> None:
    receiver = Receiver(persistence)
    receiver.spans(spans(capture))
    receiver.logs(logs_of(capture))
    for seed in range(3):
        arrivals: list[OtelSpan | OtelLog] = [*spans(capture), *logs_of(capture)] * 2
        random.Random(seed).shuffle(arrivals)
        with SQLitePersistence(tmp_path / f"{seed}.db") as again:
            other = Receiver(again)
            for each in arrivals:
                if isinstance(each, OtelLog):
                    other.logs([each])
                else:
                    other.spans([each])
            assert dump(again) == dump(persistence)


def test_messages_that_come_again_are_not_stored_again(persistence: Persistence) -> None:
    receiver = Receiver(persistence)
    logs = logs_of(STEPS)
    assert receiver.logs(logs) == LogsStored(new=len(logs))
    assert receiver.logs(logs) == LogsStored(repeated=len(logs))
    receiver.spans(spans(STEPS))
    before = dump(persistence)
    assert receiver.logs(logs) == LogsStored(repeated=len(logs))
    assert receiver.spans(spans(STEPS)).repeated == len(spans(STEPS))
    assert dump(persistence) == before


def test_redacted_messages_are_recognised_too(tmp_path: Path) -> None:
    [span] = spans(CHAT)
    log = OtelLog(
        5,
        span.trace_id,
        span.span_id,
        "gen_ai.user.message",
        {"content": "I am alice@example.com, api_key=k-123456"},
    )
    with SQLitePersistence(tmp_path / "agents.db", redactor="all") as persistence:
        receiver = Receiver(persistence)
        for _ in range(2):
            receiver.logs([log])
            receiver.spans([span])
        [call] = persistence.get_llm_usage()
        assert "alice" not in call.prompt
        [stored] = persistence.traces.spans()
        assert len(json.loads(stored.events or "")) == 1


def test_records_of_all_kinds_are_told_apart(persistence: Persistence) -> None:
    receiver = Receiver(persistence)
    agent = decode_logs((FOLDER / "claude-code-logs.json").read_bytes(), JSON).logs
    others = [OtelLog(1, body="GET /"), OtelLog(2, event_name="device.app.lifecycle")]
    stored = receiver.logs([*others, *agent, *logs_of(CHAT)])
    assert stored == LogsStored(new=len(agent) + 3, ignored=2)
    assert [run.agent_id for run in persistence.get_agent_runs()] == ["claude-code"]


def test_spans_are_sent_on_with_their_messages(persistence: Persistence) -> None:
    receiver = Receiver(persistence)
    receiver.spans(spans(CHAT))
    receiver.logs(logs_of(CHAT))
    [span] = receiver.received()
    assert [event.name for event in span.events] == [
        *("gen_ai.system.message", "gen_ai.user.message", "gen_ai.choice"),
    ]
    with SQLitePersistence(":memory:") as other:
        Receiver(other).spans([span])
        assert other.get_llm_usage()[0].response_content == "The capital of France is Paris."


def test_where_no_words_are_kept_messages_are_none(tmp_path: Path) -> None:
    with SQLitePersistence(tmp_path / "agents.db", capture_content="metrics-only") as persistence:
        receiver = Receiver(persistence)
        for _ in range(2):
            receiver.logs(logs_of(CHAT))
            receiver.spans(spans(CHAT))
        [call] = persistence.get_llm_usage()
        assert (call.prompt, call.response_content, call.input_tokens) == ("", None, 1226)
