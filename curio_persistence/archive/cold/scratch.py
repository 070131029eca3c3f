"""Folders for temporary files, which end with the process that made them."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from weakref import finalize

from curio_persistence.errors import ConfigurationError, StorageFullError

if sys.platform != "win32":
    import fcntl

_PREFIX = "curio-archive-"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class ScratchFolder:
    """A folder of its own, which its process locks as long as it lives.

    Only that process removes it, not its child after a fork. A process that was killed leaves it:
    the next `remove_abandoned` finds that nobody has the lock.
    """

    def __init__(self) -> None:
        with telling_of_scratch():
            hidden = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}"))
            lock = os.open(hidden, os.O_RDONLY) if _lock_works else -1
            with suppress(OSError):  # Where no lock works, nobody else takes it either.
                _take(lock)
            # Others see it from now on: it is locked.
            self.name = str(hidden.rename(hidden.with_name(hidden.name[1:])))
        self.remove = finalize(self, _remove, self.name, lock, os.getpid())


def remove_abandoned() -> None:
    """Remove the folders of processes that are gone."""
    with suppress(OSError):
        for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*") if _lock_works else ():
            with suppress(OSError):  # Another user's, or one that is in use.
                lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
                try:
                    _take(lock)
                    shutil.rmtree(path, ignore_errors=True)
                finally:
                    os.close(lock)


@contextmanager
def telling_of_scratch() -> Iterator[None]:
    """Raise errors of ours for those of temporary files."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFullError(
                f"The folder for temporary files is full, in which files of the archive are read "
                f"({error}). Free space there, or set TMPDIR to another folder."
            ) from error
        raise ConfigurationError(
            f"There is no folder for temporary files that can be used, in which files of the "
            f"archive are read ({error}). Set TMPDIR to one."
        ) from error


_lock_works = sys.platform != "win32"


def _take(lock: int) -> None:
    """Lock a folder; raise OSError if another process has it."""
    if sys.platform != "win32":
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove(path: str, lock: int, process: int) -> None:
    if process == os.getpid():
        shutil.rmtree(path, ignore_errors=True)
    if lock >= 0:
        os.close(lock)  # The lock of the parent stays, until the parent closes it.
