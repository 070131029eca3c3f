"""The table of sources: the module of each is imported when it is first needed."""

from __future__ import annotations

from importlib import import_module

from curio_persistence.errors import InvalidValueError
from curio_persistence.importers.sessions.records import SessionSource

SOURCES = {
    "claude-code": "claude_code",
    "codex": "codex",
    "gemini-cli": "gemini_cli",
    "opencode": "opencode",
    "copilot-cli": "copilot_cli",
    "llm": "llm",
    "openai-agents": "openai_agents",
    "langgraph": "langgraph",
    "langfuse": "langfuse",
    "langsmith": "langsmith",
    "phoenix": "phoenix",
    "mlflow": "mlflow",
    "atif": "atif",
}
"""The packages that read the sources, by the names of the sources."""


def source_named(name: str) -> SessionSource:
    """Return a source."""
    if name not in SOURCES:
        known = ", ".join(SOURCES)
        raise InvalidValueError(f"{name!r} is no source of sessions: {known}.", field="source")
    module = import_module(f"curio_persistence.importers.{SOURCES[name]}")
    source: SessionSource = module.SOURCE
    return source
