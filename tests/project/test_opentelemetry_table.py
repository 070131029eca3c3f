"""The table of frameworks in docs/opentelemetry.md has what is read from their real telemetry."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from curio_persistence import InMemoryPersistence, Persistence
from tests.support.otlp_corpus import CAPTURES, bodies
from tests.support.otlp_requests import partial, post
from tests.support.served import served

DOCUMENT = Path(__file__).parents[2] / "docs/opentelemetry.md"
_ROW = re.compile(
    r"^\| (?P<framework>[^|]+) \| (?P<how>[^|]+) \| (?P<versions>[^|]+) \| (?P<read>[^|]+) \|$",
    re.M,
)
_SEVERAL = {"two-process-late-parent", "double-langgraph-parallel"}
"""Captures of more than one framework."""


class Row(NamedTuple):
    framework: str
    how: str
    versions: str
    read: str

    @property
    def captures(self) -> list[str]:
        return [
            name
            for name, capture in CAPTURES.items()
            if capture["versions"] == self.versions and name not in _SEVERAL
        ]


ROWS = [
    row
    for row in (Row(*found.groups()) for found in _ROW.finditer(DOCUMENT.read_text("utf-8")))
    if row.captures
]


def read(persistence: Persistence) -> Iterator[str]:
    """Yield what was read, in words."""
    runs = persistence.get_agent_runs(limit=None)
    calls = persistence.get_llm_usage(limit=None)
    found = {
        "agents": runs,
        "sub-agents": [run.parent_run_id for run in runs],
        "calls": calls,
        "tokens": [call.input_tokens for call in calls],
        "cached": [call.cache_read_tokens for call in calls],
        "reasoning": [call.reasoning_tokens for call in calls],
        "tools": [*persistence.iter_agent_run_events(event_type="tool_call")],
        "sessions": [run.session_id for run in runs],
        "texts": [call.prompt and call.response_content for call in calls],
    }
    return (word for word, values in found.items() if any(values))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.versions)
def test_a_row_says_what_is_read(row: Row) -> None:
    with InMemoryPersistence() as persistence, served(persistence) as server:
        for capture in row.captures:
            for signal in ("logs", "traces"):
                for sent in bodies(capture, signal):
                    assert partial(post(server, sent, f"/v1/{signal}")) == (0, "")
        assert row.read == ", ".join(read(persistence))


def test_every_capture_has_a_row() -> None:
    shown = {capture for row in ROWS for capture in row.captures}
    assert shown | _SEVERAL == {*CAPTURES}
