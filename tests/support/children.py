"""Other processes: to be killed, to hold a lock, to have fewer permissions, to be forked."""

from __future__ import annotations

import os
import pickle
import select
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, NoReturn, Self, TypeVar

from tests.support.supervised import Account

ROOT = Path(__file__).parents[2]
_PATIENCE = 60.0

T = TypeVar("T")

_PRELUDE = """\
import os, sqlite3, sys, threading
from curio_persistence import *
"""

# Used once before, because the user `nobody` may not be able to read the library's files.
_GIVE_UP_RIGHTS = """\
import tempfile
with tempfile.TemporaryDirectory() as folder:
    SQLitePersistence(folder + "/used.db").close()
os.setgroups([]), os.setgid({group}), os.setuid({user})
"""


class Child:
    """A Python process that runs `code`, with everything of `curio_persistence` imported.

    It communicates in lines: `read()` returns what it prints (`flush=True`), and `write()` answers
    `input()`. With `as_nobody` it is not a superuser, even if this process is.
    """

    def __init__(self, code: str, *arguments: str | Path, as_nobody: bool = False) -> None:
        account = Account.unprivileged()
        rights = ""
        if as_nobody and account.user is not None:
            rights = _GIVE_UP_RIGHTS.format(user=account.user, group=account.group)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PRELUDE + rights + code, *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    def read(self) -> str:
        """Return its next line; raise an error if it has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ChildProcessError(f"the child ended with {self._process.wait()}")
        return line.rstrip("\n")

    def write(self, line: str = "") -> None:
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)

    def interrupt(self) -> None:
        """Send SIGINT, as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def exit_code(self) -> int:
        """Wait for the child's end; a negative code is the signal that ended it."""
        return self._process.wait(_PATIENCE)

    def kill(self) -> str:
        """Send SIGKILL; return its remaining output."""
        self._process.kill()
        return self._last_words()

    def finish(self) -> str:
        """Let `input()` end, and wait for the child's end, which must be successful."""
        said = self._last_words()
        if self._process.returncode:
            raise ChildProcessError(f"the child ended with {self._process.returncode}")
        return said

    def _last_words(self) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self._process.stdout.closed:
            return ""
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        with self._process.stdout as stdout:
            said = stdout.read()
        self._process.wait(_PATIENCE)
        return said


class Fork(Generic[T]):
    """`work`, executed in a fork of this process."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._answer, tell = os.pipe()
        with warnings.catch_warnings():
            # From Python 3.12 on, because this process may have threads; users' processes may too.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if not self.pid:
            _be_child(work, tell)
        os.close(tell)

    def result(self) -> T:
        """Return the result of `work`, or raise its exception."""
        with os.fdopen(self._answer, "rb") as answer:
            if not select.select([answer], [], [], _PATIENCE)[0]:
                os.kill(self.pid, signal.SIGKILL)
            said = answer.read()
        _, status = os.waitpid(self.pid, 0)
        if not said:
            raise ChildProcessError(f"the fork ended with {os.waitstatus_to_exitcode(status)}")
        value, error = pickle.loads(said)
        if error is not None:
            raise error
        return value  # type: ignore[no-any-return]


def _be_child(work: Callable[[], object], tell: int) -> NoReturn:
    outcome: tuple[Any, BaseException | None]
    try:
        outcome = work(), None
    except BaseException as error:
        traceback.print_exc()
        outcome = None, error
    with os.fdopen(tell, "wb") as answer:
        try:
            answer.write(pickle.dumps(outcome))
        except Exception:
            answer.write(pickle.dumps((None, RuntimeError(repr(outcome)))))
    os._exit(0)


def open_files(name: str) -> list[str]:
    """Return the open files of this process with this in their path, once for each descriptor."""
    targets = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            targets.append(str(descriptor.readlink()))
        except FileNotFoundError:  # The descriptor with which the folder itself is being read.
            continue
    return sorted(target for target in targets if name in target)
