"""The commands: whole processes, from start to end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import CalledProcessError

from benchmarks.cases.sides import Case
from benchmarks.cases.starting import interpret
from benchmarks.support import fill, rows
from benchmarks.support.report import Goal, Line
from benchmarks.support.timing import interleave, timed
from benchmarks.support.workspace import Workspace

_PROGRAM = ("-m", "curio_persistence")


def command_line(work: Workspace) -> list[Line]:
    count = work.sizes.usage_rows
    path = work.directory / "runs.db"
    fill.sqlite_file(path, [("agent_runs", rows.RUN_COLUMNS, [rows.run_rows(count)])])
    of_runs = ("--db-path", str(path))
    return [
        _line(work, "--help", ["--help"], 60),
        _line(work, f"query --limit 10, of {count:,} runs", ["query", "--limit=10", *of_runs], 150),
        _line(work, f"doctor, of {count:,} runs", ["doctor", *of_runs], 1_000),
        *_show(work),
    ]


def _show(work: Workspace) -> list[Line]:
    bytecode = work.directory / "bytecode"
    try:
        interpret(bytecode, *_PROGRAM, "show", "--help")
    except CalledProcessError:
        print("left out: there is no command `show`", file=sys.stderr)
        return []
    arguments = ["show", rows.run_id(0), "--db-path", str(work.sqlite_events)]
    return [_line(work, f"show, of a run with {rows.EVENTS_OF_A_RUN:,} events", arguments, 300)]


CASES: dict[str, Case] = {"command-line": command_line}


def _line(work: Workspace, title: str, arguments: Sequence[str], milliseconds: float) -> Line:
    bytecode: Path = work.directory / "bytecode"
    program = (*_PROGRAM, *arguments)
    return Line(
        f"`{title}`, against `python -c pass`",
        Goal(None, None, "added"),
        interleave(
            lambda: timed(lambda _: interpret(bytecode, "-c", "pass"), [None]),
            lambda: timed(lambda _: interpret(bytecode, *program), [None]),
            chunks=work.rounds(2),
            repetitions=work.sizes.repetitions,
        ),
        at_most=milliseconds * 1e6,
    )
