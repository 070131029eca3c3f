"""A real disk that is small enough to be filled."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class SmallDisk:
    """A file system for one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Use up all free space."""
        with self._filler.open("ab", buffering=0) as filler:
            for size in (1 << 16, 1 << 9, 1):
                while _fits(filler.write, b"\0" * size):
                    pass

    def make_room(self, octets: int | None = None) -> None:
        """Free this much of it, or all."""
        if octets is None:
            self._filler.unlink()
        else:
            with self._filler.open("ab") as filler:
                filler.truncate(filler.tell() - octets)


def _fits(write: object, content: bytes) -> bool:
    assert callable(write)
    try:
        write(content)
    except OSError:
        return False
    return True


@contextmanager
def small_disk(megabytes: int) -> Iterator[SmallDisk]:
    """An empty disk; the test is skipped if mounting is not allowed."""
    with tempfile.TemporaryDirectory(prefix="curio-disk-", dir="/tmp") as folder:
        options = f"size={megabytes}m,mode=755"
        Path(folder).chmod(0o755)
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder],
            capture_output=True,
            text=True,
            check=False,
        )
        if mounted.returncode:
            pytest.skip(f"no disk to fill up here: {mounted.stderr.partition(chr(10))[0]}")
        try:
            yield SmallDisk(Path(folder))
        finally:
            subprocess.run(["umount", folder], check=True)
