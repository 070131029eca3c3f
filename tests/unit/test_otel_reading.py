"""Every figure that the telemetry of a capture tells is read from its bodies."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any, NamedTuple

import pytest

from curio_persistence.interop.otel.meaning import meaning_of
from curio_persistence.interop.otel.spans import Call, Meaning, MeaningKind, OtelSpan
from curio_persistence.interop.otel.trees import (
    CallSpan,
    Node,
    Reading,
    filled,
    read_tree,
    same_calls,
)
from tests.support.otlp_corpus import CAPTURES, spans, telemetry

Key = tuple[str, str]


class Found(NamedTuple):
    """What is read of the spans of a capture."""

    spans: dict[Key, OtelSpan]
    meanings: dict[Key, Meaning]
    traces: dict[str, Reading]
    calls: dict[Key, tuple[Call, Key | None]]
    """Each call once, and the run in which it is."""

    def run_of(self, key: Key) -> Key | None:
        run = self.traces[key[0]].place[key[1]]
        return None if run is None else (key[0], run)

    @property
    def runs(self) -> list[Key]:
        return [
            (trace_id, span_id) for trace_id, told in self.traces.items() for span_id in told.runs
        ]

    def name(self, run: Key) -> str:
        is_agent = self.traces[run[0]].runs[run[1]].is_agent
        return self.meanings[run].agent_name or "" if is_agent else self.spans[run].name


def node_of(span: OtelSpan, meaning: Meaning) -> Node:
    return Node(span.span_id, span.parent_span_id, span.start_ns, meaning)


def read(came: list[OtelSpan]) -> Found:
    by_key = {(span.trace_id, span.span_id): span for span in came}
    meanings = {key: meaning_of(span) for key, span in by_key.items()}
    nodes = defaultdict(list)
    for key, span in by_key.items():
        nodes[span.trace_id].append(node_of(span, meanings[key]))
    traces = {trace_id: read_tree(them) for trace_id, them in nodes.items()}
    found = Found(by_key, meanings, traces, {})
    found.calls.update(_calls(found))
    return found


def _calls(found: Found) -> dict[Key, tuple[Call, Key | None]]:
    calls: dict[Key, Call] = {}
    candidates = []
    for trace_id, told in found.traces.items():
        for span_id, around in told.calls.items():
            key = (trace_id, span_id)
            meanings = [found.meanings[trace_id, each] for each in (span_id, *around)]
            call, *others = [meaning.call for meaning in meanings if meaning.call]
            calls[key] = filled(call, others)
            answer = next((each.response_id for each in meanings if each.response_id), None)
            if answer:
                span = found.spans[key]
                run = found.run_of(key)
                candidates.append(
                    CallSpan(*key, span.start_ns, span.end_ns, answer, run is not None)
                )
    for kept, *repeats in same_calls(candidates):
        calls[kept[:2]] = filled(calls[kept[:2]], [calls.pop(each[:2]) for each in repeats])
    return {key: (call, found.run_of(key)) for key, call in calls.items()}


def told_by(found: Found) -> dict[str, Any]:
    """Return what is read in the form of the manifest."""
    in_time = sorted(found.spans, key=lambda key: (found.spans[key].start_ns, key))
    models = [key for key in in_time if key in found.calls and is_model(found, key)]
    runs = [key for key in in_time if key in found.runs]
    tools = [key for key in in_time if key[1] in found.traces[key[0]].tools]
    return {
        "spans": len(found.spans),
        "traces": len(found.traces),
        "orphans": sum(
            span.parent_span_id is not None
            and (span.trace_id, span.parent_span_id) not in found.spans
            for span in found.spans.values()
        ),
        "runs": [run_told(found, key, models, tools) for key in runs if is_agent(found, key)],
        "other_roots": [found.name(key) for key in runs if not is_agent(found, key)],
        "llm_calls": [call_told(found, key) for key in models],
        "embeddings": sum(found.meanings[key].kind is MeaningKind.EMBEDDING for key in found.calls),
        "retrievals": sum(len(told.retrievals) for told in found.traces.values()),
        "tools": [tool_name(found, key) for key in tools],
        "tools_failed": sum(found.meanings[key].status == "error" for key in tools),
        "sessions": sorted(
            {meaning.session_id for meaning in found.meanings.values() if meaning.session_id}
        ),
    }


def is_model(found: Found, key: Key) -> bool:
    return found.meanings[key].kind is MeaningKind.LLM


def is_agent(found: Found, key: Key) -> bool:
    return found.traces[key[0]].runs[key[1]].is_agent


def tool_name(found: Found, key: Key) -> str:
    tool = found.meanings[key].tool
    assert tool is not None
    return tool.name


def run_told(found: Found, key: Key, models: list[Key], tools: list[Key]) -> dict[str, Any]:
    parent = found.traces[key[0]].runs[key[1]].parent
    return {
        "agent": found.name(key),
        "parent": None if parent is None else found.name((key[0], parent)),
        "failed": found.meanings[key].status == "error",
        "llm_calls": sum(found.calls[each][1] == key for each in models),
        "tools": [tool_name(found, each) for each in tools if found.run_of(each) == key],
    }


def call_told(found: Found, key: Key) -> dict[str, Any]:
    call, _ = found.calls[key]
    meaning = found.meanings[key]
    return {
        "models": {call.request_model, call.model} - {None},
        "input": call.input_tokens,
        "output": call.output_tokens,
        "cache_read": call.cache_read_tokens,
        "cache_write": call.cache_write_tokens,
        "reasoning": call.reasoning_tokens,
        "failed": meaning.status == "error",
        "response_id": meaning.response_id,
    }


def expected(capture: str) -> dict[str, Any]:
    told = telemetry(capture)
    return {
        name: told[name]
        for name in (
            *("spans", "traces", "orphans", "runs", "other_roots", "llm_calls", "embeddings"),
            *("retrievals", "tools", "tools_failed", "sessions"),
        )
    } | {
        "llm_calls": [
            {name: value for name, value in call.items() if name not in ("cost_usd", *_MODELS)}
            | {"models": {call[name] for name in _MODELS} - {None}}
            for call in told["llm_calls"]
        ]
    }


_MODELS = ("model", "response_model")


@pytest.mark.parametrize("capture", CAPTURES)
def test_all_figures_of_a_capture_are_read(capture: str) -> None:
    found, wanted = told_by(read(list(spans(capture)))), expected(capture)
    for call, told in zip(found["llm_calls"], wanted["llm_calls"], strict=True):
        # OpenInference tells the requested model in its parameters only, which are read as well.
        assert told.pop("models") <= call.pop("models")
    assert found == wanted


@pytest.mark.parametrize("capture", CAPTURES)
def test_the_order_of_spans_does_not_matter(capture: str) -> None:
    came = list(spans(capture))
    first = read(came)
    for seed in range(5):
        random.Random(seed).shuffle(came)
        again = read(came)
        assert again.traces == first.traces
        assert again.calls == first.calls


WITHOUT_WORDS = {
    # Their messages come as log records.
    *("otel-openai-v2-chat", "otel-openai-v2-steps", "otel-openai-v2-metrics"),
    # Their makers were not asked to tell messages.
    *("google-adk2-steps", "google-adk2-handoff"),
}


@pytest.mark.parametrize("capture", sorted(CAPTURES.keys() - WITHOUT_WORDS))
def test_the_words_of_each_answered_call_are_read(capture: str) -> None:
    found = read(list(spans(capture)))
    for key, (call, _) in found.calls.items():
        if found.meanings[key].status == "completed" and is_model(found, key):
            assert call.prompt
            assert call.response
            assert call.provider or capture in {"langfuse-steps", "strands1-toolfail"}


@pytest.mark.parametrize(
    "capture",
    [
        *("pydantic-ai-steps", "pydantic-ai-v2-steps", "vercel-ai5-steps", "vercel-ai7-steps"),
        "langfuse-steps",
    ],
)
def test_a_run_has_the_last_question_and_the_answer(capture: str) -> None:
    found = read(list(spans(capture)))
    [run] = found.runs
    assert found.meanings[run].input == "What should I wear in Lisbon tomorrow?"
    assert (found.meanings[run].output or "").startswith("Lisbon will be 21 °C (70 °F) and dry")


@pytest.mark.parametrize(
    "capture",
    [
        *("pydantic-ai-nested", "openinference-openai-agents-nested"),
        *("openinference-langgraph-nested", "traceloop-langgraph-nested"),
    ],
)
def test_tools_have_their_arguments_and_results(capture: str) -> None:
    found = read(list(spans(capture)))
    tools = [meaning.tool for meaning in found.meanings.values() if meaning.tool]
    results = {str(tool.result) for tool in tools}
    assert "Rivers run to the sea." in results
    assert all(tool.arguments for tool in tools)
