"""`import` imports run folders and ledgers, and reports what it could not read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import curio_persistence
from curio_persistence import connect
from curio_persistence.cli.commands import import_ as import_command
from tests.cli.program import Program
from tests.support.run_folders import RunFolder, write_examples


@pytest.fixture
def root(program: Program) -> Path:
    path = program.folder / ".runs" / "agents"
    write_examples(path)
    return path


def test_run_folders_are_imported(program: Program, root: Path, url: str) -> None:
    report = program("import", "agdd", ".runs/agents", "--url", url).json()
    assert report == {
        "ok": True,
        "dry_run": False,
        "runs": 3,
        "events": 12,
        "usage": 0,
        "scores": 0,
        "spans": 0,
        "sources": 0,
        "approvals": 0,
        "snapshots": 0,
        "agents": 0,
        "sessions": 0,
        "also": {},
        "incomplete": [],
        "skipped": {},
        "problems": [],
        "more_problems": 0,
    }
    assert len(program("query", "--url", url).json()) == 3
    again = program("import", "agdd", ".runs/agents", "--url", url).json()
    assert (again["runs"], again["events"], again["skipped"]) == (0, 0, {"stored before": 15})


def test_a_dry_run_creates_no_database(program: Program, root: Path) -> None:
    before = program.files()
    report = program("import", "agdd", ".runs/agents", "--dry-run").json()
    assert (report["dry_run"], report["runs"], report["events"]) == (True, 3, 12)
    assert program.files() == before


def test_unreadable_input_is_reported_and_gives_exit_code_1(program: Program, root: Path) -> None:
    RunFolder(root, "broken").line("logs.jsonl", b"{")
    shown = program.on_terminal("import", "agdd", ".runs/agents", "--db-path", "new.db")
    assert shown.code == 1
    assert shown.lines[:2] == ["imported  runs 4, events 12, model calls 0", "problems  1"]
    assert shown.lines[2].startswith("broken/logs.jsonl:1: is not JSON: ")
    assert len(program("query", "--db-path", "new.db").json()) == 4


def test_a_terminal_shows_some_of_many_problems(program: Program, root: Path) -> None:
    broken = RunFolder(root, "broken")
    for _ in range(1_100):
        broken.line("logs.jsonl", b"{")
    shown = program.on_terminal("import", "agdd", ".runs/agents", "--dry-run")
    assert shown.code == 1
    assert shown.lines[-1] == "… and 1,080 more; --json names a thousand."
    ended = program("import", "agdd", ".runs/agents", "--dry-run")
    assert ended.code == 1
    assert '"more_problems": 100' in ended.out


def test_the_module_is_the_command_too(program: Program, root: Path) -> None:
    module = f"{sys.executable} -m curio_persistence.importers.agdd --source .runs/agents"
    tried = program.shell(f"{module} --backend sqlite --db-path new.db --dry-run")
    assert tried.json()["runs"] == 3
    assert "new.db" not in program.files()
    assert program.shell(f"{module} --backend sqlite --db-path new.db").json()["events"] == 12
    with connect(f"sqlite:///{program.folder / 'new.db'}", read_only=True) as persistence:
        assert len(persistence.get_agent_runs()) == 3
    helped = program.shell(f"{sys.executable} -m curio_persistence.importers.agdd --help")
    assert (helped.code, "curio-persistence import --help" in helped.out) == (0, True)
    assert program.shell(f"{sys.executable} -m curio_persistence.importers.agdd").code == 2


def test_a_missing_source_is_not_found(program: Program) -> None:
    code, out, said = program("import", "agdd", "nowhere")
    assert (code, out) == (3, "")
    assert said == "curio-persistence: There is no nowhere to import.\n"
    assert not program.files()


def test_an_unknown_kind_is_wrong_usage(program: Program) -> None:
    code, _, said = program("import", "csvs", ".")
    assert code == 2
    assert "invalid choice: 'csvs'" in said


@pytest.mark.parametrize("given", [".runs", ".runs/agents/mag-1"])
def test_a_folder_without_runs_is_not_a_success(
    program: Program, root: Path, url: str, given: str
) -> None:
    code, _, said = program("import", "agdd", given, "--url", url)
    assert code == 3
    assert f"Nothing to import was found in {given}. Did you mean .runs/agents?" in said


def test_each_importer_is_a_kind() -> None:
    importers = {name for name in curio_persistence.__all__ if name.startswith("import_")}
    kinds = {kind.importer for kind in import_command._KINDS.values()}
    assert importers == kinds, "see _KINDS in cli/commands/import_.py"
