"""What one span says, in the words of each maker: a row of the conventions each."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from curio_persistence.interop.otel.conventions import KINDS, NAMES
from curio_persistence.interop.otel.meaning import meaning_of
from curio_persistence.interop.otel.spans import (
    Call,
    Meaning,
    MeaningKind,
    OtelEvent,
    OtelSpan,
    Source,
)

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def said(name: str = "span", /, *, scope: str = "tests", **told: Any) -> Meaning:
    """Return the meaning of a span with these fields, or with these attributes."""
    fields = {"start_ns": 10, "end_ns": 20} | told
    return meaning_of(OtelSpan(TRACE, SPAN, None, name, source=Source(scope_name=scope), **fields))


def call_of(**attributes: Any) -> Call:
    found = said(attributes={"gen_ai.operation.name": "chat"} | attributes).call
    assert found is not None
    return found


@pytest.mark.parametrize("row", KINDS, ids=lambda row: row.key)
def test_each_value_of_an_attribute_that_tells_the_kind(row: Any) -> None:
    for value, kind in row.kinds.items():
        written = {row.key: value.upper(), "llm.token_count.prompt": 1}
        assert said(attributes=written).kind is kind
        # MLflow writes all values as JSON.
        assert said(attributes=written | {row.key: json.dumps(value)}).kind is kind


def test_a_kind_that_is_unknown_does_not_decide() -> None:
    told = {"gen_ai.operation.name": "execute_event_loop_cycle", "langsmith.span.kind": "llm"}
    assert said(attributes=told).kind is MeaningKind.LLM
    assert said(attributes={"gen_ai.operation.name": "dance"}).kind is MeaningKind.OTHER
    assert said(attributes={"openinference.span.kind": 7}).kind is MeaningKind.OTHER


def test_the_first_attribute_that_decides_counts() -> None:
    told = {"traceloop.span.kind": "workflow", "gen_ai.operation.name": "invoke_agent"}
    assert said(attributes=told).kind is MeaningKind.CHAIN
    told["traceloop.span.kind"] = "agent"
    assert said(attributes=told).kind is MeaningKind.AGENT


@pytest.mark.parametrize(
    ("name", "kind", "agent"),
    [
        ("call_llm", MeaningKind.LLM, None),
        ("agent_run [planner]", MeaningKind.AGENT, "planner"),
        ("invoke_agent planner", MeaningKind.AGENT, "planner"),
        ("execute_tool search", MeaningKind.TOOL, None),
        ("invocation", MeaningKind.OTHER, None),
    ],
)
def test_spans_of_older_google_adk_are_known_by_their_names(
    name: str, kind: MeaningKind, agent: str | None
) -> None:
    found = said(name, scope="gcp.vertex.agent")
    assert (found.kind, found.agent_name) == (kind, agent)
    assert said(name).kind is MeaningKind.OTHER


def test_what_logfire_sends_of_a_span_when_it_begins_is_not_the_span() -> None:
    told = {"gen_ai.operation.name": "chat", "logfire.span_type": "pending_span"}
    assert said(attributes=told).kind is MeaningKind.OTHER
    assert said(attributes=told | {"logfire.span_type": "span"}).kind is MeaningKind.LLM


def test_a_span_with_a_model_and_tokens_is_a_call_and_one_with_a_tool_a_tool() -> None:
    model = {"gen_ai.request.model": "m"}
    assert said(attributes=model).kind is MeaningKind.OTHER
    assert said(attributes=model | {"gen_ai.usage.input_tokens": 1}).kind is MeaningKind.LLM
    assert said(attributes=model | {"gen_ai.response.model": "m-1"}).kind is MeaningKind.LLM
    assert said(attributes={"gen_ai.tool.name": "t"}).kind is MeaningKind.TOOL


VALUES: dict[str, Any] = {
    **dict.fromkeys(("input_tokens", "output_tokens"), 7),
    **dict.fromkeys(("cache_read_tokens", "cache_write_tokens", "reasoning_tokens"), 5),
    "reported_cost": 0.25,
    "tags": ["a", "b"],
}


@pytest.mark.parametrize(
    ("field", "row"),
    [
        (field, row)
        for field in (
            *("run_id", "agent_name", "agent_id", "session_id", "user_id", "tags", "provider"),
            *("response_model", "request_model", "response_id", "input_tokens", "output_tokens"),
            *("cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "reported_cost"),
        )
        for row in NAMES[field]
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.key} {value.path}",
)
def test_each_name_of_a_field_is_read(field: str, row: Any) -> None:
    value = VALUES.get(field, "told")
    told: Any = value
    for name in reversed(row.path.split(".") if row.path else []):
        told = [told] if name.isdecimal() else {name: told}
    attributes = {row.key: json.dumps(told) if row.path else told}
    found = said(attributes={"gen_ai.operation.name": "chat"} | attributes)
    assert found.call is not None
    read: Any = {
        "response_model": found.call.model,
        "reported_cost": found.call.reported_cost and float(found.call.reported_cost),
        "tags": [*found.tags],
    }
    for holder in (found.call, found):
        if field not in read and hasattr(holder, field):
            read[field] = getattr(holder, field)
    assert read[field] == value


def test_the_preferred_name_counts_unless_it_has_no_value() -> None:
    both = {"gen_ai.usage.input_tokens": 7, "gen_ai.usage.prompt_tokens": 8}
    assert call_of(**both).input_tokens == 7
    for nothing in (None, "", -1, True, 1.5, "many", "²", 2**63, [1]):
        both["gen_ai.usage.input_tokens"] = nothing
        assert call_of(**both).input_tokens == 8
    assert call_of(**{"gen_ai.usage.input_tokens": "12"}).input_tokens == 12
    assert call_of(**{"gen_ai.usage.input_tokens": 12.0}).input_tokens == 12
    assert call_of(**{"gen_ai.provider.name": "langchain", "llm.system": "OpenAI"}).provider == (
        "openai"
    )


def test_what_is_not_told_is_unknown() -> None:
    assert call_of() == Call()
    assert said() == Meaning()


def test_a_cost_that_is_none_is_unknown() -> None:
    for nothing in ("", "free", -1, float("nan"), float("inf"), True, None):
        assert call_of(**{"operation.cost": nothing}).reported_cost is None
    assert call_of(**{"operation.cost": 1.14e-05}).reported_cost == Decimal("0.0000114")
    assert call_of(**{"operation.cost": 0}).reported_cost == 0


def test_a_cache_that_is_counted_beside_the_input_is_added_to_it() -> None:
    read, written = "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_write.input_tokens"
    beside = call_of(**{"gen_ai.usage.input_tokens": 12, read: 1000, written: 100})
    assert beside.input_tokens == 1112
    assert beside.details == {"told_input_tokens": 12}
    within = call_of(**{"gen_ai.usage.input_tokens": 1112, read: 1000, written: 100})
    assert (within.input_tokens, within.details) == (1112, None)


def test_the_outcome() -> None:
    assert said().status == "completed"
    assert said(end_ns=0).status == "running"
    assert said(status_code=1).status == "completed"
    assert said(status_code=7).status == "completed"
    failed = said(status_code=2, status_message="no", attributes={"error.type": "Timeout"})
    assert (failed.status, failed.error_message) == ("error", "no")
    event = OtelEvent("exception", 15, {"exception.type": "E", "exception.message": "oh"})
    assert said(status_code=2, events=(event,)).error_message == "oh"
    assert said(status_code=2, attributes={"error.type": "Timeout"}).error_message == "Timeout"
    assert said(status_code=2).error_message is None
    cancelled = said(status_code=2, attributes={"error.type": "CancelledError"})
    assert cancelled.status == "cancelled"


def test_what_prepares_a_call_is_none() -> None:
    told = {"openinference.span.kind": "LLM"}
    assert said(attributes=told).kind is MeaningKind.OTHER
    assert said(attributes=told, end_ns=0).kind is MeaningKind.LLM
    assert said(attributes=told, status_code=2).kind is MeaningKind.LLM
    answered = told | {"llm.output_messages.0.message.content": "x"}
    assert said(attributes=answered).kind is MeaningKind.LLM


def test_a_chain_called_like_an_agent_is_one() -> None:
    metadata = {"metadata": '{"lc_agent_name": "editor"}'}
    told = {"openinference.span.kind": "CHAIN"} | metadata
    assert said("editor", attributes=told).kind is MeaningKind.AGENT
    assert said("model", attributes=told).kind is MeaningKind.CHAIN
    langsmith = {"langsmith.span.kind": "chain", "langsmith.metadata.lc_agent_name": "editor"}
    assert said("editor", attributes=langsmith).kind is MeaningKind.AGENT


def test_only_an_agent_that_wraps_others_may_have_no_name() -> None:
    assert not said("Desk", attributes={"openinference.span.kind": "AGENT"}).is_named
    named = {"openinference.span.kind": "AGENT", "agent.name": "Triage"}
    assert said(attributes=named).is_named
    assert said("Desk", attributes={"langfuse.observation.type": "agent"}).is_named
    assert said("Desk", attributes={"langfuse.observation.type": "agent"}).agent_name == "Desk"


MESSAGES = [{"role": "user", "content": "How far?"}, {"role": "assistant", "content": "Far."}]
PARTS = [{"role": "user", "parts": [{"type": "text", "content": "How far?"}]}]


@pytest.mark.parametrize(
    "told",
    [
        "How far?",
        PARTS,
        MESSAGES,
        {"messages": MESSAGES},
        {"args": ["How far?"], "kwargs": {}},
        {"args": [], "kwargs": {"question": "x", "messages": MESSAGES}},
        {"inputs": {"messages": [{"role": "human", "content": "How far?"}]}},
        {
            "messages": [
                [{"lc": 1, "type": "constructor", "kwargs": MESSAGES[0] | {"type": "human"}}]
            ]
        },
        {"messages": [{"type": "human", "data": {"content": "How far?"}}]},
        {"contents": [{"role": "user", "parts": [{"text": "How far?"}]}]},
        [{"role": "user", "content": [{"type": "text", "text": "How far?"}, {"type": "image"}]}],
        {"prompt": "How far?"},
        [{"text": "How far?"}],
    ],
)
def test_the_last_words_of_a_user_are_found_in_any_form(told: Any) -> None:
    told = told if isinstance(told, str) else json.dumps(told)
    agent = {"openinference.span.kind": "AGENT", "agent.name": "a"}
    assert said(attributes=agent | {"input.value": told}).input == "How far?"
    assert said(attributes=agent | {"mlflow.spanInputs": json.dumps(told)}).input == "How far?"


@pytest.mark.parametrize(
    "told",
    [
        "Far.",
        MESSAGES[1],
        [{"role": "assistant", "parts": [{"type": "text", "content": "Far."}]}],
        {"choices": [{"message": MESSAGES[1]}]},
        {"role": "assistant", "content": "Far.", "tool_calls": None},
        {"role": "assistant", "content": "Far.", "tool_calls": []},
        {"content": {"role": "model", "parts": [{"text": "Far."}]}},
        {"generations": [[{"message": {"kwargs": {"content": "Far.", "type": "ai"}}}]]},
    ],
)
def test_an_answer_of_words_only_is_these_words(told: Any) -> None:
    told = told if isinstance(told, str) else json.dumps(told)
    for key in ("gen_ai.output.messages", "langfuse.observation.output", "gen_ai.completion"):
        assert call_of(**{key: told}).response == "Far."


def test_logfire_tells_calls_of_clients_as_requests_and_responses() -> None:
    found = said(
        "Chat Completion with {request_data[model]!r}",
        attributes={
            "gen_ai.system": "openai",
            "gen_ai.request.model": "acme-1",
            "request_data": json.dumps({"model": "acme-1", "messages": MESSAGES[:1]}),
            "response_data": json.dumps(
                {"message": MESSAGES[1], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}
            ),
        },
    )
    assert found.kind is MeaningKind.LLM
    assert found.call is not None
    assert (found.call.input_tokens, found.call.output_tokens) == (7, 2)
    assert found.call.response == "Far."


def test_an_answer_that_calls_tools_is_kept_whole() -> None:
    told = json.dumps([{"role": "assistant", "parts": [{"type": "tool_call", "name": "t"}]}])
    assert call_of(**{"gen_ai.output.messages": told}).response == told


def test_instructions_are_the_first_message() -> None:
    call = call_of(
        **{
            "gen_ai.system_instructions": '[{"type":"text","content":"Be brief."}]',
            "gen_ai.input.messages": json.dumps(PARTS),
        }
    )
    assert json.loads(call.prompt or "") == [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        *PARTS,
    ]
    plain = call_of(**{"gen_ai.system_instructions": "Be brief.", "gen_ai.input.messages": "[]"})
    [system] = json.loads(plain.prompt or "")
    assert system["parts"][0]["content"] == "Be brief."


def test_messages_that_are_spread_over_attributes_are_put_together() -> None:
    call = call_of(
        **{
            "llm.input_messages.10.message.content": "last",
            "llm.input_messages.2.message.role": "user",
            "llm.input_messages.2.message.contents.0.message_content.text": "first",
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "t",
            "llm.output_messages": "is no message",
            "llm.input_messages.": "neither",
        }
    )
    assert json.loads(call.prompt or "") == [
        {"role": "user", "contents": [{"text": "first"}]},
        {"content": "last"},
    ]
    assert json.loads(call.response or "") == [{"tool_calls": [{"function": {"name": "t"}}]}]


def test_settings_of_a_request() -> None:
    assert call_of(**{"gen_ai.request.model": "m", "gen_ai.request.top_p": 0.5}).params == {
        "top_p": 0.5
    }
    told = {"llm.invocation_parameters": '{"model": "m", "tools": [], "stop": null}'}
    assert call_of(**told).params == {"stop": None}
    assert call_of(**{"llm.invocation_parameters": "{broken"}).params is None


def test_messages_may_be_events_of_the_span() -> None:
    events = (
        OtelEvent("gen_ai.user.message", 1, {"content": '[{"text": "How far?"}]'}),
        OtelEvent("gen_ai.choice", 2, {"message": '[{"text": "Far."}]', "finish_reason": "stop"}),
    )
    call = said(attributes={"gen_ai.operation.name": "chat"}, events=events).call
    assert call is not None
    assert json.loads(call.prompt or "") == [{"role": "user", "content": [{"text": "How far?"}]}]
    assert call.response == "Far."
    details = OtelEvent(
        "gen_ai.client.inference.operation.details",
        1,
        {"gen_ai.input.messages": PARTS, "gen_ai.output.messages": [MESSAGES[1]]},
    )
    call = said(attributes={"gen_ai.operation.name": "chat"}, events=(details,)).call
    assert call is not None
    assert (json.loads(call.prompt or ""), call.response) == (PARTS, "Far.")


def test_a_tool_has_its_arguments_and_result() -> None:
    tool = said(
        "execute_tool look_up",
        attributes={
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.call.id": "call-1",
            "gen_ai.tool.call.arguments": '{"city": "Lyon"}',
            "gen_ai.tool.call.result": "sunny",
        },
        status_code=2,
        status_message="no",
    ).tool
    assert tool is not None
    assert (tool.name, tool.call_id, tool.error) == ("look_up", "call-1", "no")
    assert (tool.arguments, tool.result) == ({"city": "Lyon"}, "sunny")


@pytest.mark.parametrize(
    "hostile",
    [
        {f"key {n}": n for n in range(10_000)},
        {"llm.input_messages." + "0." * 5_000 + "content": "deep"},
        {"llm.input_messages.0": "x", "llm.input_messages.0.message.role": "user"},
        {"llm.input_messages.0.message.role": "user", "llm.input_messages.0": "x"},
        {"metadata": "[" * 100_000, "output.value": "{" * 100_000, "input.value": "[" * 100_000},
        {"metadata": '{"session_id": {"a": []}}', "output.value": "null", "tag.tags": {"a": 1}},
        {"gen_ai.input.messages": {"role": ["user"]}, "gen_ai.output.messages": [None, 7, [[]]]},
        {"gen_ai.provider.name": b"bytes", "gen_ai.response.id": 12, "gen_ai.request.model": []},
        {"traceloop.entity.output": '{"output": [1]}', "gen_ai.usage.input_tokens": {}},
    ],
)
@pytest.mark.parametrize("kind", ["chat", "invoke_agent", "execute_tool", "embeddings", "chain"])
def test_attributes_of_any_form_are_survived(hostile: dict[str, Any], kind: str) -> None:
    found = said(attributes={"gen_ai.operation.name": kind} | hostile)
    assert found.kind.value in {"llm", "agent", "tool", "embedding", "chain"}
