"""Objects of other packages are stored as JSON with their structure, without importing them."""

from __future__ import annotations

import json
from datetime import date
from typing import Any, NamedTuple

import attrs
import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel

from curio_persistence import Persistence


def text_of(persistence: Persistence, value: Any) -> str:
    """Return the text that is stored for a value."""
    persistence.append_event("run", "agent", "t", payload=value)
    [event] = persistence.get_agent_run_events("run")
    return str(event.data)


class Model(BaseModel):
    role: str
    when: date
    parts: list[Any] = []


@attrs.define
class Attrs:
    x: int


class Pair(NamedTuple):
    left: int
    right: Any


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (
            [Model(role="user", when=date(2026, 1, 2))],
            [{"role": "user", "when": "2026-01-02", "parts": []}],
        ),
        (
            Model(role="user", when=date(2026, 1, 2), parts=[np.float32(1)]),
            {"role": "user", "when": "2026-01-02", "parts": [1.0]},
        ),
        ({"a": Attrs(1)}, {"a": {"x": 1}}),
        (Pair(1, Pair(2, ())), {"left": 1, "right": {"left": 2, "right": []}}),
        ({"a": 1}.keys(), ["a"]),
        ({"a": 1}.values(), [1]),
        ({"a": 1}.items(), [["a", 1]]),
        (pd.DataFrame({"a": [1, 2]}), [{"a": 1}, {"a": 2}]),
        (pd.Series([1, 2]), {"0": 1, "1": 2}),
        ([pd.NA, pd.NaT], ["<NA>", "NaT"]),
        (range(2), [0, 1]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_objects_of_other_packages_keep_their_structure(
    persistence: Persistence, value: Any, kept: Any
) -> None:
    assert json.loads(text_of(persistence, {"it": value})) == {"it": kept}


def test_storing_an_iterator_does_not_consume_it(persistence: Persistence) -> None:
    values = iter([1, 2])
    assert text_of(persistence, values) == "[1, 2]"
    assert list(values) == [1, 2]


def test_storing_a_generator_does_not_consume_it(persistence: Persistence) -> None:
    chunks = (number for number in [1, 2])
    assert "generator" in text_of(persistence, chunks)
    assert list(chunks) == [1, 2]
