"""A score in words."""

from __future__ import annotations

from curio_persistence.models import Score


def said_of_score(score: Score) -> str:
    """Return a score on one line: `helpful 0.8 (model judge-1): Found it at once.`"""
    value = None if score.value is None else f"{score.value:g}"
    said = " ".join(part for part in (score.name, value, score.label) if part)
    author = f"{score.source} {score.author}".strip()
    return f"{said} ({author})" + (f": {score.comment}" if score.comment else "")
