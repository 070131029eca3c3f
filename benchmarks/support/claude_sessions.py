"""Writes transcripts of Claude Code with the shape of real ones, always the same ones."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

_WORDS = (
    *("the", "parser", "fails", "when", "token", "stream", "ends", "before", "result", "returns"),
    *("index", "of", "first", "line", "that", "matches", "test", "expects", "empty", "list", "für"),
    *("import", "def", "class", "self", "assert", "config", "value", "path", "open", "close", "→"),
)
_MODELS = ("claude-opus-4-5-20251101", "claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001")
_TOOLS = ("Read", "Bash", "Edit", "Grep", "Glob", "Write", "mcp__tracker__search")
_TURNS, _ANSWERS = (3, 40), (1, 30)


class Made:
    """What was written: bytes, files, lines and calls."""

    def __init__(self) -> None:
        self.bytes = self.files = self.lines = self.calls = 0


def write_projects(folder: Path, wanted: int, seed: int = 7) -> Made:
    """Write projects with so many bytes, a little more, that have been still for a day."""
    made, dice = Made(), random.Random(seed)
    text = " ".join(dice.choices(_WORDS, k=400_000))
    session = 0
    while made.bytes < wanted:
        project = f"-home-ada-project-{session % 23}"
        _Session(folder / project, dice, text, made, session).write()
        session += 1
    return made


class _Session:
    def __init__(
        self, folder: Path, dice: random.Random, text: str, made: Made, number: int
    ) -> None:
        self._folder, self._dice, self._text, self._made = folder, dice, text, made
        self._id = self._uuid()
        self._at = datetime(2026, 1, 5, tzinfo=UTC) + timedelta(hours=3 * number)
        self._cwd = f"/home/ada/project/{number % 23}"
        self._parent: str | None = None

    def write(self) -> None:
        self._save(self._folder / f"{self._id}.jsonl", self._lines())

    def _save(self, path: Path, entries: Iterator[dict[str, Any]]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            for entry in entries:
                line = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
                self._made.bytes += file.write(line) + 1
                file.write("\n")
                self._made.lines += 1
        self._made.files += 1
        then = time.time() - 86_400
        os.utime(path, (then, then))

    def _lines(self) -> Iterator[dict[str, Any]]:
        dice = self._dice
        for _ in range(dice.randint(*_TURNS)):
            yield {"type": "file-history-snapshot", "messageId": self._uuid(), "snapshot": {}}
            yield self._entry("user", {"role": "user", "content": self._words(20, 600)})
            for _ in range(dice.randint(*_ANSWERS)):
                yield from self._answer(dice.random() < 0.9, agents=True)
            yield from self._answer(uses_tool=False, agents=False)
            yield self._entry("system", None, subtype="turn_duration", durationMs=9000)

    def _answer(
        self, uses_tool: bool, *, agents: bool, model: str = "", **others: Any
    ) -> Iterator[dict[str, Any]]:
        dice = self._dice
        self._made.calls += 1
        message, request = f"msg_{self._uuid()[:22]}", f"req_{self._uuid()[:22]}"
        model = model or dice.choice(_MODELS[:2])
        usage = {
            "input_tokens": dice.randint(1, 12),
            "cache_creation_input_tokens": (written := dice.randint(0, 9000)),
            "cache_read_input_tokens": dice.randint(10_000, 160_000),
            "cache_creation": {
                "ephemeral_5m_input_tokens": 0,
                "ephemeral_1h_input_tokens": written,
            },
            "output_tokens": 8,
            "service_tier": "standard",
        }
        blocks: list[dict[str, Any]] = []
        if dice.random() < 0.3:
            thought = self._words(100, 1500)
            blocks.append({"type": "thinking", "thinking": thought, "signature": "x" * 300})
        if dice.random() < 0.6 or not uses_tool:
            blocks.append({"type": "text", "text": self._words(40, 900)})
        call = f"toolu_{self._uuid()[:24]}"
        starts_agent = agents and uses_tool and dice.random() < 0.02
        if uses_tool:
            name = "Task" if starts_agent else dice.choice(_TOOLS)
            command = {"command": self._words(20, 400), "description": self._words(5, 60)}
            blocks.append({"type": "tool_use", "id": call, "name": name, "input": command})
        for number, block in enumerate(blocks, start=1):
            last = number == len(blocks)
            stop = ("tool_use" if uses_tool else "end_turn") if last else None
            body: dict[str, Any] = {
                "model": model,
                "id": message,
                "type": "message",
                "role": "assistant",
            }
            body |= {"content": [block], "stop_reason": stop, "usage": dict(usage)}
            if last:
                body["usage"]["output_tokens"] = dice.randint(20, 1800)
            yield self._entry("assistant", body, requestId=request, **others)
        if uses_tool:
            agent = self._agent(call) if starts_agent else None
            yield self._result(call, agent, **others)

    def _result(self, call: str, agent: str | None, **others: Any) -> dict[str, Any]:
        dice = self._dice
        size = int(min(dice.lognormvariate(7.4, 1.5), 900_000))
        text = self._words(size, size)
        failed = dice.random() < 0.05
        block: dict[str, Any] = {"tool_use_id": call, "type": "tool_result", "content": text}
        if failed:
            block["is_error"] = True
        told: Any = f"Error: {text}" if failed else {"stdout": text, "interrupted": False}
        if agent is not None:
            told = {"status": "completed", "agentId": agent, "totalTokens": 1}
        message = {"role": "user", "content": [block]}
        return self._entry("user", message, toolUseResult=told, **others)

    def _agent(self, call: str) -> str:
        agent = self._uuid()[:8]
        path = self._folder / self._id / f"subagents/agent-{agent}.jsonl"
        before, self._parent = self._parent, None
        self._save(path, self._agent_lines(agent))
        self._parent = before
        meta = {"agentType": "Explore", "toolUseId": call}
        path.with_suffix(".meta.json").write_text(json.dumps(meta), encoding="utf-8")
        return agent

    def _agent_lines(self, agent: str) -> Iterator[dict[str, Any]]:
        others = {"isSidechain": True, "agentId": agent}
        prompt = {"role": "user", "content": self._words(100, 900)}
        yield self._entry("user", prompt, **others)
        for _ in range(self._dice.randint(1, 12)):
            yield from self._answer(uses_tool=True, agents=False, model=_MODELS[2], **others)
        yield from self._answer(uses_tool=False, agents=False, model=_MODELS[2], **others)

    def _entry(self, kind: str, message: Any, **others: Any) -> dict[str, Any]:
        self._at += timedelta(milliseconds=self._dice.randint(50, 9000))
        uuid = self._uuid()
        entry = {
            "parentUuid": self._parent,
            "isSidechain": False,
            "userType": "external",
            "cwd": self._cwd,
            "sessionId": self._id,
            "version": "2.1.39",
            "gitBranch": "main",
            "type": kind,
            "uuid": uuid,
            "timestamp": self._at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        if message is not None:
            entry["message"] = message
        self._parent = uuid
        return entry | others

    def _words(self, least: int, most: int) -> str:
        size = self._dice.randint(least, most) if most > least else least
        start = self._dice.randrange(max(1, len(self._text) - size))
        return self._text[start : start + size]

    def _uuid(self) -> str:
        return str(UUID(int=self._dice.getrandbits(128), version=4))
