"""Images, sound and files, which are told by type and size, and never fetched."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error

from curio_persistence.views.html.text import Html, element, linked
from curio_persistence.views.wording import size

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?[^,]{0,200},", re.ASCII)
_BASE64 = re.compile(r"[A-Za-z0-9+/_\s-]+={0,2}\s*", re.ASCII)
_SHORTEST = 200
"""Characters of base64 that no word, id or hash has."""

_SIGNATURES = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
)
_CONTAINED = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
"""The types of files that begin with RIFF."""


def chip(text: str) -> Html:
    """Return a few words that stand for something."""
    return element("span", text, class_="chip", dir="auto")


def binary_chip(text: str) -> Html | None:
    """Return a chip with type and size for base64 and data URLs; None for any other text."""
    found = _DATA_URL.match(text)
    content = text[found.end() :] if found else text
    if not found and not _is_base64(content):
        return None
    kind = (found and found[1]) or _kind(content) or "base64"
    return chip(f"{kind} · {size(_bytes(content))}")


def attachment_chip(source: str, kind: str) -> Html:
    """Return a chip for what was sent with a message: its content, or a link to where it is."""
    found = binary_chip(source)
    if found is not None:
        return found
    if re.match(r"https?://", source, re.IGNORECASE):
        return element("span", f"{kind} · ", linked(source[:500]), class_="chip", dir="auto")
    known = _kind(source) or kind
    is_content = len(source) > 40 and _BASE64.fullmatch(source)
    return chip(f"{known} · {size(_bytes(source))}" if is_content else f"{kind} · {source[:100]}")


def _is_base64(text: str) -> bool:
    beginning = text[:_SHORTEST]
    if len(text) < _SHORTEST or not (_has_cases(beginning) and _BASE64.fullmatch(text)):
        return False
    # Words have spaces; lines of base64 have 64 or more letters.
    return len(max(beginning.split(), key=len)) >= 60


def _has_cases(text: str) -> bool:
    """Return True for letters of both cases and digits: a long hexadecimal number is a text."""
    return not text.islower() and not text.isupper() and any(map(str.isdigit, text))


def _kind(content: str) -> str | None:
    try:
        first = b64decode(content[:64].translate({45: 43, 95: 47}) + "==")
    except (Error, ValueError):
        return None
    if first.startswith(b"RIFF"):
        return _CONTAINED.get(first[8:12])
    return next((kind for begin, kind in _SIGNATURES if first.startswith(begin)), None)


def _bytes(content: str) -> int:
    return len(content.rstrip("=\n")) * 3 // 4
