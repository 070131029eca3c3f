"""Bodies of requests: JSON of at most so many bytes, and the records that it describes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from curio_persistence.capabilities.alerts.rules import AlertSettings
from curio_persistence.errors import InvalidValueError
from curio_persistence.models import AgentRun, AgentRunEvent, Record
from curio_persistence.tables.alert_sinks import AlertSink

R = TypeVar("R", bound=Record)

MEGABYTE = 1 << 20
_EVENTS_MOST = 10 * MEGABYTE
_SINKS = {"kind", "name", "url"}
"""The fields of a sink in a request. Programs and variables are set where the server runs."""
_SINK_KINDS = ("log", "webhook", "slack")


@dataclass(frozen=True)
class Body:
    """The body of an operation: how its JSON is read, its schema, and its greatest size."""

    read: Callable[[Any], Any]
    schema: Mapping[str, Any]
    most: int = MEGABYTE

    def parsed(self, content: bytes) -> Any:
        """Return what the body describes; raise InvalidValueError for what it cannot."""
        try:
            value = json.loads(content, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise InvalidValueError(f"The body is not JSON: {error}.", field="body") from None
        return self.read(value)


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


def _run(value: Any) -> AgentRun:
    return _record(AgentRun, _object(value))


def _events(value: Any) -> list[AgentRunEvent]:
    if not isinstance(value, list):
        raise InvalidValueError("The body is a list of events.", field="body")
    return [_event(place, each) for place, each in enumerate(value)]


def _event(place: int, value: Any) -> AgentRunEvent:
    try:
        return _record(AgentRunEvent, _object(value))
    except InvalidValueError as error:
        raise InvalidValueError(f"Event {place}: {error}", field=error.field) from error


def _record(model: type[R], values: dict[str, Any]) -> R:
    """Return a record without what the database assigns."""
    return model.from_dict({name: v for name, v in values.items() if name not in _ASSIGNED})


_ASSIGNED = frozenset(
    ("id", "created_at", "updated_at", "chain_position", "content_hash", "prev_hash", "hash", "seq")
)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidValueError(
            f"An object is needed, not {json.dumps(value)[:100]}.", field="body"
        )
    return value


def _settings(value: Any) -> dict[str, Any]:
    """Return the settings of a rule by name, its sinks built."""
    settings = dict(_object(value))
    for name in settings.keys() - {"rule_id", *AlertSettings.__annotations__}:
        raise InvalidValueError(f"A rule has no {name[:100]!r}.", field=name)
    if "sinks" in settings:
        settings["sinks"] = [_sink(each) for each in _list(settings["sinks"])]
    return settings


def _key(value: Any) -> dict[str, Any]:
    """Return the arguments of a new key by name."""
    given = _object(value)
    for name in given.keys() - {"name", "role", "expires"}:
        raise InvalidValueError(f"A new key has no {name[:100]!r}.", field=name)
    if "name" not in given:
        raise InvalidValueError("A key needs a name.", field="name")
    return given


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidValueError("sinks is a list of objects.", field="sinks")
    return value


def _sink(value: Any) -> AlertSink:
    given = _object(value)
    if given.keys() - _SINKS or given.get("kind") not in _SINK_KINDS:
        raise InvalidValueError(
            f"A sink has a kind, which is {', '.join(_SINK_KINDS)}, a name and a url. Others are "
            "set where the server runs: curio-persistence alerts.",
            field="sinks",
        )
    return AlertSink(**given)


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


RUN = Body(_run, _reference("AgentRun"))
EVENTS = Body(_events, {"type": "array", "items": _reference("AgentRunEvent")}, _EVENTS_MOST)
NEW_KEY = Body(_key, _reference("KeySettings"))
ALERT_RULE = Body(_settings, _reference("AlertSettings"))
