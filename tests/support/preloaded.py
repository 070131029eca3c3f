"""The command line, forked from a process that has loaded it: a tenth of a new interpreter's time.

Each command has a process of its own, with its own folder, environment, input and output. Only the
start of the interpreter is shared, and its end is left out: what is tested about these needs a real
one.
"""

from __future__ import annotations

import atexit
import gc
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NoReturn, Self

import curio_persistence
from curio_persistence import cli

ROOT = Path(__file__).parents[2]
_LONGEST = 1 << 20


class Preloaded:
    """The process that is forked; it ends with the process that started it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", __name__, str(theirs.fileno())],
                cwd=ROOT,
                pass_fds=(theirs.fileno(),),
            )
        atexit.register(self._end)

    @classmethod
    @cache
    def shared(cls) -> Self:
        """Return the one of this process."""
        return cls()

    def start(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        files: tuple[int, int, int],
    ) -> None:
        """Run a command, whose stdin, stdout and stderr are these file descriptors."""
        request = pickle.dumps((arguments, folder, dict(environment)))
        socket.send_fds(self._socket, [request], files)

    def exit_code(self) -> int:
        """Wait for the end of the command that was started last."""
        return int(self._socket.recv(_LONGEST))

    def _end(self) -> None:
        self._socket.close()
        self._process.wait()


def _serve(requests: socket.socket) -> None:
    """Return in a fork for each request; otherwise when nothing more can be requested."""
    while True:
        request, files, _, _ = socket.recv_fds(requests, _LONGEST, 3)
        if not request:
            os._exit(0)
        child = os.fork()
        if not child:
            requests.close()
            return _become(pickle.loads(request), files)
        for file in files:
            os.close(file)
        _, status = os.waitpid(child, 0)
        requests.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(request: tuple[Sequence[str], Path, Mapping[str, str]], files: Sequence[int]) -> None:
    arguments, folder, environment = request
    for standard, file in enumerate(files):
        os.dup2(file, standard)
        os.close(file)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv[1:] = arguments


def _leave(code: int) -> NoReturn:
    """End as interpreters do, except for freeing everything: that takes longer than most commands.

    To free an object is to write to it, so each fork would first copy all that was loaded.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    gc.collect()
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()
    os._exit(code)


def _load() -> None:
    """Import what most commands import."""
    for name in curio_persistence.__all__:
        getattr(curio_persistence, name)
    cli.command_parsers()
    for name in ("dotenv", "logging", "traceback", "curio_persistence.text.normalize"):
        import_module(name)
    curio_persistence.SQLitePersistence(":memory:").close()
    with suppress(curio_persistence.PersistenceError):
        curio_persistence.PostgresPersistence("host=/nowhere")
    gc.freeze()  # Or the forks would copy most of the memory when they collect.


if __name__ == "__main__":
    _load()
    _serve(socket.socket(fileno=int(sys.argv[1])))
    _leave(cli.main())
