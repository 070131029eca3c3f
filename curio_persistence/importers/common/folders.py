"""List folders that other programs filled, and nothing that is outside of them."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from itertools import islice
from pathlib import Path

from curio_persistence.errors import AccessDeniedError, InvalidValueError, NotFoundError
from curio_persistence.importers.common.limits import MAX_FOLDERS
from curio_persistence.importers.common.report import ReportBuilder

_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, other ends of lines, and bytes that are not UTF-8."""

Source = str | os.PathLike[str]


def source_path(source: Source) -> Path:
    """Return the real path of what is to be imported."""
    try:
        return Path(source).resolve(strict=True)
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no {os.fspath(source)} to import.") from error
    except PermissionError as error:
        raise AccessDeniedError(
            f"{os.fspath(source)} cannot be read. Check the rights of the folders above it."
        ) from error
    except (OSError, RuntimeError, ValueError, TypeError) as error:  # A circle of links, a NUL.
        raise InvalidValueError(f"{source!r} is not a path: {error}.", field="source") from error


def listed(
    folder: Path, root: Path, report: ReportBuilder, *, only: Collection[str] | None = None
) -> dict[str, os.DirEntry[str]]:
    """Return the entries of a folder by name, in order; with `only`, those of these names.

    A link that leads out of the root, and a name with control characters in it, is a problem.
    """
    try:
        with os.scandir(folder) as entries:
            found = (entry for entry in entries if only is None or entry.name in only)
            wanted = list(islice(found, MAX_FOLDERS + 1))
    except OSError as error:
        report.problem(shown(folder, root), None, f"cannot be read: {error.strerror}")
        return {}
    if len(wanted) > MAX_FOLDERS:
        raise InvalidValueError(
            f"{folder} has more than {MAX_FOLDERS:,} entries. Import its parts one by one.",
            field="source",
        )
    wanted.sort(key=lambda entry: entry.name)
    return {entry.name: entry for entry in wanted if _is_safe(entry, root, report)}


def _is_safe(entry: os.DirEntry[str], root: Path, report: ReportBuilder) -> bool:
    if _UNFIT.search(entry.name):
        report.problem(shown(entry, root), None, "has a name with control characters in it")
        return False
    if entry.is_symlink() and not _leads_inside(entry, root):
        report.problem(shown(entry, root), None, f"is a link that leads out of {root}, or nowhere")
        return False
    return True


def _leads_inside(entry: os.DirEntry[str], root: Path) -> bool:
    try:
        return Path(entry.path).resolve(strict=True).is_relative_to(root)
    except (OSError, RuntimeError):
        return False


def shown(path: Source, root: Path) -> str:
    """Return a path as reports name it: as seen from the root."""
    return os.path.relpath(path, root)
