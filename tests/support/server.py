"""The base of throw-away servers: a directory, a start that waits, an end without remains."""

from __future__ import annotations

import shutil
import signal
import socket
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import psycopg2

from tests.support.scratch import short_directory
from tests.support.supervised import Account, Supervised

_STARTS_WITHIN = 30.0


class ServerUnavailable(Exception):
    """A server that tests need is not installed or did not start; the message says why."""


class ThrowAwayServer(ABC):
    """A server with PostgreSQL's protocol and a directory of its own, removed by `stop()`.

    It may be started again, as an empty one. It never outlives the process that started it.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]

    def __init__(self) -> None:
        self.account = Account.unprivileged()
        self._directory: Path | None = None
        self._process: Supervised | None = None

    @property
    @abstractmethod
    def dsn(self) -> str:
        """Return the DSN for libpq while the server runs."""

    @abstractmethod
    def _prepare(self) -> Sequence[str | Path]:
        """Fill the directory, and return the command that runs the server."""

    @property
    def directory(self) -> Path:
        if self._directory is None:
            raise ServerUnavailable(f"{self.name} was not started")
        return self._directory

    def start(self) -> Self:
        """Start the server, and return when it answers."""
        self._directory = _make_directory(self.name, self.account)
        try:
            self._command = self._prepare()
            self._run()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop it and remove its directory; open sessions are ended."""
        if self._process is not None:
            self._process.stop()
            self._process = None
        if self._directory is not None:
            shutil.rmtree(self._directory)
            self._directory = None

    def restart(self) -> None:
        """End every session and restart at the same address, with the same data."""
        with self.down():
            pass

    @contextmanager
    def down(self) -> Iterator[None]:
        """Stop the server in the block: every session is ended, and new ones are refused."""
        if self._process is not None:
            self._process.stop()
        yield
        self._run()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self) -> None:
        self._process = Supervised(
            self._command,
            directory=self.directory,
            account=self.account,
            stop_signal=self.stop_signal,
        )
        deadline = time.monotonic() + _STARTS_WITHIN
        while not _answers(self.dsn):
            if not self._process.running or time.monotonic() > deadline:
                raise ServerUnavailable(f"{self.name} does not answer:\n{self._last_words()}")
            time.sleep(0.01)

    def _last_words(self) -> str:
        return (self.directory / "log").read_text(errors="replace")[-2000:]


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _make_directory(name: str, account: Account) -> Path:
    # Not in TMPDIR: the path of a Unix socket may have 107 bytes, and the user `nobody` must be
    # able to open it.
    directory = Path(tempfile.mkdtemp(prefix=f"curio-{name}-", dir=short_directory()))
    account.own(directory)
    return directory


def _answers(dsn: str) -> bool:
    try:
        psycopg2.connect(dsn, connect_timeout=5).close()
    except psycopg2.OperationalError:
        return False
    return True
