"""Short ways to make entries of a run log."""

from __future__ import annotations

from typing import Any, TypeVar

from curio_persistence.runlog.entries import (
    AssistantStepCommitted,
    RunLogEntry,
    ToolStepCommitted,
    UserStepCommitted,
)
from curio_persistence.runlog.values import MessageRole

E = TypeVar("E", bound=RunLogEntry)


def made(kind: type[E], /, run_id: str = "run", agent_id: str = "planner", **fields: Any) -> E:
    """Return an entry of a run."""
    return kind(run_id=run_id, agent_id=agent_id, **fields)


def user(step_id: str, content: Any = "?", **fields: Any) -> UserStepCommitted:
    """Return a step in which the user says something."""
    return made(
        UserStepCommitted, step_id=step_id, role=MessageRole.USER, content=content, **fields
    )


def assistant(step_id: str, content: Any = "!", **fields: Any) -> AssistantStepCommitted:
    """Return a step in which the model answers."""
    return made(
        AssistantStepCommitted,
        step_id=step_id,
        role=MessageRole.ASSISTANT,
        content=content,
        **fields,
    )


def tool(step_id: str, content: Any = "=", **fields: Any) -> ToolStepCommitted:
    """Return a step in which a tool has ended."""
    fields = {"tool_call_id": f"call of {step_id}", "name": "search", **fields}
    return made(
        ToolStepCommitted, step_id=step_id, role=MessageRole.TOOL, content=content, **fields
    )
