"""The envelope of events: its fields, its round trip, its level."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from curio_persistence import AgentRunEvent, InvalidValueError, Level, Persistence
from curio_persistence.payloads import (
    Artifact,
    Delegation,
    Log,
    McpCall,
    Metric,
    Payload,
    payload_of,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)

ENVELOPE: dict[str, Any] = {
    "level": "error",
    "message": "It broke.",
    "session_id": "session",
    "span_id": "span",
    "parent_span_id": "parent span",
    "trace_id": "trace",
    "contract_id": "contract",
    "contract_version": "1.2",
    "artifact_uri": "s3://bucket/report.pdf",
    "event_id": "event",
}

PAYLOADS = [
    Log("Started", logger="agent", extra={"attempt": 1}),
    McpCall("files", "read", args={"path": "a"}, result="b", duration_ms=2.5, token_count=3),
    Metric("accuracy", 0.93, unit="ratio", tags={"split": "test"}),
    Delegation("task", "writer", target_run_id="run-2", status="pending"),
    Artifact("report.pdf", type="file", size_bytes=3, mime_type="application/pdf"),
]


def only(persistence: Persistence, run_id: str = "run") -> AgentRunEvent:
    [event] = persistence.get_agent_run_events(run_id)
    return event


def test_an_appended_event_is_returned_filled_in_and_read_back_equal(
    persistence: Persistence,
) -> None:
    event = persistence.append_event(
        "run", "agent", "type", timestamp=NOON, payload="{}", metadata="m", **ENVELOPE
    )
    assert event.id is not None
    assert event.created_at is not None
    assert only(persistence) == event
    assert {name: getattr(event, name) for name in ENVELOPE} == ENVELOPE


def test_the_default_level_is_info(persistence: Persistence) -> None:
    persistence.append_event("run", "agent", "type")
    persistence.log_agent_run_event(AgentRunEvent("agent", "run", level=None))  # type: ignore[arg-type]
    persistence.log_agent_run_events(
        [AgentRunEvent("agent", "run"), AgentRunEvent("agent", "run", level="debug")]
    )
    levels = [event.level for event in persistence.get_agent_run_events("run")]
    assert levels == ["info", "info", "info", "debug"]


def test_the_envelope_has_the_published_fields(persistence: Persistence) -> None:
    zone = timezone(timedelta(hours=2))
    persistence.append_event(
        "run", "agent", "type", timestamp=NOON.astimezone(zone), payload={"a": [1]}, **ENVELOPE
    )
    envelope = only(persistence).to_envelope()
    assert list(envelope) == [
        "ts",
        "run_id",
        "agent_slug",
        "type",
        "level",
        "msg",
        "payload",
        "span_id",
        "parent_span_id",
        "contract_id",
        "contract_version",
        "artifact_uri",
    ]
    assert envelope["ts"] == "2026-11-20T12:00:00.000000Z"
    assert (envelope["agent_slug"], envelope["msg"]) == ("agent", "It broke.")
    assert envelope["payload"] == {"a": [1]}
    assert json.loads(json.dumps(envelope)) == envelope


def test_an_unstored_event_has_an_envelope() -> None:
    event = AgentRunEvent("agent", "run", event_type="metric", data=Metric("m", 1.0))
    assert event.to_envelope()["ts"] is None
    assert json.loads(json.dumps(event.to_envelope()))["payload"]["name"] == "m"


@pytest.mark.parametrize("text", ["no JSON", "", "{", "NaN]"])
def test_a_payload_that_is_not_json_stays_text(persistence: Persistence, text: str) -> None:
    persistence.append_event("run", "agent", "type", payload=text)
    assert only(persistence).to_envelope()["payload"] == text
    assert payload_of(only(persistence)) == text


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.event_type)
def test_a_typed_payload_round_trips(persistence: Persistence, payload: Payload) -> None:
    persistence.append_event("run", "agent", payload.event_type, payload=payload)
    assert payload_of(only(persistence)) == payload


def test_a_payload_of_other_keys_is_not_forced_into_a_type(persistence: Persistence) -> None:
    persistence.append_event("run", "agent", "metric", payload={"name": "m"})
    assert payload_of(only(persistence)) == {"name": "m"}
    persistence.append_event("other", "agent", "metric", payload={"name": "m", "value": 1, "x": 2})
    assert payload_of(only(persistence, "other")) == Metric("m", 1)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("WARN", "warning"),
        ("Fatal", "critical"),
        (Level.ERROR, "error"),
        ("Notice", "info"),
        ("Audit", "audit"),
        (41, "error"),
    ],
)
def test_a_level_is_stored_in_one_spelling(persistence: Persistence, given: str, kept: str) -> None:
    persistence.append_event("run", "agent", "type", level=given)
    assert only(persistence).level == kept
    assert persistence.count_events(level=given) == persistence.count_events(level=kept) == 1


@pytest.mark.before_io
@pytest.mark.parametrize("level", ["", "x" * 51, "a\0b", 5.5, True])
def test_an_invalid_level_is_refused(persistence: Persistence, level: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"AgentRunEvent\.level"):
        persistence.append_event("run", "agent", "type", level=level)
    assert persistence.count_events() == 0


def test_a_call_over_mcp_counts_as_a_tool_call(persistence: Persistence) -> None:
    call = McpCall("files", "read", duration_ms=2.5, error="gone")
    persistence.append_event("run", "agent", "mcp.call", payload=call)
    assert persistence.get_agent_run_stats()["tool_metrics"] == {
        "files/read": {
            "call_count": 1,
            "total_latency_ms": 2.5,
            "avg_latency_ms": 2.5,
            "error_count": 1,
        }
    }


def test_tools_of_one_name_on_two_servers_are_counted_apart(persistence: Persistence) -> None:
    for server, error in (("a", "gone"), ("b", None), ("b", None)):
        persistence.append_event("run", "agent", "mcp.call", payload=McpCall(server, "search"))
        persistence.append_event(
            "run", "agent", "mcp.call", payload=McpCall(server, "fetch", error=error)
        )
    tools = persistence.get_agent_run_stats()["tool_metrics"]
    assert {name: (tool["call_count"], tool["error_count"]) for name, tool in tools.items()} == {
        "a/fetch": (1, 1),
        "a/search": (1, 0),
        "b/fetch": (2, 0),
        "b/search": (2, 0),
    }
    assert [group.name for group in persistence.stats.failures()] == ["a/fetch"]


def test_an_envelope_is_json_whatever_numbers_the_payload_has(persistence: Persistence) -> None:
    event = persistence.append_event("run", "agent", "x", payload='{"v": NaN, "w": 1e400, "x": 1}')
    envelope = event.to_envelope()
    assert envelope["payload"] == {"v": "NaN", "w": "1e400", "x": 1}
    json.dumps(envelope, allow_nan=False)
