"""`events` lists events."""

from __future__ import annotations

from datetime import timedelta

import pytest

from curio_persistence import AgentRunEvent, Persistence, connect
from tests.cli.history import BEGIN
from tests.cli.program import Ended, Program


def test_events_of_a_run_are_oldest_first_and_complete(
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
        (["--type", "note", "--type", "run_started"], ["run_started", "note"]),
        (
            ["--since", "2026-11-20T10:30:03Z", "--until", "2026-11-20T10:30:05Z"],
            ["tool_call", "note"],
        ),
        (["--agent", "planner"], []),
        (["--level", "error"], []),
        (["--session", "nobody's"], []),
        (["--payload", "tool_name=search"], ["tool_call"]),
        (["--payload", 'tool_name="search"', "--payload", "args=5"], []),
        (["--payload", "tool_name=no=such"], []),
    ],
)
def test_filters_exclude_other_events(
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
        '2026-11-20 10:30:03.000  tool_call      {"error": "overflow", "tool_name": "calculato…',
        r"2026-11-20 10:30:04.500  note           \x1b[31mred\x1b[0m\x07 \x9b2J and more\u202e",
        "2026-11-20 10:30:06.000  run_completed  –",
    ]


@pytest.fixture
def leveled(url: str) -> str:
    """A database with events of two runs, with levels and messages."""
    with connect(url) as persistence:
        for number, level in enumerate(("debug", "info", "warning", "error")):
            persistence.append_event(
                f"run-{number % 2}",
                "agent",
                "log",
                level=level,
                message=f"it is {level}" if number else None,
                timestamp=BEGIN + timedelta(seconds=number),
                session_id="s",
            )
    return url


def levels(ended: Ended) -> list[str]:
    return [event["level"] for event in ended.json()]


def test_without_a_run_the_newest_events_of_all_runs_are_listed(
    program: Program, leveled: str
) -> None:
    command = ("events", "--url", leveled)
    assert levels(program(*command)) == ["error", "warning", "info", "debug"]
    assert levels(program(*command, "--limit", "1")) == ["error"]
    every = program(*command, "--session", "s", "--limit", "all")
    assert levels(every) == levels(program(*command))
    assert levels(program(*command, "--min-level", "warning")) == ["error", "warning"]
    assert levels(program(*command, "--level", "debug", "--level", "info")) == ["info", "debug"]
    assert levels(program(*command, "--agent", "nobody")) == []
    assert program(*command, "--min-level", "loud").code == 2


def test_twenty_events_are_listed_unless_a_run_is_named(program: Program, url: str) -> None:
    with connect(url) as persistence:
        for _ in range(25):
            persistence.append_event("run-1", "agent", "log")
    assert len(program("events", "--url", url).json()) == 20
    assert len(program("events", "run-1", "--url", url).json()) == 25
    assert len(program("events", "--limit", "all", "--url", url, "--jsonl").lines) == 25
    shown = program.on_terminal("events", "--url", url)
    cursor = shown.lines[-1].partition("--cursor ")[2].split()[0]
    assert len(program("events", "--url", url, "--cursor", cursor).json()) == 5


def test_a_person_sees_levels_and_messages_if_there_are_any(program: Program, leveled: str) -> None:
    assert program.on_terminal("events", "--url", leveled).lines == [
        "TIME                     RUN    LEVEL    TYPE  MESSAGE        DATA",
        "2026-11-20 10:30:03.000  run-1  error    log   it is error    –",
        "2026-11-20 10:30:02.000  run-0  warning  log   it is warning  –",
        "2026-11-20 10:30:01.000  run-1  info     log   it is info     –",
        "2026-11-20 10:30:00.000  run-0  debug    log   –              –",
    ]
    shown = program.in_colour("events", "--url", leveled).out
    assert "\x1b[31merror" in shown
    assert "\x1b[33mwarning" in shown


@pytest.mark.parametrize("wrong", ["tool_name", "=search", ""])
def test_a_payload_filter_is_a_path_and_a_value(
    program: Program, recorded: str, wrong: str
) -> None:
    code, out, said = program("events", "--url", recorded, "--payload", wrong)
    assert (code, out) == (2, "")
    assert "is not PATH=VALUE, such as tool_name=search" in said


def test_a_payload_filter_value_is_not_a_list(program: Program, recorded: str) -> None:
    code, _, said = program("events", "--url", recorded, "--payload", "..=1")
    assert code == 2
    assert "payload" in said


def test_one_path_has_one_value(program: Program, agents_db: str) -> None:
    twice = ("--payload", "tool_name=search", "--payload", "tool_name=fetch")
    code, out, said = program("events", *twice)
    assert (code, out) == (2, "")
    assert "--payload tool_name= is given twice: no record has both values" in said
