"""Folders for temporary files, which end with the process that made them."""

from __future__ import annotations

import errno
import os
import shutil
import sys
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
    """A temporary folder that its process locks as long as the process lives.

    Only that process removes it, not its child after a fork. A killed process leaves it, unlocked,
    to the next `remove_abandoned`.
    """

    def __init__(self) -> None:
        import tempfile  # On use: the import takes longer than that of this module.

        with telling_of_scratch():
            hidden = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}"))
            lock = os.open(hidden, os.O_RDONLY) if _lock_works else -1
            with suppress(OSError):  # Where locks do not work, no other process takes it either.
                _take(lock)
            # Other processes see it from now on: it is locked.
            self.name = str(hidden.rename(hidden.with_name(hidden.name[1:])))
        self.remove = finalize(self, _remove, self.name, lock, os.getpid())

    def __enter__(self) -> Path:
        return Path(self.name)

    def __exit__(self, *_: object) -> None:
        self.remove()


def remove_abandoned() -> None:
    """Remove the folders of processes that are gone."""
    import tempfile  # On use, as above.

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
            "The folder for temporary files cannot be used, in which files of the archive are "
            f"read ({error}). Set TMPDIR to another folder."
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
