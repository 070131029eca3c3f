"""Sessions that are imported while they grow are in the end as if they had been imported once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import InMemoryPersistence, Persistence, import_sessions
from tests.support.growing_sessions import growing_lines, growing_messages, growing_rows
from tests.support.session_samples import leave_still, reading

_GEMINI = "gemini-cli/tmp/werkstatt/chats/session-2026-08-21T16-20-ea6d87b6.jsonl"
_COPILOT = "copilot-cli/session-state/a4785d5b-bd44-5064-a589-97ec451abefb/events.jsonl"

_GROWING: dict[str, Callable[[Path], Iterator[Path]]] = {
    "gemini-cli": lambda folder: growing_lines(_GEMINI, folder),
    "copilot-cli": lambda folder: growing_lines(_COPILOT, folder),
    "opencode": growing_messages,
    "openai-agents": lambda folder: growing_rows("openai-agents/conversations.db", folder),
}


@pytest.mark.parametrize("source", _GROWING)
def test_a_session_can_be_imported_at_every_step(
    source: str, persistence: Persistence, tmp_path: Path
) -> None:
    path = tmp_path
    running = 0
    for path in _GROWING[source](tmp_path):
        import_sessions(path, persistence, source=source)
        running += any(run.status == "running" for run in persistence.iter_agent_runs())
    assert running, "a turn that goes on is told as running"
    for each in tmp_path.rglob("*"):
        if each.is_file():
            leave_still(each)
    import_sessions(path, persistence, source=source, verify=True)
    with InMemoryPersistence() as once:
        import_sessions(path, once, source=source)
        assert _without_order(reading(persistence, source)) == _without_order(reading(once, source))


def _without_order(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "runs": sorted(found["runs"], key=lambda run: str(run["key"]))}
