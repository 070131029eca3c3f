"""Addresses of long texts, and the markers that stand for them in stored rows.

In stored text an escape is U+FDD0 and four hexadecimal digits (see `codecs`). A marker is U+FDD0, a
letter that is none of these digits, and an address: so no text of a user can look like a marker.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from hashlib import sha256
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any, Literal

from curio_persistence.store.codecs import ESCAPE
from curio_persistence.tables.content import SCOPE_LENGTH

Kind = Literal["t", "s", "u", "r", "l"]
"""Kinds of markers: `t` stands for a whole text; in JSON `s` a string, `u` one in ASCII, `r` one as
it is written, `l` a list, whose last bracket is not part of the text."""

_ADDRESS = f"[A-Za-z0-9_-]{{{SCOPE_LENGTH + 43}}}"
_MARKER = re.compile(f'"{ESCAPE}([surl])({_ADDRESS})"|{ESCAPE}t({_ADDRESS})')
_ESCAPE_IN_BYTES = ESCAPE.encode()
_IN_BYTES = re.compile(_MARKER.pattern.encode())


def scope_of(kind: Literal["session", "run"], ident: str) -> str:
    """Return the characters that name a scope. If two share them, they only share their texts."""
    return _digits(sha256(f"{kind} {ident}".encode()))[:SCOPE_LENGTH]


def to_bytes(text: str) -> bytes:
    """Return a text as UTF-8. A string in JSON may have lone surrogates."""
    return text.encode("utf-8", "surrogatepass")


def from_bytes(octets: bytes) -> str:
    """Undo `to_bytes`."""
    return octets.decode("utf-8", "surrogatepass")


def _digits(hasher: Any) -> str:
    """Return the SHA-256 of a hasher in 43 characters."""
    return urlsafe_b64encode(hasher.digest())[:-1].decode()


def address_of(scope: str, text: str | Any) -> str:
    """Return the address of a text, or of what a hasher has read, in a scope."""
    return scope + _digits(sha256(to_bytes(text)) if isinstance(text, str) else text)


def number_of(address: str) -> int:
    """Return the number by which a text names another: 63 bits of the hash of its address."""
    return int.from_bytes(sha256(address.encode()).digest()[:8]) >> 1


def marker(kind: Kind, address: str) -> str:
    """Return what stands for a text."""
    return f"{ESCAPE}t{address}" if kind == "t" else f'"{ESCAPE}{kind}{address}"'


def has_marker(text: str | None) -> bool:
    """Return whether a stored text has a marker. Of ASCII text, the common case, a flag tells."""
    return (
        text is not None
        and not text.isascii()
        and ESCAPE in text
        and _MARKER.search(text) is not None
    )


def has_marker_in_bytes(octets: bytes) -> bool:
    """Return whether text in UTF-8 has a marker."""
    return _ESCAPE_IN_BYTES in octets and _IN_BYTES.search(octets) is not None


def addresses_in(text: str) -> Iterator[str]:
    """Yield the addresses of the markers in a stored text."""
    for match in _MARKER.finditer(text):
        yield match[2] or match[3]


def parts_of(text: str) -> Iterator[tuple[str, Kind | None, str]]:
    """Yield the pieces of a text before its markers, each with the next marker's kind and address.

    The last piece has no marker behind it.
    """
    end = 0
    for match in _MARKER.finditer(text):
        kind: Kind = match[1] or "t"  # type: ignore[assignment]
        yield text[end : match.start()], kind, match[2] or match[3]
        end = match.end()
    yield text[end:], None, ""


def as_written(kind: Kind, text: str) -> str:
    """Return a text as it is written where its marker stands."""
    match kind:
        case "s":
            return encode_basestring(text)
        case "u":
            return encode_basestring_ascii(text)
        case "l":
            return f"{text}]"
    return text


def kind_of_string(token: str, text: str) -> Kind:
    """Return the kind of marker for a string in JSON, by how it is written."""
    if encode_basestring(text) == token:
        return "s"
    return "u" if encode_basestring_ascii(text) == token else "r"
