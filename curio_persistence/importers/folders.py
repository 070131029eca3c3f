"""What is in a folder that somebody else filled, and nothing that is outside of it."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from itertools import islice
from pathlib import Path

from curio_persistence.errors import AccessDeniedError, InvalidValueError, NotFoundError
from curio_persistence.importers.limits import MAX_FOLDERS
from curio_persistence.importers.reports import Tally

_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, other ends of lines, and bytes that are no UTF-8."""

Source = str | os.PathLike[str]


def source_path(source: Source) -> Path:
    """The real path of what is to be imported."""
    try:
        return Path(source).resolve(strict=True)
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no {os.fspath(source)} to import.") from error
    except PermissionError as error:
        raise AccessDeniedError(
            f"{os.fspath(source)} cannot be read. Check the rights of the folders above it."
        ) from error
    except (OSError, RuntimeError, ValueError, TypeError) as error:  # A circle of links, a NUL.
        raise InvalidValueError(f"{source!r} is no path: {error}.", field="source") from error


def listed(
    folder: Path, root: Path, tally: Tally, *, only: Collection[str] | None = None
) -> dict[str, os.DirEntry[str]]:
    """What is in a folder, in the order of the names, or what of it has one of `only` these names.

    A link that leads out of the root, and a name with control characters in it, is a problem.
    """
    try:
        with os.scandir(folder) as entries:
            found = (entry for entry in entries if only is None or entry.name in only)
            wanted = list(islice(found, MAX_FOLDERS + 1))
    except OSError as error:
        tally.problem(shown(folder, root), None, f"cannot be read: {error.strerror}")
        return {}
    if len(wanted) > MAX_FOLDERS:
        raise InvalidValueError(
            f"{folder} has more than {MAX_FOLDERS:,} entries. Import its parts one by one.",
            field="source",
        )
    wanted.sort(key=lambda entry: entry.name)
    return {entry.name: entry for entry in wanted if _is_safe(entry, root, tally)}


def _is_safe(entry: os.DirEntry[str], root: Path, tally: Tally) -> bool:
    if _UNFIT.search(entry.name):
        tally.problem(shown(entry, root), None, "has a name with control characters in it")
        return False
    if entry.is_symlink() and not _leads_inside(entry, root):
        tally.problem(shown(entry, root), None, f"is a link that leads out of {root}, or nowhere")
        return False
    return True


def _leads_inside(entry: os.DirEntry[str], root: Path) -> bool:
    try:
        return Path(entry.path).resolve(strict=True).is_relative_to(root)
    except (OSError, RuntimeError):
        return False


def shown(path: Source, root: Path) -> str:
    """A path as reports name it: as seen from the root."""
    return os.path.relpath(path, root)
