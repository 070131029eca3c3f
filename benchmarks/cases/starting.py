"""The start of a program: imports and opening a database."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.cases.sides import Case
from benchmarks.support.report import Goal, Line
from benchmarks.support.timing import Chunk, interleave, timed
from benchmarks.support.workspace import Workspace

_ROOT = Path(__file__).resolve().parents[2]


def import_time(work: Workspace) -> list[Line]:
    ours = "from curio_persistence import SQLitePersistence"
    bytecode = work.directory / "bytecode"

    def chunk(statement: str) -> Chunk:
        return lambda: timed(lambda text: interpret(bytecode, "-c", text), [statement])

    return [
        Line(
            f"`{ours}`, against `python -c pass`",
            Goal(60, 30, "added"),
            interleave(
                chunk("pass"),
                chunk(ours),
                chunks=work.rounds(2),
                repetitions=work.sizes.repetitions,
            ),
            remark=_foreign_modules(ours, bytecode),
        )
    ]


CASES: dict[str, Case] = {"import": import_time}


def interpret(bytecode: Path, *arguments: str) -> str:
    """Return the output of a new interpreter in the checkout, with bytecode as if installed."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(bytecode)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.run(
        [sys.executable, *arguments],
        check=True,
        cwd=_ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def _foreign_modules(statement: str, bytecode: Path) -> str:
    """Return a remark on imported packages of others, if any."""
    loaded = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    before, after = (
        set(interpret(bytecode, "-c", f"{first}; {loaded}").split())
        for first in ("pass", statement)
    )
    foreign = after - before - sys.stdlib_module_names - {"curio_persistence"}
    return f"imports {', '.join(sorted(foreign))}" if foreign else ""
