"""Values of any type in any place cost no more than what they stand in."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import InMemoryPersistence, import_sessions
from tests.support.session_samples import FOLDER

_ODD = (
    *(None, True, 0, -1, 10**30, 1e300, float("nan"), "", "x", "\ud800", "2026-01-01T00:00:00"),
    *([], {}, [[]], ["a"], {"a": 1}),
)
_FILES = {
    "gemini-cli": "gemini-cli/tmp",
    "copilot-cli": "copilot-cli/session-state",
    "copilot-cli/otel": "copilot-cli/otel",
    "opencode": "opencode/storage",
}
_COLUMNS = {
    "opencode/opencode.db": ["message.data", "part.data"],
    "openai-agents/conversations.db": ["agent_messages.message_data"],
    "llm/logs.db": ["parts.payload", "turns.token_details", "turns.response_json"],
    "llm/logs-0.27.db": ["responses.response_json", "tool_calls.arguments"],
}
_SHARES = (0.01, 0.05, 0.2)


class _Oddities:
    """Puts odd values in the place of some."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._share = _SHARES[seed % len(_SHARES)]

    def in_value(self, value: Any) -> Any:
        if self._random.random() < self._share:
            return self._random.choice(_ODD)
        if isinstance(value, dict):
            return {name: self.in_value(each) for name, each in value.items()}
        return [self.in_value(each) for each in value] if isinstance(value, list) else value

    def in_text(self, text: str) -> str:
        try:
            return json.dumps(self.in_value(json.loads(text)))
        except ValueError:
            return text

    def in_row(self, database: sqlite3.Connection, table: str, rowid: int) -> None:
        """Put odd values into some columns; the keys may refuse them."""
        for _, column, *_ in database.execute(f"PRAGMA table_info({table})").fetchall():
            if self._random.random() < self._share / 4:
                value = self._random.choice((None, -1, "x", b"\xff", 1e300, ""))
                statement = f'UPDATE {table} SET "{column}" = ? WHERE rowid = ?'
                with suppress(sqlite3.IntegrityError):
                    database.execute(statement, (value, rowid))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", _FILES)
def test_files_with_odd_values_are_read(name: str, seed: int, tmp_path: Path) -> None:
    oddities, root = _Oddities(seed), tmp_path / Path(_FILES[name]).name
    shutil.copytree(FOLDER / _FILES[name], root)
    for path in sorted(root.rglob("*.json*")):
        whole = path.suffix == ".json"
        texts = [path.read_text()] if whole else path.read_text().splitlines()
        path.write_text("\n".join(map(oddities.in_text, texts)) + "\n", encoding="utf-8")
    _import(root, name.partition("/")[0])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", _COLUMNS)
def test_databases_with_odd_values_are_read(name: str, seed: int, tmp_path: Path) -> None:
    oddities, path = _Oddities(seed), tmp_path / Path(name).name
    shutil.copy(FOLDER / name, path)
    with closing(sqlite3.connect(path)) as database, database:
        for table, column in (each.split(".") for each in _COLUMNS[name]):
            rows = database.execute(f"SELECT rowid, {column} FROM {table}").fetchall()
            for rowid, text in rows:
                odd = None if text is None else oddities.in_text(text)
                values = (odd, rowid)
                database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", values)
                oddities.in_row(database, table, rowid)
    _import(path, name.partition("/")[0])


def _import(path: Path, source: str) -> None:
    """Import; whatever is odd, nothing is raised."""
    with InMemoryPersistence() as persistence:
        report = import_sessions(path, persistence, source=source)
        assert report.sources[0].source == source
        runs = list(persistence.iter_agent_runs())
    assert all(run.session_id and run.status for run in runs)
