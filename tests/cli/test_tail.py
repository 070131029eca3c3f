"""`tail` shows the newest events, and follows new ones."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from curio_persistence import Persistence, connect
from tests.cli.program import Program
from tests.support.postgres import PostgresServer


def append(persistence: Persistence, *data: int, **fields: str) -> None:
    for number in data:
        persistence.append_event("run-1", "agent", "log", payload=number, **fields)


def shown(lines: list[str]) -> list[int]:
    return [int(json.loads(line)["data"]) for line in lines]


@contextmanager
def following(program: Program, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The program while it follows; it ends with Ctrl-C, without further output."""
    with program.start("tail", "-f", "--interval", "0.02", *options) as it:
        try:
            yield it
            it.send_signal(signal.SIGINT)
            assert it.wait(60) == 130
            assert it.stderr is not None
            assert it.stderr.read() == ""
        finally:
            it.kill()


def read(it: subprocess.Popen[str], count: int) -> list[int]:
    assert it.stdout is not None
    return shown([it.stdout.readline() for _ in range(count)])


@pytest.fixture
def tailed(url: str) -> str:
    with connect(url) as persistence:
        append(persistence, *range(12))
        append(persistence, 12, level="error")
    return url


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], list(range(3, 13))),
        (["-n", "2"], [11, 12]),
        (["-n", "0"], []),
        (["--min-level", "warning"], [12]),
        (["--run", "run-2"], []),
        (["run-2"], []),
        (["run-1", "-n", "1"], [12]),
        (["--type", "log", "--agent", "agent", "-n", "1", "--jsonl"], [12]),
        (["--user", "ann"], []),
        (["-n", "1", "--json"], [12]),
    ],
    ids=str,
)
def test_the_newest_events_oldest_first(
    program: Program, tailed: str, options: list[str], expected: list[int]
) -> None:
    ended = program("tail", "--url", tailed, *options)
    assert (ended.code, ended.said) == (0, "")
    assert shown(ended.lines) == expected


def test_events_are_shown_as_they_are_committed(program: Program, tailed: str) -> None:
    with connect(tailed) as persistence, following(program, "-n", "1", "--url", tailed) as it:
        assert read(it, 1) == [12]
        append(persistence, 13, 14)
        assert read(it, 2) == [13, 14]
        append(persistence, 15)
        assert read(it, 1) == [15]


def test_a_person_sees_lines(program: Program, url: str) -> None:
    with connect(url) as persistence:
        append(persistence, 1, message="all well")
        append(persistence, 2, level="error", message="\x1b[31mno more")
    first, second = program.on_terminal("tail", "--url", url).lines
    assert first.endswith("  run-1         log               all well 1")
    assert second.endswith(r"  run-1         log               error \x1b[31mno more 2")
    assert "\x1b[31mlog" in program.in_colour("tail", "--url", url).out


@pytest.mark.parametrize("option", ["--json", "--jsonl"])
def test_a_person_may_ask_for_json(program: Program, tailed: str, option: str) -> None:
    assert shown(program.on_terminal("tail", "--url", tailed, "-n", "2", option).lines) == [11, 12]


def test_a_run_is_named_once(program: Program, tailed: str) -> None:
    ended = program("tail", "run-1", "--run", "run-2", "--url", tailed)
    assert (ended.code, "RUN and --run name the same thing" in ended.said) == (2, True)


def test_a_closed_pipe_ends_it_quietly(program: Program, tailed: str) -> None:
    piped = program.shell(f"curio-persistence tail --url '{tailed}' | head -1")
    assert (shown(piped.lines), piped.said) == ([3], "")


def test_a_follower_notices_a_closed_pipe_without_new_events(program: Program, tailed: str) -> None:
    begun = time.monotonic()
    program.shell(f"timeout 60 curio-persistence tail -f --interval 0.1 --url '{tailed}' | head -1")
    assert time.monotonic() - begun < 60


def test_an_outage_is_reported_once_and_nothing_is_lost(
    program: Program, private_postgres: PostgresServer
) -> None:
    url = f"postgresql:///postgres?host={private_postgres.directory}&user=postgres"
    with connect(url) as persistence:
        append(persistence, 1)
    with following(program, "--url", url) as it:
        assert read(it, 1) == [1]
        assert it.stderr is not None
        with private_postgres.down():
            assert "Trying again" in it.stderr.readline()
        with connect(url) as persistence:
            append(persistence, 2)
        assert read(it, 1) == [2]


def test_a_missing_database_is_not_waited_for(program: Program) -> None:
    assert program("tail", "-f", "--db-path", "typo.db").code == 3


@pytest.mark.parametrize("interval", ["-1", "nan", "soon", "1e9"])
def test_a_wrong_interval_is_wrong_usage(program: Program, agents_db: str, interval: str) -> None:
    assert program("tail", "-f", f"--interval={interval}").code == 2
