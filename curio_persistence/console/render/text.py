"""Recorded text in templates: harmless wherever it is written out."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup, escape

from curio_persistence.views.html.text import Html, harmless

_MARKUP = (Markup, Html)


def finalized(value: Any) -> Any:
    """Return a value as templates write it: recorded text with controls spelt out.

    Each `{{ … }}` passes here; the environment then escapes what is not markup.
    """
    if isinstance(value, _MARKUP):
        return value
    return harmless(value) if isinstance(value, str) else value


def verbatim(text: str) -> Markup:
    """Return a text escaped but otherwise unchanged: the value of a form's field."""
    return escape(text)
