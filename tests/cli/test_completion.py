"""`completion` prints scripts that complete commands and options in a shell."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

import pytest

from tests.cli.program import Program
from tests.cli.test_help import COMMANDS


def completed(program: Program, *lines: Sequence[str]) -> list[list[str]]:
    """Return the completions of a real bash for the last word of each line."""
    ended = program.shell(
        "source <(curio-persistence completion bash)\n" + "\n".join(map(offers, lines))
    )
    assert (ended.code, ended.said) == (0, "")
    return [offered.split("\t")[:-1] for offered in ended.out.splitlines()]


def offers(words: Sequence[str]) -> str:
    """Return bash code that prints the completions on one line, with a tab after each."""
    typed = " ".join(f"'{word}'" for word in words)
    return (
        f"COMP_WORDS=(curio-persistence {typed}); COMP_CWORD={len(words)}; COMPREPLY=(); "
        "_curio_persistence; ((${#COMPREPLY[@]})) && printf '%s\\t' \"${COMPREPLY[@]}\"; echo"
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ru"], ["runs", "runlog"]),
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
    assert completed(program, words) == [expected]


def test_bash_completes_every_option(program: Program) -> None:
    everything = completed(program, *((command, "--") for command in COMMANDS))
    for command, offered in zip(COMMANDS, everything, strict=True):
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
