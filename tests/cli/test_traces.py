"""`trace` draws one trace, `traces` lists them."""

from __future__ import annotations

import pytest

from curio_persistence import AgentSpan, connect
from tests.cli.history import EVIL
from tests.cli.program import Program


@pytest.fixture
def traced(program: Program) -> tuple[str, str]:
    """The ids of a run and of its child, in a database that has another trace."""
    with connect(f"sqlite:///{program.folder}/agent_sdk.db") as persistence:
        persistence.traces.save_span(AgentSpan("saved-1", "s", "import", status="error"))
        with persistence.record_run(agent_id="coordinator", session_id="chat-1") as run:
            with (
                run.tool("delegate"),
                persistence.record_run(agent_id="reader") as child,
                child.span(f"part {EVIL}"),
            ):
                child.llm_call(model="acme-1", input_tokens=20, output_tokens=5, cost_usd=0.001)
            late = AgentSpan(run.trace_id, "late", "render", parent_span_id="gone")
            persistence.traces.save_span(late)
    return run.run_id, child.run_id


def test_a_trace_is_drawn(program: Program, traced: tuple[str, str]) -> None:
    shown = program.on_terminal("trace", traced[1], columns=80)
    assert shown.code == 0
    assert max(map(len, shown.lines)) <= 80
    assert "cost         $0.001000" in shown.lines
    names = ("agent coord", "  tool del", "    agent read", "      span part", "        llm acme")
    drawn = [line for line in shown.lines if "█" in line or "░" in line]
    for name, line in zip(names, drawn, strict=False):
        assert line.startswith(name)
    assert "  span render" in drawn[5]
    assert "    ! no end recorded; parent missing" in shown.lines
    assert "\x1b[31mred" not in shown.out


def test_the_status_of_a_trace_is_a_word(program: Program, traced: tuple[str, str]) -> None:
    shown = program.in_colour("trace", traced[0])
    assert "\x1b[2mstatus     \x1b[0m  ok" in shown.lines


def test_a_trace_is_named_by_any_of_its_ids(program: Program, traced: tuple[str, str]) -> None:
    run_id, child_id = traced
    trace_id = run_id.replace("-", "")
    found = [
        program("trace", ident, "--json").json()["trace_id"]
        for ident in (run_id, child_id, trace_id, trace_id[:31], run_id[:35], "last")
    ]
    assert found == [trace_id] * 6
    assert program("trace", "saved-1", "--json").json()["name"] == "import"


def test_json_tells_every_span_in_the_order_of_the_tree(
    program: Program, traced: tuple[str, str]
) -> None:
    told = program("trace", "last").json()
    assert [span["depth"] for span in told["spans"]] == [0, 1, 2, 3, 4, 1]
    assert told["spans"][-1]["parent_missing"] is True
    assert (told["model_calls"], told["cost_usd"], told["depth"]) == (1, "0.001000", 4)
    assert {span["critical"] for span in told["spans"]} == {True, False}


def test_a_part_of_a_trace_can_be_drawn(program: Program, traced: tuple[str, str]) -> None:
    shown = program.on_terminal("trace", "last", "--depth", "1").out
    assert "tool delegate" in shown
    assert "agent reader" not in shown
    shown = program.on_terminal("trace", "last", "--limit", "2").out
    assert "There are 4 more spans: add --limit all" in shown
    assert "span render" not in program.on_terminal("trace", "last", "--critical").out


def test_mistakes_are_told(program: Program, traced: tuple[str, str]) -> None:
    ended = program("trace", "nothing")
    assert (ended.code, ended.said.count("has no trace or run 'nothing'")) == (3, 1)
    ended = program("trace", traced[0][:8])
    assert ended.code == 3
    assert "Type more of the id" in ended.said
    assert program("traces", "--status", "completed").code == 2
    assert program("traces", "--min-duration", "5").code == 2


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["coordinator", "import"]),
        (["--agent", "coordinator"], ["coordinator"]),
        (["--session", "chat-1", "--status", "ok"], ["coordinator"]),
        (["--status", "error", "--status", "running"], ["import"]),
        (["--min-duration", "1h"], []),
        (["--max-duration", "1h"], ["coordinator"]),
        (["--limit", "1", "--since", "1h"], ["coordinator"]),
        (["--limit", "all"], ["coordinator", "import"]),
    ],
)
def test_traces_are_filtered(
    program: Program, traced: tuple[str, str], options: list[str], expected: list[str]
) -> None:
    assert [trace["name"] for trace in program("traces", *options).json()] == expected


def test_traces_are_listed(program: Program, traced: tuple[str, str]) -> None:
    shown = program.on_terminal("traces", columns=80).lines
    assert shown[0].split()[:3] == ["TRACE", "NAME", "STATUS"]
    assert [line.split()[1] for line in shown[1:]] == ["coordinator", "import"]
    assert max(map(len, shown)) <= 80
