"""What the logs of Copilot CLI tell late, or not at all."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import InMemoryPersistence, Persistence, import_sessions

_SUMS = {"inputTokens": 100, "outputTokens": 12, "cacheReadTokens": 60, "cacheWriteTokens": 0}
_SHUTDOWN = {"modelMetrics": {"gpt-5": {"requests": {"count": 2, "cost": 1}, "usage": _SUMS}}}


@pytest.fixture
def persistence() -> Iterator[Persistence]:
    with InMemoryPersistence() as opened:
        yield opened


class _Log:
    """Writes a session's log."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "session-state" / "s" / "events.jsonl"
        self.path.parent.mkdir(parents=True)
        self._count = 0
        self.add("session.start", "08:00", sessionId="s", copilotVersion="1", context={"cwd": "/m"})

    def add(self, kind: str, at: str, agent: str | None = None, **data: Any) -> None:
        self._count += 1
        ident, stamp = f"e{self._count}", f"2026-10-01T{at}:00.000Z"
        line = {"type": kind, "data": data, "id": ident, "timestamp": stamp}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line | ({} if agent is None else {"agentId": agent})) + "\n")
        then = time.time() - 2 * 3600 + self._count
        os.utime(self.path, (then, then))

    def says(self, ident: str, at: str, output: int, **more: Any) -> None:
        told = {"messageId": ident, "model": "gpt-5", "content": ident, "outputTokens": output}
        self.add("assistant.message", at, **told, **more)


@pytest.fixture
def log(tmp_path: Path) -> _Log:
    return _Log(tmp_path)


def _calls(persistence: Persistence) -> list[tuple[int | None, int | None]]:
    calls = sorted(persistence.iter_llm_usage(), key=lambda call: str(call.created_at))
    return [(call.input_tokens, call.output_tokens) for call in calls]


def test_sums_leave_out_what_was_told_before_an_hour_of_silence(
    log: _Log, persistence: Persistence
) -> None:
    log.add("user.message", "08:01", content="One?")
    log.says("m1", "08:02", 5)
    import_sessions(log.path, persistence)
    assert _calls(persistence) == [(None, 5)]
    log.add("user.message", "10:01", content="Two?")
    log.says("m2", "10:02", 7)
    log.add("session.shutdown", "10:03", **_SHUTDOWN)
    import_sessions(log.path, persistence)
    assert _calls(persistence) == [(None, 5), (100, 7)]
    with InMemoryPersistence() as once:
        import_sessions(log.path, once)
        assert _calls(once) == _calls(persistence)


def test_each_start_has_sums_of_its_own(log: _Log, persistence: Persistence) -> None:
    log.add("user.message", "08:01", content="One?")
    log.says("m1", "08:02", 12)
    log.add("session.shutdown", "08:03", **_SHUTDOWN)
    log.add("session.resume", "09:30")
    log.add("user.message", "09:31", content="Two?")
    log.says("m2", "09:32", 4)
    log.add("session.resume", "09:40")  # It had crashed.
    log.says("m3", "09:41", 12)
    log.add("session.shutdown", "09:42", **_SHUTDOWN)
    import_sessions(log.path, persistence)
    assert _calls(persistence) == [(100, 12), (None, 4), (100, 12)]


def test_a_prompt_that_only_a_hook_saw_begins_a_turn(log: _Log, persistence: Persistence) -> None:
    asked = {"hookType": "userPromptSubmitted", "input": {"prompt": "Hooked?"}}
    log.add("hook.start", "08:01", **asked)
    log.says("m1", "08:02", 5)
    log.add("user.message", "08:03", content="Hidden", source="skill-pdf")
    log.says("m2", "08:04", 5)
    import_sessions(log.path, persistence)
    [run] = persistence.iter_agent_runs()
    assert (run.objective, run.final_output) == ("Hooked?", "m2")


def test_tools_of_servers_and_agents_that_fail(log: _Log, persistence: Persistence) -> None:
    log.add("user.message", "08:01", content="Go")
    call = {"toolCallId": "c1", "name": "task", "arguments": {}}
    log.says("m1", "08:02", 5, toolRequests=[call])
    log.add("subagent.started", "08:03", toolCallId="c1", agentName="scout")
    of_server = {"toolCallId": "c2", "toolName": "depot-find", "mcpServerName": "depot"}
    parent = {"parentToolCallId": "c1"}
    log.add("tool.execution_start", "08:04", **of_server, **parent, mcpToolName="find")
    ended = {"toolCallId": "c2", "success": True, "result": {"content": "7"}}
    log.add("tool.execution_complete", "08:05", **ended, **parent)
    log.add("subagent.failed", "08:06", toolCallId="c1", error="lost")
    log.says("m2", "08:07", 5)
    import_sessions(log.path, persistence)
    turn, agent = sorted(persistence.iter_agent_runs(), key=lambda run: run.parent_run_id or "")
    assert (agent.agent_id, agent.status, agent.error_message) == ("scout", "error", "lost")
    assert agent.parent_run_id == turn.run_id
    [event] = persistence.get_agent_run_events(agent.run_id)
    assert event.event_type == "mcp.call"
    assert event.get_data_dict()["server"] == "depot"
