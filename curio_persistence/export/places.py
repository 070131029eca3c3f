"""Files and folders that get their name when they are complete: a killed export leaves none."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from curio_persistence.errors import InvalidValueError, StorageFullError

MANIFEST = "manifest.json"
"""The file by which a folder is known as an export. It is written last."""


@contextmanager
def whole_file(path: Path, *, overwrite: bool) -> Iterator[BinaryIO]:
    """A new file, under another name until the block has ended well."""
    with _telling(path):
        _refuse_what_is_there(path, overwrite)
        partial = _partial(path)
        try:
            with partial.open("wb") as file:
                yield file
                _to_disk(file)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """A new folder, under another name until the block has ended well."""
    import shutil

    with _telling(path):
        _refuse_what_is_there(path, overwrite)
        if path.exists() and not (path / MANIFEST).is_file():
            raise InvalidValueError(
                f"{path} is there, and is no export: choose another name.", field="path"
            )
        partial = _partial(path)
        partial.mkdir()
        try:
            yield partial
            if path.exists():
                shutil.rmtree(path)
            partial.rename(path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def file_in(folder: Path, name: str) -> Iterator[BinaryIO]:
    """A new file in a folder that is being made."""
    with (folder / name).open("wb") as file:
        yield file
        _to_disk(file)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _refuse_what_is_there(path: Path, overwrite: bool) -> None:
    if not overwrite and os.path.lexists(path):
        raise InvalidValueError(
            f"{path} is there already. Choose another name, or say overwrite=True (--force).",
            field="path",
        )


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Tells of failures to write in words of ours."""
    try:
        yield
    except OSError as error:
        said = f"{path} cannot be written: {error.strerror or error}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(f"{said}. Make room, and begin again.") from error
        raise InvalidValueError(f"{said}.", field="path") from error
