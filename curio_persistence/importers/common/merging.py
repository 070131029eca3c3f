"""Join what is stored of a run with what a later import finds."""

from __future__ import annotations

import json


def joined_objects(stored: str | None, found: str | None) -> str | None:
    """Return two JSON objects as one; the one found now goes first."""
    if stored is None or found is None or stored == found:
        return found or stored
    try:
        both = {**json.loads(stored), **json.loads(found)}
    except (ValueError, TypeError):
        return stored
    return json.dumps(both, ensure_ascii=False)
