"""Processes that cannot outlive the one that started them.

Between owner and server is a supervisor: this file, run as a script, at the read end of a
pipe. However the owner ends (return, exception, `os._exit`, SIGKILL), the kernel closes the pipe,
and the supervisor stops the server and removes its directory. Linux's PR_SET_PDEATHSIG would be
shorter, but it follows the *thread* that started the server and leaves the directory behind.
"""

from __future__ import annotations

import json
import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_STOPS_WITHIN = 10.0


@dataclass(frozen=True, slots=True)
class Account:
    """The user that a server runs as; None means this process's user."""

    user: int | None
    group: int | None

    @classmethod
    def unprivileged(cls) -> Account:
        """Return the account `nobody` for root: PostgreSQL and pgbouncer refuse to run as root."""
        if os.geteuid() != 0:
            return cls(None, None)
        nobody = pwd.getpwnam("nobody")
        return cls(nobody.pw_uid, nobody.pw_gid)

    @property
    def extra_groups(self) -> list[int] | None:
        return None if self.user is None else []

    def own(self, root: Path) -> None:
        """Give a directory and its contents to this account."""
        if self.user is None or self.group is None:
            return
        for path in (root, *root.rglob("*")):
            os.chown(path, self.user, self.group, follow_symlinks=False)


class Supervised:
    """A running server, with its output in `directory/log`.

    `stop()` leaves the directory to its owner; the supervisor removes it only if the owner is gone.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        directory: Path,
        account: Account,
        stop_signal: signal.Signals,
    ) -> None:
        order = {
            "command": [str(part) for part in command],
            "directory": str(directory),
            "user": account.user,
            "group": account.group,
            "stop_signal": stop_signal,
        }
        self._supervisor = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, json.dumps(order)],
            stdin=subprocess.PIPE,
            # Its own session: Ctrl-C in the terminal is for the tests, which stop the server then.
            start_new_session=True,
        )

    @property
    def running(self) -> bool:
        return self._supervisor.poll() is None

    def stop(self) -> None:
        """Stop the server and wait until it has ended; harmless if it already has."""
        self._supervisor.communicate(b".")


def _supervise(
    command: list[str], directory: str, user: int | None, group: int | None, stop_signal: int
) -> None:
    with Path(directory, "log").open("ab") as log:
        server = subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            user=user,
            group=group,
            extra_groups=Account(user, group).extra_groups,
        )
    owner_is_there = _wait_for_owner_or(server)
    _end(server, stop_signal)
    if not owner_is_there:
        shutil.rmtree(directory, ignore_errors=True)


def _wait_for_owner_or(server: subprocess.Popen[bytes]) -> bool:
    """Wait for the owner's message or the server's end; False if the owner ended without one."""
    while server.poll() is None:
        spoken, _, _ = select.select([sys.stdin], [], [], 0.1)
        if spoken:
            return bool(os.read(sys.stdin.fileno(), 1))
    return True


def _end(server: subprocess.Popen[bytes], stop_signal: int) -> None:
    server.send_signal(stop_signal)
    try:
        server.wait(_STOPS_WITHIN)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


if __name__ == "__main__":
    _supervise(**json.loads(sys.argv[1]))
