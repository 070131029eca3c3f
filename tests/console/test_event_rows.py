"""Events are rows: a tool call that has ended is one, and each has a name and some words."""

from __future__ import annotations

from typing import Any

import pytest

from curio_persistence import AgentRunEvent
from curio_persistence.console.parts.event_rows import row_of, rows_of
from tests.support.console import NOW


def event(kind: str, number: int = 1, **fields: Any) -> AgentRunEvent:
    made = AgentRunEvent("agent", "run", event_type=kind, timestamp=NOW, **fields)
    made.id = number
    return made


def test_a_tool_call_that_has_ended_is_one_row() -> None:
    begun = event("tool_call_started", 1, span_id="a" * 16, data='{"tool_name": "grep"}')
    ended = event("tool_call", 2, span_id="a" * 16, data='{"tool_name": "grep", "result": "ok"}')
    other = event("tool_call_started", 3, span_id="b" * 16, data='{"tool_name": "grep"}')
    assert [row.event.id for row in rows_of([other, ended, begun])] == [3, 2]
    assert rows_of([begun])[0].step.is_open


@pytest.mark.parametrize(
    ("made", "name", "words"),
    [
        (
            event("tool_call", data='{"tool_name": "grep", "args": {"q": 1}, "result": "ok"}'),
            "grep",
            '{"q": 1} ok',
        ),
        (event("log", message="Rate limit\nreached"), "log", "Rate limit reached"),
        (event("mine", data='{"a": 1}'), "mine", '{"a": 1}'),
        (event("mine", data="[1"), "mine", "[1"),
        (
            event("tool_call", data='{"tool_name": "grep", "error": "Denied: no"}'),
            "grep",
            "Denied: no",
        ),
        (event("tool_call", data="{}"), "tool_call", ""),
    ],
)
def test_a_row_has_a_name_and_words(made: AgentRunEvent, name: str, words: str) -> None:
    row = row_of(made)
    assert (row.name, row.words) == (name, words)


def test_long_texts_are_cut() -> None:
    row = row_of(event("log", message="word " * 100_000))
    assert len(row.words) <= 161


@pytest.mark.parametrize(
    ("made", "failed"),
    [
        (event("log", level="error"), True),
        (event("log", level="critical"), True),
        (event("log", level="warning"), False),
        (event("tool_call", data='{"tool_name": "grep", "error": "no"}'), True),
        (event("log"), False),
    ],
)
def test_errors_are_failures(made: AgentRunEvent, failed: bool) -> None:
    assert row_of(made).failed is failed
