"""Files and folders that get their name when they are complete: a killed export leaves none.

They are private: only the user who exports may read what agents and people said.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from glob import escape
from pathlib import Path
from typing import BinaryIO

from curio_persistence.errors import InvalidValueError, StorageFullError

MANIFEST = "manifest.json"
"""The file by which a folder is known as an export. It is written last."""

_ABANDONED = 86_400.0
"""Seconds without a write, after which what is unfinished is taken for that of a killed export."""


@contextmanager
def whole_file(path: Path, *, overwrite: bool) -> Iterator[BinaryIO]:
    """A new file, under another name until the block has ended well."""
    with telling(path):
        _refuse_what_is_there(path, overwrite, Path.is_file)
        with _unfinished(path, partial(Path.touch, mode=0o600)) as unfinished:
            with unfinished.open("wb") as file:
                yield file
                _to_disk(file)
            _refuse_what_is_there(path, overwrite, Path.is_file)
            unfinished.replace(path)


@contextmanager
def new_file(path: Path, *, like: str = "") -> Iterator[Path]:
    """A new file, which another program writes under another name until the block has ended well.

    It never replaces a file, not even one that appeared meanwhile. `like` is the pattern of the
    names of such files, if each has another one.
    """
    with telling(path):
        if os.path.lexists(path):
            raise _is_there(path)
        with _unfinished(path, partial(Path.touch, mode=0o600), like) as unfinished:
            yield unfinished
            with unfinished.open("rb+") as file:
                _to_disk(file)
            _name_it(unfinished, path)


@contextmanager
def whole_folder(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """A new folder, under another name until the block has ended well."""
    with telling(path):
        _refuse_what_is_there(path, overwrite, _is_export)
        with _unfinished(path, partial(Path.mkdir, mode=0o700)) as unfinished:
            yield unfinished
            while not _takes_its_place(unfinished, path, overwrite):
                pass


@contextmanager
def file_in(folder: Path, name: str) -> Iterator[BinaryIO]:
    """A new file in a folder that is being made."""
    path = folder / name
    path.touch(mode=0o600, exist_ok=False)
    with path.open("wb") as file:
        yield file
        _to_disk(file)


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


# --- what has another name until it is complete ---------------------------------------------------


@contextmanager
def _unfinished(path: Path, make: Callable[[Path], object], like: str = "") -> Iterator[Path]:
    """Create a hidden file or folder of a unique name; remove old ones that killed exports left."""
    for left in path.parent.glob(f".{like or escape(path.name)}.*.partial"):
        with suppress(OSError):
            written_at = max(each.lstat().st_mtime for each in (left, *left.glob("*")))
            if time.time() - written_at > _ABANDONED:
                _remove(left)
    unfinished = _another_name(path)
    try:
        make(unfinished)
        yield unfinished
    finally:
        _remove(unfinished)


def _another_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.urandom(4).hex()}.partial")


def _remove(path: Path) -> None:
    import shutil

    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _name_it(unfinished: Path, path: Path) -> None:
    """Give a file its name, unless another file has it."""
    try:
        path.hardlink_to(unfinished)
    except FileExistsError:
        raise _is_there(path) from None
    except OSError:  # A file system without links.
        if os.path.lexists(path):
            raise _is_there(path) from None
        unfinished.rename(path)


def _is_there(path: Path) -> InvalidValueError:
    return InvalidValueError(
        f"{path} is there already, and is not replaced: choose another name.", field="path"
    )


# --- the place itself -----------------------------------------------------------------------------


def _refuse_what_is_there(path: Path, overwrite: bool, fits: Callable[[Path], bool]) -> None:
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise InvalidValueError(
            f"{path} is there already. Choose another name, or pass overwrite=True (--force).",
            field="path",
        )
    if path.exists() and not fits(path):
        raise InvalidValueError(
            f"{path} is there, and is not an export: choose another name.", field="path"
        )


def _is_export(path: Path) -> bool:
    return (path / MANIFEST).is_file()


def _takes_its_place(unfinished: Path, path: Path, overwrite: bool) -> bool:
    """Give a folder its name; False if another export has just taken it."""
    _refuse_what_is_there(path, overwrite, _is_export)
    old = _another_name(path)
    if overwrite:
        with suppress(FileNotFoundError):
            path.rename(old)
    try:
        unfinished.rename(path)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        if old.exists():
            old.rename(path)
        raise
    finally:
        _remove(old)
    return True


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """Tell of failures to write in words of ours."""
    try:
        yield
    except OSError as error:
        said = f"{path} cannot be written: {error.strerror or error}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(f"{said}. Make room, and begin again.") from error
        raise InvalidValueError(f"{said}.", field="path") from error
