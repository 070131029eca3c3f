"""Markup, and recorded text in it, which must neither vanish nor turn the writing round."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

# What is left are letters of any script, signs of ASCII, spaces and line breaks.
_DOUBTFUL = re.compile(r"[^\w\n\t -~]+")
_KEPT = "\u200c\u200d\u3000\xa0"
"""Joiners and spaces that languages need; Python does not count them as printable."""

_URL = re.compile(r"https?://[^\s<>\"'`\\^{}|]+", re.IGNORECASE)
_AFTER_URL = ".,;:!?*_]"


class Html(str):
    """Markup: a text in which everything recorded is escaped. Jinja shows it as it is."""

    __slots__ = ()

    def __html__(self) -> Html:
        """Return the markup, as Jinja and MarkupSafe ask for it."""
        return self


def harmless(text: str) -> str:
    """Return a text in which what HTML cannot hold, or what turns writing round, is spelt out."""
    return text if text.isprintable() else _DOUBTFUL.sub(_spelt_out, text)


def _spelt_out(found: re.Match[str]) -> str:
    doubtful = found[0]
    return doubtful if doubtful.isprintable() else "".join(map(_character, doubtful))


def _character(character: str) -> str:
    if character.isprintable() or character in _KEPT:
        return character
    return character.encode("unicode_escape").decode("ascii")


def escaped(text: str) -> Html:
    """Return recorded text as markup, and markup as it is."""
    return text if isinstance(text, Html) else Html(escape(harmless(text)))


def joined(parts: Iterator[str] | tuple[str, ...] | list[str]) -> Html:
    """Return parts one after another; those that are not markup are escaped."""
    return Html("".join(map(escaped, parts)))


def element(name: str, *inside: str, **attributes: str | None) -> Html:
    """Return an element; an attribute that is None is left out, `class_` stands for `class`."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(harmless(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{told}>{joined(inside)}</{name}>")


def linked(text: str) -> Html:
    """Return text in which http and https URLs are links; no other scheme ever is one."""
    return joined(_with_links(harmless(text)))


def _with_links(text: str) -> Iterator[str]:
    end = 0
    for found in _URL.finditer(text):
        url = found[0].rstrip(_AFTER_URL)
        url = url if "(" in url else url.rstrip(").,;:!?")
        yield text[end : found.start()]
        yield element("a", url, href=url, rel="noopener noreferrer nofollow", target="_blank")
        end = found.start() + len(url)
    yield text[end:]


def block(text: str) -> Html:
    """Return text with its lines, in the direction of its own script."""
    return element("div", linked(text.rstrip("\n")), class_="text", dir="auto")


def verbatim(text: str) -> Html:
    """Return text with its lines in letters of one width."""
    return element("pre", escaped(text.rstrip("\n")), dir="auto")
