"""Opening the database of the console: now, or once it is there; and indexing it for search."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import PurePath
from threading import Event, Lock, Thread
from time import monotonic
from typing import Protocol

from curio_persistence.config import DatabaseConfig
from curio_persistence.errors import ClosedError, PersistenceError
from curio_persistence.persistence import Persistence

_log = logging.getLogger(__name__)
_PATIENCE = 1.0
"""Seconds between two attempts to open a database that is not there, or not as it should be."""
_INDEXING_EVERY = 5.0


class Source(Protocol):
    """Returns the open persistence of the console; raises why there is none."""

    def __call__(self) -> Persistence: ...


class Opening:
    """Opens a database when it is first asked for, and tries again as long as that fails.

    It reads only, unless the console may write. A file that was deleted, or replaced by another,
    is opened anew: an open one would show for ever what was in it.
    """

    def __init__(self, config: DatabaseConfig, *, read_only: bool) -> None:
        self._config, self._read_only = config, read_only
        self._lock = Lock()
        self._open: Persistence | None = None
        self._identity: tuple[int, int] | None = None
        self._failure = PersistenceError()
        self._next_attempt = 0.0

    @property
    def name(self) -> str:
        """The name of the file or database, also while it is not there."""
        if self._config.db_type == "sqlite":
            return PurePath(self._config.db_path).name
        return self._config.db_name or self._config.db_type

    def __call__(self) -> Persistence:
        """Return the open persistence; raise why it could not be opened a moment ago."""
        with self._lock:
            identity = self._identity_now()
            if self._open is not None and identity != self._identity:
                self._open.close()
                self._open = None
            if self._open is None:
                self._open, self._identity = self._opened(), identity
            return self._open

    def _identity_now(self) -> tuple[int, int] | None:
        """Return the numbers of the file, None where there is none."""
        if self._config.db_type != "sqlite":
            return None
        try:
            found = os.stat(self._config.db_path)  # faster  # noqa: PTH116
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _opened(self) -> Persistence:
        if monotonic() < self._next_attempt:
            raise self._failure.with_traceback(None)
        try:
            self._config.get_persistence(read_only=True).close()  # Tells what is missing.
            return self._config.get_persistence(read_only=self._read_only, initialize=False)
        except PersistenceError as error:
            self._failure = error
            self._next_attempt = monotonic() + _PATIENCE
            raise

    def close(self) -> None:
        with self._lock:
            self._failure = ClosedError("The console is stopping.")
            self._next_attempt = float("inf")
            if self._open is not None:
                self._open.close()


class Indexing:
    """Indexes what is recorded, by a writing persistence of its own, beside the requests.

    A database that cannot be written to is left as it is: searches say what they did not see.
    """

    def __init__(self, config: DatabaseConfig, source: Source) -> None:
        self._config, self._source = config, source
        self._stop = Event()
        self._thread = Thread(target=self._run, name="curio-indexing", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, patience: float) -> None:
        self._stop.set()
        self._thread.join(patience)

    def _run(self) -> None:
        while not self._stop.is_set():
            with suppress(PersistenceError):
                self._index()
            self._stop.wait(_PATIENCE)

    def _index(self) -> None:
        """Index again and again, until that fails, the database is another, or the console stops.

        The source tells whether the database is there, and its tables are as they should be.
        """
        reading = self._source()
        with self._config.get_persistence(initialize=False) as writing:
            while not self._stop.is_set() and self._source() is reading:
                if writing.search.enabled:
                    writing.search.index_pending(progress=self._continue)
                self._stop.wait(_INDEXING_EVERY)

    def _continue(self, *_: object) -> None:
        """Be called as progress is made; an error ends the indexing, which goes on another time."""
        if self._stop.is_set():
            raise ClosedError("The console is stopping.")
