"""The sides, each in a process of its own, controlled by this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.peers import environments
from benchmarks.peers.sides import SIDES

# None of them may send telemetry during a measurement.
_QUIET = {
    "AGNO_TELEMETRY": "false",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}


class PeerError(Exception):
    """A side failed; the message is its traceback."""


class Peer:
    """One side, as seen by this process."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self._log = directory / f"{name}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [_interpreter(name), "-m", "benchmarks.peers.worker", name, str(directory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=environments.ROOT,
                env={**os.environ, **_QUIET},
            )

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, do: str, **arguments: Any) -> Any:
        """Send a request and wait for the answer."""
        self.send(do, **arguments)
        return self.receive()

    def send(self, do: str, **arguments: Any) -> None:
        """Send a request; `receive` waits for the answer."""
        assert self._process.stdin is not None
        with self._explained():
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()

    def receive(self) -> Any:
        assert self._process.stdout is not None
        with self._explained():
            answer = json.loads(self._process.stdout.readline())
        if "failed" in answer:
            raise PeerError(f"{self.name} failed:\n{answer['failed']}")
        return answer["is"]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Return an error with the log of a worker that has ended."""
        try:
            yield
        except (OSError, json.JSONDecodeError) as error:
            self._process.wait()
            raise PeerError(f"{self.name} ended:\n{self._log.read_text()}") from error


def assemble(names: Sequence[str], directory: Path, stack: ExitStack) -> list[Peer]:
    """Start these sides; they end with the stack."""
    for name in names:
        _interpreter(name)  # All packages are installed before anything runs.
    return [stack.enter_context(Peer(name, directory)) for name in names]


def _interpreter(name: str) -> str:
    """Return the interpreter of the environment named like the side's module, or this one."""
    environment = SIDES[name].partition(".")[0]
    if environment in environments.REQUIREMENTS:
        return str(environments.python(environment))
    return sys.executable
