"""`events` shows what happened in a run."""

from __future__ import annotations

import pytest

from curio_persistence import AgentRunEvent, Persistence
from tests.cli.program import Program


def test_events_come_oldest_first_and_whole(
    program: Program, recorded: str, persistence: Persistence
) -> None:
    events = program("events", "run-40", "--url", recorded).json()
    assert [AgentRunEvent.from_dict(event) for event in events] == persistence.get_agent_run_events(
        "run-40"
    )
    assert len(events) == 5


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--type", "tool_call"], ["tool_call", "tool_call"]),
        (["--type", "tool_call", "--limit", "1"], ["tool_call"]),
        (["--limit", "2"], ["run_started", "tool_call"]),
        (["--limit", "0"], []),
        (["--type", "never heard of"], []),
    ],
)
def test_filters_leave_out_the_other_events(
    program: Program, recorded: str, filters: list[str], expected: list[str]
) -> None:
    events = program("events", "run-40", "--url", recorded, *filters).json()
    assert [event["event_type"] for event in events] == expected


def test_a_run_without_events_has_none(program: Program, recorded: str) -> None:
    assert program("events", "run-41", "--url", recorded).json() == []
    shown = program.on_terminal("events", "run-41", "--url", recorded)
    assert shown == (0, "Run run-41 has no such events.\n", "")


def test_events_of_a_missing_run_are_not_found(program: Program, recorded: str) -> None:
    code, out, said = program("events", "run-4", "--url", recorded)
    assert (code, out) == (3, "")
    assert said.endswith("has no run 'run-4'.\n")


def test_a_person_sees_a_table(program: Program, recorded: str) -> None:
    shown = program.on_terminal("events", "run-40", "--url", recorded, columns=86)
    assert shown.lines == [
        "TIME                     TYPE           DATA",
        '2026-11-20 10:30:00.000  run_started    {"objective": "Compare three vector databases…',
        '2026-11-20 10:30:01.500  tool_call      {"tool_name": "search", "args": {"q": "日本"}…',
        '2026-11-20 10:30:03.000  tool_call      {"tool_name": "calculator", "latency_ms": 0.2…',
        r"2026-11-20 10:30:04.500  note           \x1b[31mred\x1b[0m\x07 \x9b2J and more\u202e",
        "2026-11-20 10:30:06.000  run_completed  –",
    ]
