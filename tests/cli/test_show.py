"""`show` shows a run step by step."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, Level, Persistence, connect
from curio_persistence.cli.terminal.text import cells
from curio_persistence.views.steps import LEVELS
from tests.cli.history import BEGIN, EVIL
from tests.cli.program import Program


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def begin(persistence: Persistence, run_id: str, seconds: float, **fields: Any) -> AgentRun:
    run = AgentRun(f"{run_id}-agent", run_id, started_at=at(seconds), created_at=at(seconds))
    run.status = "running"
    for name, value in fields.items():
        setattr(run, name, value)
    persistence.create_agent_run(run)
    return run


def end(persistence: Persistence, run: AgentRun, seconds: float, **fields: Any) -> None:
    run.finished_at = at(seconds)
    run.status = "completed"
    for name, value in fields.items():
        setattr(run, name, value)
    persistence.update_agent_run(run.run_id, run)


def event(
    persistence: Persistence,
    run_id: str,
    seconds: float,
    event_type: str,
    payload: Any = None,
    *,
    agent_id: str | None = None,
    **more: Any,
) -> None:
    agent_id = agent_id or f"{run_id}-agent"
    persistence.append_event(
        run_id, agent_id, event_type, timestamp=at(seconds), payload=payload, **more
    )


def call(
    persistence: Persistence,
    run_id: str,
    seconds: float,
    *,
    agent_id: str | None = None,
    **fields: Any,
) -> None:
    agent_id = agent_id or f"{run_id}-agent"
    persistence.log_llm_usage(
        AgentLLMUsage(agent_id, run_id, "acme", created_at=at(seconds), **fields)
    )


@pytest.fixture
def story(url: str) -> str:
    """A run that has a child, uses every kind of record, and fails."""
    with connect(url) as persistence:
        run = begin(
            persistence, "story", 0, objective="Tell everything", session_id="s-1", tags=["b", "a"]
        )
        event(persistence, "story", 0, "run_started", {"objective": "Tell everything"})
        event(persistence, "story", 0.1, "iteration_started", {"iteration": 1})
        call(
            persistence, "story", 1.5, model="large", prompt="Think!",
            response_content="I ask\nfor help", input_tokens=1200, output_tokens=30,
            latency_ms=1400, cost_usd=Decimal("0.0081"),
        )  # fmt: skip
        event(
            persistence, "story", 2, "tool_call_started", {"tool_name": "ask", "args": {"who": "B"}}
        )
        child = begin(persistence, "child", 2.1, objective="Help", parent_run_id="story")
        event(persistence, "child", 2.2, "log", {"message": "helping"}, level="warning")
        call(persistence, "child", 2.3, model="small", input_tokens=5, output_tokens=2)
        end(persistence, child, 2.5, final_synthesis_output="Done\nand over")
        event(
            persistence, "story", 2.6, "tool_call",
            {"tool_name": "ask", "args": {"who": "B"}, "result": "helped", "latency_ms": 600},
        )  # fmt: skip
        event(
            persistence, "story", 3, "mcp.call",
            {"server": "files", "tool": "read", "args": {"path": "/x"}, "duration_ms": 12.4,
             "error": "no such file\n  /x", "result": None},
        )  # fmt: skip
        event(
            persistence, "story", 4, "metric", {"name": "accuracy", "value": 0.5, "unit": "ratio"}
        )
        event(persistence, "story", 5, "planned", {"steps": 2}, message="as told", level="debug")
        event(persistence, "story", 6, "tool_call_started", {"tool_name": "search", "args": None})
        event(persistence, "story", 7.25, "run_error", {"status": "error", "error": "OSError: out"})
        end(persistence, run, 7.25, status="error", error_message="OSError: out")
    return url


TIMELINE = [
    "+0.100 s          iteration 1",
    "+1.500 s   1.4 s  model large  1,200 in, 30 out, $0.008100  → I ask for help",
    '+2.000 s  600 ms  tool ask  {"who": "B"}  → helped',
    "+2.100 s  400 ms  run child-agent  child  Help",
    "+2.200 s          │ warning  log  helping",
    "+2.300 s          │ model small  5 in, 2 out",
    "+2.500 s          └ completed  Done and over",
    '+3.000 s   12 ms  failed  mcp.call files/read  {"path": "/x"}',
    "                    no such file",
    "                      /x",
    "+4.000 s          metric accuracy  0.5  ratio",
    '+5.000 s          debug  planned  as told  {"steps": 2}',
    "+6.000 s          tool search  (no end recorded)",
    "+7.250 s          error",
    "                    OSError: out",
]


def shown(program: Program, *arguments: str, columns: int = 100) -> list[str]:
    ended = program.on_terminal("show", *arguments, columns=columns)
    assert ended.code == 0, ended
    return ended.lines


def steps(program: Program, *arguments: str, columns: int = 100) -> list[str]:
    lines = shown(program, *arguments, columns=columns)
    return lines[lines.index("") + 1 :]


def test_a_person_sees_the_head_and_what_happened(program: Program, story: str) -> None:
    assert shown(program, "story", "--url", story) == [
        "run            story",
        "agent          story-agent",
        "status         error",
        "started        2026-11-20 10:30:00",
        "took           7.2 s",
        "session        s-1",
        "tags           b, a",
        "model calls    1 with 1,200 tokens in, 30 out, $0.008100",
        "with children  2 with 1,205 tokens in, 32 out, $0.008100 and 1 of unknown cost",
        "objective      Tell everything",
        "error          OSError: out",
        "",
        *TIMELINE,
    ]


def test_a_program_gets_every_record(program: Program, story: str) -> None:
    told = program("show", "story", "--url", story).json()
    with connect(story, read_only=True) as persistence:
        for record, run_id in ((told, "story"), (told["children"][0], "child")):
            assert AgentRun.from_dict(record["run"]) == persistence.get_agent_run(run_id)
            events = [AgentRunEvent.from_dict(each) for each in record["events"]]
            assert events == persistence.get_agent_run_events(run_id)
            calls = [AgentLLMUsage.from_dict(each) for each in record["usage"]]
            assert calls == persistence.get_llm_usage(run_id=run_id)
    assert told["children"][0]["children"] == []


def test_a_missing_run_is_not_found(program: Program, story: str) -> None:
    code, out, said = program("show", "stor", "--url", story)
    assert (code, out) == (3, "")
    assert said.endswith("has no run 'stor'.\n")


def test_without_depth_a_child_is_one_line(program: Program, story: str) -> None:
    inside = [line for line in TIMELINE if "│" in line or "└" in line]
    lines = steps(program, "story", "--url", story, "--depth", "0")
    assert lines == [
        f"{line}  completed" if "run child" in line else line
        for line in TIMELINE
        if line not in inside
    ]
    [child] = program("show", "story", "--url", story, "--depth", "0").json()["children"]
    assert child["run"]["run_id"] == "child"
    assert child["events"] is child["usage"] is child["children"] is None


def test_a_collapsed_failed_child_shows_its_error(program: Program, url: str) -> None:
    with connect(url) as persistence:
        begin(persistence, "story", 0)
        child = begin(persistence, "child", 1, parent_run_id="story")
        end(persistence, child, 2, status="error", error_message="ValueError: two\nlines")
    assert steps(program, "story", "--url", url, "--depth", "0")[:3] == [
        "+1.000 s  1.0 s  failed  run child-agent  child  error",
        "                   ValueError: two",
        "                   lines",
    ]


def test_min_level_shows_severe_events_and_failures(program: Program, story: str) -> None:
    left_out = ("iteration", "model", "tool", "metric", "debug")
    assert steps(program, "story", "--url", story, "--min-level", "warning") == [
        line for line in TIMELINE if not any(f" {word} " in line for word in left_out)
    ]
    told = program("show", "story", "--url", story, "--min-level", "warning").json()
    assert [each["event_type"] for each in told["events"]] == ["mcp.call", "run_error"]
    assert told["usage"] == []
    assert [each["event_type"] for each in told["children"][0]["events"]] == ["log"]


def test_the_levels_are_those_of_events(program: Program, story: str) -> None:
    assert tuple(Level) == LEVELS
    assert program("show", "story", "--url", story, "--min-level", "loud").code == 2


def test_types_exclude_other_events_and_model_calls(program: Program, story: str) -> None:
    told = program("show", "story", "--url", story, "--type", "metric", "--type", "mcp.call").json()
    assert [each["event_type"] for each in told["events"]] == ["mcp.call", "metric"]
    assert told["usage"] == []


@pytest.mark.parametrize(
    ("limit", "types"),
    [
        ("0", []),
        ("1", ["run_error"]),
        ("3", ["planned", "tool_call_started", "run_error"]),
        ("100", None),
    ],
)
def test_a_limit_shows_the_last_steps(
    program: Program, story: str, limit: str, types: list[str] | None
) -> None:
    told = program("show", "story", "--url", story, "--limit", limit).json()
    if types is None:
        assert told == program("show", "story", "--url", story).json()
    else:
        assert [each["event_type"] for each in told["events"]] == types
    cut = "… what came before is left out"
    assert (cut in map(str.strip, shown(program, "story", "--url", story, "--limit", limit))) is (
        types is not None
    )


def test_a_limit_counts_model_calls_and_events_together(program: Program, story: str) -> None:
    """The run has 9 events and one model call, which is the third of all."""
    told = program("show", "story", "--url", story, "--limit", "8").json()
    assert [len(told["events"]), len(told["usage"])] == [7, 1]
    told = program("show", "story", "--url", story, "--limit", "7").json()
    assert [len(told["events"]), len(told["usage"])] == [7, 0]


def test_full_shortens_nothing(program: Program, story: str) -> None:
    with connect(story) as persistence:
        long = {"text": "word " * 100, "list": [1, {"a": None}]}
        event(persistence, "story", 6.5, "note", long)
    text = "\n".join(
        line[18:].strip() for line in steps(program, "story", "--url", story, "--full")
    )
    assert "prompt: Think!" in text
    assert "response:\nI ask\nfor help" in text
    assert '"text": "' + "word " * 100 + '",\n"list": [\n1,\n{\n"a": null\n}\n]' in text
    assert "Done\nand over" in text


def test_parents_in_a_circle_are_shown_once(program: Program, url: str) -> None:
    with connect(url) as persistence:
        begin(persistence, "a", 0, parent_run_id="b")
        begin(persistence, "b", 1, parent_run_id="a")
        begin(persistence, "self", 0, parent_run_id="self")
    assert steps(program, "a", "--url", url) == [
        "+1.000 s  run b-agent  b",
        "+0.000 s  │ run a-agent  a  running",
        "          └ running",
        "          running",
    ]
    told = program("show", "self", "--url", url).json()
    assert told["children"] == [
        {**told, **dict.fromkeys(("events", "usage", "scores", "children"))}
    ]


def test_calls_of_a_tool_are_distinguished_by_their_arguments(program: Program, url: str) -> None:
    with connect(url) as persistence:
        begin(persistence, "story", 0)
        for seconds, event_type, word in [
            (1, "tool_call_started", "a"),
            (2, "tool_call_started", "b"),
            (3, "tool_call", "a"),
            (4, "tool_call", "c"),
            (5, "tool_call", "b"),
        ]:
            event(persistence, "story", seconds, event_type, {"tool_name": "t", "args": word})
    assert steps(program, "story", "--url", url) == [
        "+1.000 s  2.0 s  tool t  a",
        "+2.000 s  3.0 s  tool t  b",
        "+4.000 s         tool t  c",
        "                 running",
    ]


def test_a_number_called_error_is_not_a_failure(program: Program, url: str) -> None:
    with connect(url) as persistence:
        begin(persistence, "story", 0)
        event(persistence, "story", 1, "fit", {"error": 0.25})
        event(persistence, "story", 2, "fit", {"error": {"code": 3}})
        event(persistence, "story", 3, "metric", {"name": "loss", "value": 1, "error": "±1"})
    assert steps(program, "story", "--url", url)[:-1] == [
        '+1.000 s  fit  {"error": 0.25}',
        "+2.000 s  failed  fit",
        '            {"code": 3}',
        '+3.000 s  metric loss  1  {"error": "±1"}',
    ]


def test_any_payload_is_shown(program: Program, agents_db: str) -> None:
    payloads = [
        *("no JSON", "[1, 2", "NaN", "[NaN]", "7", "null", '""', "[]", "{}", "[0.5]"),
        *("[" * deep + "]" * deep for deep in (500, 50_000)),
        *('{"tool_name": ["no", "name"], "args": NaN}', '{"latency_ms": "slow", "error": true}'),
        *('{"latency_ms": 1e999, "cost_usd": -1e999}', '{"latency_ms": 0}', "9" * 5000),
        *(f'{{"latency_ms": 1{"0" * 4000}}}', f"[1{'0' * 4000}]"),
        '{"name": null, "value": {}, "iteration": [1]}',
    ]
    types = ("note", "tool_call", "tool_call_started", "mcp.call", "metric", "run_error", "log")
    with connect(f"sqlite:///{program.folder / agents_db}") as persistence:
        for event_type in (*types, "iteration_started", "artifact", "delegation"):
            for payload, other in pairwise([*payloads, payloads[0]]):
                event(persistence, "run-43", 9, event_type, payload)
                event(persistence, "run-44", 9, event_type, other)
    for options in ([], ["--full"], ["--json"], ["--min-level", "error"]):
        assert program.on_terminal("show", "run-43", *options).code == 0
    for options in ([], ["--all"], ["--json"]):
        assert program.on_terminal("diff", "run-43", "run-44", *options).code == 0
    assert program("diff", "run-43", "run-43").json()["same"]


def test_no_step_is_wider_than_the_terminal(program: Program, agents_db: str) -> None:
    with connect(f"sqlite:///{program.folder / agents_db}") as persistence:
        event(persistence, "run-40", 30, "note", {"text": "東京" * 3000})
        event(persistence, "run-40", 31, EVIL.replace("\r\n", ""), {"é": "́" * 9000})
    for columns in (40, 61, 80, 200):
        lines = [line for line in steps(program, "run-40", columns=columns) if "+" in line]
        assert len(lines) > 5
        assert max(map(cells, lines)) <= columns


def test_generations_beyond_the_deepest_are_one_line(program: Program, agents_db: str) -> None:
    with connect(f"sqlite:///{program.folder / agents_db}") as persistence:
        for number in range(70):
            begin(
                persistence,
                f"g{number}",
                number,
                parent_run_id=f"g{number - 1}" if number else None,
            )
    for options in ([], ["--json"], ["--depth", "1000000"]):
        ended = program.on_terminal("show", "g0", *options)
        assert ended.code == 0
        assert "g51" in ended.out
        assert "g52" not in ended.out


@pytest.fixture
def places(story: str) -> dict[str, str]:
    """Return the arguments of `--around` for the story's events, by type, and its model call."""
    with connect(story, read_only=True) as persistence:
        [usage] = persistence.get_llm_usage(run_id="story")
        return {
            "model": f"usage:{usage.id}",
            **{e.event_type: f"event:{e.id}" for e in persistence.get_agent_run_events("story")},
        }


def test_around_marks_a_hit_and_shows_its_neighbours(
    program: Program, story: str, places: dict[str, str]
) -> None:
    near = ("--around", places["mcp.call"], "--limit", "1")
    assert steps(program, "story", "--url", story, *near) == [
        "                    … what came before is left out",
        '  +2.600 s  600 ms  tool ask  {"who": "B"}  → helped',
        '> +3.000 s   12 ms  failed  mcp.call files/read  {"path": "/x"}',
        "                      no such file",
        "                        /x",
        "  +4.000 s          metric accuracy  0.5  ratio",
        "                    … what came after is left out",
        "  +7.250 s          error",
        "                      OSError: out",
    ]
    told = program("show", "story", "--url", story, *near).json()
    assert [each["event_type"] for each in told["events"]] == ["tool_call", "mcp.call", "metric"]


def test_around_a_model_call_shows_its_neighbours_and_no_later_child(
    program: Program, story: str, places: dict[str, str]
) -> None:
    near = ("--around", places["model"], "--limit", "2")
    lines = steps(program, "story", "--url", story, *near)
    assert [line[:12] for line in lines[:4]] == [
        "  +0.100 s  ",
        "> +1.500 s  ",
        "  +2.000 s  ",
        "  +2.100 s  ",
    ]
    assert "no end recorded" not in lines[2]
    told = program("show", "story", "--url", story, *near[:2], "--limit", "1").json()
    assert (len(told["events"]), len(told["usage"]), told["children"]) == (2, 1, [])


def test_around_shows_children_as_one_line_unless_a_depth_is_given(
    program: Program, story: str, places: dict[str, str]
) -> None:
    near = ("--around", places["mcp.call"], "--url", story)
    assert sum("child" in line for line in steps(program, "story", *near)) == 1
    deep = steps(program, "story", *near, "--depth", "1")
    assert "  +2.300 s          │ model small  5 in, 2 out" in deep


def test_around_the_first_or_last_step_shows_all_neighbours(
    program: Program, story: str, places: dict[str, str]
) -> None:
    """An event that repeats how the run started is shown, because it is the hit."""
    first = steps(program, "story", "--url", story, "--around", places["run_started"])
    assert first[0].startswith("> +0.000 s          run_started")
    last = steps(program, "story", "--url", story, "--around", places["run_error"])
    assert last[0].endswith("… what came before is left out")
    assert last[-2:] == ["  +7.250 s          error", "                      OSError: out"]
    assert any(line.startswith("> +7.250 s") for line in last)


def test_the_end_of_a_tool_call_is_marked_at_its_start(
    program: Program, story: str, places: dict[str, str]
) -> None:
    for hit in (places["tool_call"], places["mcp.call"]):
        lines = steps(program, "story", "--url", story, "--around", hit)
        assert sum(line.startswith("> ") for line in lines) == 1
    [marked] = [
        line
        for line in steps(program, "story", "--url", story, "--around", places["tool_call"])
        if line.startswith("> ")
    ]
    assert marked.startswith("> +2.000 s  600 ms  tool ask")


@pytest.mark.parametrize(
    ("hit", "code"),
    [("event:999999", 3), ("usage:999999", 3), ("run:1", 2), ("event:", 2), ("7", 2), ("", 2)],
)
def test_around_refuses_records_of_other_runs(
    program: Program, story: str, hit: str, code: int
) -> None:
    ended = program("show", "story", "--url", story, "--around", hit)
    assert (ended.code, ended.out) == (code, "")
    assert "event:7 or usage:3" in ended.said or f"no such record: {hit}" in ended.said


def test_the_newest_failed_run_needs_no_id(program: Program, recorded: str) -> None:
    [newest, *_] = program("runs", "--url", recorded, "--status", "failed").json()
    shown = program("show", "--url", recorded, "--failed", "--json").json()
    assert shown["run"]["run_id"] == newest["run_id"]
    last = program("show", "--url", recorded, "last", "--json").json()
    assert last["run"]["run_id"] == program("runs", "--url", recorded).json()[0]["run_id"]


def test_exactly_one_run_must_be_named(program: Program, recorded: str) -> None:
    for arguments in ([], ["run-1", "--failed"]):
        ended = program("show", "--url", recorded, *arguments)
        assert (ended.code, ended.said) == (
            2,
            "curio-persistence: Name a RUN, or `last`, or give --failed.\n",
        )
