"""`serve` says where it listens, and ends cleanly."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
from io import RawIOBase
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from curio_persistence import connect
from tests.cli.program import Program


def told_by(process: subprocess.Popen[str]) -> dict[str, str]:
    """Return the line of JSON that a server prints when it has started."""
    assert process.stdout is not None
    told: dict[str, str] = json.loads(process.stdout.readline())
    return told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_makes_the_database_and_ends_cleanly_on_a_signal(
    program: Program, number: signal.Signals
) -> None:
    with program.start("serve", "--port", "0", "--db-path", "new.db") as process:
        told = told_by(process)
        with urlopen(f"{told['url']}/readyz") as answer:
            assert json.load(answer) == {"status": "ok"}
        with pytest.raises(HTTPError, match="401") as refused:
            urlopen(f"{told['url']}/api/v1/runs")
        refused.value.close()
        known = {"Authorization": f"Bearer {told['token']}"}
        with urlopen(Request(f"{told['url']}/api/v1/runs", headers=known)) as answer:
            assert json.load(answer)["items"] == []
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (
        0,
        "Stopped. Everything that was answered is stored.\n",
    )
    with connect(f"sqlite:///{program.folder / 'new.db'}", read_only=True) as persistence:
        assert persistence.get_agent_runs() == []


def test_what_cannot_be_served_is_one_clear_line(program: Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, out, said = program("serve", "--port", port)
    assert (code, out) == (2, "")
    assert said.startswith(f"curio-persistence: Port {port} of 127.0.0.1 is in use")
    code, _, said = program("serve", "--host", "0.0.0.0", "--port", "0", "--db-path", "refused.db")
    assert (code, said.count("\n")) == (2, 1)
    assert not (program.folder / "refused.db").exists()
    assert "CURIO_SERVER_KEYS" in said
    code, _, said = program("serve", "--key", "a b", "--port", "0")
    assert (code, said.count("\n")) == (2, 1)
    assert "a b" not in said


def test_serve_on_a_terminal_shows_what_to_set(program: Program) -> None:
    here, there = pty.openpty()
    with os.fdopen(here, "rb", buffering=0) as screen:
        process = program.start("serve", "--port", "0", stdout=there, CURIO_SERVER_KEYS="secret-1")
        os.close(there)
        with process:
            lines = [next_line(screen) for _ in range(5)]
            process.terminate()
    where, *_ = re.findall("listening on (.*)[.] Ctrl-C", lines[0])
    assert lines[0].startswith("The database agent_sdk.db: listening on http://127.0.0.1:")
    assert lines[2:] == [
        f"  export OTEL_EXPORTER_OTLP_ENDPOINT={where}",
        "  export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
        '  export OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20KEY"',
    ]


def next_line(screen: RawIOBase) -> str:
    line = b""
    while not line.endswith(b"\n"):
        line += screen.read(1) or b""
    return line.decode().rstrip()
