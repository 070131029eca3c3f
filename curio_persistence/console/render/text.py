"""Recorded text in templates: harmless wherever it is written out."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup, escape

from curio_persistence.views.html.text import Html, harmless

_MARKUP = (Markup, Html)
_MOST = 4_000
"""Characters of a text that pages show; the whole of it is a file to download."""


def finalized(value: Any) -> Any:
    """Return a value as templates write it: recorded text cut short, with controls spelt out.

    Each `{{ … }}` passes here; the environment then escapes what is not markup.
    """
    if isinstance(value, _MARKUP):
        return value
    if not isinstance(value, str):
        return value
    more = len(value) - _MOST
    return harmless(value if more <= 0 else f"{value[:_MOST]} … {more:,} more characters")


def verbatim(text: str) -> Markup:
    """Return a text escaped but otherwise unchanged: the value of a form's field."""
    return escape(text)
