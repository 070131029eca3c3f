"""Which files belong to which tool, where each tool has its own, and what its values mean."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import ormsgpack
import pytest

from curio_persistence import InMemoryPersistence, import_sessions
from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.langgraph.checkpoints import time_of
from curio_persistence.importers.langgraph.decoding import UnreadableError, decode
from curio_persistence.importers.sessions.discovery import find_sessions
from curio_persistence.importers.sessions.files import walk
from curio_persistence.importers.sessions.sources import SOURCES, source_named
from tests.support.session_samples import EXPECTED, FOLDER, SAMPLES, Sample, copied

_HOME = Path("/home/ada")


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_each_sample_is_recognized_by_its_own_source_only(sample: Sample) -> None:
    for path in sample.paths:
        found = [name for name in SOURCES if source_named(name).recognize(FOLDER / path)]
        assert found == [sample.source]


def test_no_source_recognizes_what_is_no_session(tmp_path: Path) -> None:
    (tmp_path / "notes.jsonl").write_text('{"type": "note"}\n')
    (tmp_path / "session-1.json").write_text('{"session": 1}')
    (tmp_path / "empty.db").touch()
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE responses (id TEXT, prompt TEXT)")
    for path in (tmp_path, *tmp_path.iterdir()):
        assert [name for name in SOURCES if source_named(name).recognize(path)] == [], path


@pytest.mark.parametrize(
    ("sample", "below"),
    [
        ("gemini-cli", "backup/ada/.gemini"),
        ("copilot-cli/session-state", "backup/ada/.copilot/session-state"),
        ("opencode", "backup/ada/.local/share/opencode"),
        ("claude-code", "backup/ada/.claude"),
        ("codex", "backup/ada/.codex"),
    ],
)
def test_sessions_are_found_in_a_folder_above_their_own(
    sample: str, below: str, tmp_path: Path
) -> None:
    copied(FOLDER / sample, tmp_path / below)
    (tmp_path / "backup/run/events.jsonl").parent.mkdir()
    (tmp_path / "backup/run/events.jsonl").write_text('{"type": "log"}\n')
    above, own = import_sessions(tmp_path, None), import_sessions(tmp_path / below, None)
    [source] = above.sources
    assert source.source == sample.partition("/")[0]
    assert (source.runs, source.calls) == (own.sources[0].runs, own.sources[0].calls)
    assert len(above.problems) == len(own.problems)


def test_a_pipe_in_a_folder_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "session.jsonl").touch()
    os.mkfifo(tmp_path / "pipe.jsonl")
    found = walk(tmp_path, tmp_path, ReportBuilder(), lambda path: True)
    assert [path.name for path in found] == ["session.jsonl"]


_PLACES = [
    ("gemini-cli", {}, ["/home/ada/.gemini/tmp"]),
    ("gemini-cli", {"GEMINI_CLI_HOME": "/g"}, ["/g/.gemini/tmp"]),
    ("opencode", {}, ["/home/ada/.local/share/opencode"]),
    ("opencode", {"XDG_DATA_HOME": "/x"}, ["/x/opencode"]),
    ("opencode", {"OPENCODE_DATA_DIR": "/o", "XDG_DATA_HOME": "/x"}, ["/o"]),
    ("copilot-cli", {}, ["/home/ada/.copilot/session-state"]),
    ("copilot-cli", {"COPILOT_HOME": "/c"}, ["/c/session-state"]),
    ("llm", {"LLM_USER_PATH": "/l"}, ["/l/logs.db"]),
    ("openai-agents", {}, []),
    ("langgraph", {}, []),
]


@pytest.mark.parametrize(("source", "environment", "expected"), _PLACES)
def test_the_usual_places_follow_the_environment(
    source: str, environment: Mapping[str, str], expected: list[str]
) -> None:
    places = source_named(source).places(environment, _HOME)
    assert [str(place) for place in places] == expected


def test_the_log_of_llm_is_where_each_system_has_it() -> None:
    linux, mac, windows = source_named("llm").places({}, _HOME)
    assert linux == _HOME / ".config/io.datasette.llm/logs.db"
    assert mac == _HOME / "Library/Application Support/io.datasette.llm/logs.db"
    assert windows == _HOME / "AppData/Roaming/io.datasette.llm/logs.db"


def test_the_id_of_a_checkpoint_tells_its_time() -> None:
    at = time_of("1f1ebe0e-c8d7-6d47-bfff-7568a4bf8f79")
    assert at is not None
    assert at.isoformat(timespec="milliseconds") == "2026-11-29T10:37:49.909+00:00"
    assert time_of("no id") is None
    assert time_of("5d1c7d3e-1111-4222-8333-444455556666") is None


def test_values_of_checkpoints_are_read_without_their_classes() -> None:
    call = ormsgpack.packb(["os", "system", ["echo ruined"]])
    assert decode("msgpack", ormsgpack.packb(ormsgpack.Ext(1, call))) == ["echo ruined"]
    later = ormsgpack.packb([1, ormsgpack.Ext(99, b"?")])
    assert decode("msgpack", later) == [1, None]
    assert decode("json", b'{"lc": 2}') == {"lc": 2}
    assert decode("null", b"") is None


@pytest.mark.parametrize("kind", ["pickle", "msgpack+aes", "bytes"])
def test_what_is_pickled_or_encrypted_is_not_opened(kind: str) -> None:
    with pytest.raises(UnreadableError, match="not read"):
        decode(kind, b"\x80\x04N.")


def test_broken_msgpack_is_told() -> None:
    for broken in (b"", b"\xdf\xff\xff\xff\xff", b"\xa3\xff\xfe\xfd", b"\x91" * 9_000):
        with pytest.raises(UnreadableError, match="is not msgpack"):
            decode("msgpack", broken)


def _chat(folder: Path, *lines: object) -> Path:
    path = folder / "session-2026-10-01T09-00-00000000.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path


def _said(ident: str, kind: str, minute: int, text: str) -> dict[str, Any]:
    at = f"2026-10-01T09:{minute:02}:00.000Z"
    tokens = {"input": 10, "output": 1, "cached": 0, "thoughts": 0, "tool": 0, "total": 11}
    more = {"model": "gemini-3-flash-preview", "tokens": tokens} if kind == "gemini" else {}
    return {"id": ident, "timestamp": at, "type": kind, "content": text} | more


_HEADER = {"sessionId": "s", "projectHash": "p", "startTime": "2026-10-01T09:00:00.000Z"}


def test_messages_that_only_histories_of_gemini_have_are_read_once(tmp_path: Path) -> None:
    first = [_said("u1", "user", 1, "One?"), _said("g1", "gemini", 2, "1")]
    second = [*first, _said("u2", "user", 3, "Two?"), _said("g2", "gemini", 4, "2")]
    path = _chat(
        tmp_path, _HEADER, {"$set": {"messages": first}}, {"$set": {"messages": second}},
        _said("u3", "user", 5, "Three?"), {"$set": {"messages": second[2:]}},
    )  # fmt: skip
    with InMemoryPersistence() as persistence:
        report = import_sessions(path, persistence)
        runs = list(persistence.iter_agent_runs())
    assert report.sources[0].calls == report.usage == 2
    assert {(run.objective, run.final_output, run.status) for run in runs} == {
        ("One?", "1", "completed"),
        ("Two?", "2", "completed"),
        ("Three?", None, "error"),
    }


def test_a_rewind_to_what_is_not_there_takes_all_back(tmp_path: Path) -> None:
    lines = [_said("u1", "user", 1, "One?"), _said("g1", "gemini", 2, "1")]
    path = _chat(tmp_path, _HEADER, *lines, {"$rewindTo": "gone"}, _said("u2", "user", 3, "Two?"))
    with InMemoryPersistence() as persistence:
        import_sessions(path, persistence)
        status = {run.objective: run.status for run in persistence.iter_agent_runs()}
    assert status == {"One?": "cancelled", "Two?": "error"}


_WORDS = ("plan first", "count, then ask", "Count in bolts.txt", "pigments first", "wc -l", "17 °C")


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_metrics_only_keeps_no_words(sample: Sample) -> None:
    runs = EXPECTED[sample.name]["runs"]
    said = {run[name] for run in runs for name in ("objective", "final") if run.get(name)}
    with InMemoryPersistence() as persistence:
        paths = [FOLDER / path for path in sample.paths]
        import_sessions(paths, persistence, source=sample.source, content="metrics-only")
        stored = [run.to_dict() for run in persistence.iter_agent_runs()]
        events = [persistence.get_agent_run_events(run["run_id"]) for run in stored]
        calls = [call.to_dict() for call in persistence.iter_llm_usage()]
    everything = repr([stored, [event.to_dict() for some in events for event in some], calls])
    assert stored
    assert not {words for words in said | {*_WORDS} if len(words) > 5 and words in everything}


def test_a_long_line_does_not_hide_whose_a_file_is(tmp_path: Path) -> None:
    said = {"type": "user", "uuid": "u-1", "sessionId": "s"}
    lines = [{"type": "summary"}, {"type": "attachment", "data": "x" * (40 << 20)}, said]
    texts = [*map(json.dumps, lines[:2]), "[" * 100_000, json.dumps(said)]
    (tmp_path / "s.jsonl").write_text("\n".join(texts))
    [place] = find_sessions([tmp_path])
    assert (place.source, place.files) == ("claude-code", 1)
