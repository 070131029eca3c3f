"""Colours, control characters, encodings, and Ctrl-C."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Iterator

import pytest

from curio_persistence import AgentRun, AgentRunEvent, connect
from tests.cli.history import EVIL
from tests.cli.program import Program

SHOWING = (
    ["query"],
    ["query", "--run-id", "run-40"],
    ["events", "run-40"],
    ["search", "31mred"],
    ["show", "run-40"],
    ["diff", "run-40", "run-41"],
    ["usage"],
    ["stats"],
    ["doctor"],
)


def lasting(shown: str) -> str:
    """Return the output without the free disk space, which other programs change."""
    return re.sub(r"[\d,.]+ MB free", "… MB free", shown)


@pytest.mark.parametrize("command", SHOWING, ids=" ".join)
def test_a_terminal_shows_colours_that_change_nothing_else(
    program: Program, agents_db: str, command: list[str]
) -> None:
    coloured = program.in_colour(*command).out
    assert "\x1b[" in coloured
    for style in ("1", "2", "31", "32", "33", "36", "0"):
        coloured = coloured.replace(f"\x1b[{style}m", "")
    assert lasting(coloured) == lasting(program.on_terminal(*command).out)


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
@pytest.mark.parametrize("command", SHOWING, ids=" ".join)
def test_colours_can_be_switched_off(
    program: Program, agents_db: str, command: list[str], variables: dict[str, str]
) -> None:
    assert "\x1b" not in program.in_colour(*command, **variables).out


def test_an_empty_no_color_leaves_colours_on(program: Program, agents_db: str) -> None:
    assert "\x1b[1m" in program.in_colour("query", NO_COLOR="").out


@pytest.mark.parametrize("command", SHOWING, ids=" ".join)
def test_a_pipe_gets_json_without_colours(
    program: Program, agents_db: str, command: list[str]
) -> None:
    ended = program(*command)
    ended.json()
    assert "\x1b" not in ended.out
    assert ended.out.startswith(("[\n  {\n    ", "{\n  "))
    shown = program.in_colour(*command, "--json").out
    assert lasting(shown) == lasting(ended.out)


@pytest.mark.parametrize("option", [[], ["--json"]], ids=["table", "json"])
def test_stored_text_cannot_control_the_terminal(
    program: Program, agents_db: str, option: list[str]
) -> None:
    with connect(f"sqlite:///{program.folder / agents_db}") as persistence:
        evil = EVIL.replace("\r\n", "")
        persistence.create_agent_run(
            AgentRun(evil, evil, evil, EVIL, status=evil, error_message=EVIL, metadata=EVIL)
        )
        data = {"tool_name": EVIL, "latency_ms": 1}
        persistence.log_agent_run_event(AgentRunEvent(evil, evil, evil, None, "tool_call", data))
        persistence.log_agent_run_event(AgentRunEvent(evil, evil, evil, None, evil, EVIL))
    for command in (
        ["query"],
        ["query", "--run-id", evil],
        ["events", evil],
        ["search", "31mred"],
        ["show", evil],
        ["show", evil, "--full"],
        ["diff", evil, "run-40"],
        ["stats"],
    ):
        shown = program.on_terminal(*command, *option)
        assert shown.code == 0, shown
        harmless = shown.out.replace("\n", "")
        assert harmless.isprintable(), ascii(harmless)
        assert "red" in harmless


def test_an_error_cannot_control_the_terminal(program: Program, agents_db: str) -> None:
    shown = program.on_terminal("events", EVIL)
    assert shown.code == 3
    assert shown.out.count("\n") == 1
    assert shown.out.rstrip("\n").isprintable()


def test_json_is_valid_in_any_encoding(program: Program, agents_db: str) -> None:
    runs = program("query").json()
    assert any("東京" in run["objective"] for run in runs)
    assert program("query", PYTHONIOENCODING="ascii").json() == runs
    assert program("query", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0").json() == runs


def test_a_table_escapes_characters_that_the_encoding_lacks(
    program: Program, agents_db: str
) -> None:
    shown = program.on_terminal("query", PYTHONIOENCODING="ascii")
    assert shown.code == 0
    assert r"\u6771\u4eac" in shown.out


def test_lone_surrogates_and_nul_reach_a_pipe_as_json(program: Program, agents_db: str) -> None:
    with connect(f"sqlite:///{program.folder / agents_db}") as persistence:
        persistence.create_agent_run(AgentRun("a", "odd", objective="\ud800 \0 \x7f"))
    assert program("query", "--run-id", "odd").json()["objective"] == "\ud800 \0 \x7f"
    assert r"\ud800 \x00 \x7f" in program.on_terminal("query", "--run-id", "odd").out


@pytest.fixture
def silent_server() -> Iterator[socket.socket]:
    """A server that accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        yield listener


def waiting_for(server: socket.socket) -> list[str]:
    host, port = server.getsockname()
    return ["query", "--url", f"postgresql://{host}:{port}/agents"]


def test_ctrl_c_ends_at_once_and_quietly(program: Program, silent_server: socket.socket) -> None:
    """It ends even while the database driver waits for a server."""
    with program.start(*waiting_for(silent_server)) as it, silent_server.accept()[0]:
        it.send_signal(signal.SIGINT)
        assert it.communicate() == ("", "")
        assert it.returncode == 130


def test_ctrl_c_is_ignored_if_the_shell_ignores_it(
    program: Program, silent_server: socket.socket
) -> None:
    """A shell does so for commands in the background of a script."""
    ignoring = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        it = program.start(*waiting_for(silent_server))
    finally:
        signal.signal(signal.SIGINT, ignoring)
    with it:
        with silent_server.accept()[0]:
            it.send_signal(signal.SIGINT)
        assert "cannot be reached" in it.communicate()[1]
        assert it.returncode == 4
