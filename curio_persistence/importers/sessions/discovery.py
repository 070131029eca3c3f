"""Find the sessions of this machine's user, or the sources of files that are given."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from curio_persistence.errors import AccessDeniedError, InvalidValueError
from curio_persistence.importers.common.folders import Source, source_path
from curio_persistence.importers.common.report import ReportBuilder
from curio_persistence.importers.sessions.files import SessionFile
from curio_persistence.importers.sessions.records import SessionSource
from curio_persistence.importers.sessions.report import SessionPlace
from curio_persistence.importers.sessions.sources import SOURCES, source_named

AUTO = "auto"


def find_sessions(
    paths: Iterable[Source] | None = None,
    *,
    source: str = AUTO,
    environment: Mapping[str, str] | None = None,
    home: Path | None = None,
) -> list[SessionPlace]:
    """Return the places that have sessions; by default the usual ones of this machine's user.

    A path that is given is there and of the source, or of one that recognizes it, or this raises;
    a folder may have sessions of several.
    """
    sources = [source_named(name) for name in ([*SOURCES] if source == AUTO else [source])]
    if paths is not None:
        found = [each for path in paths for each in _recognized(path, sources, source)]
        found.sort(key=lambda each: sources.index(each[0]))
    else:
        variables = os.environ if environment is None else environment
        found = [*_usual(sources, variables, home or Path.home())]
    places = [_place(one, path) for one, path in found]
    return [
        place
        for place in places
        if place.files or paths is not None or not _is_readable(place.path)
    ]


def _usual(
    sources: Iterable[SessionSource], environment: Mapping[str, str], home: Path
) -> Iterator[tuple[SessionSource, Path]]:
    for one in sources:
        seen = set()
        for place in one.places(environment, home):
            path = Path(os.path.realpath(place))
            if path not in seen and _is_there(path):
                seen.add(path)
                yield one, path


def _recognized(
    given: Source, sources: Iterable[SessionSource], name: str
) -> list[tuple[SessionSource, Path]]:
    path = source_path(given)
    try:
        found = [(one, path) for one in sources if name != AUTO or one.recognize(path)]
    except PermissionError as error:
        raise AccessDeniedError(f"{error.filename} cannot be read. Check its rights.") from error
    if found:
        return found if path.is_dir() else found[:1]
    raise InvalidValueError(
        f"{os.fspath(given)} has no sessions of a known source ({', '.join(SOURCES)}). Name the "
        "source if you know it: --source, or source=.",
        field="paths",
    )


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return True  # Nobody knows, and it is told when it is read.


def _is_readable(path: Path) -> bool:
    return os.access(path, os.R_OK) and (not path.is_dir() or os.access(path, os.X_OK))


def _place(source: SessionSource, path: Path) -> SessionPlace:
    files = bytes_ = 0
    with suppress(OSError):  # What is wrong, is told when it is read.
        for each in source.find(path, ReportBuilder()):
            with suppress(OSError):
                bytes_ += SessionFile.at(each, path).size
                files += 1
    return SessionPlace(source.name, path, files, bytes_)
