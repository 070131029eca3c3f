"""Threads of Codex: what a fork repeats counts once, and sums count as the calls that they add."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from curio_persistence import Persistence, import_sessions
from tests.support.session_samples import leave_still

FIRST = "019a27ca-e930-70f6-9954-7637e9031b01"
SECOND = "019a27ca-e930-70f6-9954-7637e9031b02"


def write(folder: Path, thread: str, lines: Iterable[Any], time: str = "09-00-00") -> Path:
    path = folder / f"sessions/2026/01/05/rollout-2026-01-05T{time}-{thread}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    leave_still(path)
    return path


def line(kind: str, second: int = 0, **payload: Any) -> Any:
    at = f"2026-01-05T09:00:{second:02}.000Z"
    return {"timestamp": at, "type": kind, "payload": payload}


def said(role: str, text: str, second: int = 0) -> Any:
    kind = "input_text" if role == "user" else "output_text"
    content = [{"type": kind, "text": text}]
    return line("response_item", second, type="message", role=role, content=content)


def counted(total: int, last: int | None, second: int = 0) -> Any:
    def tokens(n: int) -> dict[str, int]:
        return {"input_tokens": n, "cached_input_tokens": 1, "output_tokens": 2}

    info: dict[str, Any] = {"total_token_usage": tokens(total)}
    if last is not None:
        info["last_token_usage"] = tokens(last)
    return line("event_msg", second, type="token_count", info=info)


MODEL = line("turn_context", model="gpt-5-codex", cwd="/home/ada/seilbahn")
TURN = [MODEL, said("user", "Hello."), counted(100, 100, 1), said("assistant", "Hi.", 2)]


def test_a_fork_repeats_nothing_of_the_thread_that_it_goes_on_from(
    persistence: Persistence, tmp_path: Path
) -> None:
    write(tmp_path, FIRST, [line("session_meta", id=FIRST), *TURN])
    begin = line("session_meta", id=SECOND, forked_from_id=FIRST)
    copies = [each | {"timestamp": "2026-01-05T10:00:00.000Z"} for each in TURN]
    more = [said("user", "More.", 30), counted(150, 50, 31), said("assistant", "Yes.", 32)]
    write(tmp_path, SECOND, [begin, *copies, *more], time="10-00-00")
    report = import_sessions(tmp_path, persistence)
    assert report.skipped["copied record"] == 4
    calls = {(call.run_id, call.input_tokens) for call in persistence.get_llm_usage()}
    assert calls == {(f"codex/{FIRST}/turn-1", 100), (f"codex/{SECOND}/turn-1", 50)}


def test_a_sum_without_its_last_call_counts_by_what_it_has_grown(
    persistence: Persistence, tmp_path: Path
) -> None:
    begin = line("session_meta", id=FIRST)
    sums = [counted(100, None), counted(100, None), counted(130, None)]
    write(tmp_path, FIRST, [begin, MODEL, said("user", "Hello."), *sums, said("assistant", "Hi.")])
    report = import_sessions(tmp_path, persistence)
    assert sorted(call.input_tokens or 0 for call in persistence.get_llm_usage()) == [30, 100]
    assert report.skipped == {"token_count repeated": 1}


def test_an_agent_is_a_run_of_the_turn_that_went_on_when_it_began(
    persistence: Persistence, tmp_path: Path
) -> None:
    begin = line("session_meta", id=FIRST)
    second = [said("user", "Second.", 10), said("assistant", "Started.", 40)]
    write(tmp_path, FIRST, [begin, *TURN, *second])
    spawned = {"subagent": {"thread_spawn": {"parent_thread_id": FIRST, "agent_role": "worker"}}}
    meta = line("session_meta", 20, id=SECOND, source=spawned, timestamp="2026-01-05T09:00:20Z")
    asked = [said("user", "Measure.", 21), said("user", "Again.", 25), counted(7, 7, 26)]
    write(tmp_path, SECOND, [meta, *asked, said("assistant", "12.", 30)], time="09-00-20")
    import_sessions(tmp_path, persistence)
    agent = persistence.get_agent_run(f"codex/{FIRST}/agent-{SECOND}")
    assert agent is not None
    assert (agent.agent_id, agent.objective, agent.final_output) == ("worker", "Measure.", "12.")
    assert agent.parent_run_id == f"codex/{FIRST}/turn-2"
    assert agent.session_id == FIRST


def test_a_turn_that_ended_in_an_error_failed_unless_it_went_on(
    persistence: Persistence, tmp_path: Path
) -> None:
    failed = line("event_msg", 5, type="error", message="usage limit reached")
    begin = line("session_meta", id=FIRST)
    went_on = [said("user", "One."), failed, said("assistant", "Still here.", 6)]
    write(tmp_path, FIRST, [begin, *went_on, said("user", "Two.", 8), failed])
    import_sessions(tmp_path, persistence)
    ends = {run.objective: (run.status, run.error_message) for run in persistence.get_agent_runs()}
    assert ends == {"One.": ("completed", None), "Two.": ("error", "usage limit reached")}


def test_what_exec_printed_of_a_failed_turn_is_read(
    persistence: Persistence, tmp_path: Path
) -> None:
    item = {"id": "item_0", "type": "mcp_tool_call", "server": "depot", "tool": "cabins"}
    lines = [
        {"type": "thread.started", "thread_id": FIRST},
        {"type": "turn.started"},
        {"type": "item.completed", "item": item | {"status": "failed", "error": "timed out"}},
        {"type": "turn.failed", "error": {"message": "no network"}},
    ]
    path = tmp_path / "run.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    leave_still(path)
    import_sessions(path, persistence)
    [run] = persistence.get_agent_runs()
    assert (run.run_id, run.status) == (f"codex/{FIRST}/turn-1", "error")
    assert run.error_message == "no network"
    [call] = persistence.get_agent_run_events(run.run_id)
    assert (call.event_type, call.get_data_dict()["error"]) == ("mcp.call", "timed out")


def test_where_codex_works_only_its_sessions_are_looked_at(
    persistence: Persistence, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    write(home, FIRST, [line("session_meta", id=FIRST), *TURN])
    (home / "config.toml").touch()
    (tmp_path / "skills").mkdir()
    (home / "skills").symlink_to(tmp_path / "skills")
    report = import_sessions(home, persistence)
    assert (report.runs, report.problems) == (1, ())
