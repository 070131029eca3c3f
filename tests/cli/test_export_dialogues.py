"""`export atif` and `export chat` write what was said, and say what they left out."""

from __future__ import annotations

import json

import pytest
from atif import Trajectory

from curio_persistence import connect
from tests.cli.program import Program


@pytest.fixture
def talked(program: Program, agents_db: str) -> str:
    with connect(f"sqlite:///{program.folder / agents_db}") as persistence:
        with persistence.record_run(agent_id="talker", run_id="talk", objective="Hello?") as run:
            run.llm_call(model="m", response="Hello!", input_tokens=3, output_tokens=2)
        persistence.scores.set("talk", "quality", 0.9)
    return agents_db


def test_one_run_is_a_trajectory(program: Program, talked: str) -> None:
    ended = program("export", "atif", "--run", "last", "--output", "one.json")
    assert (ended.code, ended.said) == (0, "Exported 1 trajectory to one.json.\n")
    written = (program.folder / "one.json").read_text(encoding="utf-8")
    assert Trajectory.model_validate_json(written).agent.name == "talker"
    ended = program("export", "atif", "--output", "one.json", "--force")
    assert ended.code != 0
    assert "choose one run by its id" in ended.said
    assert (program.folder / "one.json").read_text(encoding="utf-8") == written


def test_a_session_is_a_trajectory_if_asked(program: Program, talked: str) -> None:
    with connect(f"sqlite:///{program.folder / talked}") as persistence:
        for number in (1, 2):
            with persistence.record_run(
                agent_id="talker", run_id=f"turn-{number}", session_id="chat", objective="And?"
            ) as run:
                run.llm_call(model="m", response="So.")
    chosen = ("--per", "session", "--session", "chat", "--output", "one.json")
    assert program("export", "atif", *chosen).said == "Exported 1 trajectory to one.json.\n"
    written = (program.folder / "one.json").read_text(encoding="utf-8")
    assert len(Trajectory.model_validate_json(written).steps) == 4


def test_examples_are_chosen_by_scores(program: Program, talked: str) -> None:
    ended = program("export", "chat", "--where", "score.quality>0.8", "--output", "-")
    assert [m["role"] for m in json.loads(ended.out)["messages"]] == ["user", "assistant"]
    assert "Exported 1 example.\n" in ended.said
    assert "its scores do not pass." in ended.said
    ended = program("export", "chat", "--format", "sharegpt", "--agent", "talker", "-o", "-")
    assert json.loads(ended.out)["conversations"][1] == {"from": "gpt", "value": "Hello!"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["atif"], "export atif --output PATH"),
        (
            ["chat", "http://127.0.0.1"],
            "export chat takes no URL or run: say --output PATH, and --run ID",
        ),
        (["chat", "-o", "x", "--format", "csv"], "export chat has no format csv."),
        (["atif", "-o", "x", "--format", "openai"], "export atif has no format openai."),
        (["atif", "-o", "x", "--model", "m"], "export atif does not take --model."),
        (["chat", "-o", "x", "--per", "session"], "export chat does not take --per."),
        (["-o", "x", "--per", "session"], "--per is for: export atif, export chat"),
        (["chat", "-o", "x", "--table", "runs"], "export chat does not take --table."),
        (["chat", "-o", "x", "--dry-run"], "--dry-run is for exports by OTLP"),
        (["-o", "x", "--where", "score.a > 1"], "--where is for: export atif, export chat"),
        (["-o", "x", "--format", "openai"], "--format openai is for examples: export chat"),
        (["otlp", "http://127.0.0.1", "--redact", "all"], "export otlp does not take --redact."),
        (["chat", "-o", "x", "--where", "good"], "'good' is no condition on a score"),
    ],
)
def test_what_a_form_does_not_take_is_refused(
    program: Program, agents_db: str, arguments: list[str], said: str
) -> None:
    ended = program("export", *arguments)
    assert ended.code != 0
    assert said in ended.said
    assert not (program.folder / "x").exists()
