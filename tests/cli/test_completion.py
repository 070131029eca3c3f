"""`completion` teaches a shell the commands and their options."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.cli.program import Program
from tests.cli.test_help import COMMANDS


def completed(program: Program, *words: str) -> list[str]:
    """What a real bash offers in place of the last word."""
    typed = " ".join(f"'{word}'" for word in words)
    line = (
        "source <(curio-persistence completion bash); "
        f"COMP_WORDS=(curio-persistence {typed}); COMP_CWORD={len(words)}; "
        "_curio_persistence; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    ended = program.shell(line)
    assert (ended.code, ended.said) == (0, "")
    return ended.out.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ru"], ["runs"]),
        ([""], [*COMMANDS, "--help", "--version"]),
        (["runs", "--statu"], ["--status"]),
        (["runs", "--status", "failed", "--any"], ["--any-tag"]),
        (["tail", "--fol"], ["--follow"]),
        (["events", "--backend", ""], ["sqlite", "postgres", "memory"]),
        (["events", "--backend", "p"], ["postgres"]),
        (["completion", "z"], ["zsh"]),
        (["stats", "nothing that begins so"], []),
        (["frobnicate", "--"], []),
    ],
    ids=str,
)
def test_bash_completes(program: Program, words: list[str], expected: list[str]) -> None:
    assert completed(program, *words) == expected


def test_bash_is_told_of_every_option(program: Program) -> None:
    for command in COMMANDS:
        offered = completed(program, command, "--")
        usage = program(command, "--help").out
        assert {"--help", "--url", "--db-path"} <= set(offered)
        assert all(option in usage for option in offered)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_can_read_their_script(program: Program, shell: str) -> None:
    script = program("completion", shell).out
    assert all(command in script for command in COMMANDS)
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    check = subprocess.run([shell], input=script, capture_output=True, text=True, check=False)
    assert (check.returncode, check.stderr) == (0, "")


def test_an_unknown_shell_is_wrong_usage(program: Program) -> None:
    assert program("completion", "cmd").code == 2
