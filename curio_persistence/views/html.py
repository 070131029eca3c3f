"""Recorded text in HTML, where it must neither vanish nor turn the writing round."""

from __future__ import annotations


def harmless(text: str) -> str:
    """Return a text in which what HTML cannot hold, or what turns writing round, is spelt out."""
    return "".join(map(_spelt_out, text)) if not text.isprintable() else text


def _spelt_out(character: str) -> str:
    if character.isprintable() or character in "\n\t\u200c\u200d\u3000\xa0":
        return character
    return character.encode("unicode_escape").decode("ascii")
