"""Parameters of requests: which there are, how each is read, and what OpenAPI says of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from curio_persistence.errors import InvalidValueError

Schema = Mapping[str, Any]

_MOST_ON_A_PAGE = 1_000
_MOST_PARAMETERS = 1_000
_LONGEST_NUMBER = 18
"""Digits that a number in a parameter has at most: every database stores so many."""


class Kind(NamedTuple):
    """A kind of parameter: how its texts are read, and the schema of its value."""

    read: Callable[[str, Sequence[str]], Any]
    schema: Schema
    is_list: bool = False
    is_json: bool = False


def _one(name: str, texts: Sequence[str]) -> str:
    if len(texts) > 1:
        message = f"{name} is one value, and is given {len(texts)} times."
        raise InvalidValueError(message, field=name)
    return texts[0]


def _texts(name: str, texts: Sequence[str]) -> list[str]:
    return list(texts)


def _words(name: str, texts: Sequence[str]) -> list[str]:
    return [word for text in texts for word in text.split(",")]


def _number(name: str, texts: Sequence[str]) -> int:
    text = _one(name, texts)
    if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER):
        raise InvalidValueError(f"{name} is a whole number, not {text[:100]!r}.", field=name)
    return int(text)


def _limit(name: str, texts: Sequence[str]) -> int:
    number = _number(name, texts)
    if not 1 <= number <= _MOST_ON_A_PAGE:
        raise InvalidValueError(f"{name} is from 1 to {_MOST_ON_A_PAGE:,}.", field=name)
    return number


def _real(name: str, texts: Sequence[str]) -> float:
    text = _one(name, texts)
    try:
        return float(text)
    except ValueError:
        raise InvalidValueError(f"{name} is a number, not {text[:100]!r}.", field=name) from None


def _truth(name: str, texts: Sequence[str]) -> bool:
    text = _one(name, texts)
    if text not in ("true", "false"):
        raise InvalidValueError(f"{name} is true or false, not {text[:100]!r}.", field=name)
    return text == "true"


def _object(name: str, texts: Sequence[str]) -> dict[str, Any]:
    text = _one(name, texts)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        example = '{"tool": "search"}'
        message = f"{name} is a JSON object of paths and values, such as {example}."
        raise InvalidValueError(message, field=name)
    return value


TEXT = Kind(_one, {"type": "string"})
TEXTS = Kind(_texts, {"type": "array", "items": {"type": "string"}}, is_list=True)
WORDS = Kind(_words, {"type": "array", "items": {"type": "string"}}, is_list=True)
MOMENT = Kind(_one, {"type": "string", "examples": ["2026-05-01T00:00:00Z", "2h", "7d"]})
NUMBER = Kind(_number, {"type": "integer", "minimum": 0})
LIMIT = Kind(_limit, {"type": "integer", "minimum": 1, "maximum": _MOST_ON_A_PAGE})
REAL = Kind(_real, {"type": "number"})
TRUTH = Kind(_truth, {"type": "boolean"})
OBJECT = Kind(_object, {"type": "object"}, is_json=True)

_OF_WORDS = frozenset(
    ("status", "level", "event_type", "model", "provider", "action", "resource_type", "kinds")
)
"""Filters whose values are words: several may stand with commas between them."""

_ABOUT = {
    "agent_id": "Only records of this agent.",
    "run_id": "Only records of this run.",
    "session_id": "Only records of this session.",
    "user_id": "Only records for this user.",
    "source": "Only records of runs of one of these tools, as their metadata tells.",
    "project": "Only records of runs in one of these projects, as their metadata tells.",
    "parent_run_id": "Only runs that this run began.",
    "status": "Only records with one of these statuses.",
    "tags": "Only records with all of these tags.",
    "any_tags": "Only records with one of these tags.",
    "metadata": "Only records whose metadata has these values: a JSON object of paths and values.",
    "payload": "Only events whose payload has these values: a JSON object of paths and values.",
    "event_type": "Only events of one of these types.",
    "level": "Only events of one of these levels.",
    "min_level": "Only events that are at least so severe.",
    "seq": "Only events at this position of a run log.",
    "model": "Only records of one of these models.",
    "provider": "Only model calls to one of these providers.",
    "name": "Only agents with one of these names.",
    "kinds": "Only items of these kinds: `run`, `event`, `usage` or `span`.",
    "min_duration_ms": "Only traces that took at least so long.",
    "max_duration_ms": "Only traces that took at most so long.",
    "action": "Only lines with one of these actions.",
    "resource": "Only lines about this resource.",
    "resource_type": "Only lines about resources of these types.",
    "actor_id": "Only lines of this actor.",
    "actor_type": "Only lines of actors of this type.",
    "rule_id": "Only alerts of this rule.",
    "alert_id": "Only the alert with this id.",
    "state": "Only alerts in this state: `firing`, `failing` or `resolved`.",
    "since": "From this time on: ISO 8601, or how long ago, such as `2h` or `7d`.",
    "until": "Before this time: ISO 8601, or how long ago.",
}


@dataclass(frozen=True)
class Parameter:
    """A parameter of a query string."""

    name: str
    kind: Kind
    about: str
    required: bool = False
    default: Any = None
    choices: tuple[str, ...] = ()

    def read(self, texts: Sequence[str]) -> Any:
        """Return the value that a request gives; raise InvalidValueError for a wrong one."""
        value = self.kind.read(self.name, texts)
        wrong = [each for each in _each(value) if self.choices and each not in self.choices]
        if wrong:
            told = ", ".join(self.choices)
            message = f"{self.name} is one of {told}, not {wrong[0][:100]!r}."
            raise InvalidValueError(message, field=self.name)
        return value

    def described(self) -> dict[str, Any]:
        """Return the parameter as OpenAPI has it."""
        told = {"name": self.name, "in": "query", "description": self.about}
        if self.kind.is_json:
            return {**told, "content": {"application/json": {"schema": self._schema()}}}
        form = {"style": "form", "explode": True} if self.kind.is_list else {}
        required = {"required": True} if self.required else {}
        return {**told, **required, **form, "schema": self._schema()}

    def _schema(self) -> dict[str, Any]:
        schema = dict(self.kind.schema)
        if self.choices and self.kind.is_list:
            schema["items"] = {"type": "string", "enum": [*self.choices]}
        elif self.choices:
            schema["enum"] = [*self.choices]
        return schema if self.default is None else {**schema, "default": self.default}


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


ORDER = Parameter(
    "order", TEXT, "Which records come first.", default="newest", choices=("newest", "oldest")
)
CURSOR = Parameter("cursor", TEXT, "The `next_cursor` of the page before.")


def limit(default: int) -> Parameter:
    """Return the parameter of a page's length."""
    return Parameter("limit", LIMIT, "The most records of a page.", default=default)


PAGES = (ORDER, limit(100), CURSOR)


def of_filters(filters: type) -> tuple[Parameter, ...]:
    """Return a parameter for each filter of a TypedDict of the façade."""
    types = filters.__annotations__
    return tuple(Parameter(name, _kind_of(name, str(types[name])), _ABOUT[name]) for name in types)


def _kind_of(name: str, annotation: str) -> Kind:
    """Return how values of an annotation such as `str | Collection[str] | None` are read."""
    if "Collection" in annotation:
        return WORDS if name in _OF_WORDS else TEXTS
    for part, kind in _KINDS.items():
        if part in annotation:
            return kind
    return TEXT


_KINDS = {
    "PayloadFilter": OBJECT,
    "TimeLike": MOMENT,
    "bool": TRUTH,
    "int": NUMBER,
    "float": REAL,
}


def read_all(parameters: Sequence[Parameter], query: str) -> dict[str, Any]:
    """Return the arguments that a query string gives by name, and the defaults of others.

    Raise InvalidValueError for an unknown, repeated, wrong or missing parameter.
    """
    given = _given(query)
    known = {each.name: each for each in parameters}
    for name in given.keys() - known.keys():
        told = ", ".join(known) or "none"
        message = f"{name[:100]!r} is not a parameter here. The parameters are: {told}."
        raise InvalidValueError(message, field=name)
    for each in parameters:
        if each.required and each.name not in given:
            raise InvalidValueError(f"{each.name} is needed: {each.about}", field=each.name)
    defaults = {each.name: each.default for each in parameters if each.default is not None}
    return defaults | {name: known[name].read(texts) for name, texts in given.items()}


def _given(query: str) -> dict[str, list[str]]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        raise InvalidValueError(f"A query has at most {_MOST_PARAMETERS:,} parameters.") from None
    given: dict[str, list[str]] = {}
    for name, text in pairs:
        given.setdefault(name, []).append(text)
    return given
