"""The `curio-persistence` command of this checkout, whether or not it is installed."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMAND = "curio-persistence"


def environment(directory: Path) -> dict[str, str]:
    """Return an environment whose PATH begins with `directory`, with the command and a `python`.

    Warnings are errors there, and Python finds this checkout from anywhere.
    """
    python = shlex.quote(sys.executable)
    _script(directory / "python", f'exec {python} "$@"')
    _script(directory / COMMAND, f'exec {python} -m curio_persistence "$@"')
    return os.environ | {
        "PATH": f"{directory}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
    }


def _script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
