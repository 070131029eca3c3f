"""Trajectories in ATIF become runs, whatever they leave out, and whatever is wrong in them."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from curio_persistence import Persistence, connect, export_atif, import_sessions
from tests.support.session_samples import FOLDER

RUN = "atif/atif-run-2"
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
        (1, "step 2 is no object"),
        (1, "has an unreadable time"),
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


def test_what_our_own_export_adds_comes_back(persistence: Persistence, tmp_path: Path) -> None:
    ours = {
        "status": "cancelled",
        "tags": ["good"],
        "user_id": "ada",
        "metadata": {"source": "codex", "project": "/work/pumps", "branch": "main"},
        "scores": [{"name": "helpful", "value": 1.0, "source": "human"}, {"name": 5}, "none"],
    }
    told = trajectory(step("user", "Why?"), session_id="s-1", extra={"curio": ours})
    path = written(tmp_path / "trajectory.json", told)
    report = import_sessions([path], persistence)
    assert [problem.what.split(":")[0] for problem in report.problems] == [
        "has a score that cannot be"
    ] * 2
    [run] = persistence.iter_agent_runs()
    assert (run.status, run.tags, run.user_id) == ("cancelled", ["good"], "ada")
    metadata = run.get_metadata_dict()
    assert (metadata["source"], metadata["project"]) == ("atif", "/work/pumps")
    [score] = persistence.scores.list(run.run_id)
    assert (score.name, score.value) == ("helpful", 1.0)
    other = written(tmp_path / "other.json", told)
    left_out = import_sessions([other], persistence, exclude=["pumps"])
    assert left_out.skipped == {"excluded project": 1}


def test_an_export_comes_back_with_the_same_steps_calls_tokens_and_costs(
    persistence: Persistence, tmp_path: Path
) -> None:
    import_sessions([FOLDER / "atif"], persistence)
    exported = tmp_path / "exported.jsonl"
    export_atif(persistence, exported)
    with closing(connect("memory://")) as other:
        import_sessions([exported], other)
        assert figures(other) == figures(persistence)
        export_atif(other, tmp_path / "again.jsonl")
    first, second = (
        [json.loads(line)["steps"] for line in path.read_text().splitlines()]
        for path in (exported, tmp_path / "again.jsonl")
    )
    [delegated] = [
        result
        for result in first[1][1]["observation"]["results"]
        if result.pop("subagent_trajectory_ref", None) == [{"trajectory_id": f"{RUN}/sub-1"}]
    ]
    assert delegated["source_call_id"] == "call_d", "the call that began the embedded run"
    second[1][1]["observation"]["results"][0].pop("subagent_trajectory_ref")
    assert first == second


OF_A_CALL = (
    *("model", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"),
    *("reasoning_tokens", "cost_usd", "response_content", "status"),
)


def figures(persistence: Persistence) -> list[Any]:
    """Return what is told of each run by its place: calls, tools and messages."""
    runs = sorted(persistence.iter_agent_runs(), key=lambda run: (str(run.started_at), run.run_id))
    return [
        (
            (run.agent_id, run.objective, run.final_output, run.status),
            [
                [getattr(call, name) for name in OF_A_CALL]
                for call in persistence.get_llm_usage(run_id=run.run_id, limit=None)
            ],
            sorted(
                (event.get_data_dict()["tool_name"], str(event.get_data_dict().get("args")))
                for event in persistence.get_agent_run_events(run.run_id, "tool_call")
            ),
        )
        for run in runs
    ]
