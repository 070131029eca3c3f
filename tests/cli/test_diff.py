"""`diff` compares two runs step by step."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from curio_persistence import Persistence, connect
from curio_persistence.cli.terminal.text import cells
from tests.cli import test_show
from tests.cli.program import Program
from tests.cli.test_show import begin, end

event = partial(test_show.event, agent_id="agent")
call = partial(test_show.call, agent_id="agent")


def tool(
    persistence: Persistence,
    run_id: str,
    seconds: float,
    name: str,
    args: Any,
    result: Any,
    latency_ms: float = 5,
    **more: Any,
) -> None:
    data = {"tool_name": name, "args": args, "result": result, "latency_ms": latency_ms, **more}
    event(persistence, run_id, seconds, "tool_call", data)


def record(persistence: Persistence, run_id: str, seconds: float, model: str = "large") -> None:
    """Record the same run for every id, at different times."""
    run = begin(persistence, run_id, seconds, agent_id="agent", objective="Compare")
    event(persistence, run_id, seconds, "run_started", {"objective": "Compare"})
    tool(persistence, run_id, seconds + 1, "search", {"q": "a", "page": 1}, {"hits": 3})
    call(persistence, run_id, seconds + 2, model=model, prompt="Judge", response_content="good",
         input_tokens=100, output_tokens=10, cost_usd=Decimal("0.002"), latency_ms=900)  # fmt: skip
    tool(persistence, run_id, seconds + 3, "save", {"to": "x"}, True)
    child = begin(
        persistence, f"{run_id}-child", seconds + 4, agent_id="helper", parent_run_id=run_id
    )
    end(persistence, child, seconds + 5, final_synthesis_output="helped")
    event(persistence, run_id, seconds + 6, "run_completed", {"status": "completed", "error": None})
    end(persistence, run, seconds + 6, final_synthesis_output="the end")


@pytest.fixture
def twins(url: str) -> str:
    with connect(url) as persistence:
        record(persistence, "one", 0)
        record(persistence, "two", 1000)
    return url


@pytest.fixture
def others(url: str) -> str:
    """Runs like `twins`, but different in every field."""
    with connect(url) as persistence:
        record(persistence, "one", 0)
        run = begin(persistence, "two", 1000, agent_id="agent", objective="Compare")
        tool(persistence, "two", 1001, "search", {"q": "b", "page": 1}, {"hits": 3}, error="late")
        call(persistence, "two", 1002, model="small", prompt="Judge", latency_ms=90,
             response_content="good", input_tokens=150, output_tokens=10,
             cost_usd=Decimal("0.0005"))  # fmt: skip
        event(persistence, "two", 1002.5, "log", {"message": "nothing to save"})
        end(persistence, run, 1003, status="error", error_message="OSError", total_iterations=2)
    return url


def compare(program: Program, url: str, *options: str) -> list[str]:
    ended = program.on_terminal("diff", "one", "two", "--url", url, *options, columns=80)
    assert ended.code == 0, ended
    return ended.lines


def test_ids_and_times_are_not_differences(program: Program, twins: str) -> None:
    told = program("diff", "one", "two", "--url", twins).json()
    assert told["same"] is True
    assert told["differences"] == []
    assert [step["change"] for step in told["steps"]] == ["equal"] * 6
    assert compare(program, twins)[-2:] == [
        "… 6 equal steps",
        "Nothing differs but ids, times and latencies.",
    ]


def test_equal_steps_can_be_shown(program: Program, twins: str) -> None:
    assert compare(program, twins, "--all")[-6:-2] == [
        '  tool search  {"q": "a", "page": 1}  → {"hits": 3}',
        "  model large  100 in, 10 out, $0.002000  → good",
        '  tool save  {"to": "x"}  → true',
        "  run helper  one-child",
    ]


def test_a_person_sees_the_differences(program: Program, others: str) -> None:
    assert compare(program, others) == [
        "first   one (agent)",
        "second  two (agent)",
        "",
        "                 FIRST     SECOND  DIFFERENCE",
        "status       completed      error",
        "took             6.0 s      3.0 s      -3.0 s",
        "iterations           0          2          +2",
        "model calls          1          1",
        "tokens in          100        150         +50",
        "tokens out          10         10",
        "cost         $0.002000  $0.000500  -$0.001500",
        "",
        '    final_synthesis_output  "the end" → –',
        '    error_message  – → "OSError"',
        "",
        '- run_started  {"objective": "Compare"}',
        "~ tool search",
        '    args.q  "a" → "b"',
        '    error  – → "late"',
        "~ model large",
        '    model  "large" → "small"',
        "    input_tokens  100 → 150  +50",
        "    cost_usd  0.002000 → 0.000500  -0.001500",
        '- tool save  {"to": "x"}  → true',
        "- run helper  one-child",
        '- run_completed  {"status": "completed"}',
        "+ log  nothing to save",
    ]


def test_a_program_gets_an_object(program: Program, others: str) -> None:
    told = program("diff", "one", "two", "--url", others).json()
    assert told["same"] is False
    assert told["second"] == {
        "run_id": "two",
        "agent_id": "agent",
        "status": "error",
        "latency_ms": 3000.0,
        "iterations": 2,
        "model_calls": 1,
        "input_tokens": 150,
        "output_tokens": 10,
        "cost_usd": "0.000500",
    }
    changes = [step["change"] for step in told["steps"]]
    assert changes == [
        "only in first",
        *["changed"] * 2,
        *["only in first"] * 3,
        "only in second",
    ]
    _, search, model, save, *_ = told["steps"]
    assert search["differences"] == [
        {"path": "args.q", "first": "a", "second": "b"},
        {"path": "error", "first": None, "second": "late"},
    ]
    assert search["second"]["facts"]["args"] == {"q": "b", "page": 1}
    assert {each["path"] for each in model["differences"]} == {"model", "input_tokens", "cost_usd"}
    assert (model["first"]["latency_ms"], model["second"]["latency_ms"]) == (900, 90)
    assert save["second"] is None
    assert {"final_synthesis_output", "error_message", "status"} <= {
        each["path"] for each in told["differences"]
    }


def test_the_comparison_is_stable_and_symmetric(program: Program, others: str) -> None:
    there = program("diff", "one", "two", "--url", others)
    assert there == program("diff", "one", "two", "--url", others)
    back = program("diff", "two", "one", "--url", others).json()
    assert there.json()["first"] == back["second"]
    mirrored = {"only in first": "only in second", "only in second": "only in first"}
    changes = sorted(step["change"] for step in there.json()["steps"])
    assert changes == sorted(mirrored.get(each["change"], each["change"]) for each in back["steps"])


@pytest.mark.parametrize("missing", ["first", "second"])
def test_a_missing_run_is_not_found(program: Program, twins: str, missing: str) -> None:
    runs = ["nine", "two"] if missing == "first" else ["one", "nine"]
    code, out, said = program("diff", *runs, "--url", twins)
    assert (code, out) == (3, "")
    assert said.endswith("has no run 'nine'.\n")


def test_some_of_many_differences_in_one_part_are_shown(program: Program, url: str) -> None:
    with connect(url) as persistence:
        for run_id, numbers in (("one", range(9)), ("two", range(10, 20))):
            begin(persistence, run_id, 0)
            tool(persistence, run_id, 1, "add", list(numbers), sum(numbers))
    assert compare(program, url)[-6:] == [
        "~ tool add",
        "    args[0]  0 → 10  +10",
        "    args[1]  1 → 11  +10",
        "    args[2]  2 → 12  +10",
        "    … 7 more in args",
        "    result  36 → 145  +109",
    ]
    assert "    args[9]  – → 19" in compare(program, url, "--all")


def test_long_texts_are_shown_from_their_first_difference(program: Program, url: str) -> None:
    with connect(url) as persistence:
        for run_id, word in (("one", "left"), ("two", "right")):
            begin(persistence, run_id, 0)
            event(persistence, run_id, 1, "note", "so " * 3000 + word + " and so on" * 100)
    assert [line[:44] for line in compare(program, url)[-4:]] == [
        "~ note",
        "    data",
        "      - …so so so so so so so so left and so on and so on"[:44],
        "      + …so so so so so so so so right and so on and so on"[:44],
    ]
    assert max(map(cells, compare(program, url))) <= 80


def test_numbers_without_a_json_form_are_text(program: Program) -> None:
    with connect(f"sqlite:///{program.folder / 'agent_sdk.db'}") as persistence:
        persistence.append_event("a", "agent", "x", payload='{"v": 1e400, "w": NaN}')
        persistence.append_event("b", "agent", "x", payload='{"v": 1, "w": 1}')
    ended = program("diff", "a", "b")
    assert "Infinity" not in ended.out
    [step] = ended.json()["steps"]
    assert (step["first"]["facts"]["v"], step["first"]["facts"]["w"]) == ("1e400", "NaN")
