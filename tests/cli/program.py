"""The real program, run as by a script and as by a person."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from io import RawIOBase
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

from tests.support import command_line
from tests.support.preloaded import Preloaded

_PASSED = re.compile(r"(?:\r\x1b\[K[^\r\n]*)*\r\x1b\[K")
"""Lines that were erased again."""


class Ended(NamedTuple):
    """The result of a program: on a terminal, `out` is what remains on the screen."""

    code: int
    out: str
    said: str = ""

    def json(self) -> Any:
        assert self.code == 0, self
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Program:
    """`curio-persistence`, in a folder that is empty at first."""

    def __init__(self, path: Path) -> None:
        self.folder = path / "here"
        self.folder.mkdir()
        (path / "bin").mkdir()
        self.environment = {
            **command_line.environment(path / "bin"),
            "TZ": "UTC",
            "TERM": "xterm-256color",
        }
        for name in ("NO_COLOR", "COLUMNS", "CURIO_DATABASE_URL"):
            self.environment.pop(name, None)

    def __call__(self, *arguments: str, **variables: str) -> Ended:
        """Run it with its output in files."""
        with TemporaryFile() as out, TemporaryFile() as said, Path(os.devnull).open() as nothing:
            files = nothing.fileno(), out.fileno(), said.fileno()
            code = self._begin(arguments, variables, files)()
            return Ended(code, *map(_text, (out, said)))

    def shell(self, line: str, **variables: str) -> Ended:
        """Run a line as bash does."""
        return self._run(["bash", "-c", line], variables)

    def on_terminal(
        self, *arguments: str, columns: int = 120, typed: str = "", **variables: str
    ) -> Ended:
        """Run it on a terminal, without colours."""
        return self.in_colour(*arguments, columns=columns, typed=typed, NO_COLOR="1", **variables)

    def in_colour(
        self, *arguments: str, columns: int = 120, typed: str = "", **variables: str
    ) -> Ended:
        """Run it on a terminal, with typed input."""
        here, there = pty.openpty()
        os.write(here, typed.encode())
        fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        with os.fdopen(here, "rb", buffering=0) as screen:
            wait = self._begin(arguments, variables, (there, there, there))
            os.close(there)
            shown = b"".join(until_it_is_closed(screen))
        code = wait()
        return Ended(code, _PASSED.sub("", shown.decode()).replace("\r\n", "\n"))

    def start(
        self, *arguments: str, stdout: int = subprocess.PIPE, **variables: str
    ) -> subprocess.Popen[str]:
        """Start it and do not wait."""
        return subprocess.Popen(
            [command_line.COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment | variables,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def files(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}

    def _begin(
        self, arguments: Sequence[str], variables: dict[str, str], files: tuple[int, int, int]
    ) -> Callable[[], int]:
        """Start it, and return a function that waits for its exit code."""
        environment = self.environment | variables
        if not _concern_the_interpreter(variables):
            Preloaded.shared().start(arguments, self.folder, environment, files)
            return Preloaded.shared().exit_code
        command = [command_line.COMMAND, *arguments]
        options = dict(zip(("stdin", "stdout", "stderr"), files, strict=True))
        return subprocess.Popen(command, cwd=self.folder, env=environment, **options).wait

    def _run(self, command: Sequence[str], variables: dict[str, str]) -> Ended:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)


def _concern_the_interpreter(variables: Iterable[str]) -> bool:
    """Return whether Python reads one of these variables when it starts."""
    return any(name.startswith(("PYTHON", "LC_", "LANG")) for name in variables)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def until_it_is_closed(screen: RawIOBase) -> Iterator[bytes]:
    with suppress(OSError):  # Linux reports in this way that the other end of a terminal is closed.
        while read := screen.read(65536):
            yield read
