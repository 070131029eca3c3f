"""However the entries of sessions are broken, their import ends, and tells what it left out."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from curio_persistence import InMemoryPersistence, import_sessions
from tests.support.session_samples import FOLDER, copied

_STRANGE: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 10**30, float("nan")),
    *("", "x", "\x00", "\ud800", "2026-13-45", "[Request interrupted by user", "a" * 300),
    *([], [[]], {}, {"a": 1}, [1, "a", None, {"type": "text"}], {"type": "text", "text": 5}),
)


def broken(value: Any, dice: Random, share: float) -> Any:
    """Return a value in which some parts are replaced, and some are missing."""
    if dice.random() < share:
        return dice.choice(_STRANGE)
    if isinstance(value, dict):
        return {k: broken(v, dice, share) for k, v in value.items() if dice.random() > share / 2}
    if isinstance(value, list):
        return [broken(each, dice, share) for each in value]
    return value


@pytest.mark.parametrize("source", ["claude-code", "codex"])
@pytest.mark.parametrize("seed", range(12))
def test_broken_entries_end_no_import(source: str, seed: int, tmp_path: Path) -> None:
    dice = Random(seed)
    folder = copied(FOLDER / source, tmp_path / source)
    for path in folder.rglob("*.jsonl"):
        lines = path.read_text(encoding="utf-8").splitlines()
        changed = [_changed(line, dice) for line in lines if len(line) < 20_000]
        path.write_text("\n".join(changed) + "\n", encoding="utf-8")
    with InMemoryPersistence() as persistence:
        report = import_sessions(folder, persistence, source=source)
        assert report.runs
        assert report.sources[0].calls == report.usage


def _changed(line: str, dice: Random) -> str:
    try:
        entry = json.loads(line)
    except ValueError:
        return line  # The one that is cut off.
    return json.dumps(broken(entry, dice, 0.02))
