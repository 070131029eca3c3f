"""Sessions of OpenCode 2, and forks, whose copied messages have new ids."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import InMemoryPersistence, Persistence, import_sessions
from tests.support.session_samples import FOLDER, reading

_START = 1_790_000_000_000
_MODEL = {"id": "gpt-5.2", "providerID": "openai"}
_TOKENS = {"input": 100, "output": 20, "reasoning": 5, "cache": {"read": 40, "write": 0}}


@pytest.fixture
def persistence() -> Iterator[Persistence]:
    with InMemoryPersistence() as opened:
        yield opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with the tables of both versions, and nothing in them."""
    path = tmp_path / "opencode.db"
    shutil.copy(FOLDER / "opencode" / "opencode.db", path)
    with closing(sqlite3.connect(path)) as database, database:
        for table in ("session_message", "part", "message", "session"):
            database.execute(f"DELETE FROM {table}")
    return path


def _add_session(path: Path, ident: str, parent: str | None = None, at: int = _START) -> None:
    values = (ident, parent, "p", "slug", "/home/ada/mill", f"Title of {ident}", "2.0.1", at, at)
    names = "id, parent_id, project_id, slug, directory, title, version, time_created, time_updated"
    with closing(sqlite3.connect(path)) as database, database:
        marks = ", ".join("?" * len(values))
        database.execute(f"INSERT INTO session ({names}) VALUES ({marks})", values)


def _add_message(path: Path, session: str, ident: str, kind: str, at: int, **data: Any) -> None:
    time = {"created": at, "completed": at + 900} if kind == "assistant" else {"created": at}
    text = json.dumps({"time": time, **data})
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "INSERT INTO session_message VALUES (?, ?, ?, ?, ?, ?)",
            (ident, session, kind, at, at, text),
        )


def test_sessions_of_the_second_version_are_read(path: Path, persistence: Persistence) -> None:
    tool = {
        "type": "tool",
        "id": "call_1",
        "name": "subagent",
        "state": {
            "status": "completed",
            "input": {"subagent_type": "scout"},
            "structured": {"sessionID": "ses_child"},
            "content": [{"type": "text", "text": "3 sacks"}],
        },
        "time": {"created": _START + 20, "completed": _START + 520},
    }
    failed = {
        "type": "tool",
        "id": "call_2",
        "name": "bash",
        "state": {"status": "error", "input": {}, "error": {"type": "x", "message": "no grain"}},
        "time": {"created": _START + 30, "completed": _START + 40},
    }
    words = {"type": "text", "id": "t1", "text": "Three sacks."}
    answer = {"agent": "build", "model": _MODEL, "tokens": _TOKENS, "cost": 0.25}
    _add_session(path, "ses_mill")
    _add_session(path, "ses_child", "ses_mill", _START + 30)
    _add_message(path, "ses_mill", "m1", "user", _START + 1, text="How many sacks?")
    content = [tool, failed, words]
    _add_message(path, "ses_mill", "m2", "assistant", _START + 10, **answer, content=content)
    _add_message(path, "ses_mill", "m3", "compaction", _START + 1000, summary="3 sacks")
    _add_message(path, "ses_mill", "m4", "synthetic", _START + 1001, text="Go on.")
    _add_message(path, "ses_mill", "m5", "model-switched", _START + 1002, model=_MODEL)
    _add_message(path, "ses_mill", "m6", "user", _START + 2000, text="Grind them.")
    error = {"type": "aborted", "message": "stopped"}
    _add_message(path, "ses_mill", "m7", "assistant", _START + 2001, content=[], error=error)
    _add_message(path, "ses_child", "c1", "user", _START + 40, text="Count")
    _add_message(path, "ses_child", "c2", "assistant", _START + 50, **answer, content=[words])

    report = import_sessions(path, persistence)
    assert report.ok
    found = reading(persistence, "opencode")
    assert found["totals"]["calls"] == 2
    assert found["totals"]["input"] == 280
    assert found["totals"]["output"] == 50
    assert found["totals"]["reasoning"] == 10
    assert found["totals"]["cost_told"] == Decimal("0.5")
    assert found["counts"]["tool_errors"] == 1
    runs = {run["objective"]: run for run in found["runs"]}
    assert runs.keys() == {"How many sacks?", "Grind them.", "Count"}
    assert runs["Count"]["parent"] == "opencode/ses_mill/m1"
    assert runs["Count"]["key"] == "opencode/ses_mill/agent-ses_child"
    assert runs["Grind them."]["status"] == "cancelled"
    assert runs["How many sacks?"]["final"] == "Three sacks."


def test_what_both_versions_have_is_one_message(path: Path, persistence: Persistence) -> None:
    shutil.copy(FOLDER / "opencode" / "opencode.db", path)
    content = [{"type": "text", "text": "412 bolts."}]
    answer = {"model": _MODEL, "tokens": _TOKENS, "content": content}
    session, at = "ses_5synth0001oldfiles00000001", 1764928806100
    _add_message(path, session, "msg_9synth03", "assistant", at, **answer)
    import_sessions(path, persistence)
    assert reading(persistence, "opencode")["totals"]["calls"] == 5
    _add_message(path, session, "msg_9synth04", "assistant", at + 3000, **answer)
    import_sessions(path, persistence)
    assert reading(persistence, "opencode")["totals"]["calls"] == 6, "a change is seen"


def test_what_a_fork_copied_counts_once(path: Path, persistence: Persistence) -> None:
    answer = {"model": _MODEL, "tokens": _TOKENS, "content": [{"type": "text", "text": "Yes."}]}
    _add_session(path, "ses_first")
    _add_message(path, "ses_first", "m1", "user", _START + 1, text="Is it on?")
    _add_message(path, "ses_first", "m2", "assistant", _START + 10, **answer)
    _add_session(path, "ses_fork", at=_START + 60_000)
    _add_message(path, "ses_fork", "n1", "user", _START + 1, text="Is it on?")
    _add_message(path, "ses_fork", "n2", "assistant", _START + 10, **answer)
    _add_message(path, "ses_fork", "n3", "user", _START + 61_000, text="Since when?")
    _add_message(path, "ses_fork", "n4", "assistant", _START + 62_000, **answer)
    report = import_sessions(path, persistence)
    assert report.skipped == {"copied message": 2}
    asked = {run.run_id: run.objective for run in persistence.iter_agent_runs()}
    assert asked == {
        "opencode/ses_first/m1": "Is it on?",
        "opencode/ses_fork/n3": "Since when?",
    }
    assert reading(persistence, "opencode")["totals"]["calls"] == 2


def test_a_message_with_times_of_any_shape_is_told(path: Path, persistence: Persistence) -> None:
    _add_session(path, "ses_odd")
    for number, time in enumerate(([], {"created": []}, {"created": "noon"}, {"created": -1e300})):
        _add_message(path, "ses_odd", f"m{number}", "user", _START + number, text="?", time=time)
    report = import_sessions(path, persistence)
    assert report.problems
    assert report.runs == 4
