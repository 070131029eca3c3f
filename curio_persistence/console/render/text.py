"""Recorded text in templates: harmless wherever it is written out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
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


def ends_of(paths: Collection[str]) -> Mapping[str, str]:
    """Return the end of each path, with as many of its folders as set it apart from the others."""
    ends = {path: [*_ends(path)] for path in paths}
    counts = Counter(end for some in ends.values() for end in some)
    return {
        path: next((end for end in some if counts[end] == 1), path) for path, some in ends.items()
    }


def _ends(path: str) -> Iterator[str]:
    """Yield the last part of a path, then the last two, and so on."""
    parts = path.split("/")
    for at in range(len(parts) - 1, 0, -1):
        yield "/".join(parts[at:])
    yield path


def verbatim(text: str) -> Markup:
    """Return a text escaped but otherwise unchanged: the value of a form's field."""
    return escape(text)
