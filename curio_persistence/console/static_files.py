"""Scripts, styles, fonts and icons: read into memory once, and served under the hash of all.

No path of a file is ever made from a URL.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
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
_COMMENT = re.compile(rb"/\*.*?\*/", re.DOTALL)
_SPACE = re.compile(rb"\n\s*")
_PACKED = ("woff2",)
"""What is compressed already."""
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
        folder = files(__package__) / "static"
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
    yield STYLES, b"".join(_shortened(each.read_bytes()) for each in _styles(folder / "css"))
    for each in (*folder.iterdir(), *(folder / "vendor").iterdir()):
        if each.is_file() and each.name.rpartition(".")[2] in _TYPES:
            yield each.name, each.read_bytes()


def _shortened(style: bytes) -> bytes:
    """Return a style without its comments and indentation."""
    return _SPACE.sub(b"\n", _COMMENT.sub(b"", style))


def _styles(folder: Traversable) -> list[Traversable]:
    sheets = (each for each in folder.iterdir() if each.name.endswith(".css"))
    return sorted(sheets, key=lambda sheet: (sheet.name != _FIRST, sheet.name))
