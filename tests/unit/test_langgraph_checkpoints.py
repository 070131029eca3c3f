"""Checkpoints as LangGraph writes them: interrupts, subgraphs, older JSON, deltas."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import ormsgpack
import pytest

from curio_persistence import InMemoryPersistence, Persistence, import_sessions

_IDS = [f"1f1ebe0e-c8d7-6d47-bfff-7568a4bf8f7{number}" for number in range(10)]
_TABLES = """
CREATE TABLE checkpoints (thread_id TEXT, checkpoint_ns TEXT DEFAULT '', checkpoint_id TEXT,
  parent_checkpoint_id TEXT, type TEXT, checkpoint BLOB, metadata BLOB,
  PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id));
CREATE TABLE writes (thread_id TEXT, checkpoint_ns TEXT DEFAULT '', checkpoint_id TEXT,
  task_id TEXT, task_path TEXT DEFAULT '', idx INTEGER, channel TEXT, type TEXT, value BLOB,
  PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx));
"""
Message = dict[str, Any]


@pytest.fixture
def persistence() -> Iterator[Persistence]:
    with InMemoryPersistence() as opened:
        yield opened


class _Saver:
    """Writes what a checkpointer would."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with closing(sqlite3.connect(path)) as database:
            database.executescript(_TABLES)

    def checkpoint(
        self, number: int, messages: list[Message] | None, namespace: str = "", kind: str = ""
    ) -> None:
        values = {} if messages is None else {"messages": messages}
        packed = _packed if kind != "json" else lambda value: json.dumps(value).encode()
        stored = packed({"channel_values": values})
        row = ("t", namespace, _IDS[number], None, kind or "msgpack", stored, b"{}")
        self._insert("checkpoints", row)

    def write(self, number: int, channel: str, value: Any, namespace: str = "") -> None:
        row = ("t", namespace, _IDS[number], "task", "", 0, channel, "msgpack", _packed(value))
        self._insert("writes", row)

    def _insert(self, table: str, row: tuple[Any, ...]) -> None:
        with closing(sqlite3.connect(self.path)) as database, database:
            database.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)


def _packed(value: Any) -> bytes:
    """Return msgpack in which each message is an object of its class."""

    def extension(message: Any) -> ormsgpack.Ext:
        inside = ("langchain_core.messages", "Message", message.fields, "model_validate_json")
        return ormsgpack.Ext(5, ormsgpack.packb(inside))

    def prepared(value: Any) -> Any:
        if isinstance(value, dict) and "content" in value:
            return _Object(value)
        if isinstance(value, dict):
            return {name: prepared(each) for name, each in value.items()}
        return [prepared(each) for each in value] if isinstance(value, list) else value

    return ormsgpack.packb(prepared(value), default=extension)


class _Object:
    def __init__(self, fields: Message) -> None:
        self.fields = fields


def _human(ident: str, content: Any) -> Message:
    return {"type": "human", "id": ident, "content": content}


def _ai(ident: str, content: Any, **more: Any) -> Message:
    usage = {"input_tokens": 10, "output_tokens": 2, "total_tokens": 12}
    answered = {"model_name": "gpt-5-mini", "model_provider": "openai"}
    fields = {"type": "ai", "id": ident, "content": content, "usage_metadata": usage}
    return {**fields, "response_metadata": answered, **more}


@pytest.fixture
def saver(tmp_path: Path) -> _Saver:
    return _Saver(tmp_path / "checkpoints.db")


def test_a_thread_that_waits_for_a_person_is_running(
    saver: _Saver, persistence: Persistence
) -> None:
    call = {"name": "ask", "args": {}, "id": "c1", "type": "tool_call"}
    begun = [_human("h", "Shall I?"), _ai("a", "", tool_calls=[call])]
    saver.checkpoint(1, begun)
    saver.write(1, "__interrupt__", ["really?"])
    import_sessions(saver.path, persistence)
    [run] = persistence.iter_agent_runs()
    assert run.status == "running"
    result = {"type": "tool", "id": "r", "content": "yes", "tool_call_id": "c1"}
    saver.checkpoint(2, [*begun, result, _ai("b", [{"type": "text", "text": "Done."}])])
    import_sessions(saver.path, persistence)
    [run] = persistence.iter_agent_runs()
    assert (run.status, run.final_output) == ("completed", "Done.")
    [event] = persistence.get_agent_run_events(run.run_id)
    assert event.get_data_dict()["result"] == "yes"


def test_a_subgraph_is_an_agent_with_its_own_messages(
    saver: _Saver, persistence: Persistence
) -> None:
    asked, answered = _human("h", "Weigh it."), _ai("a", "12 kg")
    saver.write(0, "messages", [asked])
    saver.checkpoint(1, [asked, answered])
    saver.checkpoint(2, [asked, _ai("i", "I weigh."), answered], "scales:5d1c")
    import_sessions(saver.path, persistence)
    agent, turn = sorted(persistence.iter_agent_runs(), key=lambda run: run.agent_id == "langgraph")
    assert (turn.agent_id, turn.objective) == ("langgraph", "Weigh it.")
    assert (agent.agent_id, agent.final_output) == ("scales", "I weigh.")
    assert agent.parent_run_id == turn.run_id
    assert len(list(persistence.iter_llm_usage())) == 2


def test_older_checkpoints_are_json(saver: _Saver, persistence: Persistence) -> None:
    def old(name: str, **fields: Any) -> Message:
        return {"lc": 1, "type": "constructor", "id": ["langchain", name], "kwargs": fields}

    answer = _ai("a", "Yes.")
    del answer["type"]
    saver.checkpoint(
        1, [old("HumanMessage", content="Old?"), old("AIMessage", **answer)], kind="json"
    )
    report = import_sessions(saver.path, persistence)
    assert report.ok
    [run] = persistence.iter_agent_runs()
    assert (run.objective, run.final_output) == ("Old?", "Yes.")
    assert run.run_id == "langgraph/t/message-1"


def test_without_messages_in_the_checkpoint_the_written_ones_count(
    saver: _Saver, persistence: Persistence
) -> None:
    saver.write(0, "messages", [_human("h", "Delta?")])
    saver.write(1, "messages", _ai("a", "Yes"))
    saver.write(2, "messages", [_ai("a", "Yes, a delta.")])
    saver.checkpoint(3, None)
    import_sessions(saver.path, persistence)
    [run] = persistence.iter_agent_runs()
    assert (run.objective, run.final_output) == ("Delta?", "Yes, a delta.")


def test_messages_before_the_first_prompt_are_counted(
    saver: _Saver, persistence: Persistence
) -> None:
    system = {"type": "system", "id": "s", "content": "Be short."}
    saver.checkpoint(1, [system, _human("h", "?"), _ai("a", "!")])
    report = import_sessions(saver.path, persistence)
    assert report.skipped == {"before the first prompt": 1}


def test_messages_with_another_shape_are_passed_over(
    saver: _Saver, persistence: Persistence
) -> None:
    odd: list[Any] = ["text", 7, {"type": 3, "content": None}, {"role": "user", "content": "Hi"}]
    saver.checkpoint(1, [*odd, {"role": "assistant", "content": "Ho", "tool_calls": ["?"]}])
    import_sessions(saver.path, persistence)
    [run] = persistence.iter_agent_runs()
    assert (run.objective, run.final_output) == ("Hi", "Ho")
    [call] = persistence.iter_llm_usage()
    assert call.input_tokens is None
