"""Trajectories in ATIF become runs, whatever they leave out, and whatever is wrong in them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from curio_persistence import Persistence, import_sessions

TEN = datetime(2026, 4, 1, 10, tzinfo=UTC)


def step(source: str, message: Any = "", **others: Any) -> dict[str, Any]:
    return {"source": source, "message": message, **others}


def trajectory(*steps: Any, **others: Any) -> dict[str, Any]:
    numbered = [
        {"step_id": number, **each} if isinstance(each, dict) else each
        for number, each in enumerate(steps, start=1)
    ]
    agent = {"name": "mechanic", "version": "1", "model_name": "m-1"}
    return {"schema_version": "ATIF-v1.7", "agent": agent, "steps": numbered, **others}


def written(path: Path, *found: Any) -> Path:
    path.write_text("\n".join(map(json.dumps, found)))
    return path


def test_steps_keep_their_order_without_times(persistence: Persistence, tmp_path: Path) -> None:
    calls = [{"tool_call_id": "c-1", "function_name": "look", "arguments": {}}]
    told = trajectory(
        step("system", "Repair pumps."),
        step("user", "Why?"),
        step("agent", "I look.", reasoning_content="hm", tool_calls=calls),
        step("agent", "Air."),
        session_id="s-1",
    )
    path = written(tmp_path / "trajectory.json", told)
    import_sessions([path], persistence)
    [run] = persistence.iter_agent_runs()
    assert (run.run_id, run.objective, run.final_output) == ("atif/s-1/s-1", "Why?", "Air.")
    events = persistence.get_agent_run_events(run.run_id)
    assert [event.event_type for event in events] == [
        *("system_message", "user_message", "thinking", "tool_call")
    ]
    assert events[-1].get_data_dict()["unfinished"] is True
    assert [usage.model for usage in persistence.iter_llm_usage()] == ["m-1", "m-1"]
    assert {usage.input_tokens for usage in persistence.iter_llm_usage()} == {None}


def test_a_trajectory_without_ids_is_known_by_its_file(
    persistence: Persistence, tmp_path: Path
) -> None:
    both = (trajectory(step("user", "One?")), trajectory(step("user", "Two?")))
    path = written(tmp_path / "both.jsonl", *both)
    import_sessions([path], persistence)
    assert sorted(run.run_id for run in persistence.iter_agent_runs()) == [
        *("atif/both:1/both:1", "atif/both:2/both:2")
    ]
    assert {run.status for run in persistence.iter_agent_runs()} == {"error"}, "nobody answered"


def test_results_tell_errors_and_times_in_their_extra(
    persistence: Persistence, tmp_path: Path
) -> None:
    calls = [{"tool_call_id": "c-1", "function_name": "look", "arguments": {"at": 1}}]
    extra = {"is_error": True, "error": "no gauge", "duration_ms": 12.5}
    results = [{"source_call_id": "c-1", "content": "", "extra": extra}]
    told = trajectory(
        step("agent", "I look.", tool_calls=calls, observation={"results": results}),
        session_id="s-1",
    )
    import_sessions([written(tmp_path / "trajectory.json", told)], persistence)
    [event] = persistence.get_agent_run_events("atif/s-1/s-1")
    data = event.get_data_dict()
    assert (data["error"], data["latency_ms"], data["args"]) == ("no gauge", 12.5, {"at": 1})


def test_bad_steps_are_told_and_the_rest_is_there(persistence: Persistence, tmp_path: Path) -> None:
    metrics = {"prompt_tokens": -1, "completion_tokens": 3, "cost_usd": "much"}
    told = trajectory(
        step("user", "Why?", timestamp="yesterday"),
        "no step",
        step("agent", "Air.", timestamp=f"{TEN:%Y-%m-%dT%H:%M:%S}", metrics=metrics),
        session_id="s-1",
        subagent_trajectories=[{"trajectory_id": "empty"}, trajectory(step("user", "How long?"))],
    )
    path = written(tmp_path / "lines.jsonl", told, {"schema_version": "ATIF-v1.2"}, "{")
    report = import_sessions([path], persistence)
    assert [(problem.line, problem.what.split(":")[0]) for problem in report.problems] == [
        (1, "has an unreadable time"),
        (1, "step 2 is no object"),
        (1, "has a number of tokens that cannot be"),
        (1, "has a cost that cannot be"),
        (1, "has an embedded trajectory without steps"),
        (2, "is no trajectory of ATIF"),
        (3, "is a JSON str, not an object"),
    ]
    [usage] = persistence.iter_llm_usage()
    assert (usage.input_tokens, usage.output_tokens, usage.cost_usd) == (None, 3, None)
    assert usage.created_at == TEN
    parents = {run.run_id: run.parent_run_id for run in persistence.iter_agent_runs()}
    assert parents == {"atif/s-1/s-1": None, "atif/s-1/s-1.2": "atif/s-1/s-1"}


def test_trajectories_within_each_other_are_runs_of_one_session(
    persistence: Persistence, tmp_path: Path
) -> None:
    told = trajectory(step("user", "deepest"), trajectory_id="t-0")
    for number in range(1, 30):
        told = trajectory(
            step("user", str(number)), trajectory_id=f"t-{number}", subagent_trajectories=[told]
        )
    path = written(tmp_path / "trajectory.json", told | {"session_id": "s-1"})
    report = import_sessions([path], persistence)
    assert [problem.what for problem in report.problems] == [
        "has more than 20 trajectories within each other"
    ]
    assert persistence.count_agent_runs(session_id="s-1") == 21
    inner = persistence.get_agent_run("atif/s-1/t-28")
    assert inner is not None
    assert inner.parent_run_id == "atif/s-1/t-29"


def test_a_later_export_completes_the_run(persistence: Persistence, tmp_path: Path) -> None:
    asked = step("user", "Why?", timestamp=TEN.isoformat())
    path = written(tmp_path / "trajectory.json", trajectory(asked, session_id="s-1"))
    import_sessions([path], persistence)
    answered = step("agent", "Air.", timestamp=(TEN + timedelta(seconds=4)).isoformat())
    written(path, trajectory(asked, answered, session_id="s-1"))
    import_sessions([path], persistence)
    [run] = persistence.iter_agent_runs()
    assert (run.status, run.final_output, run.error_message) == ("completed", "Air.", None)
    assert persistence.count_llm_usage() == 1
