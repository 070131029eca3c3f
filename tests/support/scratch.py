"""Directories for files of tests: in memory, if there is enough space.

On a disk, a third of the time of a small test goes into creating and removing its files.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ROOM = 4 << 30
"""In bytes; a run of all tests uses up to two thirds of it."""


def prefer_memory() -> None:
    """Put temporary files of this process and its children in memory, unless TMPDIR is set."""
    if "TMPDIR" not in os.environ and _has_room():
        os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)


def short_directory() -> str:
    """Return a temporary directory with a short path that every account may enter."""
    return str(_MEMORY) if tempfile.gettempdir() == str(_MEMORY) else "/tmp"


def _has_room() -> bool:
    """Check for space: containers often have 64 MB there, or forbid running programs there."""
    return (
        _MEMORY.is_dir()
        and os.access(_MEMORY, os.W_OK)
        and not os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC
        and shutil.disk_usage(_MEMORY).free > _ROOM
    )
