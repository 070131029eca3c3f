"""`calls` lists model calls."""

from __future__ import annotations

import json

import pytest

from curio_persistence import AgentLLMUsage, Persistence
from tests.cli.program import Program


def test_calls_are_newest_first_and_complete(
    program: Program, recorded: str, persistence: Persistence
) -> None:
    calls = program("usage", "--url", recorded).json()
    assert list(map(AgentLLMUsage.from_dict, calls)) == persistence.get_llm_usage()
    assert len(calls) == 3
    lines = program("usage", "--url", recorded, "--limit", "all", "--jsonl").lines
    assert list(map(json.loads, lines)) == calls


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--model", "acme-large"], [250, 300]),
        (["--model", "acme-large", "--model", "acme-small"], [50, 250, 300]),
        (["--status", "failed"], [50]),
        (["--status", "succeeded", "--limit", "1"], [250]),
        (["--provider", "acme", "--agent", "researcher", "--run", "run-40"], [50, 250, 300]),
        (["--provider", "other"], []),
        (["--run", "run-41"], []),
        (["--session", "chat"], []),
        (["--until", "2026-11-20T10:30Z"], []),
    ],
)
def test_filters_exclude_other_calls(
    program: Program, recorded: str, filters: list[str], expected: list[int]
) -> None:
    calls = program("usage", "--url", recorded, *filters).json()
    assert [call["output_tokens"] for call in calls] == expected


def test_a_person_sees_a_table(program: Program, recorded: str) -> None:
    assert program.on_terminal("usage", "--url", recorded).lines == [
        "TIME                 RUN     MODEL       STATUS       IN  OUT   MS             COST",
        "2026-11-20 10:30:00  run-40  acme-small  error    12,000   50  120          unknown",
        "2026-11-20 10:30:00  run-40  acme-large  success     900  250  640  $0.000000000005",
        "2026-11-20 10:30:00  run-40  acme-large  success   1,200  300  812        $0.008100",
    ]


def test_stderr_says_if_there_are_more_calls(program: Program, agents_db: str) -> None:
    said = program.on_terminal("usage", "--limit", "2").lines[-1]
    cursor = said.partition("--cursor ")[2].split()[0]
    shown = program.on_terminal("usage", "--limit", "2", "--cursor", cursor)
    assert len(shown.lines) == 2
    assert program.on_terminal("usage", "--run", "x").out.endswith("has no such model calls.\n")
