"""The transcripts of agents: whose they are, and what is told beside them."""

from __future__ import annotations

import json
from pathlib import Path

from curio_persistence.importers.claude_code.entries import Entry

_MOST_META = 1 << 16


def agent_of(path: Path) -> str:
    """Return the id of the agent of a transcript."""
    return path.stem.removeprefix("agent-")


def type_of(agent: str, meta: Entry) -> str:
    """Return the type of an agent: as it is told, or the word at the beginning of its id."""
    told = meta.get("agentType")
    if isinstance(told, str) and told:
        return told
    kind, dash, _ = agent.partition("-")
    return kind.removeprefix("a") if dash else "agent"


def told_beside(path: Path) -> Entry:
    """Return what is told beside an agent's transcript."""
    beside = path.with_suffix(".meta.json")
    try:
        if beside.is_symlink():
            return {}
        with beside.open("rb") as file:
            found = json.loads(file.read(_MOST_META))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
