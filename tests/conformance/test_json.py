"""JSON fields store text verbatim and any other value as JSON, and return the text."""

from __future__ import annotations

import json
from collections import UserDict, deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from types import MappingProxyType
from typing import Any
from unittest.mock import MagicMock
from uuid import UUID

import numpy as np
import pytest

from curio_persistence import (
    AgentLLMUsage,
    AgentRun,
    AgentRunEvent,
    Persistence,
)
from tests.support.records import MODELS, Record, read_back, write

JSON_FIELDS = [
    (AgentRun, "additional_context"),
    (AgentRun, "execution_history"),
    (AgentRun, "metadata"),
    (AgentRunEvent, "data"),
    (AgentLLMUsage, "input_params"),
    (AgentLLMUsage, "usage_metrics"),
]


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


@dataclass
class Point:
    x: int
    tags: tuple[str, ...]


class Odd:
    def __str__(self) -> str:
        return "odd"


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("says nothing")


class Own(dict[str, Any]):
    pass


def text_of(persistence: Persistence, value: Any) -> str | None:
    """Return the text that is stored for a value."""
    event = AgentRunEvent("agent", "run", data=value)
    persistence.log_agent_run_event(event)
    text: str | None = read_back(persistence, event).data  # type: ignore[union-attr]
    return text


def test_every_json_field_takes_a_value_and_returns_its_text(persistence: Persistence) -> None:
    value = {"z": [1, 2.5, None, True], "a": {"é": "\ud800\0"}}
    for number, (model, field) in enumerate(JSON_FIELDS):
        record: Record = model("agent", str(number), **{field: value})
        write(persistence, record)
        text = getattr(read_back(persistence, record), field)
        assert text == '{"z": [1, 2.5, null, true], "a": {"é": "\ud800\\u0000"}}'
        assert json.loads(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "no JSON at all",
        '{"unfinished": ',
        "{}",
        ' { "a" :1,"a": 2 }\n',
        '{"big": 123456789012345678901234567890, "exact": 1.10}',
        "NaN",
        "null",
        '""',
        "",
        '"\\u0000\\ud800"',
    ],
)
def test_text_is_stored_verbatim_whether_or_not_it_is_json(
    persistence: Persistence, text: str
) -> None:
    for number, (model, field) in enumerate(JSON_FIELDS):
        record: Record = model("agent", str(number), **{field: text})
        write(persistence, record)
        assert getattr(read_back(persistence, record), field) == text


def test_an_absent_value_is_none_not_null(persistence: Persistence) -> None:
    assert text_of(persistence, None) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}"),
        ([], "[]"),
        (0, "0"),
        (False, "false"),
        (1e300, "1e+300"),
        (10**400, "1" + "0" * 400),
        (float("nan"), '"nan"'),
        ([float("inf"), float("-inf"), 1.5], '["inf", "-inf", 1.5]'),
        ({1: 1, 2.5: 2, None: 3, False: 4}, '{"1": 1, "2.5": 2, "null": 3, "false": 4}'),
        ({(1, 2): 1, Odd(): 2}, '{"(1, 2)": 1, "odd": 2}'),
        ({float("nan"): 1}, '{"nan": 1}'),
        ({date(2026, 11, 20): 1}, '{"2026-11-20": 1}'),
        ((1, (2, 3)), "[1, [2, 3]]"),
        ({"b", "a"}, '["a", "b"]'),
        (frozenset([2, 1]), "[1, 2]"),
        (datetime(2026, 11, 20, 12, tzinfo=UTC), '"2026-11-20T12:00:00+00:00"'),
        ([date(2026, 11, 20), time(12)], '["2026-11-20", "12:00:00"]'),
        (Decimal("1.10"), '"1.10"'),
        (Fraction(1, 4), "0.25"),
        (UUID(int=0), '"00000000-0000-0000-0000-000000000000"'),
        ([Colour.RED, Level.HIGH], '["red", 3]'),
        ({"point": Point(1, ("a", "b"))}, '{"point": {"x": 1, "tags": ["a", "b"]}}'),
        ([b"bytes", Odd(), 1j], '["bytes", "odd", "1j"]'),
        ([b'{"a": 1}', b"\xff\x00"], '["{\\"a\\": 1}", "/wA="]'),
        (ValueError("no"), '"no"'),
        (Own(a=Own()), '{"a": {}}'),
        ([np.int64(3), np.float32(0.5), np.float64("nan")], '[3, 0.5, "nan"]'),
        ({np.int64(3): np.bool_(True)}, '{"3": true}'),
        (np.str_("text"), "text"),
        ({"🙂": "\ud800"}, '{"🙂": "\ud800"}'),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else "",
)
def test_a_value_without_a_json_form_becomes_the_nearest_one(
    persistence: Persistence, value: Any, text: str
) -> None:
    assert text_of(persistence, value) == text


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def test_deep_nesting_is_stored_as_deep_as_python_allows(persistence: Persistence) -> None:
    assert text_of(persistence, deep(300)) == "[" * 301 + "]" * 301


def itself() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["me"] = [value]
    return value


UNSPEAKABLE = {
    "a cycle": (itself(), {"me": ["<recursion>"]}),
    "no text": ({"a": Mute(), "b": 1}, {"a": "<RuntimeError in Mute>", "b": 1}),
    "no text for a key": ({Mute(): 1}, {"<RuntimeError in Mute>": 1}),
    "an integer of too many digits": ([1 << 40_000], [hex(1 << 40_000)]),
    "a fraction of too many digits": (Fraction(10**400, 3), f"{10**400}/3"),
    "keys that are one in JSON": ({1: "a", "1": "b"}, {"1 (int)": "a", "1": "b"}),
    "members of an Enum as keys": ({Colour.RED: 1, Level.HIGH: 2}, {"red": 1, "3": 2}),
}


@pytest.mark.parametrize(("value", "kept"), UNSPEAKABLE.values(), ids=UNSPEAKABLE.keys())
def test_an_odd_value_affects_only_itself(persistence: Persistence, value: Any, kept: Any) -> None:
    for number, (model, field) in enumerate(JSON_FIELDS):
        record: Record = model("agent", str(number), **{field: value})
        write(persistence, record)
        assert json.loads(getattr(read_back(persistence, record), field)) == kept


@pytest.mark.parametrize(
    "value", [deep(100_000), [float("nan"), deep(100_000)]], ids=["a list", "NaN beside it"]
)
def test_nesting_beyond_pythons_limit_is_stored_to_some_depth(
    persistence: Persistence, value: Any
) -> None:
    text = text_of(persistence, value)
    assert text is not None
    assert "<nested too deeply>" in text
    json.loads(text)


def test_a_mock_is_stored_as_text_although_it_has_every_method(persistence: Persistence) -> None:
    text = text_of(persistence, {"client": MagicMock(), "q": "it"})
    assert text is not None
    assert json.loads(text)["client"].startswith("<MagicMock id=")


@pytest.mark.parametrize("model", MODELS)
def test_a_returned_text_can_be_stored_again(persistence: Persistence, model: type[Record]) -> None:
    fields: dict[str, Any] = {
        field: {"a": [1, "\0"]} for owner, field in JSON_FIELDS if owner is model
    }
    first = model("agent", "first", **fields)
    write(persistence, first)
    second = read_back(persistence, first)
    second.run_id = "second"
    write(persistence, second)
    for field in fields:
        assert getattr(read_back(persistence, second), field) == '{"a": [1, "\\u0000"]}'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros(3), "[0.0, 0.0, 0.0]"),
        (deque([1, 2]), "[1, 2]"),
        (UserDict(a=1), '{"a": 1}'),
        (MappingProxyType({"a": {1}}), '{"a": [1]}'),
    ],
    ids=lambda value: type(value).__name__,
)
def test_containers_are_stored_with_all_their_values(
    persistence: Persistence, value: object, text: str
) -> None:
    persistence.log_agent_run_event(AgentRunEvent("agent", "run", data=value))
    [event] = persistence.get_agent_run_events("run")
    assert event.data == text
