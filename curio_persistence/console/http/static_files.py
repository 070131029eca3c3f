"""Scripts, styles, fonts and icons: read into memory once, and served under the hash of all.

No path of a file is ever made from a URL.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "woff2": "font/woff2",
}
_COMMENTS = {
    "css": re.compile(rb"/\*.*?\*/", re.DOTALL),
    "js": re.compile(rb"^\s*//.*$", re.MULTILINE),
}
_SPACES = {
    "css": re.compile(rb"\s*([{};,>])\s*|(?<=:)\s+|\s+(?=!)"),
    "js": re.compile(rb"(?<=\n)\s+()"),
}
_PACKED = ("woff2",)
"""The types of files that are compressed already."""
STYLES = "console.css"
_FIRST = "base.css"
"""The file of styles that comes first: the others use its colours."""


class File(NamedTuple):
    """A file as it is sent."""

    content: bytes
    packed: bytes | None
    media_type: str


class StaticFiles:
    """The files by name, and the hash that is part of their URLs."""

    def __init__(self) -> None:
        folder = files("curio_persistence.console") / "static"
        self._files = {name: _file(name, content) for name, content in _contents(folder)}
        whole = sha256()
        for name, file in sorted(self._files.items()):
            whole.update(name.encode() + b"\0" + file.content)
        self.release = whole.hexdigest()[:16]

    @property
    def names(self) -> list[str]:
        return sorted(self._files)

    def content(self, name: str) -> bytes:
        return self._files[name].content

    def size(self, name: str) -> int:
        """Return the bytes of a file as it is sent."""
        file = self._files[name]
        return len(file.packed or file.content)

    def routes(self) -> list[Route]:
        return [Route("/static/{release}/{name}", self._answer)]

    async def _answer(self, request: Request) -> Response:
        file = self._files.get(request.path_params["name"])
        if file is None or request.path_params["release"] != self.release:
            return PlainTextResponse("There is no such file.", 404)
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable",
            "Vary": "Accept-Encoding",
        }
        content = file.content
        if file.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            content, headers["Content-Encoding"] = file.packed, "gzip"
        return Response(content, headers=headers, media_type=file.media_type)


def _file(name: str, content: bytes) -> File:
    ending = name.rpartition(".")[2]
    packed = None if ending in _PACKED else gzip.compress(content, 9, mtime=0)
    return File(content, packed, _TYPES[ending])


def _contents(folder: Traversable) -> Iterator[tuple[str, bytes]]:
    """Yield the files by name: all styles as one, and what browsers do not load left out."""
    styles = (_shortened("css", each.read_bytes()) for each in _styles(folder / "css"))
    yield STYLES, b"".join(styles)
    for each in folder.iterdir():
        ending = each.name.rpartition(".")[2]
        if ending in _TYPES and each.is_file():
            yield each.name, _shortened(ending, each.read_bytes())
    for each in (folder / "vendor").iterdir():
        if each.name.rpartition(".")[2] in _TYPES:
            yield each.name, each.read_bytes()


def _shortened(ending: str, content: bytes) -> bytes:
    """Return a style or a script without the comments and spaces that only its readers need."""
    if ending not in _COMMENTS:
        return content
    return _SPACES[ending].sub(rb"\1", _COMMENTS[ending].sub(b"", content))


def _styles(folder: Traversable) -> list[Traversable]:
    sheets = (each for each in folder.iterdir() if each.name.endswith(".css"))
    return sorted(sheets, key=lambda sheet: (sheet.name != _FIRST, sheet.name))


@cache
def static_files() -> StaticFiles:
    """Return the files, which are read once in a process."""
    return StaticFiles()
