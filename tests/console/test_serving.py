"""Serving the console: a free port, a database that comes later, an end within seconds."""

from __future__ import annotations

import json
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any
from urllib.request import urlopen

import pytest

from curio_persistence import (
    AgentRun,
    ConfigurationError,
    ConsoleOptions,
    DatabaseConfig,
    SQLitePersistence,
    serve_console,
)
from tests.cli.program import Program
from tests.support.console import client_of


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def test_a_host_that_others_reach_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="Other machines can reach"):
        serve_console(DatabaseConfig(), host="0.0.0.0")


def test_a_port_in_use_is_one_clear_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"Port {port} of 127.0.0.1 is in use"):
            serve_console(DatabaseConfig(), port=port)


def test_a_port_that_no_machine_has_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="A port is at most 65535, not 99999"):
        serve_console(DatabaseConfig(), port=99_999)


@pytest.mark.parametrize("path", ["nowhere/agents.db", "."])
def test_a_path_that_cannot_be_a_database_is_refused_at_once(tmp_path: Path, path: str) -> None:
    database = DatabaseConfig(db_type="sqlite", db_path=str(tmp_path / path))
    with pytest.raises(ConfigurationError, match="folder"):
        serve_console(database, port=0)


@pytest.mark.slow
def test_a_database_that_is_not_there_yet_is_waited_for_and_indexed(tmp_path: Path) -> None:
    config = DatabaseConfig(db_path=str(tmp_path / "later.db"))
    stop, urls = Event(), SimpleQueue[str]()
    settings: dict[str, Any] = {"port": 0, "stop": stop, "on_start": urls.put}
    thread = Thread(target=serve_console, args=(config,), kwargs=settings)
    thread.start()
    try:
        url = urls.get(timeout=10)
        first = _text(f"{url}runs")
        assert "no database yet" in first
        assert "connect(&#34;sqlite:///later.db&#34;)" in first
        with SQLitePersistence(tmp_path / "later.db") as persistence:
            persistence.create_agent_run(AgentRun("agent", "first", objective="Greet"))
            assert _soon(lambda: "Greet" in _text(f"{url}runs"))
            assert _soon(lambda: persistence.search.pending() == 0)
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()


@pytest.mark.slow
def test_the_command_ends_within_three_seconds(program: Program) -> None:
    with program.start("console", "--port", "0", "--json", "--db-path", "x.db") as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        assert url.startswith("http://127.0.0.1:")
        assert "/?token=" in url
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert time.monotonic() - began < 3
    assert (process.returncode, said) == (0, "Stopped.\n")


@pytest.mark.slow
def test_open_streams_do_not_keep_the_console(program: Program) -> None:
    with SQLitePersistence(program.folder / "x.db") as persistence:
        persistence.create_agent_run(AgentRun("agent", "run"))
    options = ("--port", "0", "--json", "--no-token", "--db-path", "x.db")
    with program.start("console", *options) as process, ExitStack() as stack:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        for path in ("events/stream", "api/v1/stream"):
            stream = stack.enter_context(urlopen(f"{url}{path}"))
            assert stream.readline()  # It is open.
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert time.monotonic() - began < 3
    assert (process.returncode, said) == (0, "Stopped.\n")


def test_without_the_extra_the_command_is_one_sentence(program: Program) -> None:
    code, out, said = program.shell(
        "python -c \"import sys; sys.modules['jinja2'] = None; "
        "from curio_persistence.cli import main; sys.exit(main(['console']))\""
    )
    assert (code, out) == (1, "")
    assert said == (
        "curio-persistence: The console needs jinja2: pip install 'curio-persistence[console]'\n"
    )


@pytest.mark.parametrize("base_path", ["curio", "/a/b", "/curio/"])
def test_options_take_paths_with_and_without_slashes(base_path: str) -> None:
    assert ConsoleOptions(base_path=base_path).base_path == "/" + base_path.strip("/")


@pytest.mark.parametrize(
    "settings",
    [
        {"base_path": "/a//b"},
        {"base_path": "/../x"},
        {"base_path": "/a b"},
        {"public_url": "x.com"},
    ],
)
def test_options_that_make_no_url_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        ConsoleOptions(**settings)


def test_a_closed_database_is_told_in_words(tmp_path: Path) -> None:
    persistence = SQLitePersistence(tmp_path / "closed.db")
    client = client_of(persistence)
    persistence.close()
    answer = client.get("/runs")
    assert answer.status_code == 503
    assert "The console is stopping" in answer.text


def _text(url: str) -> str:
    try:
        with urlopen(url) as answer:
            return str(answer.read().decode())
    except OSError as error:  # A page that says what is missing has the status 503.
        return str(error.read().decode()) if hasattr(error, "read") else ""


def _soon(holds: Any) -> bool:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.2)
    return False
