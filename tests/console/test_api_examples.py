"""The examples of docs/api.md: each command of curl prints what stands below it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from curio_persistence import connect
from tests.project.test_docs import assert_prints, blocks, commands
from tests.support.served import served

DOCUMENT = Path(__file__).parents[2] / "docs/api.md"
TOKEN = "a-token"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_print_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = [*blocks(DOCUMENT)]
    for block in shown:
        if block.mark == "python":
            exec(compile(block.text, DOCUMENT, "exec"), {})
    asked = 0
    with (
        connect("sqlite:///agents.db") as persistence,
        served(persistence, token=TOKEN, allow_writes=True) as server,
    ):
        shell = {**os.environ, "CURIO": server.url, "TOKEN": TOKEN}
        for block in shown:
            if block.mark != "shell-session":
                continue
            for command, said in commands(block):
                ran = subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", command],
                    env=shell,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert ran.returncode == 0, (command, ran.stderr)
                assert_prints(block, ran.stdout, said)
                asked += 1
    assert asked > 10
