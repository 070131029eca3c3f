"""`import sessions` finds what other tools left, says so, and reports by source."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from curio_persistence import import_sessions
from tests.cli.program import Program
from tests.cli.test_help import ANSWER, PROMPT
from tests.support.session_samples import FOLDER, copied

PROJECTS = FOLDER / "claude-code/projects"
HEAD = "source       sessions  runs  calls  input  cached  output   cost"


@pytest.fixture
def home(program: Program, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with sessions of Claude Code."""
    home = program.folder / "home"
    copied(PROJECTS, home / ".claude/projects")
    program.environment["HOME"] = str(home)
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        program.environment.pop(name, None)
    return home


def _numbers(report: Any) -> tuple[int, ...]:
    [source] = report["sources"]
    return source["sessions"], source["runs"], source["calls"], source["input_tokens"]


def test_the_sessions_of_this_machines_user_are_found_and_imported(
    program: Program, home: Path, url: str
) -> None:
    ended = program("import", "sessions", "--url", url)
    assert ended.code == 1, "one line is cut off"
    assert ended.said.startswith(f"claude-code: {home}/.claude/projects: 6 files, 182 kB\n")
    report = json.loads(ended.out)
    assert _numbers(report) == (3, 10, 15, 632_802)
    assert len(program("query", "--url", url).json()) == 10
    again = program("import", "sessions", "--url", url).json()
    assert again["sources"][0]["unchanged"] == 6
    assert again["sources"][0]["stored"]["runs"] == 0
    shown = program.on_terminal("import", "sessions", "--url", url)
    assert shown.lines[2].split() == ["claude-code", *["0"] * 6, "–"]


def test_a_dry_run_creates_no_database(program: Program, home: Path) -> None:
    before = program.files()
    shown = program.on_terminal("import", "sessions", "--dry-run")
    assert program.files() == before
    assert shown.lines[0] == f"claude-code: {home}/.claude/projects: 6 files, 182 kB"
    assert shown.lines[1] == HEAD
    assert shown.lines[2].split() == [
        *("claude-code", "3", "10", "15", "633", "k", "508", "k", "2,196", "$1.05")
    ]
    assert "dry run    runs 10, events 29, model calls 15" in shown.lines
    assert "cost       $0.0657 as told, $0.9825 by list price" in shown.lines


def test_projects_are_excluded_and_content_is_left_out(program: Program, home: Path) -> None:
    options = ("--exclude", "werkstatt", "--content", "metrics-only", "--db-path", "new.db")
    report = json.loads(program("import", "sessions", *options).out)
    assert _numbers(report)[:3] == (1, 2, 3)
    assert {run["objective"] for run in program("query", "--db-path", "new.db").json()} == {""}


def test_words_that_cannot_come_later_are_told_with_what_to_type(
    program: Program, home: Path
) -> None:
    program("import", "sessions", "--content", "metrics-only", "--db-path", "new.db")
    shown = program.on_terminal("import", "sessions", "--db-path", "new.db")
    assert any(
        "Calls and events of 10 runs keep no words: they were stored with --content metrics-only"
        in each
        for each in shown.lines
    )


def test_a_session_that_is_being_written_is_no_failure(program: Program) -> None:
    (program.folder / "chat.jsonl").write_text(f'{PROMPT}\n{ANSWER}\n{{"type": "us')
    ended = program("import", "sessions", "chat.jsonl", "--db-path", "new.db")
    assert ended.code == 0
    shown = program.on_terminal("import", "sessions", "chat.jsonl", "--dry-run")
    assert "chat.jsonl:3: is not complete yet, and will be read when it is" in shown.lines


def test_projects_are_picked_by_path_or_name(program: Program, home: Path) -> None:
    program("import", "sessions", "--db-path", "new.db")
    counts = [
        len(program(command, "--project", project, "--db-path", "new.db").json())
        for command in ("query", "calls")
        for project in ("/home/ada/werkstatt", "werkstatt", "nowhere")
    ]
    assert counts == [8, 8, 0, 12, 12, 0]
    [told] = [
        program("stats", "--project", "werkstatt", "--group-by", "project", "--db-path", "new.db")
    ]
    assert [row["project"] for row in told.json()] == ["/home/ada/werkstatt"]
    program(
        "export", "atif", "--project", "werkstatt", "--output", "w.jsonl", "--db-path", "new.db"
    )
    assert len((program.folder / "w.jsonl").read_text().splitlines()) == 5


def test_nothing_to_find_is_said(program: Program) -> None:
    program.environment["HOME"] = str(program.folder)
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        program.environment.pop(name, None)
    ended = program("import", "sessions", "--db-path", "new.db")
    assert ended.code == 3
    assert "No sessions were found in the usual places" in ended.said
    assert not (program.folder / "new.db").exists()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("sessions", "--every", "1"), "--every is for --follow."),
        (("sessions", "--follow", "--dry-run"), "--follow stores what comes: drop --dry-run."),
        (("sessions", "--source", "fax"), "'fax' is no source of sessions"),
        (("costs", "a", "b"), "import costs takes one PATH."),
        (("costs", "a", "--verify"), "--verify is for import sessions."),
    ],
)
def test_wrong_options_are_refused(program: Program, arguments: tuple[str, ...], why: str) -> None:
    ended = program("import", *arguments)
    assert ended.code == 2
    assert why in ended.said


def test_what_is_written_is_followed(program: Program, home: Path) -> None:
    folder = home / ".claude/projects/-home-ada-neu"
    folder.mkdir()
    options = ("--follow", "--every", "0.1", "--db-path", "new.db")
    with program.start("import", "sessions", *options) as process:
        assert process.stdout
        first = json.loads(process.stdout.readline())
        (folder / "chat.jsonl").write_text(f"{PROMPT}\n{ANSWER}\n")
        then = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert [it["sources"][0]["stored"]["runs"] for it in (first, then)] == [10, 1]
    assert then["sources"][0]["unchanged"] == 6


def test_options_may_stand_before_the_paths(program: Program, home: Path) -> None:
    folder = str(home / ".claude/projects")
    for options in (
        ["--source", "claude-code"],
        ["--dry-run"],
        ["--json", "--since", "2020-01-01"],
    ):
        ended = program("import", "sessions", "--dry-run", *options, folder)
        assert _numbers(json.loads(ended.out)) == (3, 10, 15, 632_802)
    refused = program("import", "sessions", "--dry-run", folder, "--wrong")
    assert "unrecognized arguments: --wrong" in refused.said


def test_a_folder_with_sessions_of_several_sources_is_read_by_each_of_them(
    program: Program, home: Path
) -> None:
    copied(FOLDER / "codex", home / "saved/codex")
    copied(FOLDER / "gemini-cli", home / "saved/gemini-cli")
    copied(PROJECTS, home / "saved/claude")
    ended = program("import", "sessions", str(home / "saved"), "--dry-run")
    report = json.loads(ended.out)
    found = {source["source"]: (source["runs"], source["calls"]) for source in report["sources"]}
    assert found == {"claude-code": (10, 15), "codex": (8, 12), "gemini-cli": (7, 8)}
    problems = [len(source["stored"]["problems"]) for source in report["sources"]]
    assert problems == [1, 1, 1], "what is of another tool is none"


def test_a_place_that_cannot_be_read_is_told_and_the_others_are_imported(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied(FOLDER / "codex", home / ".codex")
    refused = home / ".claude/projects"
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    # The tests may run as root, to whom nothing is forbidden.
    is_dir, access = Path.is_dir, os.access
    monkeypatch.setattr(Path, "is_dir", lambda path: _allowed(path, refused) and is_dir(path))
    monkeypatch.setattr(os, "access", lambda path, mode: path != refused and access(path, mode))
    report = import_sessions(None, None)
    found = {source.source: source.runs for source in report.sources}
    assert found == {"claude-code": 0, "codex": 8}
    assert f"{refused}: cannot be read: Permission denied" in map(str, report.problems)


def _allowed(path: Path, refused: Path) -> bool:
    if path.is_relative_to(refused):
        raise PermissionError(13, "Permission denied", str(path))
    return True
