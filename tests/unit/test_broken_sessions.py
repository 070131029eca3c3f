"""What is broken in the files of other tools is told with its place; the rest is imported."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import InMemoryPersistence, Persistence, import_sessions
from tests.support.session_samples import EXPECTED, FOLDER, SAMPLES, Sample, reading

_CHAT = "tmp/werkstatt/chats/session-2026-08-21T16-20-ea6d87b6.jsonl"
_EVENTS = "session-state/a4785d5b-bd44-5064-a589-97ec451abefb/events.jsonl"
_LINES = {
    "gemini-cli": _CHAT,
    "copilot-cli": _EVENTS,
    "copilot-cli/otel": "copilot-otel-20260903.jsonl",
}
_DATABASES = {
    "opencode": "opencode.db",
    "llm/logs.db": "",
    "llm/logs-0.12.db": "",
    "openai-agents": "conversations.db",
    "langgraph": "checkpoints.sqlite",
}
_BY_NAME = {sample.name: sample for sample in SAMPLES}


@pytest.fixture
def persistence() -> Iterator[Persistence]:
    with InMemoryPersistence() as opened:
        yield opened


def _copied(name: str, folder: Path) -> tuple[Sample, Path]:
    sample = _BY_NAME[name]
    [path] = sample.copied_to(folder)
    return sample, path


@pytest.mark.parametrize("name", _LINES)
def test_a_line_that_is_no_object_costs_only_itself(
    name: str, persistence: Persistence, tmp_path: Path
) -> None:
    sample, root = _copied(name, tmp_path)
    path = root / _LINES[name]
    lines = path.read_bytes().splitlines(keepends=True)
    broken = [b'{"type": "\xff"}\n', b"[1]\n", b"[" * 900 + b"\n", b"\n", b"{}\n"]
    path.write_bytes(b"".join([lines[0], *broken, *lines[1:]]))
    report = import_sessions(root, persistence, source=sample.source)
    told = {problem.line for problem in report.problems if str(path).endswith(problem.file)}
    assert {2, 3, 4} <= told
    assert reading(persistence, sample.source)["totals"] == _totals(name)


def _totals(name: str) -> object:
    """Return the totals of a whole sample."""
    with InMemoryPersistence() as whole:
        import_sessions(FOLDER / _BY_NAME[name].paths[0], whole, source=_BY_NAME[name].source)
        return reading(whole, _BY_NAME[name].source)["totals"]


_WRONG_NUMBERS = {
    "gemini-cli": (_CHAT, b'"output":9,', b'"output":-9,', 1443),
    "copilot-cli": (_EVENTS, b'"outputTokens":405', b'"outputTokens":-405', 438),
    "copilot-cli/otel": (
        "copilot-otel-20260903.jsonl",
        b'"gen_ai.usage.output_tokens": 144, "gen_ai.usage.cache',
        b'"gen_ai.usage.output_tokens": 1e300, "gen_ai.usage.cache',
        144,
    ),
}


@pytest.mark.parametrize("name", _WRONG_NUMBERS)
def test_tokens_that_cannot_be_are_told_and_unknown(
    name: str, persistence: Persistence, tmp_path: Path
) -> None:
    file, right, wrong, whole = _WRONG_NUMBERS[name]
    sample, root = _copied(name, tmp_path)
    _replace(root / file, right, wrong)
    report = import_sessions(root, persistence, source=sample.source)
    assert any("tokens that cannot be" in problem.what for problem in report.problems)
    found = reading(persistence, sample.source)["totals"]
    assert found["calls"] == EXPECTED[name]["totals"]["calls"]
    assert 0 <= found["output"] < whole
    [unknown] = [u for u in persistence.iter_llm_usage() if u.output_tokens is None]
    assert unknown.cost_usd is None


def _replace(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


@pytest.mark.parametrize(
    ("name", "file", "right"),
    [
        ("gemini-cli", _CHAT, b"2026-08-21T16:22:04.000Z"),
        ("copilot-cli", _EVENTS, b"2026-09-03T06:30:12.000Z"),
    ],
)
@pytest.mark.parametrize("wrong", [b"0001-01-01T00:00:00Z", b"9998-01-01T00:00:00Z", b"noon"])
def test_times_that_cannot_be_are_told_and_the_record_kept(
    name: str, file: str, right: bytes, wrong: bytes, persistence: Persistence, tmp_path: Path
) -> None:
    sample, root = _copied(name, tmp_path)
    _replace(root / file, right, wrong)
    report = import_sessions(root, persistence, source=sample.source)
    assert any(" time" in problem.what for problem in report.problems)
    assert reading(persistence, sample.source)["counts"] == EXPECTED[name]["counts"]
    years = {run.started_at.year for run in persistence.iter_agent_runs() if run.started_at}
    assert years <= {2025, 2026}


@pytest.mark.parametrize("name", _DATABASES)
@pytest.mark.parametrize(
    "breaking",
    [
        lambda content: b"no database at all",
        lambda content: b"",
        lambda content: content[: len(content) // 3],
        lambda content: content[:100] + b"\xff" * (len(content) - 100),
    ],
    ids=["text", "empty", "cut", "overwritten"],
)
def test_a_broken_database_is_one_problem(
    name: str, breaking: Callable[[bytes], bytes], persistence: Persistence, tmp_path: Path
) -> None:
    sample = _BY_NAME[name]
    path = tmp_path / "broken.db"
    path.write_bytes(breaking((FOLDER / sample.paths[0] / _DATABASES[name]).read_bytes()))
    report = import_sessions(path, persistence, source=sample.source)
    assert report.problems
    assert {problem.file.split(" ")[0] for problem in report.problems} == {"broken.db"}
    assert [each.name for each in tmp_path.iterdir()] == ["broken.db"]


@pytest.mark.parametrize("name", _DATABASES)
def test_the_database_of_another_tool_is_told(
    name: str, persistence: Persistence, tmp_path: Path
) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE responses (id TEXT)")
    report = import_sessions(path, persistence, source=_BY_NAME[name].source)
    assert [problem.file for problem in report.problems] == ["other.db"]


_WRONG_ROWS = {
    "opencode": "UPDATE message SET data = replace(data, '\"output\": 450', '\"output\": -450')",
    "llm/logs.db": "UPDATE turns SET output_tokens = -1 WHERE output_tokens = 18",
    "llm/logs-0.12.db": "UPDATE responses SET response_json = 'no JSON' WHERE response_json <> ''",
    "openai-agents": "UPDATE turn_usage SET output_tokens = -96",
}


@pytest.mark.parametrize("name", _WRONG_ROWS)
def test_a_row_with_a_wrong_value_is_told_by_its_key(
    name: str, persistence: Persistence, tmp_path: Path
) -> None:
    sample, root = _copied(name, tmp_path)
    path = root / _DATABASES[name] if _DATABASES[name] else root
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(_WRONG_ROWS[name])
    report = import_sessions(root, persistence, source=sample.source)
    whole = EXPECTED[name]
    assert len(report.problems) == len(whole["problems"]) + 1
    assert any(len(problem.file.split(" ")) == 3 for problem in report.problems)
    assert reading(persistence, sample.source)["counts"] == whole["counts"]


def test_text_that_is_not_utf_8_is_kept(persistence: Persistence, tmp_path: Path) -> None:
    sample, path = _copied("llm/logs-0.27.db", tmp_path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE responses SET prompt = CAST(X'41FF42' AS TEXT) WHERE prompt <> ''")
    report = import_sessions(path, persistence, source=sample.source)
    assert report.ok
    assert {run.objective for run in persistence.iter_agent_runs()} == {"A\udcffB"}


def test_a_message_that_is_too_long_is_told(persistence: Persistence, tmp_path: Path) -> None:
    sample, root = _copied("openai-agents", tmp_path)
    with closing(sqlite3.connect(root / "conversations.db")) as database, database:
        long = "'[\"' || hex(zeroblob(9000000)) || '\"]'"
        database.execute(f"UPDATE agent_messages SET message_data = {long} WHERE id = 5")
    report = import_sessions(root, persistence, source=sample.source)
    told = {problem.file: problem.what for problem in report.problems}
    assert told["conversations.db message 5"] == "is longer than 16 MiB"
    assert len(list(persistence.iter_agent_runs())) == 4


def test_a_database_is_read_with_the_log_that_its_owner_writes(
    persistence: Persistence, tmp_path: Path
) -> None:
    path = tmp_path / "logs.db"
    shutil.copy(FOLDER / "llm" / "logs-0.27.db", path)
    with closing(sqlite3.connect(path, isolation_level=None)) as owner:
        owner.execute("PRAGMA journal_mode = wal")
        owner.execute("UPDATE responses SET prompt = 'In the log?' WHERE prompt LIKE 'Say%'")
        owner.execute("BEGIN IMMEDIATE")
        owner.execute("DELETE FROM responses")
        report = import_sessions(path, persistence, source="llm")
        owner.execute("ROLLBACK")
    assert report.ok
    asked = {run.objective for run in persistence.iter_agent_runs()}
    assert asked == {"In the log?", "How warm is the boiler?", "And the broken one?"}


def test_a_reader_does_not_keep_the_owner_from_writing(
    persistence: Persistence, tmp_path: Path
) -> None:
    """Without a log in front of it, a database that is read cannot be written."""
    path = tmp_path / "logs.db"
    shutil.copy(FOLDER / "llm" / "logs-0.27.db", path)
    from curio_persistence.importers.common.sqlite_tables import open_database

    with open_database(path) as database, closing(sqlite3.connect(path, timeout=0)) as owner:
        assert database.row("responses", "id", "01m8ke7jskdp7q0jvpgpcmymtz")
        with owner:
            owner.execute("UPDATE responses SET prompt = ''")
        assert database.rows("SELECT DISTINCT prompt FROM responses") == [("",)]


def test_links_in_the_storage_of_opencode_lead_nowhere(
    persistence: Persistence, tmp_path: Path
) -> None:
    _, root = _copied("opencode", tmp_path)
    (root / "opencode.db").unlink()
    messages = root / "storage" / "message" / "ses_5synth0001oldfiles00000001"
    outside = tmp_path / "outside"
    messages.rename(outside)
    messages.symlink_to(outside)
    report = import_sessions(root, persistence, source="opencode")
    assert report.runs == 0
    messages.unlink()
    outside.rename(messages)
    (messages / "msg_secret.json").symlink_to("/etc/hostname")
    report = import_sessions(root, persistence, source="opencode")
    assert report.runs == 1
    assert any("link that leads out" in problem.what for problem in report.problems)


def test_a_file_can_be_imported_by_itself(persistence: Persistence, tmp_path: Path) -> None:
    for name, file in (
        ("gemini-cli", _CHAT),
        ("copilot-cli", _EVENTS),
        ("opencode", "opencode.db"),
    ):
        _, root = _copied(name, tmp_path)
        report = import_sessions(root / file, persistence)
        assert [source.source for source in report.sources] == [name]
        assert report.runs


def test_nothing_is_read_beside_a_session_of_opencode(
    persistence: Persistence, tmp_path: Path
) -> None:
    _, root = _copied("opencode", tmp_path)
    [project] = (root / "storage" / "session").iterdir()
    for path in (project, *project.iterdir()):
        report = import_sessions(path, persistence, source="opencode")
        assert report.runs == 0
        assert "name the folder storage" in report.problems[0].what


def test_an_exported_session_of_opencode_is_read(persistence: Persistence, tmp_path: Path) -> None:
    storage = FOLDER / "opencode" / "storage"
    [info] = storage.glob("session/*/*.json")
    messages = [
        {
            "info": json.loads(path.read_text()),
            "parts": [
                json.loads(part.read_text())
                for part in sorted(storage.glob(f"part/{path.stem}/prt_0*.json"))
            ],
        }
        for path in sorted(storage.glob("message/*/*.json"))
    ]
    export = {"info": json.loads(info.read_text()), "messages": messages}
    path = tmp_path / "session.json"
    path.write_text(json.dumps(export), encoding="utf-8")
    report = import_sessions(path, persistence)
    assert report.ok
    [run] = persistence.iter_agent_runs()
    assert run.final_output == "412 bolts."
    assert reading(persistence, "opencode")["totals"]["input"] == 37421
    import_sessions(FOLDER / "opencode" / "storage", persistence, source="opencode")
    assert reading(persistence, "opencode")["totals"]["calls"] == 2, "the same session"


_DOCUMENT = "session-2025-11-02T14-05-159ecba4.json"


def _document(folder: Path) -> tuple[Path, dict[str, Any]]:
    [original] = (FOLDER / "gemini-cli").rglob(_DOCUMENT)
    return folder / _DOCUMENT, json.loads(original.read_text(encoding="utf-8"))


def test_of_a_document_that_is_cut_off_the_beginning_is_read(
    persistence: Persistence, tmp_path: Path
) -> None:
    path, document = _document(tmp_path)
    text = json.dumps(document)
    path.write_text(text[: text.index("1a5e83f9")], encoding="utf-8")
    report = import_sessions(path, persistence)
    assert [(p.file, p.what) for p in report.problems] == [
        (f"{_DOCUMENT} message 5", "is not JSON from line 1 on, or was cut off")
    ]
    [run] = persistence.iter_agent_runs()
    assert run.final_output == "План моста."


@pytest.mark.parametrize(
    "text", ["", "{", '{"sessionId": "x", "messages": 7}', "[" * 99_999, "null"]
)
def test_a_document_that_is_no_chat_is_told(
    text: str, persistence: Persistence, tmp_path: Path
) -> None:
    path, _ = _document(tmp_path)
    path.write_text(text, encoding="utf-8")
    report = import_sessions(path, persistence, source="gemini-cli")
    assert len(report.problems) == 1
    assert report.runs == 0


def test_a_document_may_be_longer_than_a_line(persistence: Persistence, tmp_path: Path) -> None:
    path, document = _document(tmp_path)
    said = document["messages"][3]
    document["messages"] += [
        {**said, "id": f"more-{number}", "content": "x" * 1_000_000} for number in range(20)
    ]
    document["summary"] = "A bridge"
    path.write_text(json.dumps(document), encoding="utf-8")
    report = import_sessions(path, persistence)
    assert report.ok
    assert reading(persistence, "gemini-cli")["totals"]["calls"] == 23
    titles = {run.get_metadata_dict()["title"] for run in persistence.iter_agent_runs()}
    assert titles == {"A bridge"}


def test_a_chat_that_goes_on_in_a_log_is_one_session(
    persistence: Persistence, tmp_path: Path
) -> None:
    chats = tmp_path / "chats"
    chats.mkdir()
    path, document = _document(chats)
    messages = document["messages"]
    header = {name: document[name] for name in ("sessionId", "projectHash", "startTime")}
    later = {"id": "u9", "timestamp": "2025-11-02T15:00:00.000Z", "type": "user", "content": "?"}
    answered = {**messages[3], "id": "g9", "timestamp": "2025-11-02T15:00:09.000Z"}
    path.write_text(json.dumps(document), encoding="utf-8")
    assert import_sessions(tmp_path, persistence).runs == 2
    lines = [header, {"$set": {"messages": messages}}, later, answered]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    path.with_suffix(".jsonl").write_text(text, encoding="utf-8")
    assert import_sessions(tmp_path, persistence).usage == 1
    found = reading(persistence, "gemini-cli")
    assert found["counts"]["runs"] == 3
    assert found["totals"]["calls"] == 4
