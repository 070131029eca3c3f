"""Runs as trajectories of ATIF and as examples for fine-tuning: each word once, in its order."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from atif import Trajectory

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    InMemoryPersistence,
    InvalidValueError,
    Persistence,
    export_atif,
    export_chat,
    import_sessions,
)
from tests.support.session_samples import FOLDER, SAMPLES

ATIF = "atif/trajectory-v1.8.json"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
SYSTEM = {"role": "system", "content": "You repair pumps."}
ASKED = {"role": "user", "content": "Why does it stall?"}


def trajectories(persistence: Persistence, **options: Any) -> list[dict[str, Any]]:
    """Return the trajectories of an export; each is valid by the published schema."""
    file = BytesIO()
    export_atif(persistence, file, **options)
    found = [json.loads(line) for line in file.getvalue().splitlines()]
    for each in found:
        Trajectory.model_validate(each)
    return found


def examples(persistence: Persistence, **options: Any) -> list[dict[str, Any]]:
    file = BytesIO()
    export_chat(persistence, file, **options)
    return [json.loads(line) for line in file.getvalue().splitlines()]


def mend(persistence: Persistence, run_id: str = "run-1", **more: Any) -> None:
    """Record a run with two calls of a tool, of which one failed."""
    with persistence.record_run(
        agent_id="mechanic", run_id=run_id, objective="Why does it stall?", **more
    ) as run:
        run.llm_call(
            model="acme-1",
            provider="acme",
            prompt=[SYSTEM, ASKED],
            response="I look at the gauges.",
            input_tokens=100,
            output_tokens=20,
            cache_read_tokens=60,
            cost_usd=0.1,
        )
        for gauge in (7, 8):
            with suppress(ValueError), run.tool("read_gauge", {"gauge": gauge}) as call:
                if gauge == 8:
                    raise ValueError("no such gauge")
                call.result = "2 bar"
        run.llm_call(
            model="acme-1",
            prompt=[SYSTEM, ASKED, {"role": "assistant", "content": "I look at the gauges."}],
            response="Air in the line.",
            input_tokens=150,
            output_tokens=5,
        )


def test_a_run_is_a_trajectory(persistence: Persistence) -> None:
    mend(persistence, session_id="chat-1", tags=["good"], metadata={"version": "2.1"})
    [found] = trajectories(persistence)
    assert (found["session_id"], found["trajectory_id"]) == ("chat-1", "run-1")
    assert found["agent"] == {"name": "mechanic", "version": "2.1", "model_name": "acme-1"}
    system, user, first, last = found["steps"]
    assert (system["source"], system["message"]) == ("system", "You repair pumps.")
    assert (user["source"], user["message"]) == ("user", "Why does it stall?")
    assert first["message"] == "I look at the gauges."
    assert [each["arguments"] for each in first["tool_calls"]] == [{"gauge": 7}, {"gauge": 8}]
    seven, eight = first["observation"]["results"]
    assert seven["content"] == "2 bar"
    assert eight["content"] == "ValueError: no such gauge"
    assert eight["extra"]["is_error"] is True
    assert first["metrics"]["prompt_tokens"] == 100
    assert first["metrics"]["cached_tokens"] == 60
    assert first["metrics"]["cost_usd"] == 0.1
    assert first["metrics"]["extra"]["provider"] == "acme"
    assert (last["message"], last["llm_call_count"]) == ("Air in the line.", 1)
    assert found["final_metrics"] == {
        "total_prompt_tokens": 250,
        "total_completion_tokens": 25,
        "total_cached_tokens": 60,
        "total_cost_usd": 0.1,
        "total_steps": 4,
    }
    ours = found["extra"]["curio"]
    assert (ours["status"], ours["tags"], ours["run_id"]) == ("completed", ["good"], "run-1")


def test_child_runs_are_embedded_in_the_call_that_began_them(persistence: Persistence) -> None:
    with (
        persistence.record_run(agent_id="rigger", run_id="main", objective="Measure") as run,
        run.tool("delegate", {"task": "rope"}) as call,
    ):
        mend(persistence, "child")
        call.result = "12 m"
    [found] = trajectories(persistence)
    [child] = found["subagent_trajectories"]
    assert (child["trajectory_id"], len(child["steps"])) == ("child", 4)
    [result] = found["steps"][1]["observation"]["results"]
    assert result["subagent_trajectory_ref"] == [{"trajectory_id": "child"}]
    assert found["steps"][1]["llm_call_count"] == 0
    assert found["final_metrics"]["total_cost_usd"] == 0.1
    assert [each["trajectory_id"] for each in trajectories(persistence, run_id="child")] == [
        "child"
    ]


CALLED = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {
            "id": "c1",
            "type": "function",
            "function": {"name": "look", "arguments": '{"at": "pump"}'},
        }
    ],
}
HISTORY = [SYSTEM, {"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]


def test_prompts_that_grow_are_told_once(persistence: Persistence) -> None:
    """A framework records its whole conversation with each call, and tools only there."""
    persistence.create_agent_run(AgentRun("a", "run", status="completed", created_at=NOON))
    prompts: list[list[Any]] = [
        [*HISTORY, ASKED],
        [*HISTORY, ASKED, CALLED, {"role": "tool", "tool_call_id": "c1", "content": "dry"}],
        [*HISTORY, ASKED, CALLED, {"role": "tool", "tool_call_id": "c1", "content": "dry"}],
    ]
    for number, prompt in enumerate(prompts):
        call = AgentLLMUsage("a", "run", "acme", "acme-1", created_at=NOON + timedelta(0, number))
        call.prompt = json.dumps(prompt)
        call.response_content = [json.dumps(CALLED), "", "It is dry."][number]
        call.status = "error" if number == 1 else "success"
        persistence.log_llm_usage(call)
    [found] = trajectories(persistence)
    assert [(step["source"], step.get("is_copied_context")) for step in found["steps"]] == [
        ("system", None),
        ("user", True),
        ("agent", True),
        ("user", None),
        ("agent", None),
        ("agent", None),
        ("agent", None),
    ]
    assert found["steps"][4]["observation"]["results"][0]["content"] == "dry"
    [example] = examples(persistence)
    assert example == {
        "messages": [
            SYSTEM,
            ASKED,
            {**CALLED, "tool_calls": [{**CALLED["tool_calls"][0], "id": "call_1"}]},  # type: ignore[index]
            {"role": "tool", "tool_call_id": "call_1", "content": "dry"},
            {"role": "assistant", "content": "It is dry."},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "look",
                    "description": "",
                    "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
                },
            }
        ],
        "parallel_tool_calls": False,
    }


def test_a_run_is_an_example_for_fine_tuning(persistence: Persistence) -> None:
    mend(persistence)
    [chat] = examples(persistence)
    roles = [message["role"] for message in chat["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "tool", "assistant"]
    called = chat["messages"][2]["tool_calls"]
    assert [each["function"]["arguments"] for each in called] == ['{"gauge": 7}', '{"gauge": 8}']
    answered = [each["tool_call_id"] for each in chat["messages"][3:5]]
    assert answered == [each["id"] for each in called]
    assert chat["parallel_tool_calls"] is True
    [shared] = examples(persistence, format="sharegpt")
    assert (shared["id"], shared["system"]) == ("run-1", "You repair pumps.")
    assert [(each["from"], each["value"]) for each in shared["conversations"]] == [
        ("human", "Why does it stall?"),
        (
            "function_call",
            '[{"name": "read_gauge", "arguments": {"gauge": 7}}, '
            '{"name": "read_gauge", "arguments": {"gauge": 8}}]',
        ),
        ("observation", '["2 bar", "ValueError: no such gauge"]'),
        ("gpt", "Air in the line."),
    ]
    assert json.loads(shared["tools"])[0]["name"] == "read_gauge"


def test_runs_with_a_gap_are_left_out_and_counted(persistence: Persistence) -> None:
    mend(persistence, "whole")
    with persistence.record_run(agent_id="a", run_id="open", objective="Go") as run:
        run.log("tool_call_started", {"tool_name": "t"})
        run.llm_call(model="m", response="Done.")
    with persistence.record_run(agent_id="a", run_id="silent", objective="Go") as run:
        run.llm_call(model="m", prompt="Go")
    with persistence.record_run(agent_id="a", run_id="unasked") as run:
        run.llm_call(model="m", response="Hello?")
    with persistence.record_run(agent_id="a", run_id="condensed", objective="Go") as run:
        run.log("compaction", {"trigger": "auto"})
        run.llm_call(model="m", response="Done.")
    with pytest.raises(ZeroDivisionError), persistence.record_run(agent_id="a", run_id="failed"):
        raise ZeroDivisionError
    report = export_chat(persistence, BytesIO())
    assert report.runs == 1
    assert report.left_out == {
        "a call of a tool has no result": 1,
        "nobody asked": 1,
        "the history was condensed on the way": 1,
        "the last word is not the agent's": 1,
    }
    assert export_chat(persistence, BytesIO(), status="error").left_out == {"nobody asked": 1}
    assert export_atif(persistence, BytesIO()).left_out == {"nothing was said": 1}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("score.quality >= 0.8", ["good"]),
        ("score.quality<0.8", ["bad"]),
        (["score.quality > 0", "score.verdict = fine"], ["good"]),
        ("score.verdict != fine", ["bad"]),
        ("score.other = 1", []),
    ],
)
def test_runs_are_chosen_by_their_scores(
    persistence: Persistence, where: Any, expected: list[str]
) -> None:
    for run_id, value, label in (("good", 0.9, "fine"), ("bad", 0.2, "poor"), ("unscored", 0, "")):
        mend(persistence, run_id)
        if label:
            persistence.scores.set(run_id, "quality", value)
            persistence.scores.set(run_id, "quality", value + 0.05, source="model")
            persistence.scores.set(run_id, "verdict", label=label)
    assert [
        each["id"] for each in examples(persistence, format="sharegpt", where=where)
    ] == expected
    assert [each["trajectory_id"] for each in trajectories(persistence, where=where)] == expected


@pytest.mark.before_io
@pytest.mark.parametrize("where", ["quality > 1", "score.quality", "score.quality > good", 5])
def test_a_condition_that_is_none_is_refused(persistence: Persistence, where: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"is no condition|compares a label") as refusal:
        export_chat(persistence, BytesIO(), where=[where])
    assert refusal.value.field == "where"


def test_secrets_are_replaced_in_examples(persistence: Persistence) -> None:
    secret = "sk-ant-api03-" + "aB3dE5gH7j" * 9
    with persistence.record_run(agent_id="a", objective=f"Use {secret}") as run:
        run.llm_call(model="m", response="I do.")
        with run.tool("login", {"key": secret}) as call:
            call.result = f"in as {secret}"
        run.llm_call(model="m", response=f"In, by {secret}.")
    assert secret not in json.dumps(examples(persistence))
    assert secret in json.dumps(examples(persistence, redact=None))
    assert secret in json.dumps(trajectories(persistence))
    assert secret not in json.dumps(trajectories(persistence, redact="all"))


@pytest.mark.parametrize(("form", "file"), [("openai", "openai-chat"), ("sharegpt", "sharegpt")])
def test_the_sample_of_an_export_is_met(
    persistence: Persistence, tmp_path: Path, form: str, file: str
) -> None:
    _imported("atif/trajectory-v1.2.json", persistence, tmp_path)
    expected = (FOLDER / "finetuning" / f"{file}.jsonl").read_text(encoding="utf-8")
    written = BytesIO()
    export_chat(persistence, written, format=form)
    assert written.getvalue().decode().strip() == expected.strip()


def _imported(name: str, persistence: Persistence, folder: Path) -> None:
    sample = next(each for each in SAMPLES if each.name == name)
    import_sessions(sample.copied_to(folder), persistence, source=sample.source)


@pytest.mark.parametrize(
    "name", ["claude-code", "gemini-cli", "llm/logs.db", "langfuse/trace.json", ATIF]
)
def test_what_was_exported_and_imported_is_the_same(
    persistence: Persistence, tmp_path: Path, name: str
) -> None:
    _imported(name, persistence, tmp_path)
    path = tmp_path / "exported.jsonl"
    path.write_text("".join(f"{json.dumps(each)}\n" for each in trajectories(persistence)))
    os.utime(path, (1.8e9, 1.8e9))
    with InMemoryPersistence() as other:
        assert import_sessions([path], other, source="atif").problems == ()
        assert _numbers(other) == _numbers(persistence)
        steps = [each["steps"] for each in trajectories(other)]
        assert [len(each) for each in steps] == [
            len(each["steps"]) for each in trajectories(persistence)
        ]


def _numbers(persistence: Persistence) -> Any:
    """Return the calls, tokens and costs of each model and project, and the calls of each tool."""
    tools = persistence.stats.summary()["tool_metrics"]
    totals = persistence.usage.totals(group_by=("model", "provider", "project", "branch"))
    return (
        persistence.count_agent_runs(),
        [replace(each, avg_latency_ms=None) for each in totals],
        {name: (each["call_count"], each["error_count"]) for name, each in tools.items()},
    )


def test_a_session_can_be_one_trajectory(persistence: Persistence) -> None:
    mend(persistence, "run-1", session_id="chat-1", metadata={"version": "2.1"})
    mend(persistence, "alone")
    before = {"role": "assistant", "content": "Air in the line."}
    later = [SYSTEM, ASKED, before, {"role": "user", "content": "Both?"}]
    with persistence.record_run(
        agent_id="mechanic", run_id="run-2", objective="Both?", session_id="chat-1"
    ) as run:
        run.llm_call(model="acme-1", prompt=later, response="Yes.", input_tokens=7, cost_usd=0.2)
    persistence.scores.set("run-2", "quality", 0.9)
    chat, alone = trajectories(persistence, per="session")
    assert (chat["session_id"], chat["trajectory_id"]) == ("chat-1", "chat-1")
    assert [(step["step_id"], step["source"], step["message"]) for step in chat["steps"]] == [
        (1, "system", "You repair pumps."),
        (2, "user", "Why does it stall?"),
        (3, "agent", "I look at the gauges."),
        (4, "agent", "Air in the line."),
        (5, "user", "Both?"),
        (6, "agent", "Yes."),
    ]
    assert chat["final_metrics"]["total_prompt_tokens"] == 257
    assert chat["final_metrics"]["total_cost_usd"] == pytest.approx(0.3)
    one, two = chat["extra"]["curio"]["runs"]
    assert (one["run_id"], two["run_id"], two["scores"][0]["value"]) == ("run-1", "run-2", 0.9)
    assert (alone["session_id"], len(alone["steps"])) == ("alone", 4)
    [narrow] = trajectories(persistence, per="session", where="score.quality > 0.5")
    assert [step["message"] for step in narrow["steps"]][-2:] == ["Both?", "Yes."]


@pytest.mark.before_io
def test_a_trajectory_is_of_a_run_or_a_session(persistence: Persistence) -> None:
    with pytest.raises(InvalidValueError, match="per is run or session, not 'day'"):
        export_atif(persistence, BytesIO(), per="day")


@pytest.mark.parametrize("name", ["claude-code", "gemini-cli", "codex", "opencode"])
def test_the_figures_of_sessions_are_the_same_after_a_round_trip(
    persistence: Persistence, tmp_path: Path, name: str
) -> None:
    _imported(name, persistence, tmp_path)
    path = tmp_path / "exported.jsonl"
    exported = trajectories(persistence, per="session")
    path.write_text("".join(f"{json.dumps(each)}\n" for each in exported))
    os.utime(path, (1.8e9, 1.8e9))
    with InMemoryPersistence() as other:
        assert import_sessions([path], other, source="atif").problems == ()
        assert _numbers(other)[1:] == _numbers(persistence)[1:]
        sessions = {run.session_id for run in persistence.iter_agent_runs()}
        tops = [run for run in other.iter_agent_runs() if run.parent_run_id is None]
        assert sorted(str(run.session_id) for run in tops) == sorted(map(str, sessions))
        again = trajectories(other, per="session")
    assert [len(each["steps"]) for each in again] == [len(each["steps"]) for each in exported]


def test_files_are_whole_or_not_there(persistence: Persistence, tmp_path: Path) -> None:
    mend(persistence, "a/b")
    folder = tmp_path / "exports"
    folder.mkdir()
    one = folder / "one.json"
    assert export_atif(persistence, one).to_dict() == {
        "path": str(one),
        "format": "atif",
        "runs": 1,
        "left_out": {},
    }
    Trajectory.model_validate_json(one.read_text(encoding="utf-8"))
    mend(persistence, "second")
    with pytest.raises(InvalidValueError, match="2 runs pass"):
        export_atif(persistence, folder / "two.json")
    export_atif(persistence, folder / "all")
    names = sorted(path.name for path in (folder / "all").iterdir())
    assert names == ["000001-a-b.json", "000002-second.json", "manifest.json"]
    with pytest.raises(InvalidValueError, match=r"overwrite|exists|is there"):
        export_chat(persistence, one)
    export_chat(persistence, one, overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == ["all", "one.json"]
