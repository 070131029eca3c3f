"""JSON schemas of what the API answers, from the fields of records."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any, get_args

from curio_persistence.capabilities.alerts.rules import AlertSettings
from curio_persistence.capabilities.search.hits import HitKind
from curio_persistence.console.api.operation import Answer
from curio_persistence.models import AgentRun, AgentRunEvent
from curio_persistence.store.base import HealthLevel
from curio_persistence.tables.keys import ApiKey, Role

Schema = dict[str, Any]

_COST = {"type": "string", "description": "US dollars as decimal text."}
_SENT: tuple[type, ...] = (AgentRun, AgentRunEvent)
_HIDDEN: Mapping[type, tuple[str, ...]] = {ApiKey: ("secret_hash", "id")}
_NULL = re.compile(r"\s*\|\s*None\b")
_TYPES: Mapping[str, Schema] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "datetime": {"type": "string", "format": "date-time"},
    "Decimal": _COST,
    "RecordRef": {"type": "string", "examples": ["event:7"]},
    "list[str]": {"type": "array", "items": {"type": "string"}},
    "timedelta | str": {"type": "string", "examples": ["15m"]},
    "str | Collection[str]": {"type": "array", "items": {"type": "string"}},
    "Sequence[AlertSink]": {"type": "array", "items": {"$ref": "#/components/schemas/AlertSink"}},
    "tuple[AlertSink, ...]": {"type": "array", "items": {"$ref": "#/components/schemas/AlertSink"}},
    "HitKind": {"type": "string", "enum": [*get_args(HitKind)]},
    "HealthLevel": {"type": "string", "enum": [*get_args(HealthLevel)]},
    "Role": {"type": "string", "enum": [*get_args(Role)]},
}
_TEXT, _COUNT, _OBJECT = {"type": "string"}, {"type": "integer"}, {"type": "object"}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": [*properties]}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def schema_of(model: type) -> Schema:
    """Return the schema of a dataclass or a named tuple, by its annotations.

    Answers have all fields. What requests also send needs those that have no default.
    """
    hidden = _HIDDEN.get(model, ())
    annotations = _annotations(model).items()
    properties = {name: _of_annotation(kind) for name, kind in annotations if name not in hidden}
    return {
        "type": "object",
        "properties": properties,
        "required": _without_default(model) if model in _SENT else [*properties],
    }


def _without_default(model: Any) -> list[str]:
    return [each.name for each in fields(model) if each.default is MISSING]


def _annotations(model: type) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        own = vars(each).get("__annotations__", {})
        found |= {name: _text(kind) for name, kind in own.items()}
    return found


def _text(annotation: Any) -> str:
    """Return an annotation as it was written; named tuples keep it in an object."""
    return annotation if isinstance(annotation, str) else str(annotation.__forward_arg__)


def _of_annotation(annotation: str) -> Schema:
    known = _TYPES.get(_NULL.sub("", annotation))
    if known is None:
        return {}
    return _or_null(known) if _NULL.search(annotation) else dict(known)


NAMED: Mapping[str, Schema] = {
    "Problem": _object(type=_TEXT, title=_TEXT, status=_COUNT, detail=_TEXT)
    | {"description": "Why a request was refused, as RFC 9457 has it; `field` names its cause."},
    "Ingested": _object(received=_COUNT, stored=_COUNT),
    "MetricName": _object(name=_TEXT, values=_COUNT),
    "Stats": {"type": "object", "description": "The numbers of `get_agent_run_stats`."},
    "Comparison": _object(
        same={"type": "boolean"},
        first=_OBJECT,
        second=_OBJECT,
        differences={"type": "array", "items": _OBJECT},
        steps={"type": "array", "items": _OBJECT},
    ),
    "Trace": {"type": "object", "description": "A TraceSummary, and its `spans`."},
    "NewApiKey": _object(key={"$ref": "#/components/schemas/ApiKey"}, secret=_TEXT),
    "AlertSink": {
        "type": "object",
        "properties": {"kind": _TEXT, "name": _TEXT, "url": _TEXT},
        "required": ["kind"],
    },
    "KeySettings": {
        "type": "object",
        "properties": {
            "name": _TEXT,
            "role": {"type": "string", "enum": [*get_args(Role)], "default": "read"},
            "expires": {"type": "string", "examples": ["90d"]},
        },
        "required": ["name"],
        "additionalProperties": False,
    },
    "AlertSettings": {
        "type": "object",
        "description": "The settings of `alerts.create`. A new rule needs `rule_id`, `condition` "
        "and, unless it is about silence, `threshold`.",
        "properties": {
            "rule_id": _TEXT,
            **{n: _of_annotation(_text(kind)) for n, kind in AlertSettings.__annotations__.items()},
        },
        "additionalProperties": False,
    },
}
"""Schemas of what is no record."""


def reference(model: type | str) -> Schema:
    """Return a reference to the schema of a model."""
    name = model if isinstance(model, str) else model.__name__
    return {"$ref": f"#/components/schemas/{name}"}


def content_of(answer: Answer) -> dict[str, Any]:
    """Return what OpenAPI says of the content of an answer."""
    if answer.kind == "nothing":
        return {}
    if answer.kind in ("lines", "stream"):
        kind = "application/x-ndjson" if answer.kind == "lines" else "text/event-stream"
        return {"content": {kind: {"schema": _TEXT}}}
    return {"content": {"application/json": {"schema": _schema_of_answer(answer)}}}


def _schema_of_answer(answer: Answer) -> Schema:
    assert answer.model is not None
    one = reference(answer.model)
    if answer.kind in ("page", "items"):
        items = {"type": "array", "items": one}
        return _object(items=items, next_cursor=_or_null(_TEXT))
    return one


def components(models: Iterable[type | str]) -> dict[str, Schema]:
    """Return the schemas of models by name, and those of what is no record."""
    records = {model.__name__: schema_of(model) for model in models if isinstance(model, type)}
    return {**records, **{name: dict(schema) for name, schema in NAMED.items()}}
