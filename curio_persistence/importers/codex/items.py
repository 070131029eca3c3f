"""The lines of rollouts, in the forms that they had over time."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, NamedTuple

from curio_persistence.errors import InvalidValueError
from curio_persistence.importers.common.json_lines import moment
from curio_persistence.importers.sessions.places import as_text

Payload = dict[str, Any]

_INJECTED = re.compile(
    r"\s*(?:<(?:environment_context|user_instructions|turn_aborted|user_shell_command|skill|"
    r"permissions instructions|INSTRUCTIONS|subagent_notification|collaboration_mode|"
    r"apps_instructions|skills_instructions|plugins_instructions|model_switch)\b|# AGENTS\.md)"
)
_EXIT = re.compile(r"^(?:Exit code:|Process exited with code)\s*(-?\d+)", re.MULTILINE)
_ABORTED = "aborted by user"


class Line(NamedTuple):
    """A line: its kind, and what it tells. Lines have no ids but their numbers."""

    number: int
    kind: str
    payload: Payload
    time: Any
    ordinal: int | None = None

    @property
    def at(self) -> datetime | None:
        try:
            return None if self.time is None else moment(self.time)
        except InvalidValueError:
            return None

    @property
    def hash(self) -> int:
        return hash((self.kind, json.dumps(self.payload, sort_keys=True)))


def line_of(number: int, entry: Payload) -> Line | None:
    """Return what a line tells; None for one with the state of the program."""
    kind, payload = entry.get("type"), entry.get("payload")
    ordinal = entry.get("ordinal")
    if isinstance(kind, str) and isinstance(payload, dict):
        at = ordinal if isinstance(ordinal, int) else None
        return Line(number, kind, payload, entry.get("timestamp"), at)
    if "record_type" in entry:
        return None
    if isinstance(kind, str):  # Before the middle of 2025, items were not wrapped.
        return Line(number, "response_item", entry, entry.get("timestamp"))
    return Line(number, "session_meta" if "id" in entry else "?", entry, entry.get("timestamp"))


def is_user_message(line: Line) -> bool:
    payload = line.payload
    return (
        line.kind == "response_item"
        and payload.get("type") == "message"
        and payload.get("role") == "user"
    )


def is_injected(text: str) -> bool:
    """Return whether the program, not a person, wrote what a user's message says."""
    return _INJECTED.match(text) is not None


def is_prompt(line: Line) -> bool:
    return is_user_message(line) and not is_injected(as_text(line.payload.get("content")))


def arguments_of(payload: Payload) -> Any:
    """Return the arguments of a call, which may be JSON in text."""
    for name in ("arguments", "input", "action"):
        value = payload.get(name)
        if isinstance(value, str):
            try:
                return json.loads(value)
            except (ValueError, RecursionError):
                return value
        if value is not None:
            return value
    return None


def output_of(output: Any) -> tuple[str, str | None]:
    """Return the text of a call's output, and its error."""
    failed = None
    if isinstance(output, str) and output.startswith("{"):
        try:
            parsed = json.loads(output)
        except (ValueError, RecursionError):
            parsed = None
        if isinstance(parsed, dict) and "output" in parsed:
            metadata = parsed.get("metadata")
            code = metadata.get("exit_code") if isinstance(metadata, dict) else None
            text = as_text(parsed["output"])
            return text, f"exit code {code}: {text}" if code else None
    if isinstance(output, dict):
        text = as_text(output.get("content"))
        failed = (text or "error") if output.get("success") is False else None
        return text, failed
    text = as_text(output)
    code_found = _EXIT.search(text[:2000])
    if text.startswith(_ABORTED) or (code_found and int(code_found[1]) != 0):
        failed = text
    return text, failed


def duration_ms(value: Any) -> float | None:
    """Return a duration in milliseconds, told in seconds and nanoseconds."""
    if not isinstance(value, dict):
        return None
    seconds, nanos = value.get("secs"), value.get("nanos")
    if type(seconds) is not int or type(nanos) is not int or seconds < 0 or nanos < 0:
        return None
    return seconds * 1000 + nanos / 1_000_000
