"""What Phoenix and MLflow have to show of the runs that were sent."""

from __future__ import annotations

import json
from typing import Any

from curio_persistence.trace_ids import span_id_of
from tests.support.otlp_story import EDITOR, WRITER

FIRST, SECOND = (span_id_of(f"{EDITOR} call {end}") for end in (2, 9))
OF_WRITER = span_id_of(f"{WRITER} call 6")
SEARCH, WRITE = span_id_of(f"{EDITOR} search"), span_id_of(f"{WRITER} write")
TREE = {
    span_id_of(EDITOR): None,
    span_id_of(WRITER): span_id_of(EDITOR),
    SEARCH: span_id_of(EDITOR),
    WRITE: span_id_of(WRITER),
    FIRST: span_id_of(EDITOR),
    SECOND: span_id_of(EDITOR),
    OF_WRITER: span_id_of(WRITER),
}
"""The parents of the spans."""


def check_phoenix(project: Any) -> None:
    """Check what Phoenix shows; its cost is that of its own prices."""
    spans = {span["spanId"]: span for span in project["spans"]}
    assert {span_id: span["parentId"] for span_id, span in spans.items()} == TREE
    kinds = {span_id: span["spanKind"] for span_id, span in spans.items()}
    assert [kinds[each] for each in (span_id_of(EDITOR), FIRST, SEARCH)] == ["agent", "llm", "tool"]
    editor, writer = spans[span_id_of(EDITOR)], spans[span_id_of(WRITER)]
    assert (editor["attributes"]["agent"]["name"], editor["userId"]) == ("Editor", "ann")
    assert writer["attributes"]["agent"]["name"] == "writer"
    assert editor["attributes"]["tag"] == {"tags": ["night"]}
    assert json.loads(editor["metadata"]) == {"plan": "pro"}
    assert editor["input"]["value"] == "Write about cats."
    assert editor["output"]["value"] == "Cats are small."
    call = spans[SECOND]
    tokens = [call[f"tokenCount{part}"] for part in ("Prompt", "Completion", "Total")]
    assert (tokens, call["tokenPromptDetails"]) == (
        [1200, 80, 1280],
        {"cacheRead": 1000, "cacheWrite": 100},
    )
    assert call["attributes"]["llm"]["model_name"] == "gpt-5-mini"
    roles = [m["message"]["role"] for m in call["attributes"]["llm"]["input_messages"]]
    assert roles == ["system", "user", "assistant", "tool"]
    assert call["output"]["value"] == "Cats are small."
    assert spans[SEARCH]["attributes"]["tool"]["name"] == "search"
    assert json.loads(spans[SEARCH]["input"]["value"]) == {"query": "cats"}
    assert json.loads(spans[SEARCH]["output"]["value"]) == {"hits": 3}
    for failed in (writer, spans[WRITE]):
        assert (failed["statusCode"], failed["statusMessage"]) == ("ERROR", "ValueError: no paper")
        assert failed["events"] == [{"name": "exception", "message": "no paper"}]
    assert editor["statusCode"] == call["statusCode"] == "OK"
    [session] = project["sessions"]
    assert (session["sessionId"], session["userId"]) == ("session-7", "ann")
    assert session["firstInput"]["value"] == "Write about cats."
    assert session["lastOutput"]["value"] == "Cats are small."
    assert session["tokenUsage"] == {"prompt": 3600, "completion": 240}


def check_mlflow(trace: Any) -> None:
    """Check what MLflow shows; it adds up the tokens, and the costs that we know."""
    spans = {span["id"]: span for span in trace["spans"]}
    assert {span_id: span["parent"] for span_id, span in spans.items()} == TREE
    assert trace["state"] == "OK"
    assert json.loads(trace["request"]) == "Write about cats."
    assert json.loads(trace["response"]) == "Cats are small."
    assert trace["metadata"]["mlflow.trace.session"] == "session-7"
    assert trace["metadata"]["mlflow.trace.user"] == "ann"
    assert trace["tokens"] == {
        "input_tokens": 3600,
        "output_tokens": 240,
        "total_tokens": 3840,
        "cache_read_input_tokens": 3000,
        "cache_creation_input_tokens": 300,
    }
    cost = json.loads(trace["metadata"]["mlflow.trace.cost"])["total_cost"]
    assert round(cost, 9) == 0.0156
    editor, writer = spans[span_id_of(EDITOR)], spans[span_id_of(WRITER)]
    types = [each["type"] for each in (editor, spans[FIRST], spans[SEARCH])]
    assert types == ["AGENT", "LLM", "TOOL"]
    assert (editor["inputs"], editor["outputs"]) == ("Write about cats.", "Cats are small.")
    names = [each["attributes"]["agent.name"] for each in (editor, writer)]
    assert names == ["Editor", "writer"]
    call, search = spans[SECOND], spans[SEARCH]
    assert [message["role"] for message in call["inputs"]] == [
        *("system", "user", "assistant", "tool"),
    ]
    assert call["outputs"] == "Cats are small."
    assert call["attributes"]["mlflow.llm.model"] == "gpt-5-mini"
    assert call["attributes"]["mlflow.llm.cost"] == {"total_cost": 0.0031}
    assert call["attributes"]["mlflow.chat.tokenUsage"]["cache_read_input_tokens"] == 1000
    assert (search["inputs"], search["outputs"]) == ({"query": "cats"}, {"hits": 3})
    assert search["attributes"]["tool.name"] == "search"
    for failed in (writer, spans[WRITE]):
        assert failed["status"].endswith("ERROR")
        assert failed["message"] == "ValueError: no paper"
        assert failed["events"] == ["exception"]
