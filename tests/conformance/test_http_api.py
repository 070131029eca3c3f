"""The HTTP API answers the same on every backend."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    InMemoryPersistence,
    Persistence,
)
from curio_persistence.console.api.operations import OPERATIONS
from tests.support.console import client_of

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
ASKED: Mapping[str, Mapping[str, str]] = {
    "/search": {"query": "lyon"},
    "/diff": {"first": "run/0", "second": "run/1"},
    "/spend": {"group_by": "agent,day"},
    "/analytics": {"group_by": "agent", "fill": "true"},
    "/runs": {"limit": "2", "status": "completed,error"},
    "/events": {"payload": '{"tool_name": "look_up"}', "order": "oldest"},
}
IDS = {"run_id": "run%252F1", "session_id": "chat", "trace_id": "run%252F1", "name": "distance"}
VARY = ("/health", "/audit", "/stream", "/keys", "/alerts")
"""Paths whose answers depend on the backend or the clock, or have no end."""

_ANEW = ("next_cursor", "created_at", "updated_at", "exported_at")
"""Names of values that are made for an answer, or when a record is stored."""


def record(persistence: Persistence) -> None:
    for number in range(3):
        run_id, at = f"run/{number}", NOON + timedelta(minutes=number)
        told: dict[str, Any] = {"created_at": at, "session_id": "chat"}
        ended = {"started_at": at, "finished_at": at + timedelta(seconds=5), "status": "completed"}
        persistence.create_agent_run(AgentRun("guide", run_id, objective="Lyon?", **ended, **told))
        tool = {"tool_name": "look_up", "result": "France", "latency_ms": 12}
        for kind, data in (("tool_call", tool), ("metric", {"name": "distance", "value": 3.5})):
            persistence.log_agent_run_event(AgentRunEvent("guide", run_id, "", at, kind, data))
        call = {"input_tokens": 7, "output_tokens": 3, "cost_usd": Decimal("0.25")}
        persistence.log_llm_usage(
            AgentLLMUsage("guide", run_id, "acme", "acme-1", "Where?", created_at=at, **call)
        )


def answers(persistence: Persistence) -> dict[str, Any]:
    """Return what the readings of the API answer."""
    record(persistence)
    client, found = client_of(persistence), {}
    for each in OPERATIONS:
        if each.method == "GET" and not each.path.startswith(VARY):
            path = each.path.replace("{id}", "1").format(**IDS)
            answer = client.get(f"/api/v1{path}", params=ASKED.get(each.path, {}))
            assert answer.status_code == 200, (path, answer.text)
            found[each.path] = _told(answer.text)
    return found


def _told(text: str) -> Any:
    """Return an answer without what is made anew."""
    lines = [json.loads(line) for line in text.splitlines()]
    return [_without(line, _ANEW) for line in lines]


def _without(value: Any, names: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {n: _without(v, names) for n, v in value.items() if n not in names}
    return [_without(each, names) for each in value] if isinstance(value, list) else value


def test_every_reading_answers_as_that_of_memory_does(persistence: Persistence) -> None:
    with InMemoryPersistence() as memory:
        wanted = answers(memory)
    assert answers(persistence) == wanted
