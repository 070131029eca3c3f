"""SQLite compares payloads as text before Python parses the few that are left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curio_persistence import AgentRunEvent, SQLitePersistence
from curio_persistence.backends.sqlite import payloads
from curio_persistence.store.payload_match import contains

STORED = [
    {"step": step, "seconds": 2.2, "final": step == 15, "note": f"step {step}", "links": ["/2", 20]}
    for step in range(100)
]


@pytest.mark.parametrize(
    ("payload", "parsed"),
    [
        ({"step": 15}, {15}),
        ({"step": 1}, {1, 10}),
        ({"step": 0}, {0}),
        ({"step": 7.5}, {75}),
        ({"final": True}, {15}),
        ({"final": None}, set()),
        ({"note": "step 15"}, {15}),
        ({"absent": 1}, set()),
    ],
    ids=repr,
)
def test_payloads_with_other_values_are_not_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, payload: dict[str, Any], parsed: set[int]
) -> None:
    asked = []

    def noted(stored: str, pattern: str) -> bool:
        asked.append(stored)
        return contains(stored, pattern)

    monkeypatch.setattr(payloads, "contains", noted)
    with SQLitePersistence(tmp_path / "agents.db") as persistence:
        persistence.log_agent_run_events(
            AgentRunEvent("agent", "run", data=stored) for stored in STORED
        )
        events = persistence.query_events(payload={})
        assert len(events) == 100
        persistence.count_events(payload=payload)
        step_of = {event.data: event.get_data_dict()["step"] for event in events}
    assert {step_of[stored] for stored in asked} == parsed
