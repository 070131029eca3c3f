"""The facts by which runs are compared: the fields of records without ids and times."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from curio_persistence.models import AgentLLMUsage, AgentRun, AgentRunEvent, Score
from curio_persistence.views.values import is_number, parsed

Facts = dict[str, Any]
"""By name; JSON objects and lists are parsed, and what is None is left out."""

_IDS = frozenset(
    {
        "id", "run_id", "event_id", "session_id", "user_id", "parent_run_id",
        "trace_id", "span_id", "parent_span_id",
    }
)  # fmt: skip
_LINKS = frozenset({"chain_position", "content_hash", "prev_hash", "hash", "seq"})
_TIMES = frozenset(
    {"created_at", "updated_at", "started_at", "finished_at", "timestamp", "latency_ms"}
)
IDS_AND_TIMES = _IDS | _TIMES | _LINKS
_OF_THE_AGENT = ("agent_id", "agent_name")
_LENGTHS = {"prompt_length": "prompt", "response_length": "response_content"}

_IDS_IN_PAYLOADS = frozenset({"task_id", "target_run_id"})
_TIMES_IN_PAYLOADS = frozenset({"latency_ms", "duration_ms", "first_token_ms"})


def facts_of_run(run: AgentRun, scores: Iterable[Score]) -> Facts:
    """Return what a run itself says, and its scores by name."""
    return _facts(run) | ({"scores": by_name} if (by_name := _by_name(scores)) else {})


def facts_of_event(event: AgentRunEvent, run: AgentRun) -> Facts:
    """Return what an event says.

    A member of its payload stands beside the event's own fields, or in `data` if one of these has
    its name. The agent is a fact only if it is another than the run's.
    """
    facts = _facts(event, run)
    payload = facts.pop("data", None)
    if not isinstance(payload, dict) or not payload:
        return facts if payload is None else {**facts, "data": payload}
    said = {name: value for name, value in payload.items() if not _is_of_one_run(name, value)}
    covered = {name: value for name, value in said.items() if name in _FIELDS_OF_EVENTS}
    beside = {name: value for name, value in said.items() if name not in covered}
    return {**facts, **beside, **({"data": covered} if covered else {})}


def facts_of_call(call: AgentLLMUsage, run: AgentRun) -> Facts:
    """Return what a model call says; lengths of texts only where they are not those of the text."""
    facts = _facts(call, run)
    for length, text in _LENGTHS.items():
        if facts.get(length) == len(getattr(call, text) or ""):
            del facts[length]
    if isinstance(metrics := facts.get("usage_metrics"), dict):
        said = {name: value for name, value in metrics.items() if not _is_of_one_run(name, value)}
        facts["usage_metrics"] = said
    return facts


_FIELDS_OF_EVENTS = frozenset(field.name for field in fields(AgentRunEvent))


def _facts(record: Any, run: AgentRun | None = None) -> Facts:
    facts = {
        field.name: _structure(value)
        for field in fields(record)
        if field.name not in IDS_AND_TIMES and (value := getattr(record, field.name)) is not None
    }
    if run is not None:
        for name in _OF_THE_AGENT:
            if facts.get(name) == getattr(run, name):
                del facts[name]
    return facts


def _structure(value: Any) -> Any:
    """Return an object or list parsed, and any other text as it is: 1.0 and 1 are not the same."""
    found = parsed(value)
    return found if isinstance(found, dict | list) else value


def _is_of_one_run(name: str, value: Any) -> bool:
    """Return True for an id, or for a time that was measured."""
    return name in _IDS_IN_PAYLOADS or (name in _TIMES_IN_PAYLOADS and is_number(value))


def _by_name(scores: Iterable[Score]) -> Mapping[str, list[Facts]]:
    by_name: dict[str, list[Facts]] = {}
    for score in scores:
        facts = _facts(score)
        by_name.setdefault(facts.pop("name"), []).append(facts)
    return {name: sorted(found, key=json.dumps) for name, found in sorted(by_name.items())}
