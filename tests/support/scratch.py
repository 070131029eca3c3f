"""Where tests keep their files: in memory, where there is room.

On a disk, a third of what a small test takes is making its files and removing them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ROOM = 4 << 30
"""Bytes; a run of all tests takes up to two thirds of them."""


def prefer_memory() -> None:
    """Keep temporary files of this process and its children in memory, unless TMPDIR says where."""
    if "TMPDIR" not in os.environ and _has_room():
        os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)


def short_directory() -> str:
    """Return a temporary directory that every account may reach, and whose path is short."""
    return str(_MEMORY) if tempfile.gettempdir() == str(_MEMORY) else "/tmp"


def _has_room() -> bool:
    """Containers often have 64 MB there, or allow no program to run from there."""
    return (
        _MEMORY.is_dir()
        and os.access(_MEMORY, os.W_OK)
        and not os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC
        and shutil.disk_usage(_MEMORY).free > _ROOM
    )
