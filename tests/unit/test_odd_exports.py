"""Exports with odd values in any place are read as far as they go, and never raise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from curio_persistence import connect, import_sessions
from tests.support.session_samples import FOLDER

FILES = (
    *("langfuse/trace.json", "langsmith/runs.jsonl", "phoenix/spans.json", "mlflow/traces.jsonl"),
    *("mlflow/traces-2.json", "atif/trajectory-v1.8.json"),
)
ODD = (
    *(None, True, 0, -1, 1.5, 10**30, float("nan"), 1e308, "", "x", "2026-13-40", "\ud800", "\0"),
    *([], {}, [1], ["a", {}], {"a": {"b": [1]}}, '{"a":', "9" * 400, [[]], [None]),
)


@pytest.mark.parametrize("name", FILES)
def test_odd_values_are_problems_of_their_own(name: str, tmp_path: Path) -> None:
    random = Random(name)
    path = tmp_path / Path(name).name
    text = (FOLDER / name).read_text()
    rows = list(map(json.loads, text.splitlines())) if path.suffix == ".jsonl" else json.loads(text)
    for _ in range(40):
        odd = json.loads(json.dumps(rows))
        for _ in range(random.choice((1, 1, 2, 4))):
            change(odd, random)
        lines = odd if path.suffix == ".jsonl" else [odd]
        path.write_text("\n".join(map(json.dumps, lines)))
        with closing(connect("memory://")) as persistence:
            import_sessions([path], persistence, source=name.partition("/")[0])


def change(value: Any, random: Random) -> None:
    """Remove a value somewhere within, or put an odd one in its place."""
    holder, key = random.choice([*places(value)])
    if random.random() < 0.25:
        del holder[key]
    else:
        holder[key] = json.loads(json.dumps(random.choice(ODD)))


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = value if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])
